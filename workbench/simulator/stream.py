"""One media stream, seen from Bandwidth: the WebSocket, what is sent on it, and what comes back."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio import client
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)
from websockets.headers import build_authorization_basic

from pipecat_bandwidth.encodings import PCMU, from_content_type
from pipecat_bandwidth.exceptions import ProtocolError
from pipecat_bandwidth.messages import Clear, Media, PlayAudio, Start, encode, parse
from workbench.exceptions import SimulationError
from workbench.simulator.line import Line, Schedule
from workbench.simulator.route import Route, ssl_advice
from workbench.simulator.start_stream import StartStream

if TYPE_CHECKING:
    from workbench.simulator.leg import CallerLeg

__all__ = ["MAX_PLAY_AUDIO", "Stream", "Track", "connect"]

#: Longest message taken from the bot. Bandwidth states no limit; this is 4 minutes at 24 kHz.
MAX_PLAY_AUDIO: Final = 16 * 1024 * 1024
#: How long a bot may take to answer the closing of the WebSocket.
_CLOSE_SECS: Final = 2.0

#: What helps where the host of the BXML is not to be reached.
_ELSEWHERE: Final = (
    "; if that is the name of a tunnel or a proxy, --connect-to HOST:PORT goes to the bot itself "
    "(ws://HOST:PORT where it has no TLS)"
)


class Track:
    """Cuts one direction of the call into numbered messages and gives them departure times.

    Args:
        name: ``"inbound"`` or ``"outbound"``.
        line: How bad the line to the bot is.
        begins: Second of the call of its first sample.
    """

    def __init__(self, name: str, line: Line, begins: float) -> None:
        """See the class."""
        self.name = name
        self.schedule = Schedule(line)
        self._begins = begins
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
            due = self._begins + self._number * self._packet_secs
            for departure in self.schedule.departures(due):
                leaving.append((departure, self._number, text))
        return leaving


class Stream:
    """One stream over an open WebSocket.

    Args:
        websocket: Connected to the bot.
        start: The first message; its tracks are sent.
        bidirectional: Whether ``playAudio`` is obeyed.
        leg: Whose sound it carries; obeys what the bot sends.

    Attributes:
        tracks: What is sent; none before :meth:`open`.
        over: Set when its socket is closed.
        closed_by_bot: Whether the bot closed it, properly.
        error: What broke it, if something did.
        began: Second of the call when ``start`` was sent.
        ended: The same for the end of its socket.
    """

    def __init__(
        self, websocket: ClientConnection, start: Start, bidirectional: bool, leg: CallerLeg
    ) -> None:
        """See the class."""
        self.start = start
        self.bidirectional = bidirectional
        self.tracks: list[Track] = []
        self.over = asyncio.Event()
        self.closed_by_bot = False
        self.error: SimulationError | None = None
        self.began = self.ended = 0.0
        self._websocket = websocket
        self._leg = leg
        self._obeyed = 0
        self._stopping = False
        self._receiving: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """As ``start`` has it."""
        return self.start.stream_name

    @property
    def close_code(self) -> int:
        """Why the socket was closed; 1006 when the bot did not say."""
        return self._websocket.close_code or 1006

    async def open(self, line: Line) -> None:
        """Send ``start``, and obey what comes from now on."""
        self.began = self._leg.now
        begins = self._leg.playback.time
        names = [track.name for track in self.start.tracks]
        self.tracks = [Track(n, line if n == "inbound" else Line(), begins) for n in names]
        await self.send(encode(self.start))
        self._receiving = asyncio.create_task(self._receive(), name="simulator-receive")

    async def send(self, text: str) -> None:
        """Send a message; nothing on a socket that is closed."""
        try:
            await self._websocket.send(text)
        except ConnectionClosed:
            pass  # The receiving side says how it closed.

    async def stop(self) -> None:
        """Send ``stop`` and close the socket; nothing if it is closed."""
        if not self.over.is_set():
            self._stopping = True
            self.ended = self._leg.now
            await self.send(_stop_text(self.start))
        await self._websocket.close(1000)
        if self._receiving is not None:
            await self._receiving

    async def _receive(self) -> None:
        """Obey what arrives until the socket is closed, and tell how it was."""
        broken: ConnectionClosedError | None = None
        try:
            async for text in self._websocket:
                self._leg.step()
                try:
                    if isinstance(text, bytes):
                        raise ProtocolError("a binary message")
                    self._obey(text)
                except (ProtocolError, ValueError) as error:
                    self._leg.protocol_errors.append((self._leg.now, str(error)))
        except ConnectionClosedError as error:
            broken = error
        if not self._stopping:
            self.ended = self._leg.now
            self.error = self._reproach(broken)
            self.closed_by_bot = self.error is None
            await self._websocket.close(1000)
        self._leg.leave(self)
        self.over.set()

    def _reproach(self, error: ConnectionClosedError | None) -> SimulationError | None:
        """A bot ends a stream by closing the socket, but not by dropping it, nor without a word."""
        when = f"after {self.ended - self.began:.1f} s"
        errors = self._leg.protocol_errors
        refused = f"; refused: {errors[0][1]}" if errors else ""
        if error is not None and error.rcvd is None and error.sent is not None:
            # The bot's message is too long, or no message: this side closed.
            reason = f"the bot sent what cannot be read, {when}: close code {error.sent}"
            return SimulationError("stream", reason)
        if error is not None:
            code = f"close code {error.rcvd}" if error.rcvd else "close code 1006, it sent none"
            return SimulationError("stream", f"the bot broke off {when}: {code}{refused}")
        if not self._obeyed and not self._leg.caller.spoken:
            reason = f"the bot closed the WebSocket {when} without a word{refused}"
            return SimulationError("stream", reason)
        return None

    def _obey(self, text: str) -> None:
        message = parse(text, max_size=MAX_PLAY_AUDIO)
        if not self.bidirectional:
            name = type(message).__name__
            raise ProtocolError(f'{name} on a stream without mode="bidirectional"')
        leg = self._leg
        if isinstance(message, Clear):
            leg.clears.append(leg.now)
            leg.playback.clear()
        elif isinstance(message, PlayAudio):
            wire = from_content_type(message.content_type)
            self._obeyed += 1
            leg.received.append((leg.now, wire.duration(message.payload)))
            leg.playback.append(wire, message.payload)
            if len(message.payload) % wire.bytes_per_sample:
                raise ProtocolError(f"{len(message.payload)} bytes are not whole samples")
        else:
            raise ProtocolError(f"{message!r} is not for Bandwidth")


def _stop_text(start: Start) -> str:
    """The last message: the first one's metadata, without its parameters."""
    fields = json.loads(encode(start))
    fields.pop("streamParams", None)
    return json.dumps(fields | {"eventType": "stop"}, separators=(",", ":"))


