"""The errors and warnings of this package.

::

    WorkbenchError
        CaptureError        a file is no capture that can be read; .file, .offset
        SimulationError     a simulated call failed; .step, .reason
            NotReached      there was no call: no server where the webhook should be
        NothingSaid         there is no audio of a bot to work on (a ValueError too)
        NotForCarrier       what is for Bandwidth's serializer, asked of another's (a ValueError too)
        NotesError          a file beside a capture holds no notes; .file
        NotAvailable        something that is not part of the installation is not on this machine
    MetricWarning           a metric has no value here, and is NaN
    SoundFileWarning        a sound file was cut off, or holds what its header does not say

A caller's own mistake (a wrong name, rate, shape or parameter) is a plain :class:`ValueError`. Each
says in one line what was given, what is allowed and, where it is not plain, what to do.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "CaptureError",
    "MetricWarning",
    "NotAvailable",
    "NotForCarrier",
    "NotReached",
    "NotesError",
    "NothingSaid",
    "SimulationError",
    "SoundFileWarning",
    "WorkbenchError",
]


class WorkbenchError(Exception):
    """Root of every error that this package raises on its own account."""


class CaptureError(WorkbenchError):
    """A file is not a capture that can be read.

    Attributes:
        file: The file.
        reason: What is wrong with it.
        offset: The byte at which that was found; ``None`` when it is not about one place.
    """

    def __init__(self, file: str | Path, reason: str, offset: int | None = None) -> None:
        """Build the sentence from its facts.

        Args:
            file: The file.
            reason: What is wrong with it.
            offset: The byte at which that was found.
        """
        place = f" (at byte {offset})" if offset is not None else ""
        super().__init__(f"{file}: {reason}{place}")
        self.file = Path(file)
        self.reason = reason
        self.offset = offset


class SimulationError(WorkbenchError):
    """A call that could not be carried to its end, in one line.

    Attributes:
        step: What failed: ``"outbound"`` (the bot made no call), ``"webhook"``, ``"BXML"``,
            ``"WebSocket"`` or ``"stream"``.
        reason: What came back instead.
    """

    def __init__(self, step: str, reason: str) -> None:
        """Build the sentence from its facts.

        Args:
            step: What failed.
            reason: What came back instead.
        """
        # Much of it is the bot's own words: nothing in them may reach a terminal's controls.
        self.reason = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in reason)
        self.step = step
        super().__init__(f"{step}: {self.reason}")


class NotReached(SimulationError):
    """There was no call: nobody is at the address of the webhook."""


class NothingSaid(WorkbenchError, ValueError):
    """There is no audio of a bot in what was given."""


class NotForCarrier(WorkbenchError, ValueError):
    """What is for Bandwidth's serializer was asked of a call that another one carried."""


class NotesError(WorkbenchError):
    """What stands where a capture's notes should be is something else.

    Attributes:
        file: The file.
        reason: What is wrong with it.
    """

    def __init__(self, file: str | Path, reason: str) -> None:
        """Build the sentence from its facts.

        Args:
            file: The file.
            reason: What is wrong with it.
        """
        super().__init__(f"{file}: {reason}; it is left as it is")
        self.file = Path(file)
        self.reason = reason


class NotAvailable(WorkbenchError):
    """Something that is not part of the installation is not on this machine; the message says what."""


class MetricWarning(UserWarning):
    """A metric is NaN; the message says why."""


class SoundFileWarning(UserWarning):
    """A sound file was cut off, or holds what its header does not say; what is there was read."""
