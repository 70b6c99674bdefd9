"""What the bot said in a call, sent once more through the serializer with other parameters.

The frames of a capture (:mod:`workbench.tuning.voice`) go through a real
:class:`pipecat_bandwidth.BandwidthFrameSerializer` in their order, interruptions among them, as
fast as it takes them; what comes out is decoded as Bandwidth would. Nothing depends on the clock,
so sending it again gives the same bytes. This is why ``resampler_clear_after_secs`` and
``outbound_cushion_ms`` are left out: their effect depends on when frames come
(:mod:`workbench.tuning.cushion`).

A pipeline at another ``audio_out_sample_rate`` would have resampled the voice before the
serializer. That is modelled by converting each uninterrupted run of frames as a whole, without
delay.

A capture is a regression test, too: :mod:`workbench.call.replay` gives the serializer everything of
a call again, both directions at their captured times, and compares bit for bit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from pipecat.frames.frames import EndFrame, Frame, InterruptionFrame, OutputAudioRawFrame

from pipecat_bandwidth import BandwidthFrameSerializer
from pipecat_bandwidth.encodings import from_content_type
from pipecat_bandwidth.messages import PlayAudio, parse
from workbench.audio import Audio
from workbench.exceptions import NothingSaid
from workbench.metrics.alignment import find_delay
from workbench.tuning.voice import Source, Voice, voice_of

__all__ = ["Resent", "resend"]

#: Delay is constant, so it is measured on the loudest excerpt of this length.
_DELAY_SECS: Final = 20.0


@dataclass(frozen=True, eq=False)
class Resent:
    """One pass through the serializer.

    Parameters:
        params: What it was configured with.
        said: What went in, one frame behind the other, mono: the reference.
        sent: The same as decoded from the wire, ``offset_ms`` later.
        messages: The WebSocket texts, in order.
        offset_ms: Where the sound lies in ``sent``, against ``said``; NaN when there is none.
        first_audio_ms: Audio fed after the first frame and before the first message came out, plus
            ``offset_ms``; 0 for a serializer that only encodes.
        delay_ms: Audio fed and not yet sent, mean over the messages, plus ``offset_ms``: the
            serializer's share in the latency.
        cpu_us_per_s: CPU time for each second of audio; depends on the machine: an order of
            magnitude.
        remarks: The serializer's warnings.
    """

    params: BandwidthFrameSerializer.InputParams
    said: Audio
    sent: Audio
    messages: tuple[str, ...]
    offset_ms: float
    first_audio_ms: float
    delay_ms: float
    cpu_us_per_s: float
    remarks: tuple[str, ...]

    @property
    def said_ms(self) -> float:
        """Sound that went in, in milliseconds."""
        return 1000 * self.said.duration

    @property
    def sent_ms(self) -> float:
        """Sound that came out, the resampler's delay and tail included."""
        return 1000 * self.sent.duration

    @property
    def conserved_ms(self) -> float:
        """How much of ``said_ms`` came out."""
        offset = 0.0 if np.isnan(self.offset_ms) else self.offset_ms
        return min(self.said_ms, self.sent_ms - offset)

    @property
    def wire_bytes(self) -> int:
        """All messages, JSON and base64 included, without WebSocket, TLS and TCP."""
        return sum(map(len, self.messages))

    @property
    def kbit_s(self) -> float:
        """Wire bits for each second of audio, in thousands."""
        return self.wire_bytes * 8 / self.said_ms if self.said_ms else 0.0

    def __repr__(self) -> str:
        return (
            f"Resent({self.said.duration:.1f} s as {len(self.messages)} messages, "
            f"{self.kbit_s:.0f} kbit/s, {self.delay_ms:.1f} ms)"
        )


