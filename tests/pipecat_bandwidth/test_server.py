"""The server: who is let in, what the bot gets, how it ends. Strangers are in test_attacks."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from fastapi import FastAPI, Request, WebSocket
from loguru import logger
from pipecat.frames.frames import CancelFrame
from websockets.asyncio.client import ClientConnection

import pipecat_bandwidth
from pipecat_bandwidth import BandwidthFrameSerializer, VoiceAPI
from pipecat_bandwidth.messages import Media, PlayAudio, encode, parse
from pipecat_bandwidth.server import Limits, MemoryTokens, create_app
from tests.pipecat_bandwidth.served import (
    INITIATE,
    START,
    USER,
    Destination,
    closed,
    destination_of,
    echo,
    expected,
    knock,
    opened,
)
from workbench.demo.bot import serve
from workbench.simulator import VoiceAPIServer

Params = BandwidthFrameSerializer.InputParams
MUTE = Params(auto_hang_up=False)


def app_of(bot: Any = echo, **options: Any) -> FastAPI:
    options = {"username": USER[0], "password": USER[1], "params": MUTE} | options
    return create_app(bot, **options)


@contextlib.asynccontextmanager
async def posting(url: str, auth: Any = USER) -> AsyncIterator[httpx.AsyncClient]:
    options = {
        "auth": auth,
        "headers": {"Content-Type": "application/json"},
        "trust_env": False,
        "verify": False,
    }
    async with httpx.AsyncClient(base_url=url, **options) as client:
        yield client


# -- the webhook -------------------------------------------------------------------------------

BAD = [b"", b"junk", b"\xff", b"[" * 60_000, json.dumps([INITIATE]).encode(), b'{"eventType": 7}']


async def test_without_the_password_everything_is_401() -> None:
    async with serve(app_of()) as url:
        for auth in [None, ("bandwidth", "wrong"), ("wrong", USER[1]), ("ü", "ß")]:
            async with posting(url, auth) as client:
                for body in [json.dumps(INITIATE).encode(), *BAD]:
                    answer = await client.post("/webhook", content=body)
                    assert answer.status_code == 401, (auth, body[:20])
                    assert answer.headers["www-authenticate"].startswith("Basic realm=")
                for method, path in [("GET", "/webhook"), ("GET", "/"), ("POST", "/other")]:
                    assert (await client.request(method, path)).status_code == 401


async def test_a_header_that_is_no_basic_is_401() -> None:
    async with serve(app_of()) as url, posting(url, None) as client:
        for header in [b"", b"Basic", b"Basic !", b"Basic =", b"Bearer x", b"Basic dTpw\x80"]:
            headers = {"Authorization": header}
            answer = await client.post("/webhook", json=INITIATE, headers=headers)
            assert answer.status_code == 401, header


async def test_with_the_password_nonsense_is_400() -> None:
    async with serve(app_of()) as url, posting(url) as client:
        for body in BAD:
            answer = await client.post("/webhook", content=body)
            assert answer.status_code == 400, body[:20]


async def test_ids_that_are_none_are_400() -> None:
    wrong = [None, "", "../../x", "c-1\n", "c" * 257, ".", "c 1", "ü", ["c"], True]
    async with serve(app_of()) as url, posting(url) as client:
        for name in ("callId", "accountId"):
            for value in wrong:
                answer = await client.post("/webhook", json={**INITIATE, name: value})
                assert answer.status_code == 400, (name, value)
            without = {key: value for key, value in INITIATE.items() if key != name}
            assert (await client.post("/webhook", json=without)).status_code == 400
        # Bandwidth's own code has it as either.
        assert (await client.post("/webhook", json={**INITIATE, "accountId": 9})).status_code == 200


async def test_a_call_is_answered_with_a_stream_and_other_events_with_nothing() -> None:
    async with serve(app_of()) as url, posting(url) as client:
        for event in ("initiate", "answer", "redirect"):
            answer = await client.post("/webhook", json={**INITIATE, "eventType": event})
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("application/xml")
            stream, stop = ElementTree.fromstring(answer.text)
            assert (stop.tag, stop.get("name"), stop.get("wait")) == ("StopStream", "bot", "true")
            assert stream.get("destination") == f"{url.replace('http', 'ws')}/stream", "no secret"
            assert len(stream.get("destinationPassword", "")) == 32
        for event in ("disconnect", "mediaStreamStarted", "something new"):
            answer = await client.post("/webhook", json={"eventType": event})
            assert (answer.status_code, answer.content) == (204, b"")


async def test_the_public_url_the_paths_and_the_bxml_are_arguments() -> None:
    app = app_of(
        public_url="wss://bot.example/calls/",
        webhook_path="/voice",
        stream_path="/media",
        bxml=lambda destination, user, password: f"<Response>{destination}</Response>",
    )
    async with serve(app) as url, posting(url) as client:
        answer = await client.post("/voice", json=INITIATE)
        assert answer.text == "<Response>wss://bot.example/calls/media</Response>"


async def test_below_a_path_of_another_application_the_stream_is_there_too() -> None:
    app = FastAPI()
    app.mount("/calls", app_of())
    async with serve(app) as url:
        destination = await expected(f"{url}/calls")
        assert destination.url == f"{url.replace('http', 'ws', 1)}/calls/stream"
        assert await knock(destination, "junk") == 1008


async def test_routes_that_are_added_stand_behind_the_same_guard() -> None:
    app = app_of(open_paths=["/health"], limits=Limits(body_bytes=100))

    @app.post("/dtmf")
    async def dtmf(request: Request) -> int:
        return len(await request.body())

    @app.get("/health")
    async def health() -> str:
        return "well"

    async with serve(app) as url, posting(url, None) as stranger, posting(url) as bandwidth:
        assert (await stranger.post("/dtmf", content=b"5")).status_code == 401
        assert (await bandwidth.post("/dtmf", content=b"x" * 100)).json() == 100
        assert (await bandwidth.post("/dtmf", content=b"x" * 101)).status_code == 413
        assert (await stranger.get("/health")).json() == "well"
        assert (await stranger.post("/health", content=b"x" * 101)).status_code == 413


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"password": ""}, "need a user and a password"),
        ({"username": ""}, "need a user and a password"),
        ({"username": "a:b"}, "'a:b' must have no colon"),
        ({"public_url": "https://bot.example"}, "'https://bot.example' must begin with ws"),
        ({"params": None}, "auto_hang_up needs client_id, client_secret"),
    ],
)
def test_what_cannot_work_is_refused_at_once(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        app_of(**wrong)


def test_limits_that_are_none_are_refused() -> None:
    assert Limits(drain_secs=0).drain_secs == 0
    for name, value in {"waiting": 0, "token_secs": 0.0, "drain_secs": -1.0}.items():
        with pytest.raises(ValueError, match=f"{name}={value} must be positive"):
            Limits(**{name: value})


# -- the stream --------------------------------------------------------------------------------


async def test_the_bot_gets_the_start_message_and_the_webhooks_call() -> None:
    got: list[Any] = []

    async def bot(websocket: WebSocket, serializer: BandwidthFrameSerializer) -> None:
        got.extend([serializer.stream_id, serializer.call_id, serializer.account_id])
        got.append(await websocket.receive_text())
        got.append(await websocket.receive_text())

    async with serve(app_of(bot)) as url:
        async with opened(await expected(url, "c-other")) as websocket:
            await websocket.send(START)  # it says c-1
            await websocket.send("next")
            await closed(websocket)
    assert got == ["s-1", "c-other", "9900000", START, "next"]
    assert websocket.close_code == 1000


async def test_a_call_is_talked_to() -> None:
    async with serve(app_of()) as url, opened(await expected(url)) as websocket:
        await websocket.send(START)
        await websocket.send(encode(Media(bytes(range(160)), "inbound", "1")))
        said = parse(await websocket.recv())
        assert isinstance(said, PlayAudio) and len(said.payload) == 160


async def test_a_bot_that_fails_ends_its_call_and_no_other() -> None:
    log: list[str] = []
    sink = logger.add(lambda message: log.append(str(message)), level="ERROR")

    async def bot(websocket: WebSocket, serializer: BandwidthFrameSerializer) -> None:
        if serializer.call_id == "c-bad":
            raise RuntimeError("no model")
        await echo(websocket, serializer)

    try:
        async with serve(app_of(bot)) as url, opened(await expected(url)) as other:
            await other.send(START)
            assert await knock(await expected(url, "c-bad"), START) == 1011
            await other.send(encode(Media(b"\xff" * 160)))
            assert isinstance(parse(await other.recv()), PlayAudio)
    finally:
        logger.remove(sink)
    (line,) = log
    assert "the bot of call c-bad failed" in line and "no model" in line


async def test_nothing_secret_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    log: list[str] = []
    sink = logger.add(lambda message: log.append(str(message)), level="TRACE")
    try:
        async with serve(app_of()) as url:
            destination = await expected(url)
            assert await knock(destination, "junk") == 1008
            assert await knock(destination) == 401
    finally:
        logger.remove(sink)
    token = destination.headers["Authorization"]
    text = "".join([*log, *capfd.readouterr()])
    assert "a stream of call c-1 is closed (1008)" in text
    assert token not in text and USER[1] not in text


async def test_strangers_do_not_fill_the_log() -> None:
    log: list[str] = []
    sink = logger.add(lambda message: log.append(message.record["message"]), level="INFO")
    try:
        async with serve(app_of()) as url, posting(url, None) as client:
            for _ in range(30):
                await client.post("/webhook", json=INITIATE)
                await knock(Destination(f"{url.replace('http', 'ws')}/stream", {}))
    finally:
        logger.remove(sink)
    assert log == [
        "refused: POST '/webhook': 401, it wants HTTP Basic credentials (number 1)",
        "refused: a stream without a token that is expected: 401 (number 1)",
    ]


# -- tokens ------------------------------------------------------------------------------------


async def test_a_full_memory_forgets_the_oldest_and_what_has_expired() -> None:
    now = [0.0]
    tokens = MemoryTokens(limit=3, clock=lambda: now[0])
    for number in range(5):
        now[0] += 1
        await tokens.put(f"t{number}", f"c{number}", 60.0)
    assert len(tokens) == 3
    assert [await tokens.take(f"t{number}") for number in range(3)] == [None, None, "c2"]
    now[0] = 64.0  # t3 was put at 4
    assert await tokens.take("t3") is None
    await tokens.put("t5", "c5", 60.0)
    now[0] = 65.0
    await tokens.put("t6", "c6", 60.0)
    assert len(tokens) == 2, "t4 is gone, though nobody asked for it"
    assert await tokens.take("t5") == "c5"
    assert await tokens.take("t5") is None
    with pytest.raises(ValueError, match="limit=0"):
        MemoryTokens(limit=0)


async def test_a_store_sees_no_token() -> None:
    seen: list[tuple[str, str, float]] = []

    class Store(MemoryTokens):
        async def put(self, token: str, call: str, secs: float) -> None:
            seen.append((token, call, secs))
            await super().put(token, call, secs)

    async with serve(app_of(tokens=Store(), limits=Limits(token_secs=7.0))) as url:
        destination = await expected(url)
        assert await knock(destination, "junk") == 1008, "it was admitted"
    ((token, call, secs),) = seen
    assert (call, secs) == ("9900000/c-1", 7.0)
    assert len(token) == 64 and token not in str(destination)


async def live(app: FastAPI, calls: int) -> None:
    """Wait until so many bots talk."""
    async with asyncio.timeout(10):
        while app.state.switchboard.live < calls:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


# -- the end -----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def live_call(
    calls: list[str], **options: Any
) -> AsyncIterator[tuple[list[ClientConnection], VoiceAPIServer, VoiceAPI]]:
    """A server with live calls that goes down when the block ends."""
    async with (
        VoiceAPIServer() as far,
        VoiceAPI(
            far.client_id, far.client_secret, base_url=far.base_url, token_url=far.token_url
        ) as near,
        contextlib.AsyncExitStack() as stack,
    ):
        limits = options.pop("limits", Limits(end_secs=0.3))
        app = app_of(params=None, voice_api=near, limits=limits, **options)
        async with serve(app) as url:
            sockets = []
            for call in calls:
                far.add("9900000", call)
                destination = await expected(url, call)
                sockets.append(await stack.enter_async_context(opened(destination)))
                await sockets[-1].send(START)
            await live(app, len(calls))
            yield sockets, far, near


async def test_a_shutdown_hangs_up_closes_and_then_ends_the_captures() -> None:
    order: list[str] = []

    async def bot(websocket: WebSocket, serializer: BandwidthFrameSerializer) -> None:
        try:
            if serializer.call_id == "c-2":  # it does not look at its socket
                await asyncio.sleep(60)
            await echo(websocket, serializer)
        finally:
            await serializer.serialize(CancelFrame())  # as a pipeline does that is cancelled
            order.append(f"bot of {serializer.call_id}")

    async with live_call(["c-1", "c-2"], bot=bot, on_shutdown=lambda: order.append("captures")) as (
        sockets,
        far,
        _,
    ):
        pass
    for call, websocket in zip(["c-1", "c-2"], sockets, strict=True):
        assert [request.status for request in far.hang_ups(call)] == [200]
        await closed(websocket)
        assert websocket.close_code == 1001
    assert order == ["bot of c-1", "bot of c-2", "captures"]


async def test_under_another_server_the_lifespan_ends_the_captures() -> None:
    ended: list[str] = []
    app = app_of(on_shutdown=lambda: ended.append("captures"))
    async with app.router.lifespan_context(app):
        assert ended == []
    assert ended == ["captures"]


async def test_a_call_that_is_handed_over_is_not_hung_up() -> None:
    async def take(serializer: BandwidthFrameSerializer) -> None:
        if serializer.call_id == "c-refused":
            raise ConnectionError("nobody there")
        if serializer.call_id == "c-slow":
            await asyncio.sleep(60)

    async def bot(websocket: WebSocket, serializer: BandwidthFrameSerializer) -> None:
        try:
            await echo(websocket, serializer)
        finally:
            await serializer.serialize(CancelFrame())  # as a pipeline does that is cancelled

    log: list[str] = []
    sink = logger.add(lambda message: log.append(str(message)), level="ERROR")
    try:
        calls = ["c-taken", "c-refused", "c-slow"]
        async with live_call(calls, bot=bot, hand_over=take) as (_, far, _):
            pass
    finally:
        logger.remove(sink)
    assert far.hang_ups("c-taken") == []
    assert len(far.hang_ups("c-refused")) == len(far.hang_ups("c-slow")) == 1
    assert sorted(line.partition("call ")[2].split()[0] for line in log) == ["c-refused", "c-slow"]
    assert any("ConnectionError: nobody there" in line for line in log)


async def test_a_call_is_redirected_to_another_server() -> None:
    heard: list[str | None] = []

    async def bot(websocket: WebSocket, serializer: BandwidthFrameSerializer) -> None:
        heard.append(serializer.call_id)

    async with serve(app_of(bot)) as other:

        async def redirect(call: Any) -> None:
            there = {"url": f"{other}/webhook", "username": USER[0], "password": USER[1]}
            await near.redirect(call.account_id, call.call_id, **there)

        async with live_call(["c-1"], hand_over=redirect) as (_, far, near):
            pass
        (asked,) = [request for request in far.requests if request.operation == "redirect"]
        assert asked.status == 200 and far.hang_ups("c-1") == []
        # What Bandwidth does then.
        async with posting(other, (asked.fields["username"], asked.fields["password"])) as client:
            event = {**INITIATE, "eventType": "redirect"}
            answer = await client.post(asked.fields["redirectUrl"], json=event)
        destination = destination_of(answer)
        assert await knock(destination, START) == 1000
    assert heard == ["c-1"]


async def test_a_shutdown_lets_calls_finish_and_takes_no_new_ones() -> None:
    finish = asyncio.Event()
    ended: list[str | None] = []

    async def bot(websocket: WebSocket, serializer: BandwidthFrameSerializer) -> None:
        await finish.wait()
        ended.append(serializer.call_id)

    app = app_of(bot, limits=Limits(drain_secs=20.0))
    async with serve(app) as url, contextlib.AsyncExitStack() as stack:
        first, late, never = [await expected(url, f"c-{number}") for number in range(3)]
        websocket = await stack.enter_async_context(opened(first))
        await websocket.send(START)
        await live(app, 1)
        closing = asyncio.create_task(app.state.switchboard.close())
        await asyncio.sleep(0.05)
        async with posting(url) as client:
            assert (await client.post("/webhook", json=INITIATE)).status_code == 503
        # Its webhook was answered before: the caller is on the line.
        websocket = await stack.enter_async_context(opened(late))
        await websocket.send(START)
        await live(app, 2)
        assert not closing.done()
        finish.set()
        await closing
        assert sorted(filter(None, ended)) == ["c-0", "c-1"]
        assert await knock(never, START) == 503


# -- the package -------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn"])
def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import pipecat_bandwidth.server"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = run.stderr.strip().splitlines()[-1]
    assert last == (
        f"ModuleNotFoundError: pipecat_bandwidth.server needs {missing}: "
        "pip install 'pipecat-bandwidth[server]'"
    )


def test_no_assert_guards_anything() -> None:
    """Under ``python -O`` there are none."""
    for path in Path(pipecat_bandwidth.__path__[0]).rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)], path
