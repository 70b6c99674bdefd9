"""Faults of sample rates: declared wrongly, or higher than what is in the audio."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.call import Call
from workbench.call.unplayed import not_passed
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.detectors.encoding import misreadings
from workbench.diagnosis.finding import POSSIBLE, Finding, Part
from workbench.exceptions import MetricWarning
from workbench.metrics.spectra import effective_bandwidth
from workbench.metrics.speed import LONGEST, speed

__all__ = ["OFF", "upsampled", "wire_rate", "wrong_rate", "wrongly_played"]

#: Below this people who shout are told too, so it is for information only.
CLEAR: Final = 1.8
#: So many seconds of speech are needed to tell that a voice is too fast or too slow.
ENOUGH: Final = 5.0
OFF: Final = Threshold(
    1.4,
    "times",
    "Of 951 stretches of 14 s of 275 voices at 0.92 to 1.09 times their speed, which it was not fitted to, "
    "one is told, and of 666 of voices in pieces 2 %; of those at twice or at half their speed 85 %.",
)
#: Timbre and pace each have to say as much by themselves, and within a factor of each other: then it is one
#: rate that moved both. Before they had to, a voice in pieces was told as too fast, which changes fast only.
EACH, APART = 1.2, 2.5
#: So much audio, in seconds, of which nothing came out was lost, not held back by a resampler.
NOTHING: Final = 0.5


@detector(
    title="Narrowband sent as wideband",
    symptoms=(
        Symptom(
            10,
            "muffled although it is sent at 24 kHz",
            "`upsampled`; that the carrier narrows it afterwards is not in the capture: "
            "`workbench compare` assumes it",
        ),
    ),
    measured="the highest frequency within 50 dB of the speech's peak, over the band of the wire.",
    thresholds=(
        Threshold(
            0.7,
            "of half the rate of the wire",
            "Speech at its own rate reaches 0.88 of the band and more; from 16 up to 24 kHz, 0.64.",
        ),
    ),
    change="set audio_out_sample_rate to the rate of the wire and ask the synthesis for it, or "
    "send PCMU.",
    accuracy=(Accuracy("narrow", 1.0),),
)
def upsampled(call: Call) -> Iterator[Finding]:
    """A wide wire that carries narrow speech: bytes for nothing."""
    rate = wire_rate(call)
    if rate <= 8000 or float((call.bot_speech[:, 1] - call.bot_speech[:, 0]).sum()) < 2.0:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)
        reach = effective_bandwidth(call.bot_sent)
    share = reach / (rate / 2)
    if not share < upsampled.threshold:
        return
    said = call.stats.get("pipeline_out_hz", 0)
    narrow = said < rate
    yield upsampled.finding(
        side="bot",
        parts=(Part(0.0, call.duration, reach),),
        severity="info",
        value=reach,
        threshold=Threshold(upsampled.threshold * rate / 2, "Hz"),
        measurement=f"sent at {rate} Hz, but nothing in it lies above {reach / 1000:.1f} kHz",
        cause=f"The pipeline runs at {said:.0f} Hz, below the rate of the wire."
        if narrow
        else "The voice itself is narrower than the pipeline: speech synthesis at a lower rate.",
        remedy=f"Set audio_out_sample_rate={rate} in PipelineParams and ask the synthesis for it; "
        f"or send what there is, {call.carrier.advice.narrower}.",
        listen="bot_sent",
    )


@detector(
    title="Wrong sample rate",
    harm=180,
    symptoms=(
        Symptom(
            9,
            "chipmunks, deep voices",
            "`wrong_rate`; of a voice that was declared wrongly before it got to the serializer if "
            "it is one and a half times off and more",
        ),
    ),
    measured="seconds of audio out of the serializer over seconds into it, each way, where "
    "anything came out; seconds of the caller's audio per second of the clock; and of the bot's voice how "
    "many times too fast it is, by pitch, formants and syllables together.",
    thresholds=(
        Threshold(
            1.3,
            "times",
            "Rates are wrong by 2, 3, or 3/2: far from what jitter and loss can do.",
        ),
    ),
    change="let frames carry the real sample_rate; leave sample_rate unset in InputParams.",
    limits="a voice that was synthesised at one rate and declared at another before it reached "
    "the serializer lasts as long as it is declared, and is told by itself, as possible: on voices it was "
    "not fitted to at twice and at half the speed 85 %, at one and a half times and at two thirds 45 %, and "
    "22.05 for 24 kHz never. People who shout are told as up to 1.7 times too fast (three of fourteen in a "
    "talk show): below 1.8 times it is for information. It takes five seconds of speech without music or "
    "noise under it, and too slow is told of a wide voice only: what is narrow before has little left to be told by.",
    accuracy=(Accuracy("doubled_rate", 1.0, value_error=0.0),),
    explains=("pacing", "tail_lost", "audio_lost", "upsampled"),
)
def wrong_rate(call: Call) -> Iterator[Finding]:
    """Audio that lasts longer or shorter than it should: deep voices, or chipmunks."""
    said, heard = call.audio_out, call.frames_in.taken(call.frames_in.has_sound)
    sent, arrived = call.outbound, call.inbound
    ways = (
        (
            "bot",
            float(sent.duration.sum()),
            _passed(said.time, said.duration, sent.time),
            "what the bot sent",
            "what it said",
        ),
        (
            "caller",
            float(heard.duration.sum()),
            _passed(arrived.time, arrived.duration, heard.time),
            "what the pipeline got of the caller",
            "what arrived",
        ),
        (
            "caller",
            _seconds_per_second(call),
            1.0,
            "a second of the caller's audio",
            "a second of the clock",
        ),
    )
    told = False
    for side, after, before, what, against in ways:
        if (
            min(after, before) < 0.5
            or 1 / wrong_rate.threshold < after / before < wrong_rate.threshold
        ):
            continue
        told = True
        ratio = after / before
        yield wrong_rate.finding(
            side="caller" if side == "caller" else "bot",
            parts=(Part(0.0, call.duration, ratio),),
            severity="error",
            value=ratio,
            measurement=f"{what} lasts {ratio:.2f} times as long as {against}",
            cause="A sample rate is declared that is not the real one.",
            remedy="Let the frames carry the synthesis' real sample_rate, and leave sample_rate "
            "unset in InputParams so that the pipeline's own is taken."
            if side == "bot"
            else "Leave sample_rate unset in InputParams, and check the media format in start.",
            listen="caller_heard" if side == "bot" else "bot_heard",
        )
    if not told:
        yield from _by_voice(call)


def _by_voice(call: Call) -> Iterator[Finding]:
    """A voice of the bot that is faster or slower than people's: its rate was wrong before it came."""
    said, spoken = call.bot_said, call.bot_speech
    if float((spoken[:, 1] - spoken[:, 0]).sum()) < ENOUGH or call.ambience is not None:
        return
    if any(name == "bot_said" and found for _, name, found in misreadings(call)):
        return  # that is no voice
    parts, left = list[NDArray[np.float32]](), LONGEST
    for start, end in spoken.tolist():
        parts.append(said.span(start, min(end, start + left)).samples)
        left -= end - start
        if left <= 0:
            break
    ratio = wrongly_played(Audio(np.concatenate(parts), said.sample_rate))
    for part in parts:
        mapped.let_go(part)
    if ratio is None:
        return
    fast, times = ratio > 1, max(ratio, 1 / ratio)
    yield wrong_rate.finding(
        side="bot",
        parts=(Part(float(spoken[0, 0]), float(spoken[-1, 1]), ratio),),
        severity="warning" if times >= CLEAR else "info",
        value=ratio,
        threshold=OFF,
        measurement=f"the bot's voice is about {times:.1f} times too {'fast' if fast else 'slow'}: pitch, "
        "formants and syllables together",
        cause="The speech synthesis delivers another rate than its frames are declared to have: "
        + ("a lower one." if fast else "a higher one.")
        + (" Or the voice shouts." if fast and times < CLEAR else ""),
        remedy="Set the speech service's sample_rate to what it really delivers.",
        listen="bot_said",
        confidence=POSSIBLE,
    )


