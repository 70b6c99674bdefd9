"""The bot's half of a script, as a Pipecat processor: canned words, live timing.

It stands where language model and speech synthesis stand in a talking bot: behind the processors
that hear the caller, before the transport that plays.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    EndWorkerFrame,
    Frame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from workbench.audio import Audio
from workbench.simulator.script import LoopBlock, Script, SpeechStall, Turn

__all__ = ["ScriptedSpeech"]

#: Speech is handed to the transport in frames of this length, as from a TTS service.
_TTS_FRAME_SECS: Final = 0.1

#: The caller has finished when the VAD has seen this share of the turn's length, first word to
#: last; the speech recognition and turn model of a talking bot would know it from the words.
_HEARD_SHARE: Final = 0.75
#: If less was said than the script has, the answer waits this much longer.
_HESITATION_SECS: Final = 2.0


class ScriptedSpeech(FrameProcessor):
    """Says the bot's turns of a script, each when its rule says so, then ends the call.

    It hears the caller through the VAD's frames alone, and knows when its own speech has been
    played only from its length: Bandwidth says nothing about its queue. Where the script lets it
    stall, its speech comes late or its event loop stands still.

    Args:
        script: What to say.
        sounds: The audio of the bot's turns, by id: read beforehand, not on a live event loop.
    """

    def __init__(self, script: Script, sounds: Mapping[str, Audio]) -> None:
        """See the class."""
        super().__init__()
        self._script = script
        self._sounds = sounds
        self._task: asyncio.Task[None] | None = None
        self._quiet_at = 0.0
        self._interrupted = asyncio.Event()
        self._caller_speaks = False
        self._heard_from: float | None = None
        self._heard_until: float | None = None
        self._caller_changed = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Start with the pipeline, listen, fall silent when interrupted."""
        await super().process_frame(frame, direction)
        now = time.monotonic()
        if isinstance(frame, VADUserStartedSpeakingFrame):
            self._caller_speaks = True
            if self._heard_from is None:
                self._heard_from = now - frame.start_secs
            self._caller_changed.set()
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            self._caller_speaks = False
            self._heard_until = now - frame.stop_secs
            self._caller_changed.set()
        elif isinstance(frame, InterruptionFrame):
            self._interrupted.set()
            self._quiet_at = min(self._quiet_at, now)
        elif isinstance(frame, (EndFrame, CancelFrame)):
            await self._stop_talking()
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            self._task = self.create_task(self._talk())

    async def cleanup(self) -> None:
        """Stop talking."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        await self._stop_talking()

    async def _stop_talking(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            await self.cancel_task(task)

    async def _talk(self) -> None:
        turns = self._script.side("bot")
        self._quiet_at = time.monotonic()
        for turn in turns:
            await self._wait_for_cue(turn)
            await self._say(turn, self._sounds[turn.id])
        # The goodbye has to be heard, and the caller's after it.
        await _sleep_until(self._quiet_at + self._script.duration - turns[-1].end)
        await self.push_frame(EndWorkerFrame(reason="the script is over"))

    async def _say(self, turn: Turn, sound: Audio) -> None:
        self._interrupted.clear()
        self._heard_from = time.monotonic() if self._caller_speaks else None
        self._heard_until = None
        began, late = time.monotonic(), 0.0
        due: dict[int, float] = {}  # by number, frames that the speech service is late with
        for at, stall in self._script.stalls(turn.id):
            if isinstance(stall, LoopBlock):
                seconds = stall.stall_ms / 1000
                asyncio.get_running_loop().call_later(at + late, time.sleep, seconds)
            late += stall.stall_ms / 1000
            if isinstance(stall, SpeechStall):
                due[round(at / _TTS_FRAME_SECS)] = began + at + late
        self._quiet_at = began + sound.duration + late
        frame_type = TTSAudioRawFrame if turn.text else OutputAudioRawFrame
        pcm, step = sound.pcm(), round(_TTS_FRAME_SECS * sound.sample_rate) * 2
        if turn.text:
            await self.push_frame(TTSStartedFrame())
        for number, first in enumerate(range(0, len(pcm), step)):
            if number in due:
                await self._idle_until(due[number])
            if self._interrupted.is_set():
                break
            await self.push_frame(frame_type(pcm[first : first + step], sound.sample_rate, 1))
        if turn.text:
            await self.push_frame(TTSStoppedFrame())

    async def _idle_until(self, moment: float) -> None:
        """Wait for a moment, or for an interruption."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, moment - time.monotonic())):
                await self._interrupted.wait()

    # -- when to speak -------------------------------------------------------------------------

    async def _wait_for_cue(self, turn: Turn) -> None:
        cause = self._script.turn(turn.rule.after) if turn.rule.after else None
        if cause is None or cause.side == "bot":
            await _sleep_until(self._quiet_at + turn.rule.gap)
            return
        while (answer_at := self._answer_time(cause, turn.rule.gap)) > time.monotonic():
            self._caller_changed.clear()
            try:
                async with asyncio.timeout(min(answer_at - time.monotonic(), 3600.0)):
                    await self._caller_changed.wait()
            except TimeoutError:
                pass

    def _answer_time(self, turn: Turn, gap: float) -> float:
        """When to answer that turn of the caller, by what has been heard of it so far."""
        if self._caller_speaks or self._heard_from is None or self._heard_until is None:
            return float("inf")
        first, last = turn.speech[0][0], turn.speech[-1][1]
        missing = self._heard_until - self._heard_from < _HEARD_SHARE * (last - first)
        # The gap counts from the turn's end, a little after its last word.
        end = self._heard_until + turn.end - last
        return end + gap + (_HESITATION_SECS if missing else 0.0)


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))
