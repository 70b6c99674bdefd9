"""One live media stream, seen from Bandwidth: the WebSocket client, on a real clock.

Every 20 ms what is queued is played, the caller hears it and speaks, and each packet from the
caller is given its departure time; in between packets leave when their time has come. Everything
that really happened is kept.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from pipecat_bandwidth.encodings import PCMU, WireFormat, from_content_type
from pipecat_bandwidth.exceptions import ProtocolError
from pipecat_bandwidth.messages import Clear, Media, PlayAudio, Start, encode, parse
from pipecat_bandwidth.resampler import StreamResampler
from workbench.exceptions import SimulationError
from workbench.simulator.caller import PATIENCE, Caller
from workbench.simulator.line import Line, Schedule
from workbench.simulator.playback import TICK, Playback
from workbench.simulator.script import JitterBurst, PacketLoss
from workbench.simulator.truth import EndedBy

__all__ = ["MAX_PLAY_AUDIO", "Progress", "Stream"]

#: Longest message taken from the bot. Bandwidth states no limit; this is 4 minutes at 24 kHz.
MAX_PLAY_AUDIO: Final = 16 * 1024 * 1024


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


class _Track:
    """Cuts one direction of the call into numbered messages and gives them departure times."""

    def __init__(self, name: str, line: Line) -> None:
        self.name = name
        self.schedule = Schedule(line)
        self._packet_secs = line.packet_ms / 1000
        self._packet_bytes = round(line.packet_ms * PCMU.sample_rate / 1000)
        self._payload = bytearray()
        self._number = 0

    def add(self, samples: NDArray[np.int16]) -> list[tuple[float, int, str]]:
        """Append audio; returns (departure, sequence number, text) of what became whole."""
        self._payload += PCMU.encode(samples.astype("<i2").tobytes())
        leaving = []
        while len(self._payload) >= self._packet_bytes:
            payload = bytes(self._payload[: self._packet_bytes])
            del self._payload[: self._packet_bytes]
            self._number += 1
            text = encode(Media(payload, self.name, str(self._number)))
            for departure in self.schedule.departures(self._number * self._packet_secs):
                leaving.append((departure, self._number, text))
        return leaving


class Stream:
    """Runs one call over an open WebSocket.

    Args:
        websocket: Connected to the bot.
        start: The first message; its tracks are sent.
        bidirectional: Whether ``playAudio`` is obeyed.
        caller: Who speaks.
        line: How bad the line from the caller to the bot is.
        leg: Encoding and rate of the line to the caller.
        on_progress: Told of every turn, and of every second.
    """

    def __init__(
        self,
        websocket: ClientConnection,
        start: Start,
        bidirectional: bool,
        caller: Caller,
        line: Line,
        leg: WireFormat,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """See the class."""
        self.caller = caller
        self.playback = Playback(leg)
        self.caller_sent = bytearray()
        self.sent: list[tuple[float, int]] = []
        self.received: list[tuple[float, float]] = []
        self.clears: list[float] = []
        self.protocol_errors: list[tuple[float, str]] = []
        self.started_ns = 0
        self.started_at = datetime.now(UTC)
        self.duration = 0.0
        self.late_secs = 0.0
        self._websocket = websocket
        self._start = start
        self._bidirectional = bidirectional
        self._line = line
        self._tracks = [
            _Track(t.name, line if t.name == "inbound" else Line()) for t in start.tracks
        ]
        self._to_line_rate = StreamResampler(leg.sample_rate, PCMU.sample_rate)
        self._leaving: list[tuple[float, int, str, str]] = []
        self._occurred = 0
        self._on_progress = on_progress
        self._told: set[object] = set()

    @property
    def close_code(self) -> int:
        """Why the socket was closed; 1006 when the bot did not say."""
        return self._websocket.close_code or 1006

    @property
    def now(self) -> float:
        """Second of the call."""
        return (time.monotonic_ns() - self.started_ns) / 1e9

    async def run(self, hung_up: asyncio.Event, max_secs: float) -> EndedBy:
        """Carry the call to its end, and close the socket.

        Args:
            hung_up: Set when the Voice API was asked to end the call.
            max_secs: Longest duration in seconds.

        Returns:
            Who ended it.

        Raises:
            SimulationError: If the socket breaks, or closes before anybody spoke.
        """
        self.started_ns, self.started_at = time.monotonic_ns(), datetime.now(UTC)
        await self._send(encode(self._start))
        receiving = asyncio.create_task(self._receive(), name="simulator-receive")
        try:
            ended_by = await self._run_clock(receiving, hung_up, max_secs)
            if ended_by == "closed":
                self._raise_if_broken(await receiving)
            else:
                await self._send(_stop_text(self._start))
        finally:
            self.duration = self.now
            await self._websocket.close(1000)
            receiving.cancel()
        return ended_by

    def _raise_if_broken(self, error: ConnectionClosedError | None) -> None:
        """A bot ends a call by closing the socket, but not by dropping it, nor without a word."""
        when = f"after {self.now:.1f} s"
        refused = f"; refused: {self.protocol_errors[0][1]}" if self.protocol_errors else ""
        if error is not None and error.rcvd is None and error.sent is not None:
            # The bot's message is too long, or no message: this side closed.
            reason = f"the bot sent what cannot be read, {when}: close code {error.sent}"
            raise SimulationError("stream", reason)
        if error is not None:
            code = f"close code {error.rcvd}" if error.rcvd else "close code 1006, it sent none"
            raise SimulationError("stream", f"the bot broke off {when}: {code}{refused}")
        if not self.received and not self.caller.spoken:
            reason = f"the bot closed the WebSocket {when} without a word{refused}"
            raise SimulationError("stream", reason)

    # -- the clock -----------------------------------------------------------------------------

    async def _run_clock(
        self,
        receiving: asyncio.Task[ConnectionClosedError | None],
        hung_up: asyncio.Event,
        max_secs: float,
    ) -> EndedBy:
        while True:
            self.late_secs = max(self.late_secs, self.now - self.playback.time - TICK)
            self._step()
            await self._send_what_is_due()
            if hung_up.is_set():
                return "hang up"
            if receiving.done():
                return "closed"
            if self.now > max_secs:
                return "timeout"
            if self._caller_hangs_up():
                return "caller"
            wake = self.playback.time + TICK
            if self._leaving:
                wake = min(wake, self._leaving[0][0])
            await asyncio.sleep(max(0.0, wake - self.now))

    def _step(self) -> None:
        """Play and speak what has come due since the last time."""
        while self.playback.time + TICK <= self.now:
            played = self.playback.advance(self.playback.time + TICK).tobytes()
            far = np.frombuffer(self._to_line_rate.process(played), "<i2")
            spoken = self.caller.speak(
                far.astype(np.float32) / np.float32(32768),
                self.playback.utterances,
                self.playback.sounding,
            )
            self.caller_sent += PCMU.encode(spoken.astype("<i2").tobytes())
            self._place_line_faults()
            for track in self._tracks:
                for departure, number, text in track.add(
                    spoken if track.name == "inbound" else far
                ):
                    heapq.heappush(self._leaving, (departure, number, track.name, text))
            self._report()

    def _place_line_faults(self) -> None:
        """Let the faults that have just begun act on the packets that are due from now on."""
        for occurrence in self.caller.occurrences[self._occurred :]:
            for track in self._tracks:
                if track.name != "inbound":
                    continue
                if isinstance(occurrence.fault, PacketLoss):
                    lost_ms = occurrence.fault.frames * TICK * 1000
                    track.schedule.drop(occurrence.start, round(lost_ms / self._line.packet_ms))
                elif isinstance(occurrence.fault, JitterBurst):
                    track.schedule.stall(occurrence.start, occurrence.fault.stall_ms)
        self._occurred = len(self.caller.occurrences)

    def _caller_hangs_up(self) -> bool:
        """Whether all has been said and the bot lets the caller wait."""
        if not self.caller.finished or self.playback.sounding:
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

    # -- the wire ------------------------------------------------------------------------------

    async def _send_what_is_due(self) -> None:
        while self._leaving and self._leaving[0][0] <= self.now:
            _, number, track, text = heapq.heappop(self._leaving)
            await self._send(text)
            if track == "inbound":
                self.sent.append((self.now, number))

    async def _send(self, text: str) -> None:
        try:
            await self._websocket.send(text)
        except ConnectionClosed:
            pass  # The receiving side says how it closed.

    async def _receive(self) -> ConnectionClosedError | None:
        """Obey what arrives until the socket is closed; the error if it was not closed properly."""
        try:
            async for text in self._websocket:
                self._step()
                try:
                    if isinstance(text, bytes):
                        raise ProtocolError("a binary message")
                    self._obey(text)
                except (ProtocolError, ValueError) as error:
                    self.protocol_errors.append((self.now, str(error)))
        except ConnectionClosedError as error:
            return error
        return None

    def _obey(self, text: str) -> None:
        message = parse(text, max_size=MAX_PLAY_AUDIO)
        if not self._bidirectional:
            name = type(message).__name__
            raise ProtocolError(f'{name} on a stream without mode="bidirectional"')
        if isinstance(message, Clear):
            self.clears.append(self.now)
            self.playback.clear()
        elif isinstance(message, PlayAudio):
            wire = from_content_type(message.content_type)
            self.received.append((self.now, wire.duration(message.payload)))
            self.playback.append(wire, message.payload)
            if len(message.payload) % wire.bytes_per_sample:
                raise ProtocolError(f"{len(message.payload)} bytes are not whole samples")
        else:
            raise ProtocolError(f"{message!r} is not for Bandwidth")


def _stop_text(start: Start) -> str:
    """The last message: the first one's metadata, without its parameters."""
    fields = json.loads(encode(start))
    fields.pop("streamParams", None)
    return json.dumps(fields | {"eventType": "stop"}, separators=(",", ":"))
