"""Ending or redirecting a call through Bandwidth's Voice API: all requests of this package.

One :class:`VoiceAPI` serves any number of calls at once: they share a token and connections. A
hang-up is idempotent, so whatever may pass is tried again until the deadline:

============================== ==============================================================
what happens                   what is done
============================== ==============================================================
any 2xx                        completed; the body is ignored
no connection, reset, silence  again after a random pause
429, 5xx                       the same, and not before ``Retry-After`` as far as time allows
401                            again, once, with a new token
404                            already over
409                            again, once, after half a second; unless that gives a 2xx, it is
                               taken for already over
any other status, redirects    :class:`pipecat_bandwidth.exceptions.VoiceAPIError`
token answer without a token   the same
============================== ==============================================================

Client secret, token and a webhook's password appear in no message, no log line and no ``repr``, nor in the variables
that loguru prints beside a traceback; bodies of answers are never quoted.

References:
    Bandwidth, Voice API v2, ``POST /accounts/{accountId}/calls/{callId}``: status codes.
    RFC 6749, sections 4.4 and 5: client credentials. RFC 6750, section 2.1: what a token holds.
    RFC 9110, section 10.2.3: ``Retry-After``.
    M. Brooker, "Exponential Backoff And Jitter", 2015: the "full jitter" pauses.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import math
import os
import random
import re
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self
from urllib.parse import urlsplit

import msgspec
from loguru import logger

from pipecat_bandwidth.exceptions import VoiceAPIError
from pipecat_bandwidth.messages import account_text

if TYPE_CHECKING:
    import httpx

    from pipecat_bandwidth._http import Answer

__all__ = ["HangUp", "VoiceAPI"]

#: Ceilings of the random pauses between attempts, in seconds: 0.25, 0.5, 1, 2, 2, ...
_FIRST_PAUSE_SECS: Final = 0.25
_LONGEST_PAUSE_SECS: Final = 2.0

#: Pause after a 409: the call ended a moment ago, or is just being answered.
_CONFLICT_PAUSE_SECS: Final = 0.5

#: A token is renewed this long before it expires, as Bandwidth's own clients do.
_TOKEN_MARGIN_SECS: Final = 60.0

#: Assumed lifetime when the answer gives none, or one outside (0, 1 week].
_TOKEN_LIFETIME_SECS: Final = 3600.0
_LONGEST_LIFETIME_SECS: Final = 7 * 24 * 3600.0

#: Path segments of an authenticated request: no dot, no slash, no line break.
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")

#: Of each address the variable of the environment that gives it, and Bandwidth's own.
_ENDPOINTS: Final = {
    "base_url": ("BANDWIDTH_VOICE_URL", "https://voice.bandwidth.com/api/v2"),
    "token_url": ("BANDWIDTH_TOKEN_URL", "https://api.bandwidth.com/api/v1/oauth2/token"),
}

_JSON: Final = {"Content-Type": "application/json"}
_COMPLETED: Final = b'{"state":"completed"}'

#: RFC 6749, section 5.2: the only words of a body that are ever repeated.
_OAUTH_ERRORS: Final = frozenset(
    "invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type "
    "invalid_scope".split()
)

_MEANING: Final = {
    400: "the request was refused as malformed",
    401: "the credentials were refused",
    403: "these credentials lack the role, or the account the feature",
    404: "there is no such address",
    429: "too many requests",
    500: "internal error",
    503: "overloaded",
}


@dataclass(frozen=True)
class HangUp:
    """How a hang-up ended well.

    Parameters:
        outcome: ``"completed"`` by this request, or ``"already_over"`` before it.
        status_code: HTTP status of the last answer.
        attempts: Requests made for the call, without those for the token.
        took_secs: From the beginning to the last answer.
    """

    outcome: Literal["completed", "already_over"]
    status_code: int
    attempts: int
    took_secs: float


class _Authorization:
    """A header that does not show itself: not in a repr, a mapping or ``vars``.

    Attributes:
        good_until: When to stop using it, on ``time.monotonic()``.
    """

    __slots__ = ("_authorization", "good_until")

    def __init__(self, value: str, lifetime_secs: float = math.inf) -> None:
        self._authorization = value
        margin = min(_TOKEN_MARGIN_SECS, lifetime_secs / 2)
        self.good_until = time.monotonic() + lifetime_secs - margin

    @classmethod
    def basic(cls, client_id: str, client_secret: str) -> Self:
        pair = f"{client_id}:{client_secret}".encode()
        return cls(f"Basic {base64.b64encode(pair).decode()}")

    def __call__(self, request: httpx.Request) -> httpx.Request:
        """Put it into a request, as httpx's ``auth`` does."""
        request.headers["Authorization"] = self._authorization
        return request


