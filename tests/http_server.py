"""A real HTTP/1.1 server on loopback that misbehaves as it is told."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs


@dataclass(frozen=True)
class Answer:
    """What one request gets.

    Parameters:
        status: HTTP status.
        body: As it is sent; a dict is sent as JSON.
        headers: Beside Content-Length.
        delay: Seconds before the first byte.
        drip: Seconds before each further byte of the body.
        repeat: How often the body is sent over.
        cut: Break off one byte before the end.
        reset: Break the connection (RST) instead.
        hang: Never answer instead.
    """

    status: int = 200
    body: bytes | dict = b""
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    drip: float = 0.0
    repeat: int = 1
    cut: bool = False
    reset: bool = False
    hang: bool = False


HANG = Answer(hang=True)
RESET = Answer(reset=True)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> object:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode())


@dataclass
class Server:
    """Answers of one path are given in turn, the last one for ever."""

    url: str = ""
    connections: int = 0
    sent: int = 0
    requests: list[Request] = field(default_factory=list)
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    tasks: set[asyncio.Task] = field(default_factory=set)
    arrival: asyncio.Condition = field(default_factory=asyncio.Condition)

    def on(self, path: str, *answers: Answer) -> None:
        """Set what requests whose path begins with ``path`` get."""
        self.answers[path] = list(answers)

    def paths(self, beginning: str = "/") -> list[str]:
        return [request.path for request in self.requests if request.path.startswith(beginning)]

    async def seen(self, beginning: str) -> None:
        """Wait for a request whose path begins so."""
        async with self.arrival:
            await self.arrival.wait_for(lambda: self.paths(beginning))

    def _next(self, path: str) -> Answer:
        for beginning, answers in self.answers.items():
            if path.startswith(beginning):
                return answers.pop(0) if len(answers) > 1 else answers[0]
        return Answer(404)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self.tasks.add(task)
        self.connections += 1
        try:
            while await self._serve_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        except asyncio.CancelledError:
            pass  # the end of the server; asyncio's streams would print it
        finally:
            writer.transport.abort()
            self.tasks.discard(task)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append(Request(method, path, headers, body))
        async with self.arrival:
            self.arrival.notify_all()
        answer = self._next(path)
        if answer.hang:
            await asyncio.Event().wait()
        if answer.reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return False
        await asyncio.sleep(answer.delay)
        raw = isinstance(answer.body, bytes)
        body = answer.body if raw else json.dumps(answer.body).encode()
        length = len(body) * answer.repeat + answer.cut
        lines = [f"HTTP/1.1 {answer.status} Whatever", f"Content-Length: {length}"]
        lines += [] if raw else ["Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in answer.headers]
        if answer.status == 204:
            del lines[1]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        for byte in body if answer.drip else ():
            await writer.drain()
            await asyncio.sleep(answer.drip)
            writer.write(bytes([byte]))
        for _ in range(0 if answer.drip else answer.repeat):
            writer.write(body)
            await writer.drain()
            self.sent += len(body)
        await writer.drain()
        return not answer.cut


@asynccontextmanager
async def http_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Serve on a free port of loopback until the block is left."""
    state = Server()
    listener = await asyncio.start_server(state.serve, "127.0.0.1", 0, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    state.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield state
    finally:
        listener.close()
        for task in list(state.tasks):
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)
        if tls:
            await asyncio.sleep(0.2)  # handshakes that failed are noticed, and closed, only now
