"""The bot: a real Pipecat pipeline for each scenario, its speech and language services canned.

It runs on any Pipecat, in a process of its own, with nothing of the workbench but its tap::

    python -m tests.ground.bot FOLDER PIPECAT VOICE_API SCENARIO...     prints its port

    WebSocket /stream/{scenario}    one call, captured in FOLDER
    GET /said/{scenario}            what the bot knows of that call, when it is over
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger
from pipecat.audio.mixers.soundfile_mixer import SoundfileMixer
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    CancelFrame,
    CancelWorkerFrame,
    EndFrame,
    EndWorkerFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputDTMFFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.turns.user_mute import MuteUntilFirstBotCompleteUserMuteStrategy
from pipecat.turns.user_start import VADUserTurnStartStrategy
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_processor import UserTurnProcessor
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.runner import WorkerRunner

from pipecat_bandwidth import BandwidthFrameSerializer, VoiceAPI
from tests.ground.scenarios import Answer, Scenario, half_of_run, scenario_of
from tests.ground.voices import FEWEST, SYNTHESISED, Half, Phrase, catalogue, levelled, speakers
from workbench.audio import Audio
from workbench.tap import Tap

PROMPT = Answer(1.5, think=0.2)


class Voice:
    """One speaker's phrases, in an order that the run's name decides."""

    def __init__(self, run: str, half: Half, rate: int) -> None:
        rng = np.random.default_rng(crc32(f"bot {run}".encode()))
        voices = speakers(half, "voice", FEWEST[half])
        self.name = sorted(voices)[rng.integers(len(voices))]
        drawn = [voices[self.name][i] for i in rng.permutation(len(voices[self.name]))]
        self._phrases = [(phrase, phrase.audio(rate)) for phrase in drawn[:40]]
        self.said: list[dict[str, Any]] = []

    def text(self, secs: float) -> list[tuple[Phrase, Audio]]:
        """The next phrases, of so many seconds together or a little more."""
        chosen: list[tuple[Phrase, Audio]] = []
        while sum(audio.duration for _, audio in chosen) < secs:
            chosen.append(self._phrases.pop(0))
        return chosen

    def note(self, phrase: Phrase, audio: Audio) -> None:
        """Keep when which phrase was made."""
        made = {"made": time.monotonic_ns(), "phrase": phrase.name, "secs": audio.duration}
        self.said.append(made)


class Synthesis(TTSService):
    """Pipecat's speech service, as its services over HTTP set it up; the phrases are recorded."""

    def __init__(self, voice: Voice, speed: float, **kwargs: Any) -> None:
        given = TTSSettings(model=None, voice=None, language=None)
        super().__init__(push_start_frame=True, push_stop_frames=True, settings=given, **kwargs)
        self._voice = voice
        self._speed = speed
        self.waiting: dict[str, tuple[Phrase, Audio]] = {}

    async def run_tts(self, text: str, context_id: str) -> AsyncIterator[Frame]:
        """Make one phrase: its first sound after 0.2 s, then faster than real time."""
        phrase, audio = self.waiting.pop(text.strip())
        self._voice.note(phrase, audio)
        pcm, size = audio.pcm(), self.chunk_size
        await asyncio.sleep(0.2)
        for first in range(0, len(pcm), size):
            chunk = pcm[first : first + size]
            yield TTSAudioRawFrame(chunk, audio.sample_rate, 1, context_id=context_id)
            await asyncio.sleep(len(chunk) / 2 / audio.sample_rate / self._speed)


