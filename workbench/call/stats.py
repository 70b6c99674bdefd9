"""The figures of a call: what was counted and measured, by name.

Conventions:
    ``*_ms`` are milliseconds, ``*_dbov`` active levels (ITU-T P.56; of a voice that is less than 15.9
    dB above its line's noise the power of its turns), ``*_hz`` sample rates, ``*_percent`` of a hundred.
    ``*_kbit_s`` is JSON text, before WebSocket framing and TLS: of the caller over the length of the
    call, of the bot over that of the audio sent, as it is in comparisons. What could not be measured is
    left out.

References:
    .. [1] RFC 3550, section 6.4.1 and appendix A.8: interarrival jitter.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.call.frames import Frames
from workbench.call.playout import Playout
from workbench.call.reading import Contents
from workbench.call.streams import Stream
from workbench.call.turns import Turn
from workbench.exceptions import MetricWarning
from workbench.metrics.smoothing import one_pole
from workbench.metrics.speech_level import active_speech

__all__ = ["call_stats", "clock_drift", "jitter", "only_of_frames"]

#: Where a voice was heard for less, in seconds, or P.56 finds at most so many times as much speech as that,
#: the level is P.56's; else it is the power of what a voice was heard in.
_FEWEST_SECS, _TOO_MUCH = 1.0, 2.0
#: What the messages tell, and the frames do not.
_OF_MESSAGES: Final = frozenset(
    """
    inbound_messages outbound_messages inbound_kbit_s outbound_kbit_s lost_messages loss_percent
    duplicates other_track_messages bad_messages clears caller_sent_ms bot_sent_ms caller_heard_ms
    underruns underrun_ms jitter_ms max_jitter_ms clock_drift_ms_per_min max_delta_ms mean_lead_ms
    wire_in_hz wire_out_hz
    """.split()
)


def jitter(stream: Stream) -> NDArray[np.float64]:
    r"""Interarrival jitter after each message, in milliseconds.

    .. math:: J_i = J_{i-1} + (|D_{i-1,i}| - J_{i-1}) / 16

    where D is how much longer than the audio between them two messages were apart. It is the
    jitter of delivery to the serializer over TCP, with the carrier's own in it.
    """
    late = (stream.time - stream.start)[~stream.duplicate]
    return one_pole(np.abs(np.diff(late, prepend=late[:1])) / 16, decay=15 / 16) * 1000


def clock_drift(stream: Stream) -> float | None:
    """How fast the sender's clock and ours run apart, in milliseconds per minute.

    Returns:
        Positive if the sender's audio falls behind our clock; ``None`` if there is no stretch
        of half a minute.
    """
    return None if stream.drift is None else 60_000 * stream.drift


def only_of_frames(stats: Mapping[str, float]) -> dict[str, float]:
    """The figures of a call whose messages nobody reads: what only those would tell is left out."""
    return {name: value for name, value in stats.items() if name not in _OF_MESSAGES}


def call_stats(
    contents: Contents,
    playout: Playout,
    audio_out: Frames,
    signals: Mapping[str, Audio],
    turns: Sequence[Turn],
) -> dict[str, float]:
    """Count and measure a call.

    Args:
        contents: What the capture holds.
        playout: The far end's queue.
        audio_out: The bot's audio frames.
        signals: Audio whose level is wanted, by side.
        turns: who had the turn.

    Returns:
        Name to value, all finite.
    """
    inbound, outbound = contents.inbound, contents.outbound
    length = max(contents.duration, 1e-9)
    kinds = [event.kind for event in contents.events]
    played = inbound.duration[~inbound.duplicate]
    lost, sent = int(inbound.missing.sum()), len(played)
    latencies = [turn.latency_ms for turn in turns if turn.latency_ms is not None]
    stats: dict[str, float] = {
        "duration": contents.duration,
        "inbound_messages": len(inbound),
        "outbound_messages": len(outbound),
        "inbound_kbit_s": contents.wire_in * 8 / length / 1000,
        "outbound_kbit_s": contents.wire_out * 8 / max(playout.said_ms, 1.0),
        "lost_messages": lost,
        "loss_percent": 100 * lost / max(1, lost + sent),
        "duplicates": int(inbound.duplicate.sum()),
        "other_track_messages": contents.other_track,
        "bad_messages": kinds.count("bad_message"),
        "dropped_records": contents.dropped,
        "interruptions": kinds.count("interruption"),
        "clears": kinds.count("clear"),
        "caller_sent_ms": 1000 * float(played.sum()),
        "bot_heard_ms": 1000 * float(contents.frames_in.duration.sum()),
        "bot_said_ms": 1000 * float(audio_out.duration.sum()),
        "bot_sent_ms": playout.said_ms,
        "caller_heard_ms": playout.heard_ms,
        "underruns": len(playout.underruns),
        "underrun_ms": float(playout.underrun_ms.sum()),
        "caller_turns": sum(turn.side == "caller" for turn in turns),
        "bot_turns": sum(turn.side == "bot" for turn in turns),
    }
    if len(inbound) > 1:
        spread = jitter(inbound)
        stats["jitter_ms"] = float(spread.mean())
        stats["max_jitter_ms"] = float(spread.max())
        drift = clock_drift(inbound)
        if drift is not None:
            stats["clock_drift_ms_per_min"] = drift
        stats["max_delta_ms"] = 1000 * float(np.diff(inbound.time).max())
    if playout.continues.any():
        stats["mean_lead_ms"] = 1000 * float(playout.lead[playout.continues].mean())
    if latencies:
        stats["median_response_ms"] = float(np.median(latencies))
    rates = (
        ("wire_in_hz", Counter(wire.sample_rate for wire in inbound.formats)),
        ("wire_out_hz", Counter(wire.sample_rate for wire in outbound.formats)),
        ("pipeline_in_hz", Counter(contents.frames_in.audio_rates.tolist())),
        ("pipeline_out_hz", Counter(audio_out.audio_rates.tolist())),
    )
    stats.update((name, found.most_common(1)[0][0]) for name, found in rates if found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)
        measured = {
            f"{side}_level_dbov": _level(a, [(t.start, t.end) for t in turns if t.side == side])
            for side, a in signals.items()
            if len(a)
        }
    stats.update((name, value) for name, value in measured.items() if np.isfinite(value))
    return stats


def _level(audio: Audio, spoken: Sequence[tuple[float, float]]) -> float:
    """Active level of a side's speech, in dBov.

    P.56 knows speech by its level only: where the line's noise is less than 15.9 dB below a faint
    voice, it takes all of the call for speech. Then it is the power of what a voice was heard in.
    """
    level, secs = active_speech(audio)
    total = sum(end - start for start, end in spoken)
    if total < _FEWEST_SECS or secs <= _TOO_MUCH * total:
        return level
    parts = [audio.span(start, end) for start, end in spoken]
    energy = sum(10 ** (part.level / 10) * len(part) for part in parts)
    return 10 * float(np.log10(energy / max(1, sum(map(len, parts))) + 1e-10))
