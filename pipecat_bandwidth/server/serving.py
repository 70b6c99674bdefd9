"""uvicorn, set up for calls: what strangers may cost before they are known, and an end in order.

Another server does too, or uvicorn's own command. What is missing then: a deadline for the head of
a request, and an end that comes before the sockets are closed, which a hand-over needs.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipecat_bandwidth.messages import MAX_MESSAGE_SIZE

__all__ = ["Server", "configured", "run"]


def run(app: FastAPI, host: str = "127.0.0.1", port: int = 8000, **settings: Any) -> None:
    """Serve an application until SIGTERM or Ctrl-C, then end its calls.

    Bandwidth wants ``https`` and ``wss``: put a proxy that has the certificate before it, or give
    ``ssl_certfile`` and ``ssl_keyfile``. One process has one event loop, which is one core: for
    more calls start more of them behind the proxy, with tokens in a store that all of them share.

    Args:
        app: From :func:`pipecat_bandwidth.server.create_app`.
        host: Address to listen on; ``"0.0.0.0"`` for all.
        port: Port to listen on.
        settings: As for :func:`configured`.
    """
    Server(configured(app, host=host, port=port, **settings)).run()


def configured(app: FastAPI, *, head_secs: float = 10.0, **settings: Any) -> uvicorn.Config:
    """Set uvicorn up for calls.

    Args:
        app: The application.
        head_secs: Longest time from a connection, or from the answer before, to the end of a
            request's head; then the connection is dropped.
        settings: uvicorn's own, instead of those chosen here: messages of at most 64 KiB, heads of
            at most 16 KiB, no compression of messages (audio in base64 gains little and costs the
            event loop), no log of requests.

    Returns:
        The configuration.
    """
    chosen: dict[str, Any] = {
        "http": _prompt(head_secs),
        "ws": "websockets-sansio",
        "ws_max_size": MAX_MESSAGE_SIZE,
        "ws_per_message_deflate": False,
        "h11_max_incomplete_event_size": 16 * 1024,
        "log_level": "warning",
        "access_log": False,
        "timeout_graceful_shutdown": 5,
    }
    return uvicorn.Config(app, **(chosen | settings))


class Server(uvicorn.Server):
    """A uvicorn that ends the calls of its application before it closes their sockets."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the calls, then the server; Ctrl-C once more does not wait for the calls."""
        switchboard = getattr(getattr(self.config.app, "state", None), "switchboard", None)
        if switchboard is not None:
            ending = asyncio.create_task(switchboard.close(), name="end-of-calls")
            while not ending.done() and not self.force_exit:
                await asyncio.wait((ending,), timeout=0.1)
        await super().shutdown(sockets)


def _prompt(head_secs: float) -> type[asyncio.Protocol]:
    class Prompt(H11Protocol):
        """Drops a connection that takes too long over the head of a request.

        uvicorn has a time-out only for a connection that is idle after an answer, not for one that
        sends nothing, or a byte now and then.
        """

        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._expect_head()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self._deadline is not None:
                self._deadline.cancel()

        def _expect_head(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
            self._deadline = self.loop.call_later(head_secs, self._give_up)

        def _give_up(self) -> None:
            is_answering = self.cycle is not None and not self.cycle.response_complete
            is_upgraded = self.transport.get_protocol() is not self
            if not is_answering and not is_upgraded:
                self.transport.abort()

    return Prompt