class _Body(bytes):
    """A body that does not show itself: it may hold a webhook's password."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


class _Refusal(NamedTuple):
    """Why the last token request failed for good, and when."""

    at: float
    reason: str
    status: int | None


class VoiceAPI:
    """A client of Bandwidth's Voice API, for one pair of OAuth credentials.

    It opens no connection before the first request. It belongs to the event loop that uses it;
    in a new loop it starts with new connections and keeps its token.

    Example::

        async with VoiceAPI(client_id, client_secret) as api:
            await api.hang_up("9900000", "c-15ac29a2-1331029c")
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        *,
        base_url: str | None = None,
        token_url: str | None = None,
        deadline_secs: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Keep the credentials; nothing is sent yet.

        Args:
            client_id: OAuth client id.
            client_secret: OAuth client secret.
            base_url: Root of the Voice API; by default ``BANDWIDTH_VOICE_URL`` of the environment,
                else Bandwidth's.
            token_url: The OAuth token endpoint; by default ``BANDWIDTH_TOKEN_URL``, else
                Bandwidth's.
            deadline_secs: Longest time that :meth:`hang_up` may take in all, token included. One
                attempt gets at most half of it, so that one silent server does not use it up.
            transport: How requests travel, instead of httpx's own connections.

        Raises:
            ValueError: If a credential is empty or not a string, a URL is not https (or http, on
                loopback), or the deadline not a positive number.
        """
        if problem := credential_problem(client_id, client_secret):
            raise ValueError(problem)
        if not (isinstance(deadline_secs, (int, float)) and 0 < deadline_secs < math.inf):
            raise ValueError(f"{deadline_secs=} must be a positive number of seconds")
        self._credentials = _Authorization.basic(client_id, client_secret)
        self._base_url = _endpoint("base_url", base_url)
        self._token_url = _endpoint("token_url", token_url)
        self._deadline_secs = deadline_secs
        self._transport = transport
        self._token: _Authorization | None = None
        self._refusal: _Refusal | None = None
        self._client: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._token_lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"VoiceAPI({self._base_url!r})"

    async def hang_up(self, account_id: str | int, call_id: str) -> HangUp:
        """End a call, and return when that is known.

        If the caller is cancelled, so is the hang-up.

        Args:
            account_id: Bandwidth account, from a trusted source; a number is taken as its text.
            call_id: The call, from a trusted source.

        Returns:
            How it ended.

        Raises:
            ValueError: If an id is not 1 to 256 letters, digits, ``-`` or ``_``.
            VoiceAPIError: If the call may still be up.
        """
        started = time.monotonic()
        answer = await self._change("hang up", account_id, call_id, _COMPLETED)
        took = time.monotonic() - started
        over = answer.status in (404, 409)
        logger.log(
            "WARNING" if answer.status == 409 else "INFO",
            f"Call {call_id} {'was already over' if over else 'hung up'}"
            f" (HTTP {answer.status}, attempts: {answer.attempts}, {took:.2f} s)",
        )
        return HangUp("already_over" if over else "completed", answer.status, answer.attempts, took)

    async def redirect(
        self,
        account_id: str | int,
        call_id: str,
        url: str,
        *,
        username: str = "",
        password: str = "",
    ) -> None:
        """Have a call go on elsewhere: Bandwidth posts a ``redirect`` event there, and takes BXML.

        The verb in progress ends, and the rest of its document is skipped.

        Args:
            account_id: Bandwidth account, from a trusted source; a number is taken as its text.
            call_id: The call, from a trusted source.
            url: The webhook that gets the event.
            username: HTTP Basic user of that webhook; ``""`` for none.
            password: Its password.

        Raises:
            ValueError: If an id is not 1 to 256 letters, digits, ``-`` or ``_``, or the address not
                http(s), or with a user, query or fragment.
            VoiceAPIError: If the call is over, or may go on where it was.
        """
        fields = {"state": "active", "redirectUrl": url}
        if username or password:
            fields |= {"username": username, "password": password}
        body = _Body(msgspec.json.encode(fields))
        del fields, username, password  # tools look into the frames of an error
        _url("url", url)
        answer = await self._change("redirect", account_id, call_id, body)
        if answer.status in (404, 409):
            raise VoiceAPIError("redirect", "the call is over", answer.status)
        logger.info(f"Call {call_id} redirected (HTTP {answer.status})")

    async def aclose(self) -> None:
        """Close the connections; hang-ups still under way fail. A later one opens new ones."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self.aclose()

    # -- what they have in common ----------------------------------------------------------------

    async def _change(
        self, operation: str, account_id: str | int, call_id: str, body: bytes
    ) -> Answer:
        """Ask for another state of a call until the answer settles it."""
        account = identifier("account_id", account_text(account_id))
        call = identifier("call_id", call_id)
        await self._open(operation)
        deadline = time.monotonic() + self._deadline_secs
        url = f"{self._base_url}/accounts/{account}/calls/{call}"
        request: dict[str, Any] = {"content": body, "headers": _JSON}
        attempts, refused = 0, False
        while True:
            token = await self._fresh_token(deadline)
            answer = await self._send(operation, url, deadline, auth=token, **request)
            attempts += answer.attempts
            if _settles(answer):
                return replace(answer, attempts=attempts)
            if answer.status == 409:
                await asyncio.sleep(min(_CONFLICT_PAUSE_SECS, _left(deadline) / 2))
                again = await self._send(operation, url, deadline, answer, auth=token, **request)
                attempts += again.attempts
                return replace(again if _settles(again) else answer, attempts=attempts)
            if answer.status != 401 or refused:
                raise VoiceAPIError(operation, _meaning(answer.status), answer.status)
            refused = True
            if self._token is token:
                self._token = None

    async def _fresh_token(self, deadline: float) -> _Authorization:
        """Return the token, fetching it if need be; those who wait share one fetch, good or bad."""
        asked, lock = time.monotonic(), self._token_lock
        try:
            async with asyncio.timeout(_left(deadline)):
                await lock.acquire()
        except TimeoutError:
            raise VoiceAPIError("token", "still being fetched at the deadline") from None
        try:
            if self._token is not None and time.monotonic() < self._token.good_until:
                return self._token
            if self._refusal is not None and self._refusal.at >= asked:
                raise VoiceAPIError("token", self._refusal.reason, self._refusal.status)
            answer = await self._send(
                "token",
                self._token_url,
                deadline,
                auth=self._credentials,
                data={"grant_type": "client_credentials"},
            )
            token = _read_token(answer)
            if isinstance(token, str):
                self._refusal = _Refusal(time.monotonic(), token, answer.status)
                raise VoiceAPIError("token", token, answer.status)
            self._token = token
            return token
        finally:
            lock.release()

    # -- requests --------------------------------------------------------------------------------

    async def _open(self, operation: str) -> None:
        """Make the client of the running loop, unless there is one."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            # Other calls of this loop would stand still while httpx is imported and certificates
            # are loaded. Where no thread can be had, or a certificate cannot, they do.
            with suppress(RuntimeError, ImportError, OSError, ValueError):
                await asyncio.to_thread(_load_http)
        if self._client is not None and self._loop is loop:
            return
        from pipecat_bandwidth._http import new_client

        try:
            client = new_client(self._transport)
        except (ImportError, OSError, ValueError) as error:  # a proxy of the environment's, mostly
            reason = re.sub(r"[^ -~]", " ", str(error)[:120])
            raise VoiceAPIError(operation, f"no client ({reason})") from None
        self._loop, self._token_lock, self._client = loop, asyncio.Lock(), client

    async def _send(
        self,
        operation: str,
        url: str,
        deadline: float,
        otherwise: Answer | None = None,
        **request: Any,
    ) -> Answer:
        """Make a request until something other than 429, 5xx or silence comes of it.

        When nothing does, return ``otherwise``, or raise if there is no such answer.
        """
        from pipecat_bandwidth._http import Lost, exchange

        client, patience = self._client, self._deadline_secs / 2
        reason, status = "no answer in time", None
        for attempt in itertools.count(1):
            if client is None or client.is_closed:
                if otherwise is not None:
                    return replace(otherwise, attempts=attempt - 1)
                raise VoiceAPIError(operation, "the client was closed meanwhile")
            retry_after, allowed = None, min(patience, _left(deadline))
            try:
                answer = await exchange(
                    client, url, operation == "token", allowed, deadline, request
                )
            except TimeoutError:
                if allowed == patience:  # we cut a shorter one ourselves: that says nothing
                    reason, status = "no answer in time", None
            except Lost as error:
                reason, status = str(error), None
            else:
                if answer.status != 429 and answer.status < 500:
                    return replace(answer, attempts=attempt)
                reason, status = _meaning(answer.status), answer.status
                retry_after = answer.retry_after
            if _left(deadline) < self._deadline_secs / 20:
                break
            pause = _pause(attempt, retry_after, _left(deadline))
            logger.debug(f"{operation}: attempt {attempt}: {reason}; again in {pause:.2f} s")
            await asyncio.sleep(pause)
        if otherwise is not None:
            return replace(otherwise, attempts=attempt)
        tries = "1 attempt" if attempt == 1 else f"{attempt} attempts"
        reason = f"{reason}, {tries} in {self._deadline_secs:g} s"
        raise VoiceAPIError(operation, reason, status) from None


# -- values ------------------------------------------------------------------------------------


def _read_token(answer: Answer) -> _Authorization | str:
    """Read the token endpoint's answer: a token, or the reason why there is none."""
    from pipecat_bandwidth._http import BODY_LIMIT

    try:
        fields = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        fields = None
    if not 200 <= answer.status < 300:
        code = fields.get("error") if isinstance(fields, dict) else None
        known = isinstance(code, str) and code in _OAUTH_ERRORS
        return f"{_meaning(answer.status)}{f' ({code})' if known else ''}"
    if len(answer.body) > BODY_LIMIT:
        return f"the answer is longer than {BODY_LIMIT} bytes"
    if not isinstance(fields, dict):
        return "the answer is not a JSON object"
    value = fields.get("access_token")
    if not isinstance(value, str) or not value:
        return "the answer holds no access_token"
    if not _TOKEN.fullmatch(value):
        return "the access_token holds characters that no token may have"
    lifetime = fields.get("expires_in")
    if not isinstance(lifetime, (int, float)) or not 0 < lifetime <= _LONGEST_LIFETIME_SECS:
        lifetime = _TOKEN_LIFETIME_SECS
    return _Authorization(f"Bearer {value}", lifetime)


