"""Bots that say ``wss://``: with TLS of their own, or behind a tunnel that has it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvicorn
from fastapi import FastAPI, WebSocket

from tests.http_server import Answer, http_server
from tests.simulator.bots import STOP, Bot, play, script_of, tone
from workbench.exceptions import SimulationError
from workbench.simulator import Route, SimulatedCall, simulate

PUBLIC = "bot.example"
BXML = (
    '<Response><StartStream name="s" mode="bidirectional" destination="wss://{name}/stream" '
    'streamEventUrl="https://{name}/status"/>' + STOP + "</Response>"
)


async def greet(websocket: WebSocket) -> None:
    await websocket.accept()
    await play(websocket, tone(0.1, 24000))
    await websocket.close()


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return authority


@contextlib.asynccontextmanager
async def tls(app: FastAPI, certificate: trustme.LeafCert, folder: Path) -> AsyncIterator[int]:
    """Serve on loopback with that certificate; the port."""
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, ssl_certfile=folder / "server.pem", log_config=None)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await running
        listener.close()


async def called(
    bot: Bot, certificate: trustme.LeafCert, folder: Path, **options: Any
) -> tuple[SimulatedCall, int]:
    """Call a bot whose webhook is on plain HTTP and whose stream is behind TLS."""
    async with bot.running() as url, tls(bot.app, certificate, folder) as port:
        where = options.pop("where", f"127.0.0.1:{port}")
        route = Route(where, **options)
        return await simulate(f"{url}/voice", script_of(), route=route, max_secs=20.0), port


async def test_a_public_name_is_reached_here_with_its_certificate(
    authority: trustme.CA, tmp_path: Path
) -> None:
    bot = Bot(greet, BXML.replace("{name}", PUBLIC))
    call, _ = await called(bot, authority.issue_cert(PUBLIC), tmp_path, ca=tmp_path / "ca.pem")
    assert call.ended_by == "closed" and call.said_secs == pytest.approx(0.1)
    kinds = [(webhook.event_type, webhook.status) for webhook in call.webhooks]
    assert kinds == [("initiate", 200), ("mediaStreamStarted", 204), ("mediaStreamStopped", 204)]
    assert [w["eventType"] for w in bot.webhooks[1:]] == [kind for kind, _ in kinds[1:]]


@pytest.mark.parametrize(
    ("name", "trusted", "advice"),
    [
        (PUBLIC, False, "--ca FILE trusts the certificate that signed it, --insecure"),
        ("other.example", True, "for another name: --connect-to HOST:PORT keeps .* --insecure"),
    ],
)
async def test_a_certificate_that_is_not_believed_says_what_helps(
    authority: trustme.CA, tmp_path: Path, name: str, trusted: bool, advice: str
) -> None:
    bot, certificate = Bot(greet, BXML.replace("{name}", PUBLIC)), authority.issue_cert(name)
    ca = tmp_path / "ca.pem" if trusted else None
    with pytest.raises(SimulationError, match=f"no connection to {PUBLIC}: .*{advice}") as caught:
        await called(bot, certificate, tmp_path, ca=ca)
    assert caught.value.step == "WebSocket" and "\n" not in str(caught.value)
    call, _ = await called(bot, certificate, tmp_path, insecure=True)
    assert call.said_secs > 0, "what it advises helps"


async def test_the_webhook_itself_may_have_tls(authority: trustme.CA, tmp_path: Path) -> None:
    bot = Bot(greet, BXML.replace("{name}", "localhost:{port}"))
    async with tls(bot.app, authority.issue_cert("localhost"), tmp_path) as port:
        bot.bxml = bot.bxml.replace("{port}", str(port))
        url = f"https://localhost:{port}/voice"
        with pytest.raises(SimulationError, match=r"^webhook: no answer .*--ca FILE"):
            await simulate(url, script_of())
        call = await simulate(url, script_of(), route=Route(ca=tmp_path / "ca.pem"))
    assert call.said_secs > 0
    assert [w.status for w in call.webhooks] == [200, 204, 204]


async def test_behind_a_tunnel_there_is_no_tls() -> None:
    bot = Bot(greet, BXML.replace("{name}", PUBLIC))
    async with bot.running() as url:
        where = url.removeprefix("http://")
        with pytest.raises(SimulationError, match="no TLS at that port.*--connect-to ws://HOST"):
            await simulate(f"{url}/voice", script_of(), route=Route(where))
        call = await simulate(f"{url}/voice", script_of(), route=Route(f"ws://{where}"))
    assert call.said_secs > 0
    assert [w["eventType"] for w in bot.webhooks[-2:]] == [
        "mediaStreamStarted",
        "mediaStreamStopped",
    ]


async def test_a_name_that_nobody_has_says_what_helps() -> None:
    bot = Bot(greet, BXML.replace("{name}", "bot.invalid"))
    async with bot.running() as url:
        advice = r"no connection to bot\.invalid: .*--connect-to HOST:PORT goes to the bot itself"
        with pytest.raises(SimulationError, match=advice):
            await simulate(f"{url}/voice", script_of())


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "HTTP Basic credentials of its environment, see --username and --password"),
        (503, "until the webhook's user and password are set in their environment"),
    ],
)
async def test_a_webhook_that_refuses_says_what_to_set(status: int, advice: str) -> None:
    async with http_server() as server:
        server.on("/voice", Answer(status))
        with pytest.raises(SimulationError, match=f"answered {status} .*{re.escape(advice)}"):
            await simulate(f"{server.url}/voice", script_of())


@pytest.mark.parametrize(
    "where", ["host", "wss://h:1", "h:x", "h:99999", "h:1/path", "u@h:1", ":1"]
)
def test_what_is_no_address_to_connect_to(where: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT or ws://HOST:PORT is wanted"):
        Route(where)


def test_what_is_no_certificate(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(ValueError, match=r"empty.pem: no certificates in PEM form"):
        Route(ca=tmp_path / "empty.pem")
    with pytest.raises(FileNotFoundError):
        Route(ca=tmp_path / "none.pem")
