"""The webhooks of one call, posted as Bandwidth posts them, and the identity they all carry.

References:
    Bandwidth, Programmable Voice: ``initiate``, ``mediaStreamStarted``, ``mediaStreamRejected``,
    ``mediaStreamStopped`` and ``disconnect``.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urljoin

import httpx

from workbench.simulator.bxml import StartStream
from workbench.simulator.stream import SimulationError
from workbench.simulator.truth import Webhook

__all__ = ["ACCOUNT", "WEBHOOK_SECS", "Webhooks"]

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

    Attributes:
        account_id: Always the same.
        call_id: Made anew, of the real shape.
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
    ) -> None:
        """See the class."""
        self.account_id = ACCOUNT
        self.call_id = f"c-{secrets.token_hex(4)}-{uuid.uuid4()}"
        self.stream_id = f"s-{secrets.token_hex(4)}-{uuid.uuid4()}"
        self.posted: list[Webhook] = []
        self.clock: Callable[[], float] = lambda: -1.0
        self._client = client
        self._url = url
        self._status_url = status_url
        self._auth = _basic(credentials)
        self._call_url = f"{voice_url}/accounts/{self.account_id}/calls/{self.call_id}"
        self._start_time = _timestamp()

    async def initiate(self) -> httpx.Response:
        """Post ``initiate``.

        Returns:
            The answer, with status 200.

        Raises:
            SimulationError: If there is none, or with another status.
        """
        fields = self._fields("initiate") | {"privacy": False, "callerDisplayName": "Simulator"}
        try:
            response = await self._client.post(self._url, json=fields, auth=self._auth)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise SimulationError("webhook", f"no answer from {self._url}: {reason}") from None
        self.posted.append(Webhook(self.clock(), "initiate", response.status_code))
        if response.status_code != 200:
            meaning = f"{response.status_code} {response.reason_phrase}"
            raise SimulationError("webhook", f"{self._url} answered {meaning}")
        return response

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
        url = urljoin(self._url, stream.event_url)
        await self._post(url, fields, _basic(stream.event_credentials))

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
                status = (await self._client.post(url, json=fields, auth=auth)).status_code
                break
            except (httpx.TransportError, httpx.InvalidURL):
                continue
        self.posted.append(Webhook(self.clock(), fields["eventType"], status))

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


def _basic(credentials: tuple[str, str] | None) -> httpx.Auth:
    return httpx.BasicAuth(*credentials) if credentials and any(credentials) else httpx.Auth()


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
