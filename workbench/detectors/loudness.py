"""Faults of level: clipped, too far apart, noisy, off centre."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.call import Call
from workbench.call.speech import HOP, levels, runs_of
from workbench.detectors.finding import Finding, graded, grouped

__all__ = ["clipping", "dc_offset", "level_mismatch", "noise"]

#: Share of a stretch of speech at the rail. Speech that is driven 6 dB too far has 0.2 %.
CLIPPED_PERCENT: Final = 0.1
#: One run may be the loudest vowel of a clean recording; three are a rail.
RUNS: Final = 3
#: A rail lies this high: a quieter extreme is only the loudest sample.
RAIL: Final = 0.25
#: Half as loud, and half as loud again.
APART_DB: Final = 10.0
#: Speech over less than 20 dB of distance to the noise is tiring (usual speech is at -25 dBov).
NOISE_DBOV: Final = -45.0
#: A lorry that passes is not the line.
NOISE_SECS: Final = 1.0
#: G.711's own offset is below 0.1 % of full scale.
OFFSET_PERCENT: Final = 1.0


def clipping(call: Call) -> Iterator[Finding]:
    """Runs of samples that stand at the rail."""
    for side, name in (("caller", "caller_sent"), ("bot", "bot_said")):
        turns = [(turn.start, turn.end) for turn in call.turns if turn.side == side]
        yield from _clipping(call.signal(name), side, turns)


def _clipping(audio: Audio, side: str, turns: Sequence[tuple[float, float]]) -> Iterator[Finding]:
    runs, at_rail = _flat_runs(audio.samples)
    rate = audio.sample_rate
    for start, end, members in grouped([(a / rate, b / rate) for a, b in runs.tolist()], 5.0):
        if len(members) < RUNS:
            continue
        # The share is that of the whole turn: one clipped word is less than a clipped speech.
        near = [turn for turn in turns if turn[1] > start and turn[0] < end]
        first = min([start, *(turn[0] for turn in near)])
        last = max([end, *(turn[1] for turn in near)])
        clipped = int(at_rail[round(first * rate) : round(last * rate)].sum())
        percent = 100 * clipped / max(1.0, (last - first) * rate)
        if percent < CLIPPED_PERCENT:
            continue
        caller = side == "caller"
        yield Finding(
            "clipping", "caller" if caller else "bot", (start, end), graded(percent, 0.3, 3),
            percent, "%", CLIPPED_PERCENT,
            f"{percent:.2g} % of the speech stands at the rail, in {len(members)} runs",
            "The caller's telephone or network drives its microphone too far; it arrived like this."
            if caller
            else "The audio was clipped before it reached the serializer: too loud a voice, or a "
            "mixer that adds sounds over full scale.",
            "Nothing in the bot can undo it. Tell the recogniser's words here from the caller's."
            if caller
            else "Lower the gain of the speech synthesis or of the mixer by 6 dB; peaks of -6 to "
            "-12 dBFS suit G.711 best.",
            "caller_sent" if caller else "bot_said",
        )  # fmt: skip


def _flat_runs(
    samples: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Runs of at least three samples within 1.5 steps of the signal's own extreme.

    Its own, because clipped audio may have been attenuated afterwards.
    """
    size = np.abs(samples)
    top = float(size.max(initial=0.0))
    if top < RAIL:
        return np.empty((0, 2), np.int64), np.zeros(len(samples), bool)
    at_rail = size >= top - 1.5 / 32768
    edges = np.flatnonzero(np.diff(at_rail, prepend=False, append=False)).reshape(-1, 2)
    return edges[edges[:, 1] - edges[:, 0] >= 3], at_rail


