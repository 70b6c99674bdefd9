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
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple, overload

import numpy as np
from pipecat.frames.frames import EndFrame, Frame, InterruptionFrame, OutputAudioRawFrame

from pipecat_bandwidth import BandwidthFrameSerializer
from pipecat_bandwidth.encodings import from_content_type
from pipecat_bandwidth.messages import PlayAudio, parse
from workbench import mapped
from workbench.audio import Audio
from workbench.call.pieces import Pieces, PieceWriter
from workbench.exceptions import NothingSaid
from workbench.metrics.alignment import find_delay
from workbench.tuning.voice import Source, Voice, voice_of

__all__ = ["Resent", "resend"]

#: Delay is constant, so it is measured on the loudest excerpt of this length.
_DELAY_SECS: Final = 20.0
#: Frames that are sent together, and then decoded.
_AT_ONCE: Final = 200


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
    messages: Sequence[str]
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
        if isinstance(self.messages, _Texts):
            return self.messages.size
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
    frames = _frames(voice.resampled(audio_out_sample_rate or voice.sample_rate))
    with ThreadPoolExecutor(1) as thread:  # a notebook's own thread has a loop running already
        passed = thread.submit(asyncio.run, _serialized(frames, params)).result()
    offset = _offset(said, passed.sent)
    return Resent(
        params=params,
        said=said,
        sent=passed.sent,
        messages=passed.texts,
        offset_ms=offset,
        first_audio_ms=passed.first_ms + offset,
        delay_ms=passed.held_ms + offset,
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


class _Texts(Sequence[str]):
    """WebSocket texts; those of an hour lie in a file."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces

    def __len__(self) -> int:
        return len(self._pieces)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        found = self._pieces[index]
        return _Texts(found) if isinstance(found, Pieces) else found.decode()

    def __iter__(self) -> Iterator[str]:
        return (piece.decode() for piece in self._pieces)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def size(self) -> int:
        """Bytes in all of them; they are ASCII."""
        return int(self._pieces.size.sum())


class _Passed(NamedTuple):
    """What came out.

    Parameters:
        texts: The messages.
        sent: The audio on the wire.
        first_ms: Held back at the first message.
        held_ms: Held back, mean over the messages.
        cpu_secs: What it took.
        remarks: The serializer's warnings.
    """

    texts: _Texts
    sent: Audio
    first_ms: float
    held_ms: float
    cpu_secs: float
    remarks: tuple[str, ...]


async def _serialized(
    frames: Iterator[Frame], params: BandwidthFrameSerializer.InputParams
) -> _Passed:
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
    decoding, cpu_secs = _Decoding(), 0.0
    while some := list(islice(frames, _AT_ONCE)):
        before = time.thread_time()
        texts = [await serializer.serialize(frame) for frame in some]
        cpu_secs += time.thread_time() - before
        for frame, text in zip(some, texts, strict=True):
            decoding.add(frame, text)
    return decoding.passed(cpu_secs, tuple(remarks))


class _Decoding:
    """What the serializer makes of each frame, decoded as Bandwidth would."""

    def __init__(self) -> None:
        self._texts = PieceWriter()
        self._pcm = mapped.Spool()
        self._held = array("d")
        self._rate = 8000
        self._fed = self._emitted = self._first = 0.0

    def add(self, frame: Frame, text: str | None) -> None:
        length = 0.0
        if isinstance(frame, OutputAudioRawFrame):
            length = 1000 * frame.num_frames / frame.sample_rate
        self._fed += length
        if not text:
            return
        self._texts.add(text.encode())
        message = parse(text, max_size=len(text))
        if isinstance(message, PlayAudio):
            form = from_content_type(message.content_type)
            self._rate = form.sample_rate
            self._pcm.add(form.decode(message.payload))
            if not self._held:
                self._first = self._fed - length
            self._emitted += 1000 * form.duration(message.payload)
            if length:
                self._held.append(self._fed - self._emitted)

    def passed(self, cpu_secs: float, remarks: tuple[str, ...]) -> _Passed:
        if not self._held:
            raise NothingSaid("the serializer sent no audio: " + "; ".join(remarks))
        sent = Audio.from_pcm(self._pcm.taken().view("<i2"), self._rate)
        held_ms = float(np.mean(np.array(self._held)))
        texts = _Texts(self._texts.pieces())
        return _Passed(texts, sent, self._first, held_ms, cpu_secs, remarks)


def _offset(said: Audio, sent: Audio) -> float:
    """Delay of the sound in ``sent``, from the loudest excerpt."""
    hop = said.sample_rate // 2
    halves = said.samples[: len(said.samples) // hop * hop].reshape(-1, hop)
    width = round(2 * _DELAY_SECS)
    start = 0.0
    if len(halves) > width:
        energy = np.concatenate(
            [
                np.einsum("ij,ij->i", some, some, dtype=np.float64)
                for _, some in mapped.blocks(halves, width)
            ]
        )
        so_far = np.cumsum(np.append(0.0, energy))
        start = 0.5 * float(np.argmax(so_far[width:] - so_far[:-width]))
    rate = min(said.sample_rate, sent.sample_rate)
    one, other = (a.span(start, start + _DELAY_SECS).resampled(rate) for a in (said, sent))
    return round(find_delay(one, other), 3) + 0.0  # to the microsecond, and no negative zero
