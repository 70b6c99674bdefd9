"""Bandwidth's side of a phone call, on this machine: webhook, BXML, WebSocket, media, webhooks.

All of it is real: HTTP requests, a WebSocket client, 20 ms of audio every 20 ms of the clock. What
it takes from Bandwidth's documentation and live calls is in the shape of its messages; where
nothing is documented (queue limits, pacing, time-outs) it does the simplest thing. A bot that
passes here conforms to the protocol as known, not to Bandwidth's undocumented behaviour.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import httpx
import numpy as np

from pipecat_bandwidth.encodings import PCMU, WireFormat
from workbench.audio import Audio
from workbench.exceptions import SimulationError
from workbench.simulator.caller import Caller
from workbench.simulator.calls import ACCOUNT, KnownCall, new_id
from workbench.simulator.leg import CallerLeg, Progress
from workbench.simulator.line import Line
from workbench.simulator.outbound import made_call
from workbench.simulator.playing import Player, read_document
from workbench.simulator.route import Route
from workbench.simulator.script import Script
from workbench.simulator.truth import EndedBy, SimulatedCall
from workbench.simulator.voice_api import VoiceAPIServer
from workbench.simulator.webhooks import Webhooks

__all__ = ["simulate"]

#: Bandwidth states none for the WebSocket; the webhook's is taken.
_CONNECT_SECS: Final = 15.0

#: ``cause`` of the ``disconnect`` webhook, by the step that failed.
_CAUSES: Final = {"webhook": "callback-error", "BXML": "invalid-bxml"}

_PERFECT_LINE: Final = Line()


async def simulate(
    webhook_url: str,
    script: Script,
    *,
    username: str = "",
    password: str = "",
    status_url: str = "",
    line: Line = _PERFECT_LINE,
    leg: WireFormat = PCMU,
    voice_api: VoiceAPIServer | None = None,
    route: Route | None = None,
    outbound: bool = False,
    max_secs: float = 300.0,
    on_progress: Callable[[Progress], None] | None = None,
) -> SimulatedCall:
    """Call a bot, speak the script to it, and say what truly happened.

    Args:
        webhook_url: Where the bot takes the ``initiate`` webhook.
        script: What the caller says.
        username: HTTP Basic user for the webhooks; ``""`` for none.
        password: Its password.
        status_url: Where the ``disconnect`` webhook goes; ``""`` for nowhere.
        line: How bad the line from the caller to the bot is.
        leg: Encoding and rate of the line to the caller: all that they hear has been through it.
        voice_api: Where the bot hangs up. The call is made known there, and ends when it is asked
            to end.
        route: Where connections go, and whom they trust; to where the BXML says, if none is given.
        outbound: Whether the bot makes the call: ``webhook_url`` is posted to so that it does (``""``
            if it does by itself), and the call is placed and answered when it asks ``voice_api``.
        max_secs: Longest duration in seconds; then the caller hangs up.
        on_progress: Told of every turn, and of every second.

    Returns:
        The ground truth of the call.

    Raises:
        SimulationError: If a step fails; it names the step and what came back.
        ValueError: If the call is outbound and there is no ``voice_api`` to ask for it.
    """
    if outbound and voice_api is None:
        raise ValueError("an outbound call is made at a voice_api: give one")
    caller = Caller(script, seed=line.seed)
    route = route or Route()
    # Nothing of the environment (proxies, netrc) belongs on a loopback call.
    async with httpx.AsyncClient(trust_env=False, timeout=None, verify=route.tls) as client:
        voice_url = voice_api.base_url if voice_api else ""
        if voice_api and outbound:
            known = await made_call(client, voice_api.calls, webhook_url, (username, password))
            known.answer()
            webhook_url, status_url, username, password = _asked_for(known)
        else:
            known = voice_api.add(ACCOUNT, new_id("c")) if voice_api else KnownCall()
        webhooks = Webhooks(
            client, known, webhook_url, status_url, (username, password), voice_url, max_secs,
            route,
        )  # fmt: skip
        far_end = CallerLeg(caller, line, leg, max_secs, on_progress)
        webhooks.clock = lambda: far_end.now
        player = Player(webhooks, far_end, route, min(_CONNECT_SECS, max_secs), max_secs)
        try:
            document = read_document(*await webhooks.first())
            known.answer()
            ended_by = await player.play(document)
        except SimulationError as error:
            await webhooks.disconnect(_CAUSES.get(error.step, "error"), error.reason)
            raise
        await webhooks.disconnect("hangup")
    return _truth(webhooks, far_end, player, ended_by, voice_api)


def _asked_for(call: KnownCall) -> tuple[str, str, str, str]:
    """Where a call that was made has its webhooks, and their user and password."""
    names = "answerUrl", "disconnectUrl", "username", "password"
    answer, disconnect, username, password = (call.made_by.get(name, "") for name in names)
    return answer, disconnect, username, password


def _truth(
    webhooks: Webhooks,
    leg: CallerLeg,
    player: Player,
    ended_by: EndedBy,
    voice_api: VoiceAPIServer | None,
) -> SimulatedCall:
    playback, caller, call = leg.playback, leg.caller, webhooks.call
    turns = [*caller.heard_turns(playback.utterances), *caller.spoken]
    requests = voice_api.hang_ups(call.call_id) if voice_api else []
    completed = [request.time for request in requests if 200 <= request.status < 300]
    first, last = player.streams[0], player.streams[-1]
    return SimulatedCall(
        title=caller.script.title,
        account_id=call.account_id,
        call_id=call.call_id,
        stream_id=first.start.stream_id,
        started_at=leg.started_at,
        started_ns=leg.started_ns,
        duration=last.ended,
        ended_by=ended_by,
        stranded_secs=player.stranded_secs,
        close_code=last.close_code,
        verbs=player.played,
        bidirectional=any(stream.bidirectional for stream in player.streams),
        planned=tuple(turn.id for turn in caller.script.side("caller")),
        caller_sent=Audio.from_pcm(PCMU.decode(bytes(leg.caller_sent)), PCMU.sample_rate),
        caller_heard=Audio.from_pcm(playback.played, playback.leg.sample_rate),
        turns=tuple(sorted(turns, key=lambda turn: turn.start)),
        occurrences=tuple(caller.occurrences),
        sent_time=np.array([sent for sent, _ in leg.sent]),
        sent_sequence=np.array([number for _, number in leg.sent], dtype=np.int64),
        received_time=np.array([arrived for arrived, _ in leg.received]),
        received_duration=np.array([length for _, length in leg.received]),
        clears=tuple(leg.clears),
        underruns=tuple(playback.underruns),
        said_secs=playback.said_secs,
        discarded_secs=playback.discarded_secs,
        high_water_secs=playback.high_water_secs,
        protocol_errors=tuple(leg.protocol_errors),
        hung_up=completed[0] - leg.started_ns / 1e9 if completed else None,
        webhooks=tuple(webhooks.posted),
        late_ms=leg.late_secs * 1000,
    )
