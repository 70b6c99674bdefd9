"""Faults of level: clipped, too far apart, off centre."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.call import Call
from workbench.diagnosis.detectors.tones import in_tones
from workbench.diagnosis.finding import POSSIBLE, Finding, graded

__all__ = ["clipping", "dc_offset", "level_mismatch"]

#: Share of a stretch of speech at the rail. Speech that is driven 6 dB too far has 0.2 %.
CLIPPED_PERCENT: Final = 0.1
#: One run may be the loudest vowel of a clean recording; three are a rail.
RUNS: Final = 3
#: Samples at the rail for each one on the step below it: speech that is not clipped has fewer at its
#: extreme than beside it, even in the wide steps of mu-law.
CROWDED: Final = 4
#: With so many at the rail twice as many as beside it are hardly chance either: then it is possible.
MANY: Final = 30
#: Half a step of 16 bits more than one.
STEP: Final = 1.5 / 32768
_AT_ONCE: Final = 1_000_000  # samples: an hour takes no more memory than a minute
#: A rail lies this high: a quieter extreme is only the loudest sample.
RAIL: Final = 0.25
#: Half as loud, and half as loud again.
APART_DB: Final = 10.0
#: G.711's own offset is below 0.1 % of full scale.
OFFSET_PERCENT: Final = 1.0


def clipping(call: Call) -> Iterator[Finding]:
    """A distorted voice: its peaks stand at the rail.

    Measured: samples within 1.5 steps of the signal's own extreme: at least three runs of three, or
    nine samples and four times as many as on the step below; their share of the turn. Thirty, twice
    as many as on the step below, make it possible.
    Threshold: CLIPPED_PERCENT %
    Change: lower the gain by 6 dB; of the caller's telephone nothing can be undone.
    Limits: clipping that came through a codec or a filter afterwards has no flat tops and is not
    seen.
    """
    for side, name in (("caller", "caller_sent"), ("bot", "bot_said")):
        turns = [(turn.start, turn.end) for turn in call.turns if turn.side == side]
        yield from _clipping(call.signal(name), side, turns)


def _clipping(audio: Audio, side: str, turns: Sequence[tuple[float, float]]) -> Iterator[Finding]:
    samples = audio.samples
    # The signal's own extreme, because clipped audio may have been attenuated afterwards.
    top = max(float(samples.max(initial=0.0)), -float(samples.min(initial=0.0)))
    if top < RAIL:
        return
    high = np.concatenate(
        [
            np.flatnonzero(np.abs(samples[first : first + _AT_ONCE]) > 0.9 * top) + first
            for first in range(0, len(samples), _AT_ONCE)
        ]
    )
    at_rail = np.abs(samples[high]) >= top - STEP
    rail, beside = high[at_rail], high[~at_rail]
    below = float(np.abs(samples[beside]).max(initial=0.0))
    beside = beside[np.abs(samples[beside]) >= below - STEP]
    ends = np.flatnonzero(np.diff(rail, append=rail[-1] + 2) > 1)
    edges = np.column_stack((rail[np.append(0, ends[:-1] + 1)], rail[ends] + 1))
    rate = audio.sample_rate
    for start, end, members in _by_turn(edges / rate, turns):
        runs = edges[members]
        flat = _flat(samples, runs, top)
        clipped = int((runs[:, 1] - runs[:, 0]).sum())
        next_to = int(((beside >= runs[0, 0]) & (beside < runs[-1, 1])).sum())
        sure = flat >= RUNS or (clipped >= 3 * RUNS and clipped >= CROWDED * next_to)
        if not sure and (clipped < MANY or clipped < 2 * next_to):
            continue
        if flat < RUNS and in_tones(audio, runs[:, 0].tolist()):
            continue  # its crests are all of one height
        # The share is that of the whole turn: one clipped word is less than a clipped speech.
        near = [turn for turn in turns if turn[1] > start and turn[0] < end]
        first = min([start, *(turn[0] for turn in near)])
        last = max([end, *(turn[1] for turn in near)])
        percent = 100 * clipped / max(1.0, (last - first) * rate)
        if percent < CLIPPED_PERCENT:
            continue
        caller = side == "caller"
        yield Finding(
            "clipping", "caller" if caller else "bot", (start, end), graded(percent, 0.3, 3),
            percent, "%", CLIPPED_PERCENT,
            f"{percent:.2g} % of the speech stands at the rail, in {len(runs)} places",
            "The caller's telephone or network drives its microphone too far; it arrived like this."
            if caller
            else "The audio was clipped before it reached the serializer: too loud a voice, or a "
            "mixer that adds sounds over full scale.",
            "Nothing in the bot can undo it. Do not rely on the transcript here."
            if caller
            else "Lower the gain of the speech synthesis or of the mixer by 6 dB; peaks of -6 to "
            "-12 dBFS suit G.711 best.",
            "caller_sent" if caller else "bot_said", confidence=1.0 if sure else POSSIBLE,
        )  # fmt: skip


def _flat(samples: NDArray[np.float32], runs: NDArray[np.int_], top: float) -> int:
    """How many runs of three end in a corner: next to a slow wave's round crest less is missing."""
    long = runs[runs[:, 1] - runs[:, 0] >= 3]
    ends = samples[np.clip(long - [1, 0], 0, len(samples) - 1)]
    return int((top - np.abs(ends).min(axis=1) > 6 * STEP).sum())


def _by_turn(
    spans: NDArray[np.float64], turns: Sequence[tuple[float, float]]
) -> Iterator[tuple[float, float, list[int]]]:
    """Gather spans that lie in one turn, or within five seconds of each other."""
    begun: list[int] = []
    for index, (start, _) in enumerate(spans.tolist()):
        if begun:
            last = float(spans[begun[-1], 1])
            if start - last >= 5.0 and not any(a < last and start < b for a, b in turns):
                yield float(spans[begun[0], 0]), last, begun
                begun = []
        begun.append(index)
    if begun:
        yield float(spans[begun[0], 0]), float(spans[begun[-1], 1]), begun


def level_mismatch(call: Call) -> Iterator[Finding]:
    """One side much louder than the other.

    Measured: difference of the active speech levels (ITU-T P.56), with two seconds of speech on
    each side.
    Threshold: APART_DB dB
    Change: bring the speech synthesis to -20 to -26 dBov; lower VADParams.min_volume for a
    faint caller.
    """
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


def dc_offset(call: Call) -> Iterator[Finding]:
    """Audio that is not centred on zero: clicks at every start and stop.

    Measured: the smaller of mean and median of all samples that are not 0.
    Threshold: OFFSET_PERCENT %
    Change: deliver 16-bit signed little-endian samples; a high-pass in audio_in_filter takes
    the caller's out.
    """
    sides = (("caller", "caller_sent"), ("bot", "bot_said"))
    for side, name in sides:
        audio = call.signal(name)
        # A million samples tell it as well as a hundred.
        thinned = audio.samples[:: 1 + len(audio) // 1_000_000]
        sounding = thinned[thinned != 0]
        if len(sounding) * (1 + len(audio) // 1_000_000) < audio.sample_rate:
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
