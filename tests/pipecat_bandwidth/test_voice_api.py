from __future__ import annotations

import asyncio
import base64
import copy
import gc
import gzip
import io
import logging
import pickle
import re
import socket
import ssl
import threading
import time
import traceback
import tracemalloc
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from email.utils import formatdate

import httpx
import pytest
import trustme
from loguru import logger
from pydantic import SecretStr

from pipecat_bandwidth import BandwidthFrameSerializer, _http, voice_api
from pipecat_bandwidth.exceptions import VoiceAPIError
from pipecat_bandwidth.voice_api import HangUp, VoiceAPI
from tests.http_server import HANG, RESET, Answer, Server, http_server

ACCOUNT, CALL = "9900000", "c-15ac29a2-1331029c-2cb0"
CALL_PATH = f"/api/v2/accounts/{ACCOUNT}/calls/{CALL}"
CLIENT, SECRET = "client-7", "hunter2-is-the-secret"
BASIC = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
TOKENS = ("eyJhbGciOi.first.T0ken", "eyJhbGciOi.second.T0ken")
SECRETS = (SECRET, BASIC, *TOKENS)


def token(value: object = TOKENS[0], expires_in: object = 3600) -> Answer:
    return Answer(200, {"access_token": value, "token_type": "Bearer", "expires_in": expires_in})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with http_server() as state:
        state.on("/token", token())
        state.on("/api", Answer(200))
        yield state


@asynccontextmanager
async def client(server: Server, deadline: float = 20.0, **options) -> AsyncIterator[VoiceAPI]:
    urls = {"base_url": f"{server.url}/api/v2", "token_url": f"{server.url}/token"}
    async with VoiceAPI(CLIENT, SECRET, deadline_secs=deadline, **urls | options) as api:
        yield api


@pytest.fixture(autouse=True)
def said() -> Iterator[io.StringIO]:
    """All that is logged, by us and below us, variables beside tracebacks included.

    No test of this file may leave a secret in it.
    """
    text = io.StringIO()
    sink = logger.add(text, level=0, diagnose=True, backtrace=False)
    handler = logging.StreamHandler(text)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(level)
    logger.remove(sink)
    for secret in SECRETS:
        assert secret not in text.getvalue()


def local_variables(error: BaseException) -> str:
    """All that a tool finds which looks into the frames of our code, and there into mappings."""

    def inside(value: object) -> str:
        if isinstance(value, Mapping):
            return " ".join(f"{inside(key)}={inside(item)}" for key, item in value.items())
        if isinstance(value, (list, tuple, set, frozenset)):
            return " ".join(map(inside, value))
        return repr(value)

    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return "\n".join(inside(f.f_locals) for f in frames if f.f_code.co_filename != __file__)


@contextmanager
def failure(operation: str, reason: str, status: int | None) -> Iterator[None]:
    """Expect a VoiceAPIError, and nothing secret in it, around it or in its traceback."""
    with pytest.raises(VoiceAPIError, match=reason) as caught:
        yield
    error = caught.value
    assert (error.operation, error.status_code) == (operation, status)
    logger.opt(exception=error).error("as a bot would log it")  # into `said`
    assert error.__cause__ is None and (error.__suppress_context__ or error.__context__ is None)
    shown = f"{error} {error!r} {vars(error)} {local_variables(error)}"
    assert not [secret for secret in SECRETS if secret in shown]


# -- what is sent, and success -----------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 204])
async def test_any_2xx_completes_the_call(server: Server, status: int, said: io.StringIO) -> None:
    server.on("/api", Answer(status))
    async with client(server) as api:
        done = await api.hang_up(ACCOUNT, CALL)
    assert done == HangUp("completed", status, 1, done.took_secs)
    assert 0 < done.took_secs < 20
    assert len(re.findall("INFO.*Call c-15ac29a2-1331029c-2cb0 hung up", said.getvalue())) == 1


async def test_requests_are_those_of_the_documentation(server: Server) -> None:
    async with client(server) as api:
        await api.hang_up(ACCOUNT, CALL)
    asked, posted = server.requests
    assert (asked.method, asked.path) == ("POST", "/token")
    assert asked.headers["authorization"] == f"Basic {BASIC}"
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert asked.form == {"grant_type": ["client_credentials"]}
    assert (posted.method, posted.path) == ("POST", CALL_PATH)
    assert posted.headers["authorization"] == f"Bearer {TOKENS[0]}"
    assert posted.headers["content-type"] == "application/json"
    assert posted.headers["accept-encoding"] == "identity"
    assert posted.json == {"state": "completed"}


