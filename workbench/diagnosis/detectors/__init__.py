"""The detectors: each takes a call and yields its findings, none when all is well.

Every threshold is the value from which on a fault is reported. Each detector is proved on planted
faults of known size: found at twice the threshold, not found at half of it. ``python -m tests.benchmarks synthetic``
prints how often, and how exactly; ``make faults`` judges on recorded calls. A new one is a function under
:func:`workbench.diagnosis.detector.detector` in one of these modules, and its tests.
"""

from __future__ import annotations

from typing import Final

from workbench.diagnosis.detector import Detector
from workbench.diagnosis.detectors import (
    absence,
    aliasing,
    barge_in,
    beginning,
    configuration,
    continuity,
    encoding,
    joints,
    leftovers,
    level,
    lifecycle,
    loudness,
    network,
    noise,
    order,
    pacing,
    rates,
    seams,
    turn_taking,
)

__all__ = ["DETECTORS"]

_MODULES: Final = (
    pacing,
    turn_taking,
    barge_in,
    loudness,
    level,
    noise,
    network,
    absence,
    encoding,
    aliasing,
    rates,
    continuity,
    beginning,
    lifecycle,
    seams,
    leftovers,
    joints,
    order,
    configuration,
)

#: Kind of finding to its detector.
DETECTORS: Final[dict[str, Detector]] = {
    found.kind: found
    for module in _MODULES
    for found in vars(module).values()
    if isinstance(found, Detector) and found.find.__module__ == module.__name__
}
