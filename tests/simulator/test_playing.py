"""BXML documents that are played, on real sockets and a real clock."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import bandwidth
import pytest
from fastapi import WebSocket

from pipecat_bandwidth.voice_api import VoiceAPI
from tests.simulator.bots import STOP, Bot, listen, play, script_of, sdk, stay, tone
from workbench.exceptions import SimulationError
from workbench.simulator import SimulatedCall, VoiceAPIServer, playing, simulate

ONE_WAY = '<StartStream name="t" tracks="both" destination="ws://{host}/stream"/>'


async def greet(websocket: WebSocket) -> None:
    await websocket.accept()
    await play(websocket, tone(0.1, 24000))
    await listen(websocket, 0.3)
    await websocket.close()


async def greet_and_stay(websocket: WebSocket) -> None:
    await websocket.accept()
    await play(websocket, tone(0.1, 24000))
    await stay(websocket)


def document(*verbs: str) -> str:
    return f"<Response>{''.join(verbs)}</Response>"


async def test_what_comes_first_takes_its_time_and_may_lead_to_another_document() -> None:
    first = document(
        "<Tag>t1</Tag><SpeakSentence>Hello</SpeakSentence>",
        '<Gather gatherUrl="/pages/next" firstDigitTimeout="0.1"/><Hangup/>',
    )
    bot = Bot(greet, first, next=document("{stream}</StartStream>", STOP))
    call = await bot.called()
    assert [verb.verb for verb in call.verbs] == [
        "Tag", "SpeakSentence", "Gather", "StartStream", "StopStream",
    ]  # fmt: skip
    _, spoken, gathered, _, stopped = call.verbs
    assert 0.4 <= spoken.secs < 5 and spoken.start < -0.4
    assert gathered.start + gathered.secs <= 0 < stopped.secs
    (asked,) = [webhook for webhook in bot.webhooks if webhook.get("page")]
    assert (asked["eventType"], asked["digits"], asked["tag"]) == ("gather", "", "t1")
    assert call.ended_by == "closed" and call.problems() == []


@pytest.mark.parametrize(
    "verb", ["<SpeakSentence>Hello</SpeakSentence>", '<Ring duration="0.5"/>',
             '<Record maxDuration="1"/>', "<SendDtmf>1</SendDtmf>"],
)  # fmt: skip
async def test_any_verb_that_takes_time_holds_the_call(verb: str) -> None:
    call = await Bot(greet_and_stay, document("{stream}</StartStream>", verb)).called()
    assert call.ended_by == "BXML" and call.said_secs == pytest.approx(0.1)
    held = call.verbs[-1]
    assert call.duration >= held.secs - 0.1 >= 0.2
    (problem,) = call.problems()
    assert problem.startswith(f"the BXML was over after <{held.verb}>")


async def test_after_the_stream_the_document_goes_on() -> None:
    rest = "<SpeakSentence>Good bye</SpeakSentence><Hangup/>"
    call = await Bot(greet, document("{stream}</StartStream>", STOP, rest)).called()
    assert call.ended_by == "BXML" and 0.8 <= call.stranded_secs < 5
    assert call.ending.startswith("the bot closed the WebSocket; <SpeakSentence> kept the caller")
    assert call.ending.endswith("until the BXML was over")
    assert call.problems() == []


async def test_who_is_handed_on_after_the_stream_is_no_concern_of_the_bot() -> None:
    rest = "<Transfer><PhoneNumber>+15555550142</PhoneNumber></Transfer>"
    call = await Bot(greet, document("{stream}</StartStream>", STOP, rest)).called()
    assert (call.ended_by, call.ending) == ("handed on", "the BXML handed the caller on")
    assert call.problems() == []


async def test_a_transfer_goes_on_beside_the_stream_that_began_before_it() -> None:
    seen: list[dict[str, Any]] = []

    async def transcribe(websocket: WebSocket) -> None:
        await websocket.accept()
        seen.extend(await listen(websocket, 0.5))
        await websocket.close()

    call_of = Bot(transcribe, document(ONE_WAY, "<Transfer/>"))
    with pytest.raises(SimulationError, match="without a word"):  # a bot would have spoken
        await call_of.called()
    assert {message.get("track") for message in seen[1:]} == {"inbound", "outbound"}


async def test_a_stream_is_stopped_where_the_document_says_so() -> None:
    seen: list[dict[str, Any]] = []

    async def behave(websocket: WebSocket) -> None:
        await websocket.accept()
        await play(websocket, tone(0.1, 24000))
        try:
            while True:
                seen.append(json.loads(await websocket.receive_text()))
        except Exception:
            pass

    verbs = '<Pause duration="0.3"/><StopStream name="s"/><Pause duration="0.2"/>'
    bot = Bot(behave, document("{stream}</StartStream>", verbs))
    call = await bot.called()
    assert seen[-1]["eventType"] == "stop" and call.ended_by == "BXML"
    assert 0.3 <= call.duration < 5 and call.close_code == 1000
    assert [w["eventType"] for w in bot.webhooks[-2:]] == ["mediaStreamStopped", "disconnect"]


async def test_two_streams_run_side_by_side() -> None:
    tracks: dict[str, list[str]] = {}

    async def behave(websocket: WebSocket) -> None:
        await websocket.accept()
        start = json.loads(await websocket.receive_text())
        name = start["metadata"]["streamName"]
        if name == "s":
            await play(websocket, tone(0.3, 24000))
        messages = await listen(websocket, 0.8)
        tracks[name] = [m["track"] for m in messages if m["eventType"] == "media"]
        if name == "s":
            await websocket.close()
        else:
            await stay(websocket)

    call = await Bot(behave, document(ONE_WAY, "{stream}</StartStream>", STOP)).called()
    assert call.ended_by == "closed" and call.problems() == []
    assert set(tracks["s"]) == {"inbound"} and set(tracks["t"]) == {"inbound", "outbound"}
    assert len(tracks["s"]) > 20 and tracks["t"].count("outbound") > 20


@pytest.mark.parametrize(
    ("second", "cause"),
    [
        ("{stream}</StartStream>", "duplicate"),
        (ONE_WAY.replace('"t"', '"u"').replace("name", 'streamEventUrl="/status" name'),
         "track-limit"),
    ],
)  # fmt: skip
async def test_a_stream_too_many_is_rejected_and_the_others_go_on(second: str, cause: str) -> None:
    first = [ONE_WAY, "{stream}</StartStream>", '<Pause duration="0.2"/>']
    again = document(second, STOP)

    async def behave(websocket: WebSocket) -> None:
        await websocket.accept()
        start = json.loads(await websocket.receive_text())
        if start["metadata"]["streamName"] != "s":
            return await stay(websocket)
        await play(websocket, tone(0.1, 24000))
        for _ in range(200):
            await listen(websocket, 0.1)
            if any(webhook["eventType"] == "mediaStreamRejected" for webhook in bot.webhooks):
                break
        await websocket.close()

    bot = Bot(behave, document(*first, '<Redirect redirectUrl="/pages/again"/>'),
              again=again)  # fmt: skip
    call = await bot.called()
    rejected = [w for w in bot.webhooks if w["eventType"] == "mediaStreamRejected"]
    assert [w["cause"] for w in rejected] == [cause]
    assert call.ended_by == "closed" and call.problems() == []


# -- requests at the Voice API -----------------------------------------------------------------


async def test_a_redirect_hands_the_caller_over_to_another_stream() -> None:
    """As a server does that is about to restart: the caller stays, the stream is another's."""
    urls: list[str] = []
    starts: list[dict[str, Any]] = []
    async with VoiceAPIServer() as far, VoiceAPI(
        far.client_id, far.client_secret, base_url=far.base_url, token_url=far.token_url
    ) as api:  # fmt: skip

        async def behave(websocket: WebSocket) -> None:
            await websocket.accept()
            starts.append(json.loads(await websocket.receive_text())["metadata"])
            await listen(websocket, 0.5 * len(starts))
            await play(websocket, tone(0.2, 24000))
            await listen(websocket, 0.4)
            if len(starts) == 1:
                call = starts[0]["accountId"], starts[0]["callId"]
                await api.redirect(*call, f"{urls[0]}/pages/other", username="u", password="p")
            await websocket.close()

        other = document("{stream}</StartStream>", STOP)
        bot = Bot(behave, document("{stream}</StartStream>", '<Pause duration="60"/>'), other=other)
        async with bot.running() as url:
            urls.append(url)
            call = await playing_call(url, far)
    assert len(starts) == 2 and starts[0]["callId"] == starts[1]["callId"] == call.call_id
    assert starts[0]["streamId"] != starts[1]["streamId"]
    (asked,) = [webhook for webhook in bot.webhooks if webhook.get("page")]
    assert (asked["eventType"], asked["callId"]) == ("redirect", call.call_id)
    assert [v.verb for v in call.verbs] == ["StartStream", "Pause", "StartStream", "StopStream"]
    assert call.said_secs == pytest.approx(0.4) and len(call.turns) == 2
    assert call.ended_by == "closed" and call.duration > call.turns[1].start > call.turns[0].end


