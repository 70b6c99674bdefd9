"""What strangers do to the server: one process under attack, which takes a call after each."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.headers import build_authorization_basic

from pipecat_bandwidth.messages import Clear, Media, PlayAudio, Start, Stop, encode, parse
from tests.pipecat_bandwidth.served import (
    START,
    USER,
    Destination,
    Process,
    closed,
    expected,
    knock,
    opened,
    process,
)

#: One server stands all of them: with `--dist loadgroup`, in one process.
pytestmark = pytest.mark.xdist_group("attacks")

LIMITS = {"waiting": 20, "start_secs": 2.0, "body_secs": 1.0}
HEAD_SECS = 1.0
RIGHT = "Basic " + base64.b64encode(":".join(USER).encode()).decode()
WRONG = "Basic " + base64.b64encode(b"bandwidth:wrong").decode()


@pytest.fixture(scope="module")
def one_server() -> Iterator[Process]:
    with process(limits=LIMITS, head_secs=HEAD_SECS) as server:
        yield server
        server.child.terminate()
        _, errors = server.child.communicate()
        assert "Exception in ASGI application" not in errors, errors[-5000:]


@pytest.fixture
def server(one_server: Process) -> Iterator[Process]:
    yield one_server
    asyncio.run(take_a_call(one_server.url))


async def take_a_call(url: str, messages: int = 1) -> int:
    """A whole call: the number of messages that came back."""
    audio = encode(Media(b"\xff" * 160, "inbound", "1"))
    async with opened(await expected(url)) as websocket:
        await websocket.send(START)
        for _ in range(messages):
            await websocket.send(audio)
        answers = [parse(await websocket.recv()) for _ in range(messages)]
        await websocket.send(encode(Stop("s-1", "c-1")))
    return sum(isinstance(answer, PlayAudio) for answer in answers)


# -- bodies ------------------------------------------------------------------------------------


def head(authorization: str, *more: str) -> bytes:
    lines = ["POST /webhook HTTP/1.1", "Host: bot", f"Authorization: {authorization}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def post(server: Process, start: bytes, body: bytes, times: int = 1) -> tuple[int, str]:
    """Send until the far end has had enough; the bytes of body that it took, and its answer."""
    sent = 0
    answer = b""
    with socket.create_connection(server.address, timeout=5.0) as connection:
        try:
            connection.sendall(start)
            for _ in range(times):
                connection.sendall(body)
                sent += len(body)
        except OSError:  # it has closed
            pass
        with contextlib.suppress(OSError):  # an answer may be lost when the rest is thrown away
            while len(answer) < 10_000 and (part := connection.recv(4096)):
                answer += part
    return sent, answer.decode()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("authorization", [WRONG, RIGHT])
@pytest.mark.parametrize("length", ["Content-Length: 150000000", "Transfer-Encoding: chunked"])
def test_a_body_of_150_megabytes_is_not_read(
    server: Process, authorization: str, length: str
) -> None:
    before = server.megabytes()
    piece = b"x" * 100_000
    if "chunked" in length:
        piece = b"186a0\r\n" + piece + b"\r\n"
    sent, _ = post(server, head(authorization, length), piece, 1500)
    assert sent < 20_000_000, "the rest stays in the sockets' buffers"
    assert server.megabytes() - before < 20


@pytest.mark.parametrize(
    ("authorization", "more", "status"),
    [
        (WRONG, "Content-Length: 150000000", 401),
        (WRONG, "Content-Length: 150000000\r\nExpect: 100-continue", 401),
        (WRONG, "Transfer-Encoding: chunked", 401),
        (RIGHT, "Content-Length: 150000000", 413),
        (RIGHT, "Content-Length: 150000000\r\nExpect: 100-continue", 413),
        (RIGHT, "Content-Length: 65537", 413),
        (RIGHT, "Content-Length: 10", 408),
        (RIGHT, "Transfer-Encoding: chunked", 408),
    ],
)
def test_the_answer_comes_before_the_body(
    server: Process, authorization: str, more: str, status: int
) -> None:
    """Nothing of it is sent; ``100 Continue`` would ask for it."""
    _, answer = post(server, head(authorization, more), b"")
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert "connection: close" in answer.lower()


def test_a_body_of_no_known_length_ends_at_the_limit(server: Process) -> None:
    chunk = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"
    _, answer = post(server, head(RIGHT, "Transfer-Encoding: chunked"), chunk * 2)
    assert answer.startswith("HTTP/1.1 413 ")


# -- sockets -----------------------------------------------------------------------------------


async def drip(server: Process, text: bytes) -> tuple[float, bytes]:
    """Send a byte every 50 ms; the seconds from connecting until it is closed, and the answer."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(*server.address)
    reading = asyncio.create_task(reader.read())
    for byte in text:
        if reading.done():
            break
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)
    with contextlib.suppress(ConnectionError):
        answer = await reading
    writer.close()
    return time.monotonic() - began, answer if not reading.exception() else b""


async def test_a_head_or_a_body_that_drips_is_cut_off(server: Process) -> None:
    long_head = head(WRONG, *(f"X-{number}: {number}" for number in range(40)))
    connections = [drip(server, long_head) for _ in range(50)]
    for took, answer in await asyncio.gather(*connections):
        assert HEAD_SECS - 0.1 < took < 10
        assert answer == b""