class Mind(FrameProcessor):
    """Where the language model stands: says what the scenario has, when the caller has finished."""

    def __init__(self, scenario: Scenario, voice: Voice, synthesis: Synthesis | None) -> None:
        super().__init__()
        self._scenario = scenario
        self._voice = voice
        self._synthesis = synthesis
        self._answers = list(scenario.answers)
        self._task: asyncio.Task[None] | None = None
        self._ends = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Listen to the turns."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame) and self._scenario.greeting:
            self._begin(self._answer(self._scenario.greeting))
        elif isinstance(
            frame, (InterruptionFrame, UserStartedSpeakingFrame, EndFrame, CancelFrame)
        ):
            await self._forget()
        elif isinstance(frame, UserStoppedSpeakingFrame) and self._answers:
            self._begin(self._answer(self._answers.pop(0)))
        elif isinstance(frame, BotStoppedSpeakingFrame) and self._ends:
            self._ends = False
            await self.push_frame(CancelWorkerFrame(), FrameDirection.UPSTREAM)

    async def ask(self) -> None:
        """Say something, the caller has been quiet for long."""
        await self._answer(PROMPT)

    def _begin(self, answer: Any) -> None:
        self._task = self.create_task(answer)

    async def _forget(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            await self.cancel_task(task)

    async def cleanup(self) -> None:
        """Stop thinking."""
        await super().cleanup()
        await self._forget()

    async def _answer(self, answer: Answer) -> None:
        await asyncio.sleep(answer.think)
        if answer.filler:
            await self._say(1.0)
        if answer.function:
            await asyncio.sleep(answer.function)
        await self._say(answer.secs)
        if answer.keys:
            await self.push_frame(OutputDTMFFrame.from_string(answer.keys))
        if self._answers or not self._scenario.answers:
            return
        if self._scenario.bot_ends == "end":
            await self.push_frame(EndWorkerFrame(), FrameDirection.UPSTREAM)
        self._ends = self._scenario.bot_ends == "cancel"

    async def _say(self, secs: float) -> None:
        for phrase, audio in self._voice.text(secs):
            if self._synthesis is not None:
                self._synthesis.waiting[phrase.name] = phrase, audio
                await self.push_frame(TTSSpeakFrame(phrase.name))
                continue
            self._voice.note(phrase, audio)
            await self.push_frame(TTSStartedFrame())
            pcm, size = audio.pcm(), audio.sample_rate // 5 * 2
            for first in range(0, len(pcm), size):
                chunk = pcm[first : first + size]
                await self.push_frame(TTSAudioRawFrame(chunk, audio.sample_rate, 1))
            await self.push_frame(TTSStoppedFrame())


class Mute(FrameProcessor):
    """Drops what the caller says while one of Pipecat's strategies says so."""

    def __init__(self) -> None:
        super().__init__()
        self._strategy = MuteUntilFirstBotCompleteUserMuteStrategy()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Ask the strategy."""
        await super().process_frame(frame, direction)
        muted = await self._strategy.process_frame(frame)
        if not (muted and isinstance(frame, InputAudioRawFrame)):
            await self.push_frame(frame, direction)


class Lag:
    """How late the event loop is: ``[when, milliseconds]`` of each time that it is 20 ms or more."""

    def __init__(self) -> None:
        self.moments: list[list[float]] = []
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            if (late := time.monotonic() - due) > 0.02:
                self.moments.append([time.monotonic_ns(), round(1000 * late, 1)])

    def stop(self) -> list[list[float]]:
        self._task.cancel()
        return self.moments


class Ready(NamedTuple):
    """What a call needs and what would hold up the event loop if it were made during calls."""

    voice: Voice
    mixer: SoundfileMixer | None
    analyzer: SileroVADAnalyzer


def ready(scenario: Scenario, run: str) -> Ready:
    half = half_of_run(run)
    return Ready(Voice(run, half, scenario.out_rate), _mixer(scenario, half), SileroVADAnalyzer())


def create_app(folder: Path, pipecat: str, voice_api_url: str, names: Iterable[str]) -> FastAPI:
    voice_api = VoiceAPI("id", "secret", base_url=voice_api_url, token_url=f"{voice_api_url}/token")
    prepared = {name: ready(scenario_of(name), f"{pipecat}-{name}") for name in names}

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await voice_api.hang_up("99", "first")  # which loads certificates
        yield
        await voice_api.aclose()

    app = FastAPI(lifespan=lifespan)
    said: dict[str, dict[str, Any]] = {}
    over = {name: asyncio.Event() for name in prepared}

    @app.get("/said/{name}")
    async def told(name: str) -> dict[str, Any]:
        async with asyncio.timeout(20):
            await over[name].wait()
        return said[name]

    @app.websocket("/stream/{name}")
    async def stream(websocket: WebSocket, name: str) -> None:
        scenario, run = scenario_of(name), f"{pipecat}-{name}"
        voice, mixer, analyzer = prepared[name]
        await websocket.accept()
        first = await websocket.receive_text() if scenario.start != "transport" else ""
        params = BandwidthFrameSerializer.InputParams(
            auto_hang_up=scenario.hang_up_api, **scenario.serializer
        )
        serializer = BandwidthFrameSerializer(
            f"s-{name}", f"c-{name}", "99", params=params, voice_api=voice_api
        )
        tap = Tap(serializer, folder / f"{run}.mcap")
        if scenario.start == "handed":
            await tap.deserialize(first)
        transport = FastAPIWebsocketTransport(
            websocket,
            FastAPIWebsocketParams(
                audio_in_enabled=True,
                audio_out_enabled=True,
                audio_out_mixer=mixer,
                serializer=tap,
                **scenario.transport,
            ),
        )
        lag = Lag()
        try:
            await _converse(scenario, transport, voice, analyzer)
        finally:
            said[name] = {"bot_voice": voice.name, "bot": voice.said, "lag": lag.stop()}
            await asyncio.to_thread(tap.close)
            over[name].set()

    return app


async def _converse(
    scenario: Scenario,
    transport: FastAPIWebsocketTransport,
    voice: Voice,
    analyzer: SileroVADAnalyzer,
) -> None:
    synthesis = Synthesis(voice, scenario.speed) if scenario.speed else None
    mind = Mind(scenario, voice, synthesis)
    turns = UserTurnProcessor(
        user_turn_strategies=UserTurnStrategies(
            start=[VADUserTurnStartStrategy()],
            stop=[SpeechTimeoutUserTurnStopStrategy(wait_for_transcript=False)],
        ),
        user_idle_timeout=scenario.idle,
    )

    async def on_user_turn_idle(_processor: Any) -> None:
        await mind.ask()

    turns.add_event_handler("on_user_turn_idle", on_user_turn_idle)
    stages: list[FrameProcessor | None] = [
        transport.input(),
        Mute() if scenario.mute else None,
        VADProcessor(vad_analyzer=analyzer),
        turns,
        mind,
        synthesis,
        transport.output(),
    ]
    worker = PipelineWorker(
        Pipeline([stage for stage in stages if stage is not None]),
        params=PipelineParams(
            audio_in_sample_rate=scenario.in_rate, audio_out_sample_rate=scenario.out_rate
        ),
    )

    async def on_client_disconnected(_transport: Any, _websocket: Any) -> None:
        await worker.cancel()

    transport.add_event_handler("on_client_disconnected", on_client_disconnected)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


def _mixer(scenario: Scenario, half: Half) -> SoundfileMixer | None:
    """Pipecat's background sound: 20 s of hold music, far below the voice."""
    if not scenario.mixer:
        return None
    music = catalogue(half, "music")[0]
    path = SYNTHESISED / "background" / f"{half}-{scenario.out_rate}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    loud = Audio.read(music.path).span(5, 25).resampled(scenario.out_rate)
    levelled(loud, -26.0).write(path)
    return SoundfileMixer(sound_files={"music": str(path)}, default_sound="music", volume=0.15)


def _serve(make: Callable[[], FastAPI]) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(make(), log_config=None, access_log=False, ws_ping_interval=None)
    uvicorn.Server(config).run(sockets=[listener])


def main(arguments: Iterator[str]) -> None:
    logger.remove()
    folder, pipecat, voice_api_url, *names = arguments
    logger.add(Path(folder) / f"{pipecat}.log", level="WARNING", backtrace=False, diagnose=False)
    _serve(lambda: create_app(Path(folder), pipecat, voice_api_url, names))


if __name__ == "__main__":
    main(iter(sys.argv[1:]))
