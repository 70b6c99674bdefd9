"""Streams that wait for their first message, and live calls until their end.

References:
    RFC 6455, section 7.4.1: close codes. Bandwidth, ``<StartStream>``: ``start`` comes first.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Final, TypeAlias

from fastapi import Response, WebSocket, WebSocketDisconnect
from loguru import logger
from starlette.types import Message

from pipecat_bandwidth.exceptions import ProtocolError
from pipecat_bandwidth.messages import MAX_MESSAGE_SIZE, Start, parse
from pipecat_bandwidth.serializer import BandwidthFrameSerializer
from pipecat_bandwidth.server.guard import CHALLENGE, Refusals, given_credentials
from pipecat_bandwidth.server.tokens import Tokens
from pipecat_bandwidth.voice_api import VoiceAPI

__all__ = ["Bot", "HandOver", "Limits", "Switchboard"]

#: Talks to a call until it is over. The WebSocket is accepted; the first message that it gives is
#: ``start``.
Bot: TypeAlias = Callable[[WebSocket, BandwidthFrameSerializer], Awaitable[None]]
#: Gives a live call to somebody else, such as another server like this one::
#:
#:     async def hand_over(call):
#:         await voice_api.redirect(
#:             call.account_id, call.call_id, webhook, username=username, password=password
#:         )
HandOver: TypeAlias = Callable[[BandwidthFrameSerializer], Awaitable[None]]

_NORMAL: Final = 1000
_GOING_AWAY: Final = 1001
_NOT_TEXT: Final = 1003
_POLICY: Final = 1008
_TOO_BIG: Final = 1009
_BOT_FAILED: Final = 1011


@dataclass(frozen=True)
class Limits:
    """How much, how many, how long.

    Parameters:
        body_bytes: Longest webhook.
        body_secs: Longest time that its body may take.
        token_secs: How long after its webhook a stream may come. Bandwidth connects at once.
        waiting: The most streams that have not sent ``start`` yet; further ones get a 503.
        start_secs: Longest wait for ``start``, after which a stream is closed. Bandwidth's own
            bridge waits as long.
        start_bytes: Longest ``start``, in characters; the longest legal one has about 28,000.
        drain_secs: At shutdown: how long live calls may go on by themselves, while new ones are
            refused.
        end_secs: At shutdown: how long a hand-over, and then a bot's end, may take.
    """

    body_bytes: int = 64 * 1024
    body_secs: float = 10.0
    token_secs: float = 60.0
    waiting: int = 100
    start_secs: float = 5.0
    start_bytes: int = MAX_MESSAGE_SIZE
    drain_secs: float = 0.0
    end_secs: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what no server could work with.

        Raises:
            ValueError: If one is negative, or another than ``drain_secs`` is zero.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0 or (value == 0 and field.name != "drain_secs"):
                raise ValueError(f"{field.name}={value!r} must be positive")


class _Refused(Exception):
    """The stream goes no further; its arguments are the close code and why."""


class _Stream(WebSocket):
    """A WebSocket whose first message can be looked at before it is received."""

    _first: Message | None = None

    async def peek(self) -> Message:
        self._first = await super().receive()
        return self._first

    async def receive(self) -> Message:
        first, self._first = self._first, None
        return await super().receive() if first is None else first


class Switchboard:
    """Connects streams with bots."""

    def __init__(
        self,
        bot: Bot,
        *,
        tokens: Tokens,
        voice_api: VoiceAPI | None = None,
        params: BandwidthFrameSerializer.InputParams | None = None,
        limits: Limits | None = None,
        hand_over: HandOver | None = None,
    ) -> None:
        """Be ready for calls.

        Args:
            bot: Talks to one call until it is over.
            tokens: Where expected calls are kept.
            voice_api: How calls are hung up. It is not closed.
            params: The serializers'.
            limits: How much, how many, how long.
            hand_over: Asked to take each live call at shutdown, with its serializer. Without it,
                and where it raises or takes too long, the call is hung up. Whether Bandwidth ends a
                stream whose call it redirects is not documented: after ``end_secs`` it is closed.

        Raises:
            ValueError: If no serializer can be made of ``params`` and ``voice_api``.
        """
        self._bot = bot
        self._tokens = tokens
        self._voice_api = voice_api
        self._params = params
        self._limits = limits or Limits()
        self._hand_over = hand_over
        self._refusals = Refusals()
        self._waiting = 0
        self._live: dict[asyncio.Task[None], tuple[WebSocket, BandwidthFrameSerializer]] = {}
        self._is_draining = self._is_closed = False
        self._serializer("s-1", "c-1", "1")  # what is wrong is said now, not at the first call

    @property
    def live(self) -> int:
        """Number of calls with a bot."""
        return len(self._live)

    async def expect(self, account_id: str, call_id: str) -> str | None:
        """Expect the stream of a call.

        Args:
            account_id: From the authenticated webhook: letters, digits, ``-`` and ``_``.
            call_id: Likewise.

        Returns:
            The password that admits it, once; ``None`` when no calls are taken any more.
        """
        if self._is_draining:
            return None
        token = secrets.token_urlsafe(24)
        await self._tokens.put(_key(token), f"{account_id}/{call_id}", self._limits.token_secs)
        return token

    async def connect(self, websocket: WebSocket) -> None:
        """Take a stream from before its upgrade to its end.

        It is refused with 401 without a token that is expected, with 503 when too many wait or the
        server shuts down; it is closed with 1003 (binary), 1009 (too long) or 1008 if it does not
        begin with ``start`` in time; with 1011 if the bot raises, with 1001 at shutdown.

        Args:
            websocket: Not accepted yet.
        """
        _, _, token = given_credentials(websocket.scope).partition(b":")
        call = await self._tokens.take(_key(token.decode("latin-1")))
        if call is None:
            self._refusals.tell("a stream without a token that is expected: 401")
            await _deny(websocket, 401)
        elif self._is_closed or self._waiting >= self._limits.waiting:
            why = "the server ends" if self._is_closed else f"{self._waiting} wait for start"
            logger.warning(f"the stream of {call} is refused: {why}")
            await _deny(websocket, 503)
        else:
            account_id, call_id = call.split("/")
            stream = _Stream(websocket.scope, websocket.receive, websocket.send)
            if start := await self._started(stream, call_id):
                serializer = self._serializer(start.stream_id, call_id, account_id)
                await self._converse(stream, serializer)

    async def close(self) -> None:
        """End all calls: let them go on for ``drain_secs``, hand over or hang up, then cancel."""
        self._is_draining = True
        await self._all_over(self._limits.drain_secs)
        self._is_closed = True
        await asyncio.gather(*(self._end(*call) for call in self._live.values()))
        await self._all_over(self._limits.end_secs)
        for task in self._live:
            task.cancel()
        await self._all_over(self._limits.end_secs)

    # -- one stream ----------------------------------------------------------------------------

    async def _started(self, stream: _Stream, call_id: str) -> Start | None:
        """Accept a stream and look at its first message; ``None`` if it is closed again."""
        self._waiting += 1
        try:
            await stream.accept()
            return await self._read_start(stream)
        except _Refused as refusal:
            code, reason = refusal.args
            logger.warning(f"a stream of call {call_id} is closed ({code}): {reason}")
            await _close(stream, code)
        except WebSocketDisconnect:
            pass
        finally:
            self._waiting -= 1
        return None

    async def _read_start(self, stream: _Stream) -> Start:
        try:
            async with asyncio.timeout(self._limits.start_secs):
                message = await stream.peek()
        except TimeoutError:
            raise _Refused(_POLICY, f"no message in {self._limits.start_secs:g} s") from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        text = message.get("text")
        if text is None:
            raise _Refused(_NOT_TEXT, "its first message is binary")
        if len(text) > self._limits.start_bytes:
            raise _Refused(_TOO_BIG, f"its first message has {len(text)} characters")
        try:
            start = parse(text, max_size=self._limits.start_bytes)
        except ProtocolError as error:
            raise _Refused(_POLICY, f"its first message is bad: {error}") from None
        if not isinstance(start, Start) or not start.stream_id:
            raise _Refused(_POLICY, "its first message is no start with a stream id")
        if self._is_closed:
            raise _Refused(_GOING_AWAY, "the server shuts down")
        return start

    async def _converse(self, stream: WebSocket, serializer: BandwidthFrameSerializer) -> None:
        """Let the bot talk, and close what it leaves open."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a stream needs a task")
        self._live[task] = stream, serializer
        code = _NORMAL
        try:
            await self._bot(stream, serializer)
        except asyncio.CancelledError:
            if not self._is_closed:
                raise
            code = _GOING_AWAY
        except WebSocketDisconnect:
            pass
        except Exception:
            logger.exception(f"the bot of call {serializer.call_id} failed")
            code = _BOT_FAILED
        finally:
            del self._live[task]
        await _close(stream, code)

    def _serializer(
        self, stream_id: str, call_id: str, account_id: str
    ) -> BandwidthFrameSerializer:
        return BandwidthFrameSerializer(
            stream_id, call_id, account_id, params=self._params, voice_api=self._voice_api
        )

    # -- the end -------------------------------------------------------------------------------

    async def _all_over(self, secs: float) -> None:
        """Wait for the live calls to end, also for those that begin meanwhile."""
        with suppress(TimeoutError):
            async with asyncio.timeout(secs):
                while self._live:
                    await asyncio.wait(self._live)

    async def _end(self, stream: WebSocket, serializer: BandwidthFrameSerializer) -> None:
        """Hand one call over, else hang it up and close its stream, which its bot will notice."""
        hanging_up = serializer.hanging_up
        if self._hand_over is not None:
            try:
                async with asyncio.timeout(self._limits.end_secs):
                    await self._hand_over(serializer)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"[:200]
                logger.error(f"call {serializer.call_id} is not handed over, but ended: {reason}")
            else:
                if hanging_up is not None:
                    hanging_up.release()
                return
        if hanging_up is not None:
            await hanging_up.request()
        await _close(stream, _GOING_AWAY)


def _key(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def _deny(websocket: WebSocket, status: int) -> None:
    """Answer instead of upgrading."""
    challenge = CHALLENGE if status == 401 else None
    await websocket.send_denial_response(Response(status_code=status, headers=challenge))


async def _close(stream: WebSocket, code: int) -> None:
    """Close a stream, unless either side has."""
    with suppress(RuntimeError, WebSocketDisconnect):
        await stream.close(code)
