"""What each cushion would have made of one call: its frames at their own times, once more.

A stall is a frame that comes late. Whether it is heard depends on how far the far end's queue was
ahead, and a cushion (``outbound_cushion_ms``) is what puts it ahead. So the captured frames go through
the real serializer once for each cushion, on a clock that shows the time at which each was handed
over, and what comes out is played by the queue model (:mod:`workbench.call.playout`).

A hole counts that is in the sound (:mod:`workbench.call.holes`) and as long as a packet. What came of
a process that stood still is told apart: that is to be cured there, and the caller was not heard
either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from pipecat.frames.frames import Frame, InterruptionFrame, OutputAudioRawFrame

from pipecat_bandwidth import BandwidthFrameSerializer
from pipecat_bandwidth.encodings import wire_format
from pipecat_bandwidth.far_end import FarEnd
from workbench.audio import Audio
from workbench.call import holes
from workbench.call.pieces import PieceWriter, sizes
from workbench.call.playout import Underrun, reconstruct
from workbench.call.streams import Stream
from workbench.diagnosis.detectors.network import read_nothing

if TYPE_CHECKING:
    from workbench.call import Call, FrameRecord

__all__ = ["CUSHIONS_MS", "LEAST_HOLE_MS", "Handed", "Stalls", "handed_over", "stalls_of"]

#: The cushions that are tried, in milliseconds.
CUSHIONS_MS: Final = (*range(0, 200, 20), *range(200, 400, 50), *range(400, 1001, 100))

#: A shorter hole is less than one packet of the telephone network, and not counted.
LEAST_HOLE_MS: Final = 20.0

#: Only times and sounds matter here, so all is sent at this rate.
_WIRE: Final = wire_format("PCM", 8000)


@dataclass(frozen=True, eq=False)
class Handed:
    """The audio that a serializer was handed over, and when.

    Parameters:
        time: When each frame was, in seconds, shape ``(n,)``, not falling.
        pcm: Its audio, 16 bits at 8 kHz.
        clears: When the bot was interrupted.
        stopped: When the call ended; ``None`` if it did not.
        answered: Where the caller speaks, shape ``(m, 2)``: a gap in which they do is no hole.
        stood_still: Frames before which the whole process stood still, by their index.
        syntheses: When a synthesis began (``True``) or was over: a gap between two is no hole.
    """

    time: NDArray[np.float64]
    pcm: Sequence[bytes]
    clears: tuple[float, ...] = ()
    stopped: float | None = None
    answered: NDArray[np.float64] | None = None
    stood_still: frozenset[int] = frozenset()
    syntheses: tuple[tuple[float, bool], ...] = ()


@dataclass(frozen=True, eq=False)
class Stalls:
    """What each cushion would have made of a call: a row an utterance, a column a cushion.

    Parameters:
        delay_ms: How much later the utterance would have begun, shape ``(u, n)``.
        holes: How many holes would have been heard in it, shape ``(u, n)``.
        hole_ms: How long they would have been in all, shape ``(u, n)``.
        said_secs: How much sound the utterances hold.
        stood_still: Holes that no cushion is to hide: the process stood still.
    """

    delay_ms: NDArray[np.float64]
    holes: NDArray[np.float64]
    hole_ms: NDArray[np.float64]
    said_secs: float
    stood_still: int = 0


def handed_over(call: Call) -> Handed | None:
    """Collect what a call's serializer was handed over; ``None`` if that was no sound."""
    frames, pcm = call.audio_out, PieceWriter()
    if not any(frame.mono.strip(b"\0") for frame in frames):
        return None
    for frame in frames:
        pcm.add(_at_8k(frame))
    return Handed(
        time=np.maximum.accumulate(frames.time),
        pcm=pcm.pieces(),
        clears=tuple(call.times_of("interruption").tolist()),
        stopped=None if call.ending.how == "open" else call.ending.time,
        answered=call.caller_speech,
        stood_still=frozenset(
            number for number, pair in enumerate(pairwise(frames), 1) if _stood_still(call, *pair)
        ),
        syntheses=call.syntheses,
    )


