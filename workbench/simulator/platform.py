"""Bandwidth's side of a phone call, on this machine: webhook, BXML, WebSocket, media, webhooks.

All of it is real: HTTP requests, a WebSocket client, 20 ms of audio every 20 ms of the clock. What
it takes from Bandwidth's documentation and live calls is in the shape of its messages; where
nothing is documented (queue limits, pacing, time-outs) it does the simplest thing. A bot that
passes here conforms to the protocol as known, not to Bandwidth's undocumented behaviour.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import httpx
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException
from websockets.headers import build_authorization_basic

from pipecat_bandwidth.encodings import PCMU, WireFormat
from pipecat_bandwidth.messages import Start, Track
from workbench.audio import Audio
from workbench.exceptions import SimulationError
from workbench.simulator.bxml import Document, NotBXML, StartStream, parse
from workbench.simulator.caller import PATIENCE, Caller
from workbench.simulator.calls import ACCOUNT, KnownCall, new_id
from workbench.simulator.line import Line
from workbench.simulator.route import Route, ssl_advice
from workbench.simulator.script import Script
from workbench.simulator.stream import MAX_PLAY_AUDIO, Progress, Stream
from workbench.simulator.truth import EndedBy, SimulatedCall
from workbench.simulator.voice_api import VoiceAPIServer
from workbench.simulator.webhooks import Webhooks

__all__ = ["Progress", "simulate"]

#: Bandwidth states none for the WebSocket; the webhook's is taken.
_CONNECT_SECS: Final = 15.0
#: How long a bot may take to answer the closing of the WebSocket.
_CLOSE_SECS: Final = 2.0

#: ``cause`` of the ``disconnect`` webhook, by the step that failed.
_CAUSES: Final = {"webhook": "callback-error", "BXML": "invalid-bxml"}

#: What helps where the host of the BXML is not to be reached.
_ELSEWHERE: Final = (
    "; if that is the name of a tunnel or a proxy, --connect-to HOST:PORT goes to the bot itself "
    "(ws://HOST:PORT where it has no TLS)"
)

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
        max_secs: Longest duration in seconds; then the caller hangs up.
        on_progress: Told of every turn, and of every second.

    Returns:
        The ground truth of the call.

    Raises:
        SimulationError: If a step fails; it names the step and what came back.
    """
    caller = Caller(script, seed=line.seed)
    route = route or Route()
    # Nothing of the environment (proxies, netrc) belongs on a loopback call.
    async with httpx.AsyncClient(trust_env=False, timeout=None, verify=route.tls) as client:
        voice_url = voice_api.base_url if voice_api else ""
        known = voice_api.add(ACCOUNT, new_id("c")) if voice_api else KnownCall()
        webhooks = Webhooks(
            client, known, webhook_url, status_url, (username, password), voice_url, max_secs,
            route,
        )  # fmt: skip
        stream_id = new_id("s")
        try:
            document = _read(*await webhooks.initiate())
            known.answer()
            stream = Stream(
                await _connect(
                    webhooks, route, document.stream, stream_id, min(_CONNECT_SECS, max_secs)
                ),
                _start(known, document.stream, stream_id),
                document.stream.bidirectional,
                caller,
                line,
                leg,
                on_progress,
            )
            ended_by, stranded = await _carry(webhooks, document, stream, stream_id, max_secs)
        except SimulationError as error:
            await webhooks.disconnect(_CAUSES.get(error.step, "error"), error.reason)
            raise
        await webhooks.stream_event(
            document.stream, stream_id, "mediaStreamStopped", cause="closed"
        )
        await webhooks.disconnect("hangup")
    return _truth(webhooks, document, stream, stream_id, ended_by, stranded, voice_api)


def _read(content_type: str, body: bytes) -> Document:
    """Read the webhook's answer; refuse what would end the call at once."""
    try:
        document = parse(body)
    except NotBXML as error:
        begins = body[:60].decode(errors="replace").strip()
        what = f"{content_type[:60] or 'of no type'} and begins {begins!r}" if body else "empty"
        raise SimulationError("BXML", f"{error}; the answer is {what}") from None
    except ValueError as error:
        raise SimulationError("BXML", str(error)) from None
    if document.keep_alive is None:
        raise SimulationError(
            "BXML",
            "nothing holds the call while the stream runs, so it ends at once: "
            'after <StartStream name="bot"> put <StopStream name="bot" wait="true"/>',
        )
    return document


