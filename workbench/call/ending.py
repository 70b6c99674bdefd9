"""How a call ended, when, and who brought it about, as far as the capture tells.

The far end says ``stop``, or a hang-up is confirmed, or the WebSocket is simply gone. What comes
behind that has no part in it: Pipecat's transport sends two seconds of silence before it ends, and
pushes a ``CancelFrame`` when it finds its socket closed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from workbench.call.streams import Event, HangUpRecord

__all__ = ["Ending", "How", "Who", "ending_of", "final_stop"]

How: TypeAlias = Literal["stop", "hang_up", "socket", "open"]
Who: TypeAlias = Literal["bot", "far end"]

#: Media that still come so much later than ``stop``, in seconds, were not under way: it goes on.
UNDER_WAY: Final = 1.0


@dataclass(frozen=True)
class Ending:
    """The end of a call.

    Parameters:
        time: In seconds on the call's clock.
        how: ``stop`` came; ``hang_up``, the Voice API confirmed one; ``socket``, it was gone
            without either; ``open``, the call outlasts the recording.
        by: Who brought it about; ``None`` where the capture does not tell.
    """

    time: float
    how: How
    by: Who | None


def ending_of(
    events: Sequence[Event],
    hang_ups: Sequence[HangUpRecord],
    *,
    stop: float | None,
    last: float,
    until: float,
    is_idle: bool = False,
) -> Ending:
    """Tell how a call ended.

    Args:
        events: What happened, in order.
        hang_ups: The serializer's attempts to end the call, in order.
        stop: When the last stream stopped, see :func:`final_stop`.
        last: When the last message went over the WebSocket.
        until: How long the call lasted at least, should it have no end.
        is_idle: Whether the recording ended because there was nothing more to record.
    """
    asked = _asked(events, hang_ups, last)
    # Not before it began, which is with the first message that came, or the first audio.
    confirmed = [max(0.0, hang_up.time) for hang_up in hang_ups if hang_up.outcome == "ended"]
    hung_up = confirmed[0] if confirmed and asked is not None else None
    if hung_up is not None and (stop is None or hung_up < stop):
        return Ending(hung_up, "hang_up", "bot")
    if stop is not None:
        return Ending(stop, "stop", "bot" if asked is not None and asked <= stop else "far end")
    was_over = any(hang_up.outcome == "already_over" for hang_up in hang_ups)
    if was_over or is_idle or any(event.kind in ("end", "cancel") for event in events):
        return Ending(
            last, "socket", "bot" if asked is not None else "far end" if was_over else None
        )
    return Ending(until, "open", None)


def final_stop(events: Sequence[Event], last_media: float) -> float | None:
    """When the last stream stopped; ``None`` if it never did.

    Args:
        events: What happened, in order.
        last_media: When the last of the caller's audio came: a stop that it goes on after ended
            one stream of several.
    """
    last_start = max((event.time for event in events if event.kind == "start"), default=-math.inf)
    going = max(last_start, last_media - UNDER_WAY)
    return next(
        (event.time for event in events if event.kind == "stop" and event.time >= going), None
    )


def _asked(events: Iterable[Event], hang_ups: Iterable[HangUpRecord], last: float) -> float | None:
    """When the bot first asked for the end.

    Pipecat cancels a pipeline whose socket is gone, and that hangs up: what comes after the last
    message followed from the end.
    """
    ends = [event.time for event in events if event.kind == "end"]
    cancels = [event.time for event in events if event.kind == "cancel"]
    begun = [hang_up.time - (hang_up.took_ms or 0.0) / 1000 for hang_up in hang_ups]
    return min([*ends, *(time for time in cancels + begun if time <= last)], default=None)
