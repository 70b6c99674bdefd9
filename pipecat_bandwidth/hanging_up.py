"""Ending a call once, whoever asks for it and whoever is cancelled meanwhile.

A bot that has said goodbye waits until that has been played; whoever cancels waits for nothing. The
socket is open all the while: Pipecat's transports close it when ``serialize`` has come back, however
long that takes. But they no longer read from it, so the serializer is told of a ``stop`` only by a
transport that goes on reading. With the others a caller who hangs up in the middle of the goodbye
costs what is left of the wait, and the hang-up then finds the call over.

The request itself is :mod:`pipecat_bandwidth.voice_api`'s; here is who may ask, how often it is
made, and who is told how it went.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pipecat_bandwidth.exceptions import VoiceAPIError
from pipecat_bandwidth.voice_api import (
    VoiceAPI,
    credential_problem,
    endpoint_problem,
    identifier,
)

__all__ = ["HangingUp", "Outcome", "hang_up_problem", "start"]

#: The event loop keeps only weak references to its tasks; a hang-up outlives its serializer.
_tasks: Final[set[asyncio.Task[None]]] = set()


@dataclass(frozen=True)
class Outcome:
    """How an attempt to end a call came out.

    Parameters:
        outcome: ``"ended"`` by this attempt, ``"already_over"`` before it, ``"failed"``, or
            ``"cancelled"`` before its end was known, as when the event loop closes. After the last
            two the call may still be up.
        status_code: HTTP status of the last answer; ``None`` without one.
        attempts: Requests made for the call; ``None`` unless it is over.
        reason: Why it may still be up, in words without any secret; else empty.
        took_secs: From the beginning of the attempt, after any wait for the last words, to its
            outcome.
    """

    outcome: Literal["ended", "already_over", "failed", "cancelled"]
    status_code: int | None = None
    attempts: int | None = None
    reason: str = ""
    took_secs: float = 0.0

    def __bool__(self) -> bool:
        """Whether the call is over."""
        return self.outcome in ("ended", "already_over")


class HangingUp:
    """Ends one call.

    An attempt is a task of its own: it goes on when whoever waits for it is cancelled. Requests at
    the same time share one attempt. After one that failed the next request makes another; after
    one that succeeded, none.

    Attributes:
        listeners: Called with the :class:`Outcome` of each attempt, in its task, as soon as it is
            known. What they raise is dropped.
    """

    def __init__(
        self,
        call_id: str | None,
        account_id: str | None,
        client_id: str | None = None,
        client_secret: str | None = None,
        voice_api: VoiceAPI | None = None,
    ) -> None:
        """Take what :func:`hang_up_problem` found nothing wrong with.

        Args:
            call_id: The call, from a trusted source.
            account_id: Its account, from a trusted source.
            client_id: OAuth client id, for a client of its own.
            client_secret: OAuth client secret, likewise.
            voice_api: A client to borrow instead; it is never closed here.
        """
        self._call_id = call_id or ""
        self._account_id = account_id or ""
        self._is_own = voice_api is None
        self._voice_api = voice_api or VoiceAPI(client_id or "", client_secret or "")
        self._task: asyncio.Task[None] | None = None
        self._hurry: asyncio.Event | None = None  # while an attempt waits for the last words
        self._is_over = False
        self._is_released = False
        self.listeners: list[Callable[[Outcome], None]] = []

    def release(self) -> None:
        """Leave the call to somebody else: from now on a request does nothing."""
        self._is_released = True

    def hurry(self) -> None:
        """End the wait for the last words, if there is one: nobody hears them any more."""
        if self._hurry is not None:
            self._hurry.set()

    async def request(self, after_secs: float = 0.0) -> None:
        """Wait for the attempt under way, or for a new one if there is none or it failed.

        Args:
            after_secs: How long a new attempt waits before it begins: as long as the last words
                are being played. Whoever does not want to wait, or is cancelled, ends the wait of
                all.
        """
        if self._is_released:
            return
        if after_secs <= 0:
            self.hurry()
        if self._task is None or (self._task.done() and not self._is_over):
            self._task = start(self._attempt(after_secs))
        try:
            await asyncio.wait((self._task,))
        except asyncio.CancelledError:
            self.hurry()
            raise

    async def _attempt(self, after_secs: float) -> None:
        began = time.monotonic()
        try:
            if after_secs > 0:
                await self._wait(after_secs)
                began = time.monotonic()
            if self._is_released:  # while it waited
                return
            outcome = await self._outcome()
            self._is_over = bool(outcome)
            self._tell(outcome, began)
        except asyncio.CancelledError:
            self._tell(Outcome("cancelled", reason="hang-up was cancelled"), began)
            raise
        finally:
            if self._is_own:
                await self._voice_api.aclose()

    async def _wait(self, secs: float) -> None:
        self._hurry = asyncio.Event()
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), secs)
        finally:
            self._hurry = None

    async def _outcome(self) -> Outcome:
        try:
            done = await self._voice_api.hang_up(self._account_id, self._call_id)
        except VoiceAPIError as error:
            return Outcome("failed", error.status_code, reason=str(error))
        except Exception as error:  # nobody waits for this task's exceptions
            return Outcome("failed", reason=f"hang up failed: {type(error).__name__}")
        how = "ended" if done.outcome == "completed" else done.outcome
        return Outcome(how, done.status_code, done.attempts)

    def _tell(self, outcome: Outcome, began: float) -> None:
        told = replace(outcome, took_secs=time.monotonic() - began)
        for listener in self.listeners:
            with suppress(Exception):
                listener(told)


def hang_up_problem(
    call_id: str | None,
    account_id: str | None,
    client_id: str | None,
    client_secret: str | None,
    voice_api: VoiceAPI | None,
) -> str | None:
    """Say what a :class:`HangingUp` of these would lack; ``None`` when nothing is wrong.

    It does not raise, because loguru prints the variables of every line that an exception passes.
    """
    given = {"call_id": bool(call_id), "account_id": bool(account_id)}
    if voice_api is None:
        given |= {"client_id": bool(client_id), "client_secret": bool(client_secret)}
    missing = [name for name, there in given.items() if not there]
    if missing:
        return f"auto_hang_up needs {', '.join(missing)}; or set auto_hang_up=False"
    try:
        identifier("call_id", call_id)
        identifier("account_id", account_id)
    except ValueError as error:
        return str(error)
    if voice_api:
        return None
    return credential_problem(client_id, client_secret) or endpoint_problem()


def start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task that lives until it is done, even if nobody keeps it."""
    task = asyncio.create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task
