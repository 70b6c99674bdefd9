"""Faults of an interruption: what it should have thrown away is played after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.call import Call, FrameRecord
from workbench.call.pieces import let_go
from workbench.call.turns import OVER_AMBIENCE_DB, TURN_PAUSE
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.detectors.barge_in import AUDIBLE_DBOV
from workbench.diagnosis.finding import POSSIBLE, Finding, Part, graded
from workbench.metrics.speech import HOP, levels

__all__ = ["stale_audio"]

#: Nobody answers so soon: what is sent this soon after an interruption belongs to before it.
TOO_SOON: Final = 0.25
#: More than any resampler holds back (soxr VHQ, 24 to 8 kHz: 152 ms at most).
HELD_MS: Final = 160
#: Likeness that makes two pieces of audio the same one, through mu-law and a resampler: of 3000
#: pairs of sentences of one voice 3 are so alike. From the second on it is sure (1 of them).
SAME, SURELY = 0.95, 0.97
#: Faint, but more than mu-law's own noise, which two pieces do not share.
FAINTEST_DBOV: Final = -65.0
_SHIFTS: Final = 48  # samples at 8 kHz, 6 ms
#: A queue can keep more, from anywhere in what was said in the last seconds. Of 1300 pairs of
#: phrases of one voice no first 160 ms of one are in the other by more than 0.93.
OLD_SECS, LONGEST_SECS = 4.0, 2.0
#: A scrap starts in mid-word: as loud there as it goes on, and so was what stood before it. A phrase
#: that is said again starts with silence, or with a ramp.
MID_WORD_DB: Final = -12.0
_MANY: Final = 1000  # frames, more than there are in so long
#: Frames that come so long after those before them were over, in seconds, begin something else.
APART: Final = 0.2
SILENCE: Final = 0.05
#: Of full scale. Of 300 phrases of the voices that are packaged for Debian nine in ten have less than 0.001.
LEAST_DC: Final = 0.01
_BLOCK: Final = 80  # samples at 8 kHz in which two are compared on
#: A word that is cut falls by so much, within a millisecond, into the soft beginning of what is sent
#: next: mean of 5 ms. Of 2200 places in words one in a thousand falls by 12.6 dB; of cuts 8 in 10 by 15.
_EDGE, _FALL_DB = 40, -14.0
#: Samples before a cut that must be as loud as a word.
_AROUND: Final = 160


@detector(
    title="Old speech after barge-in",
    harm=90,
    symptoms=(Symptom(5, "a burst of the old sentence after an interruption", "`stale_audio`"),),
    measured="audio sent within 0.25 s after ``clear`` and not gone on with; or the beginning of "
    "what is sent next, if it is the end of what was given to the serializer before, or a piece of "
    "160 ms and more from the middle of a word of its last 4 s (correlation 0.95 at least; from "
    "0.97 on it is called sure). All of a sentence up to where it was cut is possible only.",
    thresholds=(
        Threshold(
            20.0,
            "ms",
            "A syllable lasts some 150 ms; 20 ms of one, one message of the telephone network, is "
            "a blip.",
        ),
    ),
    change="reset the serializer's resampler at the interruption, which this project's serializer "
    "does; let no processor send on what it had queued.",
    limits="a scrap that is fainter than -65 dBov is not told, nor a long one that begins in a pause: "
    "it may be a phrase that is said again.",
    accuracy=(Accuracy("stale", 1.0, value_error=0.0, span_ms=0.0),),
    explains=("onset_pop",),
)
def stale_audio(call: Call) -> Iterator[Finding]:
    """A scrap of the old sentence after an interruption."""
    said, sent = call.audio_out, call.outbound
    said_at, background = said.time, call.ambience
    clears = np.sort(call.times_of("clear"))
    following = np.searchsorted(sent.time, clears, side="right")
    # Of several that nothing was sent between, the last one is what is sent next measured by.
    lasts = np.flatnonzero(np.diff(following, append=len(sent)) > 0)
    for clear, after in zip(clears[lasts].tolist(), following[lasts].tolist(), strict=True):
        start = float(sent.time[after])
        soon = 0.0 if background is not None else _too_soon(call, after, clear)
        ms, likeness = soon, 1.0
        if not soon:
            cut = int(np.searchsorted(said_at, clear))
            given = said[max(0, cut - _MANY) : cut]
            given = given.taken(given.time > clear - 2 * OLD_SECS)
            rate = int(said.sample_rate[cut - 1]) if cut else 0
            if len(given) and rate:
                held = _in_a_row(given.taken(given.sample_rate == rate), rate)
                old = Audio.from_pcm(held, rate).samples[-round(OLD_SECS * rate) :]
                ms, likeness = _leftover(call, after, Audio(old, rate), _was_speaking(call, clear))
                let_go(said.pieces)
        if ms and background is not None:
            if _loudest(call, after, ms) < background + OVER_AMBIENCE_DB:
                continue  # music is like itself
        if ms >= stale_audio.threshold:
            given_behind = ((said_at > clear) & (said_at < start + TOO_SOON)).any()
            sure = likeness >= SURELY
            cause, remedy = _PASSED if soon and given_behind else _KEPT if sure else _AGAIN
            yield stale_audio.finding(
                side="bot",
                parts=(Part(start, start + ms / 1000, ms),),
                severity=graded(ms, stale_audio.threshold, 200) if sure else "info",
                value=ms,
                measurement=f"{ms:.0f} ms of the interrupted sentence were played after the "
                "interruption",
                cause=cause,
                remedy=remedy,
                listen="bot_sent",
                confidence=1.0 if sure else POSSIBLE,
            )


#: Cause and remedy, by whether the pipeline gave the serializer a frame behind the interruption.
_PASSED: Final = (
    "The pipeline gave the serializer audio behind the InterruptionFrame: the transport was just "
    "sending a frame, or a processor sends on what it had queued.",
    "One frame now and then is Pipecat's transport, which goes on sending what it has begun with; of "
    "more, look for a processor behind the speech synthesis that keeps audio of its own.",
)
_KEPT: Final = (
    "The resampler, or a queue behind the interruption, kept a piece of the old audio.",
    "Reset the serializer's resampler at InterruptionFrame, as this project's does, and look for a "
    "processor that sends on what it had queued.",
)


_AGAIN: Final = (
    "What was sent next is like what was cut. Either a piece of the old audio was kept, by a resampler or a "
    "queue behind the interruption, or the bot said the same words again.",
    "Listen to it. Where it is no repetition: " + _KEPT[1][0].lower() + _KEPT[1][1:],
)


def _in_a_row(frames: Sequence[FrameRecord], rate: int) -> bytes:
    """Audio one after the other, with a short silence where nothing was given for a while.

    So a phrase that begins without one of its own is known for one where it is said again.
    """
    pieces, end = [], frames[0].time
    for frame in frames:
        if frame.time - end > APART:
            pieces.append(bytes(2 * round(SILENCE * rate)))
        end = max(end, frame.time) + frame.duration
        pieces.append(frame.mono)
    return b"".join(pieces)


def _too_soon(call: Call, first: int, clear: float) -> float:
    """Milliseconds of a short run of messages that begins right after ``clear``."""
    sent = call.outbound
    if sent.time[first] - clear >= TOO_SOON:
        return 0.0
    last = first
    while last + 1 < len(sent) and sent.time[last + 1] - sent.time[last] < TOO_SOON:
        last += 1
        if sent.time[last] - clear > 2 * TOO_SOON:
            return 0.0  # it goes on: a quick answer
    run = slice(first, last + 1)
    if max(_level_of(call, i) for i in range(first, last + 1)) < -50:
        return 0.0
    return 1000 * float(sent.duration[run].sum())


def _loudest(call: Call, first: int, ms: float) -> float:
    """Level of the loudest of the first messages of what is sent from ``first`` on, in dBov."""
    last = first + int(np.searchsorted(np.cumsum(call.outbound.duration[first:]), ms / 1000)) + 1
    return max(_level_of(call, index) for index in range(first, min(last, len(call.outbound))))


def _level_of(call: Call, index: int) -> float:
    wire = call.outbound.formats[index]
    return Audio.from_pcm(wire.decode(call.outbound.payloads[index]), wire.sample_rate).level


def _was_speaking(call: Call, clear: float) -> bool:
    """Whether the bot had the turn when it was interrupted: else nothing of it waited anywhere."""
    heard = levels(call.caller_heard)[
        max(0, round((clear - TURN_PAUSE) / HOP)) : round(clear / HOP)
    ]
    return bool(heard.max(initial=-100.0) > AUDIBLE_DBOV)


def _leftover(call: Call, first: int, old: Audio, was_speaking: bool) -> tuple[float, float]:
    """How much of what is sent from message ``first`` on was in ``old``.

    A resampler keeps the end of a sentence until the next; a queue keeps what it has not sent yet.

    Returns:
        Milliseconds, 0 for none, and the likeness of the two.
    """
    sent = call.outbound
    wire = sent.formats[first]
    last = first + int(np.searchsorted(np.cumsum(sent.duration[first:]), LONGEST_SECS)) + 1
    pcm = b"".join(wire.decode(payload) for payload in sent.payloads[first:last])
    sent_audio = Audio.from_pcm(pcm, wire.sample_rate)
    offset = _offset(sent_audio, old)
    new, tail = (_less(audio, offset).resampled(8000).samples for audio in (sent_audio, old))
    ms, likeness = _ending(new[: 8 * HELD_MS], tail)
    return (ms, likeness) if ms or not was_speaking else _within(new, tail)


def _offset(*several: Audio) -> np.float32:
    """How far all of them stand off centre (DC), silence left out; 0 if it is as little as of any voice."""
    sums = [
        (float(a.samples.sum(dtype=np.float64)), int(np.count_nonzero(a.samples))) for a in several
    ]
    total, count = np.sum(sums, axis=0)
    offset = total / max(count, 1)
    return np.float32(offset if abs(offset) > LEAST_DC else 0.0)


def _less(audio: Audio, offset: np.float32) -> Audio:
    """The same without it, since what stands off centre is like itself. Silence stays as it is."""
    samples = audio.samples
    return Audio(np.where(samples != 0, samples - offset, samples), audio.sample_rate)


def _ending(head: NDArray[np.float32], tail: NDArray[np.float32]) -> tuple[float, float]:
    """How much of the beginning of ``head`` ends ``tail``, as :func:`_leftover` says it."""
    likeness = _likeness(head, tail)
    best = float(likeness.max(initial=0.0))
    if best < SAME:
        return 0.0, best
    length = int(np.flatnonzero(likeness > best - 0.01)[-1])
    # A sentence that was cut as soon as it had begun, and is said again, is alike too.
    before = tail[: max(0, len(tail) - length - _SHIFTS)][-round(8 * stale_audio.threshold) :]
    if not len(before) or float(np.mean(np.square(before))) < 10 ** (FAINTEST_DBOV / 10):
        return 0.0, best
    return length / 8, best


def _within(new: NDArray[np.float32], old: NDArray[np.float32]) -> tuple[float, float]:
    """How much of the beginning of ``new`` is anywhere in ``old``, as :func:`_leftover` says it."""
    head = new[: 8 * HELD_MS]
    if len(head) < 8 * HELD_MS or len(old) <= len(head) + _BLOCK:
        return 0.0, 0.0
    size = 1 << (len(old) - 1).bit_length()  # enough: of the places looked at none goes round
    product = np.fft.irfft(np.fft.rfft(old, size) * np.conj(np.fft.rfft(head, size)), size)
    energy = np.append(0.0, np.cumsum(np.square(old, dtype=float)))
    windows = energy[len(head) :] - energy[: -len(head)]
    own = float(np.square(head, dtype=float).sum())
    faintest = len(head) * 10 ** (FAINTEST_DBOV / 10)
    likeness = product[: len(windows)] / np.sqrt(np.maximum(windows * own, faintest**2))
    at = int(np.argmax(likeness))
    best = float(likeness[at])
    if best < SAME:
        return 0.0, best
    count = min(len(new), len(old) - at) // _BLOCK
    ours, theirs = (x[: count * _BLOCK].reshape(-1, _BLOCK) for x in (new, old[at:]))
    apart = np.mean(np.square(ours - theirs, dtype=float), axis=1)
    power = np.mean(np.square(theirs, dtype=float), axis=1) + 10 ** (FAINTEST_DBOV / 10)
    differs = np.flatnonzero(apart > 0.2 * power)
    if len(differs):
        length = int(differs[0]) * _BLOCK
    elif len(new) > len(old) - at:
        length = len(old) - at
    else:
        return 0.0, best  # all of it: that is said again, no scrap before something new
    length = max(length, len(head))
    if _in_mid_word(head, old[:at]):
        return length / 8, best
    # A phrase that is said again may fall silent by chance where it was cut before.
    return (length / 8, SAME) if _breaks_off(new, old, length, len(old) - at) else (0.0, best)


def _breaks_off(new: NDArray[np.float32], old: NDArray[np.float32], length: int, left: int) -> bool:
    """Whether the new goes on otherwise, at once, where the old was cut in a word.

    What is said again goes on beyond the cut as if there had been none.
    """
    if abs(length - left) > _BLOCK or not _AROUND < left < len(new) - _AROUND:
        return False
    loud = float(np.mean(np.square(new[:left], dtype=float))) * 10 ** (MID_WORD_DB / 10)
    if float(np.mean(np.square(old[-_AROUND:], dtype=float))) < loud:
        return False
    last, next_ = new[left - _EDGE : left], new[left + 8 : left + 8 + _EDGE]
    fallen = float(np.mean(np.square(next_, dtype=float)) / np.mean(np.square(last, dtype=float)))
    return fallen < 10 ** (_FALL_DB / 10)


def _in_mid_word(head: NDArray[np.float32], before: NDArray[np.float32]) -> bool:
    """Whether a piece begins as loud as it goes on, and what stood before it in the old was too."""
    loud = float(np.mean(np.square(head, dtype=float))) * 10 ** (MID_WORD_DB / 10)
    beginnings = before[-160:], head[:40]
    return all(len(x) and float(np.mean(np.square(x, dtype=float))) > loud for x in beginnings)


def _likeness(head: NDArray[np.float32], tail: NDArray[np.float32]) -> NDArray[np.float64]:
    """Correlation of the beginning of one signal with the end of another, by its length.

    Args:
        head: At 8 kHz, shape ``(n,)``.
        tail: At 8 kHz; the filters of both conversions may move it by :data:`_SHIFTS`.

    Returns:
        Shape ``(n + 1,)``; 0 where it is too short or too faint to tell.
    """
    least = round(8 * stale_audio.threshold)
    found = np.zeros(len(head) + 1)
    length = np.arange(least, min(len(head), len(tail)) + 1)
    if not len(length):
        return found
    energy, energies = (np.append(0.0, np.cumsum(np.square(x, dtype=float))) for x in (head, tail))
    # All lengths at once: beginnings that end where the tail does, then, sample by sample, before.
    product = _overlaps(head, tail, len(length) + _SHIFTS, least)
    padded = np.append(head, np.zeros(_SHIFTS)).astype(float)
    for shift in range(_SHIFTS + 1):
        end = len(tail) - shift
        if shift:  # what reached one sample further is without that sample
            last = np.arange(least, least + len(product) - 1)
            product = product[1:] - padded[last] * float(tail[end])
        some = length[: max(0, end - least + 1)]
        if not len(some):
            break
        theirs = energies[end] - energies[end - some]
        scale = np.sqrt(energy[some] * theirs)
        # Of what is faint on either side the likeness is that of roundings.
        audible = np.minimum(energy[some], theirs) > some * 10 ** (FAINTEST_DBOV / 10)
        alike = np.where(audible, product[: len(some)] / np.maximum(scale, 1e-9), 0.0)
        found[some] = np.maximum(found[some], alike)
    return found


def _overlaps(
    head: NDArray[np.float32], tail: NDArray[np.float32], count: int, least: int
) -> NDArray[np.float64]:
    """Products of the last ``least``, ``least + 1``, ... samples of ``tail`` with ``head``.

    Beyond its end ``head`` is silent; of a tail that is too short for a length the product is 0.
    """
    longest = min(len(tail), least + count - 1)
    size = 1 << (2 * longest).bit_length()
    spectra = (np.fft.rfft(x.astype(float), size) for x in (tail[-longest:], head[:longest]))
    theirs, ours = spectra
    whole = np.fft.irfft(theirs * np.conj(ours), size)[: longest - least + 1][::-1]
    return np.append(whole, np.zeros(count - len(whole)))
