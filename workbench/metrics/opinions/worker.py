"""The other process: scores from standard input to standard output.

It is run as a script, which may crash or hang. It imports nothing of the workbench, so that it
starts in the time that numpy takes.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__: list[str] = []


def _pesq(reference: NDArray[np.float32], degraded: NDArray[np.float32], rate: int) -> float:
    band = "wb" if rate == 16000 else "nb"
    return float(import_module("pesq").pesq(rate, reference, degraded, band))


@cache
def _visqol_api() -> Any:
    """Made once: that takes longer than to score a segment."""
    api = import_module("visqol").VisqolApi()
    # Without its lattice model it would fall back on one that is up to two points too generous.
    api.create(mode="speech", use_lattice_model=True)
    return api


def _visqol(reference: NDArray[np.float32], degraded: NDArray[np.float32], rate: int) -> float:
    pair = (samples.astype(np.float64) for samples in (reference, degraded))
    return float(_visqol_api().measure_from_arrays(*pair, sample_rate=rate).moslqo)


_KNOWN: Final[dict[str, Callable[..., float]]] = {"pesq": _pesq, "visqol": _visqol}


def _scorer(name: str) -> Callable[..., float]:
    if name in _KNOWN:
        return _KNOWN[name]
    module, _, function = name.partition(":")
    found: Callable[..., float] = getattr(import_module(module), function)
    return found


def _work() -> None:
    """Take a pickled ``(sys.path, scorer, pairs, rate)``, and answer with a line of JSON."""
    sys.path[:], name, pairs, rate = pickle.loads(sys.stdin.buffer.read())
    answer, sys.stdout = sys.stdout, sys.stderr  # some packages print a greeting there
    scores: list[float] = []
    problem = ""
    try:
        scorer = _scorer(name)
        scores = [float(scorer(*pair, rate)) for pair in pairs]
    except ModuleNotFoundError as error:
        problem = f"the package {error.name} is not installed"
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"[:200]
    print("\n" + json.dumps({"scores": scores, "problem": problem}), file=answer, flush=True)


if __name__ == "__main__":
    _work()
