"""Who may post, and how much: decided before a body is read.

References:
    RFC 7617: HTTP Basic. RFC 9110, section 15.5: the statuses.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
import time
from collections.abc import Collection
from typing import Final

from fastapi import Response
from loguru import logger
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CHALLENGE", "Guard", "Refusals", "credentials", "given_credentials"]

#: A request whose answer comes before its body is over cannot be followed by another.
_CLOSE: Final = {"Connection": "close"}
#: What RFC 7617 wants beside a 401.
CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="bot", charset="UTF-8"'}
#: Seconds between two log lines about strangers: they must not fill a disk.
_LOG_EVERY_SECS: Final = 10.0
_MEANING: Final = {
    400: "the body breaks off",
    401: "it wants HTTP Basic credentials",
    408: "the body takes too long",
    413: "the body is too long",
}


class Refusals:
    """Tells of refusals: the first, and then at most one line per interval, with their number."""

    def __init__(self) -> None:
        """Begin with none."""
        self._number = 0
        self._next_log = 0.0

    def tell(self, text: str) -> None:
        """Count a refusal, and log it if none was a short while ago."""
        self._number += 1
        now = time.monotonic()
        if now >= self._next_log:
            self._next_log = now + _LOG_EVERY_SECS
            logger.warning(f"refused: {text} (number {self._number})")


class _Refused(Exception):
    """The request goes no further; its argument is the HTTP status."""


class Guard:
    """ASGI middleware that lets an HTTP request through with the right password and a short body.

    Without the password the answer is 401, whatever else is wrong, and nothing of the body is
    asked for. With it, a longer ``Content-Length`` is refused before the body as well, and a body
    of unknown length as soon as it is too long. What is behind it gets the body whole.

    WebSockets pass: they are admitted by :class:`pipecat_bandwidth.server.Switchboard`.
    """

    def __init__(
        self,
        app: ASGIApp,
        wanted: bytes,
        *,
        body_bytes: int = 64 * 1024,
        body_secs: float = 10.0,
        open_paths: Collection[str] = (),
    ) -> None:
        """Stand before an application.

        Args:
            app: What is guarded.
            wanted: The credentials, as :func:`credentials` makes them.
            body_bytes: Longest body; a webhook of Bandwidth's has one to two thousand bytes.
            body_secs: Longest time from the head of a request to the end of its body.
            open_paths: Paths that need no password, such as a health check's. The length of a body
                is limited there too.
        """
        self._app = app
        self._wanted = wanted
        self._body_bytes = body_bytes
        self._body_secs = body_secs
        self._open_paths = frozenset(open_paths)
        self._refusals = Refusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check_head(scope)
            body = await self._read(receive)
        except _Refused as refusal:
            (status,) = refusal.args
            request = f"{scope['method']} {scope['path'][:100]!r}"
            self._refusals.tell(f"{request}: {status}, {_MEANING[status]}")
            challenge = CHALLENGE if status == 401 else {}
            answer = Response(_MEANING[status], status, _CLOSE | challenge, "text/plain")
            await answer(scope, receive, send)
            return
        await self._app(scope, _once(body, receive), send)

    def _check_head(self, scope: Scope) -> None:
        given = _digest(given_credentials(scope))
        is_known = secrets.compare_digest(given, self._wanted)
        if not is_known and scope["path"] not in self._open_paths:
            raise _Refused(401)
        length = _header(scope, b"content-length") or b"0"
        if len(length) > 10 or not length.isdigit() or int(length) > self._body_bytes:
            raise _Refused(413)

    async def _read(self, receive: Receive) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_secs):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise _Refused(400)
                    body += message.get("body", b"")
                    if len(body) > self._body_bytes:
                        raise _Refused(413)
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise _Refused(408) from None


def credentials(username: str, password: str) -> bytes:
    """Make what a :class:`Guard` compares with: a digest, which keeps nobody's password.

    Args:
        username: HTTP Basic user.
        password: Its password.

    Raises:
        ValueError: If one of them is empty, or the user has a colon in it.
    """
    if not username or not password:
        raise ValueError("the webhooks need a user and a password; one of them is empty")
    if ":" in username:
        raise ValueError(f"{username=} must have no colon in it (RFC 7617)")
    return _digest(f"{username}:{password}".encode())


def given_credentials(scope: Scope) -> bytes:
    """Read ``user:password`` from the ``Authorization`` header of a request or a WebSocket.

    Returns:
        The bytes as they were sent; none without HTTP Basic credentials.
    """
    scheme, _, coded = (_header(scope, b"authorization") or b"").partition(b" ")
    if scheme.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(coded.strip(), validate=True)
    except binascii.Error:
        return b""


def _header(scope: Scope, wanted: bytes) -> bytes | None:
    """First value of a header; ASGI has its name in lower case."""
    return next((value for name, value in scope["headers"] if name == wanted), None)


def _digest(secret: bytes) -> bytes:
    """Of one length whatever the secret's, so that a comparison tells nothing of it."""
    return hashlib.sha256(secret).digest()


def _once(body: bytes, receive: Receive) -> Receive:
    """Receive a body that has been read, then what comes after it."""
    message: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def again() -> Message:
        nonlocal message
        if message is not None:
            given, message = message, None
            return given
        return await receive()

    return again
