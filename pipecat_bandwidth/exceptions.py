"""The errors of this package.

::

    BandwidthError
        ProtocolError       what arrived is not a Bandwidth media-stream message
        VoiceAPIError       the Voice API or its token endpoint failed; .operation, .status_code

A caller's own mistake (a wrong rate, shape or parameter) is a plain :class:`ValueError`.
No message of any of them carries audio, a credential, a token or a response body.
"""

from __future__ import annotations

__all__ = ["BandwidthError", "ProtocolError", "VoiceAPIError"]


class BandwidthError(Exception):
    """Root of every error that this package raises on its own account."""


class ProtocolError(BandwidthError):
    """What arrived on the WebSocket is not a message of Bandwidth's media-stream protocol."""


class VoiceAPIError(BandwidthError):
    """A request to the Voice API, or to its token endpoint, failed for good.

    Attributes:
        operation: What was attempted: ``"token"``, ``"hang up"`` or ``"redirect"``.
        status_code: HTTP status of the last answer; ``None`` when there was no answer.
    """

    def __init__(self, operation: str, reason: str, status_code: int | None = None) -> None:
        """Build the sentence from its facts.

        Args:
            operation: ``"token"``, ``"hang up"`` or ``"redirect"``.
            reason: What went wrong, without any secret or body.
            status_code: HTTP status of the last answer, if there was one.
        """
        super().__init__(operation, reason, status_code)  # what copies and pickles are made of
        self.operation = operation
        self.status_code = status_code

    def __str__(self) -> str:
        operation, reason, status_code = self.args
        status = f" (HTTP {status_code})" if status_code is not None else ""
        return f"{operation} failed{status}: {reason}"
