"""The store of the documentation, on a real Redis: several workers share their tokens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipecat_bandwidth.server import tokens
from tests.pipecat_bandwidth.served import START, Destination, expected, knock
from tests.pipecat_bandwidth.test_server import app_of
from workbench.demo.bot import serve


def store_of_the_documentation() -> Any:
    source = re.search(r"^ +class RedisTokens:.*?(?=^ +app = )", tokens.__doc__ or "", re.M | re.S)
    names: dict[str, Any] = {}
    exec(compile(textwrap.dedent(source[0]), "documentation", "exec"), names)  # type: ignore[index]
    return names["RedisTokens"]


class Client:
    """The two commands of `redis.asyncio.Redis` that the store uses, as that package sends them."""

    def __init__(self, path: str) -> None:
        self.path = path

    async def set(self, name: str, value: str, *, px: int) -> bool:
        return await self._ask("SET", name, value, "PX", str(px)) == "OK"

    async def getdel(self, name: str) -> str | None:
        return await self._ask("GETDEL", name)

    async def aclose(self) -> None:
        """Nothing stays open."""

    async def _ask(self, *words: str) -> str | None:
        """One command on a connection of its own (RESP: redis.io, "Serialization protocol")."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        with contextlib.closing(writer):
            writer.write(f"*{len(words)}\r\n".encode())
            writer.writelines(f"${len(word)}\r\n{word}\r\n".encode() for word in words)
            first = (await reader.readline()).decode().strip()
            if first[0] == "+":
                return first[1:]
            if first[0] != "$":
                raise ConnectionError(first)
            length = int(first[1:])
            return None if length < 0 else (await reader.readexactly(length + 2))[:-2].decode()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The socket of a Redis that is there for these tests."""
    # One program by two names; the second comes without a service that begins to run.
    server = shutil.which("redis-server") or shutil.which("redis-check-rdb")
    if server is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Redis is not installed, and CI is to have it")
        pytest.skip("Redis is not installed (apt-get install redis-tools)")
    folder = tmp_path_factory.mktemp("redis")
    path = str(folder / "socket")
    command = ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder]
    child = subprocess.Popen(command, executable=server, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not Path(path).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        yield path
    finally:
        child.kill()
        child.wait()


def client(path: str) -> Any:
    """The package's, where it is installed."""
    try:
        from redis.asyncio import Redis
    except ModuleNotFoundError:
        return Client(path)
    return Redis(unix_socket_path=path, decode_responses=True)


async def test_a_token_works_once_and_not_for_long(redis: str) -> None:
    async with contextlib.aclosing(client(redis)) as connected:
        store = store_of_the_documentation()(connected)
        await store.put("a" * 64, "9900000/c-1", 60.0)
        taken = await asyncio.gather(*(store.take("a" * 64) for _ in range(20)))
        assert sorted(taken, key=str) == ["9900000/c-1"] + [None] * 19
        await store.put("b" * 64, "9900000/c-2", 0.05)
        await asyncio.sleep(0.1)
        assert await store.take("b" * 64) is None
        assert await store.take("c" * 64) is None


async def test_one_worker_answers_the_webhook_and_another_gets_the_stream(redis: str) -> None:
    got: list[str | None] = []

    async def bot(websocket: Any, serializer: Any) -> None:
        got.append(serializer.call_id)

    store = store_of_the_documentation()
    async with (
        contextlib.aclosing(client(redis)) as first,
        contextlib.aclosing(client(redis)) as second,
        serve(app_of(bot, tokens=store(first))) as one,
        serve(app_of(bot, tokens=store(second))) as other,
    ):
        destination = await expected(one, "c-shared")
        elsewhere = Destination(f"{other.replace('http', 'ws')}/stream", destination.headers)
        assert await knock(elsewhere, START) == 1000
        assert await knock(destination, START) == 401, "it is used up in both"
    assert got == ["c-shared"]
