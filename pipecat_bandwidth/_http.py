"""Requests over httpx, each bounded in time and in what is read of its answer.

A module of its own because importing httpx takes a fifth of a second, which only a hang-up needs.
"""

from __future__ import annotations

import asyncio
import functools
import re
import ssl
import time
from dataclasses import dataclass, field, replace
from typing import Any, Final

import httpx

__all__ = ["BODY_LIMIT", "Answer", "Lost", "exchange", "new_client"]

#: Longest part of an answer that is read, in bytes. A token answer has one to two thousand.
BODY_LIMIT: Final = 16 * 1024

#: Seconds given to a body that nobody needs, so that its connection can be used again.
_DRAIN_SECS: Final = 0.25


class Lost(Exception):
    """There is no connection, or no longer; what it says was made on this machine."""


@dataclass(frozen=True)
class Answer:
    """What a server said.

    Parameters:
        status: HTTP status.
        retry_after: The header, if there was one.
        body: Its first part; it may hold a token.
        attempts: Requests that it took.
    """

    status: int
    retry_after: str | None
    body: bytes = field(repr=False)
    attempts: int = 1


def new_client(transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
    """Make a client that follows nothing and unpacks nothing.

    Raises:
        ImportError, OSError, ValueError: If it cannot be made, mostly for a proxy of the
            environment's.
    """
    return httpx.AsyncClient(
        transport=transport,
        verify=ssl_context(),
        headers={"Accept-Encoding": "identity"},  # no small body that unfolds into a large one
        timeout=None,  # asyncio.timeout covers more: a body that drips never times out here
        follow_redirects=False,
    )


async def exchange(
    client: httpx.AsyncClient,
    url: str,
    wants_body: bool,
    allowed: float,
    deadline: float,
    request: dict[str, Any],
) -> Answer:
    """Make one request. Where the status alone decides, the body may be cut short or abandoned.

    Args:
        client: Of :func:`new_client`.
        url: Where to.
        wants_body: Whether a good answer's body is needed.
        allowed: Seconds until there must be a status, and all of a needed body.
        deadline: On ``time.monotonic()``: no body is read beyond it.
        request: What ``client.stream`` takes besides.

    Raises:
        TimeoutError: If ``allowed`` has passed.
        Lost: If the connection fails before.
    """
    answer: Answer | None = None
    try:
        async with (
            asyncio.timeout(allowed) as limit,
            client.stream("POST", url, **request) as response,
        ):
            head = Answer(response.status_code, response.headers.get("Retry-After"), b"")
            if not (wants_body and response.is_success):
                answer = head
                drain = min(_DRAIN_SECS, max(0.0, deadline - time.monotonic()))
                limit.reschedule(asyncio.get_running_loop().time() + drain)
            answer = replace(head, body=await _read(response))
    except TimeoutError:
        if answer is None:
            raise
    except httpx.TransportError as error:
        if answer is None:
            raise Lost(_trouble(error)) from None
    return answer


async def _read(response: httpx.Response) -> bytes:
    if response.is_stream_consumed:  # an answer that was made whole, as httpx.MockTransport does
        return response.content[: BODY_LIMIT + 1]
    body = b""
    async for part in response.aiter_raw():
        body += part
        if len(body) > BODY_LIMIT:
            break
    return body


@functools.cache
def ssl_context() -> ssl.SSLContext:
    """One for the process: loading the certificates takes 20 ms, on a busy machine 150."""
    return httpx.create_ssl_context()


def _trouble(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.ConnectError):
        text = re.sub(r"[^ -~]", " ", str(error)[:120])
        return f"no connection ({text})"
    return f"connection lost ({type(error).__name__})"
