"""The detectors: each takes a call and yields its findings, none when all is well.

Every threshold is the value from which on a fault is reported. Each detector is proved on planted
faults of known size: found at twice the threshold, not found at half of it; ``make faults`` prints
how often, and how exactly. ``python -m workbench.diagnosis.detectors`` prints what each one means, how it is
measured, where its threshold comes from and what to change; :data:`SYMPTOMS` says which of them
finds what people complain of, and what no capture can show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from workbench.call import Call
from workbench.diagnosis.detectors import (
    configuration,
    continuity,
    encoding,
    lifecycle,
    loudness,
    network,
    noise,
    pacing,
    seams,
    turn_taking,
)
from workbench.diagnosis.finding import Finding

__all__ = ["DETECTORS", "SYMPTOMS", "Detector", "Finding"]

Detector: TypeAlias = Callable[[Call], Iterator[Finding]]

#: Kind of finding to its detector. A new one is a row here, a title and a case in the tests.
DETECTORS: Final[dict[str, Detector]] = {
    "underrun": pacing.underrun,
    "pacing": pacing.pacing,
    "dead_air": turn_taking.dead_air,
    "slow_barge_in": turn_taking.slow_barge_in,
    "missing_clear": turn_taking.missing_clear,
    "false_barge_in": turn_taking.false_barge_in,
    "slow_response": turn_taking.slow_response,
    "echo": turn_taking.echo,
    "clipping": loudness.clipping,
    "level_mismatch": loudness.level_mismatch,
    "noise": noise.noise,
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
    "stale_audio": seams.stale_audio,
    "unheard_speech": seams.unheard_speech,
    "ambience_gap": seams.ambience_gap,
    "onset_pop": seams.onset_pop,
    "block_joint": seams.block_joint,
    "aliasing": encoding.aliasing,
    "clock_drift": network.clock_drift,
    "resampling": configuration.resampling,
    "rtvi_leak": configuration.rtvi_leak,
    "wire_overhead": configuration.wire_overhead,
    "capture_dropped": network.capture_dropped,
}

#: Thirty things that people complain of, and how each is found; or why it cannot be.
SYMPTOMS: Final[tuple[tuple[str, str], ...]] = (
    (
        "choppy on the phone, clean in the recording",
        "`underrun`, with the cushion that would hide it",
    ),
    ("the same, by the event loop", "`loop_lag`; `pacing`, where the rate is more than 3 % off"),
    ("words cut off at their end", "`tail_lost`"),
    ("skips in the middle of words", "`audio_lost`"),
    ("a burst of the old sentence after an interruption", "`stale_audio`"),
    ("clicks at a fixed rate, a buzz", "`block_joint`"),
    ("a pop at the start of each prompt", "`onset_pop`, `container_header`"),
    ("static", "`wrong_codec`"),
    (
        "chipmunks, deep voices",
        "`wrong_rate`, where the serializer or the wire is wrong; a voice that "
        "was declared wrongly before it got there lasts as long as it says, and only ears can tell",
    ),
    (
        "muffled although it is sent at 24 kHz",
        "`upsampled`; that the carrier narrows it afterwards is "
        "not in the capture: `workbench compare` assumes it",
    ),
    (
        "harsh, metallic",
        "`aliasing` of the serializer; what was folded before it looks like any voice",
    ),
    ("distorted", "`clipping`"),
    ("caller too faint, bot too loud", "`level_mismatch`"),
    (
        "hiss in the pauses",
        "`noise` of the caller's side; mu-law's own hiss, some -75 dBov, is no fault",
    ),
    ("the bot interrupts itself", "`echo`"),
    ("the bot hears its own track", "`own_track`"),
    ("it does not stop when spoken to", "`slow_barge_in`, split into who was slow"),
    ("it is cleared too late, or not", "`missing_clear`"),
    ("the model believes it said what nobody heard", "`unheard_speech`; `Turn.heard_ms`"),
    ("interrupted by noise and murmurs", "`false_barge_in`"),
    ("recordings run apart", "`clock_drift`"),
    ("gaps in the background at an interruption", "`ambience_gap`"),
    ("one side is not heard", "`one_way`"),
    ("the first words are lost, silence at the start", "`late_start`"),
    ("hung up before the goodbye, or never", "`cut_goodbye`, `hang_up_unconfirmed`, `dead_air`"),
    ("ending takes ten seconds", "`slow_shutdown`"),
    ("the call dies after some seconds", "`early_end`"),
    (
        "memory grows",
        "cannot be seen: a capture holds one call and no figure of the process but the "
        "recording's own queue, which is bounded and reported by `capture_dropped`",
    ),
    (
        "stutter when the CPU is busy",
        "`loop_lag`, `underrun`; who kept the CPU busy is not recorded",
    ),
    (
        "a link too slow for JSON and base64",
        "`wire_overhead`; the capture ends where the message is "
        "made, so queueing on the link behind it cannot be seen",
    ),
)