async def test_a_thousand_silent_sockets_stop_nobody_and_do_not_stay(server: Process) -> None:
    before = server.megabytes("VmRSS")
    with many_files(1200):
        pairs = [await asyncio.open_connection(*server.address) for _ in range(1000)]
        try:
            assert await take_a_call(server.url) == 1
            grown = server.megabytes("VmRSS") - before
            async with asyncio.timeout(10):
                await asyncio.gather(*(quiet_end(reader) for reader, _ in pairs))
        finally:
            for _, writer in pairs:
                writer.close()
    assert not grown > 50


async def quiet_end(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""


@contextlib.contextmanager
def many_files(wanted: int) -> Iterator[None]:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < wanted:
        pytest.skip(f"at most {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_of_60_silent_streams_some_wait_a_while_and_none_stays(server: Process) -> None:
    destinations = [await expected(server.url) for _ in range(60)]
    began = time.monotonic()
    codes = await asyncio.gather(*(knock(destination) for destination in destinations))
    assert codes.count(1008) == LIMITS["waiting"]
    assert codes.count(503) == 60 - LIMITS["waiting"]
    assert time.monotonic() - began < LIMITS["start_secs"] + 10


# -- first messages ----------------------------------------------------------------------------

FIRST = {
    "nothing": (None, 1008),
    "binary": (b"\x00" * 10, 1003),
    "binary start": (START.encode(), 1003),
    "junk": ("junk", 1008),
    "empty": ("", 1008),
    "list": ("[]", 1008),
    "deep": ("[" * 30_000, 1008),
    "number": ("1e999", 1008),
    "media": (encode(Media(b"\xff" * 160)), 1008),
    "stop": (encode(Stop("s-1", "c-1")), 1008),
    "ours": (encode(Clear()), 1008),
    "no stream": (encode(Start()), 1008),
    "metadata": ('{"eventType":"start","metadata":[]}', 1008),
    "2 MB": ('{"eventType":"start","x":"' + "x" * 2_000_000 + '"}', 1009),
    "70 kB": ('{"eventType":"start","x":"' + "x" * 70_000 + '"}', 1009),
    "2 MB binary": (b"\x00" * 2_000_000, 1009),
}


async def test_a_stream_that_does_not_begin_with_start_is_closed(server: Process) -> None:
    for name, (first, code) in FIRST.items():
        assert await knock(await expected(server.url), first) == code, name


async def test_a_first_message_in_pieces_has_the_same_limits(server: Process) -> None:
    async def pieces(number: int, pause: float) -> int:
        async def given() -> AsyncIterator[str]:
            for _ in range(number):
                yield "x" * 1000
                await asyncio.sleep(pause)

        async with opened(await expected(server.url)) as websocket:
            with contextlib.suppress(ConnectionClosed):
                await websocket.send(given())
            await closed(websocket)
        return websocket.close_code or 0

    # A close frame may be lost with what was under way to the one who closed.
    assert await pieces(2000, 0.0) in (1009, 1006)
    assert await pieces(60, 0.1) == 1008, "too slow"


async def test_bytes_that_are_no_text_close_the_stream(server: Process) -> None:
    async with opened(await expected(server.url)) as websocket:
        await websocket.send(b'{"eventType":"\xff"}', text=True)
        await closed(websocket)
    assert websocket.close_code == 1007


# -- tokens ------------------------------------------------------------------------------------


async def test_of_twenty_with_one_token_one_gets_in(server: Process) -> None:
    destination = await expected(server.url)
    codes = await asyncio.gather(*(knock(destination, "junk") for _ in range(20)))
    assert sorted(codes) == [401] * 19 + [1008]
    assert await knock(destination, START) == 401, "nor later"


async def test_guessing_gets_nobody_in_and_uses_no_token_up(server: Process) -> None:
    url, headers = await expected(server.url)
    wrong = [
        {},
        {"Authorization": RIGHT},  # the webhook's
        {"Authorization": "Basic !"},
        {"Authorization": headers["Authorization"].replace("Basic", "Bearer")},
        {"Authorization": headers["Authorization"][:-4]},
        *({"Authorization": basic(secrets.token_urlsafe(24))} for _ in range(200)),
        {"Authorization": basic("")},
        {"Authorization": basic("é" * 32)},
        {"Authorization": basic("../../x")},
    ]
    for first in range(0, len(wrong), 20):
        some = wrong[first : first + 20]
        codes = await asyncio.gather(*(knock(Destination(url, guess)) for guess in some))
        assert set(codes) == {401}
    assert await knock(Destination(url, headers), "junk") == 1008


def basic(password: str) -> str:
    return build_authorization_basic("bot", password)


async def test_other_paths_are_no_streams(server: Process) -> None:
    url, headers = await expected(server.url)
    for path in ("/", "/stream/x", "/webhook", "/../stream", "/%00"):
        with pytest.raises(InvalidStatus) as refusal:
            async with opened(Destination(url.replace("/stream", path), headers)):
                pass
        assert refusal.value.response.status_code == 403


# -- load and end ------------------------------------------------------------------------------


async def test_ten_calls_at_once_get_all_their_answers(server: Process) -> None:
    answers = await asyncio.gather(*(take_a_call(server.url, 50) for _ in range(10)))
    assert answers == [50] * 10


@pytest.mark.slow
async def test_a_signal_closes_live_calls_and_ends_the_process() -> None:
    with process() as server:
        async with opened(await expected(server.url)) as websocket:
            await websocket.send(START)
            await websocket.send(encode(Media(b"\xff" * 160)))
            await websocket.recv()
            os.kill(server.child.pid, signal.SIGTERM)
            await closed(websocket)
            assert websocket.close_code == 1001
        assert await asyncio.to_thread(server.child.wait, 15) == -signal.SIGTERM
