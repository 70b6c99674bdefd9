"""How much of the last word is lost when the bot hangs up: goodbyes through Pipecat's own transport.

Each is a real pipeline with Pipecat's defaults, on real sockets; the caller plays what arrives by the
times of arrival. The call is over when the hang-up reaches a Voice API that is fast, or when one that is
slow answers, two seconds later. Beside it the same without waiting (``hang_up_after_secs=0``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np
from pipecat.frames.frames import EndFrame, TTSAudioRawFrame
from rich.console import Console

from tests.http_server import Answer
from tests.pipecat_bandwidth.test_transport import live_call, tone

GOODBYES = 100
AT_ONCE = 5
CUSHIONS_MS = (0, 200, 1000)
SLOW_SECS = 2.0
LOST_MS = 5.0


async def lost_ms(number: int, hang_up_after_secs: float, slow_secs: float) -> float:
    """Sound that was still to be played when one call was over, in milliseconds."""
    cushion_ms = CUSHIONS_MS[number % len(CUSHIONS_MS)]
    said_secs = np.random.default_rng(number).uniform(0.3, 1.5)
    params = {"outbound_cushion_ms": cushion_ms, "hang_up_after_secs": hang_up_after_secs}
    async with asyncio.timeout(60), live_call(16000, 24000, transport={}, **params) as call:
        call.voice.on("/api", Answer(200, delay=slow_secs))
        listening = asyncio.create_task(call.listen())
        voice = TTSAudioRawFrame(tone(700, said_secs, 24000), 24000, 1)
        await call.worker.queue_frames([voice, EndFrame()])
        await call.voice.seen("/api")
        over = time.monotonic() + slow_secs
        left = call.sound_end - over
        await listening
    return max(0.0, 1000 * left)


async def goodbyes(hang_up_after_secs: float, slow_secs: float) -> list[float]:
    """Some at a time."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> float:
        async with free:
            return await lost_ms(number, hang_up_after_secs, slow_secs)

    return await asyncio.gather(*(one(number) for number in range(GOODBYES)))


def run(console: Console) -> Sequence[Sequence[str]]:
    """Say goodbye :data:`GOODBYES` times in each way."""
    rows = [[f"last word of {GOODBYES} goodbyes", "cut", "lost, worst"]]
    for name, slow_secs in (("fast Voice API", 0.0), ("slow Voice API", SLOW_SECS)):
        for how, secs in (("by default", 3.0), ("hang_up_after_secs=0", 0.0)):
            lost = asyncio.run(goodbyes(secs, slow_secs))
            cut = sum(ms > LOST_MS for ms in lost)
            rows.append([f"{name}, {how}", str(cut), f"{max(lost):.0f} ms"])
            console.print(f"{rows[-1][0]:<44}{cut:>4} cut, at most {max(lost):.0f} ms lost")
    return rows
