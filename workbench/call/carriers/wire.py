"""What goes over any carrier's WebSocket, whatever it is called there; and what reads it.

A :class:`Carrier` turns one message into one of these values:

================================== ========= ======================================================
value                              direction says
================================== ========= ======================================================
:class:`Media`                     either    audio: of one track inbound, to be queued outbound
``pipecat_bandwidth.messages``     inbound   ``Start``, ``Stop``; outbound ``Clear``: empty the queue
:class:`Mark`                      outbound  say so when all that was sent before is played
:class:`Mark`                      inbound   it is: the mark of that name comes back
:class:`Cleared`                   inbound   the queue was emptied, as the bot had asked
``pipecat_bandwidth.messages``     either    ``Other``: the protocol's, and of no matter here
================================== ========= ======================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias

from msgspec import Struct

from pipecat_bandwidth.encodings import WireFormat
from pipecat_bandwidth.exceptions import ProtocolError
from pipecat_bandwidth.messages import Clear, Other, Start, Stop
from workbench.capture import HangUp

__all__ = ["MAX_SENT", "Advice", "Carrier", "Cleared", "Mark", "Media", "Received", "Sent"]

#: A message of the bot may hold seconds of speech, in characters; one that arrived was read by the
#: serializer under its own, smaller limit.
MAX_SENT: Final = 64 * 1024 * 1024


class Media(Struct, frozen=True, gc=False):
    """Audio of one track.

    Attributes:
        payload: Encoded bytes.
        wire: How they are encoded.
        sequence: Number of the message among those of audio; -1 where nobody counts.
        is_caller: Inbound, whether it is the caller's own; of the bot's there may be a copy.
    """

    payload: bytes
    wire: WireFormat
    sequence: int = -1
    is_caller: bool = True


class Mark(Struct, frozen=True, gc=False):
    """A place in what the bot sends, by name: outbound it is set, inbound it has been reached.

    Attributes:
        name: As the bot gave it, at most 256 characters.
    """

    name: str


class Cleared(Struct, frozen=True, gc=False):
    """The far end has emptied its queue."""


Received: TypeAlias = Media | Start | Stop | Mark | Cleared | Other
Sent: TypeAlias = Media | Clear | Mark | Other


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to change at a carrier or in its serializer, by the names that it has there.

    Parameters:
        report: Who can look into what the bot does not cause, and by which id.
        both_ways: What lets the caller's audio through, a sentence.
        track: Why the bot is sent its own voice, and what ends that: two sentences.
        stays_up: Why a stream may end at once, and what keeps it up: two sentences.
        closed: What becomes of the call when the WebSocket is gone, a sentence.
        encoding: Where the caller's encoding is told and set, a sentence.
        decode: What ``deserialize`` has to do, a sentence.
        declare: What ``serialize`` has to do, a sentence.
        narrower: How less than the wire's band is sent, an end of a sentence.
        keep_out: What keeps strangers from the WebSocket, in brackets.
        queue: What is known of the far end's queue, a sentence.
        credentials: What a hang-up needs, a sentence.
        ends: What ends the call without one, a sentence.
        goodbye: How the last words are waited for, a sentence.
        cushion: Of so many milliseconds, with ``{ms}``: how it is set, in brackets.
        other_streams: What to do about a second stream, a sentence.
    """

    report: str
    both_ways: str
    track: tuple[str, str]
    stays_up: tuple[str, str]
    closed: str
    encoding: str
    decode: str
    declare: str
    narrower: str
    keep_out: str
    queue: str
    credentials: str
    ends: str
    goodbye: str
    cushion: str
    other_streams: str


class Carrier:
    """Reads one carrier's messages, those of one call.

    Attributes:
        name: The carrier's.
        serializer: Name of the class that speaks to it.
        is_ours: Whether it is this project's serializer that speaks to it, whose settings can be tuned.
        is_read: Whether its messages are read; if not, a call is made of the frames.
        hangs_up: Whether its serializer can end a call.
        is_numbered: Whether what is lost of the caller's audio can be told.
        says_stop: Whether the last message says that it is the last; without, a socket that is closed
            is the end, whoever closed it.
        acknowledges: The message that tells what the far end has played; empty if there is none.
        advice: What to change.
    """

    name: ClassVar[str] = ""
    serializer: ClassVar[str] = ""
    is_ours: ClassVar[bool] = False
    is_read: ClassVar[bool] = True
    hangs_up: ClassVar[bool] = True
    is_numbered: ClassVar[bool] = True
    says_stop: ClassVar[bool] = True
    acknowledges: ClassVar[str] = ""
    advice: ClassVar[Advice]

    def __init__(self, params: Mapping[str, Any]) -> None:
        """Take the serializer's parameters, as the capture tells them."""
        self.params = params

    def __str__(self) -> str:
        return self.name

    @classmethod
    def is_like(cls, fields: Mapping[str, Any]) -> bool:
        """Whether a message looks like one of this carrier's, and like nobody else's."""
        raise NotImplementedError

    def received(self, body: bytes) -> Received:
        """Read a JSON message that arrived.

        Raises:
            ProtocolError: If it is none of the carrier's.
        """
        raise NotImplementedError

    def sent(self, body: bytes) -> Sent:
        """Read a JSON message that the serializer made.

        Raises:
            ProtocolError: If it is none of the carrier's.
            ValueError: If its audio is encoded in no known way.
        """
        raise NotImplementedError

    def binary(self, data: bytes, *, inbound: bool) -> Media | None:
        """Read what is no JSON object.

        Returns:
            ``None`` where the carrier has no such messages.
        """
        return None

    def hang_up(self, text: str) -> HangUp | None:
        """Read a log line of the serializer as the outcome of a hang-up, if it is one.

        Pipecat's serializers tell it in no other way.
        """
        if f"{self.name} call" not in text:
            return None
        if _ENDED.match(text):
            return HangUp(outcome="ended")
        if _OVER.search(text):
            return HangUp(outcome="already_over")
        return HangUp(outcome="failed", reason=text) if text.startswith("Failed to ") else None


_ENDED: Final = re.compile("Successfully terminated")
_OVER: Final = re.compile("already terminated")


def bad(text: str) -> ProtocolError:
    """What is raised for a message that is none."""
    return ProtocolError(text[:200])
