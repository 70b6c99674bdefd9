"""BXML as it is played on one call: verb after verb, each in its time, until the call is over.

Streams run beside the verbs. A request at the Voice API takes the place of the verb in progress and
of the rest of its document; the streams go on. What no other party is simulated for stays simple:
who is called by a ``<Transfer>`` talks on until the caller hangs up, and nobody presses a key.
"""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeAlias

from pipecat_bandwidth.messages import Start, Track
from workbench.exceptions import SimulationError
from workbench.simulator.bxml import Document, NotBXML, parse
from workbench.simulator.caller import PATIENCE
from workbench.simulator.calls import Update, new_id
from workbench.simulator.leg import CallerLeg
from workbench.simulator.playback import TICK
from workbench.simulator.route import Route
from workbench.simulator.start_stream import MAX_TRACKS, StartStream
from workbench.simulator.stream import Stream, connect
from workbench.simulator.truth import EndedBy, Played
from workbench.simulator.verbs import HANDS_ON, Verb
from workbench.simulator.webhooks import Webhooks

__all__ = ["Player", "read_document"]

#: Documents in a row of which none takes time: they would go on for ever.
_MAX_INSTANT: Final = 20
#: Longer after the last stream the caller is kept on the line.
_AT_ONCE: Final = 0.1

#: What a verb leads to: the next one, another document, or the end of the call.
_Next: TypeAlias = Document | EndedBy | None

#: What events say beside the facts of the call: no key was pressed, and who records is not told.
_DETAILS: Final[dict[str, dict[str, str]]] = {
    "gather": {"digits": "", "terminatingDigit": ""},
    "recordComplete": {"fileFormat": "wav"},
}


