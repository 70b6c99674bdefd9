"""A carrier whose messages nobody here reads: a call is made of the pipeline's frames instead.

Nothing is said of what was lost, late or sent twice, of the encoding on the wire, or of what the
far end played.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipecat_bandwidth.messages import Other
from workbench.call.carriers.wire import Advice, Carrier, Received, Sent

__all__ = ["Unknown"]


class Unknown(Carrier):
    """Reads no message.

    Parameters:
        params: The serializer's.
        serializer: Name of its class; empty if the capture does not tell.
    """

    is_read = False
    is_numbered = False
    advice = Advice(
        report="ask the carrier",
        both_ways="Check that the caller's audio is streamed.",
        track=("The stream carries both tracks.", "Ask for the caller's track only."),
        stays_up=("The stream was ended where the call is led.", "Look there."),
        closed="What becomes of the call then is decided where it is led.",
        encoding="Check the encoding that the carrier names.",
        decode="Let deserialize make 16-bit signed little-endian samples.",
        declare="Send what the carrier was told to expect.",
        narrower="in a narrower encoding",
        keep_out="as the carrier documents it",
        queue="How much the carrier queues is not known here.",
        credentials="Check the serializer's credentials.",
        ends="What ends the call without a hang-up is up to the carrier.",
        goodbye="Push the EndFrame after the last audio has been played.",
        cushion="so much silence before its first word",
        other_streams="Give each stream a WebSocket, and a pipeline, of its own.",
    )

    def __init__(self, params: Mapping[str, Any], serializer: str = "") -> None:
        """Take what the capture tells of the serializer."""
        super().__init__(params)
        self.named = serializer

    def __str__(self) -> str:
        return self.named or "an unknown serializer"

    @classmethod
    def is_like(cls, fields: Mapping[str, Any]) -> bool:
        """Nothing is."""
        return False

    def received(self, body: bytes) -> Received:
        """Whatever it is."""
        return Other("")

    def sent(self, body: bytes) -> Sent:
        """Whatever it is."""
        return Other("")
