"""The webhooks of one call, posted as Bandwidth posts them, and the identity they all carry.

References:
    Bandwidth, Programmable Voice: ``initiate``, ``mediaStreamStarted``, ``mediaStreamRejected``,
    ``mediaStreamStopped`` and ``disconnect``.
"""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urljoin

import httpx

from workbench.exceptions import SimulationError
from workbench.simulator.bxml import MAX_SIZE, StartStream, not_an_address
from workbench.simulator.truth import Webhook

__all__ = ["ACCOUNT", "WEBHOOK_SECS", "Webhooks"]

#: What a request can fail with; a name that cannot be a host's is a UnicodeError.
_FAILED: Final = (httpx.HTTPError, httpx.InvalidURL, ValueError)

#: What somebody could do about a status.
_HINTS: Final = {
    401: ": it wants HTTP Basic credentials, see --username and --password",
    404: ": is the path the one of the voice webhook?",
    405: ": the webhook is a POST",
}

#: "Webhook timeout 15 s by default."
WEBHOOK_SECS: Final = 15.0

ACCOUNT: Final = "9900000"


class Webhooks:
    """Posts one call's webhooks.

    Args:
        client: How requests travel.
        url: Where the bot takes ``initiate``.
        status_url: Where it takes ``disconnect``; ``""`` for nowhere.
        credentials: HTTP Basic user and password for both; empty for none.
        voice_url: Root of the Voice API, for ``callUrl``.
        timeout: Seconds that any request may take, to the last byte of its answer.

    Attributes:
        account_id: Always the same.
        call_id: A fresh one, of the real shape.
        stream_id: The same.
        posted: What was posted, in order.
        clock: Tells the second of the call, once it has begun.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        status_url: str,
        credentials: tuple[str, str],
        voice_url: str,
        timeout: float = WEBHOOK_SECS,
    ) -> None:
        """See the class."""
        self.account_id = ACCOUNT
        self.call_id = f"c-{secrets.token_hex(4)}-{uuid.uuid4()}"
        self.stream_id = f"s-{secrets.token_hex(4)}-{uuid.uuid4()}"
        self.posted: list[Webhook] = []
        self.clock: Callable[[], float] = lambda: -1.0
        self._client = client
        self._timeout = min(timeout, WEBHOOK_SECS)
        self._url = url
        self._status_url = status_url
        self._auth = _basic(credentials)
        self._call_url = f"{voice_url}/accounts/{self.account_id}/calls/{self.call_id}"
        self._start_time = _timestamp()

    async def initiate(self) -> tuple[str, bytes]:
        """Post ``initiate``.

        Returns:
            Content type and body of the answer, of which at most one byte more than any BXML has
            is read.

        Raises:
            SimulationError: If there is none in time, or with another status than 200.
        """
        fields = self._fields("initiate") | {"privacy": False, "callerDisplayName": "Simulator"}
        body = bytearray()
        if wrong := not_an_address(self._url, "http", "https"):
            raise SimulationError("webhook", f"{self._url} is not an http:// address: {wrong}")
        try:
            async with self._posted(self._url, fields, self._auth) as response:
                self.posted.append(Webhook(self.clock(), "initiate", response.status_code))
                _expect_200(self._url, response)
                _expect_plain(self._url, response)
                async for chunk in response.aiter_raw(4096):
                    body += chunk
                    if len(body) > MAX_SIZE:
                        break
        except TimeoutError:
            reason = f"no whole answer from {self._url} within {self._timeout:g} s"
            raise SimulationError("webhook", reason) from None
        except _FAILED as error:
            reason = str(error) or type(error).__name__
            raise SimulationError("webhook", f"no answer from {self._url}: {reason}") from None
        return response.headers.get("content-type", ""), bytes(body[: MAX_SIZE + 1])

    async def stream_event(self, stream: StartStream, event_type: str, **details: str) -> None:
        """Post a ``mediaStream*`` webhook, if the BXML names an address for them."""
        if not stream.event_url:
            return
        media_stream: dict[str, Any] = {
            "destination": stream.destination.partition("?")[0],
            "id": self.stream_id,
            "name": stream.name or self.stream_id,
            "startTime": self._start_time,
            "tracks": list(stream.tracks),
            "type": "WebSocket",
        }
        if event_type == "mediaStreamStopped":
            media_stream["duration"] = f"PT{self.clock():.3f}S"
        fields = self._fields(event_type) | {"mediaStream": media_stream} | details
        await self._post(stream.event_url, fields, _basic(stream.event_credentials))

    async def disconnect(self, cause: str, reason: str = "") -> None:
        """Post ``disconnect``, if there is an address for it."""
        if self._status_url:
            fields = self._fields("disconnect") | {"cause": cause, "endTime": _timestamp()}
            if reason:
                fields["errorMessage"] = reason
            await self._post(self._status_url, fields, self._auth)

    async def _post(self, url: str, fields: dict[str, Any], auth: httpx.Auth) -> None:
        """Post what wants no answer; once more if the connection fails."""
        status = 0
        for _ in range(2):
            try:
                async with self._posted(urljoin(self._url, url), fields, auth) as response:
                    status = response.status_code
                break
            except TimeoutError:
                break
            except _FAILED:
                continue
        self.posted.append(Webhook(self.clock(), fields["eventType"], status))

    @asynccontextmanager
    async def _posted(
        self, url: str, fields: dict[str, Any], auth: httpx.Auth
    ) -> AsyncIterator[httpx.Response]:
        """Post, and give the answer before its body is read; all of it in time."""
        async with (
            asyncio.timeout(self._timeout),
            self._client.stream(
                "POST", url, json=fields, auth=auth, headers={"Accept-Encoding": "identity"}
            ) as response,
        ):
            yield response

    def _fields(self, event_type: str) -> dict[str, Any]:
        return {
            "eventType": event_type,
            "callId": self.call_id,
            "from": "+15555550100",
            "to": "+15555550142",
            "direction": "inbound",
            "applicationId": "00000000-0000-4000-8000-000000000000",
            "accountId": self.account_id,
            "startTime": self._start_time,
            "eventTime": _timestamp(),
            "callUrl": self._call_url,
        }


def _expect_200(url: str, response: httpx.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    meaning = f"{status} {response.reason_phrase[:60]}{_HINTS.get(status, '')}"
    if response.has_redirect_location:
        meaning += f": Location {response.headers['location'][:200]}, which is not followed"
    raise SimulationError("webhook", f"{url} answered {meaning}")


def _expect_plain(url: str, response: httpx.Response) -> None:
    """Refuse what is packed: of 48 kB there may be gigabytes, and nobody asked for it."""
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        reason = f"the answer of {url} is packed with {coding[:60]}, which was not asked for"
        raise SimulationError("webhook", reason)


def _basic(credentials: tuple[str, str] | None) -> httpx.Auth:
    return httpx.BasicAuth(*credentials) if credentials and any(credentials) else httpx.Auth()


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
