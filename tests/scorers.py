"""What a worker of :mod:`workbench.metrics.opinions` may do, for its tests: scorers good and bad."""

from __future__ import annotations

import os
import sys
import time

import numpy as np


def fine(reference: np.ndarray, degraded: np.ndarray, rate: int) -> float:
    print("a greeting")
    return 2.0 + len(reference) / rate / 100


def identity(reference: np.ndarray, degraded: np.ndarray, rate: int) -> float:
    return 1.0 + 4.0 * float(np.corrcoef(reference, degraded)[0, 1])


def heavy(*_: object) -> float:
    """1, and 1 more for each package that takes long to import."""
    return 1.0 + len({"scipy", "pandas", "pipecat", "workbench"} & sys.modules.keys())


def abort(*_: object) -> float:
    os.abort()


def leave(*_: object) -> float:
    os._exit(3)


def quiet_end(*_: object) -> float:
    os._exit(0)


def hang(*_: object) -> float:
    time.sleep(600)
    return 3.0


def raises(*_: object) -> float:
    raise ValueError("cannot convert NaN to int")


def nan(*_: object) -> float:
    return float("nan")


def too_much(*_: object) -> float:
    return 5.5


def text(*_: object) -> object:
    return "good"


def second_fails(reference: np.ndarray, degraded: np.ndarray, rate: int, seen: list = []) -> float:  # noqa: B006
    seen.append(1)
    return 3.0 if len(seen) == 1 else float("nan")
