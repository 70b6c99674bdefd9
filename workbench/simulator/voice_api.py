"""Bandwidth's OAuth token endpoint and Voice API on loopback, with faults on demand.

A real HTTP/1.1 server, because the faults worth having are those of a connection: an answer that
comes late, or a reset in its place. It knows the calls that :meth:`VoiceAPIServer.add` told it of
and those that requests have made; what requests do to them is in :mod:`workbench.simulator.calls`.

============================================ ===================================================
``POST /api/v1/oauth2/token``                200 with a token, 401 for wrong client credentials
``/api/v2/accounts/{a}/calls...``            see there; 401 without a good token, 405 for a method
                                             and 415 for a type of body that is not documented
============================================ ===================================================

References:
    Bandwidth, Voice API v2. RFC 6749, section 4.4: client credentials.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import secrets
import time
from base64 import b64encode
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias
from urllib.parse import parse_qsl

from workbench.simulator.calls import Calls, Kind, KnownCall, json_object, problem

__all__ = ["Fault", "Request", "VoiceAPIServer"]

Operation: TypeAlias = Literal["token"] | Kind

_TOKEN_PATH: Final = "/api/v1/oauth2/token"
_CALLS_PATH: Final = re.compile(r"/api/v2/accounts/([\w-]+)/calls(?:/([\w-]+)(/bxml)?)?")
#: The methods of a path, by its parts: with a call's id, with ``/bxml``.
_METHODS: Final = {
    (False, False): ("GET", "POST"),
    (True, False): ("GET", "POST"),
    (True, True): ("PUT",),
}
_TOKEN_LIFETIME_SECS: Final = 3600


@dataclass(frozen=True)
class Fault:
    """What to do with one request instead of answering it properly.

    Parameters:
        status: Answer with this status; ``None`` answers properly (after ``delay_secs``).
        retry_after: Seconds for the ``Retry-After`` header, if any.
        delay_secs: Wait before answering.
        reset: Break the connection instead of answering.
    """

    status: int | None = None
    retry_after: int | None = None
    delay_secs: float = 0.0
    reset: bool = False


@dataclass(frozen=True)
class Request:
    """A request that was received.

    Parameters:
        time: ``time.monotonic()`` when it had been read.
        operation: ``"token"``, ``"create"``, ``"list"``, ``"state"``, ``"hang up"``, ``"redirect"`` or
            ``"bxml"``; ``""`` for any other address or method.
        account_id: As in its path.
        call_id: As in its path.
        status: What was answered; 0 for a connection that was broken.
        fields: What was asked of the call.
    """

    time: float
    operation: Operation | Literal[""]
    account_id: str
    call_id: str
    status: int
    fields: Mapping[str, Any] = field(default_factory=dict)


class VoiceAPIServer:
    """The server; an async context manager.

    Example::

        async with VoiceAPIServer() as server:
            server.fail("hang up", Fault(429, retry_after=1), Fault(503))
            api = VoiceAPI(server.client_id, server.client_secret,
                           base_url=server.base_url, token_url=server.token_url)

    Attributes:
        calls: Those that it knows.
        client_id: OAuth client id that it accepts.
        client_secret: Its secret, a fresh one for each server.
        requests: What was received, in order.
    """

    def __init__(self, port: int = 0, *, any_client: bool = False) -> None:
        """Nothing listens yet.

        Args:
            port: Where it will listen on loopback; 0 for any that is free.
            any_client: Whether whoever asks gets a token: for a bot with credentials of its own.
        """
        self.client_id = "simulated-client"
        self.client_secret = secrets.token_urlsafe(24)
        self._port = port
        self._any_client = any_client
        self.requests: list[Request] = []
        self.calls = Calls()
        self._tokens: set[str] = set()
        self._faults: dict[Operation, deque[Fault]] = defaultdict(deque)
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def base_url(self) -> str:
        """Root of the Voice API."""
        return f"{self._origin}/api/v2"

    @property
    def token_url(self) -> str:
        """The OAuth token endpoint."""
        return f"{self._origin}{_TOKEN_PATH}"

    def add(self, account_id: str, call_id: str) -> KnownCall:
        """Make a call known; its ``over`` is set when a request ends it."""
        return self.calls.add(account_id, call_id)

    def fail(self, operation: Operation, *faults: Fault) -> None:
        """Queue faults for the next requests of that operation, one each, in order."""
        self._faults[operation].extend(faults)

    def revoke_tokens(self) -> None:
        """Refuse every token issued so far."""
        self._tokens.clear()

    def hang_ups(self, call_id: str) -> list[Request]:
        """The requests to end that call."""
        return [r for r in self.requests if r.operation == "hang up" and r.call_id == call_id]

    async def __aenter__(self) -> Self:
        """Listen on the loopback interface.

        Raises:
            OSError: If another listens on that port.
        """
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
            for task, writer in self._connections.items():
                task.cancel()
                writer.transport.abort()
            await asyncio.gather(*self._connections, return_exceptions=True)
            await self._server.wait_closed()

    @property
    def _origin(self) -> str:
        if self._server is None or not self._server.sockets:
            raise RuntimeError("the server is not running")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    # -- one connection ------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            while await self._exchange(reader, writer):
                pass
        except (
            ConnectionError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            ValueError,
        ):
            pass
        except asyncio.CancelledError:
            pass  # The server is closing; asyncio would report the cancellation as an error.
        finally:
            del self._connections[task]
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read one request and answer it; whether the connection stays open."""
        asked = await _read(reader)
        received = time.monotonic()
        operation, account_id, call_id = asked.operation, asked.account_id, asked.call_id
        fault = Fault()
        if operation and self._faults[operation]:
            fault = self._faults[operation].popleft()
        await asyncio.sleep(fault.delay_secs)
        if fault.reset:
            self.requests.append(Request(received, operation, account_id, call_id, 0))
            writer.transport.abort()
            return False
        status, answer = fault.status, None
        if status is None:
            status, answer = self._answer(asked)
        fields = json_object(asked.body) if account_id else {}
        self.requests.append(Request(received, operation, account_id, call_id, status, fields))
        writer.write(_response(status, answer, fault.retry_after))
        await writer.drain()
        return asked.headers.get("connection", "").lower() != "close"

    def _answer(self, asked: _Asked) -> tuple[int, dict[str, Any] | list[dict[str, Any]] | None]:
        """Answer properly: status and JSON fields."""
        given = asked.headers.get("authorization", "").encode()
        if asked.operation == "token":
            client = b64encode(f"{self.client_id}:{self.client_secret}".encode())
            if not (self._any_client or hmac.compare_digest(given, b"Basic " + client)):
                return 401, {"error": "invalid_client"}
            token = secrets.token_urlsafe(32)
            self._tokens.add(token)
            lifetime = {"token_type": "Bearer", "expires_in": _TOKEN_LIFETIME_SECS}
            return 200, {"access_token": token, **lifetime}
        if not asked.operation and asked.account_id:
            return 405, problem(
                "method-not-allowed", f"{asked.method[:20]} is not for this address"
            )
        if not asked.operation:
            return 404, problem("not-found", "There is nothing at this address")
        if given.decode().removeprefix("Bearer ") not in self._tokens:
            return 401, problem("authentication-required", "The token is missing or not valid")
        if asked.operation == "list":
            return 200, self.calls.listed(asked.account_id, asked.query)
        wanted = {"bxml": "application/xml", "state": ""}.get(asked.operation, "application/json")
        if not asked.headers.get("content-type", "").startswith(wanted):
            return 415, problem("unsupported-media-type", f"Content-Type must be {wanted}")
        where = asked.operation, asked.account_id, asked.call_id
        return self.calls.answer(*where, asked.body, self.base_url)