def level_mismatch(call: Call) -> Iterator[Finding]:
    """One side much louder than the other."""
    caller, bot = (call.stats.get(f"{side}_level_dbov") for side in ("caller", "bot"))
    spoken = [float((s[:, 1] - s[:, 0]).sum()) for s in (call.caller_speech, call.bot_speech)]
    if caller is None or bot is None or min(spoken) < 2.0:
        return
    apart = abs(caller - bot)
    if apart < APART_DB:
        return
    louder, quieter = ("caller", "bot") if caller > bot else ("bot", "caller")
    yield Finding(
        "level_mismatch", "bot" if quieter == "bot" else "caller", (0.0, call.duration),
        graded(apart, 15, 25), apart, "dB", APART_DB,
        f"the {quieter} is {apart:.0f} dB quieter than the {louder} "
        f"({min(caller, bot):.0f} against {max(caller, bot):.0f} dBov)",
        "The caller's line is faint." if quieter == "caller" else "The bot's voice is set low.",
        "Raise the gain ahead of speech recognition, or lower VADParams.min_volume: 0.6 may be "
        "more than this caller reaches." if quieter == "caller"
        else "Raise the gain of the speech synthesis until speech is at -20 to -26 dBov.",
        "caller_sent" if quieter == "caller" else "caller_heard",
    )  # fmt: skip


def noise(call: Call) -> Iterator[Finding]:
    """A loud background behind the caller, between words."""
    level = levels(call.caller_sent)
    quiet = np.ones(len(level), bool)
    for start, end in call.caller_speech:
        quiet[max(0, int((start - 0.1) / HOP)) : int((end + 0.2) / HOP)] = False
    for echo in call.echoes:
        quiet[int(echo.start / HOP) : int((echo.end + 1.0) / HOP)] = False
    if quiet.sum() < NOISE_SECS / HOP:
        return
    # Smoothed over 100 ms, in the power domain.
    power = np.where(quiet, 10 ** (level / 10), 0.0)
    window = np.ones(10)
    smooth = np.convolve(power, window, "same") / np.maximum(np.convolve(quiet, window, "same"), 1)
    loud = quiet & (smooth > 10 ** (NOISE_DBOV / 10))
    spans = [(start, end) for start, end in runs_of(loud, HOP).tolist()]
    for start, end, members in grouped(spans, 2.0):
        if sum(spans[i][1] - spans[i][0] for i in members) < NOISE_SECS:
            continue
        part = slice(round(start / HOP), round(end / HOP))
        measured = 10 * math.log10(float(power[part].mean()) / float(quiet[part].mean()))
        yield Finding(
            "noise", "caller", (start, end), graded(measured, -35, -25), measured, "dBov", NOISE_DBOV,
            f"noise of {measured:.0f} dBov behind the caller",
            "A loud place, or a bad line.",
            "Put a noise filter into the transport (audio_in_filter), and raise "
            "VADParams.confidence or min_volume so that noise does not interrupt the bot.",
            "caller_sent",
        )  # fmt: skip


def dc_offset(call: Call) -> Iterator[Finding]:
    """Audio that is not centred on zero: clicks at every start and stop."""
    sides = (("caller", "caller_sent"), ("bot", "bot_said"))
    for side, name in sides:
        audio = call.signal(name)
        sounding = audio.samples[audio.samples != 0]
        if len(sounding) < audio.sample_rate:
            continue
        # The median too: lopsided speech has a mean, but not a median.
        offset = min(abs(float(sounding.mean())), abs(float(np.median(sounding))))
        percent = 100 * offset
        if percent < OFFSET_PERCENT:
            continue
        yield Finding(
            "dc_offset", "caller" if side == "caller" else "bot", (0.0, call.duration),
            graded(percent, 3, 10), percent, "%", OFFSET_PERCENT,
            f"the {side}'s audio stands {percent:.1f} % of full scale off centre",
            "An unsigned sample read as signed, or a cheap sound card.",
            "Check the sample format that the speech synthesis delivers: 16-bit signed "
            "little-endian is wanted." if side == "bot"
            else "Nothing in the bot causes it; a high-pass in audio_in_filter takes it out.",
            name,
        )  # fmt: skip
