"""Faults of where two blocks of audio meet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.call import Call
from workbench.call.pieces import join, laid, let_go, sizes
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.detectors.encoding import misreadings
from workbench.diagnosis.detectors.readings import TWO_CHANNELS
from workbench.diagnosis.detectors.tones import is_tone
from workbench.diagnosis.finding import Finding, Part, Side, graded, grouped, hull, lasting
from workbench.metrics.prediction import fitted, foretold

__all__ = ["block_joint", "roughness", "wrong_layout"]

#: A track, and where each of its blocks starts and how long it lasts, in seconds.
_Track: TypeAlias = tuple[Audio, NDArray[np.float64], NDArray[np.float64]]

#: Fewer joints in sound than this tell nothing.
JOINTS: Final = 50
#: So many joints in a row tell whether two sources take turns.
IN_A_ROW: Final = 8
#: Both sides of a joint must be louder than this, over so many samples, to tell what goes on.
LOUD_DBOV, EDGE = -50.0, 32
#: What goes on is foretold from so many samples before the joint, each from so many before it, for so
#: many behind it; errors below a step of mu-law's middle are none.
PAST, _ORDER, _FORETOLD, STEP = 160, 4, 3, 30.0
_AT_ONCE: Final = 4000  # joints
_BLOCKS: Final = 500
#: Joints that are so much rougher than what is around them need no statistics; others are told if
#: their ranks among the places around them lie so many standard errors off the middle.
ROUGH, CLEARLY = 1.3, 9.0
#: What is around a joint is foretold from so many samples; so many joints take 30 MB at 24 kHz.
_LONG, _FEW = 8, 500
#: A longer pause of both, in seconds, parts one place from the next.
PAUSE: Final = 3.0


@detector(
    title="Clicks between blocks",
    harm=30,
    explains=("aliasing", "out_of_order"),
    symptoms=(Symptom(6, "clicks at a fixed rate, a buzz", "`block_joint`"),),
    measured="by how much the samples within 3 of each joint of two blocks are off what linear "
    "prediction foretells, over that of the 10 ms around it; median of all joints in sound. Below "
    "1.3 the joints' ranks among the places around them must lie 9 standard errors off the middle.",
    thresholds=(
        Threshold(
            1.15,
            "times",
            "Streaming conversion has 0.92 to 1.06, conversion of each block by itself 1.67 and "
            "more; 1.2 in a voice that is rough itself, which is told of many joints only.",
        ),
    ),
    change="keep one resampler for the whole stream instead of one call for each block; leave out "
    "no samples and pad none.",
    limits="a steady tone tells nothing.",
    accuracy=(Accuracy("jointed", 1.0),),
)
def block_joint(call: Call) -> Iterator[Finding]:
    """Clicks or a buzz at a fixed rate: each block was treated by itself."""
    told = set[Side]()
    for side, name, (audio, start, length) in _tracks(call):
        if side in told or not len(start):
            continue
        ratio, count, errors = roughness(audio, start, length)
        if ratio < block_joint.threshold or (ratio < ROUGH and errors < CLEARLY):
            continue
        told.add(side)
        yield block_joint.finding(
            side=side,
            parts=(Part(0.0, call.duration, ratio),),
            severity=graded(ratio, 2 * ROUGH, 10),
            value=ratio,
            measurement=f"a click at every joint of two blocks ({count} looked at): {ratio:.1f} "
            "times as rough as between them",
            cause={
                "bot_said": "Each block was converted by itself before it reached the serializer.",
                "bot_sent": "The serializer converts each frame by itself.",
                "caller_sent": "Each message was converted by itself before it arrived.",
                "bot_heard": "The serializer converts each message by itself.",
            }[name],
            remedy=f"Nothing in the bot causes it; {call.carrier.advice.report}."
            if name == "caller_sent"
            else "Keep one resampler for the whole stream (soxr.ResampleStream, or this project's "
            "serializer), not a call of resample() for each block, and pad no block with zeros.",
            listen=name,
        )


def _tracks(call: Call) -> Iterator[tuple[Side, str, _Track]]:
    """The signals whose blocks are known, of each side the one first that came first."""
    inbound, said, sent = call.inbound, call.speaking, call.sending
    once = np.where(inbound.duplicate, 0, inbound.duration)
    yield "bot", "bot_said", (call.bot_said, said.start, said.kept)
    yield "bot", "bot_sent", (call.bot_sent, sent.start, sent.kept)
    yield "caller", "caller_sent", (call.caller_sent, inbound.start, once)
    frames = call.frames_in.taken(call.frames_in.has_sound)
    if len(frames):
        # One after the other: what stood between them is no matter.
        rate = int(frames.sample_rate[0])
        same = frames.taken(frames.sample_rate == rate)
        length = same.duration
        heard = Audio.from_pcm(laid(same.mono), rate)
        yield "caller", "bot_heard", (heard, np.cumsum(length) - length, length)


def roughness(
    audio: Audio, start: NDArray[np.float64], length: NDArray[np.float64]
) -> tuple[float, int, float]:
    """How much rougher a track is at its joints than around them.

    Args:
        audio: The track.
        start: Where each block starts, in seconds.
        length: Of each, in seconds.

    Returns:
        The ratio, 1 for none; the number of joints that it was measured at; and by how many standard
        errors their ranks among the places around them lie off the middle.
    """
    rate, samples = audio.sample_rate, audio.samples
    joined = np.abs(start[1:] - (start[:-1] + length[:-1])) < 1.5 / rate
    joints = np.rint(start[1:][joined] * rate).astype(np.int64)
    around = round(0.010 * rate)
    joints = joints[(joints > around + 8) & (joints < len(samples) - around - 8)]
    joints = joints[:: max(1, len(joints) // 5000)]
    if len(joints) < JOINTS:
        return 1.0, 0, 0.0
    at, usual, ranks, windows = [], [], [], list[NDArray[np.float64]]()
    for few in np.split(joints, range(_FEW, len(joints), _FEW)):
        part = samples[few[:, None] + np.arange(-around - _LONG, around)].astype(np.float64)
        mapped.let_go(samples[few[0] - around - _LONG : few[-1]])
        part = part[np.mean(np.square(part), axis=1) > 1e-5]
        if not len(part):
            continue
        windows.append(part)
        off = np.abs(foretold(part, _LONG))
        # Maxima over six samples: those that straddle the joint, and those of each place around.
        places = off[:, : off.shape[1] // 6 * 6].reshape(len(off), -1, 6).max(axis=2)
        at.append(off[:, around - 3 : around + 3].max(axis=1))
        usual.append(np.median(places, axis=1))
        ranks.append(np.mean(places < at[-1][:, None], axis=1))
    count = sum(map(len, at))
    if count < JOINTS:
        return 1.0, 0, 0.0
    # Of most joints: a few may stand where a tone begins or ends, or where a frame was late.
    ratio = float(np.median((np.concatenate(at) + 1e-5) / (np.concatenate(usual) + 1e-5)))
    if ratio >= block_joint.threshold:
        # The joints of a tone all have the same phase, and the rounding of that.
        tones = [is_tone(window) for part in windows for window in part[:: 1 + count // 100]]
        if 2 * sum(tones) > len(tones):
            return 1.0, 0, 0.0
    # Ranks are spread evenly between 0 and 1 where a joint is a place like any other.
    errors = float(np.mean(np.concatenate(ranks)) - 0.5) * np.sqrt(12 * count)
    return ratio, count, errors


@detector(
    title="Two sources take turns",
    harm=120,
    explains=("dropout", "block_joint", "onset_pop", "upsampled", "out_of_order"),
    measured="at each joint of two blocks in sound: how much better the samples go on in the block "
    "after the next than in the next one, foretold from those before; logarithm of the errors' ratio, "
    "mean of eight joints in a row. Two channels read as one: see wrong_codec.",
    thresholds=(
        Threshold(
            0.7,
            "",
            "One voice has 0.2 at most, two that take turns 1.2 and more.",
        ),
    ),
    change="let one source speak at a time: two answers, or two channels, go into one track.",
    limits="where one of the two is silent, and in noise, nothing tells that they take turns. Two equal "
    "channels are like a rate that was doubled by saying each sample twice.",
)
def wrong_layout(call: Call) -> Iterator[Finding]:
    """Two sources in one track, in turns: neither can be understood."""
    yield from _beside_each_other(call)
    inbound, said = call.inbound, call.speaking
    once = np.flatnonzero(~inbound.duplicate)
    once = once[np.argsort(inbound.start[once], kind="stable")]  # some overtake others
    ways: tuple[
        tuple[Side, str, Sequence[bytes], NDArray[np.float64], NDArray[np.float64]], ...
    ] = (
        (
            "caller",
            "caller_sent",
            inbound.pcm(once),
            inbound.start[once],
            inbound.duration[once],
        ),
        ("bot", "bot_said", call.audio_out.mono, said.start, said.duration),
    )
    for side, name, blocks, start, length in ways:
        at, better = _taking_turns(blocks)
        over = better >= wrong_layout.threshold
        if not over.any():
            continue
        # Of each eight that take turns, all; a pause of one of the two is between them.
        covers = np.convolve(over, np.ones(IN_A_ROW))[: len(at)] > 0
        times = [(float(start[i]), float(start[i] + 2 * length[i])) for i in at[covers].tolist()]
        parts = [
            Part(*hull(group), float(better.max())) for group in grouped(lasting(times), PAUSE)
        ]
        yield wrong_layout.finding(
            side=side,
            parts=parts,
            severity="error",
            value=float(better.max()),
            measurement=f"two sources take turns: {np.count_nonzero(covers)} blocks go on in the block "
            "after the next",
            cause="Two answers are sent at once, block by block; or two channels, one after the other."
            if side == "bot"
            else "The stream carries two sources, message by message.",
            remedy="Let an answer wait until the one before it is over or interrupted; push audio "
            "from one task only."
            if side == "bot"
            else f"Nothing in the bot causes it; {call.carrier.advice.report}.",
            listen=name,
        )


def _beside_each_other(call: Call) -> Iterator[Finding]:
    """Two channels whose samples take turns, read as one."""
    for side, name, found in misreadings(call):
        mine = [m for m in found if m.really.name == TWO_CHANNELS]
        if not mine:
            continue
        secs, really = sum(m.end - m.start for m in mine), mine[0].really
        yield wrong_layout.finding(
            side=side,
            parts=[Part(m.start, m.end, m.bits) for m in mine],
            severity="error",
            value=float(np.median([m.bits for m in mine])),
            threshold=Threshold(really.margin, "bits per byte"),
            measurement=f"{secs:.1f} s of {name} are two channels read as one: samples go on in the "
            "sample after the next",
            cause="Stereo is delivered in frames that are declared to be mono.",
            remedy=f"{really.setting[0].upper()}{really.setting[1:]}.",
            listen=name,
        )


def _taking_turns(blocks: Sequence[bytes]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Where the samples go on in the block after the next.

    Args:
        blocks: PCM, int16, in order; those of the usual size are looked at.

    Returns:
        The blocks after which anything can be told, shape ``(n,)``, and over each eight of them in a
        row how much better the block after the next goes on than the next, ``(n - 7,)``.
    """
    lengths = sizes(blocks)
    usual = int(np.median(lengths)) if len(lengths) else 0
    size = min(usual // 2, PAST)
    if size < 2 * EDGE or np.count_nonzero(lengths == usual) < IN_A_ROW:
        return np.empty(0, np.intp), np.empty(0)
    told, better = [np.empty(0, np.intp)], [np.empty(0)]
    loud = (32768 * 10 ** (LOUD_DBOV / 20)) ** 2
    for at in range(0, len(blocks) - 2, _BLOCKS):
        few = blocks[at : at + _BLOCKS + 2]
        there = np.flatnonzero(lengths[at : at + _BLOCKS + 2] == usual)
        first, last = np.zeros((len(few), EDGE)), np.zeros((len(few), size))
        samples = np.frombuffer(join(few, there), "<i2").reshape(len(there), -1)
        first[there], last[there] = samples[:, :EDGE], samples[:, -size:]
        let_go(blocks)
        begins, ends = (np.mean(np.square(x), axis=1) > loud for x in (first, last[:, -EDGE:]))
        found = np.flatnonzero(ends[:-2] & begins[1:-1] & begins[2:])
        if len(found):
            told.append(at + found)
            better.append(_better(last[found], first[found + 1], first[found + 2]))
    after = np.concatenate(told)
    if len(after) < IN_A_ROW:
        return after, np.empty(0)
    return after, np.convolve(np.concatenate(better), np.ones(IN_A_ROW) / IN_A_ROW, "valid")


def _better(
    last: NDArray[np.float64], following: NDArray[np.float64], after: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How much better what comes later goes on than what follows: logarithm of the errors' ratio.

    The next samples are foretold from the last ones by linear prediction, fitted to the block's end.

    Args:
        last: Ends of blocks, shape ``(n, samples)``.
        following: Beginnings of the next blocks, ``(n, EDGE)``.
        after: Beginnings of those behind them.
    """
    past, now, weights = fitted(last, _ORDER)
    off_before = np.einsum("nij,nj->ni", past, weights) - now
    usual = np.sqrt(np.mean(np.square(off_before), axis=1)) + STEP

    def error(beginning: NDArray[np.float64]) -> NDArray[np.float64]:
        joined = np.concatenate((last[:, -_ORDER:], beginning[:, :_FORETOLD]), axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(joined, _ORDER + 1, axis=1)
        off = np.einsum("nij,nj->ni", windows[..., :_ORDER], weights) - windows[..., _ORDER]
        rms: NDArray[np.float64] = np.sqrt(np.mean(np.square(off), axis=1)) + usual
        return rms

    found: NDArray[np.float64] = np.log(error(following) / error(after)).clip(-2, 2)
    return found
