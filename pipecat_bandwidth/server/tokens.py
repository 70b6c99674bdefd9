'''Which stream belongs to which call: tokens that work once, and not for long.

The webhook puts a call under a token, the stream takes it out again. One process keeps them in
memory. Several, of which one answers the webhook and another gets the stream, share a store: any
object with the two functions of :class:`Tokens`. With Redis 6.2 or newer, and its package::

    class RedisTokens:
        """Tokens in a Redis, which forgets them by itself."""

        def __init__(self, redis):  # redis.asyncio.Redis.from_url(..., decode_responses=True)
            self.redis = redis

        async def put(self, token, call, secs):
            await self.redis.set(f"bandwidth:{token}", call, px=round(secs * 1000))

        async def take(self, token):
            return await self.redis.getdel(f"bandwidth:{token}")

    app = create_app(bot, ..., tokens=RedisTokens(redis))

A store never sees a token, only its SHA-256: who reads the store cannot open a stream by it.
'''

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from loguru import logger

__all__ = ["MemoryTokens", "Tokens"]


class Tokens(Protocol):
    """Where tokens are kept between a webhook and its stream."""

    async def put(self, token: str, call: str, secs: float) -> None:
        """Keep a call.

        Args:
            token: What it will be asked for by: 64 hexadecimal digits.
            call: What is to be kept, in printable ASCII.
            secs: For how long.
        """

    async def take(self, token: str) -> str | None:
        """Give out a call and forget it, in one step: of two who ask at once, one gets it.

        Args:
            token: As it was put.

        Returns:
            What was kept; ``None`` if nothing was, or not any more.
        """


class MemoryTokens:
    """Tokens of one process; when there are too many, the oldest goes.

    All are kept for equally long, so the oldest is the first to expire.
    """

    def __init__(self, limit: int = 10_000, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with none.

        Args:
            limit: The most that are kept at a time. Each has about 400 bytes.
            clock: Seconds; tells when a token has expired.

        Raises:
            ValueError: If the limit is not a positive number.
        """
        if limit < 1:
            raise ValueError(f"{limit=} must be positive")
        self._limit = limit
        self._clock = clock
        self._calls: dict[str, tuple[str, float]] = {}
        self._warned = False

    def __len__(self) -> int:
        """Count what is kept, expired ones that nobody has asked for since among it."""
        return len(self._calls)

    async def put(self, token: str, call: str, secs: float) -> None:
        """Keep a call, and forget what has expired."""
        now = self._clock()
        self._calls[token] = call, now + secs
        while self._calls[oldest := next(iter(self._calls))][1] <= now:
            del self._calls[oldest]
        if len(self._calls) > self._limit:
            del self._calls[oldest]
            if not self._warned:
                self._warned = True
                logger.warning(f"more than {self._limit} calls wait for a stream; the oldest goes")

    async def take(self, token: str) -> str | None:
        """Give out a call and forget it."""
        call, until = self._calls.pop(token, (None, 0.0))
        return call if self._clock() < until else None