async def test_token_and_connection_serve_many_calls(server: Server) -> None:
    async with client(server) as api:
        for number in range(5):
            await api.hang_up(ACCOUNT, f"c-{number}")
    assert len(server.paths("/token")) == 1
    assert len(server.paths("/api")) == 5
    assert server.connections == 1


async def test_200_hang_ups_at_once_share_one_token(server: Server) -> None:
    server.on("/token", Answer(200, {"access_token": TOKENS[0]}, delay=0.1))
    async with client(server, deadline=60) as api:
        calls = [f"c-{number}" for number in range(200)]
        done = await asyncio.gather(*(api.hang_up(ACCOUNT, call) for call in calls))
    assert {result.outcome for result in done} == {"completed"}
    assert len(server.paths("/token")) == 1
    assert sorted(server.paths("/api")) == sorted(
        f"/api/v2/accounts/{ACCOUNT}/calls/{call}" for call in calls
    )


async def test_an_expired_token_is_renewed_before_use(server: Server) -> None:
    server.on("/token", token(TOKENS[0], expires_in=0.2), token(TOKENS[1]))
    async with client(server) as api:
        await api.hang_up(ACCOUNT, CALL)
        await asyncio.sleep(0.15)  # half of a short life is its margin
        await api.hang_up(ACCOUNT, CALL)
    used = [r.headers["authorization"] for r in server.requests if r.path == CALL_PATH]
    assert used == [f"Bearer {value}" for value in TOKENS]


@pytest.mark.parametrize("expires_in", [None, "3600", -1, 0, 1e30, [], True, {}])
async def test_a_strange_lifetime_does_no_harm(server: Server, expires_in: object) -> None:
    server.on("/token", token(expires_in=expires_in))
    async with client(server) as api:
        assert (await api.hang_up(ACCOUNT, CALL)).outcome == "completed"


@pytest.mark.parametrize(("expires_in", "fetches"), [(30, 1), (1e12, 1), (0.001, 3)])
async def test_a_short_or_an_endless_lifetime_is_used_as_far_as_it_goes(
    server: Server, expires_in: float, fetches: int
) -> None:
    """30 s are shorter than the margin of 60, of which half the lifetime is then taken."""
    server.on("/token", token(expires_in=expires_in))
    async with client(server) as api:
        for _ in range(3):
            await api.hang_up(ACCOUNT, CALL)
            await asyncio.sleep(0.002)
    assert len(server.paths("/token")) == fetches


def test_a_lifetime_of_more_than_a_week_is_taken_for_an_hour() -> None:
    answer = _http.Answer(200, None, b'{"access_token":"a","expires_in":1e12}')
    read = voice_api._read_token(answer)
    assert isinstance(read, voice_api._Authorization)
    assert 3000 < read.good_until - time.monotonic() <= 3600


async def test_https(server: Server) -> None:
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(ours)
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    async with http_server(theirs) as secure:
        secure.on("/token", token())
        secure.on("/api", Answer(200))
        async with client(secure, transport=httpx.AsyncHTTPTransport(verify=ours)) as api:
            assert (await api.hang_up(ACCOUNT, CALL)).outcome == "completed"
        async with client(secure, deadline=1.0) as api:
            with failure("token", "CERTIFICATE_VERIFY_FAILED", None):
                await api.hang_up(ACCOUNT, CALL)


# -- what may pass is tried again --------------------------------------------------------------

PASSING = {
    "reset": RESET,
    "429": Answer(429),
    "429 in a second": Answer(429, headers=(("Retry-After", "1"),)),
    "500": Answer(500),
    "503": Answer(503, {"type": "overload", "description": f"Bearer {TOKENS[0]}"}),
    "a 500 whose body drips": Answer(500, b"x" * 100, drip=0.5),
}


@pytest.mark.parametrize("trouble", PASSING)
async def test_trouble_with_the_call_is_outlasted(server: Server, trouble: str) -> None:
    server.on("/api", PASSING[trouble], Answer(200))
    async with client(server) as api:
        done = await api.hang_up(ACCOUNT, CALL)
    assert (done.outcome, done.status_code, done.attempts) == ("completed", 200, 2)
    assert len(server.paths("/api")) == 2
    if "second" in trouble:
        assert done.took_secs >= 1


