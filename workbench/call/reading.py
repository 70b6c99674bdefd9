"""A capture read into the values of a call, on one clock.

No single record raises here: what cannot be understood, or makes no sense, becomes a ``bad_message``
event, what a later version added is passed over. What all of them claim together is held to the
file's :class:`workbench.budget.Budget`.
"""

from __future__ import annotations

import sys
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
import numpy as np

from pipecat_bandwidth import messages
from pipecat_bandwidth.encodings import WireFormat
from pipecat_bandwidth.exceptions import ProtocolError
from pipecat_bandwidth.mono import without_header
from workbench.budget import Budget
from workbench.call import carriers, unrecorded, version_1_0
from workbench.call.acknowledged import Asked, Mark, paired
from workbench.call.carriers import Carrier, wire
from workbench.call.carriers.bandwidth import Bandwidth
from workbench.call.carriers.formats import linear
from workbench.call.carriers.wire import Media
from workbench.call.ending import Ending, ending_of, final_stop
from workbench.call.frames import Frames, FrameWriter
from workbench.call.life import HELD, life_of, until
from workbench.call.numbers import Numbers, NumberWriter
from workbench.call.pieces import PieceWriter
from workbench.call.placement import follow
from workbench.call.playout import reconstruct
from workbench.call.streams import (
    Event,
    FrameRecord,
    HangUpRecord,
    PipelineRecord,
    Stream,
    WordsRecord,
)
from workbench.call.unrecorded import Unrecorded
from workbench.capture import (
    CaptureReader,
    HangUp,
    Invalid,
    LogRecord,
    Note,
    OtherFrame,
    Pipeline,
    Record,
    Refused,
    Stats,
    Words,
)

__all__ = ["Contents", "Growing", "frame_of", "params_of", "read"]

#: Seconds of audio that any call may have beyond what its length accounts for: an answer, given out
#: at once and interrupted.
_AT_ONCE: Final = 600.0


@dataclass
class Contents:
    """Everything a capture holds, as far as a call needs it; built by :func:`read`.

    Parameters:
        anchor_ns: UNIX time of the call's zero, in nanoseconds.
        begun: When the first message was read, in seconds; later than zero by what had piled up.
        inbound: The caller's audio messages.
        outbound: The bot's audio messages.
        frames_in: What ``deserialize`` made, in order.
        frames_out: What was given to ``serialize``, in order.
        events: What happened, in order.
        hang_ups: The serializer's attempts to end the call, in order.
        pipeline: What the pipeline said of itself, in order.
        syntheses: When the pipeline told that a synthesis began (``True``) or was over, in order.
        words: What both sides said, in order; empty unless the bot asked for words.
        ending: How the call ended, and when: its length in seconds too. A call without an end
            lasts up to the end of the last audio, of what the far end had still queued too.
        start: The first ``start`` message, if there was one.
        stopped: When the last stream stopped; ``None`` if it never did.
        other_track: Media messages of another track than the caller's.
        wire_in: Characters of every message that arrived, summed.
        wire_out: The same for every message sent.
        dropped: Records that the recording itself lost.
        unrecorded: From when to when records are missing, in seconds, in order.
        rx_index: Number of a ``/ws/rx`` record to its index in ``inbound``.
        carrier: Whose messages they are, and who read them.
        marks: Where the bot asked to be told when all before was played, in order.
    """

    anchor_ns: int
    begun: float
    inbound: Stream
    outbound: Stream
    frames_in: Frames
    frames_out: Frames
    events: tuple[Event, ...]
    hang_ups: tuple[HangUpRecord, ...] = ()
    pipeline: tuple[PipelineRecord, ...] = ()
    syntheses: tuple[tuple[float, bool], ...] = ()
    words: tuple[WordsRecord, ...] = ()
    ending: Ending = Ending(0.0, "open", None)
    start: messages.Start | None = None
    stopped: float | None = None
    other_track: int = 0
    wire_in: int = 0
    wire_out: int = 0
    dropped: int = 0
    unrecorded: tuple[tuple[float, float], ...] = ()
    rx_index: Numbers = field(default_factory=lambda: NumberWriter().numbers())
    carrier: Carrier = field(default_factory=lambda: Bandwidth({}))
    marks: tuple[Mark, ...] = ()

    @property
    def duration(self) -> float:
        """Length of the call in seconds."""
        return self.ending.time


