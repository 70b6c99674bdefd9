"""Faults at the seams of the bot's audio: where it begins, is cut off, or is joined."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.call import Call
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.detectors.encoding import CONTAINERS, CORRELATION
from workbench.diagnosis.detectors.tones import TONE_SECS, is_tone
from workbench.diagnosis.finding import POSSIBLE, Finding, Part, graded, lasting
from workbench.metrics.speech import HOP, levels

__all__ = ["ambience_gap", "block_joint", "onset_pop", "stale_audio", "unheard_speech"]

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
_BLOCK: Final = 80  # samples at 8 kHz in which two are compared on
#: Frames of 10 ms in which a tone is known.
FEW: Final = 4
#: A shorter silence, in seconds, that is loud on both sides is a hole in a word, and no onset.
PAUSE: Final = 1.0
#: Fewer joints in sound than this tell nothing.
JOINTS: Final = 50


@detector(
    title="Old speech after barge-in",
    harm=90,
    symptoms=(Symptom(5, "a burst of the old sentence after an interruption", "`stale_audio`"),),
    measured="audio sent within 0.25 s after ``clear`` and not gone on with; or the beginning of "
    "what is sent next, if it is the end of what was given to the serializer before, or a piece of "
    "160 ms and more from the middle of a word of its last 4 s (correlation 0.95 at least; from "
    "0.97 on it is called sure).",
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
    said_at = np.array([frame.time for frame in said], float)
    for clear in call.times_of("clear").tolist():
        after = int(np.searchsorted(sent.time, clear, side="right"))
        if after == len(sent):
            continue
        ms, start = _too_soon(call, after, clear), float(sent.time[after])
        likeness = 1.0
        if not ms:
            cut = int(np.searchsorted(said_at, clear))
            given = [f for f in said[:cut][-_MANY:] if f.time > clear - 2 * OLD_SECS]
            rate = said[cut - 1].sample_rate if cut else 0
            if given and rate:
                held = b"".join(f.mono for f in given if f.sample_rate == rate)
                old = Audio.from_pcm(held, rate).samples[-round(OLD_SECS * rate) :]
                ms, likeness = _leftover(call, after, Audio(old, rate))
        if ms >= stale_audio.threshold:
            yield stale_audio.finding(
                side="bot",
                parts=(Part(start, start + ms / 1000, ms),),
                severity=graded(ms, stale_audio.threshold, 200),
                value=ms,
                measurement=f"{ms:.0f} ms of the interrupted sentence were played after the "
                "interruption",
                cause="The resampler, or a queue behind the interruption, kept a piece of the old "
                "audio.",
                remedy="Reset the serializer's resampler at InterruptionFrame, as this project's "
                "does, and look for a processor that sends on what it had queued.",
                listen="bot_sent",
                confidence=1.0 if likeness >= SURELY else POSSIBLE,
            )


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


def _level_of(call: Call, index: int) -> float:
    wire = call.outbound.formats[index]
    return Audio.from_pcm(wire.decode(call.outbound.payloads[index]), wire.sample_rate).level


def _leftover(call: Call, first: int, old: Audio) -> tuple[float, float]:
    """How much of what is sent from message ``first`` on was in ``old``.

    Returns:
        Milliseconds, 0 for none, and the likeness of the two.
    """
    sent = call.outbound
    wire = sent.formats[first]
    last = first + int(np.searchsorted(np.cumsum(sent.duration[first:]), LONGEST_SECS)) + 1
    pcm = b"".join(wire.decode(payload) for payload in sent.payloads[first:last])
    new = Audio.from_pcm(pcm, wire.sample_rate).resampled(8000).samples
    tail = old.resampled(8000).samples
    ms, likeness = _ending(new[: 8 * HELD_MS], tail)
    return (ms, likeness) if ms else _within(new, tail)


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
    size = 1 << (len(old) + len(head)).bit_length()
    product = np.fft.irfft(np.fft.rfft(old, size) * np.conj(np.fft.rfft(head, size)), size)
    energy = np.append(0.0, np.cumsum(np.square(old, dtype=float)))
    windows = energy[len(head) :] - energy[: -len(head)]
    own = float(np.square(head, dtype=float).sum())
    faintest = len(head) * 10 ** (FAINTEST_DBOV / 10)
    likeness = product[: len(windows)] / np.sqrt(np.maximum(windows * own, faintest**2))
    at = int(np.argmax(likeness))
    best = float(likeness[at])
    if best < SAME or not _in_mid_word(head, old[:at]):
        return 0.0, best
    count = min(len(new), len(old) - at) // _BLOCK
    ours, theirs = (x[: count * _BLOCK].reshape(-1, _BLOCK) for x in (new, old[at:]))
    apart = np.mean(np.square(ours - theirs, dtype=float), axis=1)
    power = np.mean(np.square(theirs, dtype=float), axis=1) + 10 ** (FAINTEST_DBOV / 10)
    differs = np.flatnonzero(apart > 0.2 * power)
    length = int(differs[0]) * _BLOCK if len(differs) else min(len(new), len(old) - at)
    return max(length, len(head)) / 8, best


def _in_mid_word(head: NDArray[np.float32], before: NDArray[np.float32]) -> bool:
    """Whether a piece begins as loud as it goes on, and what stood before it was as loud."""
    loud = float(np.mean(np.square(head[:320], dtype=float))) * 10 ** (MID_WORD_DB / 10)
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
    energy, energies = (np.append(0.0, np.cumsum(np.square(x, dtype=float))) for x in (head, tail))
    for at in range(max(0, len(tail) - len(head) - _SHIFTS), len(tail) - least + 1):
        # From here to the end, or some ms before it: one product gives all these lengths.
        length = np.arange(max(least, len(tail) - at - _SHIFTS), min(len(head), len(tail) - at) + 1)
        if not len(length):
            continue
        product = np.cumsum(head[: length[-1]] * tail[at : at + length[-1]], dtype=float)
        scale = np.sqrt(energy[length] * (energies[at + length] - energies[at]))
        audible = energy[length] > length * 10 ** (FAINTEST_DBOV / 10)
        alike = np.where(audible, product[length - 1] / np.maximum(scale, 1e-9), 0.0)
        found[length] = np.maximum(found[length], alike)
    return found


@detector(
    title="Speech never heard",
    symptoms=(
        Symptom(
            19, "the model believes it said what nobody heard", "`unheard_speech`; `Turn.heard_ms`"
        ),
    ),
    measured="what of the messages sent before ``clear`` had not been played by then, by the "
    "queue model.",
    thresholds=(
        Threshold(250.0, "ms", "A word. The transport's lead of some 80 ms is always thrown away."),
    ),
    change="send through Pipecat's output transport, which keeps close to real time; what is "
    "ahead of the caller's ear by more than that goes into the model's context as said.",
    accuracy=(Accuracy("unheard", 1.0, value_error=6.6, span_ms=1.0),),
)
def unheard_speech(call: Call) -> Iterator[Finding]:
    """An interruption threw away speech that the bot believes it has said."""
    playout = call.playout
    lost = playout.duration - playout.heard
    bounds = np.searchsorted(playout.time, call.times_of("clear"))
    first = 0
    for clear, last in zip(call.times_of("clear").tolist(), bounds.tolist(), strict=True):
        ms = 1000 * float(lost[first:last].sum())
        first = last
        if ms < unheard_speech.threshold:
            continue
        yield unheard_speech.finding(
            side="bot",
            parts=(Part(clear, clear, ms),),
            severity=graded(ms, 1000, np.inf),
            value=ms,
            measurement=f"{ms / 1000:.1f} s of what the bot had sent were thrown away unheard",
            cause="Audio was sent ahead of what the caller had heard; the model's context holds "
            "it as said.",
            remedy="Send it through Pipecat's output transport, which keeps real time, and "
            "truncate the context to what was heard (Turn.heard_ms).",
            listen="bot_sent",
        )


@detector(
    title="Gap in background sound",
    symptoms=(Symptom(22, "gaps in the background at an interruption", "`ambience_gap`"),),
    measured="silence between ``clear`` and the next audio, in a call whose bot sends sound in "
    "its pauses too.",
    thresholds=(
        Threshold(
            40.0,
            "ms",
            "Measured on Pipecat's mixer with interruptions: 60 to 280 ms. One message of 20 ms, "
            "and jitter.",
        ),
    ),
    change="let the mixer go on at once after an interruption, and keep its sound close to real "
    "time.",
    accuracy=(Accuracy("without_ambience", 1.0, value_error=1.2, span_ms=1.0),),
)
def ambience_gap(call: Call) -> Iterator[Finding]:
    """The background sound under the bot's voice stops at an interruption."""
    clears = call.times_of("clear")
    if not len(clears) or not _has_ambience(call):
        return
    playout = call.playout
    starts = np.sort(playout.start[~np.isnan(playout.start)])
    following = np.append(starts, np.inf)[np.searchsorted(starts, clears)]
    silent = zip(clears.tolist(), following.tolist(), strict=True)
    gaps = [gap for gap in lasting(silent) if ambience_gap.threshold <= gap.value < 2000]
    if not gaps:
        return
    worst = max(gap.value for gap in gaps)
    yield ambience_gap.finding(
        side="bot",
        parts=gaps,
        severity=graded(worst, 100, 1000),
        value=worst,
        measurement=f"the background behind the bot stopped for {worst:.0f} ms when it was "
        "interrupted" + (f", {len(gaps)} times in the call" if len(gaps) > 1 else ""),
        cause="clear empties the far end's queue of everything, of the background too.",
        remedy="Let the mixer send on at once after an interruption; the less it is ahead, the "
        "less is lost.",
        listen="caller_heard",
    )


