"""Bandwidth's side of one call, and the person behind it: what is sent, played and known.

Written from the protocol alone. It sends 20 ms of mu-law from a real clock, plays what it gets in
a queue in real time, and does what its steps say. Times are of the monotonic clock, in ns: the
capture's ``/capture/clock`` ties it to the times of its records.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.ground.scenarios import CutIn, Listen, Pause, Say, Scenario

RATE, SIZE, STEP = 8000, 160, 0.020
#: A message of the bot that is at least so loud can be heard; a background cannot.
AUDIBLE_DBOV = -42.0
#: Who has said everything waits so many seconds for the bot to end the call, then hangs up.
STAYS = 12.0
Words = Callable[[float], tuple[str, NDArray[np.float32]]]
Noise = Callable[[float], NDArray[np.float32]]


def ulaw_encode(samples: NDArray[np.float32]) -> bytes:
    """G.711 mu-law by its definition: sign, segment, step, all bits turned over."""
    value = np.clip(np.rint(samples * 32768), -32635, 32635).astype(int)
    biased = np.abs(value) + 132
    segment = np.floor(np.log2(biased)).astype(int) - 7
    step = biased >> (segment + 3) & 15
    code = ~(np.where(value < 0, 128, 0) | segment << 4 | step)
    return code.astype(np.uint8).tobytes()


def ulaw_decode(payload: bytes) -> NDArray[np.float32]:
    """The inverse: the middle of each step."""
    code = ~np.frombuffer(payload, np.uint8)
    magnitude = (((code & 15).astype(int) << 3) + 132 << ((code >> 4) & 7).astype(int)) - 132
    return (np.where(code & 128, -magnitude, magnitude) / 32768).astype(np.float32)


class Caller:
    """One call from the first message to the last.

    Args:
        scenario: What to do.
        words: Makes so many seconds of the caller's voice: its name and samples at 8 kHz.
        sounds: Makes other sounds, by name.
        rng: For pauses and noise.
    """

    def __init__(
        self,
        scenario: Scenario,
        words: Words,
        sounds: Mapping[str, Noise],
        rng: np.random.Generator,
    ) -> None:
        self._scenario = scenario
        self._rng = rng
        # All of it beforehand: on the event loop it would hold up the calls.
        self._script = [
            (step, _sound(step, words, sounds) if isinstance(step, Say) else None)
            for step in scenario.steps
        ]
        self.hung_up = asyncio.Event()  # by the Voice API
        self._gone = asyncio.Event()
        self._line = np.zeros(0, np.float32)  # what is still to be said
        behind = sounds.get(scenario.background)
        self._background = behind(60.0) if behind else np.zeros(0, np.float32)
        self._place = 0  # samples sent
        self._queue_end = 0.0  # of what the bot has sent, in seconds of the monotonic clock
        self._heard: list[list[float]] = []  # [start, end, audible] of each message, as played
        self.truth: dict[str, Any] = {
            "said": [], "played_ns": [], "clear_ns": [], "late": [], "ended_by": "bot"
        }  # fmt: skip

    async def run(self, url: str) -> dict[str, Any]:
        """Call; return what is known of the call."""
        async with connect(url, ping_interval=None, open_timeout=120, close_timeout=1.0) as socket:
            await socket.send(json.dumps(self._message("start")))
            jobs = [asyncio.create_task(job(socket)) for job in (self._send, self._receive)]
            act = asyncio.create_task(self._act())
            ends = [act, asyncio.create_task(self.hung_up.wait())]
            ends += [asyncio.create_task(self._gone.wait())]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED, timeout=150)
            if act.done() and self._scenario.hangs_up == "stay":
                await asyncio.wait(ends[1:], return_when=asyncio.FIRST_COMPLETED, timeout=STAYS)
            if act.done():
                act.result()
            await self._leave(socket)
            for task in (*jobs, *ends):
                task.cancel()
            await asyncio.gather(*jobs, *ends, return_exceptions=True)
        self.truth["sent"] = self._place // SIZE
        self.truth["played_ns"] = [[round(t * 1e9) for t in row[:2]] for row in self._heard]
        return self.truth

    async def _leave(self, socket: ClientConnection) -> None:
        if self._gone.is_set():
            return
        how = self._scenario.hangs_up
        if self.hung_up.is_set() or how == "stay":
            how = "stop"
        self.truth["ended_by"] = "voice api" if self.hung_up.is_set() else f"caller: {how}"
        self.truth["ended_ns"] = time.monotonic_ns()
        with suppress(ConnectionClosed):
            if how == "vanish":
                socket.transport.abort()
                return
            if how == "stop":
                await socket.send(json.dumps(self._message("stop")))
            await socket.close()

    def _message(self, kind: str) -> dict[str, Any]:
        name = self._scenario.name
        inbound = {"name": "inbound", "mediaFormat": {"encoding": "PCMU", "sampleRate": RATE}}
        metadata = {
            "accountId": "99", "callId": f"c-{name}", "streamId": f"s-{name}",
            "streamName": "ground", "tracks": [inbound],
        }  # fmt: skip
        return {"metadata": metadata, "eventType": kind}

    # -- the line ------------------------------------------------------------------------------

    async def _send(self, socket: ClientConnection) -> None:
        start, number = time.monotonic(), 0
        self.truth["first_ns"] = round(start * 1e9)
        with suppress(ConnectionClosed):
            while True:
                due = start + number * STEP
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if (late := time.monotonic() - due) > 0.02:
                    self.truth["late"].append([time.monotonic_ns(), round(1000 * late, 1)])
                number += 1
                payload = base64.b64encode(ulaw_encode(self._next())).decode()
                media = {"track": "inbound", "payload": payload, "sequenceNumber": str(number)}
                await socket.send(json.dumps({**media, "eventType": "media"}))

    def _next(self) -> NDArray[np.float32]:
        samples = np.zeros(SIZE, np.float32)
        if self._scenario.line_dbov is not None:
            noise = self._rng.standard_normal(SIZE) * 10 ** (self._scenario.line_dbov / 20)
            samples += noise.astype(np.float32)
        if len(self._background):
            at = np.arange(self._place, self._place + SIZE) % len(self._background)
            samples += self._background[at]
        said, self._line = self._line[:SIZE], self._line[SIZE:]
        samples[: len(said)] += said
        self._place += SIZE
        return samples

    async def _receive(self, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            async for text in socket:
                message, now = json.loads(text), time.monotonic()
                if message["eventType"] == "playAudio":
                    self._play(now, message["media"])
                elif message["eventType"] == "clear":
                    self.truth["clear_ns"].append(round(now * 1e9))
                    self._clear(now)
        if "ended_ns" not in self.truth:
            self.truth["ended_ns"] = time.monotonic_ns()
        self._gone.set()

    def _play(self, now: float, media: dict[str, str]) -> None:
        payload = base64.b64decode(media["payload"])
        rate = re.search(r"rate=(\d+)", media["contentType"])
        if rate is None:
            samples, hertz = ulaw_decode(payload), RATE
        else:
            samples, hertz = np.frombuffer(payload, "<i2") / np.float32(32768), int(rate[1])
        start = max(now, self._queue_end)
        self._queue_end = start + len(samples) / hertz
        power = float(np.mean(np.square(samples))) if len(samples) else 0.0
        audible = power > 10 ** (AUDIBLE_DBOV / 10)
        self._heard.append([start, self._queue_end, float(audible)])

    def _clear(self, now: float) -> None:
        kept = [row for row in self._heard if row[0] < now]
        for row in kept:
            row[1] = min(row[1], now)
        self._heard, self._queue_end = kept, min(self._queue_end, now)

    # -- the person ----------------------------------------------------------------------------

    async def _act(self) -> None:
        for step, sound in self._script:
            match step:
                case Pause(secs):
                    await asyncio.sleep(secs)
                case Say() if sound is not None:
                    await self._say(*sound)
                case Listen(quiet, most):
                    await self._wait(lambda since, q=quiet: self._silent_for(since) > q, most)
                    await asyncio.sleep(self._rng.uniform(0.0, 0.6))
                case CutIn(after):
                    await self._wait(lambda since, a=after: self._heard_for(since) > a, 15.0)

    async def _wait(self, condition: Callable[[float], bool], most: float) -> None:
        since = time.monotonic()
        while not condition(since) and time.monotonic() < since + most:  # noqa: ASYNC110
            await asyncio.sleep(STEP)

    async def _say(self, name: str, samples: NDArray[np.float32]) -> None:
        first = self._place
        self._line = samples
        self.truth["said"].append([first, first + len(samples), name])
        while len(self._line):  # noqa: ASYNC110
            await asyncio.sleep(STEP)

    def _audible(self, since: float) -> list[list[float]]:
        now = time.monotonic()
        return [row for row in self._heard if row[2] and row[1] > since and row[0] < now]

    def _silent_for(self, since: float) -> float:
        """Since when nothing of the bot is heard, if something was; in seconds."""
        waiting = any(row[2] and row[1] > time.monotonic() for row in self._heard)
        heard = self._audible(since)
        return time.monotonic() - heard[-1][1] if heard and not waiting else 0.0

    def _heard_for(self, since: float) -> float:
        heard = self._audible(since)
        return time.monotonic() - heard[0][0] if heard else 0.0


def _sound(step: Say, words: Words, sounds: Mapping[str, Noise]) -> tuple[str, NDArray[np.float32]]:
    if step.sound:
        return step.sound, sounds[step.sound](step.secs)
    return words(step.secs)
