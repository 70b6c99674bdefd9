"""Record the calls of a bot that knows nothing of it, by Pipecat's setup files.

::

    PIPECAT_SETUP_FILES=$(workbench attach --where captures/) python bot.py

Pipecat imports the files that this variable names and shows them each worker before its pipeline
starts. The file that :func:`write_setup_file` writes has a :class:`Attachment` do what the bot's author
would have written: a :class:`workbench.tap.Tap` round the serializer of each transport, and
:class:`workbench.observer.PipelineEvents`. A serializer that has a tap already is left as it is.

What goes wrong here is logged, and the call goes on without being recorded. Where Pipecat's runner or
the bot has read ``start`` before there was a pipeline, no capture can hold it: what the runner kept of
it becomes a note, and the ids come from the serializer. Callers' numbers are not taken.

Pipecat has setup files for workers since 1.3.0, so in all that this package supports. Up to 1.9 it cuts
the variable at each colon, also on Windows, where no path is without one.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

if TYPE_CHECKING:
    from workbench.tap import Tap

__all__ = ["FILE_NAME", "Attachment", "check_pipecat", "write_setup_file"]

#: What the setup file is called, in the folder of the captures.
FILE_NAME: Final = "attach.py"
#: What the first call waits for: imported on a thread, so that the event loop does not wait.
_NEEDED: Final = ("workbench.tap", "workbench.observer")
#: How long it waits at most, in seconds; it takes a fifth of a second.
_PATIENCE: Final = 5.0
#: What is taken of a ``start`` that Pipecat's runner has read.
_OF_START: Final = ("stream_id", "call_id", "account_sid", "outbound_encoding")

_FILE: Final = '''"""Records the calls of a Pipecat bot. Made by `workbench attach`, for PIPECAT_SETUP_FILES."""

from workbench.attach import Attachment

_attachment = Attachment(
    {where!r},
    labels={labels!r},
    words={words!r},
    redact={redact!r},
)
setup_worker_runner = _attachment.prepare
setup_pipeline_worker = _attachment.attach
'''


class Attachment:
    """What a setup file does with the workers of a process."""

    def __init__(
        self,
        where: str | Path,
        *,
        labels: Mapping[str, str] = {},
        words: bool = False,
        redact: Sequence[str] = (),
    ) -> None:
        """Be ready for workers; nothing is imported yet.

        Args:
            where: Folder of the captures.
            labels: As :class:`workbench.tap.Tap` takes them.
            words: Whether to record what is said.
            redact: What to take out of it, as :class:`workbench.observer.PipelineEvents` takes it.
        """
        self._where = where
        self._labels = labels
        self._words = words
        self._redact = tuple(redact)
        self._taps: WeakSet[Tap] = WeakSet()
        self._is_ready = False

    async def prepare(self, runner: object) -> None:
        """Import what the first call will need.

        Args:
            runner: A ``WorkerRunner``.
        """
        try:
            await self._import()
        except Exception as error:
            _give_up(error)

    async def attach(self, worker: Any) -> None:
        """Record what goes through a worker's transports; a worker without one is left alone.

        Args:
            worker: A ``PipelineWorker`` whose pipeline has not started.
        """
        try:
            await self._import()
            for transport in list(_transports(worker.pipeline)):
                self._tap(worker, transport)
        except Exception as error:
            _give_up(error)

    async def _import(self) -> None:
        if not self._is_ready:
            async with asyncio.timeout(_PATIENCE):
                await asyncio.to_thread(lambda: [importlib.import_module(name) for name in _NEEDED])
            self._is_ready = True

    def _tap(self, worker: Any, transport: Any) -> None:
        from workbench.observer import PipelineEvents
        from workbench.tap import Tap

        params = transport._params
        tap = params.serializer
        is_new = not isinstance(tap, Tap)
        if is_new:
            tap = Tap(params.serializer, self._where, labels=self._labels)
        elif tap not in self._taps:
            return  # the bot's own
        try:
            worker.add_observer(PipelineEvents(tap, words=self._words, redact=self._redact))
        except Exception:
            if is_new:
                tap.close(wait=0)
            raise
        if is_new:
            self._taps.add(tap)
            params.serializer = tap
            with suppress(Exception):  # a note less
                _note_start(tap, transport)


def write_setup_file(
    where: str | Path,
    *,
    labels: Mapping[str, str] = {},
    words: bool = False,
    redact: Sequence[str] = (),
) -> Path:
    """Write the setup file into the folder of the captures, which is made if it is not there.

    Args:
        where: That folder.
        labels: As for :class:`Attachment`, like all that follows.
        words: Whether to record what is said.
        redact: What to take out of it.

    Returns:
        The file, absolute: what ``PIPECAT_SETUP_FILES`` is set to.

    Raises:
        ValueError: If Pipecat would take its path for several, or a text to take out is empty.
        OSError: If it cannot be written.
    """
    folder = Path(where).absolute()
    file = folder / FILE_NAME
    if os.pathsep in str(file):
        raise ValueError(
            f"{folder}: PIPECAT_SETUP_FILES is cut at each {os.pathsep!r}; give a folder without one"
        )
    if "" in redact:
        raise ValueError("a text that is to be taken out is empty")
    text = _FILE.format(
        where=str(folder), labels=dict(labels), words=bool(words), redact=tuple(redact)
    )
    folder.mkdir(parents=True, exist_ok=True)
    # A bot may be reading the one that is there.
    part = file.with_name(f".{FILE_NAME}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    os.replace(part, file)
    return file


def check_pipecat() -> None:
    """Refuse a Pipecat that has no setup files for workers; one that is not installed is none.

    Raises:
        ValueError: With its version, and those that have them.
    """
    spec = find_spec("pipecat")
    folders = (spec and spec.submodule_search_locations) or ()
    if folders and not any((Path(folder) / "utils" / "startup.py").exists() for folder in folders):
        try:
            version = metadata.version("pipecat-ai")
        except metadata.PackageNotFoundError:
            version = "of unknown version"
        raise ValueError(
            f"Pipecat {version} has no setup files for workers, 1.3.0 and newer have, of which 1.4 to "
            '1.14 are supported; in an older one write serializer = Tap(serializer, "captures/")'
        )


def _give_up(error: Exception) -> None:
    from loguru import logger

    why = f"{type(error).__name__}: {error}"
    logger.error(f"workbench attach: the call is not recorded, and not affected: {why}")


def _transports(pipeline: Any) -> Iterator[Any]:
    """The first processor of each transport that has a serializer, wherever in the pipeline."""
    from pipecat.serializers.base_serializer import FrameSerializer

    waiting, seen = [pipeline], set()
    while waiting:
        processor = waiting.pop(0)
        params = getattr(processor, "_params", None)
        if id(processor) in seen:
            continue
        seen.add(id(processor))
        waiting += getattr(processor, "processors", ())
        # Input and output of a transport share its parameters.
        if isinstance(getattr(params, "serializer", None), FrameSerializer):
            if id(params) not in seen:
                yield processor
            seen.add(id(params))


def _note_start(tap: Tap, transport: Any) -> None:
    """Keep what Pipecat's runner kept of a ``start`` that it has read."""
    from workbench.capture.redaction import redact

    websocket = getattr(getattr(transport, "_client", None), "_websocket", None)
    parsed = getattr(websocket, "_pipecat_parsed_telephony", None)
    if not isinstance(parsed, tuple) or len(parsed) != 2:
        return
    kind, said = parsed
    told = {"carrier": kind} | {name: said.get(name) for name in _OF_START if said.get(name)}
    tap.note(f"start, read by Pipecat's runner: {json.dumps(redact(told))}")