@pytest.mark.parametrize("trouble", ["reset", "429", "503", "a 500 whose body drips"])
async def test_trouble_with_the_token_is_outlasted(server: Server, trouble: str) -> None:
    server.on("/token", PASSING[trouble], token())
    async with client(server) as api:
        done = await api.hang_up(ACCOUNT, CALL)
    assert (done.outcome, done.attempts) == ("completed", 1)
    assert len(server.paths("/token")) == 2


async def test_a_token_that_breaks_off_is_asked_for_again(server: Server) -> None:
    server.on("/token", replace(token(), cut=True), token())
    async with client(server) as api:
        assert (await api.hang_up(ACCOUNT, CALL)).outcome == "completed"
    assert len(server.paths("/token")) == 2


async def test_a_silent_server_gets_half_of_the_time(server: Server) -> None:
    server.on("/api", HANG, Answer(200))
    async with client(server, deadline=3.0) as api:
        done = await api.hang_up(ACCOUNT, CALL)
    assert (done.outcome, done.attempts) == ("completed", 2)
    assert done.took_secs >= 1.5


async def test_retry_after_may_be_a_date(server: Server) -> None:
    date = formatdate(time.time() + 2, usegmt=True)
    server.on("/api", Answer(429, headers=(("Retry-After", date),)), Answer(200))
    async with client(server) as api:
        assert (await api.hang_up(ACCOUNT, CALL)).took_secs >= 0.9  # dates have whole seconds


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S -0000", "%a %b %d %H:%M:%S %Y"])
def test_a_date_without_a_zone_is_in_greenwich(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9110 has one obsolete form without a zone, and RFC 5322 a zone that is none."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        text = time.strftime(form, time.gmtime(time.time() + 30))
        assert 20 < voice_api._retry_after_secs(text) <= 30
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "value", ["", "soon", "-1", "nan", "1e9", "9" * 6000, "Mon, 99 Foo 2026 00:00:00 GMT", "\xff"]
)
async def test_nonsense_in_retry_after_is_passed_over(server: Server, value: str) -> None:
    server.on("/api", Answer(429, headers=(("Retry-After", value),)), Answer(200))
    async with client(server) as api:
        done = await api.hang_up(ACCOUNT, CALL)
    assert (done.outcome, done.attempts) == ("completed", 2)
    assert done.took_secs < 5


async def test_a_long_retry_after_is_cut_to_fit_the_deadline(server: Server) -> None:
    server.on("/api", Answer(429, headers=(("Retry-After", "3600"),)), Answer(200))
    async with client(server, deadline=1.2) as api:
        done = await api.hang_up(ACCOUNT, CALL)
    assert done.outcome == "completed"
    assert 0.6 <= done.took_secs <= 1.2


async def test_401_brings_a_new_token(server: Server) -> None:
    server.on("/token", token(TOKENS[0]), token(TOKENS[1]))
    async with client(server) as api:
        await api.hang_up(ACCOUNT, CALL)
        server.on("/api", Answer(401), Answer(200))
        done = await api.hang_up(ACCOUNT, CALL)
    assert (done.outcome, done.attempts) == ("completed", 2)
    assert server.requests[-1].headers["authorization"] == f"Bearer {TOKENS[1]}"
    assert len(server.paths("/token")) == 2


async def test_100_calls_with_a_stale_token_share_the_new_one(server: Server) -> None:
    server.on("/token", token(TOKENS[0]), Answer(200, {"access_token": TOKENS[1]}, delay=0.2))
    async with client(server, deadline=60) as api:
        await api.hang_up(ACCOUNT, CALL)
        late = [Answer(401, delay=number / 200) for number in range(100)]  # after the new token
        server.on("/api", *late, Answer(200))
        done = await asyncio.gather(*(api.hang_up(ACCOUNT, f"c-{n}") for n in range(100)))
    assert {result.outcome for result in done} == {"completed"}
    assert len(server.paths("/token")) == 2


# -- already over ------------------------------------------------------------------------------


async def test_404_means_already_over(server: Server) -> None:
    server.on("/api", Answer(404, {"type": "not-found"}))
    async with client(server) as api:
        done = await api.hang_up(ACCOUNT, CALL)
    assert (done.outcome, done.status_code, done.attempts) == ("already_over", 404, 1)


async def test_409_is_asked_twice_and_then_over(server: Server, said: io.StringIO) -> None:
    server.on("/api", Answer(409))
    async with client(server) as api:
        done = await api.hang_up(ACCOUNT, CALL)
    assert (done.outcome, done.status_code, done.attempts) == ("already_over", 409, 2)
    assert done.took_secs >= 0.4
    assert re.search("WARNING.*already over .HTTP 409", said.getvalue())