def read(reader: CaptureReader) -> Contents:
    """Read a capture into values on one clock.

    Zero is the first message. What piled up before a bot began to read comes in one burst behind
    it, and belongs before it: then zero is where the first of that belongs.
    """
    return Growing(reader).contents


class Growing:
    """The contents of a capture that may still be written.

    Parameters:
        reader: Of the capture.

    Attributes:
        contents: Of all that was read so far.
    """

    def __init__(self, reader: CaptureReader) -> None:
        """Read what there is, as :func:`read`."""
        self._reader = reader
        self._reading = _Reading(reader)
        self.contents = self._reading.go_on(reader.sifted())
        anchor_ns = self._anchor_ns()
        if anchor_ns != self.contents.anchor_ns:
            del self.contents  # of a long call it is large
            self._reading = _Reading(reader, anchor_ns)
            self.contents = self._reading.go_on(reader.sifted())

    def read_on(self) -> bool | None:
        """Take what has come since.

        Returns:
            Whether there was anything; ``None`` if the file is to be read from its beginning: it has
            its end now, or what has come belongs before what was there.

        Raises:
            CaptureError: As by :meth:`workbench.capture.CaptureReader.more`.
        """
        more = self._reader.more() if self._reading.has_begun else None
        if more is None:
            return None
        records = list(more)
        if not records:
            return False
        self.contents = self._reading.go_on(iter(records))
        return True if self._anchor_ns() == self.contents.anchor_ns else None

    def _anchor_ns(self) -> int:
        """UNIX time in nanoseconds of the call's zero, as of all that is known now."""
        before = _earliest(self.contents)
        if before >= -HELD:  # what is so little late is jitter
            return self.contents.anchor_ns
        return self.contents.anchor_ns + round(before * 1e9)


def _earliest(contents: Contents) -> float:
    """Where the first audio of either side belongs, in seconds; 0 if none is before zero."""
    inbound = contents.inbound
    caller = inbound.start[~inbound.duplicate]
    if not len(caller):  # what a serializer of somebody's own made up has no messages
        heard = contents.frames_in.taken(contents.frames_in.has_sound)
        caller = follow(heard.time, heard.duration)
    spoken = contents.frames_out.time[contents.frames_out.is_to_be_sent]
    said = float(spoken[0]) if len(spoken) else 0.0
    return min(said, float(caller.min(initial=0.0)))


class _Rows:
    """The audio messages of one direction on their way into a :class:`Stream`, in columns.

    An hour has a quarter of a million: as numbers they take a fifth of what objects would.
    """

    def __init__(self) -> None:
        self.time = array("d")
        self.sequence = array("q")
        self.size = array("q")
        self.payloads = PieceWriter()
        self.formats: list[WireFormat] = []

    def add(self, time: float, sequence: int, payload: bytes, wire: WireFormat, size: int) -> None:
        self.time.append(time)
        self.sequence.append(sequence)
        self.size.append(size)
        self.payloads.add(payload)
        self.formats.append(wire)

    def stream(self) -> Stream:
        time = np.array(self.time, float)
        count = len(time)
        payloads = self.payloads.pieces()
        rate = np.fromiter((f.bytes_per_sample * f.sample_rate for f in self.formats), float, count)
        return Stream(
            time,
            np.array(self.sequence, np.int64),
            payloads.size / rate,
            time,
            np.zeros(count, bool),
            np.zeros(count, np.int64),
            np.array(self.size, np.int64),
            payloads,
            tuple(self.formats),
        )


class _AudioFrame(msgspec.Struct, gc=False):
    """Of :class:`workbench.capture.AudioFrame` what a call needs."""

    data: bytes
    sample_rate: int
    number_of_channels: int
    frame: str = ""
    took_us: float | None = None
    cause: int | None = None