def wrongly_played(voice: Audio) -> float | None:
    """How many times too fast a voice is played, if it is enough to be told."""
    found = speed(voice)
    if found is None:
        return None
    # As factors from 1 on, below 1 for what goes the other way.
    whole, timbre, pace = (one if found.whole > 1 else 1 / one for one in found)
    least, most = sorted((timbre, pace))
    told = whole >= OFF.value and least >= EACH and most <= APART * least
    return found.whole if told else None


def _passed(time: ArrayLike, duration: ArrayLike, out: ArrayLike) -> float:
    """Seconds of audio that went into the serializer, but for stretches of which nothing came."""
    times, secs = np.asarray(time, float), np.asarray(duration, float)
    lost = not_passed(times, secs, np.asarray(out, float), NOTHING)
    return float(secs.sum() - sum(secs[run].sum() for run in lost))


def _seconds_per_second(call: Call) -> float:
    """How much audio of the caller arrives in a second, in the middle of all seconds with any."""
    stream = call.inbound
    if len(stream) < 100:
        return 1.0
    arrived = np.bincount(np.maximum(stream.time, 0).astype(int), stream.duration)[1:-1]
    arrived = arrived[arrived > 0]
    return float(np.median(arrived)) if len(arrived) >= 3 else 1.0


def wire_rate(call: Call) -> int:
    """Rate of most of what was sent, in hertz."""
    return int(call.stats.get("wire_out_hz", 8000))