async def _connect(
    webhooks: Webhooks, route: Route, stream: StartStream, stream_id: str, patience: float
) -> ClientConnection:
    headers = {}
    if stream.credentials:
        headers["Authorization"] = build_authorization_basic(*stream.credentials)
    destination, options = route.websocket(stream.destination)
    try:
        return await connect(
            destination,
            additional_headers=headers,
            open_timeout=patience,
            close_timeout=_CLOSE_SECS,
            ping_interval=None,  # Not documented, so a bot need not answer.
            max_size=MAX_PLAY_AUDIO,
            proxy=None,
            compression=None,
            **options,
        )
    except InvalidStatus as error:
        answer = error.response
        reason = f"the bot answered {answer.status_code} {answer.reason_phrase[:60]}"
    except TimeoutError:
        reason = f"no answer within {patience:g} s"
    except InvalidURI as error:
        location = error.uri.partition("?")[0][:200]
        reason = f"the bot redirects to {location}, which is no WebSocket address"
    except (OSError, ValueError) as error:
        # Without the path: there may be a token in it.
        reason = f"no connection to {urlsplit(stream.destination).netloc}: {error}"
        reason += ssl_advice(error) or ("" if route.connect_to else _ELSEWHERE)
    except WebSocketException as error:
        reason = str(error) or type(error).__name__
    cause = {"cause": "connection-error", "errorMessage": reason}
    await webhooks.stream_event(stream, stream_id, "mediaStreamRejected", **cause)
    raise SimulationError("WebSocket", reason)


def _start(call: KnownCall, stream: StartStream, stream_id: str) -> Start:
    return Start(
        stream_id=stream_id,
        call_id=call.call_id,
        account_id=call.account_id,
        stream_name=stream.name or stream_id,
        tracks=tuple(Track(name) for name in stream.tracks),
        stream_params=dict(stream.params),
    )


async def _carry(
    webhooks: Webhooks, document: Document, stream: Stream, stream_id: str, max_secs: float
) -> tuple[EndedBy, float]:
    """Run the stream, and then the rest of the BXML.

    Returns:
        Who ended the call, and how long the caller was on the line after the stream.
    """
    pause_secs = document.pause_secs if document.keep_alive == "Pause" else math.inf
    webhooks.clock = lambda: stream.now
    hung_up = webhooks.call.over
    started = asyncio.create_task(
        webhooks.stream_event(document.stream, stream_id, "mediaStreamStarted")
    )
    try:
        ended_by = await stream.run(hung_up, min(max_secs, pause_secs))
    except SimulationError as error:
        cause = {"cause": "connection-error", "errorMessage": error.reason}
        await webhooks.stream_event(document.stream, stream_id, "mediaStreamStopped", **cause)
        raise
    finally:
        await started
    if ended_by == "timeout" and pause_secs <= max_secs:
        return "Pause", 0.0
    if ended_by != "closed" or document.keep_alive != "Pause":
        return ended_by, 0.0
    # A <Pause> outlives the stream: silence, until somebody hangs up.
    left = pause_secs - stream.duration
    try:
        async with asyncio.timeout(min(PATIENCE, left)):
            await hung_up.wait()
        ended_by = "hang up"
    except TimeoutError:
        ended_by = "caller" if PATIENCE < left else "Pause"
    return ended_by, stream.now - stream.duration


def _truth(
    webhooks: Webhooks,
    document: Document,
    stream: Stream,
    stream_id: str,
    ended_by: EndedBy,
    stranded_secs: float,
    voice_api: VoiceAPIServer | None,
) -> SimulatedCall:
    playback, caller = stream.playback, stream.caller
    turns = [*caller.heard_turns(playback.utterances), *caller.spoken]
    requests = voice_api.hang_ups(webhooks.call.call_id) if voice_api else []
    completed = [request.time for request in requests if 200 <= request.status < 300]
    return SimulatedCall(
        title=caller.script.title,
        account_id=webhooks.call.account_id,
        call_id=webhooks.call.call_id,
        stream_id=stream_id,
        started_at=stream.started_at,
        started_ns=stream.started_ns,
        duration=stream.duration,
        ended_by=ended_by,
        stranded_secs=stranded_secs,
        close_code=stream.close_code,
        keep_alive=document.keep_alive or "",
        before=document.before,
        bidirectional=document.stream.bidirectional,
        planned=tuple(turn.id for turn in caller.script.side("caller")),
        caller_sent=Audio.from_pcm(PCMU.decode(bytes(stream.caller_sent)), PCMU.sample_rate),
        caller_heard=Audio.from_pcm(playback.played, playback.leg.sample_rate),
        turns=tuple(sorted(turns, key=lambda turn: turn.start)),
        occurrences=tuple(caller.occurrences),
        sent_time=np.array([sent for sent, _ in stream.sent]),
        sent_sequence=np.array([number for _, number in stream.sent], dtype=np.int64),
        received_time=np.array([arrived for arrived, _ in stream.received]),
        received_duration=np.array([length for _, length in stream.received]),
        clears=tuple(stream.clears),
        underruns=tuple(playback.underruns),
        said_secs=playback.said_secs,
        discarded_secs=playback.discarded_secs,
        high_water_secs=playback.high_water_secs,
        protocol_errors=tuple(stream.protocol_errors),
        hung_up=completed[0] - stream.started_ns / 1e9 if completed else None,
        webhooks=tuple(webhooks.posted),
        late_ms=stream.late_secs * 1000,
    )