class _Reading:
    """The state of reading one capture: each method takes the records of some topics.

    Parameters:
        reader: Of the capture.
        anchor_ns: The call's zero; by default its first message, or record if there is none.
    """

    def __init__(self, reader: CaptureReader, anchor_ns: int | None = None) -> None:
        self.reader = reader
        self.budget = reader.budget
        self.most = reader.budget.sequence
        self.is_1_0 = False
        self.given_ns = anchor_ns
        self.anchor_ns = 0
        self.first_ns = 0
        self.inbound = _Rows()
        self.outbound = _Rows()
        self.others: list[int] = []
        self.frames = {"in": FrameWriter(), "out": FrameWriter()}
        self.events: list[Event] = []
        self.hang_ups: list[HangUpRecord] = []
        self.pipeline: list[PipelineRecord] = []
        self.syntheses: list[tuple[float, bool]] = []
        self.words: list[WordsRecord] = []
        self.word_count = 0
        self.carrier: Carrier = Bandwidth({})
        self.asked: list[Asked] = []
        self.played: list[tuple[float, str]] = []
        self.rx_index = NumberWriter()
        self.start: messages.Start | None = None
        self.wire_in = 0
        self.wire_out = 0
        self.dropped = 0
        self.strays = 0
        self.last = 0.0
        #: By topic, number and time of each record.
        self.numbers: defaultdict[str, tuple[array[int], array[float]]] = defaultdict(
            lambda: (array("q"), array("d"))
        )
        self.is_whole = True
        self.is_idle = False
        self.has_begun = False  # a message was read

    def go_on(self, records: Iterator[Record | Refused]) -> Contents:
        """Take further records, and tell what there is of all so far.

        Before the first message nothing is known of times: until ``has_begun`` only once.
        """
        reader = self.reader
        self.is_1_0 = reader.metadata["capture"].get("format_version") == "1.0"
        if not self.has_begun:
            self.take(self.until_begun(records))
        self.take(records)
        # Another program may number its records otherwise: believed where something was lost.
        end = reader.metadata.get("end", {})
        self.is_whole = not (reader.damage or self.dropped or end.get("dropped", "0") != "0")
        self.is_idle = end.get("reason") == "idle"
        return self.contents()

    def until_begun(self, records: Iterator[Record | Refused]) -> list[Record | Refused]:
        """What comes up to the first message, and up to those that tell whose they are."""
        told = self.reader.metadata.get("serializer", {})
        path, params = told.get("class", ""), params_of(told)
        carrier = carriers.by_class(path, params)
        held: list[Record | Refused] = []
        first = _until_message(records, held)  # before the first its time is not known yet
        if first is not None and carrier is None:
            ahead = _ahead(records, held, first)
            carrier = carriers.by_messages(path, params, ahead)
        self.carrier = carrier or carriers.by_messages(path, params, ())
        self.has_begun = first is not None
        if held:
            self.begin(held[0] if first is None else first)
        return held

    def begin(self, first: Record | Refused) -> None:
        self.first_ns = first.time_ns
        self.anchor_ns = first.time_ns if self.given_ns is None else self.given_ns

    def take(self, records: Iterable[Record | Refused]) -> None:
        longest, day = 3600 * self.budget.hours, self.budget.day_secs
        for record in records:
            handler = _HANDLERS.get(record.topic)
            if handler is None:
                continue  # a topic of a later version
            time = (record.time_ns - self.anchor_ns) / 1e9
            if abs(time) > longest:
                if abs(time) > day:
                    self.strays += 1
                    continue
                self.budget.check(self.reader.path, "hours", abs(time) / 3600)
            numbers, times = self.numbers[record.topic]
            numbers.append(record.sequence)
            times.append(time)
            if isinstance(record, Refused):
                self.event(time, "bad_message", f"{record.topic}: {record.why}")
                continue
            try:
                handler(self, record, time)
            except (ValueError, RecursionError) as error:  # of msgspec's decoders
                self.event(time, "bad_message", f"{record.topic}: {str(error)[:120]}")

    def event(self, time: float, kind: str, text: str = "") -> None:
        self.events.append(Event(time, kind, text[: self.budget.text]))
        self.budget.check(self.reader.path, "events", len(self.events))

    def received(self, record: Record, time: float) -> None:
        size = len(record.body)
        self.wire_in += size
        self.last = time if time > self.last else self.last
        try:
            message = self.carrier.received(record.body)
        except (ProtocolError, ValueError) as error:
            self.event(time, "bad_message", f"from {self.carrier}: {error}")
            return
        if type(message) is Media:
            sequence = message.sequence
            if sequence > self.most:
                sequence = -1
            if message.is_caller:
                self.rx_index.add(record.sequence)
                self.inbound.add(time, sequence, message.payload, message.wire, size)
            else:
                self.others.append(sequence)
        elif isinstance(message, messages.Start):
            self.start = self.start or message
            self.event(time, "start", ", ".join(f"{t.name} {t.encoding}" for t in message.tracks))
        elif isinstance(message, messages.Stop):
            self.event(time, "stop")
        elif isinstance(message, wire.Mark):
            self.played.append((time, message.name))
            self.event(time, "played", message.name)
        elif isinstance(message, wire.Cleared):
            self.event(time, "cleared")
        elif self.carrier.is_read and isinstance(message, messages.Other):
            self.event(time, "other_message", message.event_type[:120])

    def sent(self, record: Record, time: float) -> None:
        size = len(record.body)
        self.wire_out += size
        self.last = time if time > self.last else self.last
        try:
            message = self.carrier.sent(record.body)
        except (ProtocolError, ValueError) as error:
            self.event(time, "bad_message", f"to {self.carrier}: {error}")
            return
        if type(message) is Media:
            self.outbound.add(time, -1, message.payload, message.wire, size)
        elif isinstance(message, messages.Clear):
            self.event(time, "clear")
        elif isinstance(message, wire.Mark):
            self.asked.append(Asked(time, message.name, len(self.outbound.payloads)))
            self.event(time, "mark", message.name)
        elif self.carrier.is_read and isinstance(message, messages.Other):
            self.event(time, "other_message", message.event_type)

    def invalid(self, record: Record, time: float) -> None:
        body = _INVALID.decode(record.body)
        inbound = record.topic.startswith("/ws/rx")
        if body.data and (media := self.carrier.binary(body.data, inbound=inbound)) is not None:
            self.binary(media, time, inbound)
        elif self.carrier.is_read:
            sender = "from" if inbound else "to"
            self.event(time, "bad_message", f"{sender} {self.carrier}: {body.error or 'not JSON'}")

    def binary(self, media: Media, time: float, inbound: bool) -> None:
        """Keep audio of a carrier that sends it as it is."""
        size = len(media.payload)
        self.last = max(self.last, time)
        if inbound:
            self.wire_in += size
            self.inbound.add(time, media.sequence, media.payload, media.wire, size)
        else:
            self.wire_out += size
            self.outbound.add(time, -1, media.payload, media.wire, size)

    def audio_in(self, record: Record, time: float) -> None:
        self.frames["in"].add(self.frame(record, time))

    def audio_out(self, record: Record, time: float) -> None:
        frame = self.frame(record, time)
        if frame.pcm and self.carrier.is_ours:  # which leaves it out, and says so in its log
            samples = without_header(frame.pcm)
            if len(samples) < len(frame.pcm):
                frame = msgspec.structs.replace(frame, pcm=bytes(samples))
        self.frames["out"].add(frame)

    def frame(self, record: Record, time: float) -> FrameRecord:
        frame = frame_of(record, time, self.budget)
        if frame.pcm and not frame.sample_rate:
            self.event(time, "bad_message", f"{record.topic}: sound of no rate that there is")
        return frame

    def other_frame(self, record: Record, time: float) -> None:
        body = _OTHER.decode(record.body)
        took_ms = None if body.took_us is None else body.took_us / 1000
        direction = record.topic.split("/")[2]
        self.frames[direction].add(
            FrameRecord(time, body.frame, cause=body.cause, result=body.result, took_ms=took_ms)
        )
        begins = _RTVI_SYNTHESES.get(_rtvi(body))
        if begins is not None and direction == "out":
            self.syntheses.append((time, begins))
        kind = _FRAME_EVENTS.get(body.frame)
        if kind and direction == "out":
            self.event(time, kind, body.frame)

    def log(self, record: Record, time: float) -> None:
        body = _LOG.decode(record.body)
        read = version_1_0.hang_up if self.is_1_0 else self.carrier.hang_up
        told = read(body.message)
        if told is not None:
            self.hung_up(time, told, body.message)
        elif body.level >= 3:
            self.event(time, "error" if body.level >= 4 else "warning", body.message)

    def hang_up(self, record: Record, time: float) -> None:
        self.hung_up(time, _HANG_UP.decode(record.body))

    def hung_up(self, time: float, told: HangUp, text: str = "") -> None:
        took_ms = None if told.took_us is None else told.took_us / 1000
        hang_up = HangUpRecord(
            time,
            told.outcome[: self.budget.text],
            told.status_code,
            told.attempts,
            took_ms,
            told.reason[: self.budget.text],
        )
        self.hang_ups.append(hang_up)
        self.event(time, "hang_up" if hang_up.is_over else "hang_up_failed", text or str(hang_up))

    def recording(self, record: Record, time: float) -> None:
        dropped = _STATS.decode(record.body).dropped
        if dropped > self.dropped:
            self.event(time, "dropped", f"{dropped - self.dropped} records")
            self.dropped = dropped

    def note(self, record: Record, time: float) -> None:
        text = _NOTE.decode(record.body).text
        told = version_1_0.pipeline(text) if self.is_1_0 else None
        if told is not None:
            self.happened(time, told)
        else:
            self.event(time, "note", text)

    def pipeline_event(self, record: Record, time: float) -> None:
        self.happened(time, _PIPELINE.decode(record.body))

    def happened(self, time: float, told: Pipeline) -> None:
        most = self.budget.text
        what = PipelineRecord(time, told.what[:most], told.processor[:most], told.seconds)
        self.pipeline.append(what)
        if what.what in _SYNTHESES:
            self.syntheses.append((time, _SYNTHESES[what.what]))
        self.event(time, "pipeline", str(what))

    def worded(self, record: Record, time: float) -> None:
        body = _WORDS.decode(record.body)
        if body.side not in ("caller", "bot"):
            raise ValueError(f"said by {body.side[:40]!r}, who is nobody of a call")
        times = [*body.starts, *body.ends]
        longest = 3600 * self.budget.hours
        if not len(body.at) == len(body.starts) == len(body.ends) or not all(
            abs(time) <= longest for time in times
        ):
            raise ValueError("times of words that make no sense")
        self.words.append(
            WordsRecord(
                time,
                "bot" if body.side == "bot" else "caller",
                body.text[: self.budget.text],
                body.processor[: self.budget.text],
                body.is_whole,
                body.is_timed,
                tuple(body.at),
                tuple(body.starts),
                tuple(body.ends),
            )
        )
        # One without a word counts too: each takes memory.
        self.word_count += 1 + max(len(body.at), len(body.text.split()))
        self.budget.check(self.reader.path, "words", self.word_count)

    def contents(self) -> Contents:
        events = sorted([*self.events, *self.astray()], key=lambda event: event.time)
        self.pipeline.sort(key=lambda record: record.time)  # an observer tells some of it late
        self.words.sort(key=lambda record: record.time)
        frames = {way: written.frames() for way, written in self.frames.items()}
        came, went = self.inbound, self.outbound
        if not self.carrier.is_read:
            came, went = _made_of_frames(frames["in"], frames["out"])
        holes = {} if self.is_whole else {t: unrecorded.holes(*n) for t, n in self.numbers.items()}
        begins = [event.time for event in events if event.kind == "start"][1:]
        inbound = _inbound(came.stream(), self.others, begins, holes.get("/ws/rx", ()))
        outbound = went.stream()
        self.check_audio(inbound, outbound, *frames.values())
        stopped = final_stop(events, float(inbound.time.max(initial=-np.inf)))
        ending = self.ending(events, inbound, outbound, stopped)
        self.budget.check(self.reader.path, "hours", ending.time / 3600)
        return Contents(
            self.anchor_ns,
            (self.first_ns - self.anchor_ns) / 1e9,
            replace(inbound, spells=tuple(until(ending.time, inbound.spells))),
            outbound,
            frames["in"],
            frames["out"],
            tuple(events),
            tuple(self.hang_ups),
            tuple(self.pipeline),
            tuple(sorted(self.syntheses)),  # of the same moment, an end comes first
            tuple(self.words),
            ending=ending,
            start=self.start,
            stopped=stopped,
            other_track=len(self.others),
            wire_in=self.wire_in,
            wire_out=self.wire_out,
            dropped=max(self.dropped, sum(hole[2] for found in holes.values() for hole in found)),
            unrecorded=unrecorded.merged(holes),
            rx_index=self.rx_index.numbers(),
            carrier=self.carrier,
            marks=paired(
                self.asked, self.played, [event.time for event in events if event.kind == "clear"]
            ),
        )

    def astray(self) -> list[Event]:
        if not self.strays:
            return []
        told = f"{self.strays} records are dated more than a day from this call and were skipped"
        return [Event(0.0, "bad_message", told)]

    def check_audio(self, inbound: Stream, outbound: Stream, *frames: Frames) -> None:
        """Refuse more audio than a call of such a length has, or than a signal may have."""
        path, budget = self.reader.path, self.budget
        length = max((times[-1] - times[0] for _, times in self.numbers.values()), default=0.0)
        for spoken in (*map(_spoken_in, (inbound, outbound)), *map(_spoken, frames)):
            a_second = (sum(spoken.values()) - _AT_ONCE) / max(length, 1.0)
            budget.check(path, "audio_per_second", a_second)
            budget.check(path, "rates", len(spoken))
            budget.check(path, "samples", max((r * s for r, s in spoken.items()), default=0.0))
            rate = max(spoken, key=lambda rate: spoken[rate], default=0)
            budget.check(path, "samples", rate * length)

    def ending(
        self, events: list[Event], inbound: Stream, outbound: Stream, stopped: float | None
    ) -> Ending:
        clears = [event.time for event in events if event.kind == "clear"]
        played = reconstruct(outbound.time, outbound.duration, clears).end
        ends = [inbound.time + inbound.duration, played[~np.isnan(played)]]
        until = max(self.last, *(float(end.max(initial=0.0)) for end in ends))
        return ending_of(
            events,
            self.hang_ups,
            stop=stopped,
            last=self.last,
            until=until,
            is_idle=self.is_idle,
        )


