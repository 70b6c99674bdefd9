"""Pipecat's development runner, with Bandwidth among its transports.

A bot that is written for ``pipecat.runner.run`` takes Bandwidth's calls with three lines::

    from pipecat_bandwidth.runner import create_transport, main  # in place of Pipecat's own two

    transport_params = {
        "webrtc": ...,  # what it had
        "bandwidth": lambda: FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True),
    }

and is started with ``python bot.py -t bandwidth -x mybot.ngrok.app``. Pipecat by itself refuses that
name, and takes two messages off a stream before there is a pipeline: ``start``, and the caller's first
20 ms. Here the stream comes whole.

======================================= ============================================================
in the environment                      what it is
======================================= ============================================================
``BANDWIDTH_WEBHOOK_USERNAME``,         what the Bandwidth application sends with its webhooks; without
``BANDWIDTH_WEBHOOK_PASSWORD``          them Bandwidth is left out, or refused if ``-t`` asks for it
``BANDWIDTH_CLIENT_ID``,                the API's, for hanging up; without them a call ends as the bot's
``BANDWIDTH_CLIENT_SECRET``             stream does
======================================= ============================================================

The routes are those of :mod:`pipecat_bandwidth.server`, below ``/bandwidth``: ``/bandwidth/webhook``
answers with BXML, ``/bandwidth/stream`` is where that sends the media. Ctrl-C ends the streams, and so
the calls, without a hang-up: for more than development take that server itself. It needs the extra
``runner``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from fastapi import FastAPI, WebSocket
from pipecat.runner.types import CallData, RunnerArguments, WebSocketRunnerArguments
from pipecat.transports.base_transport import BaseTransport
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport

from pipecat_bandwidth.params import InputParams
from pipecat_bandwidth.serializer import BandwidthFrameSerializer
from pipecat_bandwidth.server import create_app
from pipecat_bandwidth.voice_api import VoiceAPI

__all__ = ["BandwidthRunnerArguments", "create_routes", "create_transport", "main"]

_NAME: Final = "bandwidth"
_WEBHOOK: Final = "BANDWIDTH_WEBHOOK_USERNAME", "BANDWIDTH_WEBHOOK_PASSWORD"
_CLIENT: Final = "BANDWIDTH_CLIENT_ID", "BANDWIDTH_CLIENT_SECRET"

RunnerBot: TypeAlias = Callable[[RunnerArguments], Awaitable[object]]


@dataclass
class BandwidthRunnerArguments(WebSocketRunnerArguments):
    """What ``bot(runner_args)`` gets for a call of Bandwidth's; ``call_data`` has its ids.

    Parameters:
        serializer: The call's, with call and account as the webhook named them.
    """

    serializer: BandwidthFrameSerializer = field(kw_only=True)


async def create_transport(
    runner_args: RunnerArguments, transport_params: Mapping[str, Callable[[], Any]]
) -> BaseTransport:
    """Make the transport of a call: for Bandwidth here, for all else as Pipecat's function does.

    Args:
        runner_args: What the bot was given.
        transport_params: Makers of the parameters, by transport: ``"bandwidth"`` among them.

    Raises:
        ValueError: If there is none for this transport.
    """
    if not isinstance(runner_args, BandwidthRunnerArguments):
        from pipecat.runner.utils import create_transport as create

        return await create(runner_args, dict(transport_params))
    if _NAME not in transport_params:
        raise ValueError(f"transport_params has no {_NAME!r}, only {', '.join(transport_params)}")
    params: FastAPIWebsocketParams = transport_params[_NAME]()
    params.add_wav_header = False
    params.serializer = runner_args.serializer
    return FastAPIWebsocketTransport(websocket=runner_args.websocket, params=params)


def main(
    parser: argparse.ArgumentParser | None = None,
    *,
    bot: RunnerBot | None = None,
    params: InputParams | None = None,
) -> None:
    """Run Pipecat's runner with Bandwidth's routes; takes the place of ``pipecat.runner.run.main``.

    Args:
        parser: As Pipecat's ``main`` takes it.
        bot: What talks to a caller; ``bot`` of the script that was started by default.
        params: The serializers'; hanging up is for those with an API client.

    Raises:
        ValueError: If Bandwidth is asked for and there is no bot, or no user and password.
    """
    from pipecat.runner import run  # reads .env

    parser = parser or argparse.ArgumentParser(description="Pipecat Development Runner")
    bot = bot or getattr(sys.modules["__main__"], "bot", None)

    def begin(args: argparse.Namespace) -> None:
        wanted = args.transport == _NAME
        if wanted:
            args.transport = None  # the others' routes do no harm, and Pipecat knows no such name
        missing = [name for name in _WEBHOOK if not os.environ.get(name)]
        if wanted and (missing or bot is None):
            lacking = " and ".join(missing) or "a function bot(runner_args)"
            raise ValueError(f"-t bandwidth needs {lacking}")
        if missing or bot is None:
            return
        public_url = f"wss://{_host(args.proxy)}/{_NAME}" if args.proxy else ""
        run.app.mount(f"/{_NAME}", create_routes(bot, args, public_url=public_url, params=params))
        print(f"   → Bandwidth webhook: http://{args.host}:{args.port}/{_NAME}/webhook")

    _know_bandwidth(parser, begin)
    run.main(parser)


def create_routes(
    bot: RunnerBot,
    cli_args: argparse.Namespace | None = None,
    *,
    public_url: str = "",
    params: InputParams | None = None,
) -> FastAPI:
    """Make the routes, with user, password and API client of the environment.

    Args:
        bot: What talks to a caller: gets :class:`BandwidthRunnerArguments`.
        cli_args: What the runner was started with.
        public_url: As :func:`pipecat_bandwidth.server.create_app` takes it.
        params: The serializers'.

    Raises:
        ValueError: If user or password are missing.
    """
    username, password = (os.environ.get(name, "") for name in _WEBHOOK)
    client_id, client_secret = (os.environ.get(name, "") for name in _CLIENT)
    voice_api = VoiceAPI(client_id, client_secret) if client_id and client_secret else None
    if voice_api is None:
        params = (params or InputParams()).model_copy(update={"auto_hang_up": False})

    async def converse(websocket: WebSocket, serializer: BandwidthFrameSerializer) -> None:
        call = CallData(stream_id=serializer.stream_id, call_id=serializer.call_id)
        # Pipecat's own parser has nothing to read any more, should the bot ask it.
        vars(websocket)["_pipecat_parsed_telephony"] = _NAME, call
        arguments = BandwidthRunnerArguments(websocket, _NAME, serializer=serializer)
        arguments.call_data = call
        arguments.cli_args = cli_args
        await bot(arguments)

    return create_app(
        converse, username=username, password=password, voice_api=voice_api, params=params,
        public_url=public_url,
    )  # fmt: skip


def _know_bandwidth(
    parser: argparse.ArgumentParser, begin: Callable[[argparse.Namespace], None]
) -> None:
    """Let a parser take the transport's name, and tell what it has parsed before Pipecat looks."""
    add, parse = parser.add_argument, parser.parse_args

    def add_argument(*flags: str, **options: Any) -> argparse.Action:
        if "--transport" in flags:
            options["choices"] = [*options.get("choices", ()), _NAME]
        return add(*flags, **options)

    def parse_args(*given: Any, **options: Any) -> argparse.Namespace:
        args: argparse.Namespace = parse(*given, **options)
        begin(args)
        return args

    vars(parser).update(add_argument=add_argument, parse_args=parse_args)


def _host(proxy: str) -> str:
    """Only the host, as Pipecat's runner cleans it later."""
    return proxy.partition("://")[2].rstrip("/") or proxy.rstrip("/")