def _settles(answer: Answer) -> bool:
    """Whether the call is certainly over."""
    return 200 <= answer.status < 300 or answer.status == 404


def _meaning(status: int) -> str:
    if 300 <= status < 400:
        return "a redirect, which is not followed"
    return _MEANING.get(status, "unexpected answer")


def _pause(attempt: int, retry_after: str | None, left: float) -> float:
    """Seconds to wait after the ``attempt``-th failure; always leaves a quarter of what is left."""
    ceiling = min(_FIRST_PAUSE_SECS * 2 ** min(attempt - 1, 10), _LONGEST_PAUSE_SECS)
    return min(_retry_after_secs(retry_after) + random.uniform(0, ceiling), left * 3 / 4)


def _retry_after_secs(value: str | None) -> float:
    """Read ``Retry-After``, a number of seconds or a date; 0.0 for none and for nonsense."""
    if value is None:
        return 0.0
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        when = parsedate_to_datetime(value)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)  # RFC 9110: always GMT
        return max(0.0, when.timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


def identifier(name: str, value: object) -> str:
    """Check an id that becomes a path segment of an authenticated request.

    Raises:
        ValueError: If it is not 1 to 256 letters, digits, ``-`` or ``_``.
    """
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise ValueError(f"{name} must be 1 to 256 letters, digits, '-' or '_', not {value!r:.60}")
    return value


def _load_http() -> None:
    from pipecat_bandwidth._http import ssl_context

    ssl_context()


def credential_problem(client_id: object, client_secret: object) -> str | None:
    """Say what is wrong with a pair of credentials; ``None`` when nothing is.

    It does not raise, because loguru prints the variables of every line that an exception passes.
    """
    for name, value in (("client_id", client_id), ("client_secret", client_secret)):
        if not isinstance(value, str) or not value:
            return f"{name} must be a string that is not empty, not {type(value).__name__}"
    return None


def endpoint_problem() -> str | None:
    """Say what is wrong with the addresses that the environment gives; ``None`` for nothing."""
    try:
        for name in _ENDPOINTS:
            _endpoint(name, None)
    except ValueError as error:
        return str(error)
    return None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _endpoint(name: str, value: object) -> str:
    """Choose an address: as given, else as the environment has it, else Bandwidth's."""
    variable, bandwidth = _ENDPOINTS[name]
    if value is None:
        value, name = os.environ.get(variable) or bandwidth, variable
    url = _url(name, value)
    parts = urlsplit(url)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise ValueError(
            f"{name} is plain http and not on loopback: credentials and tokens would travel in "
            "clear; give an https address"
        )
    return url


def _url(name: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value):
        raise ValueError(f"{name} must be an http or https URL without user, query or fragment")
    return value.rstrip("/")
