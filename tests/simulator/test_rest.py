"""The simulated Voice API as Bandwidth's own SDK speaks to it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import bandwidth
import httpx
import pytest
from bandwidth.exceptions import ApiException
from bandwidth.models.bxml import Response as BxmlResponse
from bandwidth.models.bxml import SpeakSentence
from fastapi import Request, WebSocket

from tests.simulator.bots import STOP, Bot, play, script_of, sdk, tone
from workbench.exceptions import SimulationError
from workbench.simulator import VoiceAPIServer, simulate
from workbench.simulator.calls import KnownCall, Update
from workbench.simulator.outbound import made_call
from workbench.simulator.route import Fallback

ACCOUNT = "9900000"


@pytest.fixture
async def server() -> AsyncIterator[VoiceAPIServer]:
    async with VoiceAPIServer() as server:
        yield server


async def asked(method: Callable[..., Any], *args: Any) -> Any:
    """Call the SDK, which blocks, on a thread; its status and what it read."""
    answer = await asyncio.to_thread(method, ACCOUNT, *args)
    return answer.status_code, answer.data


async def test_the_sdks_completed_ends_the_call(server: VoiceAPIServer) -> None:
    api, call = sdk(server), server.add(ACCOUNT, "c-1")
    update = bandwidth.UpdateCall(state="completed")
    assert set(update.to_dict()) == {"state", "redirectMethod", "redirectFallbackMethod"}
    assert await asked(api.update_call_with_http_info, "c-1", update) == (200, None)
    assert call.over.is_set()
    with pytest.raises(ApiException) as caught:
        await asked(api.update_call_with_http_info, "c-1", update)
    assert caught.value.status == 404
    statuses = [(r.operation, r.status) for r in server.requests]
    assert statuses == [("token", 200), ("hang up", 200), ("hang up", 404)]


async def test_the_sdks_redirect_tells_the_call_where_to_go_on(server: VoiceAPIServer) -> None:
    api, call = sdk(server), server.add(ACCOUNT, "c-1")
    update = bandwidth.UpdateCall(
        redirectUrl="https://bot.example/next", redirectMethod="GET", username="u", password="p",
        tag="moved",
    )  # fmt: skip
    assert await asked(api.update_call_with_http_info, "c-1", update) == (200, None)
    assert call.updated.is_set() and not call.over.is_set() and call.tag == "moved"
    assert call.take_update() == Update(
        url="https://bot.example/next", method="GET", credentials=("u", "p")
    )
    assert not call.updated.is_set()


async def test_the_sdks_fallback_of_a_redirect_is_kept(server: VoiceAPIServer) -> None:
    api, call = sdk(server), server.add(ACCOUNT, "c-1")
    update = bandwidth.UpdateCall(
        redirectUrl="https://bot.example/next", redirectFallbackUrl="https://other.example/next",
        redirectFallbackMethod="GET", fallbackUsername="u", fallbackPassword="p",
    )  # fmt: skip
    assert await asked(api.update_call_with_http_info, "c-1", update) == (200, None)
    assert call.take_update().fallback == Fallback("https://other.example/next", "GET", ("u", "p"))


async def test_the_sdk_lists_the_calls_that_its_filters_leave(server: VoiceAPIServer) -> None:
    api, first = sdk(server), server.add(ACCOUNT, "c-1")
    server.add(ACCOUNT, "c-2").end("busy")
    server.add("1", "c-3")

    async def listed(**filters: str) -> list[str]:
        told = await asked(functools.partial(api.list_calls_with_http_info, **filters))
        assert told[0] == 200
        return [call.call_id for call in told[1]]

    assert await listed() == ["c-1", "c-2"]
    assert await listed(disconnect_cause="busy") == ["c-2"]
    assert await listed(var_from=first.caller, to="+1") == []
    assert await listed(min_start_time=first.start_time, max_start_time="2999") == ["c-1", "c-2"]
    assert await listed(max_start_time="2020-01-01T00:00:00Z") == []


async def test_the_sdks_bxml_is_what_the_call_goes_on_with(server: VoiceAPIServer) -> None:
    api, call = sdk(server), server.add(ACCOUNT, "c-1")
    document = BxmlResponse([SpeakSentence("Good bye")]).to_bxml()
    assert (await asked(api.update_call_bxml_with_http_info, "c-1", document))[0] == 204
    assert b"<SpeakSentence>Good bye" in call.take_update().bxml


async def test_the_sdk_reads_the_state_of_a_call_to_its_end_and_after(
    server: VoiceAPIServer,
) -> None:
    api, call = sdk(server), server.add(ACCOUNT, "c-1")

    async def state() -> bandwidth.CallState:
        status, told = await asked(api.get_call_state_with_http_info, "c-1")
        assert status == 200
        return told

    first = await state()
    assert (first.state, first.answer_time, first.end_time) == ("initiated", None, None)
    assert (first.account_id, first.call_id, first.direction) == (ACCOUNT, "c-1", "inbound")
    assert first.var_from == call.caller and first.to == call.called
    call.answer()
    assert (await state()).state == "answered"
    call.end("callback-error", "no answer")
    last = await state()
    assert (last.state, last.disconnect_cause) == ("disconnected", "callback-error")
    assert last.error_message == "no answer"
    assert first.start_time <= last.answer_time <= last.end_time <= datetime.now(UTC)
    with pytest.raises(ApiException) as caught:
        await asked(api.get_call_state_with_http_info, "c-2")
    assert caught.value.status == 404


async def test_the_sdk_makes_a_call(server: VoiceAPIServer) -> None:
    api = sdk(server)
    wanted = bandwidth.CreateCall(
        **{"from": "+15555550100"}, to="+15555550142", applicationId="app",
        answerUrl="https://bot.example/answer", username="u", password="secret", tag="t",
    )  # fmt: skip
    status, told = await asked(api.create_call_with_http_info, wanted)
    assert status == 201
    call: KnownCall = server.calls.made.get_nowait()
    assert told.call_id == call.call_id and told.call_url.endswith(f"/calls/{call.call_id}")
    assert told.password is None, "a secret is not said again"
    assert (call.direction, call.caller, call.called) == ("outbound", "+15555550100", told.to)
    assert call.tag == "t" and call.made_by["password"] == "secret"
    _, state = await asked(api.get_call_state_with_http_info, call.call_id)
    assert (state.state, state.direction) == ("initiated", "outbound")


async def greet(websocket: WebSocket) -> None:
    await websocket.accept()
    await play(websocket, tone(0.1, 24000))
    await websocket.close()


async def test_a_bot_that_makes_the_call_is_asked_when_it_is_answered(
    server: VoiceAPIServer,
) -> None:
    """With Bandwidth's SDK in the bot."""
    bot = Bot(greet, answer="<Response>{stream}</StartStream>" + STOP + "</Response>")

    @bot.app.post("/dial", status_code=202)
    async def dial(request: Request) -> None:
        url = str(request.base_url)
        wanted = bandwidth.CreateCall(
            **{"from": "+15555550111"}, to="+15555550122", applicationId="app", tag="t",
            answerUrl=f"{url}nothing", answerFallbackUrl=f"{url}pages/answer",
            answerFallbackMethod="GET", disconnectUrl=f"{url}status",
        )  # fmt: skip
        await asyncio.to_thread(sdk(server).create_call, ACCOUNT, wanted)

    async with bot.running() as url:
        call = await simulate(f"{url}/dial", script_of(), voice_api=server, outbound=True)
    answer, *_, disconnect = bot.webhooks
    assert bandwidth.DisconnectCallback.from_dict(disconnect).cause == "hangup"
    assert (answer["eventType"], answer["method"], answer["tag"]) == ("answer", "GET", "t")
    assert (answer["from"], answer["to"]) == ("+15555550111", "+15555550122")
    assert answer["direction"] == "outbound" and answer["answerTime"] >= answer["startTime"]
    assert (disconnect["eventType"], disconnect["cause"]) == ("disconnect", "hangup")
    assert call.ended_by == "closed" and call.call_id == answer["callId"]


