"""Who gets in: the browser that was given the address, and no page that it happens to show.

A server on 127.0.0.1 is reached by every program of the machine, and by every page in the browser. So

- each path begins with a token, made anew at each start; without it there is nothing,
- the ``Host`` is this machine's: a name that a stranger's DNS leads here is refused,
- a WebSocket comes from a page of this server, as ``Origin`` says,
- a page may load and reach this server alone, and be in no frame of another.

Answers are not kept by the browser, and its address is told to nobody.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

__all__ = ["Guard", "new_token"]

#: Names of this machine, which no DNS can lead elsewhere.
_HERE: Final = frozenset({"127.0.0.1", "localhost", "::1"})
#: Closing code: a policy was violated (RFC 6455, 7.4.1).
_POLICY: Final = 1008


def new_token() -> str:
    """Make a token: 192 random bits, of letters that an address may have."""
    return secrets.token_urlsafe(24)


class Guard:
    """An ASGI application before another: lets through who may come in, without the token.

    Parameters:
        app: What is guarded.
        token: What each path begins with.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        """Take what is guarded."""
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        first, slash, _ = scope["path"].removeprefix("/").partition("/")
        is_known = secrets.compare_digest(first.encode(), self._token)
        refused = "" if is_known and slash else _NO_TOKEN
        if _hostname(headers.get("host", "")) not in _HERE:
            refused = "This server answers to 127.0.0.1 and localhost only.\n"
        if scope["type"] == "websocket" and not refused and not _is_own(headers):
            refused = "A WebSocket is opened by a page of this server only.\n"
        if refused:
            await self._refuse(scope, receive, send, refused)
            return
        inner = {**scope, "root_path": f"/{first}"}  # the routes are those behind it
        await self._app(inner, receive, _closed_to_others(send, headers["host"]))

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, why: str) -> None:
        if scope["type"] == "websocket":
            await WebSocketClose(_POLICY)(scope, receive, send)
        else:
            await PlainTextResponse(why, 403)(scope, receive, send)


_NO_TOKEN: Final = (
    "This is `workbench view`. Its address, with a token in it, stands in the terminal in which it "
    "was started.\n"
)


def _hostname(host: str) -> str | None:
    """The name in a ``Host`` header; ``None`` if there is anything else in it."""
    named = re.fullmatch(r"\[([0-9a-f:]+)\](:\d+)?|([a-z0-9.-]+)(:\d+)?", host.lower())
    return named and (named[1] or named[3])


def _is_own(headers: Headers) -> bool:
    """Whether a page of this very server asks."""
    return headers.get("origin") == f"http://{headers['host']}"


def _closed_to_others(send: Send, host: str) -> Send:
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self' ws://{host}; base-uri 'self'; form-action 'none'; "
        "frame-ancestors 'none'"
    )

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = policy
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
            headers["Referrer-Policy"] = "no-referrer"
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Cache-Control"] = "no-store"
        await send(message)

    return sending