async def test_409_and_then_200_is_completed(server: Server) -> None:
    server.on("/api", Answer(409), Answer(200))
    async with client(server) as api:
        assert (await api.hang_up(ACCOUNT, CALL)).outcome == "completed"


@pytest.mark.parametrize(
    ("later", "requests"),
    [(HANG, 2), (RESET, 2), (Answer(503), 2), (Answer(401), 2), (Answer(403), 2), (Answer(400), 2)],
    ids=["silence", "reset", "503", "401", "403", "400"],
)
async def test_409_and_then_trouble_is_over(
    server: Server, later: Answer, requests: int, said: io.StringIO
) -> None:
    server.on("/api", Answer(409), later)
    async with client(server, deadline=1.5) as api:
        done = await api.hang_up(ACCOUNT, CALL)
    assert (done.outcome, done.status_code) == ("already_over", 409)
    arrived = len(server.paths("/api"))
    assert requests <= arrived <= done.attempts <= arrived + 1  # time is up while the last is sent
    assert re.search("WARNING.*already over .HTTP 409", said.getvalue())


async def test_409_and_then_404_is_over(server: Server) -> None:
    server.on("/api", Answer(409), Answer(404))
    async with client(server) as api:
        done = await api.hang_up(ACCOUNT, CALL)
    assert (done.outcome, done.status_code, done.attempts) == ("already_over", 404, 2)


async def test_409_and_then_closed_is_over(server: Server) -> None:
    server.on("/api", Answer(409), HANG)
    async with client(server) as api:
        hanging_up = asyncio.create_task(api.hang_up(ACCOUNT, CALL))
        await server.seen("/api")
        await asyncio.sleep(0.1)
        await api.aclose()
        assert (await hanging_up).outcome == "already_over"


# -- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "malformed"),
        (403, "role"),
        (405, "unexpected"),
        (415, "unexpected"),
        (307, "redirect"),
    ],
)
async def test_other_answers_fail_at_once(server: Server, status: int, reason: str) -> None:
    echo = {"type": TOKENS[0], "description": f"Authorization: Bearer {TOKENS[0]}"}
    server.on("/api", Answer(status, echo))
    async with client(server) as api:
        with failure("hang up", reason, status):
            await api.hang_up(ACCOUNT, CALL)
    assert len(server.paths("/api")) == 1


async def test_two_401_are_a_failure(server: Server) -> None:
    server.on("/api", Answer(401))
    async with client(server) as api:
        with failure("hang up", "credentials", 401):
            await api.hang_up(ACCOUNT, CALL)
    assert (len(server.paths("/api")), len(server.paths("/token"))) == (2, 2)


@pytest.mark.parametrize(
    ("path", "answer", "status"),
    [
        ("/token", HANG, None),
        ("/token", Answer(429, headers=(("Retry-After", "9"),)), 429),
        ("/token", Answer(503), 503),
        ("/api", HANG, None),
        ("/api", RESET, None),
        ("/api", Answer(503), 503),
    ],
)
async def test_lasting_trouble_ends_at_the_deadline(
    server: Server, path: str, answer: Answer, status: int | None
) -> None:
    server.on(path, answer)
    began = time.monotonic()
    async with client(server, deadline=1.0) as api:
        operation = "token" if path == "/token" else "hang up"
        with failure(operation, r"\d attempts? in 1 s", status):
            await api.hang_up(ACCOUNT, CALL)
    assert time.monotonic() - began < 5
    if answer.reset or answer.status == 503:  # the others leave little time for a second
        assert len(server.paths(path)) >= 2


async def test_an_attempt_cut_short_does_not_hide_the_reason(server: Server) -> None:
    server.on("/api", Answer(503, headers=(("Retry-After", "9"),)), HANG)
    async with client(server, deadline=1.2) as api:
        with failure("hang up", "overloaded, 2 attempts", 503):
            await api.hang_up(ACCOUNT, CALL)


async def test_a_token_that_drips_ends_at_the_deadline(server: Server) -> None:
    server.on("/token", Answer(200, b" " * 1000, drip=0.05))
    began = time.monotonic()
    async with client(server, deadline=0.6) as api:
        with failure("token", "no answer in time", None):
            await api.hang_up(ACCOUNT, CALL)
    assert time.monotonic() - began < 5


async def test_success_does_not_wait_for_a_body_that_drips(server: Server) -> None:
    server.on("/api", Answer(200, b" " * 1000, drip=0.05))
    async with client(server) as api:
        done = await api.hang_up(ACCOUNT, CALL)
    assert (done.outcome, done.attempts) == ("completed", 1)
    assert done.took_secs < 10


