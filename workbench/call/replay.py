"""A whole call through the serializer again, both directions as they were captured.

Where :mod:`workbench.tuning.resend` takes the bot's sound out of a call to try other settings on it, here
nothing is left out: every message that arrived and every frame that was sent, in their order, and
where the serializer asks for the time it gets that of the capture. So the same serializer with the
same parameters makes the same messages and frames, bit for bit; another version that does not has
changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
)

from pipecat_bandwidth import BandwidthFrameSerializer, ProtocolError
from pipecat_bandwidth.messages import Clear, PlayAudio, parse
from workbench.audio import Audio
from workbench.budget import Budget
from workbench.call.placement import lay, place_made
from workbench.call.reading import frame_of
from workbench.capture import CaptureReader, OtherFrame, Record

if TYPE_CHECKING:
    from workbench.call import Call

__all__ = ["Replayed", "assert_same", "replay", "replay_inbound"]

#: Differences that are told; the rest is counted.
_TOLD: Final = 5

_MAX_SENT: Final = 64 * 1024 * 1024


@dataclass(frozen=True)
class Replayed:
    """Whether a call came out as it was captured.

    Parameters:
        messages: Messages with audio or a ``clear`` that were captured.
        frames: Audio frames to the pipeline that were captured.
        different: How many of both came out otherwise, are missing or are more.
        differences: The first of them, in sentences.
        remarks: What the comparison could not take into account.
    """

    messages: int
    frames: int
    different: int
    differences: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.different

    def __str__(self) -> str:
        what = f"{self.messages} messages to the caller and {self.frames} frames to the pipeline"
        if self:
            return " ".join([f"The same, bit for bit: {what}.", *self.remarks])
        rest = self.different - len(self.differences)
        more = [f"And {rest} more."] if rest else []
        first = f"Not the same: {self.different} of {what} differ."
        return " ".join([first, *self.differences, *more, *self.remarks])


def replay(call: Call, params: BandwidthFrameSerializer.InputParams | None = None) -> Replayed:
    """Give a captured call to the serializer again, and compare with what was captured.

    Args:
        call: The call; its file is read again.
        params: The serializer's; by default those it was captured with, or the defaults if the
            capture does not tell.

    Raises:
        ValueError: If another carrier's serializer was recorded.
        CaptureError: If the file cannot be read any more.
    """
    call.check_ours("replay")
    records = _records(call)
    rate = next((r.sample_rate for r in call.frames_in if r.pcm), None)
    run = _run(records, params or captured_params(call), rate, call.budget)
    sent = [_essence(record.body) for record in records if record.topic == "/ws/tx"]
    known = [message for message in sent if message is not None]
    heard = [(f.pcm, f.sample_rate) for f in call.frames_in if f.pcm]
    differences = [
        *_differences("message", known, [_essence(text) for text in run.texts]),
        *_differences("frame", heard, [(f.audio, f.sample_rate) for _, f in run.frames]),
    ]
    remarks = []
    if len(known) < len(sent):
        remarks.append(f"{len(sent) - len(known)} messages without audio are not compared.")
    if call.dropped:
        remarks.append(f"The recording itself lost {call.dropped} records.")
    return Replayed(
        len(known), len(heard), len(differences), tuple(differences[:_TOLD]), tuple(remarks)
    )


def assert_same(call: Call, params: BandwidthFrameSerializer.InputParams | None = None) -> None:
    """As :func:`replay`, for a test.

    Raises:
        AssertionError: If anything differs; the message says what.
    """
    found = replay(call, params)
    if not found:
        raise AssertionError(str(found))


def replay_inbound(call: Call, sample_rate: int) -> Audio:
    """Rebuild what the bot would have heard in a pipeline of another rate.

    Args:
        call: The call; its file is read again.
        sample_rate: ``audio_in_sample_rate`` of the pipeline, in hertz.

    Returns:
        The caller through the real serializer, on the call's clock, as long as the call.

    Raises:
        ValueError: If the serializer does not know the rate, or another carrier's was recorded.
        CaptureError: If the file cannot be read any more.
    """
    call.check_ours("replay_inbound")
    base = captured_params(call).model_dump() | {"sample_rate": sample_rate}
    params = BandwidthFrameSerializer.InputParams.model_validate(base)
    received = [record for record in _records(call) if record.topic == "/ws/rx"]
    run = _run(received, params, sample_rate, call.budget)
    pcm = [frame.audio for _, frame in run.frames]
    duration = np.array([len(piece) / 2 / sample_rate for piece in pcm], float)
    index = [call.rx_index[cause] for cause, _ in run.frames]
    start = place_made(call.inbound.start[index], duration)
    return lay(start, duration, pcm, [sample_rate] * len(pcm), call.duration, sample_rate)


def captured_params(call: Call) -> BandwidthFrameSerializer.InputParams:
    """The parameters that a call was captured with; the defaults if it does not tell."""
    kind = BandwidthFrameSerializer.InputParams
    try:
        return kind.model_validate(call.params)
    except ValueError:  # no capture of this serializer
        return kind()


def _records(call: Call) -> list[Record]:
    with CaptureReader(call.path, call.budget) as reader:
        return list(reader.records("/ws/rx", "/ws/tx", "/frames/out/audio", "/frames/out/other"))


class _Run(NamedTuple):
    """What the serializer made: messages; frames, and which ``/ws/rx`` record they are from."""

    texts: list[str]
    frames: list[tuple[int, InputAudioRawFrame]]


def _run(
    records: Sequence[Record],
    params: BandwidthFrameSerializer.InputParams,
    rate: int | None,
    budget: Budget,
) -> _Run:
    with ThreadPoolExecutor(1) as thread:  # a notebook's own thread has a loop running already
        return thread.submit(asyncio.run, _passed(records, params, rate, budget)).result()


async def _passed(
    records: Sequence[Record],
    params: BandwidthFrameSerializer.InputParams,
    rate: int | None,
    budget: Budget,
) -> _Run:
    fixed = {"auto_hang_up": False, "sample_rate": params.sample_rate or rate}
    now = 0.0
    serializer = BandwidthFrameSerializer(
        "replay",
        params=params.model_copy(update=fixed),
        clock=lambda: now,
        log=lambda level, text: None,  # no call is up
    )
    run = _Run([], [])
    for record in records:
        now = record.time_ns / 1e9
        if record.topic == "/ws/rx":
            heard = await serializer.deserialize(record.body.decode("utf-8", "replace"))
            if isinstance(heard, InputAudioRawFrame):
                run.frames.append((record.sequence, heard))
        elif (frame := _frame(record, budget)) is not None:
            text = await serializer.serialize(frame)
            if text is not None:
                run.texts.append(text)
    return run


def _frame(record: Record, budget: Budget) -> Frame | None:
    """A frame that was given to ``serialize``, as far as it makes sound or stops it."""
    try:
        if record.topic == "/frames/out/audio":
            frame = frame_of(record, 0.0, budget)
            if frame.pcm is None or not frame.is_to_be_sent:
                return None
            return OutputAudioRawFrame(frame.pcm, frame.sample_rate, frame.num_channels)
        if record.topic == "/frames/out/other":
            name = msgspec.json.decode(record.body, type=OtherFrame).frame
            if "Interruption" in name:
                return InterruptionFrame()
            return EndFrame() if name == "EndFrame" else None
    except (ValueError, RecursionError):  # it makes no sense, as the call tells
        pass
    return None


def _essence(text: str | bytes) -> tuple[str, bytes] | None:
    """What a message makes the far end do; None for one that plays and clears nothing."""
    try:
        message = parse(text, max_size=_MAX_SENT)
    except ProtocolError:
        return None
    if isinstance(message, PlayAudio):
        return message.content_type, message.payload
    return ("clear", b"") if isinstance(message, Clear) else None


def _differences(what: str, captured: Sequence[Any], made: Sequence[Any]) -> list[str]:
    found = []
    for number, (was, now) in enumerate(zip_longest(captured, made), 1):
        if was != now:
            found.append(f"{what.capitalize()} {number}: {_told(was)} captured, {_told(now)} now.")
    return found


def _told(item: Any) -> str:
    if item is None:
        return "nothing"
    first, second = item
    if isinstance(first, bytes):
        return f"{len(first)} bytes at {second} Hz"
    return "clear" if first == "clear" else f"{len(second)} bytes of {first}"