def _has_ambience(call: Call) -> bool:
    """Whether the bot is heard in at least four fifths of the time in which it does not speak."""
    level = levels(call.caller_heard)
    sound = np.flatnonzero(level > -70)
    if not len(sound):
        return False
    pauses = np.zeros(len(level), bool)
    pauses[sound[0] : sound[-1]] = True
    for start, end in call.bot_speech:
        pauses[max(0, int((start - 0.3) / HOP)) : int((end + 0.3) / HOP)] = False
    return bool(pauses.sum() > 3 / HOP and (level[pauses] > -70).mean() > 0.8)


@detector(
    title="Pop at start of speech",
    symptoms=(Symptom(7, "a pop at the start of each prompt", "`onset_pop`, `container_header`"),),
    measured="the peak of the first half millisecond of an utterance, after at least 0.2 s "
    "without. A tone or a hiss that begins no steeper than it goes on has none.",
    thresholds=(
        Threshold(
            -30.0,
            "dBov",
            "Louder is a step that is heard as a pop: speech starts with a ramp of 2 ms and more.",
        ),
    ),
    change="fade prompts in over 5 ms; ask the speech synthesis for raw samples from the "
    "beginning.",
    accuracy=(Accuracy("popping", 1.0, value_error=0.0, span_ms=0.0, decibels=True),),
)
def onset_pop(call: Call) -> Iterator[Finding]:
    """A pop at the start of what the bot says."""
    for name, starts in (("bot_said", _said_onsets(call)), ("bot_sent", _sent_onsets(call))):
        loud = [Part(at, at + 0.002, lv) for at, lv in starts if lv > onset_pop.threshold]
        if not loud:
            continue
        level = max(pop.value for pop in loud)
        upstream = name == "bot_said"
        yield onset_pop.finding(
            side="bot",
            parts=loud,
            severity=graded(level, -20, np.inf),
            value=level,
            measurement=f"{len(loud)} utterances begin with a step, the highest to {level:.0f} "
            "dBov at once",
            cause="The prompt begins in the middle of a wave, or with bytes that are no samples."
            if upstream
            else "The serializer makes it: a filter that starts from what it held before.",
            remedy="Fade prompts in over 5 ms, and look at the first bytes that the speech "
            "synthesis sends."
            if upstream
            else "Reset the serializer's resampler between utterances, not in them.",
            listen=name,
        )
        return


