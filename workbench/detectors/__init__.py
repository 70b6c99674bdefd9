"""The detectors: each takes a call and yields its findings, none when all is well.

Every threshold is the value from which on a fault is reported. Each detector is proved on planted
faults of known size: found at twice the threshold, not found at half of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from workbench.call import Call
from workbench.detectors import (
    continuity,
    encoding,
    floor,
    lifecycle,
    loudness,
    network,
    pacing,
)
from workbench.detectors.finding import Finding

__all__ = ["DETECTORS", "Detector", "Finding"]

Detector: TypeAlias = Callable[[Call], Iterator[Finding]]

#: Kind of finding to its detector. A new one is a row here and a case in the tests.
DETECTORS: Final[dict[str, Detector]] = {
    "underrun": pacing.underrun,
    "pacing": pacing.pacing,
    "dead_air": floor.dead_air,
    "slow_barge_in": floor.slow_barge_in,
    "missing_clear": floor.missing_clear,
    "false_barge_in": floor.false_barge_in,
    "slow_response": floor.slow_response,
    "echo": floor.echo,
    "clipping": loudness.clipping,
    "level_mismatch": loudness.level_mismatch,
    "noise": loudness.noise,
    "dc_offset": loudness.dc_offset,
    "sequence_gap": network.sequence_gap,
    "duplicate": network.duplicate,
    "jitter": network.jitter,
    "loop_lag": network.loop_lag,
    "wrong_codec": encoding.wrong_codec,
    "container_header": encoding.container_header,
    "own_track": network.own_track,
    "one_way": network.one_way,
    "bad_message": network.bad_message,
    "tail_lost": continuity.tail_lost,
    "audio_lost": continuity.audio_lost,
    "dropout": continuity.dropout,
    "upsampled": continuity.upsampled,
    "wrong_rate": continuity.wrong_rate,
    "late_start": lifecycle.late_start,
    "cut_goodbye": lifecycle.cut_goodbye,
    "hang_up_unconfirmed": lifecycle.hang_up_unconfirmed,
    "early_end": lifecycle.early_end,
    "slow_shutdown": lifecycle.slow_shutdown,
    "capture_dropped": network.capture_dropped,
}