def resend(
    call: Source,
    params: BandwidthFrameSerializer.InputParams | None = None,
    *,
    audio_out_sample_rate: int | None = None,
) -> Resent:
    """Send the bot's audio through the serializer once more.

    Args:
        call: A call; or the frames it gave to ``serialize``; or any audio, which is cut into
            frames of 40 ms.
        params: The serializer's; it never hangs up here. Defaults to its defaults.
        audio_out_sample_rate: Rate of the pipeline, in hertz; ``None`` for that of the frames.

    Raises:
        NothingSaid: If there is no audio to send, or the serializer sends none of it.
        ValueError: If the rate is not positive.
    """
    params = params or BandwidthFrameSerializer.InputParams()
    if audio_out_sample_rate is not None and audio_out_sample_rate <= 0:
        raise ValueError(f"{audio_out_sample_rate=}, wanted a positive number of hertz")
    voice = voice_of(call)
    said = voice.audio
    frames = list(_frames(voice.resampled(audio_out_sample_rate or voice.sample_rate)))
    with ThreadPoolExecutor(1) as thread:  # a notebook's own thread has a loop running already
        passed = thread.submit(asyncio.run, _serialized(frames, params)).result()
    sent, first_ms, held_ms = _decoded(frames, passed)
    offset = _offset(said, sent)
    return Resent(
        params=params,
        said=said,
        sent=sent,
        messages=tuple(text for text in passed.texts if text is not None),
        offset_ms=offset,
        first_audio_ms=first_ms + offset,
        delay_ms=held_ms + offset,
        cpu_us_per_s=passed.cpu_secs * 1e6 / said.duration,
        remarks=passed.remarks,
    )


def _frames(said: Voice) -> Iterator[Frame]:
    for run in said.runs:
        for samples in run.frames:
            yield OutputAudioRawFrame(samples.tobytes(), said.sample_rate, 1)
        if run.interrupted:
            yield InterruptionFrame()
    yield EndFrame()


class _Passed(NamedTuple):
    """What came out: for each frame a text or None; what it took; what was remarked."""

    texts: list[str | None]
    cpu_secs: float
    remarks: tuple[str, ...]


async def _serialized(frames: list[Frame], params: BandwidthFrameSerializer.InputParams) -> _Passed:
    without = {
        "auto_hang_up": False,
        "resampler_clear_after_secs": None,
        "outbound_cushion_ms": 0,
    }
    remarks: list[str] = []  # not for the log: no call is up
    serializer = BandwidthFrameSerializer(
        "resend",
        params=params.model_copy(update=without),
        log=lambda level, text: remarks.append(text),
    )
    before = time.thread_time()
    texts = [await serializer.serialize(frame) for frame in frames]
    return _Passed(texts, time.thread_time() - before, tuple(remarks))


def _decoded(frames: list[Frame], passed: _Passed) -> tuple[Audio, float, float]:
    """The audio on the wire, and the ms held back at the first message and, mean, at all."""
    pcm: list[bytes] = []
    held: list[float] = []
    fed = emitted = 0.0
    rate = 8000
    for frame, text in zip(frames, passed.texts, strict=True):
        length = 0.0
        if isinstance(frame, OutputAudioRawFrame):
            length = 1000 * frame.num_frames / frame.sample_rate
        fed += length
        message = parse(text, max_size=len(text)) if text else None
        if isinstance(message, PlayAudio):
            form = from_content_type(message.content_type)
            rate = form.sample_rate
            pcm.append(form.decode(message.payload))
            if not held:
                first = fed - length
            emitted += 1000 * form.duration(message.payload)
            if length:
                held.append(fed - emitted)
    if not held:
        raise NothingSaid("the serializer sent no audio: " + "; ".join(passed.remarks))
    return Audio.from_pcm(b"".join(pcm), rate), first, float(np.mean(held))


def _offset(said: Audio, sent: Audio) -> float:
    """Delay of the sound in ``sent``, from the loudest excerpt."""
    hop = said.sample_rate // 2
    blocks = said.samples[: len(said.samples) // hop * hop].reshape(-1, hop)
    width = round(2 * _DELAY_SECS)
    start = 0.0
    if len(blocks) > width:
        energy = np.einsum("ij,ij->i", blocks, blocks, dtype=np.float64)
        so_far = np.cumsum(np.append(0.0, energy))
        start = 0.5 * float(np.argmax(so_far[width:] - so_far[:-width]))
    rate = min(said.sample_rate, sent.sample_rate)
    one, other = (a.span(start, start + _DELAY_SECS).resampled(rate) for a in (said, sent))
    return round(find_delay(one, other), 3) + 0.0  # to the microsecond, and no negative zero
