"""The official package's example bot, its cloud services replaced by local ones.

``python -m tests.simulator.example BOT.py official|ours`` runs it as its author would, with the official
serializer or ours. In place of Deepgram, OpenAI and Cartesia stand services of the same Pipecat kinds that
know one sentence; the model ends the call after its second answer. The official serializer's addresses
of the Voice API are constants of its class: they are set to those that ours reads from the environment.
"""

from __future__ import annotations

import os
import runpy
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

from pipecat.frames.frames import EndTaskFrame, Frame, LLMContextFrame
from pipecat.processors.frame_processor import FrameDirection

import pipecat_bandwidth
from tests.benchmarks.official import serializer_class
from tests.staged import Plan, Planted
from tests.staged.__main__ import Model, Recogniser, Synthesis, spoken

PLAN = Plan([Planted(stt=0.05, model=0.1, tokens=0.05, synthesis=0.05)])


class Deepgram(Recogniser):
    def __init__(self, **_: Any) -> None:
        super().__init__(PLAN)


class OpenAI(Model):
    Settings = SimpleNamespace

    def __init__(self, **_: Any) -> None:
        super().__init__(PLAN)
        self._answers = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMContextFrame):
            self._answers += 1
            if self._answers == 2:
                await self.push_frame(EndTaskFrame(), FrameDirection.UPSTREAM)


class Cartesia(Synthesis):
    Settings = SimpleNamespace

    def __init__(self, **_: Any) -> None:
        super().__init__(PLAN, spoken("call/bot/b01.flac", 0.6))


SERVICES = {
    "pipecat.services.deepgram.stt": {"DeepgramSTTService": Deepgram},
    "pipecat.services.openai.llm": {"OpenAILLMService": OpenAI},
    "pipecat.services.cartesia.tts": {"CartesiaTTSService": Cartesia},
}


def main() -> None:
    bot, whose = sys.argv[1:]
    for name, classes in SERVICES.items():
        sys.modules[name] = module = ModuleType(name)
        vars(module).update(classes)
    if whose == "official":
        official: Any = serializer_class()
        official.OAUTH_TOKEN_URL = os.environ["BANDWIDTH_TOKEN_URL"]
        official.VOICE_API_BASE_URL = os.environ["BANDWIDTH_VOICE_URL"]
        pipecat_bandwidth.BandwidthFrameSerializer = official
    runpy.run_path(bot, run_name="__main__")


if __name__ == "__main__":
    main()
