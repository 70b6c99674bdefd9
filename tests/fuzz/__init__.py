"""What breaks things: hostile messages, captures and sound files, made at random from a seed.

::

    python -m tests.fuzz --captures 3000 --sounds 1000 --messages 200000 --seed 1
    python -m tests.fuzz.bombs          what each of the small files costs that claim to be large

A file may have a result, or be answered with one line. Nothing else: no traceback, not more than
2 GB, not more than 60 s.
"""
