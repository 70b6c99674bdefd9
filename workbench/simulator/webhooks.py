"""The webhooks of one call, sent as Bandwidth sends them.

References:
    Bandwidth, Programmable Voice: ``initiate``, ``answer``, ``redirect`` and the others that want a
    document; ``mediaStreamStarted``, ``mediaStreamRejected``, ``mediaStreamStopped`` and
    ``disconnect``. With GET the properties are query parameters.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urljoin

import httpx

from workbench.exceptions import NotReached, SimulationError
from workbench.simulator.bxml import MAX_SIZE
from workbench.simulator.calls import KnownCall, timestamp
from workbench.simulator.route import Fallback, Route, not_an_address, ssl_advice
from workbench.simulator.start_stream import StartStream
from workbench.simulator.truth import Webhook

__all__ = ["WEBHOOK_SECS", "Webhooks"]

#: What a request can fail with; a name that cannot be a host's is a UnicodeError.
_FAILED: Final = (httpx.HTTPError, httpx.InvalidURL, ValueError)

#: What somebody could do about a status.
_HINTS: Final = {
    401: ": it wants the HTTP Basic credentials of its environment, see --username and --password",
    404: ": is the path the one of the voice webhook?",
    405: ": the webhook is a {method}",
    503: ": many bots answer so until the webhook's user and password are set in their environment; "
    "start it with them, and give the same as --username and --password",
}

#: "Webhook timeout 15 s by default."
WEBHOOK_SECS: Final = 15.0


class Webhooks:
    """Sends one call's webhooks.

    Args:
        client: How requests travel.
        call: Whose they are.
        url: Where the bot takes the first of them.
        status_url: Where it takes ``disconnect``; ``""`` for nowhere.
        credentials: HTTP Basic user and password for both; empty for none.
        voice_url: Root of the Voice API, for ``callUrl``.
        timeout: Seconds that any request may take, to the last byte of its answer.
        route: Where requests to hosts go that only the BXML names.

    Attributes:
        posted: What was sent, in order.
        clock: Tells the second of the call, once it has begun.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        call: KnownCall,
        url: str,
        status_url: str,
        credentials: tuple[str, str],
        voice_url: str,
        timeout: float = WEBHOOK_SECS,
        route: Route | None = None,
    ) -> None:
        """See the class."""
        self.call = call
        self.posted: list[Webhook] = []
        self.clock: Callable[[], float] = lambda: -1.0
        self._client = client
        self._timeout = min(timeout, WEBHOOK_SECS)
        self._route = route or Route()
        self._home = self._url = url
        self._status_url = status_url
        self._credentials = credentials
        self._call_url = f"{voice_url}/accounts/{call.account_id}/calls/{call.call_id}"

    async def first(self) -> tuple[str, bytes]:
        """Say that somebody rings, or that who was rung has answered; see :meth:`ask`."""
        if self.call.direction == "outbound":
            made_by = self.call.made_by
            method = made_by.get("answerMethod", "POST")
            fallback = Fallback.of(made_by, "answerFallback")
            return await self.ask("answer", self._url, method, self._credentials, fallback=fallback)
        details = {"privacy": False, "callerDisplayName": "Simulator"}
        return await self.ask("initiate", self._url, "POST", self._credentials, details)

    async def ask(
        self,
        event_type: str,
        url: str,
        method: str = "POST",
        credentials: tuple[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
        fallback: Fallback | None = None,
    ) -> tuple[str, bytes]:
        """Send an event whose answer is a document. Later relative addresses are relative to it.

        Args:
            event_type: Its ``eventType``.
            url: Where it goes, perhaps relative to the one before.
            method: ``"POST"`` or ``"GET"``.
            credentials: HTTP Basic user and password.
            details: What it says beside the facts of the call.
            fallback: Where it goes once more if there it fails.

        Returns:
            Content type and body of the answer, of which at most one byte more than any BXML has
            is read.

        Raises:
            SimulationError: If there is none in time, or with another status than 200.
        """
        try:
            return await self._ask(event_type, url, method, credentials, details)
        except SimulationError as error:
            if fallback is None:
                raise
            try:
                return await self._ask(
                    event_type, fallback.url, fallback.method, fallback.credentials, details
                )
            except SimulationError as again:
                reason = f"{error.reason}; and the fallback: {again.reason}"
                raise SimulationError(error.step, reason) from None

    async def _ask(
        self,
        event_type: str,
        url: str,
        method: str,
        credentials: tuple[str, str] | None,
        details: Mapping[str, Any] | None,
    ) -> tuple[str, bytes]:
        fields = self._fields(event_type) | dict(details or {})
        body = bytearray()
        if wrong := not_an_address(
            url, "http", "https", *([""] if event_type != "initiate" else [])
        ):
            raise NotReached("webhook", f"{url} is not an http:// address: {wrong}")
        url = urljoin(self._url, url)
        try:
            async with self._sent(method, url, fields, _basic(credentials)) as response:
                self.posted.append(Webhook(self.clock(), event_type, response.status_code))
                _expect_200(url, response)
                _expect_plain(url, response)
                async for chunk in response.aiter_raw(4096):
                    body += chunk
                    if len(body) > MAX_SIZE:
                        break
        except TimeoutError:
            reason = f"no whole answer from {url} within {self._timeout:g} s"
            raise SimulationError("webhook", reason) from None
        except _FAILED as error:
            advice = ssl_advice(error)
            reason = f"no answer from {url}: {str(error) or type(error).__name__}{advice}"
            if isinstance(error, httpx.ConnectError) and not advice:
                raise NotReached("webhook", f"{reason}: is the bot started, and there?") from None
            raise SimulationError("webhook", reason) from None
        self._url = url
        return response.headers.get("content-type", ""), bytes(body[: MAX_SIZE + 1])

    async def stream_event(
        self,
        stream: StartStream,
        stream_id: str,
        event_type: str,
        *,
        secs: float | None = None,
        **details: str,
    ) -> None:
        """Send a ``mediaStream*`` webhook, if the BXML names an address for them.

        Args:
            stream: What the BXML asked for.
            stream_id: The stream's id.
            event_type: Its ``eventType``.
            secs: How long the stream was, if it is over.
            details: What it says beside the facts of call and stream.
        """
        if not stream.event_url:
            return
        media_stream: dict[str, Any] = {
            "destination": stream.destination.partition("?")[0],
            "id": stream_id,
            "name": stream.name or stream_id,
            "startTime": self.call.start_time,
            "tracks": list(stream.tracks),
            "type": "WebSocket",
        }
        if secs is not None:
            media_stream["duration"] = f"PT{secs:.3f}S"
        fields = self._fields(event_type) | {"mediaStream": media_stream} | details
        await self._tell(
            stream.event_method, stream.event_url, fields, _basic(stream.event_credentials)
        )

    async def disconnect(self, cause: str, reason: str = "") -> None:
        """Send ``disconnect``, if there is an address for it; the call is over."""
        self.call.end(cause, reason)
        if self._status_url:
            fields = self._fields("disconnect") | {"cause": cause, "endTime": self.call.end_time}
            if reason:
                fields["errorMessage"] = reason
            method = self.call.made_by.get("disconnectMethod", "POST")
            await self._tell(method, self._status_url, fields, _basic(self._credentials))

    async def _tell(self, method: str, url: str, fields: dict[str, Any], auth: httpx.Auth) -> None:
        """Send what wants no answer; once more if the connection fails."""
        status = 0
        for _ in range(2):
            try:
                async with self._sent(method, urljoin(self._url, url), fields, auth) as response:
                    status = response.status_code
                break
            except TimeoutError:
                break
            except _FAILED:
                continue
        self.posted.append(Webhook(self.clock(), fields["eventType"], status))

    @asynccontextmanager
    async def _sent(
        self, method: str, url: str, fields: dict[str, Any], auth: httpx.Auth
    ) -> AsyncIterator[httpx.Response]:
        """Send, and give the answer before its body is read; all of it in time."""
        content: dict[str, Any] = {"json": fields}
        if method == "GET":
            # The query of the address stays; what is no text goes as JSON.
            query = {n: v if isinstance(v, str) else json.dumps(v) for n, v in fields.items()}
            content = {"params": httpx.URL(url).params.merge(query)}
        url, headers, extensions = self._route.request(url, self._home)
        options = content | {"extensions": extensions, "auth": auth}
        headers = {"Accept-Encoding": "identity", **headers}
        async with (
            asyncio.timeout(self._timeout),
            self._client.stream(method, url, headers=headers, **options) as response,
        ):
            yield response

    def _fields(self, event_type: str) -> dict[str, Any]:
        fields = self.call.facts | {
            "eventType": event_type,
            "eventTime": timestamp(),
            "callUrl": self._call_url,
        }
        return fields | ({"tag": self.call.tag} if self.call.tag else {})


def _expect_200(url: str, response: httpx.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    hint = _HINTS.get(status, "").format(method=response.request.method)
    meaning = f"{status} {response.reason_phrase[:60]}{hint}"
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