async def test_a_bot_that_makes_no_call_is_not_waited_for_for_ever(
    server: VoiceAPIServer,
) -> None:
    bot = Bot(greet)
    async with bot.running() as url, httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(SimulationError, match=r"^outbound: .*/dial answered 404 Not Found"):
            await simulate(f"{url}/dial", script_of(), voice_api=server, outbound=True)
        with pytest.raises(SimulationError, match=r"^outbound: no POST .*within 0.1 s"):
            await made_call(client, server.calls, "", ("", ""), 0.1)
    with pytest.raises(ValueError, match="made at a voice_api"):
        await simulate("", script_of(), outbound=True)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "complaint"),
    [
        ("POST", "calls/c-1", {"state": "done"}, 400, "must end or redirect"),
        ("POST", "calls/c-1", {}, 400, "must end or redirect"),
        ("POST", "calls/c-1", [], 400, "must end or redirect"),
        ("POST", "calls/c-1", {"state": "active"}, 400, "redirectUrl is no address"),
        ("POST", "calls/c-1", {"redirectUrl": "/next"}, 400, "redirectUrl is no address"),
        ("POST", "calls/c-1", {"redirectUrl": 5}, 400, "redirectUrl must be text"),
        ("POST", "calls/c-1", {"state": "completed", "tag": "x"}, 400, "tag is not allowed"),
        ("POST", "calls/c-1", {"state": "completed", "redirectUrl": "http://h/"}, 400,
         "redirectUrl is not allowed"),
        ("POST", "calls/c-1", {"state": "completed", "redirectMethod": "PUT"}, 400, "GET or POST"),
        ("POST", "calls/c-1", {"state": "completed", "status": "x"}, 400, "no field 'status'"),
        ("POST", "calls", {"from": "+1", "to": "+2", "answerUrl": "http://h/"}, 400,
         "applicationId is missing"),
        ("POST", "calls", {"from": "+1", "to": "+2", "answerUrl": "h", "applicationId": "a"}, 400,
         "answerUrl is no address"),
        ("PUT", "calls/c-1", {"state": "completed"}, 405, "PUT is not for this address"),
        ("POST", "calls", {"from": "+1", "to": "+2", "answerUrl": "http://h/", "applicationId": "a",
                           "answerFallbackUrl": "h"}, 400, "answerFallbackUrl is no address"),
        ("POST", "calls/c-1", {"redirectUrl": "http://h/", "redirectFallbackUrl": "h"}, 400,
         "redirectFallbackUrl is no address"),
        ("PUT", "calls", None, 405, "PUT is not for this address"),
        ("POST", "calls/c-1/bxml", {}, 405, "POST is not for this address"),
        ("PUT", "calls/c-1/bxml", {}, 415, "application/xml"),
        ("GET", "recordings", None, 404, "nothing at this address"),
    ],
)  # fmt: skip
async def test_what_is_not_documented_is_refused(
    server: VoiceAPIServer, method: str, path: str, body: Any, status: int, complaint: str
) -> None:
    call = server.add(ACCOUNT, "c-1")
    async with httpx.AsyncClient(trust_env=False) as client:
        pair = (server.client_id, server.client_secret)
        token = (await client.post(server.token_url, auth=pair)).json()["access_token"]
        url = f"{server.base_url}/accounts/{ACCOUNT}/{path}"
        headers = {"Authorization": f"Bearer {token}"}
        answer = await client.request(method, url, json=body, headers=headers)
    assert answer.status_code == status
    assert complaint in answer.json()["description"]
    assert not call.over.is_set() and not call.updated.is_set() and server.calls.made.empty()