async def test_a_document_that_is_put_takes_the_place_of_the_verb_in_progress() -> None:
    async with VoiceAPIServer() as far:

        async def behave(websocket: WebSocket) -> None:
            await websocket.accept()
            await play(websocket, tone(0.1, 24000))
            await asyncio.sleep(0.2)
            known = far.add(
                "9900000", json.loads(await websocket.receive_text())["metadata"]["callId"]
            )
            body = document("<SpeakSentence>Bye</SpeakSentence><Hangup/>").encode()
            kind, where = "bxml", (known.account_id, known.call_id)
            assert far.calls.answer(kind, *where, b"<Bxml><Nonsense/></Bxml>", "")[0] == 400
            assert far.calls.answer(kind, *where, body, "")[0] == 204
            await stay(websocket)

        async with Bot(behave).running() as url:
            call = await playing_call(url, far)
    assert [v.verb for v in call.verbs] == ["StartStream", "StopStream", "SpeakSentence", "Hangup"]
    assert call.ended_by == "BXML" and call.duration < 10


async def test_where_the_address_of_an_event_fails_its_fallback_is_asked() -> None:
    """Of each kind, in a document, and of a redirect at the Voice API by Bandwidth's own SDK."""
    urls: list[str] = []
    fallback = 'redirectFallbackUrl="/pages/menu" fallbackUsername="u" fallbackPassword="p"'
    first = document(f'<Redirect redirectUrl="/nothing" {fallback}/>')
    menu = '<Gather gatherUrl="/nothing" gatherFallbackUrl="/pages/bot" firstDigitTimeout="0"'
    async with VoiceAPIServer() as far:

        async def behave(websocket: WebSocket) -> None:
            await websocket.accept()
            ids = json.loads(await websocket.receive_text())["metadata"]
            await play(websocket, tone(0.1, 24000))
            update = bandwidth.UpdateCall(
                redirectUrl=f"{urls[0]}/nothing", redirectFallbackUrl=f"{urls[0]}/pages/end",
                redirectFallbackMethod="GET", tag="t",
            )  # fmt: skip
            await asyncio.to_thread(sdk(far).update_call, ids["accountId"], ids["callId"], update)
            await stay(websocket)

        bot = Bot(behave, first, menu=document(f'{menu} gatherFallbackMethod="GET"/>'),
                  bot=document("{stream}</StartStream>", STOP),
                  end=document("<SpeakSentence>Bye</SpeakSentence>"))  # fmt: skip
        async with bot.running() as url:
            urls.append(url)
            call = await playing_call(url, far)
    assert call.ended_by == "BXML" and call.verbs[-1].verb == "SpeakSentence"
    asked = [(w["page"], w["method"], w["eventType"]) for w in bot.webhooks if w.get("page")]
    assert asked == [("menu", "POST", "redirect"), ("bot", "GET", "gather"),
                     ("end", "GET", "redirect")]  # fmt: skip
    assert [(w.event_type, w.status) for w in call.webhooks if w.status == 404] == [
        ("redirect", 404), ("gather", 404), ("redirect", 404),
    ]  # fmt: skip
    redirect = next(w for w in bot.webhooks if w.get("page") == "menu")
    assert bandwidth.InitiateCallback.from_dict(bot.webhooks[0]).call_id == call.call_id
    assert bandwidth.RedirectCallback.from_dict(redirect).call_id == call.call_id


