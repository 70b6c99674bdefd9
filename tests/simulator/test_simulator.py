"""Bandwidth's side: the parts on a clock that the tests turn, the whole on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from base64 import b64decode, b64encode
from typing import Any

import numpy as np
import pytest
from fastapi import Response, WebSocket
from zstandard import compress

from pipecat_bandwidth import VoiceAPIError
from pipecat_bandwidth.encodings import FORMATS, PCMU, WireFormat, wire_format
from pipecat_bandwidth.messages import Clear, PlayAudio, encode
from pipecat_bandwidth.voice_api import VoiceAPI
from tests.http_server import HANG, RESET, Answer, http_server
from tests.simulator.bots import (
    PCM_24K,
    STOP,
    Behaviour,
    Bot,
    hello,
    listen,
    play,
    script_of,
    stay,
    tone,
)
from workbench.audio import Audio
from workbench.exceptions import SimulationError
from workbench.simulator import (
    Fault,
    Line,
    Progress,
    VoiceAPIServer,
    simulate,
)
from workbench.simulator.line import Schedule
from workbench.simulator.playback import TICK, Playback

# -- the line ----------------------------------------------------------------------------------


def departures(line: Line, count: int = 500) -> list[tuple[float, int]]:
    """What leaves, as (time, number), in the order in which it leaves."""
    schedule, packet = Schedule(line), line.packet_ms / 1000
    leaving = [
        (time, number)
        for number in range(1, count + 1)
        for time in schedule.departures(number * packet)
    ]
    return sorted(leaving)


def test_a_perfect_line_is_punctual() -> None:
    assert departures(Line(), 5) == [(0.02 * n, n) for n in range(1, 6)]
    assert departures(Line(packet_ms=60), 2) == [(0.06, 1), (0.12, 2)]


def test_jitter_is_bounded_and_keeps_the_order() -> None:
    leaving = departures(Line(jitter_ms=70))
    assert [number for _, number in leaving] == list(range(1, 501))
    late = np.array([time - 0.02 * number for time, number in leaving])
    assert late.min() >= 0
    assert 0.06 < late.max() <= 0.070001
    assert late.std() > 0.005


def test_loss_and_duplicates_come_in_the_share_asked_for() -> None:
    numbers = [number for _, number in departures(Line(loss=0.1), 5000)]
    assert len(numbers) == pytest.approx(4500, abs=100)
    assert len(set(numbers)) == len(numbers)
    doubled = [number for _, number in departures(Line(duplicates=0.1), 5000)]
    assert len(doubled) == pytest.approx(5500, abs=100)
    assert set(doubled) == set(range(1, 5001))
    assert departures(Line(loss=1.0)) == []


def test_reordering_swaps_neighbours() -> None:
    numbers = [number for _, number in departures(Line(reordering=0.1), 2000)]
    assert sorted(numbers) == list(range(1, 2001))
    assert numbers != sorted(numbers)
    assert max(abs(number - place) for place, number in enumerate(numbers, 1)) <= 2


def test_a_stall_ends_in_a_burst_and_a_gap_in_nothing() -> None:
    leaving = departures(Line(stalls=((1.0, 200.0),), gaps=((2.0, 3),)), 150)
    times = dict((number, time) for time, number in leaving)
    assert [n for n in times if times[n] == pytest.approx(1.2)] == list(range(50, 61))
    assert set(range(1, 151)) - set(times) == {100, 101, 102}
    assert times[61] == pytest.approx(1.22)


def test_the_same_seed_gives_the_same_faults_whatever_the_others_are() -> None:
    some = Line(loss=0.1, seed=7)
    more = Line(loss=0.1, jitter_ms=30, duplicates=0.2, seed=7)
    assert departures(some) == departures(some)
    assert {n for _, n in departures(some)} == {n for _, n in departures(more)}
    assert {n for _, n in departures(some)} != {n for _, n in departures(Line(loss=0.1, seed=8))}


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"packet_ms": 0}, "packets of 0 ms, 1 to 1000"),
        ({"jitter_ms": -1.0}, "jitter of -1.0 ms"),
        ({"loss": 1.1}, "loss of 1.1, a share from 0 to 1"),
        ({"duplicates": -0.1}, "duplicates of -0.1"),
        ({"reordering": 2}, "reordering of 2"),
    ],
)
def test_an_impossible_line_is_refused(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Line(**wrong)


# -- the far end's queue -----------------------------------------------------------------------


@pytest.mark.parametrize("leg", FORMATS, ids=str)
@pytest.mark.parametrize("wire", FORMATS, ids=str)
def test_every_format_is_heard_on_every_leg(wire: WireFormat, leg: WireFormat) -> None:
    playback = Playback(leg)
    playback.advance(0.5)
    playback.append(wire, wire.encode(tone(1.0, wire.sample_rate)))
    playback.advance(3.0)
    heard = Audio.from_pcm(playback.played, leg.sample_rate)
    assert heard.duration == pytest.approx(3.0)
    assert heard.span(0.0, 0.49).level == -np.inf
    assert heard.span(1.6, 3.0).level == -np.inf
    assert heard.span(0.6, 1.4).level == pytest.approx(-15.3, abs=0.2)
    spectrum = np.abs(np.fft.rfft(heard.span(0.6, 1.4).samples))
    assert np.argmax(spectrum) / 0.8 == pytest.approx(500, abs=2)
    (utterance,) = playback.utterances
    assert utterance.start == pytest.approx(0.5)
    assert utterance.end == pytest.approx(1.5, abs=0.01)
    assert playback.said_secs == pytest.approx(1.0)


def test_clear_empties_the_queue() -> None:
    playback = Playback(PCMU)
    playback.append(PCMU, b"\x00" * 16000)
    playback.advance(0.51)
    playback.clear()
    assert playback.queued_secs == 0
    assert playback.discarded_secs == pytest.approx(1.5)
    assert not playback.advance(1.0).any()
    assert playback.utterances[0].cut
    assert playback.utterances[0].end == pytest.approx(0.5)
    playback.append(PCMU, b"\x00" * 160)
    playback.advance(1.1)
    assert len(playback.utterances) == 2, "what follows a clear is a new utterance"


def test_clear_on_an_empty_queue_cuts_nothing() -> None:
    playback = Playback(PCMU)
    playback.append(PCMU, b"\x00" * 800)
    playback.advance(1.0)
    playback.clear()
    assert not playback.utterances[0].cut
    assert playback.discarded_secs == 0


def test_a_dry_queue_is_an_underrun_inside_an_utterance_only() -> None:
    playback = Playback(PCMU)
    for start in (0.0, 0.16, 0.9):  # 100 ms each: 60 ms too late, then a new utterance
        playback.advance(start)
        playback.append(PCMU, b"\x00" * 800)
    playback.advance(2.0)
    assert playback.underruns == [(pytest.approx(0.1), pytest.approx(0.06))]
    assert [u.start for u in playback.utterances] == [pytest.approx(0.0), pytest.approx(0.9)]


def background(seconds: float, rate: int = 8000) -> bytes:
    """The last step of mu-law, up and down at random: -77 dBov."""
    samples = np.random.default_rng(1).choice([-8, 0, 8], round(seconds * rate))
    return samples.astype("<i2").tobytes()


def test_a_background_without_a_break_is_no_utterance() -> None:
    playback = Playback(PCMU)
    playback.append(PCMU, PCMU.encode(background(3.0)))
    playback.advance(2.0)
    assert playback.queued_secs > 0.9
    assert not playback.sounding
    assert playback.utterances == []


def test_an_utterance_in_a_background_is_over_a_second_after_its_last_sound() -> None:
    playback = Playback(PCMU)
    words = tone(0.4, 8000) + background(0.6) + tone(0.4, 8000)
    audio = background(1.0) + words + background(4.0) + tone(0.2, 8000) + background(1.0)
    playback.append(PCMU, PCMU.encode(audio))
    seen = [(t, playback.advance(t), playback.sounding) for t in np.arange(1, 400) * TICK]
    sounding = [t for t, _, sounds in seen if sounds and t < 5]
    (first, second) = playback.utterances
    assert (first.start, first.end) == (pytest.approx(1.0), pytest.approx(2.4))
    assert (second.start, second.end) == (pytest.approx(6.4), pytest.approx(7.6))
    assert (sounding[0], sounding[-1]) == pytest.approx((1.0, 3.4), abs=0.03)
    assert len(sounding) == pytest.approx(2.4 / TICK, abs=3), "without a break"
    assert playback.underruns == []
    assert not first.cut


def test_a_clear_cuts_no_utterance_that_was_over() -> None:
    playback = Playback(PCMU)
    playback.append(PCMU, PCMU.encode(tone(0.4, 8000) + background(4.0)))
    playback.advance(3.0)
    playback.clear()
    assert not playback.utterances[0].cut
    assert playback.discarded_secs == pytest.approx(1.4)


def test_messages_ahead_of_time_are_kept_and_the_longest_queue_is_noted() -> None:
    playback = Playback(PCMU)
    for _ in range(10):
        playback.append(PCM_24K, tone(0.1, 24000))
    playback.advance(0.5)
    playback.append(PCM_24K, tone(0.1, 24000))
    playback.advance(2.0)
    assert playback.underruns == []
    assert playback.high_water_secs == pytest.approx(1.0, abs=0.01)
    assert playback.utterances[0].end == pytest.approx(1.1, abs=0.01)


def test_a_change_of_format_loses_nothing() -> None:
    playback = Playback(PCMU)
    for wire in FORMATS:
        playback.append(wire, wire.encode(tone(0.1, wire.sample_rate)))
    playback.advance(1.0)
    assert playback.utterances[0].end == pytest.approx(0.4, abs=0.02)


# -- the Voice API -----------------------------------------------------------------------------


def client_of(server: VoiceAPIServer, **kwargs: Any) -> VoiceAPI:
    urls = {"base_url": server.base_url, "token_url": server.token_url}
    return VoiceAPI(server.client_id, kwargs.pop("secret", server.client_secret), **urls, **kwargs)


async def test_a_hang_up_ends_the_call() -> None:
    async with VoiceAPIServer() as server, client_of(server) as api:
        call = server.add("9900000", "c-1")
        assert (await api.hang_up("9900000", "c-1")).outcome == "completed"
        assert call.over.is_set()
        assert (await api.hang_up("9900000", "c-1")).outcome == "already_over"
        assert (await api.hang_up("9900000", "c-2")).outcome == "already_over"
        assert [(r.operation, r.call_id, r.status) for r in server.requests] == [
            ("token", "", 200), ("hang up", "c-1", 200), ("hang up", "c-1", 404),
            ("hang up", "c-2", 404),
        ]  # fmt: skip
        assert len(server.hang_ups("c-1")) == 2


@pytest.mark.parametrize(
    ("operation", "faults", "statuses"),
    [
        ("hang up", [Fault(503), Fault(500)], [503, 500, 200]),
        ("hang up", [Fault(429, retry_after=1)], [429, 200]),
        ("hang up", [Fault(reset=True)], [0, 200]),
        ("hang up", [Fault(401)], [401, 200]),
        ("hang up", [Fault(409), Fault(409)], [409, 409]),
        ("hang up", [Fault(delay_secs=0.3)], [200]),
        ("token", [Fault(reset=True), Fault(503)], [200]),
    ],
)
async def test_faults_come_once_each_and_in_order(
    operation: Any, faults: list[Fault], statuses: list[int]
) -> None:
    async with VoiceAPIServer() as server, client_of(server) as api:
        server.add("9900000", "c-1")
        server.fail(operation, *faults)
        done = await api.hang_up("9900000", "c-1")
        assert [r.status for r in server.hang_ups("c-1")] == statuses
        if faults[0].delay_secs or faults[0].retry_after:
            assert done.took_secs >= (faults[0].delay_secs or faults[0].retry_after or 0)


async def test_wrong_credentials_get_no_token_and_an_old_token_no_hang_up() -> None:
    async with VoiceAPIServer() as server:
        call = server.add("9900000", "c-1")
        async with client_of(server, secret="wrong") as api:
            with pytest.raises(VoiceAPIError, match="HTTP 401"):
                await api.hang_up("9900000", "c-1")
        async with client_of(server) as api:
            await api.hang_up("9900000", "c-0")
            server.revoke_tokens()
            await api.hang_up("9900000", "c-1")
        assert [r.status for r in server.hang_ups("c-1")] == [401, 200]
        assert call.over.is_set()


async def test_the_server_closes_with_connections_open() -> None:
    async with VoiceAPIServer() as server:
        api = client_of(server)
        server.fail("token", Fault(delay_secs=60.0))
        waiting = asyncio.create_task(api.hang_up("9900000", "c-1"))
        await asyncio.sleep(0.1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await api.aclose()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.base_url


# -- whole calls, on real sockets --------------------------------------------------------------


async def test_a_call_from_first_webhook_to_last() -> None:
    seen: list[dict[str, Any]] = []

    async def behave(websocket: WebSocket) -> None:
        await websocket.accept()
        await play(websocket, tone(1.0, 24000))
        seen.extend(await listen(websocket, 2.4))
        await websocket.close()

    bot, progress = Bot(behave), []
    call = await bot.called(
        script_of(hello()), username="user", password="pass", on_progress=progress.append
    )
    # the webhooks
    kinds = [webhook["eventType"] for webhook in bot.webhooks]
    assert kinds == ["initiate", "mediaStreamStarted", "mediaStreamStopped", "disconnect"]
    assert [w.event_type for w in call.webhooks] == kinds
    assert [w.status for w in call.webhooks] == [200, 204, 204, 204]
    initiate = bot.webhooks[0]
    assert set(initiate) == set(
        "eventType callId from to privacy direction applicationId accountId startTime eventTime "
        "callUrl callerDisplayName".split()
    )
    assert initiate["callId"] == call.call_id and call.call_id.startswith("c-")
    assert all("answerTime" in webhook for webhook in bot.webhooks[1:])
    assert bot.webhooks[1]["mediaStream"]["tracks"] == ["inbound"]
    assert bot.webhooks[2]["cause"] == "closed"
    assert bot.authorization == "Basic " + b64encode(b"user:pass").decode()
    assert bot.upgrade == "Basic " + b64encode(b"u:p").decode()
    # the messages
    start, *media = seen
    assert list(start)[-1] == "eventType" and start["eventType"] == "start"
    assert start["metadata"] == {
        "accountId": call.account_id, "callId": call.call_id, "streamId": call.stream_id,
        "streamName": "s",
        "tracks": [{"name": "inbound", "mediaFormat": {"encoding": "PCMU", "sampleRate": 8000}}],
    }  # fmt: skip
    assert start["streamParams"] == {"k": "v"}
    assert all(list(m) == ["track", "payload", "sequenceNumber", "eventType"] for m in media)
    assert [m["sequenceNumber"] for m in media] == [str(n + 1) for n in range(len(media))]
    assert {len(b64decode(m["payload"])) for m in media} == {160}
    payload = b"".join(b64decode(m["payload"]) for m in media)
    sent = call.caller_sent.pcm()[: len(payload) * 2]
    assert PCMU.encode(sent) == payload, "the truth is what went over the wire"
    # the truth
    assert call.ended_by == "closed" and call.close_code == 1000
    assert 2.0 < call.duration < 10.0
    assert [(t.id, t.side) for t in call.turns] == [("b01", "bot"), ("c01", "caller")]
    greeting, answer = call.turns
    assert greeting.end - greeting.start == pytest.approx(1.0, abs=0.05)
    assert answer.start == pytest.approx(greeting.end + 0.1, abs=0.03)
    assert call.said_secs == pytest.approx(1.0)
    assert call.caller_heard.span(greeting.start + 0.1, greeting.end - 0.1).level > -16
    assert call.caller_sent.span(answer.start, answer.end).level > -40
    assert call.caller_sent.span(0.0, 0.5).level < -60
    assert call.protocol_errors == () and call.underruns == () and call.hung_up is None
    assert call.problems() == [] and call.planned == ("c01",) and call.stranded_secs == 0
    assert call.ending == "the bot closed the WebSocket"
    assert len(call.sent_time) == len(call.sent_sequence) >= len(media)
    assert np.mean(np.diff(call.sent_time)) == pytest.approx(0.02, rel=0.2)
    assert call.received_duration.sum() == pytest.approx(1.0)
    texts = [p.text for p in progress if isinstance(p, Progress) and p.text]
    assert texts == ["bot: b01", "caller: Bye."]
    assert [int(p.time) for p in progress if not p.text][:3] == [0, 1, 2]


async def test_a_bot_that_hangs_up_gets_stop_and_a_close() -> None:
    seen: list[dict[str, Any]] = []
    async with VoiceAPIServer() as server, client_of(server) as api:

        async def behave(websocket: WebSocket) -> None:
            await websocket.accept()
            start = json.loads(await websocket.receive_text())
            await asyncio.sleep(0.3)
            await api.hang_up(start["metadata"]["accountId"], start["metadata"]["callId"])
            with contextlib.suppress(Exception):
                while True:
                    seen.append(json.loads(await websocket.receive_text()))

        call = await Bot(behave).called(voice_api=server)
        assert call.ended_by == "hang up" and call.close_code == 1000
        assert call.hung_up == pytest.approx(call.duration, abs=1.0)
        assert seen[-1]["eventType"] == "stop"
        assert list(seen[-1]) == ["metadata", "eventType"]
        assert seen[-1]["metadata"]["callId"] == call.call_id
        assert len(seen[-1]["metadata"]["tracks"]) == 1
        assert (await api.hang_up(call.account_id, call.call_id)).outcome == "already_over"


async def test_a_clear_is_obeyed_at_once() -> None:
    async def behave(websocket: WebSocket) -> None:
        await websocket.accept()
        await play(websocket, tone(3.0, 24000))
        await listen(websocket, 0.5)
        await websocket.send_text(encode(Clear()))
        await listen(websocket, 0.5)
        await websocket.close()

    call = await Bot(behave).called()
    (clear,) = call.clears
    (utterance,) = call.turns
    assert utterance.cut
    assert 0 <= utterance.end - clear + TICK <= 0.05
    assert call.discarded_secs == pytest.approx(3.0 - (utterance.end - utterance.start), abs=0.02)
    assert call.high_water_secs == pytest.approx(3.0, abs=0.5)
    assert call.caller_heard.span(clear + 0.05, call.duration - 0.05).level == -np.inf


async def test_what_the_protocol_does_not_have_is_counted_and_ignored() -> None:
    async def behave(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_bytes(b"\x00\x01")
        for text in (
            "not JSON",
            "[]",
            '{"eventType":"mark"}',
            '{"eventType":"playAudio","media":{"contentType":"audio/opus","payload":"AAAA"}}',
            '{"eventType":"playAudio","media":{"contentType":"audio/pcmu","payload":"A"}}',
            '{"eventType":"playAudio","media":{"contentType":"AUDIO/PCM; encoding=signed;rate=8000;'
            'channels=1;bit-depth=16;endian=little","payload":"AAAA"}}',
            '{"eventType":"stop","metadata":{}}',
        ):
            await websocket.send_text(text)
        await play(websocket, tone(0.2, 24000))
        await listen(websocket, 0.4)
        await websocket.close()

    call = await Bot(behave).called()
    assert all(0 <= when <= call.duration for when, _ in call.protocol_errors)
    errors = [error for _, error in call.protocol_errors]
    assert [error[:26] for error in errors] == [
        "a binary message", "not JSON (DecodeError)", "not a JSON object but list",
        "Other(event_type='mark') i", "unknown content type 'audi", "bad playAudio: Invalid bas",
        "3 bytes are not whole samp", "Stop(stream_id='', call_id",
    ]  # fmt: skip
    assert call.said_secs == pytest.approx(0.2, abs=0.001)
    assert call.problems() == ["messages that Bandwidth does not know: 8"]


async def test_a_unidirectional_stream_plays_nothing() -> None:
    async def behave(websocket: WebSocket) -> None:
        await websocket.accept()
        await play(websocket, tone(0.05, 24000))
        await listen(websocket, 0.3)
        await websocket.close(1001)

    bxml = '<Bxml><StartStream name="s" destination="ws://{host}/stream"/>' + STOP + "</Bxml>"
    with pytest.raises(SimulationError, match='without a word; refused: .*mode="bidirectional"'):
        await Bot(behave, bxml).called()


async def test_stream_events_go_by_the_method_that_the_bxml_names() -> None:
    async def behave(websocket: WebSocket) -> None:
        await websocket.accept()
        await play(websocket, tone(0.1, 24000))
        await websocket.close()

    address = 'name="s" streamEventMethod="GET" streamEventUrl="/status?a=1"'
    bot = Bot(behave, ONE_WAY.replace('name="s"', f'mode="bidirectional" {address}', 1))
    call = await bot.called()
    asked = [webhook for webhook in bot.webhooks if webhook.get("method") == "GET"]
    assert [w["eventType"] for w in asked] == ["mediaStreamStarted", "mediaStreamStopped"]
    assert [w.status for w in call.webhooks] == [200, 204, 204, 204]
    assert asked[0]["a"] == "1" and asked[0]["callId"] == call.call_id
    assert json.loads(asked[0]["mediaStream"])["id"] == call.stream_id


async def test_a_bot_with_a_quiet_background_lets_the_caller_speak() -> None:
    async def behave(websocket: WebSocket) -> None:
        await websocket.accept()
        await play(websocket, tone(0.5, 24000))
        await play(websocket, background(3.0), PCMU)  # ahead: a busy machine makes no hole in it
        heard = asyncio.create_task(hear_words(websocket))
        while not heard.done():
            await play(websocket, background(0.1), PCMU)
            await asyncio.sleep(0.08)
        await websocket.close()

    call = await Bot(behave).called(script_of(hello()), max_secs=60.0)
    greeting, answer = call.turns
    assert (greeting.id, answer.id) == ("b01", "c01")
    assert greeting.end - greeting.start == pytest.approx(0.5, abs=0.05)
    assert 1.0 <= answer.start - greeting.end < 3.0, "they wait a second for the next word"
    assert call.said_secs > answer.start - 0.5, "the background never stopped"
    assert call.problems() == []


async def hear_words(websocket: WebSocket) -> None:
    """Read until the caller is heard."""
    while True:
        message = json.loads(await websocket.receive_text())
        if message["eventType"] == "media":
            pcm = PCMU.decode(b64decode(message["payload"]))
            if Audio.from_pcm(pcm, 8000).level > -35:
                return


async def test_both_tracks_carry_both_sides() -> None:
    seen: list[dict[str, Any]] = []

    async def behave(websocket: WebSocket) -> None:
        await websocket.accept()
        await play(websocket, tone(0.5, 16000), wire_format("PCM", 16000))
        seen.extend(await listen(websocket, 1.0))
        await websocket.close()

    bxml = (
        '<Response><StartStream name="s" mode="bidirectional" tracks="both" '
        'destination="ws://{host}/stream"/>' + STOP + "</Response>"
    )
    call = await Bot(behave, bxml).called(leg=wire_format("PCM", 16000))
    tracks = {name: [m for m in seen[1:] if m["track"] == name] for name in ("inbound", "outbound")}
    for messages in tracks.values():
        assert [m["sequenceNumber"] for m in messages] == [str(n + 1) for n in range(len(messages))]
    own = PCMU.decode(b"".join(b64decode(m["payload"]) for m in tracks["outbound"]))
    assert Audio.from_pcm(own, 8000).span(0.2, 0.4).level == pytest.approx(-15.3, abs=0.5)
    assert call.caller_heard.sample_rate == 16000
    (utterance,) = call.turns
    middle = call.caller_heard.span(utterance.start + 0.1, utterance.end - 0.1)
    assert middle.level == pytest.approx(-15.3, abs=0.1)


async def test_a_pause_keeps_the_caller_on_the_line_until_the_hang_up() -> None:
    async with VoiceAPIServer() as server, client_of(server) as api:

        async def behave(websocket: WebSocket) -> None:
            await websocket.accept()
            start = json.loads(await websocket.receive_text())["metadata"]
            await play(websocket, tone(0.1, 24000))
            await asyncio.sleep(0.3)
            await websocket.close()
            await asyncio.sleep(0.3)
            await api.hang_up(start["accountId"], start["callId"])

        bxml = '<Response>{stream}</StartStream><Pause duration="60"/></Response>'
        call = await Bot(behave, bxml).called(voice_api=server)
    assert call.ended_by == "hang up"
    assert [verb.verb for verb in call.verbs] == ["StartStream", "Pause"]
    assert call.stranded_secs > 0.1
    assert "; <Pause> kept the caller on the line" in call.ending
    assert call.ending.endswith("until the bot hung up through the Voice API")
    assert call.hung_up is not None and call.hung_up > call.duration + 0.1


async def test_a_bad_line_is_bad_on_the_wire() -> None:
    seen: list[int] = []

    async def behave(websocket: WebSocket) -> None:
        await websocket.accept()
        await play(websocket, tone(0.1, 24000))
        await websocket.receive_text()
        seen.extend(int(m["sequenceNumber"]) for m in await listen(websocket, 2.0))
        await websocket.close()

    line = Line(
        loss=0.1, duplicates=0.1, reordering=0.2, stalls=((0.8, 300.0),), gaps=((1.5, 4),), seed=3
    )
    call = await Bot(behave).called(line=line)
    assert seen == list(call.sent_sequence[: len(seen)])
    assert not {75, 76, 77, 78} & set(seen)
    missing = set(range(1, max(seen))) - set(seen)
    assert len(missing) > 4 and len(set(seen)) < len(seen) and seen != sorted(seen)
    assert np.diff(call.sent_time).max() > 0.25


async def test_the_caller_hangs_up_when_time_is_up() -> None:
    async def behave(websocket: WebSocket) -> None:
        await websocket.accept()
        await play(websocket, tone(0.1, 24000))
        with contextlib.suppress(Exception):
            while True:
                await websocket.receive_text()

    call = await Bot(behave).called(max_secs=2.0)
    assert call.ended_by == "timeout"
    assert 2.0 <= call.duration < 12.0
    (problem,) = call.problems()
    assert problem.startswith("the call did not end")


async def test_a_pause_ends_the_call_when_it_is_over() -> None:
    async def behave(websocket: WebSocket) -> None:
        await websocket.accept()
        await play(websocket, tone(0.1, 24000))
        await stay(websocket)

    bxml = '<Response><Tag/>{stream}</StartStream><Pause duration="2"/><Hangup/></Response>'
    call = await Bot(behave, bxml).called(max_secs=60.0)
    assert call.ended_by == "BXML" and call.duration >= 2.0
    assert [verb.verb for verb in call.verbs] == ["Tag", "StartStream", "Pause", "Hangup"]
    assert 2.0 <= call.verbs[2].secs < 12
    (problem,) = call.problems()
    assert problem.startswith("the BXML was over after <Hangup>, and the call with it")


async def only_listen(websocket: WebSocket) -> None:
    await websocket.accept()
    await stay(websocket)


async def only_talk(websocket: WebSocket) -> None:
    await websocket.accept()
    await play(websocket, tone(30.0, 24000))
    await stay(websocket)


async def only_rubbish(websocket: WebSocket) -> None:
    await websocket.accept()
    for _ in range(5):
        await websocket.send_bytes(b"\x00")
        await websocket.send_text("rubbish")
    await stay(websocket)


async def only_a_whisper(websocket: WebSocket) -> None:
    await websocket.accept()
    await play(websocket, background(1.0), PCMU)
    await stay(websocket)


async def change_its_mind(websocket: WebSocket) -> None:
    await websocket.accept()
    payload = PCMU.encode(background(10.0) + tone(1.0, 8000))
    await websocket.send_text(encode(PlayAudio(PCMU.content_type, payload)))
    await websocket.send_text(encode(Clear()))
    await stay(websocket)


SAID_NOTHING = "the caller said 0 of 1 turns: the call was over before 'c01'"
NO_END = "the call did not end: .* --timeout gives a long call more time"
ONE_WAY = '<Bxml><StartStream name="s" destination="ws://{host}/stream"/>' + STOP + "</Bxml>"


@pytest.mark.parametrize(
    ("behave", "bxml", "problems"),
    [
        (only_listen, "", [SAID_NOTHING, "never heard: no playAudio", NO_END]),
        (only_listen, ONE_WAY, [SAID_NOTHING, 'never heard: .*mode="bidirectional"', NO_END]),
        (only_rubbish, "", ["Bandwidth does not know: 10", SAID_NOTHING, "never heard", NO_END]),
        (only_a_whisper, "", [SAID_NOTHING, "never heard: 1.0 s .* louder than -45 dBov", NO_END]),
        (change_its_mind, "", [SAID_NOTHING, "it sent clear before", NO_END]),
        (only_talk, "", ["0 of 1 turns: they wait .* the bot was heard to the end", NO_END]),
    ],
)
async def test_a_call_that_was_none_says_why(
    behave: Behaviour, bxml: str, problems: list[str]
) -> None:
    call = await Bot(behave, bxml).called(script_of(hello()), max_secs=2.0)
    found = call.problems()
    assert len(found) == len(problems)
    for problem, wanted in zip(found, problems, strict=True):
        assert re.search(wanted, problem)


# -- calls that fail ---------------------------------------------------------------------------


async def refuse(websocket: WebSocket) -> None:
    await websocket.send_denial_response(Response(status_code=401))


async def say_nothing(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


async def break_off(websocket: WebSocket) -> None:
    await websocket.accept()
    await play(websocket, tone(0.1, 24000))
    await listen(websocket, 0.3)
    await websocket.close(1011, "a\x1b[31mb")


async def redirect(websocket: WebSocket) -> None:
    headers = {"location": "http://127.0.0.1:9/login?token=1"}
    await websocket.send_denial_response(Response(status_code=302, headers=headers))


async def send_too_much(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("x" * 17_000_000)
    await stay(websocket)


GOOD = "<Response>{stream}</StartStream>" + STOP + "</Response>"


@pytest.mark.parametrize(
    ("behave", "bxml", "status", "step", "reason", "causes"),
    [
        (refuse, GOOD, 401, "webhook", r"/voice answered 401 Unauthorized",
         {"disconnect": "callback-error"}),
        (refuse, GOOD, 500, "webhook", r"answered 500", {"disconnect": "callback-error"}),
        (refuse, "", 204, "webhook", r"answered 204 No Content", {"disconnect": "callback-error"}),
        (refuse, "oops", 200, "BXML", "not XML.* application/xml.* begins 'oops'$",
         {"disconnect": "invalid-bxml"}),
        (refuse, "<html>\x07<p></html>", 200, "BXML", r"begins '<html>\\x07<p></html>'$",
         {"disconnect": "invalid-bxml"}),
        (refuse, '<?xml version="1.0" encoding="foo"?><Response/>', 200, "BXML",
         "unknown encoding: foo; the answer is", {"disconnect": "invalid-bxml"}),
        (refuse, GOOD.replace("<Response>", "<Response><Hangup/>"), 200, "BXML",
         "^BXML: <Hangup> ends the call before <StartStream> is reached",
         {"disconnect": "invalid-bxml"}),
        (refuse, GOOD.replace("<Response>", "<Response><Transfer/>"), 200, "BXML",
         "<Transfer> hands the caller on, where the simulator cannot follow, before <StartStream>",
         {"disconnect": "invalid-bxml"}),
        (refuse, "<Response><Pause duration='0.1'/></Response>", 200, "BXML", "no <StartStream>",
         {"disconnect": "invalid-bxml"}),
        (refuse, GOOD.replace("<Stop", "<Hangup/><Stop"), 200, "BXML",
         "<Hangup> ends the call before anything holds the call", {"disconnect": "invalid-bxml"}),
        (refuse, GOOD.replace("<Stop", "<Bogus/><Stop"), 200, "BXML", "<Bogus> is no verb of BXML",
         {"disconnect": "invalid-bxml"}),
        (refuse, ONE_WAY.replace("name=", 'streamEventUrl="http://[" name='), 200, "BXML",
         "streamEventUrl is no address: Invalid IPv6 URL",
         {"disconnect": "invalid-bxml"}),
        (refuse, "<Response>{stream}</StartStream></Response>", 200, "BXML", "ends at once",
         {"disconnect": "invalid-bxml"}),
        (refuse, GOOD, 200, "WebSocket", "the bot answered 401 Unauthorized",
         {"mediaStreamRejected": "connection-error", "disconnect": "error"}),
        (redirect, GOOD, 200, "WebSocket",
         "the bot redirects to http://127.0.0.1:9/login, which is no WebSocket",
         {"mediaStreamRejected": "connection-error", "disconnect": "error"}),
        (send_too_much, GOOD, 200, "stream",
         r"the bot sent what cannot be read, .*: close code 1009 \(message too big\)",
         {"mediaStreamStarted": None, "mediaStreamStopped": "connection-error",
          "disconnect": "error"}),
        (refuse, GOOD.replace("{stream}", '<StartStream name="s" destination="ws://127.0.0.1:9/">'),
         200, "WebSocket", "no connection to 127.0.0.1:9: ", {"disconnect": "error"}),
        (say_nothing, GOOD, 200, "stream", "without a word",
         {"mediaStreamStarted": None, "mediaStreamStopped": "connection-error",
          "disconnect": "error"}),
        (break_off, GOOD, 200, "stream", r"broke off after .*: close code 1011 \(internal error\) a.\[31mb$",
         {"mediaStreamStarted": None, "mediaStreamStopped": "connection-error",
          "disconnect": "error"}),
    ],
)  # fmt: skip
async def test_a_failure_says_which_step_and_what_came_back(
    behave: Behaviour, bxml: str, status: int, step: str, reason: str, causes: dict[str, Any]
) -> None:
    bot = Bot(behave, bxml, status)
    with pytest.raises(SimulationError, match=reason) as caught:
        await bot.called()
    assert caught.value.step == step
    assert str(caught.value).startswith(f"{step}: ") and "\n" not in str(caught.value)
    posted = {w["eventType"]: w.get("cause") for w in bot.webhooks if w["eventType"] != "initiate"}
    assert posted == causes


async def test_a_server_that_is_not_there() -> None:
    with pytest.raises(SimulationError, match=r"^webhook: no answer from http://127.0.0.1:9/: "):
        await simulate("http://127.0.0.1:9/", script_of())


@pytest.mark.parametrize("url", ["nonsense", "ws://h/", "http://h:99999/", "http://[", "http://"])
async def test_what_is_no_address_is_named(url: str) -> None:
    with pytest.raises(SimulationError, match=f"^webhook: {re.escape(url)} is not an http"):
        await simulate(url, script_of())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (HANG, "no whole answer .* within 1 s"),
        (Answer(body=b"<" * 1000, drip=0.1), "no whole answer .* within 1 s"),
        (RESET, "no answer from"),
        (Answer(body=b"plain", headers=(("Content-Encoding", "gzip"),)), "packed with gzip"),
        (Answer(body=compress(bytes(2**28)), headers=(("Content-Encoding", "zstd"),)),
         "packed with zstd"),
        (Answer(401), "answered 401 Whatever: it wants the HTTP Basic .*--username"),
        (Answer(302, headers=(("Location", "/login\x85"),)),
         "302 Whatever: Location /login\N{REPLACEMENT CHARACTER}, which is not followed"),
    ],
)  # fmt: skip
async def test_a_webhook_that_is_no_answer(answer: Answer, reason: str) -> None:
    async with http_server() as server:
        server.on("/voice", answer)
        with pytest.raises(SimulationError, match=f"^webhook: .*{reason}"):
            max_secs = 1.0 if "within" in reason else 60.0
            await simulate(f"{server.url}/voice", script_of(), max_secs=max_secs)


async def test_of_an_endless_answer_little_is_read() -> None:
    async with http_server() as server:
        server.on("/voice", Answer(body=b"x" * 65536, repeat=100_000))
        with pytest.raises(SimulationError, match="^BXML: the document is too long"):
            await simulate(f"{server.url}/voice", script_of())
        assert server.sent < 64e6, "what lies in the sockets; 6.5 GB are there"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (HANG, 0),
        (RESET, 0),
        (Answer(body=b"x" * 1000, drip=0.1), 200),
        (Answer(body=b"x" * 65536, repeat=100_000), 200),
    ],
)
async def test_a_stream_event_holds_up_no_call(answer: Answer, status: int) -> None:
    async def behave(websocket: WebSocket) -> None:
        await websocket.accept()
        await play(websocket, tone(0.1, 24000))
        await listen(websocket, 0.3)
        await websocket.close()

    async with http_server() as server:
        server.on("/events", answer)
        attributes = f'mode="bidirectional" streamEventUrl="{server.url}/events" name='
        bxml = ONE_WAY.replace("name=", attributes, 1)
        call = await Bot(behave, bxml).called(max_secs=3.0)
    events = [w.status for w in call.webhooks if w.event_type.startswith("mediaStream")]
    assert events == [status, status]
    assert call.ended_by == "closed"
    assert server.sent < 64e6
