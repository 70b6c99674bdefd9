"""The application: guard, webhook and stream, and what happens when it ends.

References:
    Bandwidth, Programmable Voice: the ``initiate``, ``answer``, ``redirect`` and other webhooks; BXML
    ``<StartStream>`` and ``<StopStream>``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Final
from xml.etree import ElementTree

import msgspec
from fastapi import FastAPI, Request, Response, WebSocket

from pipecat_bandwidth.serializer import BandwidthFrameSerializer
from pipecat_bandwidth.server.guard import Guard, credentials
from pipecat_bandwidth.server.switchboard import Bot, HandOver, Limits, Switchboard
from pipecat_bandwidth.server.tokens import MemoryTokens, Tokens
from pipecat_bandwidth.voice_api import VoiceAPI, identifier

__all__ = ["bxml", "create_app"]

#: The webhooks that want a stream: an inbound call, an outbound one that was answered, and a call
#: that comes from elsewhere.
_BEGINNINGS: Final = ("initiate", "answer", "redirect")


class _Event(msgspec.Struct):
    """What is read of a webhook."""

    eventType: str
    callId: str = ""
    accountId: str | int = ""


def bxml(destination: str, username: str, password: str) -> bytes:
    """Answer a call with a stream, and hold the call until that stream is closed.

    A bot that hangs up, or crashes, ends the call by that: no verb is left.

    Args:
        destination: The stream's ``ws://`` or ``wss://`` address.
        username: HTTP Basic user of the stream.
        password: Its password, a token that works once.

    Returns:
        The XML document, UTF-8.
    """
    root = ElementTree.Element("Response")
    stream = {"name": "bot", "mode": "bidirectional", "tracks": "inbound"}
    stream |= {"destination": destination}
    stream |= {"destinationUsername": username, "destinationPassword": password}
    ElementTree.SubElement(root, "StartStream", stream)
    ElementTree.SubElement(root, "StopStream", {"name": "bot", "wait": "true"})
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def create_app(
    bot: Bot,
    *,
    username: str,
    password: str,
    voice_api: VoiceAPI | None = None,
    params: BandwidthFrameSerializer.InputParams | None = None,
    public_url: str = "",
    webhook_path: str = "/webhook",
    stream_path: str = "/stream",
    open_paths: Collection[str] = (),
    tokens: Tokens | None = None,
    limits: Limits | None = None,
    bxml: Callable[[str, str, str], str | bytes] = bxml,
    hand_over: HandOver | None = None,
    on_shutdown: Callable[[], object] | None = None,
) -> FastAPI:
    """Make a bot's server.

    Routes that are added to it need the same password and have the same limits.

    Args:
        bot: Talks to one call until it is over. It gets the WebSocket, accepted, with ``start`` as
            its first message, and a serializer whose call and account come from the webhook.
        username: HTTP Basic user that the Bandwidth application sends.
        password: Its password.
        voice_api: How calls are hung up; needed unless ``params`` say ``auto_hang_up=False``. It is
            not closed.
        params: The serializers'.
        public_url: The ``wss://`` address under which Bandwidth reaches this server; by default
            the one that the webhook was posted to.
        webhook_path: Where Bandwidth posts.
        stream_path: Where its media stream goes.
        open_paths: Paths that need no password, such as a health check's.
        tokens: Where calls are kept between webhook and stream; by default in this process.
        limits: How much, how many, how long.
        bxml: Makes the answer of destination, user and password of the stream.
        hand_over: Asked to take each live call at shutdown, such as by
            :meth:`pipecat_bandwidth.VoiceAPI.redirect` to the webhook of another server like this
            one; without it, calls are hung up.
        on_shutdown: Called in a thread after the last call, such as
            ``workbench.tap.close_all``, which ends the captures.

    Returns:
        The application; ``app.state.switchboard`` is its :class:`Switchboard`.

    Raises:
        ValueError: If user or password are empty, ``public_url`` is no WebSocket address, or calls
            could not be hung up.
    """
    wanted = credentials(username, password)
    limits = limits or Limits()
    if public_url and not public_url.startswith(("ws://", "wss://")):
        raise ValueError(f"{public_url=} must begin with ws:// or wss://")
    switchboard = Switchboard(
        bot,
        tokens=MemoryTokens() if tokens is None else tokens,
        voice_api=voice_api,
        params=params,
        limits=limits,
        hand_over=hand_over,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await switchboard.close()
        if on_shutdown is not None:
            await asyncio.to_thread(on_shutdown)

    app = FastAPI(openapi_url=None, lifespan=lifespan)
    app.state.switchboard = switchboard
    app.add_middleware(
        Guard,
        wanted=wanted,
        body_bytes=limits.body_bytes,
        body_secs=limits.body_secs,
        open_paths=open_paths,
    )

    @app.post(webhook_path)
    async def webhook(request: Request) -> Response:
        try:
            event = msgspec.json.decode(await request.body(), type=_Event)
            if event.eventType not in _BEGINNINGS:
                return Response(status_code=204)
            account_id = identifier("accountId", str(event.accountId))
            call_id = identifier("callId", event.callId)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            return Response(str(error)[:200], 400, media_type="text/plain")
        token = await switchboard.expect(account_id, call_id)
        if token is None:
            return Response(status_code=503)
        here = request.base_url.replace(path=request.scope.get("root_path", ""))  # mounted, maybe
        root = public_url or str(here).replace("http", "ws", 1)
        return Response(
            bxml(root.rstrip("/") + stream_path, "bot", token), media_type="application/xml"
        )

    @app.websocket(stream_path)
    async def stream(websocket: WebSocket) -> None:
        await switchboard.connect(websocket)

    return app
