"""The demo's bot: who is let in, and one whole call through a real pipeline in real time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from loguru import logger
from pipecat.frames.frames import EndFrame, Frame, InterruptionFrame, TTSAudioRawFrame
from pipecat.serializers.base_serializer import FrameSerializer
from websockets.asyncio.client import connect

from pipecat_bandwidth import BandwidthFrameSerializer
from pipecat_bandwidth.messages import Start, encode
from pipecat_bandwidth.stats import Stats
from pipecat_bandwidth.voice_api import VoiceAPI
from tests.pipecat_bandwidth.served import expected, knock
from workbench.demo.bot import create_app, serve
from workbench.simulator import Fault, Script, SimulatedCall, VoiceAPIServer, simulate
from workbench.simulator.script import Channel, Rule, Turn

#: Its calls are placed once for all of its tests: with `--dist loadgroup`, in one process.
pytestmark = pytest.mark.xdist_group("bot")

CALL = Path(__file__).parents[2] / "sample_audio" / "call"
Params = BandwidthFrameSerializer.InputParams


def short_script() -> Script:
    """Greeting, question, an answer that is interrupted, a goodbye: 12 s of the sample audio."""

    def turn(name: str, side: Any, start: float, length: float, rule: Rule, **kwargs: Any) -> Turn:
        file = str(CALL / side / f"{name}.flac")
        end = start + length
        speech = kwargs.pop("speech", ((start + 0.06, end - 0.1),))
        return Turn(name, side, file, start, end, length, rule, "words", speech, **kwargs)

    turns = (
        turn("b01", "bot", 0.3, 0.85, Rule(gap=0.3), span=(2.3, 3.15)),
        turn("c04", "caller", 1.55, 2.08, Rule("b01", 0.4), speech=((1.63, 2.15), (2.61, 3.51))),
        turn("b03", "bot", 4.63, 6.0, Rule("c04", 1.0), span=(1.14, 7.14), cut_by="c03"),
        turn("c03", "caller", 6.63, 2.75, Rule(into="b03", at=2.0),
             speech=((6.71, 7.57), (8.03, 9.27))),
        turn("b10", "bot", 10.38, 1.0, Rule("c03", 1.0), span=(4.15, 5.15)),
    )  # fmt: skip
    return Script("A short call", 11.9, turns, Channel(1.45, -54.0, (200.0, 3500.0)))


def monologue() -> Script:
    """The greeting and the goodbye alone: 3 s."""
    script = short_script()
    goodbye = msgspec.structs.replace(
        script.turn("b10"), start=1.55, end=2.55, rule=Rule("b01", 0.4), speech=()
    )
    return Script("Only the bot", 2.8, (script.turn("b01"), goodbye), script.channel)


class Listener(FrameSerializer):
    """Passes everything through and keeps the frames."""

    def __init__(self, inner: BandwidthFrameSerializer) -> None:
        super().__init__()
        self.inner = inner
        self.said: list[Frame] = []
        self.heard: list[Frame] = []

    async def setup(self, setup: Any) -> None:
        await self.inner.setup(setup)

    async def serialize(self, frame: Frame) -> str | bytes | None:
        self.said.append(frame)
        return await self.inner.serialize(frame)

    async def deserialize(self, data: str | bytes) -> Frame | None:
        frame = await self.inner.deserialize(data)
        if frame is not None:
            self.heard.append(frame)
        return frame


@dataclass
class Outcome:
    call: SimulatedCall
    stats: Stats
    listener: Listener
    log: list[tuple[str, str, str]]
    tasks_left: list[str]
    requests: list[tuple[str, int]]


async def converse(script: Script, params: Params | None = None, **rates: int) -> Outcome:
    log: list[tuple[str, str, str]] = []
    sink = logger.add(
        lambda m: log.append((m.record["level"].name, m.record["name"], m.record["message"]))
    )
    listeners: list[Listener] = []

    def listen(serializer: Any) -> Listener:
        listeners.append(Listener(serializer))
        return listeners[-1]

    try:
        async with bot(script, params=params, wrap=listen, **rates) as (url, far):
            call = await simulate(
                f"{url}/webhook", script, username="u", password="p",
                status_url=f"{url}/webhook", voice_api=far,
            )  # fmt: skip
        others = asyncio.all_tasks() - {asyncio.current_task()}
        _, tasks = await asyncio.wait(others, timeout=10) if others else ((), ())
        left = [task.get_name() for task in tasks]
    finally:
        logger.remove(sink)
    requests = [(request.operation, request.status) for request in far.requests]
    (listener,) = listeners
    return Outcome(call, listener.inner.stats, listener, log, left, requests)


@contextlib.asynccontextmanager
async def bot(script: Script, **kwargs: Any) -> AsyncIterator[tuple[str, VoiceAPIServer]]:
    async with (
        VoiceAPIServer() as far,
        VoiceAPI(
            far.client_id, far.client_secret, base_url=far.base_url, token_url=far.token_url
        ) as near,
    ):
        app = create_app(script, voice_api=near, username="u", password="p", **kwargs)
        async with serve(app) as url:
            yield url, far


# -- one call, looked at from all sides --------------------------------------------------------


@pytest.fixture(scope="module")
def outcome() -> Iterator[Outcome]:
    yield asyncio.run(converse(short_script()))


def test_both_sides_say_their_turns_and_the_bot_ends_the_call(outcome: Outcome) -> None:
    call = outcome.call
    assert [turn.id for turn in call.turns] == ["b01", "c04", "b03", "c03", "b10"]
    assert call.ended_by == "hang up" and call.close_code == 1000
    assert outcome.requests == [("token", 200), ("hang up", 200)]
    assert call.hung_up == pytest.approx(call.duration, abs=2.0)
    goodbye = call.turns[-1]
    assert not goodbye.cut
    # Of its 1.0 s the first 0.26 s are silence; on a slow machine it takes longer.
    assert 0.7 < goodbye.end - goodbye.start < 1.75, "all of it is heard"
    assert call.hung_up is not None and call.hung_up > goodbye.end


def test_a_barge_in_clears_the_rest(outcome: Outcome) -> None:
    call = outcome.call
    (barge_in,) = call.barge_ins()
    assert barge_in.turn == "c03"
    assert barge_in.clear is not None
    assert 0.2 < barge_in.clear - barge_in.onset < 2.5
    answer = call.turns[2]
    assert answer.id == "b03"
    assert answer.end - answer.start < 4.5, "6.0 s were to be said"
    assert answer.end <= barge_in.clear + 0.1


def test_the_answers_come_when_the_script_wants_them(outcome: Outcome) -> None:
    gaps = outcome.call.response_gaps()
    assert set(gaps) == {"c04", "c03"}
    for gap in gaps.values():  # 1.0 s in the script, after the end that the VAD saw
        assert 0.5 < gap < 6.0, "on a busy machine later"


def test_everything_is_well_formed_and_nothing_is_lost(outcome: Outcome) -> None:
    call, stats = outcome.call, outcome.stats
    assert call.protocol_errors == ()
    assert stats.bad == stats.gaps == stats.duplicates == stats.out_of_order == 0
    assert stats.starts == 1, "the serializer sees the start message too"
    # Messages still under way when the call ends are not counted.
    assert len(call.sent_sequence) - 50 <= stats.messages_in <= len(call.sent_sequence) + 2
    assert stats.audio_in_ms == pytest.approx(stats.wire_in_ms, abs=1)
    assert call.said_secs * 1000 == pytest.approx(stats.wire_out_ms, abs=50)
    assert len(call.clears) == sum(isinstance(f, InterruptionFrame) for f in outcome.listener.said)


def test_the_pipeline_runs_at_its_own_rates(outcome: Outcome) -> None:
    said = [f for f in outcome.listener.said if hasattr(f, "audio")]
    assert {frame.sample_rate for frame in said} == {24000}  # type: ignore[attr-defined]
    assert {frame.sample_rate for frame in outcome.listener.heard} == {16000}  # type: ignore[attr-defined]
    assert isinstance(outcome.listener.said[-1], EndFrame)
    assert not isinstance(said[0], TTSAudioRawFrame), "the transport cuts it anew"


def test_the_caller_hears_the_words_that_were_said(outcome: Outcome) -> None:
    turn = short_script().turn("b01")
    wanted = turn.audio().resampled(8000).samples
    heard = outcome.call.caller_heard.samples
    first = round((outcome.call.turns[0].start - 0.1) * 8000)
    part = heard[first : first + len(wanted) + 2400]
    match = np.correlate(part, wanted, "valid")
    best = part[match.argmax() :][: len(wanted)]
    assert np.corrcoef(best, wanted)[0, 1] > 0.98


def test_nothing_is_left_behind_and_nothing_is_logged_as_wrong(outcome: Outcome) -> None:
    assert outcome.tasks_left == []
    ours = [line for line in outcome.log if line[1].startswith(("pipecat_bandwidth", "workbench"))]
    assert [line for line in outcome.log if line[0] in ("ERROR", "CRITICAL")] == []
    warnings = [text for level, _, text in ours if level == "WARNING"]
    assert warnings and all("is resampled" in text for text in warnings), warnings
    tokens = [text for _, _, text in outcome.log if "/stream/" in text]
    assert tokens == [], "the destination holds a token"


def test_the_webhooks_are_answered(outcome: Outcome) -> None:
    assert [(w.event_type, w.status) for w in outcome.call.webhooks] == [
        ("initiate", 200), ("disconnect", 204),
    ]  # fmt: skip


async def test_a_bot_with_other_settings_and_a_voice_api_that_fails_once() -> None:
    log: list[str] = []
    sink = logger.add(lambda m: log.append(m.record["message"]), level="WARNING")
    try:
        async with bot(
            monologue(),
            params=Params(outbound_encoding="PCM", outbound_pcm_sample_rate=16000),
            audio_in_sample_rate=8000,
            audio_out_sample_rate=16000,
        ) as (url, far):
            far.fail("hang up", Fault(503))
            call = await simulate(
                f"{url}/webhook", monologue(), username="u", password="p", voice_api=far
            )
    finally:
        logger.remove(sink)
    assert [request.status for request in far.hang_ups(call.call_id)] == [503, 200]
    assert call.ended_by == "hang up"
    assert [turn.id for turn in call.turns] == ["b01", "b10"]
    assert not call.protocol_errors
    assert not [text for text in log if "resampled" in text]


@pytest.mark.parametrize(
    "cushion_ms",
    [pytest.param(0, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.slow), 1000],
)
async def test_the_last_word_is_heard_whole(cushion_ms: int) -> None:
    """With Pipecat's own silence at the end, and however far the far end's queue is ahead."""
    script = monologue()
    async with bot(script, params=Params(outbound_cushion_ms=cushion_ms)) as (url, far):
        call = await simulate(f"{url}/webhook", script, username="u", password="p", voice_api=far)
    assert call.ended_by == "hang up"
    wanted = script.turn("b10").audio().resampled(8000).samples
    sounding = np.flatnonzero(np.abs(wanted) > 0.01)
    word = wanted[sounding[-1] - 2400 : sounding[-1]]  # its last 0.3 s
    heard = call.caller_heard.samples
    best = heard[np.correlate(heard, word, "valid").argmax() :][: len(word)]
    assert np.corrcoef(best, word)[0, 1] > 0.95


# -- who is let in -----------------------------------------------------------------------------


async def test_the_ids_of_the_start_message_are_not_trusted() -> None:
    """A stream that claims another call must not be able to end that call."""
    async with bot(monologue()) as (url, far):
        mine, other = far.add("9900000", "c-1"), far.add("9900000", "c-2")
        destination, headers = await expected(url, auth=("u", "p"))
        async with connect(destination, additional_headers=headers, proxy=None) as websocket:
            await websocket.send(encode(Start("s-1", "c-2", "9900000", "bot")))
            async for _ in websocket:
                pass
        assert mine.over.is_set()
        assert not other.over.is_set()
        assert far.hang_ups("c-2") == []


async def test_a_token_expires_by_the_clock_that_is_handed_in() -> None:
    now = [100.0]
    async with bot(monologue(), clock=lambda: now[0]) as (url, _):
        late = await expected(url, auth=("u", "p"))
        now[0] += 61.0
        assert await knock(late) == 401


def test_a_server_without_a_password_is_refused() -> None:
    api = VoiceAPI("id", "secret")
    with pytest.raises(ValueError, match="user and a password"):
        create_app(short_script(), voice_api=api, username="u", password="")