async def test_a_body_that_drips_past_the_attempts_time_is_not_waited_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt gets 2 s; this one's status comes after 1 s, and its body goes on for ever."""
    monkeypatch.setattr(_http, "_DRAIN_SECS", 1.5)
    server.on("/api", Answer(200, b" " * 1000, delay=1.0, drip=0.05))
    async with client(server, deadline=4.0) as api:
        done = await api.hang_up(ACCOUNT, CALL)
    assert (done.outcome, done.attempts) == ("completed", 1)
    assert 2.0 < done.took_secs


async def test_a_body_that_drips_is_left_at_the_deadline(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_http, "_DRAIN_SECS", 60.0)
    server.on("/api", Answer(200, b" " * 1000, drip=0.05))
    async with client(server, deadline=1.0) as api:
        done = await api.hang_up(ACCOUNT, CALL)
    assert (done.outcome, done.attempts) == ("completed", 1)
    assert done.took_secs < 10


class Refusing(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route\r\n2026 | FAKE\x1b[31m\u2028" + "x" * 1000)


async def test_what_a_connection_error_says_is_cleaned_and_cut() -> None:
    urls = {"base_url": "http://127.0.0.1/api", "token_url": "http://127.0.0.1/token"}
    async with VoiceAPI(CLIENT, SECRET, deadline_secs=0.2, transport=Refusing(), **urls) as api:
        with pytest.raises(VoiceAPIError, match="no connection .no route  2026 ") as caught:
            await api.hang_up(ACCOUNT, CALL)
    assert str(caught.value).isascii() and str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


async def test_a_transport_that_makes_whole_answers() -> None:
    """As httpx's own MockTransport does, whose body has been read already."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(200, json={"access_token": "abc", "expires_in": 3600})
        return httpx.Response(200, json={"state": "completed"})

    urls = {"base_url": "http://127.0.0.1/api", "token_url": "http://127.0.0.1/token"}
    transport = httpx.MockTransport(answer)
    async with VoiceAPI(CLIENT, SECRET, transport=transport, **urls) as api:
        assert (await api.hang_up(ACCOUNT, CALL)).attempts == 1


@pytest.mark.parametrize(
    ("proxy", "reason"), [("socks5://127.0.0.1:9", "socksio"), ("ftp://u:hunter3@h", "[Pp]roxy")]
)
async def test_a_proxy_that_cannot_be_used_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch, proxy: str, reason: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    async with client(server) as api:
        with pytest.raises(VoiceAPIError, match=reason) as caught:
            await api.hang_up(ACCOUNT, CALL)
    assert "hunter3" not in f"{caught.value!r}{caught.value}"


@pytest.mark.parametrize(("attempt", "ceiling"), [(1, 0.25), (2, 0.5), (3, 1), (4, 2), (50, 2)])
def test_pauses_are_random_below_a_growing_ceiling(attempt: int, ceiling: float) -> None:
    pauses = sorted(voice_api._pause(attempt, None, 100.0) for _ in range(400))
    assert 0 <= pauses[0] < ceiling / 4 < 3 * ceiling / 4 < pauses[-1] <= ceiling
    assert len(set(pauses)) > 100


def test_a_pause_leaves_time_for_another_attempt() -> None:
    assert voice_api._pause(1, "3600", 8.0) == 6.0
    assert 3.0 <= voice_api._pause(1, "3", 8.0) <= 3.25


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        nowhere = Server(url=f"http://127.0.0.1:{taken.getsockname()[1]}")
        async with client(nowhere, deadline=1.0) as api:
            with failure("token", "no connection", None):
                await api.hang_up(ACCOUNT, CALL)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(200, b"<html><body>Sign in</body></html>"), "not a JSON object"),
        (Answer(200, b'{"access_token": "eyJhbGci'), "not a JSON object"),
        (Answer(200, b""), "not a JSON object"),
        (Answer(200, b"[]"), "not a JSON object"),
        (Answer(200, b"null"), "not a JSON object"),
        (Answer(200, b"[" * 10_000), "not a JSON object"),
        (Answer(200, b'"\\ud800"'), "not a JSON object"),
        (Answer(200, b"\xff\xfe"), "not a JSON object"),
        (Answer(200, {"token": TOKENS[0]}), "no access_token"),
        (token(None), "no access_token"),
        (token(7), "no access_token"),
        (token(""), "no access_token"),
        (token(f"{TOKENS[0]}\r\nX-Evil: 1"), "characters"),
        (token(f"{TOKENS[0]}\n"), "characters"),
        (token(f"{TOKENS[0]} {SECRET}"), "characters"),
        (token("t\u00f6ken"), "characters"),
        (Answer(200, {"access_token": "x" * 100_000}), "longer than 16384 bytes"),
        (Answer(204), "not a JSON object"),
        (Answer(302, headers=(("Location", "/elsewhere"),)), "redirect"),
        (Answer(401, {"error": "invalid_client"}), r"credentials were refused \(invalid_client\)"),
        (Answer(401, {"error": SECRET}), "credentials were refused$"),
        (Answer(401, [SECRET]), "credentials were refused$"),
        (Answer(400, {"error": ["x"]}), "malformed$"),
        (Answer(403, b"x", repeat=1000), "role"),
    ],
)
async def test_bad_token_answers(server: Server, answer: Answer, reason: str) -> None:
    server.on("/token", answer)
    async with client(server) as api:
        with failure("token", reason, answer.status):
            await api.hang_up(ACCOUNT, CALL)
    assert (len(server.paths("/token")), len(server.paths("/api"))) == (1, 0)


async def test_200_hang_ups_share_a_refused_token(server: Server) -> None:
    server.on("/token", Answer(401, {"error": "invalid_client"}, delay=0.1))
    async with client(server, deadline=60) as api:
        hang_ups = (api.hang_up(ACCOUNT, f"c-{number}") for number in range(200))
        results = await asyncio.gather(*hang_ups, return_exceptions=True)
        assert {(type(result), result.status_code) for result in results} == {(VoiceAPIError, 401)}
        assert len(server.paths("/token")) == 1
        server.on("/token", token())
        assert (await api.hang_up(ACCOUNT, CALL)).outcome == "completed"  # a later one asks anew


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    """Expect no more than so many bytes of new memory at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("path", ["/token", "/api"])
async def test_a_huge_error_body_is_not_read(server: Server, path: str) -> None:
    block = SECRET.encode() * 4096
    server.on(path, Answer(403, block, repeat=30_000_000 // len(block)))
    with memory_below(4_000_000):
        async with client(server) as api:
            with failure("token" if path == "/token" else "hang up", "role", 403):
                await api.hang_up(ACCOUNT, CALL)
    assert server.sent < 20_000_000  # what the kernel took, at most


async def test_a_small_body_is_not_unfolded(server: Server) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    server.on("/token", Answer(200, bomb, (("Content-Encoding", "gzip"),)))
    with memory_below(4_000_000):
        async with client(server) as api:
            with failure("token", "longer than 16384 bytes", 200):
                await api.hang_up(ACCOUNT, CALL)


async def test_redirects_are_not_followed(server: Server) -> None:
    async with http_server() as other:
        other.on("/", Answer(200))
        server.on("/api", Answer(307, headers=(("Location", f"{other.url}/api"),)))
        async with client(server) as api:
            with failure("hang up", "redirect", 307):
                await api.hang_up(ACCOUNT, CALL)
        assert other.connections == 0


async def test_endless_headers_end_at_the_deadline(server: Server) -> None:
    headers = tuple((f"X-{number}", "x" * 1000) for number in range(1000))
    server.on("/api", Answer(200, headers=headers))
    async with client(server, deadline=1.0) as api:
        with failure("hang up", "connection lost", None):
            await api.hang_up(ACCOUNT, CALL)


# -- lives -------------------------------------------------------------------------------------


async def test_cancelling_the_caller_cancels_the_hang_up(server: Server) -> None:
    server.on("/api", HANG, Answer(200))
    async with client(server) as api:
        hang_up = asyncio.create_task(api.hang_up(ACCOUNT, CALL))
        await server.seen("/api")
        hang_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hang_up
        assert (await api.hang_up(ACCOUNT, CALL)).outcome == "completed"


async def test_cancelling_the_one_that_fetches_the_token_spares_the_others(server: Server) -> None:
    server.on("/token", HANG, token())
    async with client(server) as api:
        first, *others = (asyncio.create_task(api.hang_up(ACCOUNT, f"c-{n}")) for n in range(5))
        await server.seen("/token")
        first.cancel()
        done = await asyncio.gather(*others)
    assert first.cancelled()
    assert {result.outcome for result in done} == {"completed"}
    assert len(server.paths("/token")) == 2


async def test_hang_ups_given_up_leave_room_for_later_ones(server: Server) -> None:
    async with client(server, deadline=1.0) as api:
        await api.hang_up(ACCOUNT, CALL)
        server.on("/api", HANG)
        hang_ups = (api.hang_up(ACCOUNT, f"c-{number}") for number in range(150))
        results = await asyncio.gather(*hang_ups, return_exceptions=True)
        assert {type(result) for result in results} == {VoiceAPIError}
        server.on("/api", Answer(200))
        assert (await api.hang_up(ACCOUNT, CALL)).outcome == "completed"


async def test_closing_ends_what_is_under_way_and_a_later_hang_up_opens_anew(
    server: Server,
) -> None:
    server.on("/api", HANG, Answer(200))
    async with client(server) as api:
        hang_up = asyncio.create_task(api.hang_up(ACCOUNT, CALL))
        await server.seen("/api")
        await api.aclose()
        with failure("hang up", "closed", None):
            await hang_up
        assert (await api.hang_up(ACCOUNT, CALL)).outcome == "completed"
        await api.aclose()
        await api.aclose()


async def test_what_closing_cut_off_does_not_disturb_what_came_after(server: Server) -> None:
    server.on("/token", HANG, replace(token(), delay=0.3), token())
    async with client(server) as api:
        cut_off = asyncio.create_task(api.hang_up(ACCOUNT, CALL))
        await server.seen("/token")
        await api.aclose()
        later = [api.hang_up(ACCOUNT, f"c-{number}") for number in range(3)]
        done = await asyncio.gather(*later)
        with failure("token", "closed", None):
            await cut_off
    assert {result.outcome for result in done} == {"completed"}
    assert len(server.paths("/token")) == 2


@pytest.mark.parametrize("closing", [True, False])
def test_several_event_loops_in_turn(closing: bool) -> None:
    server, ready, finished = Server(), threading.Event(), threading.Event()

    async def serve() -> None:
        nonlocal server
        async with http_server() as server:
            server.on("/token", token())
            server.on("/api", Answer(200))
            ready.set()
            await asyncio.to_thread(finished.wait)

    async def hang_up(api: VoiceAPI) -> str:
        done = await api.hang_up(ACCOUNT, CALL)
        if closing:
            await api.aclose()
        return done.outcome

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        ready.wait(10)
        urls = {"base_url": f"{server.url}/api/v2", "token_url": f"{server.url}/token"}
        with warnings.catch_warnings():
            if not closing:  # connections are left to loops that are no more
                warnings.simplefilter("ignore", ResourceWarning)
            api = VoiceAPI(CLIENT, SECRET, **urls)
            assert [asyncio.run(hang_up(api)) for _ in range(3)] == ["completed"] * 3
            del api
            gc.collect()
        assert len(server.paths("/token")) == 1
    finally:
        finished.set()
        thread.join()


# -- the caller's mistakes, and what is shown ----------------------------------------------------


@pytest.mark.parametrize("which", ["account_id", "call_id"])
@pytest.mark.parametrize(
    "value", ["", ".", "..", "a/b", "a\n", "a b", "%2e%2e", "a?b", "\u00e9", "x" * 257, None, True]
)
async def test_ids_that_could_change_the_address(server: Server, which: str, value: object) -> None:
    ids = {"account_id": ACCOUNT, "call_id": CALL, which: value}
    async with client(server) as api:
        with pytest.raises(ValueError, match=which):
            await api.hang_up(**ids)
    assert not server.requests


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"client_id": ""}, "client_id"),
        ({"client_secret": ""}, "client_secret"),
        ({"client_id": None}, "^client_id must be a string that is not empty, not NoneType$"),
        ({"client_secret": SecretStr(SECRET)}, "^client_secret .* not SecretStr$"),
        ({"client_secret": SECRET.encode()}, "^client_secret .* not bytes$"),
        ({"deadline_secs": "10"}, "deadline_secs='10' must be a positive number"),
        ({"deadline_secs": None}, "deadline_secs=None"),
        ({"base_url": 7}, "base_url must be an http or https URL"),
        ({"base_url": "http://voice.bandwidth.com"}, "base_url is plain http and not on loopback"),
        ({"token_url": "http://127.0.0.1.example/token"}, "token_url is plain http"),
        ({"token_url": "http://10.0.0.1/token"}, "token_url is plain http"),
        ({"token_url": b"https://api.bandwidth.com"}, "token_url must be an http or https URL"),
        ({"deadline_secs": 0}, "deadline_secs"),
        ({"deadline_secs": float("nan")}, "deadline_secs"),
        ({"deadline_secs": float("inf")}, "deadline_secs"),
        ({"base_url": "voice.bandwidth.com"}, "base_url"),
        ({"base_url": "https://user:pass@voice.bandwidth.com"}, "base_url"),
        ({"token_url": "ftp://api.bandwidth.com"}, "token_url"),
        ({"token_url": "https://"}, "token_url"),
    ],
)
def test_bad_settings(options: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        VoiceAPI(**{"client_id": CLIENT, "client_secret": SECRET} | options)


@pytest.mark.parametrize("url", ["http://localhost:1/x", "http://[::1]:1/x", "https://10.0.0.1"])
def test_addresses_may_be_of_loopback_or_https(url: str) -> None:
    assert repr(VoiceAPI(CLIENT, SECRET, base_url=url, token_url=url)) == f"VoiceAPI({url!r})"


async def test_the_environment_has_the_addresses_and_arguments_win(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BANDWIDTH_VOICE_URL", f"{server.url}/api/v2/")
    monkeypatch.setenv("BANDWIDTH_TOKEN_URL", f"{server.url}/token")
    async with VoiceAPI(CLIENT, SECRET) as api:
        await api.hang_up(ACCOUNT, CALL)
    assert [request.path for request in server.requests] == [
        "/token", f"/api/v2/accounts/{ACCOUNT}/calls/{CALL}",
    ]  # fmt: skip
    assert repr(VoiceAPI(CLIENT, SECRET, base_url="https://a.example")).count("a.example") == 1
    monkeypatch.setenv("BANDWIDTH_TOKEN_URL", "")
    monkeypatch.setenv("BANDWIDTH_VOICE_URL", "http://voice.example")
    plain = "^BANDWIDTH_VOICE_URL is plain http and not on loopback"
    with pytest.raises(ValueError, match=plain):
        VoiceAPI(CLIENT, SECRET)
    with pytest.raises(ValueError, match=plain):
        BandwidthFrameSerializer("s-1", CALL, ACCOUNT, CLIENT, SECRET)
    BandwidthFrameSerializer(
        "s-1", CALL, ACCOUNT, voice_api=VoiceAPI(CLIENT, SECRET, base_url=f"{server.url}/api/v2")
    )


async def test_nothing_secret_is_shown(server: Server) -> None:
    async with client(server) as api:
        await api.hang_up(ACCOUNT, CALL)
        shown = f"{api} {api!r} {vars(api)} {api._token}"
    assert not [secret for secret in SECRETS if secret in shown]
    assert repr(api) == f"VoiceAPI('{server.url}/api/v2')"


@pytest.mark.parametrize("status", [None, 503])
def test_errors_are_copied_and_pickled(status: int | None) -> None:
    error = VoiceAPIError("hang up", "overloaded", status)
    error.add_note("of the call c-1")
    for twin in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is VoiceAPIError and str(twin) == str(error)
        assert (twin.operation, twin.status_code) == ("hang up", status)
        assert twin.__notes__ == ["of the call c-1"]


# -- elsewhere ---------------------------------------------------------------------------------

ELSEWHERE = "https://bot.example/webhook"


def password() -> str:
    """Not a variable: loguru would print that of the line here, which is not ours to keep secret."""
    return SECRET


async def test_a_redirect_names_the_webhook_and_its_password(server: Server) -> None:
    server.on("/api", Answer(503), Answer(200))
    async with client(server) as api:
        await api.redirect(ACCOUNT, CALL, ELSEWHERE, username="u", password=password())
    request = server.requests[-1]
    assert request.path == f"/api/v2/accounts/{ACCOUNT}/calls/{CALL}"
    assert request.headers["content-type"] == "application/json"
    wanted = {"state": "active", "redirectUrl": ELSEWHERE, "username": "u", "password": SECRET}
    assert request.json == wanted


@pytest.mark.parametrize(
    ("status", "reason"),
    [(404, "the call is over"), (409, "the call is over"), (403, "these credentials lack")],
)
async def test_a_call_that_cannot_be_redirected_is_told(
    server: Server, status: int, reason: str
) -> None:
    server.on("/api", Answer(status))
    async with client(server) as api:
        with failure("redirect", reason, status):
            await api.redirect(ACCOUNT, CALL, ELSEWHERE, username="u", password=password())


async def test_a_redirect_to_nowhere_is_refused(server: Server) -> None:
    async with client(server) as api:
        with pytest.raises(ValueError, match="url must be") as refused:
            await api.redirect(ACCOUNT, CALL, "bot.example", username="u", password=password())
    assert SECRET not in local_variables(refused.value)
    assert server.requests == []
