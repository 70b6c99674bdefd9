"""A serializer that passes everything through to another one, and records it.

::

    serializer = Tap(BandwidthFrameSerializer(...), "captures/")

Whatever happens to the recording, the call does not notice: a record costs the event loop one
append to a queue, and nothing of the tap's own ever raises into a call. What the serializer inside
raises is recorded and goes on to the transport.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Concatenate, Final, Literal, ParamSpec, TypeVar

import msgspec
from loguru import logger
from pipecat.frames.frames import AudioRawFrame, CancelFrame, EndFrame, Frame
from pipecat.serializers.base_serializer import FrameSerializer

from pipecat_bandwidth.hanging_up import HangingUp, Outcome
from workbench.capture.recording import CaptureWriter, close_all
from workbench.capture.redaction import hide, may_hold_secrets, pseudonym, redact, secrets_of
from workbench.capture.schema import (
    AudioFrame,
    HangUp,
    Invalid,
    LogRecord,
    Note,
    OtherFrame,
    Pipeline,
    Words,
)

__all__ = ["Tap", "close_all"]

#: Longer messages are not recorded, only mentioned. Bandwidth's longest has 28,000 characters; a
#: ``playAudio`` of this size is four seconds of 24 kHz PCM.
_LONGEST: Final = 256 * 1024
#: Longest value of a frame's field, in characters of JSON.
_LONGEST_FIELD: Final = 16 * 1024
#: Longest text of a note, a log line or a label, in characters, and the most labels of a call.
_LONGEST_TEXT: Final = 2000
_MOST_LABELS: Final = 64

P = ParamSpec("P")
R = TypeVar("R")


def _harmless(
    method: Callable[Concatenate[Tap, P], R],
) -> Callable[Concatenate[Tap, P], R | None]:
    """Keep what goes wrong in the recording away from the call: count it, say it once."""

    def attempt(self: Tap, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            self._count_lost(method.__name__, error)
            return None

    return attempt


class Tap(FrameSerializer):
    """A serializer that records the one inside it.

    All attributes of the serializer inside are reachable through the tap, its event handlers too.

    The file closes by itself: shortly after an ``EndFrame`` or ``CancelFrame`` was serialized or
    the far end said ``stop``, after a minute without any record, or when the interpreter exits.
    A signal that ends the process gives it no time for that: see :func:`close_all`. If the call
    continues after the file has closed, recording resumes in a new file, with ``-2`` in its name.
    """

    def __init__(
        self,
        serializer: FrameSerializer,
        where: str | Path,
        *,
        allow: Collection[str] = (),
        labels: Mapping[str, str] = {},
        idle_secs: float = 60.0,
        grace_secs: float = 2.0,
    ) -> None:
        """Begin to record.

        Args:
            serializer: The serializer to pass everything to; Bandwidth's or any other.
            where: A directory, which is created where it is missing, for a file with the UTC time
                and the call id in its name; or a file name that ends in ``.mcap``.
            allow: Names of stream parameters whose values may be recorded; by default none is.
            labels: What tells this call from others, such as ``{"release": "1.4"}``: up to 64 names
                and values are kept in the file, 2,000 characters of each, and calls are grouped by
                them. A value whose name looks like a secret's is not kept.
            idle_secs: Close the file after so long without a record.
            grace_secs: Wait so long for late records when the call seems to be over, and for the
                serializer if it still has something to do.
        """
        super().__init__()
        self._inner = serializer
        self._allow = frozenset(allow)
        self._labels = labels
        self._idle_secs = idle_secs
        self._grace_secs = grace_secs
        self._closed = False
        self._warned = False
        self._file = _file_name(Path(where), _first(serializer, "call_id", "call_sid"))
        _listen()
        self._writer = self._open()
        hanging_up = getattr(serializer, "hanging_up", None)
        if isinstance(hanging_up, HangingUp):
            hanging_up.listeners.append(self._record_hang_up)

    def __repr__(self) -> str:
        return f"Tap({type(self._inner).__name__}, {str(self.path)!r})"

    def __getattr__(self, name: str) -> Any:
        if name == "_inner":  # not set yet: copying, or an error in __init__
            raise AttributeError(name)
        return getattr(self._inner, name)

    @property
    def path(self) -> Path:
        """The file, where it is now: ``….mcap.part`` while it is written, then ``….mcap``."""
        return self._writer.path if self._writer else self._file

    # -- the serializer ------------------------------------------------------------------------

    async def setup(self, setup: Any) -> None:
        """Pass on the set-up: a ``StartFrame`` or, in newer Pipecats, a ``FrameProcessorSetup``."""
        token = _tap.set(self)
        try:
            await self._inner.setup(setup)
        except BaseException as error:
            self._record_error("setup", error)
            raise
        finally:
            _leave(token)

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """Record a message, pass it on, record the frame that was made of it."""
        began = time.monotonic_ns()
        # Of bytes only the serializer knows whether they are audio.
        is_text = type(data) is str
        cause = self._record_received(began, data) if is_text else None
        frame: Frame | None = None
        token = _tap.set(self)
        try:
            frame = await self._inner.deserialize(data)
        except BaseException as error:
            self._record_error("deserialize", error)
            raise
        finally:
            _leave(token)
            if not is_text:
                is_audio = isinstance(frame, AudioRawFrame)
                cause = self._record_received(began, data, is_audio=is_audio)
        if frame is not None:
            ended = time.monotonic_ns()
            if isinstance(frame, AudioRawFrame):
                self._record_audio("/frames/in/audio", ended, frame, ended - began, cause)
            else:
                self._record_other("/frames/in/other", ended, frame, ended - began, cause)
        return frame

    async def serialize(self, frame: Frame) -> str | bytes | None:
        """Pass a frame on, record it and the message that was made of it."""
        began = time.monotonic_ns()
        audio = frame if isinstance(frame, AudioRawFrame) else None
        writer = self._writer if audio is None else None  # audio is done at once
        if writer:
            writer.busy += 1
        token = _tap.set(self)
        data: str | bytes | None = None
        result = "error"
        try:
            data = await self._inner.serialize(frame)
            result = "sent" if data else "none"
        except BaseException as error:
            self._record_error(f"serialize({type(frame).__name__})", error)
            raise
        finally:
            _leave(token)
            ended = time.monotonic_ns()
            if audio is not None:
                self._record_audio("/frames/out/audio", began, audio, ended - began)
            else:
                self._record_other("/frames/out/other", began, frame, ended - began, None, result)
            if data:
                self._record_sent(ended, data, is_audio=audio is not None)
            if audio is None:
                if isinstance(frame, (EndFrame, CancelFrame)):
                    self._end_soon(type(frame).__name__)
                if writer:
                    writer.busy -= 1
        return data

    def should_ignore_frame(self, frame: Frame) -> bool:
        """As the serializer inside says."""
        return self._inner.should_ignore_frame(frame)

    def add_event_handler(self, event_name: str, handler: Any) -> None:
        """Add the handler to the serializer inside, which is where events come from."""
        self._inner.add_event_handler(event_name, handler)

    def remove_event_handler(self, event_name: str, handler: Any) -> None:
        """Remove it there."""
        self._inner.remove_event_handler(event_name, handler)

    async def cleanup(self) -> None:
        """Clean up the serializer inside, and let the file close."""
        self._end_soon("cleanup")
        await self._inner.cleanup()  # type: ignore[no-untyped-call]

    # -- the recording -------------------------------------------------------------------------

    @_harmless
    def note(self, text: str) -> None:
        """Make a mark in the recording, at this moment.

        Args:
            text: What it shall say.
        """
        self._record("/notes", time.monotonic_ns(), Note(text=self._hide(text)))

    @_harmless
    def pipeline_event(
        self,
        what: str,
        processor: str = "",
        seconds: float | None = None,
        *,
        time_ns: int | None = None,
    ) -> None:
        """Record what happened in the pipeline.

        Args:
            what: What it was.
            processor: Which part of the pipeline it is about.
            seconds: For a metric: what was measured.
            time_ns: When it happened, on ``time.monotonic_ns()``; by default at this moment.
        """
        body = Pipeline(what=self._hide(what), processor=self._hide(processor), seconds=seconds)
        self._record("/pipeline", time.monotonic_ns() if time_ns is None else time_ns, body)

    @_harmless
    def words(self, words: Words, *, time_ns: int) -> None:
        """Record what somebody said.

        Args:
            words: The text with its times, redacted: see :mod:`workbench.capture.personal`.
            time_ns: When it was first known, on ``time.monotonic_ns()``.
        """
        hidden = self._hide(words.text)[:_LONGEST_TEXT]
        if hidden != words.text:  # the times are those of other letters
            words = Words(
                side=words.side, text=hidden, processor=words.processor, is_whole=words.is_whole
            )
        self._record("/words", time_ns, words)

    def close(self, *, wait: float = 10.0) -> None:
        """End the recording for good; the serializer works on.

        Args:
            wait: Seconds to wait at most for the disk; 0 on an event loop, the file is then
                finished a moment later.
        """
        self._closed = True
        if self._writer:
            self._writer.close("close", wait=wait)

    def _open(self) -> CaptureWriter | None:
        """Begin a file; where that fails, say so once."""
        but = f" but {', '.join(sorted(self._allow))}" if self._allow else ""
        try:
            return CaptureWriter(
                self._file,
                call=_call(self._inner),
                serializer=_about(self._inner),
                labels=_kept_labels(self._labels, secrets_of(self._inner)),
                redaction=f"stream parameters{but}, credentials; account ids are pseudonyms",
                quiet_secs=self._idle_secs,
            )
        except Exception as error:
            if not self._warned:
                self._warned = True
                why = type(error).__name__
                logger.warning(f"Cannot record the call: {why}. The call is not affected.")
            return None

    def _record(self, topic: str, time_ns: int, body: Any) -> int | None:
        writer = self._writer
        if writer is None or self._closed:
            return None
        if writer.closed_idle:  # the call seemed to be over
            if topic in _ASIDE:
                return None
            writer = self._writer = self._open() or writer
        return writer.record(topic, time_ns, body)

    # The next three run a hundred times a second: harmless too, without the cost of a decorator.

    def _record_received(
        self, time_ns: int, data: str | bytes, *, is_audio: bool = False
    ) -> int | None:
        try:
            if _is_audio(data):
                return self._record("/ws/rx", time_ns, data)
            text, kind, error = _read(data)
            if error:
                self._record("/ws/rx/invalid", time_ns, self._invalid(data, error, is_audio))
                return None
            sequence = self._record("/ws/rx", time_ns, _redacted(text, allow=self._allow))
            if kind == "stop":
                self._end_soon("stop")
            return sequence
        except Exception as failure:
            self._count_lost("_record_received", failure)
            return None

    def _record_sent(self, time_ns: int, data: str | bytes, *, is_audio: bool) -> None:
        try:
            if _is_audio(data):
                self._record("/ws/tx", time_ns, data)
                return
            text, _, error = _read(data)
            if error:
                self._record("/ws/tx/binary", time_ns, self._invalid(data, error, is_audio))
            else:
                self._record("/ws/tx", time_ns, _redacted(text, secrets=secrets_of(self._inner)))
        except Exception as failure:
            self._count_lost("_record_sent", failure)

    def _record_audio(
        self, topic: str, time_ns: int, frame: AudioRawFrame, took_ns: int, cause: int | None = None
    ) -> None:
        try:
            pts = frame.pts  # type: ignore[attr-defined]
            body = AudioFrame(
                data=bytes(frame.audio),
                format="pcm-s16",
                sample_rate=frame.sample_rate,
                number_of_channels=frame.num_channels,
                frame=type(frame).__name__,
                frame_id=frame.id,  # type: ignore[attr-defined]
                pts_us=None if pts is None else pts / 1e3,
                took_us=took_ns / 1e3,
                cause=cause,
            )
            self._record(topic, time_ns, body)
        except Exception as failure:
            self._count_lost("_record_audio", failure)

    @_harmless
    def _record_other(
        self,
        topic: str,
        time_ns: int,
        frame: Frame,
        took_ns: int,
        cause: int | None = None,
        result: str = "",
    ) -> None:
        other = OtherFrame(
            frame=type(frame).__name__,
            frame_id=frame.id,
            name=frame.name,
            pts_us=None if frame.pts is None else frame.pts / 1e3,
            fields=_fields(frame, secrets_of(self._inner)),
            result=result,
            took_us=took_ns / 1e3,
            cause=cause,
        )
        # Packed here and now: what the frame refers to may change, and may be of any size.
        text = msgspec.json.encode(other, enc_hook=_describe).decode()
        self._record(topic, time_ns, text)

    @_harmless
    def _record_error(self, where: str, error: BaseException) -> None:
        text = self._hide(f"{where} raised {type(error).__name__}: {error}")
        body = LogRecord(level=4, message=text[:_LONGEST_TEXT], name=type(self._inner).__module__)
        self._record("/log", time.monotonic_ns(), body)

    @_harmless
    def _record_hang_up(self, outcome: Outcome) -> None:
        body = HangUp(
            outcome=outcome.outcome,
            status_code=outcome.status_code,
            attempts=outcome.attempts,
            reason=self._hide(outcome.reason)[:_LONGEST_TEXT],
            took_us=outcome.took_secs * 1e6,
        )
        self._record("/hang_up", time.monotonic_ns(), body)

    @_harmless
    def _record_log(self, record: Any) -> None:
        """Keep a log record of loguru's if the serializer made it."""
        if not (record["name"] or "").startswith(_package(type(self._inner))):
            return
        error = record["exception"]
        text = record["message"] + (f" [{error.type.__name__}: {error.value}]" if error else "")
        body = LogRecord(
            level=_LEVELS.get(record["level"].name, 2),
            message=self._hide(text)[:_LONGEST_TEXT],
            name=record["name"],
            file=record["file"].name,
            line=record["line"],
        )
        self._record("/log", time.monotonic_ns(), body)

    @_harmless
    def _end_soon(self, reason: str) -> None:
        if self._writer:
            self._writer.close_when_quiet(self._grace_secs, reason)

    def _hide(self, text: str) -> str:
        # Looked up each time: a token is fetched, and changes, during the call.
        return hide(text, secrets_of(self._inner))

    def _invalid(self, data: str | bytes, error: str, is_audio: bool) -> Invalid:
        kept = b""
        if type(data) is bytes and is_audio and len(data) <= _LONGEST:
            kept = data  # samples, in which any word may stand by chance
        elif len(data) <= _LONGEST:
            kept = _bytes(data)
            if may_hold_secrets(kept) or (isinstance(data, str) and self._hide(data) != data):
                kept = b""
        return Invalid(data=kept, error=error)

    def _count_lost(self, where: str, error: Exception) -> None:
        if self._writer:
            self._writer.count_lost(f"{where} failed with {type(error).__name__}")