async def connect(wanted: StartStream, route: Route, patience: float) -> ClientConnection:
    """Open the WebSocket of a stream.

    Args:
        wanted: What the BXML asks for.
        route: Where it goes.
        patience: Seconds that it may take.

    Raises:
        SimulationError: If it cannot be opened.
    """
    headers = {}
    if wanted.credentials:
        headers["Authorization"] = build_authorization_basic(*wanted.credentials)
    destination, options = route.websocket(wanted.destination)
    try:
        return await client.connect(
            destination,
            additional_headers=headers,
            open_timeout=patience,
            close_timeout=_CLOSE_SECS,
            ping_interval=None,  # Not documented, so a bot need not answer.
            max_size=MAX_PLAY_AUDIO,
            proxy=None,
            compression=None,
            **options,
        )
    except InvalidStatus as error:
        answer = error.response
        reason = f"the bot answered {answer.status_code} {answer.reason_phrase[:60]}"
    except TimeoutError:
        reason = f"no answer within {patience:g} s"
    except InvalidURI as error:
        location = error.uri.partition("?")[0][:200]
        reason = f"the bot redirects to {location}, which is no WebSocket address"
    except (OSError, ValueError) as error:
        # Without the path: there may be a token in it.
        reason = f"no connection to {urlsplit(wanted.destination).netloc}: {error}"
        reason += ssl_advice(error) or ("" if route.connect_to else _ELSEWHERE)
    except WebSocketException as error:
        reason = str(error) or type(error).__name__
    raise SimulationError("WebSocket", reason)
