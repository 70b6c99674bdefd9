"""The demo's bot: a real Pipecat pipeline on a real WebSocket that says its half of a script.

::

    POST /webhook --BXML with a one-time token--> WebSocket /stream
    transport.input -> VADProcessor -> UserTurnProcessor -> ScriptedSpeech -> transport.output

Only the words are canned. Voice activity, turn taking, interruptions, pacing and hang-up are
Pipecat's own, set up as in any telephone bot; the server is :mod:`pipecat_bandwidth.server`.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from fastapi import FastAPI, WebSocket
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

from pipecat_bandwidth import BandwidthFrameSerializer, server
from pipecat_bandwidth.voice_api import VoiceAPI
from workbench.demo.scripted_speech import ScriptedSpeech
from workbench.observer import PipelineEvents
from workbench.simulator.script import Script
from workbench.tap import Tap

__all__ = ["VAD", "create_app", "serve"]

#: Pipecat's defaults but for ``min_volume`` (0.6). The echo of a speakerphone, 21 dB below the bot,
#: is clear speech to Silero and interrupts the bot up to 0.70; from 0.74 on it does not. The
#: caller, some 15 dB louder, is heard up to 0.82 and more.
VAD: Final = VADParams(confidence=0.7, start_secs=0.2, stop_secs=0.2, min_volume=0.78)


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
        The application, of :func:`pipecat_bandwidth.server.create_app`.

    Raises:
        ValueError: If user or password are empty.
    """
    # A speech service makes its audio at the pipeline's rate.
    sounds = {t.id: t.audio().resampled(audio_out_sample_rate) for t in script.side("bot")}

    async def bot(websocket: WebSocket, serializer: BandwidthFrameSerializer) -> None:
        wrapped = serializer if wrap is None else wrap(serializer)
        rates = PipelineParams(
            audio_in_sample_rate=audio_in_sample_rate, audio_out_sample_rate=audio_out_sample_rate
        )
        await _converse(websocket, wrapped, ScriptedSpeech(script, sounds), rates)

    return server.create_app(
        bot,
        username=username,
        password=password,
        voice_api=voice_api,
        params=params,
        tokens=server.MemoryTokens(clock=clock),
    )


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
        observers=[PipelineEvents(serializer)] if isinstance(serializer, Tap) else [],
        enable_rtvi=False,
    )

    async def on_client_disconnected(_transport: Any, _websocket: Any) -> None:
        await worker.cancel()

    transport.add_event_handler("on_client_disconnected", on_client_disconnected)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


class _Server(server.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave Ctrl-C to the program that this server is a part of."""
        yield


@asynccontextmanager
async def serve(app: FastAPI, port: int = 0) -> AsyncIterator[str]:
    """Serve an application on the loopback interface.

    Args:
        app: From :func:`create_app`, or any other.
        port: Where; 0 for a port that is free.

    Yields:
        Its root, ``http://127.0.0.1:port``.
    """
    listener = socket.create_server(("127.0.0.1", port))
    config = server.configured(app, log_config=None, ws_ping_interval=None)
    serving = _Server(config)
    running = asyncio.create_task(serving.serve(sockets=[listener]), name="bot-server")
    try:
        # The socket listens already: a client that comes before the server is up waits in the
        # backlog.
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        serving.should_exit = True
        await running
        listener.close()
