"""The caller's leg, on a real clock: what is played to them, what they say, and when it leaves.

It begins with the first stream and lasts to the end of the call, whatever streams come and go.
Every 20 ms what is queued is played, the caller hears it and speaks, and each packet of each stream
is given its departure time; in between packets leave when their time has come. Everything that
really happened is kept.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from pipecat_bandwidth.encodings import PCMU, WireFormat
from pipecat_bandwidth.resampler import StreamResampler
from workbench.simulator.caller import PATIENCE, Caller
from workbench.simulator.line import Line
from workbench.simulator.playback import TICK, Playback
from workbench.simulator.script import JitterBurst, PacketLoss
from workbench.simulator.stream import Stream
from workbench.simulator.truth import EndedBy

__all__ = ["CallerLeg", "Progress"]


@dataclass(frozen=True)
class Progress:
    """How far a call has come.

    Parameters:
        time: Second of the call.
        expected: How long the script says that it will be.
        text: What has just begun; ``""`` for the passing of another second.
    """

    time: float
    expected: float
    text: str


class CallerLeg:
    """One caller on the line.

    Args:
        caller: Who speaks.
        line: How bad the line from the caller to the bot is.
        wire: Encoding and rate of the line to the caller.
        max_secs: Longest duration in seconds.
        on_progress: Told of every turn, and of every second.

    Attributes:
        streams: Those that are open.
        ended_by: Who ended the call, once this side has.
    """

    def __init__(
        self,
        caller: Caller,
        line: Line,
        wire: WireFormat,
        max_secs: float,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """See the class."""
        self.caller = caller
        self.playback = Playback(wire)
        self.caller_sent = bytearray()
        self.sent: list[tuple[float, int]] = []
        self.received: list[tuple[float, float]] = []
        self.clears: list[float] = []
        self.protocol_errors: list[tuple[float, str]] = []
        self.streams: list[Stream] = []
        self.started_ns = 0
        self.started_at = datetime.now(UTC)
        self.late_secs = 0.0
        self.ended_by: EndedBy | None = None
        self._line = line
        self._max_secs = max_secs
        self._to_line_rate = StreamResampler(wire.sample_rate, PCMU.sample_rate)
        self._leaving: list[tuple[float, int, int, str, str, Stream]] = []
        self._order = itertools.count()
        self._occurred = 0
        self._on_progress = on_progress
        self._told: set[object] = set()
        self._running: asyncio.Task[None] | None = None

    @property
    def now(self) -> float:
        """Second of the call; -1 before it has begun."""
        return (time.monotonic_ns() - self.started_ns) / 1e9 if self.started_ns else -1.0

    async def join(self, stream: Stream) -> None:
        """Open a stream; the first begins the leg."""
        if not self.started_ns:
            self.started_ns, self.started_at = time.monotonic_ns(), datetime.now(UTC)
        self.step()
        await stream.open(self._line)
        self.streams.append(stream)
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="simulator-leg")

    def leave(self, stream: Stream) -> None:
        """Take note that a stream is over."""
        if stream in self.streams:
            self.streams.remove(stream)

    async def end(self) -> None:
        """Stop the clock."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    def raise_failure(self) -> None:
        """Raise what the clock failed with, if it did: a mistake of this package."""
        if self._running is not None and self._running.done() and not self._running.cancelled():
            self._running.result()

    # -- the clock -----------------------------------------------------------------------------

    async def _run(self) -> None:
        while self.ended_by is None:
            self.late_secs = max(self.late_secs, self.now - self.playback.time - TICK)
            self.step()
            await self._send_what_is_due()
            if self.now > self._max_secs:
                self.ended_by = "timeout"
            elif self._caller_hangs_up():
                self.ended_by = "caller"
            wake = self.playback.time + TICK
            if self._leaving:
                wake = min(wake, self._leaving[0][0])
            await asyncio.sleep(max(0.0, wake - self.now))

    def step(self) -> None:
        """Play and speak what has come due since the last time."""
        while self.playback.time + TICK <= self.now:
            played = self.playback.advance(self.playback.time + TICK).tobytes()
            far = np.frombuffer(self._to_line_rate.process(played), "<i2")
            spoken = self.caller.speak(
                far.astype(np.float32) / np.float32(32768),
                self.playback.utterances,
                self.playback.sounding or not self.streams,  # with nobody there they wait
            )
            self.caller_sent += PCMU.encode(spoken.astype("<i2").tobytes())
            self._place_line_faults()
            for stream in self.streams:
                for track in stream.tracks:
                    for departure, number, text in track.add(
                        spoken if track.name == "inbound" else far
                    ):
                        leaving = departure, number, next(self._order), track.name, text, stream
                        heapq.heappush(self._leaving, leaving)
            self._report()

    def _place_line_faults(self) -> None:
        """Let the faults that have just begun act on the packets that are due from now on."""
        tracks = [t for stream in self.streams for t in stream.tracks if t.name == "inbound"]
        for occurrence in self.caller.occurrences[self._occurred :]:
            for track in tracks:
                if isinstance(occurrence.fault, PacketLoss):
                    lost_ms = occurrence.fault.frames * TICK * 1000
                    track.schedule.drop(occurrence.start, round(lost_ms / self._line.packet_ms))
                elif isinstance(occurrence.fault, JitterBurst):
                    track.schedule.stall(occurrence.start, occurrence.fault.stall_ms)
        self._occurred = len(self.caller.occurrences)

    def _caller_hangs_up(self) -> bool:
        """Whether all has been said and the bot lets the caller wait."""
        if not self.streams or not self.caller.finished or self.playback.sounding:
            return False
        script = self.caller.script
        ends = [spoken.end for spoken in self.caller.spoken]
        ends += [utterance.end for utterance in self.playback.utterances]
        return self.now > max(ends, default=0.0) + script.duration - script.turns[-1].end + PATIENCE

    def _report(self) -> None:
        if self._on_progress is None:
            return
        said: list[tuple[object, str]] = []
        for turn in (*self.caller.heard_turns(self.playback.utterances), *self.caller.spoken):
            text = next((t.text for t in self.caller.script.turns if t.id == turn.id), "")
            said.append(((turn.side, turn.start), f"{turn.side}: {text or turn.id or '...'}"))
        said += [(o, f"line: {o.fault.__struct_config__.tag}") for o in self.caller.occurrences]
        said.append((int(self.playback.time), ""))
        for key, text in said:
            if key not in self._told:
                self._told.add(key)
                script = self.caller.script
                self._on_progress(Progress(self.playback.time, script.duration, text))

    async def _send_what_is_due(self) -> None:
        while self._leaving and self._leaving[0][0] <= self.now:
            _, number, _, track, text, stream = heapq.heappop(self._leaving)
            if stream.over.is_set():
                continue
            await stream.send(text)
            if track == "inbound":
                self.sent.append((self.now, number))