def _said_onsets(call: Call) -> Iterator[tuple[float, float]]:
    frames, queue = call.audio_out, call.speaking
    ends = queue.end
    for index in range(len(frames)):
        silent = queue.time[index] - ends[index - 1] if index else np.inf
        if silent < 0.2:
            continue
        before = frames[index - 1].mono if silent < PAUSE else b""
        pcm = b"".join(frame.mono for frame in frames[index : index + FEW])
        if not pcm.startswith(tuple(CONTAINERS)):
            yield from _onset(float(queue.start[index]), before, pcm, frames[index].sample_rate)


def _sent_onsets(call: Call) -> Iterator[tuple[float, float]]:
    sent, queue = call.outbound, call.sending
    ends = queue.end
    for index in range(len(sent)):
        silent = queue.time[index] - ends[index - 1] if index else np.inf
        if silent < 0.2:
            continue
        wire = sent.formats[index]
        last = sent.formats[index - 1].decode(sent.payloads[index - 1]) if index else b""
        before = last if silent < PAUSE else b""
        pcm = wire.decode(b"".join(sent.payloads[index : index + FEW]))
        yield from _onset(float(sent.time[index]), before, pcm, wire.sample_rate)


def _onset(at: float, before: bytes, pcm: bytes, rate: int) -> Iterator[tuple[float, float]]:
    """Level of the step at which ``pcm`` begins, unless a hole in a word is over there."""
    tail = np.frombuffer(before[-round(0.01 * rate) * 2 :], "<i2")
    head = np.frombuffer(pcm, "<i2", min(len(pcm) // 2, max(4, rate // 2000)))
    if not len(head) or (len(tail) and np.abs(tail.astype(float)).max() > 300):
        return
    wave = np.frombuffer(pcm[: round(TONE_SECS * rate) * 2], "<i2").astype(np.float32)
    steps = np.abs(np.diff(wave, prepend=0.0))
    steepest = float(steps[: len(head)].max())
    if steepest <= 1.25 * float(steps[len(head) :].max(initial=0.0)):
        hisses = float(wave[1:] @ wave[:-1]) < CORRELATION.value * float(wave @ wave)
        if hisses or is_tone(wave):
            return
    peak = float(np.abs(head.astype(float)).max()) / 32768
    yield at, 20 * float(np.log10(max(peak, 1e-5)))


@detector(
    title="Clicks between blocks",
    harm=30,
    symptoms=(Symptom(6, "clicks at a fixed rate, a buzz", "`block_joint`"),),
    measured="the third difference of the samples within 3 of each joint of two blocks, over that "
    "of the 10 ms around it; median of all joints in sound.",
    thresholds=(
        Threshold(
            1.5,
            "times",
            "Streaming conversion has 0.98 to 1.10, conversion of each block by itself 1.9 and "
            "more.",
        ),
    ),
    change="keep one resampler for the whole stream instead of one call for each block; leave out "
    "no samples and pad none.",
    limits="a steady tone tells nothing.",
    accuracy=(Accuracy("jointed", 1.0),),
)
def block_joint(call: Call) -> Iterator[Finding]:
    """Clicks or a buzz at a fixed rate: each block was treated by itself."""
    inbound = call.inbound
    ways = (
        ("bot", "bot_said", call.speaking.start, call.speaking.kept),
        ("bot", "bot_sent", call.sending.start, call.sending.kept),
        ("caller", "caller_sent", inbound.start, np.where(inbound.duplicate, 0, inbound.duration)),
    )
    told = set[str]()
    for side, name, start, length in ways:
        if side in told or not len(start):
            continue
        ratio, count = roughness(call.signal(name), start, length)
        if ratio < block_joint.threshold:
            continue
        told.add(side)
        yield block_joint.finding(
            side="bot" if side == "bot" else "caller",
            parts=(Part(0.0, call.duration, ratio),),
            severity=graded(ratio, 2 * block_joint.threshold, 10),
            value=ratio,
            measurement=f"a click at every joint of two blocks ({count} looked at): {ratio:.1f} "
            "times as rough as between them",
            cause={
                "bot_said": "Each block was converted by itself before it reached the serializer.",
                "bot_sent": "The serializer converts each frame by itself.",
                "caller_sent": "Each message was converted by itself before it arrived.",
            }[name],
            remedy="Nothing in the bot causes it; give Bandwidth the call id."
            if side == "caller"
            else "Keep one resampler for the whole stream (soxr.ResampleStream, or this project's "
            "serializer), not a call of resample() for each block, and pad no block with zeros.",
            listen=name,
        )


def roughness(
    audio: Audio, start: NDArray[np.float64], length: NDArray[np.float64]
) -> tuple[float, int]:
    """How much rougher a track is at its joints than around them.

    Args:
        audio: The track.
        start: Where each block starts, in seconds.
        length: Of each, in seconds.

    Returns:
        The ratio, 1 for none, and the number of joints that it was measured at.
    """
    rate, samples = audio.sample_rate, audio.samples
    joined = np.abs(start[1:] - (start[:-1] + length[:-1])) < 1.5 / rate
    joints = np.rint(start[1:][joined] * rate).astype(np.int64)
    around = round(0.010 * rate)
    joints = joints[(joints > around + 8) & (joints < len(samples) - around - 8)]
    joints = joints[:: max(1, len(joints) // 5000)]
    if len(joints) < JOINTS:
        return 1.0, 0
    windows = samples[joints[:, None] + np.arange(-around - 6, around + 6)].astype(np.float64)
    power = np.mean(np.square(windows), axis=1)
    windows = windows[power > 1e-5]
    if len(windows) < JOINTS:
        return 1.0, 0
    bends = np.abs(np.diff(windows, 3, axis=1))
    # Maxima over six differences: those that straddle the joint, and those of each place around.
    places = bends[:, : bends.shape[1] // 6 * 6].reshape(len(bends), -1, 6).max(axis=2)
    middle = around + 6
    at = bends[:, middle - 4 : middle + 2].max(axis=1)
    usual = np.median(places, axis=1)
    # Of most joints: a few may stand where a tone begins or ends, or where a frame was late.
    ratio = float(np.median((at + 1e-5) / (usual + 1e-5)))
    if ratio >= block_joint.threshold:
        # The joints of a tone all have the same phase, and the rounding of that.
        tones = [is_tone(window) for window in windows[:: 1 + len(windows) // 100]]
        if 2 * sum(tones) > len(tones):
            return 1.0, 0
    return ratio, len(windows)
