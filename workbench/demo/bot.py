"""The demo's bot: a real Pipecat pipeline on a real WebSocket that says its half of a script.

::

    POST /webhooks/voice --BXML with a one-time token--> WebSocket /stream/{token}
    transport.input -> VADProcessor -> UserTurnProcessor -> ScriptedSpeech -> transport.output

Only the words are canned. Voice activity, turn taking, interruptions, pacing and hang-up are
Pipecat's own, set up as in any telephone bot; whom to trust is decided as Bandwidth's documentation
asks: call and account come from the authenticated webhook alone, the stream is admitted by a token
    that works once and expires soon, and by HTTP Basic credentials, both checked before the
    upgrade.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal
from xml.etree import ElementTree

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.turns.user_start import VADUserTurnStartStrategy
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_processor import UserTurnProcessor
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.runner import WorkerRunner
from pydantic import BaseModel, Field
from starlette.websockets import WebSocketDisconnect

from pipecat_bandwidth import BandwidthFrameSerializer, ProtocolError
from pipecat_bandwidth.messages import Start, parse
from pipecat_bandwidth.voice_api import VoiceAPI
from workbench.demo.scripted_speech import ScriptedSpeech
from workbench.simulator.script import Script

__all__ = ["VAD", "create_app", "serve"]

#: Pipecat's defaults but for ``min_volume`` (0.6). The echo of a speakerphone, 21 dB below the bot,
#: is clear speech to Silero and interrupts the bot up to 0.70; from 0.74 on it does not. The
#: caller, some 15 dB louder, is heard up to 0.82 and more.
VAD: Final = VADParams(confidence=0.7, start_secs=0.2, stop_secs=0.2, min_volume=0.78)

#: A token admits one stream, and only within this time of the webhook.
_TOKEN_SECS: Final = 60.0
#: "Start is the first message": Bandwidth's own bridge waits this long for it.
_START_SECS: Final = 5.0


class _Initiate(BaseModel):
    """What is read of the ``initiate`` webhook."""

    event_type: Literal["initiate"] = Field(alias="eventType")
    call_id: str = Field(alias="callId", pattern="^[A-Za-z0-9_-]{1,256}$")
    account_id: str = Field(alias="accountId", pattern="^[A-Za-z0-9_-]{1,256}$")


@dataclass(frozen=True)
class _Admission:
    """A call that may open one stream."""

    call_id: str
    account_id: str
    until: float


def create_app(
    script: Script,
    *,
    voice_api: VoiceAPI,
    username: str,
    password: str,
    params: BandwidthFrameSerializer.InputParams | None = None,
    wrap: Callable[[FrameSerializer], FrameSerializer] | None = None,
    audio_in_sample_rate: int = 16000,
    audio_out_sample_rate: int = 24000,
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """Make the bot's server.

    Args:
        script: What the bot says.
        voice_api: How it hangs up. It is not closed.
        username: HTTP Basic user of the webhooks.
        password: Its password.
        params: The serializer's.
        wrap: Wrapped round each call's serializer, for example ``lambda s: Tap(s, "captures")``.
        audio_in_sample_rate: The pipeline's rate for the caller's audio, in hertz.
        audio_out_sample_rate: The pipeline's rate for the bot's audio, in hertz.
        clock: Seconds; tells when a token has expired.

    Returns:
        The application: ``POST /webhooks/voice``, ``POST /webhooks/status``,
        WebSocket ``/stream/{token}``.

    Raises:
        ValueError: If user or password are empty.
    """
    if not username or not password:
        raise ValueError("the webhooks need a user and a password")
    # A speech service makes its audio at the pipeline's rate.
    sounds = {t.id: t.audio().resampled(audio_out_sample_rate) for t in script.side("bot")}
    app = FastAPI(openapi_url=None)
    admissions: dict[str, _Admission] = {}
    stream_user, stream_password = "bandwidth", secrets.token_urlsafe(24)

    def authenticate(given: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> None:
        if not _same(f"{given.username}:{given.password}", f"{username}:{password}"):
            raise HTTPException(401, headers={"WWW-Authenticate": "Basic"})

    @app.post("/webhooks/voice", dependencies=[Depends(authenticate)])
    async def initiate(webhook: _Initiate, request: Request) -> Response:
        now = clock()
        for old in [token for token, one in admissions.items() if one.until < now]:
            del admissions[old]
        token = secrets.token_urlsafe(24)
        admissions[token] = _Admission(webhook.call_id, webhook.account_id, now + _TOKEN_SECS)
        scheme = "wss" if request.url.scheme == "https" else "ws"
        destination = f"{scheme}://{request.url.netloc}/stream/{token}"
        document = _bxml(destination, stream_user, stream_password)
        return Response(document, media_type="application/xml")

    @app.post("/webhooks/status", dependencies=[Depends(authenticate)], status_code=204)
    async def status() -> None:
        """Asynchronous webhooks want no answer."""

    @app.websocket("/stream/{token}")
    async def stream(websocket: WebSocket, token: str) -> None:
        wanted = HTTPBasicCredentials(username=stream_user, password=stream_password)
        if not await _has_credentials(websocket, wanted):
            await websocket.send_denial_response(Response(status_code=401))
            return
        admission = admissions.pop(token, None)
        if admission is None or admission.until < clock():
            await websocket.send_denial_response(Response(status_code=403))
            return
        await websocket.accept()
        try:
            async with asyncio.timeout(_START_SECS):
                first = await websocket.receive_text()
            message = parse(first)
        except WebSocketDisconnect:
            return
        except (TimeoutError, KeyError, ProtocolError):  # KeyError: a binary message
            message = None
        if not isinstance(message, Start) or not message.stream_id:
            await websocket.close(1008)
            return
        serializer: FrameSerializer = BandwidthFrameSerializer(
            message.stream_id,
            admission.call_id,
            admission.account_id,
            params=params,
            voice_api=voice_api,
        )
        if wrap is not None:
            serializer = wrap(serializer)
        # The transport will not see this message any more; the serializer should.
        await serializer.deserialize(first)
        rates = PipelineParams(
            audio_in_sample_rate=audio_in_sample_rate, audio_out_sample_rate=audio_out_sample_rate
        )
        await _converse(websocket, serializer, ScriptedSpeech(script, sounds), rates)

    return app


async def _converse(
    websocket: WebSocket, serializer: FrameSerializer, speech: ScriptedSpeech, rates: PipelineParams
) -> None:
    """Run one call's pipeline to its end."""
    # Loading the model would hold up the first 0.1 s of every call on this event loop.
    analyzer = await asyncio.to_thread(SileroVADAnalyzer, params=VAD)
    transport = FastAPIWebsocketTransport(
        websocket,
        FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            serializer=serializer,
        ),
    )
    turns = UserTurnStrategies(
        start=[VADUserTurnStartStrategy()],
        stop=[SpeechTimeoutUserTurnStopStrategy(wait_for_transcript=False)],
    )
    worker = PipelineWorker(
        Pipeline(
            [
                transport.input(),
                VADProcessor(vad_analyzer=analyzer),
                UserTurnProcessor(user_turn_strategies=turns),
                speech,
                transport.output(),
            ]
        ),
        params=rates,
        enable_rtvi=False,
    )

    async def on_client_disconnected(_transport: Any, _websocket: Any) -> None:
        await worker.cancel()

    transport.add_event_handler("on_client_disconnected", on_client_disconnected)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