def frame_of(record: Record, time: float, budget: Budget) -> FrameRecord:
    """Read a record of an audio frame; where its rate or channels make no sense it has no rate.

    Raises:
        ValueError: If it is no such record.
        RecursionError: Likewise.
    """
    body = _AUDIO.decode(record.body)
    is_sound = budget.is_sound(body.sample_rate, body.number_of_channels)
    return FrameRecord(
        time,
        sys.intern(body.frame or "AudioRawFrame"),
        body.data,
        body.sample_rate if is_sound else 0,
        body.number_of_channels if is_sound else 1,
        body.cause,
        "",
        None if body.took_us is None else body.took_us / 1000,
    )


def _spoken_in(stream: Stream) -> dict[int, float]:
    """Seconds of audio in messages, by sample rate."""
    spoken: defaultdict[int, float] = defaultdict(float)
    for form, secs in zip(stream.formats, stream.duration.tolist(), strict=True):
        spoken[form.sample_rate] += secs
    return spoken


def _spoken(frames: Frames) -> dict[int, float]:
    """Seconds of audio in frames, by sample rate."""
    duration, sounds = frames.duration, frames.has_sound
    rates = np.unique(frames.sample_rate[sounds]).tolist()
    return {rate: float(duration[sounds & (frames.sample_rate == rate)].sum()) for rate in rates}


