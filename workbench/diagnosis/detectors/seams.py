"""Faults at the seams of the bot's audio: where it begins, and where it is cut off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.call import Call
from workbench.call.pieces import let_go, peaks
from workbench.call.unplayed import unplayed_secs
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.detectors.encoding import CONTAINERS
from workbench.diagnosis.detectors.tones import TONE_SECS, is_tone
from workbench.diagnosis.finding import Finding, Part, graded, lasting

__all__ = ["ambience_gap", "onset_pop", "unheard_speech"]

#: Frames of 10 ms in which a tone is known.
FEW: Final = 4
#: What is so much smaller 5 ms behind a step, as a share of it, was a click and nothing more.
ISOLATED: Final = 0.03
#: A piece with no larger sample is silent: mu-law's smallest step is 8.
STILL: Final = 8
#: Speech correlates with itself one sample later by 0.75, a hiss by less than this.
CORRELATION: Final = 0.3
#: A shorter silence, in seconds, that is loud on both sides is a hole in a word, and no onset.
PAUSE: Final = 1.0
#: It is loud in its last so many seconds.
EDGE: Final = 0.010


@detector(
    title="Speech never heard",
    symptoms=(
        Symptom(
            19, "the model believes it said what nobody heard", "`unheard_speech`; `Turn.heard_ms`"
        ),
    ),
    measured="the sound (above -50 dBov) of the messages sent before ``clear`` that had not been "
    "played by then, by the queue model.",
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
    bounds = np.searchsorted(playout.time, call.times_of("clear"))
    first = 0
    for clear, last in zip(call.times_of("clear").tolist(), bounds.tolist(), strict=True):
        ms = 1000 * unplayed_secs(call.outbound, playout, np.arange(first, last))
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
    if not len(clears) or call.ambience is None:
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
    pcm = frames.mono
    for index, before in _begins(queue.time, queue.end, pcm):
        head = b"".join(pcm[index : index + FEW])
        if not head.startswith(tuple(CONTAINERS)):
            start, rate = float(queue.start[index]), int(frames.sample_rate[index])
            yield from _onset(start, before, head, rate)


def _sent_onsets(call: Call) -> Iterator[tuple[float, float]]:
    sent, queue = call.outbound, call.sending
    pcm = sent.pcm()
    for index, before in _begins(queue.time, queue.end, pcm):
        rate = sent.formats[index].sample_rate
        yield from _onset(
            float(queue.start[index]), before, b"".join(pcm[index : index + FEW]), rate
        )


def _begins(
    time: NDArray[np.float64], ends: NDArray[np.float64], pcm: Sequence[bytes]
) -> Iterator[tuple[int, bytes]]:
    """Find the pieces that begin an utterance: after 0.2 s without a piece, or of silent ones.

    Args:
        time: When each came.
        ends: When each would have been played.
        pcm: Its samples.

    Yields:
        Its index, and the last piece with sound in it, if that was just before.
    """
    sounding = np.flatnonzero(peaks(pcm) > STILL)
    silent = time[sounding] - np.append(-np.inf, ends[sounding])[:-1]
    for at in np.flatnonzero(silent >= 0.2).tolist():
        before = pcm[int(sounding[at - 1])] if silent[at] < PAUSE else b""
        yield int(sounding[at]), before
        let_go(pcm)


def _end(pcm: bytes) -> NDArray[np.int16]:
    """The samples up to the last that is not still."""
    samples = np.frombuffer(pcm, "<i2", len(pcm) // 2)
    sounding = np.flatnonzero(np.abs(samples.astype(np.int32)) > STILL)
    return samples[: sounding[-1] + 1] if len(sounding) else samples[:0]


def _onset(at: float, before: bytes, pcm: bytes, rate: int) -> Iterator[tuple[float, float]]:
    """Level of the step at which ``pcm`` begins to sound, unless a hole in a word is over there."""
    silent = int(np.argmax(np.abs(np.frombuffer(pcm, "<i2", len(pcm) // 2)) > STILL))
    if silent:
        at, pcm = at + silent / rate, pcm[2 * silent :]
    tail = _end(before)[-round(EDGE * rate) :]
    head = np.frombuffer(pcm, "<i2", min(len(pcm) // 2, max(4, rate // 2000)))
    if not len(head) or (len(tail) and np.abs(tail.astype(float)).max() > 300):
        return
    wave = np.frombuffer(pcm[: round(TONE_SECS * rate) * 2], "<i2").astype(np.float32)
    going_on = np.abs(np.frombuffer(pcm, "<i2", len(pcm) // 2)[round(0.005 * rate) :].astype(float))
    if not len(going_on) or going_on.max() < ISOLATED * np.abs(wave).max():
        return  # a click by itself begins nothing
    steps = np.abs(np.diff(wave, prepend=0.0))
    steepest = float(steps[: len(head)].max())
    if steepest <= 1.25 * float(steps[len(head) :].max(initial=0.0)):
        hisses = float(wave[1:] @ wave[:-1]) < CORRELATION * float(wave @ wave)
        if hisses or is_tone(wave):
            return
    peak = float(np.abs(head.astype(float)).max()) / 32768
    yield at, 20 * float(np.log10(max(peak, 1e-5)))