async def _has_credentials(websocket: WebSocket, wanted: HTTPBasicCredentials) -> bool:
    try:
        # It only reads the headers, which a WebSocket has too.
        given = await HTTPBasic(auto_error=False)(websocket)
    except HTTPException:
        return False
    pair = f"{given.username}:{given.password}" if given else ""
    return _same(pair, f"{wanted.username}:{wanted.password}")


def _same(given: str, wanted: str) -> bool:
    """Compare in a time that does not give away where they differ."""
    return secrets.compare_digest(given.encode(), wanted.encode())


def _bxml(destination: str, user: str, password: str) -> bytes:
    """The stream, and a StopStream that holds the call until the bot closes it."""
    root = ElementTree.Element("Response")
    stream = {"name": "bot", "mode": "bidirectional", "tracks": "inbound"}
    stream |= {"destination": destination}
    stream |= {"destinationUsername": user, "destinationPassword": password}
    ElementTree.SubElement(root, "StartStream", stream)
    ElementTree.SubElement(root, "StopStream", {"name": "bot", "wait": "true"})
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave Ctrl-C to the program that this server is a part of."""
        yield


@asynccontextmanager
async def serve(app: FastAPI) -> AsyncIterator[str]:
    """Serve an application on a free port of the loopback interface.

    Args:
        app: From :func:`create_app`.

    Yields:
        Its root, ``http://127.0.0.1:port``.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",  # Its log of requests would show the tokens.
        access_log=False,
        lifespan="off",
        ws="websockets-sansio",
        ws_ping_interval=None,
        timeout_graceful_shutdown=5,
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]), name="bot-server")
    try:
        # The socket listens already: a client that comes before the server is up waits in the
        # backlog.
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        listener.close()