class Player:
    """Plays one call's documents.

    Args:
        webhooks: Ask for documents and tell of streams.
        leg: The caller.
        route: Where WebSockets go.
        patience: Seconds that the opening of one may take.
        max_secs: Longest time before the first stream, in seconds.

    Attributes:
        streams: Those that were opened, in order.
        stranded_secs: How long the caller was on the line after the bot had closed the last.
    """

    def __init__(
        self, webhooks: Webhooks, leg: CallerLeg, route: Route, patience: float, max_secs: float
    ) -> None:
        """See the class."""
        self.streams: list[Stream] = []
        self.stranded_secs = 0.0
        self._webhooks = webhooks
        self._leg = leg
        self._route = route
        self._patience = patience
        self._max_secs = max_secs
        self._played: list[tuple[str, float, float]] = []
        self._lives: list[asyncio.Task[None]] = []
        self._begun = self._heard = time.monotonic()

    @property
    def played(self) -> tuple[Played, ...]:
        """The verbs that were played."""
        zero = self._leg.started_ns / 1e9
        return tuple(Played(name, begun - zero, secs) for name, begun, secs in self._played)

    async def play(self, document: Document) -> EndedBy:
        """Play a document, and those that it leads to.

        Returns:
            Who ended the call.

        Raises:
            SimulationError: If there was no stream, or a step failed.
        """
        try:
            ended_by = await self._play(document)
            if not self.streams:
                raise SimulationError("BXML", self._without_a_stream(ended_by))
            last = self.streams[-1]
            after = self._leg.now - last.ended
            if last.closed_by_bot and after > _AT_ONCE and ended_by != "handed on":
                self.stranded_secs = after
            elif last.closed_by_bot and ended_by == "BXML":
                ended_by = "closed"
            return ended_by
        finally:
            for stream in list(self._leg.streams):
                await stream.stop()
            await self._leg.end()
            await asyncio.gather(*self._lives)

    async def _play(self, document: Document) -> EndedBy:
        verbs, instant = deque(document.verbs), 0
        while verbs:
            verb = verbs.popleft()
            begun = time.monotonic()
            after = await self._carry_out(verb, verbs)
            self._played.append((verb.name, begun, time.monotonic() - begun))
            instant = 0 if verb.secs or verb.waits else instant
            if isinstance(after, Document):
                instant += 1
                if instant > _MAX_INSTANT:
                    reason = f"{instant} documents in a row take no time: they lead in a circle"
                    raise SimulationError("BXML", reason)
                verbs = deque(after.verbs)
            elif after is not None:
                return after
        return "BXML"

    def _without_a_stream(self, ended_by: EndedBy) -> str:
        verb, before = (
            self._played[-1][0] if self._played else "",
            "before <StartStream> is reached",
        )
        if ended_by == "BXML":
            return (
                f"<Hangup> ends the call {before}" if verb == "Hangup" else "no <StartStream> in it"
            )
        reasons = {
            "handed on": f"<{verb}> hands the caller on, where the simulator cannot follow,",
            "hang up": "the bot hung up through the Voice API",
            "caller": f"the caller hung up after {PATIENCE:g} s of silence,",
            "timeout": "the time was up",
        }
        return f"{reasons[ended_by]} {before}"

    # -- one verb ------------------------------------------------------------------------------

    async def _carry_out(self, verb: Verb, rest: Sequence[Verb]) -> _Next:
        """Play a verb; what comes next."""
        if verb.tag is not None:
            self._webhooks.call.tag = verb.tag
        if verb.name == "Hangup":
            return "BXML"
        if verb.stream is not None:
            await self._open(verb.stream, rest)
            return None
        if verb.name == "StopStream":
            return await self._stop(verb)
        if verb.name in HANDS_ON:
            after = await self._wait(math.inf, math.inf, lambda: not self._leg.streams)
            return after or "handed on"
        after = await self._wait(verb.secs, verb.heard_secs)
        if after is None and verb.event:
            asked = verb.event, verb.url, verb.method, verb.credentials, _DETAILS.get(verb.event)
            return read_document(*await self._webhooks.ask(*asked, verb.fallback))
        return after

    async def _stop(self, verb: Verb) -> _Next:
        named = [stream for stream in self._leg.streams if stream.name == verb.stops]
        if named and not verb.waits:
            await named[0].stop()
        secs = math.inf if named and verb.waits else 0.0
        return await self._wait(secs, until=lambda: named[0].over.is_set())

    async def _wait(
        self, secs: float, heard_secs: float = 0.0, until: Callable[[], bool] = lambda: False
    ) -> _Next:
        """Let time pass.

        Args:
            secs: How much.
            heard_secs: How long the caller hears something meanwhile.
            until: Whether it is over before.

        Returns:
            What took the place of the rest of the document, if something did.
        """
        begun = time.monotonic()
        while True:
            self._raise_what_broke()
            if (after := await self._interruption(begun + heard_secs)) is not None:
                return after
            left = begun + secs - time.monotonic()
            if left <= 0 or until():
                return None
            await asyncio.sleep(min(left, TICK))

    async def _interruption(self, heard_until: float) -> _Next:
        """What ends the verb in progress, if anything does."""
        call, now = self._webhooks.call, time.monotonic()
        if call.over.is_set():
            return "hang up"
        if call.updated.is_set():
            return await self._update(call.take_update())
        if self._leg.ended_by is not None:
            return self._leg.ended_by
        if not self.streams and now > self._begun + self._max_secs:
            return "timeout"
        if self._leg.streams or now < heard_until:
            self._heard = now
        return "caller" if now > self._heard + PATIENCE else None

    async def _update(self, update: Update) -> Document:
        """The document that a request at the Voice API has put in place of this one."""
        if update.bxml:
            return read_document("application/xml", update.bxml)
        asked = "redirect", update.url, update.method, update.credentials
        return read_document(*await self._webhooks.ask(*asked, fallback=update.fallback))

    def _raise_what_broke(self) -> None:
        self._leg.raise_failure()
        for stream in self.streams:
            if stream.error is not None:
                raise stream.error

    # -- streams -------------------------------------------------------------------------------

    async def _open(self, wanted: StartStream, rest: Sequence[Verb]) -> None:
        """Open a stream, unless Bandwidth would reject it."""
        self._expect_a_hold(wanted, rest)
        stream_id = new_id("s")
        told: Callable[..., Coroutine[Any, Any, None]] = functools.partial(
            self._webhooks.stream_event, wanted, stream_id
        )
        live = self._leg.streams
        if wanted.name in (stream.name for stream in live):
            return await told("mediaStreamRejected", cause="duplicate")
        if sum(len(s.tracks) for s in live) + len(wanted.tracks) > MAX_TRACKS:
            return await told("mediaStreamRejected", cause="track-limit")
        try:
            websocket = await connect(wanted, self._route, self._patience)
        except SimulationError as error:
            cause = {"cause": "connection-error", "errorMessage": error.reason}
            await told("mediaStreamRejected", **cause)
            raise
        call = self._webhooks.call
        start = Start(
            stream_id=stream_id,
            call_id=call.call_id,
            account_id=call.account_id,
            stream_name=wanted.name or stream_id,
            tracks=tuple(Track(name) for name in wanted.tracks),
            stream_params=dict(wanted.params),
        )
        stream = Stream(websocket, start, wanted.bidirectional, self._leg)
        self.streams.append(stream)
        await self._leg.join(stream)
        self._lives.append(asyncio.create_task(self._tell(stream, told)))
        return None

    async def _tell(self, stream: Stream, told: Callable[..., Coroutine[Any, Any, None]]) -> None:
        """Send the webhooks of a stream's life."""
        await told("mediaStreamStarted")
        await stream.over.wait()
        cause = {"cause": "closed"}
        if stream.error is not None:
            cause = {"cause": "connection-error", "errorMessage": stream.error.reason}
        await told("mediaStreamStopped", secs=stream.ended - stream.began, **cause)

    def _expect_a_hold(self, wanted: StartStream, rest: Sequence[Verb]) -> None:
        """Refuse a stream that would be over as soon as it begins."""
        names = {stream.name for stream in self._leg.streams} | {wanted.name}
        names |= {verb.stream.name for verb in rest if verb.stream}
        for verb in rest:
            if verb.name == "Hangup":
                reason = "<Hangup> ends the call before anything holds the call"
                raise SimulationError("BXML", reason)
            if verb.secs or verb.name == "Redirect" or (verb.waits and verb.stops in names - {""}):
                return
            if verb.name == "StopStream" and verb.stops == wanted.name:
                break
        raise SimulationError(
            "BXML",
            "nothing holds the call while the stream runs, so it ends at once: "
            'after <StartStream name="bot"> put <StopStream name="bot" wait="true"/>',
        )


def read_document(content_type: str, body: bytes) -> Document:
    """Read a webhook's answer.

    Raises:
        SimulationError: If it is no BXML, or Bandwidth would reject it.
    """
    try:
        return parse(body)
    except NotBXML as error:
        begins = body[:60].decode(errors="replace").strip()
        what = f"{content_type[:60] or 'of no type'} and begins {begins!r}" if body else "empty"
        raise SimulationError("BXML", f"{error}; the answer is {what}") from None
    except ValueError as error:
        raise SimulationError("BXML", str(error)) from None