def stalls_of(handed: Handed, cushions_ms: Sequence[int] = CUSHIONS_MS) -> Stalls:
    """Try each cushion.

    Args:
        handed: What was handed over, of which some is sound.
        cushions_ms: What to try.
    """
    with ThreadPoolExecutor(1) as thread:  # a notebook's own thread has a loop running already
        sent = thread.submit(asyncio.run, _sent(handed, cushions_ms)).result()
    duration = sizes(handed.pcm) / 2 / _WIRE.sample_rate
    owner, count = _utterances(handed)
    gaps = [
        reconstruct(
            handed.time, duration + before / 1000, handed.clears, stopped=handed.stopped,
            continues=np.diff(owner, prepend=-1) == 0,
        ).underruns
        for before in sent
    ]  # fmt: skip
    torn = _torn(handed, duration, gaps)
    shape = count, len(cushions_ms)
    delay, many, length = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    stood_still: set[int] = set()
    for column, (before, found) in enumerate(zip(sent, gaps, strict=True)):
        np.add.at(delay[:, column], owner, before)
        for hole in found:
            if 1000 * (hole.end - hole.start) < LEAST_HOLE_MS or not _counts(hole, torn, handed):
                continue
            if hole.message in handed.stood_still:
                stood_still.add(hole.message)
                continue
            many[owner[hole.message], column] += 1
            length[owner[hole.message], column] += 1000 * (hole.end - hole.start)
    sound = sum(len(pcm.strip(b"\0")) for pcm in handed.pcm) / 2 / _WIRE.sample_rate
    return Stalls(delay, many, length, sound, len(stood_still))


async def _sent(handed: Handed, cushions_ms: Sequence[int]) -> list[NDArray[np.float64]]:
    """How much cushion the serializer puts before each frame, in ms, for each cushion."""
    _, plain = await _cushioned(handed, 0, ())
    return [(await _cushioned(handed, cushion_ms, plain))[0] for cushion_ms in cushions_ms]


async def _cushioned(
    handed: Handed, cushion_ms: int, plain: Sequence[int]
) -> tuple[NDArray[np.float64], list[int]]:
    """How much is put before each frame, and the lengths of the messages; ``plain``: without any."""
    now, lengths = 0.0, list[int]()
    serializer = BandwidthFrameSerializer(
        "cushion",
        params=BandwidthFrameSerializer.InputParams(
            auto_hang_up=False, outbound_cushion_ms=cushion_ms
        ),
        clock=lambda: now,
        log=lambda level, text: None,  # no call is up
    )
    before = np.zeros(len(handed.pcm))
    clears, so_far = list(handed.clears)[::-1], 0.0
    for number, (time, pcm) in enumerate(zip(handed.time.tolist(), handed.pcm, strict=True)):
        while clears and clears[-1] <= time:
            now = clears.pop()
            await serializer.serialize(InterruptionFrame())
        now = time
        frame: Frame = OutputAudioRawFrame(pcm, _WIRE.sample_rate, 1)
        text = await serializer.serialize(frame)
        lengths.append(len(text or ""))
        if plain and lengths[-1] != plain[number]:
            added = serializer.stats.cushion_out_ms
            before[number], so_far = added - so_far, added
    return before, lengths


def _utterances(handed: Handed) -> tuple[NDArray[np.intp], int]:
    """To which utterance each frame belongs, and how many there are: as without any cushion."""
    queue, number, owner = FarEnd(_WIRE.sample_rate), -1, []
    clears = list(handed.clears)[::-1]
    for time, pcm in zip(handed.time.tolist(), handed.pcm, strict=True):
        while clears and clears[-1] <= time:
            clears.pop()
            queue.clear()
        number += queue.begins(pcm, time)
        queue.append(pcm, time)
        owner.append(max(number, 0))
    return np.array(owner, np.intp), number + 1


def _torn(
    handed: Handed, duration: NDArray[np.float64], gaps: Sequence[Sequence[Underrun]]
) -> frozenset[int]:
    """Frames before which a gap is in the sound, among those with a gap in any of the queues."""
    late = {hole.message: hole for found in gaps for hole in found}
    none = np.zeros(len(duration), np.int64)
    stream = Stream(
        handed.time, none, duration, handed.time, none.astype(bool), none, none,
        handed.pcm, (_WIRE,) * len(duration),
    )  # fmt: skip
    return frozenset(hole.message for hole in holes.in_sound(late.values(), stream))


def _counts(hole: Underrun, torn: frozenset[int], handed: Handed) -> bool:
    return hole.message in torn and not holes.is_pause(hole, handed.answered, handed.syntheses)


def _stood_still(call: Call, before: FrameRecord, after: FrameRecord) -> bool:
    """Whether nothing was done between two frames, the later of which came late."""
    due = before.time + before.duration
    wait = after.time - due
    if 1000 * wait < LEAST_HOLE_MS:
        return False
    if (before.took_ms or 0.0) > 500 * wait:  # the serializer itself: an overloaded machine
        return True
    return read_nothing(call, due, after.time) is True


def _at_8k(frame: FrameRecord) -> bytes:
    pcm = frame.mono
    if frame.sample_rate == _WIRE.sample_rate:
        return pcm
    if not pcm.strip(b"\0"):
        return bytes(2 * round(len(pcm) / 2 * _WIRE.sample_rate / frame.sample_rate))
    return Audio.from_pcm(pcm, frame.sample_rate).resampled(_WIRE.sample_rate).pcm()