# -- messages and frames -----------------------------------------------------------------------


class _Kind(msgspec.Struct, gc=False):
    """The event type: ``eventType`` (Bandwidth) or ``event`` (Twilio, Telnyx, Plivo)."""

    eventType: Any = None
    event: Any = None


class _Payload(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Audio, as it stands in a message; long, and only skipped."""

    payload: msgspec.Raw = msgspec.Raw()
    contentType: str = ""
    sampleRate: str | int = ""
    track: str = ""
    chunk: str | int = ""
    timestamp: str | int = ""


class _Audio(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A message of audio with all that it may have, by whatever carrier: none of it is secret."""

    eventType: Literal["media", "playAudio"] = "media"
    event: Literal["media", "playAudio"] = "media"
    track: str = ""
    payload: str = ""
    sequenceNumber: str | int = ""
    media: _Payload | None = None
    streamId: str = ""
    streamSid: str = ""
    stream_id: str = ""
    stream_sid: str = ""
    sequence_number: str | int = ""


_KIND: Final = msgspec.json.Decoder(_Kind)
_AUDIO: Final = msgspec.json.Decoder(_Audio)


def _is_audio(data: str | bytes) -> bool:
    """Whether a message is audio and nothing else, so that it is kept as it is."""
    if type(data) is not str or len(data) > _LONGEST:
        return False
    try:
        _AUDIO.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False
    return True


def _read(data: str | bytes) -> tuple[str, Any, str]:
    """Look at a message. Returns (text, event type, error)."""
    if len(data) > _LONGEST:
        return "", None, f"not recorded: {len(data)} characters"
    try:
        text = data if isinstance(data, str) else bytes(data).decode()
        kind = _KIND.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return str(data), None, f"not a JSON object: {error}"[:200]
    return text, kind.eventType or kind.event, ""


def _redacted(
    text: str, *, allow: Collection[str] = (), secrets: Mapping[str, str] | None = None
) -> str:
    """As it is, where nothing has to be taken out."""
    fields = msgspec.json.decode(text)
    kept = redact(fields, allow, secrets)
    return text if kept == fields else msgspec.json.encode(kept).decode()


def _bytes(data: str | bytes) -> bytes:
    return data.encode("utf-8", "surrogatepass") if isinstance(data, str) else bytes(data)


_OWN_TO_PIPECAT: Final = {field.name for field in dataclasses.fields(Frame)}


def _fields(frame: Frame, secrets: Mapping[str, str]) -> dict[str, Any]:
    """What a frame says beyond what every frame has."""
    kept: dict[str, Any] = {}
    for field in dataclasses.fields(frame):
        value = getattr(frame, field.name, None)
        if field.name not in _OWN_TO_PIPECAT and value is not None:
            kept |= _field(field.name, value, secrets)
    return kept


def _field(name: str, value: Any, secrets: Mapping[str, str]) -> dict[str, Any]:
    """One field with its name, as JSON that is fit to be kept."""
    try:
        # Before it is redacted: the fields of an object have names too.
        plain = msgspec.to_builtins(value, str_keys=True, enc_hook=_describe)
        kept: dict[str, Any] = redact({name: plain}, (), secrets)
        size = len(msgspec.json.encode(kept))
    except Exception:  # no JSON, however it is written
        return {name: _describe(value)}
    return kept if size <= _LONGEST_FIELD else {name: f"not recorded: {size} bytes of JSON"}


def _describe(value: object) -> str:
    return f"<{type(value).__name__}>"


# -- the serializer inside ---------------------------------------------------------------------


def _first(serializer: FrameSerializer, *names: str) -> str | None:
    """First of these attributes, public or not, that is a non-empty string."""
    for name in names:
        for attribute in (name, f"_{name}"):
            value = getattr(serializer, attribute, None)
            if isinstance(value, str) and value:
                return value
    return None


def _call(serializer: FrameSerializer) -> dict[str, str | None]:
    account = _first(serializer, "account_id", "account_sid")
    return {
        "stream_id": _first(serializer, "stream_id", "stream_sid"),
        "call_id": _first(serializer, "call_id", "call_sid", "call_control_id"),
        "account": pseudonym(account) if account else None,
    }


def _about(serializer: FrameSerializer) -> dict[str, Any]:
    kind = type(serializer)
    params = getattr(serializer, "_params", None)
    dump = getattr(params, "model_dump", None)
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "params": redact(dump(mode="json")) if dump else {},
    }


