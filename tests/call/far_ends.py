"""The far ends of other carriers: each speaks its protocol as its documentation has it.

What they share is a telephone: every 20 ms of a real clock it sends what the caller says and plays
what is queued. :class:`FarEnd` is that, a subclass the words of one carrier. What goes wrong is
planted: messages that are numbered and never sent, and a queue that stands still.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pipecat.serializers.exotel import ExotelFrameSerializer
from pipecat.serializers.plivo import PlivoFrameSerializer
from pipecat.serializers.telnyx import TelnyxFrameSerializer
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.serializers.vonage import VonageFrameSerializer
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from pipecat_bandwidth.encodings import PCMU, WireFormat
from pipecat_bandwidth.messages import Media, Start, Stop, Track, encode
from pipecat_bandwidth.serializer import BandwidthFrameSerializer
from workbench.call.carriers.formats import PCMA, linear

TICK = 0.020


@dataclass
class FarEnd:
    """A telephone behind a carrier.

    Parameters:
        caller: What the caller says, 16-bit samples at the rate of the wire.
        lose: Numbers, from 1, of messages that are never sent.
        stall: After how many milliseconds of the bot's audio the queue stands still, and how long.
    """

    caller: bytes
    lose: frozenset[int] = frozenset()
    stall: tuple[int, int] = (0, 0)
    wire: WireFormat = PCMU
    message_ms: int = 20
    #: Of the bot's: pieces of 20 ms and names of marks that wait, what was played and when, all.
    queue: deque[bytes | str] = field(default_factory=deque)
    played: list[tuple[float, bytes]] = field(default_factory=list)
    got: bytes = b""
    cleared: int = 0
    sequence: int = 0
    #: Seconds that the telephone's clock was late at worst, on a machine that was too busy.
    late: float = 0.0
    #: When the bot is up, and the telephone's clock begins.
    is_up: asyncio.Event = field(default_factory=asyncio.Event)

    # -- the words of a carrier ------------------------------------------------------------------

    def serializer(self) -> Any:
        raise NotImplementedError

    def begin(self) -> list[str]:
        raise NotImplementedError

    def media(self, payload: bytes, number: int) -> str | bytes:
        raise NotImplementedError

    def mark(self, name: str) -> dict[str, Any] | None:
        """What the bot sends to be told when it is played."""
        return None

    def understand(self, message: dict[str, Any]) -> bytes | str | None:
        """Audio, the name of a mark, or ``None`` for a clear."""
        raise NotImplementedError

    def reached(self, name: str) -> str | None:
        """What the far end says of a mark."""
        return None

    def emptied(self) -> list[str]:
        """What it says of a clear: as Twilio, the marks that waited."""
        return [text for m in self.queue if isinstance(m, str) and (text := self.reached(m))]

    def end(self) -> str | None:
        return None

    # -- the telephone ---------------------------------------------------------------------------

    async def call(self, url: str) -> None:
        """Call the bot until it, or the caller, has no more to say."""
        async with connect(url, proxy=None) as socket:
            for text in self.begin():
                await socket.send(text)
            hearing = asyncio.create_task(self._hear(socket))
            try:
                await self.is_up.wait()
                await self._tick(socket)
                if last := self.end():
                    await socket.send(last)
            except ConnectionClosed:
                pass
            finally:
                hearing.cancel()

    async def _tick(self, socket: ClientConnection) -> None:
        size = round(self.wire.sample_rate * self.message_ms / 1000) * 2
        pieces = [self.caller[at : at + size] for at in range(0, len(self.caller), size)]
        ticks = self.message_ms // 20
        began, held = time.monotonic(), 0
        for tick in range(len(pieces) * ticks):
            if tick % ticks == 0 and (number := tick // ticks + 1) not in self.lose:
                payload = self.wire.encode(pieces[number - 1])
                await socket.send(self.media(payload, number))
            if 20 * len(self.played) >= self.stall[0] and held < self.stall[1] // 20:
                held += bool(self.queue)
            else:
                await self._play(socket)
            ahead = began + (tick + 1) * TICK - time.monotonic()
            self.late = max(self.late, -ahead)
            await asyncio.sleep(max(0.0, ahead))

    async def _play(self, socket: ClientConnection) -> None:
        """One packet to the telephone; a mark takes no time."""
        while self.queue and isinstance(self.queue[0], str):
            await socket.send(self.reached(str(self.queue.popleft())) or "{}")
        if self.queue:
            self.played.append((time.monotonic(), bytes(self.queue.popleft())))

    async def _hear(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                told = (
                    message if isinstance(message, bytes) else self.understand(json.loads(message))
                )
                if told is None:
                    self.cleared += 1
                    answers = self.emptied()
                    self.queue.clear()
                    for text in answers:
                        await socket.send(text)
                elif isinstance(told, str):
                    self.queue.append(told)
                    if len(self.queue) == 1:  # nothing before it: answered at once
                        await self._play(socket)
                else:
                    self.got += told
                    size = round(self.wire.sample_rate * TICK) * self.wire.bytes_per_sample
                    self.queue += [told[at : at + size] for at in range(0, len(told), size)]

    @property
    def gap(self) -> float:
        """How long the telephone was silent where the queue stood still, by its own clock."""
        at = self.stall[0] // 20
        return self.played[at][0] - self.played[at - 1][0] - TICK

    def next(self) -> int:
        self.sequence += 1
        return self.sequence


class Bandwidth(FarEnd):
    def serializer(self) -> Any:
        params = BandwidthFrameSerializer.InputParams(auto_hang_up=False)
        return BandwidthFrameSerializer("s-1", "c-1", "99", params=params)

    def begin(self) -> list[str]:
        return [encode(Start("s-1", "c-1", "99", "agent", (Track("inbound"),)))]

    def media(self, payload: bytes, number: int) -> str:
        return encode(Media(payload, "inbound", str(number)))

    def understand(self, message: dict[str, Any]) -> bytes | str | None:
        if message["eventType"] == "clear":
            return None
        return base64.b64decode(message["media"]["payload"])

    def end(self) -> str:
        return encode(Stop("s-1", "c-1"))


class Twilio(FarEnd):
    """``connected``, ``start``, ``media`` numbered by ``chunk``, ``mark``, ``stop``."""

    def serializer(self) -> Any:
        params = TwilioFrameSerializer.InputParams(auto_hang_up=False)
        return TwilioFrameSerializer("MZ1", "CA1", params=params)

    def begin(self) -> list[str]:
        start = {
            "accountSid": "AC1", "streamSid": "MZ1", "callSid": "CA1", "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {},
        }  # fmt: skip
        hello = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        return [json.dumps(hello), self.event("start", start=start)]

    def event(self, name: str, **fields: Any) -> str:
        number = {"sequenceNumber": str(self.next())}
        return json.dumps({"event": name, **number, **fields, "streamSid": "MZ1"})

    def media(self, payload: bytes, number: int) -> str:
        media = {
            "track": "inbound", "chunk": str(number), "timestamp": str(20 * number),
            "payload": base64.b64encode(payload).decode(),
        }  # fmt: skip
        return self.event("media", media=media)

    def mark(self, name: str) -> dict[str, Any]:
        return {"event": "mark", "streamSid": "MZ1", "mark": {"name": name}}

    def understand(self, message: dict[str, Any]) -> bytes | str | None:
        assert message["streamSid"] == "MZ1"
        if message["event"] == "media":
            return base64.b64decode(message["media"]["payload"])
        return message["mark"]["name"] if message["event"] == "mark" else None

    def reached(self, name: str) -> str:
        return self.event("mark", mark={"name": name})

    def end(self) -> str:
        return self.event("stop", stop={"accountSid": "AC1", "callSid": "CA1"})


class Telnyx(FarEnd):
    """The same with names of its own, and an encoding that is asked for."""

    def serializer(self) -> Any:
        params = TelnyxFrameSerializer.InputParams(auto_hang_up=False)
        law = self.wire.encoding
        return TelnyxFrameSerializer("st-1", law, law, "v3:1", "key", params=params)

    def begin(self) -> list[str]:
        start = {
            "user_id": "u-1", "call_control_id": "v3:1", "call_session_id": "cs-1",
            "from": "+13125550100", "to": "+13125550101", "tags": [], "client_state": "",
            "media_format": {"encoding": self.wire.encoding, "sample_rate": 8000, "channels": 1},
        }  # fmt: skip
        hello = {"event": "connected", "version": "1.0.0"}
        return [json.dumps(hello), self.event("start", start=start)]

    def event(self, name: str, **fields: Any) -> str:
        number = {"sequence_number": str(self.next())}
        return json.dumps({"event": name, **number, **fields, "stream_id": "st-1"})

    def media(self, payload: bytes, number: int) -> str:
        media = {
            "track": "inbound", "chunk": str(number), "timestamp": str(20 * number),
            "payload": base64.b64encode(payload).decode(),
        }  # fmt: skip
        return self.event("media", media=media)

    def mark(self, name: str) -> dict[str, Any]:
        return {"event": "mark", "mark": {"name": name}}

    def understand(self, message: dict[str, Any]) -> bytes | str | None:
        if message["event"] == "media":
            return base64.b64decode(message["media"]["payload"])
        return message["mark"]["name"] if message["event"] == "mark" else None

    def reached(self, name: str) -> str:
        return self.event("mark", mark={"name": name})

    def end(self) -> str:
        return self.event("stop", stop={"user_id": "u-1", "call_control_id": "v3:1"})


class Plivo(FarEnd):
    """Numbers are numbers; ``playedStream`` only for what was played, ``clearedAudio`` for a clear."""

    def serializer(self) -> Any:
        params = PlivoFrameSerializer.InputParams(auto_hang_up=False)
        return PlivoFrameSerializer("20170ada", "c-1", params=params)

    def begin(self) -> list[str]:
        start = {
            "callId": "c-1", "streamId": "20170ada", "accountId": "MA1", "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
        }  # fmt: skip
        number = {"sequenceNumber": self.next()}
        return [json.dumps({**number, "event": "start", "start": start, "extra_headers": ""})]

    def media(self, payload: bytes, number: int) -> str:
        media = {
            "track": "inbound", "timestamp": "1677651820130", "chunk": number,
            "payload": base64.b64encode(payload).decode(),
        }  # fmt: skip
        about = {"sequenceNumber": self.next(), "streamId": "20170ada", "event": "media"}
        return json.dumps({**about, "media": media, "extra_headers": ""})

    def mark(self, name: str) -> dict[str, Any]:
        return {"event": "checkpoint", "streamId": "20170ada", "name": name}

    def understand(self, message: dict[str, Any]) -> bytes | str | None:
        if message["event"] == "playAudio":
            media = message["media"]
            assert (media["contentType"], media["sampleRate"]) == ("audio/x-mulaw", 8000)
            return base64.b64decode(media["payload"])
        return message["name"] if message["event"] == "checkpoint" else None

    def reached(self, name: str) -> str:
        return json.dumps({"event": "playedStream", "streamId": "20170ada", "name": name})

    def emptied(self) -> list[str]:
        return [json.dumps({"event": "clearedAudio", "streamId": "20170ada"})]


@dataclass
class Exotel(FarEnd):
    """16-bit samples, 100 ms in a message; the names of Twilio with underscores."""

    wire: WireFormat = linear(8000)
    message_ms: int = 100

    def serializer(self) -> Any:
        return ExotelFrameSerializer("MZ1", "CA1")

    def begin(self) -> list[str]:
        start = {
            "stream_sid": "MZ1", "call_sid": "CA1", "account_sid": "AC1",
            "from": "+919876543210", "to": "+918047491899", "custom_parameters": {},
            "media_format": {"encoding": "audio/x-raw", "sample_rate": "8000", "bit_rate": "16"},
        }  # fmt: skip
        return [json.dumps({"event": "connected"}), self.event("start", start=start)]

    def event(self, name: str, **fields: Any) -> str:
        number = {"sequence_number": str(self.next())}
        return json.dumps({"event": name, **number, "stream_sid": "MZ1", **fields})

    def media(self, payload: bytes, number: int) -> str:
        data = base64.b64encode(payload).decode()
        media = {"chunk": str(number), "timestamp": str(100 * number), "payload": data}
        return self.event("media", media=media)

    def mark(self, name: str) -> dict[str, Any]:
        return {"event": "mark", "stream_sid": "MZ1", "mark": {"name": name}}

    def understand(self, message: dict[str, Any]) -> bytes | str | None:
        if message["event"] == "media":
            return base64.b64decode(message["media"]["payload"])
        return message["mark"]["name"] if message["event"] == "mark" else None

    def reached(self, name: str) -> str:
        return self.event("mark", mark={"name": name})

    def end(self) -> str:
        return self.event("stop", stop={"call_sid": "CA1", "reason": "callended"})


@dataclass
class Vonage(FarEnd):
    """16-bit samples as they are, in binary messages; nothing is numbered, and nothing ends it."""

    wire: WireFormat = linear(16000)

    def serializer(self) -> Any:
        return VonageFrameSerializer()

    def begin(self) -> list[str]:
        kind = "audio/l16;rate=16000"
        return [json.dumps({"event": "websocket:connected", "content-type": kind})]

    def media(self, payload: bytes, number: int) -> bytes:
        return payload

    def mark(self, name: str) -> dict[str, Any]:
        return {"action": "notify", "payload": {"customKey": name}}

    def understand(self, message: dict[str, Any]) -> bytes | str | None:
        return message["payload"]["customKey"] if message["action"] == "notify" else None

    def reached(self, name: str) -> str:
        return json.dumps({"event": "websocket:notify", "payload": {"customKey": name}})

    def emptied(self) -> list[str]:
        return [json.dumps({"event": "websocket:cleared"})]


FAR_ENDS: dict[str, Callable[..., FarEnd]] = {
    "Bandwidth": Bandwidth,
    "Twilio": Twilio,
    "Telnyx": Telnyx,
    "Telnyx, A-law": lambda *args, **kwargs: Telnyx(*args, wire=PCMA, **kwargs),
    "Plivo": Plivo,
    "Exotel": Exotel,
    "Vonage": Vonage,
}