def params_of(told: Mapping[str, str]) -> dict[str, Any]:
    """The serializer's parameters, as the metadata ``serializer`` has them; empty if it has none."""
    try:
        return msgspec.json.decode(told.get("params", ""), type=dict[str, Any])
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}


def _made_of_frames(heard: Frames, said: Frames) -> tuple[_Rows, _Rows]:
    """The frames of both directions, in place of the messages that nobody reads."""
    inbound, outbound = _Rows(), _Rows()
    for rows, frames in (
        (inbound, heard.taken(heard.has_sound)),
        (outbound, said.taken(said.is_to_be_sent)),
    ):
        for frame in frames:
            pcm = frame.mono
            rows.add(frame.time, -1, pcm, linear(frame.sample_rate), len(pcm))
    return inbound, outbound


def _until_message(
    records: Iterator[Record | Refused], held: list[Record | Refused]
) -> Record | None:
    """Put records into ``held`` up to the first message, which is returned; ``None`` without one."""
    for record in records:
        held.append(record)
        if record.topic.startswith("/ws/") and type(record) is Record:
            return record
    return None


def _ahead(
    records: Iterator[Record | Refused], held: list[Record | Refused], first: Record
) -> Iterator[bytes]:
    """The first messages, one after the other; what is read for them goes into ``held``."""
    message: Record | None = first
    for _ in range(carriers.LOOKED_AT):
        if message is None:
            return
        yield message.body
        message = _until_message(records, held)