async def test_where_the_fallback_fails_too_both_are_told() -> None:
    verb = '<Redirect redirectUrl="/nothing" redirectFallbackUrl="/none"/>'
    with pytest.raises(SimulationError) as caught:
        await Bot(greet, document(verb)).called()
    assert caught.value.step == "webhook"
    said = caught.value.reason
    assert "/nothing answered 404" in said and "; and the fallback: http" in said
    assert "/none answered 404" in said


async def playing_call(url: str, far: VoiceAPIServer) -> SimulatedCall:
    return await simulate(f"{url}/voice", script_of(), voice_api=far, max_secs=20.0)


# -- documents that lead nowhere ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("bxml", "reason"),
    [
        ("<Bxml/>", "no <StartStream> in it"),
        (
            "<Bxml><SpeakSentence>Bye</SpeakSentence><Hangup/></Bxml>",
            "<Hangup> ends the call before",
        ),
        ("<Bxml><Conference>c</Conference></Bxml>", "<Conference> hands the caller on, where"),
        ('<Bxml><Redirect redirectUrl="/pages/circle"/></Bxml>', "they lead in a circle"),
        ('<Bxml><Redirect redirectUrl="/pages/nonsense"/></Bxml>', "<Nonsense> is no verb"),
        (
            '<Bxml><Pause duration="60"/></Bxml>',
            "the caller hung up after 0.2 s of silence, before",
        ),
    ],
)
async def test_a_document_without_a_stream_says_what_happened_instead(
    bxml: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "silence" in reason:
        monkeypatch.setattr(playing, "PATIENCE", 0.2)
    circle = '<Bxml><Redirect redirectUrl="/pages/circle"/></Bxml>'
    bot = Bot(greet, bxml, circle=circle, nonsense="<Bxml><Nonsense/></Bxml>")
    with pytest.raises(SimulationError, match=reason) as caught:
        await bot.called()
    assert caught.value.step == "BXML"
    assert bot.webhooks[-1]["eventType"] == "disconnect"


async def test_after_the_bot_the_caller_waits_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playing, "PATIENCE", 0.5)
    verbs = "{stream}</StartStream>", '<Pause duration="60"/>'
    call = await Bot(greet, document(*verbs)).called()
    assert call.ended_by == "caller" and 0.4 <= call.stranded_secs < 5