@dataclass(frozen=True)
class _Asked:
    """A request as it was read."""

    method: str
    operation: Operation | Literal[""]
    account_id: str
    call_id: str
    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, str] = field(default_factory=dict)


async def _read(reader: asyncio.StreamReader) -> _Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    pairs = (line.split(":", 1) for line in head[1:] if ":" in line)
    headers = {name.strip().lower(): value.strip() for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = path.partition("?")
    call = _CALLS_PATH.fullmatch(path)
    if call is None:
        token = path == _TOKEN_PATH and method == "POST"
        return _Asked(method, "token" if token else "", "", "", headers, body)
    account_id, call_id, bxml = call.groups()
    kind: Operation | Literal[""]
    if method not in _METHODS[bool(call_id), bool(bxml)]:
        kind = ""
    elif bxml:
        kind = "bxml"
    elif method == "GET":
        kind = "state" if call_id else "list"
    elif not call_id:
        kind = "create"
    else:
        ends = json_object(body).get("state") == "completed"
        kind = "hang up" if ends else "redirect"
    return _Asked(method, kind, account_id, call_id or "", headers, body, dict(parse_qsl(query)))


def _response(
    status: int, fields: Mapping[str, Any] | list[Any] | None, retry_after: int | None
) -> bytes:
    if fields is None and status >= 400:
        fields = problem("simulated-fault", f"A fault on demand: {status}")
    body = b"" if fields is None else json.dumps(fields).encode()
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}"]
    if status != 204:
        lines.append(f"Content-Length: {len(body)}")
    if body:
        lines.append("Content-Type: application/json")
    if retry_after is not None:
        lines.append(f"Retry-After: {retry_after}")
    return "\r\n".join([*lines, "", ""]).encode() + body