def _rtvi(body: OtherFrame) -> str:
    """Type of the RTVI message in a frame, such as ``"bot-tts-started"``; empty if it is none."""
    message = body.fields.get("message")
    if not isinstance(message, dict) or message.get("label") != "rtvi-ai":
        return ""
    return str(message.get("type", ""))


def _inbound(
    stream: Stream, others: list[int], begins: Sequence[float], holes: Sequence[Unrecorded]
) -> Stream:
    """The caller's stream with its life; ``others`` are the numbers of media of the other track."""
    sequence = stream.sequence
    if others and len(np.intersect1d(sequence, others)) == 0:
        # Both tracks were counted together: take the other one's numbers out.
        taken = np.sort(np.array(others, np.int64))
        sequence = np.where(sequence < 0, -1, sequence - np.searchsorted(taken, sequence))
    life = life_of(stream.time, sequence, stream.duration, stream.payloads, begins, holes)
    return replace(stream, **vars(life))


_AUDIO: Final = msgspec.json.Decoder(_AudioFrame)
_OTHER: Final = msgspec.json.Decoder(OtherFrame)
_INVALID: Final = msgspec.json.Decoder(Invalid)
_LOG: Final = msgspec.json.Decoder(LogRecord)
_STATS: Final = msgspec.json.Decoder(Stats)
_NOTE: Final = msgspec.json.Decoder(Note)
_HANG_UP: Final = msgspec.json.Decoder(HangUp)
_PIPELINE: Final = msgspec.json.Decoder(Pipeline)
_WORDS: Final = msgspec.json.Decoder(Words)