def _kept_labels(labels: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """Labels as they may be kept: few, short, without secrets; what is no label is left out."""
    kept: dict[str, str] = {}
    try:
        for name, value in islice(labels.items(), _MOST_LABELS):
            # Cut after it is searched, or a part of a secret might be left.
            plain: dict[str, str] = redact({str(name): str(value)[:_LONGEST]}, (), secrets)
            kept |= {hide(n, secrets)[:_LONGEST_TEXT]: v[:_LONGEST_TEXT] for n, v in plain.items()}
    except Exception as error:
        why = type(error).__name__
        logger.warning(f"Cannot keep all labels of the call: {why}. The call is recorded.")
    return kept


def _package(kind: type) -> str:
    return kind.__module__.rpartition(".")[0] or kind.__module__


def _file_name(where: Path, call_id: str | None) -> Path:
    """``captures/2026-11-22T10-15-03_c-15ac.mcap``: UTC, and the head of the call id."""
    with contextlib.suppress(OSError):  # where the working directory is gone
        where = where.absolute()
    if where.suffix == ".mcap":
        return where
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S")
    return where / f"{now}_{re.sub('[^A-Za-z0-9-]', '_', call_id or 'call')[:6]}.mcap"


# -- the log -----------------------------------------------------------------------------------

_LEVELS: Final = {
    "TRACE": 1,
    "DEBUG": 1,
    "INFO": 2,
    "SUCCESS": 2,
    "WARNING": 3,
    "ERROR": 4,
    "CRITICAL": 5,
}

#: The tap whose serializer is running here. Tasks that it starts inherit it, so that what they log
#: later still lands in the right capture.
_tap: ContextVar[Tap | None] = ContextVar("tap", default=None)
#: What may come when the call is over; it begins no new file.
_ASIDE: Final = {"/log", "/notes", "/hang_up", "/pipeline", "/words"}


def _leave(token: Token[Tap | None]) -> None:
    try:
        _tap.reset(token)
    except ValueError:  # the coroutine was closed from another context
        pass


class _Log:
    """Where loguru writes to, once for all taps; it says when somebody has removed it."""

    def __init__(self) -> None:
        self.handler: int | None = None

    def write(self, message: Any) -> None:
        tap = _tap.get()
        if tap is not None:
            tap._record_log(message.record)

    def stop(self) -> None:
        self.handler = None


_log: Final = _Log()


def _listen() -> None:
    """Listen to loguru; again if somebody has removed all its handlers."""
    if _log.handler is None:
        _log.handler = logger.add(
            _log,
            level="DEBUG",
            format="{message}",
            # Without it, each line of the whole process would be formatted.
            filter=lambda record: _tap.get() is not None,
            backtrace=False,
            diagnose=False,
        )
