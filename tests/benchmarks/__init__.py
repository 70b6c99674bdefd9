"""Measurements: ``make bench`` runs them all, ``python -m tests.benchmarks NAME`` one.

A benchmark is a module here with ``run(console)``. It prints its tables with rich and may return
rows for the README, the header first. ``make compat`` runs :mod:`tests.benchmarks.compat`.
"""