#: Frames given to ``serialize`` that make an event. ``StartInterruptionFrame`` is the name that
#: Pipecat used before 1.0 and still exports in some releases.
_FRAME_EVENTS: Final = {
    "InterruptionFrame": "interruption",
    "StartInterruptionFrame": "interruption",
    "EndFrame": "end",
    "CancelFrame": "cancel",
}

#: What tells of a synthesis: the messages that Pipecat sends to web clients by default, and the
#: records of :mod:`workbench.observer`.
_RTVI_SYNTHESES: Final = {"bot-tts-started": True, "bot-tts-stopped": False}
_SYNTHESES: Final = {"synthesis begins": True, "synthesis ends": False}

_HANDLERS: Final[dict[str, Callable[[_Reading, Record, float], Any]]] = {
    "/ws/rx": _Reading.received,
    "/ws/tx": _Reading.sent,
    "/ws/rx/invalid": _Reading.invalid,
    "/ws/tx/binary": _Reading.invalid,
    "/frames/in/audio": _Reading.audio_in,
    "/frames/out/audio": _Reading.audio_out,
    "/frames/in/other": _Reading.other_frame,
    "/frames/out/other": _Reading.other_frame,
    "/log": _Reading.log,
    "/capture/stats": _Reading.recording,
    "/notes": _Reading.note,
    "/hang_up": _Reading.hang_up,
    "/pipeline": _Reading.pipeline_event,
    "/words": _Reading.worded,
}
