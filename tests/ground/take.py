"""A ground call in the making: a recorded run whose sound and records may still be changed.

First its sound and its course, then, from :meth:`Take.encode` on, what was written of it. Times are
seconds on the call's clock, 0 being the ``start`` message.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipecat_bandwidth.messages import Clear, Stop, encode, parse
from tests.ground.caller import RATE, SIZE, STEP
from tests.ground.calls import Exchange, Run, framed, line_of, runs, said_by, through, write
from tests.ground.course import played
from tests.ground.filling import SAID, Fill, Samples, speech
from tests.ground.noises import callers
from tests.ground.voices import FEWEST, Half, clips, speakers
from workbench import Call
from workbench.audio import Audio
from workbench.capture import AudioFrame, CaptureReader, OtherFrame, Record

RX, HEARD, OTHER, TX = "/ws/rx", "/frames/in/audio", "/frames/out/other", "/ws/tx"
OUTBOUND = (SAID, OTHER, TX, "/pipeline")
LOUD_DB = 12.0  # below the loudest: still in the middle of a word
LATE_MS = 60.0  # that a run may be late


class Unfit(Exception):
    """A fault of this size does not fit into this call."""


@dataclass(eq=False)
class Entry:
    """One record; ``cause`` is the entry that it was made from, if it was."""

    topic: str
    time: float
    body: Any
    cause: Entry | None = None
    size: int = 0  # samples of a frame of the bot


def material(half: Half, rng: np.random.Generator) -> tuple[Run, Fill, Fill]:
    """A run with nothing wrong in it, and voices for its caller and its bot.

    Where no voice is installed they are the clips.
    """
    plain = [
        run
        for run in runs(half=half, most_late_ms=LATE_MS)
        if run.scenario.group == "ordinary" and not (run.scenario.rightly or run.scenario.idle)
    ]
    voices = list(speakers(half, "voice", FEWEST[half]).values())
    voices = voices or [clips()]
    caller, bot = (speech(voices[rng.integers(len(voices))], rng) for _ in range(2))
    while True:  # one after the other: to read all of them takes half a minute
        run = plain[rng.integers(len(plain))]
        if not (run.course.silences() or run.course.together()):
            break
    return run, caller, bot


class Take:
    """One call.

    Args:
        half: Whose runs and voices.
        rng: Chooses them, and the places of what is planted.

    Attributes:
        entries: What is recorded, in order of time.
        line: What the caller sends, at 8 kHz, 160 samples a message.
        said: What the bot's frames hold, at ``rate``.
        words: First and last sample in ``line`` of what the caller says.
        slots: First and last sample in ``said`` of what the bot says in one go.
        lost: A span that the recording lost.
    """

    def __init__(self, half: Half, rng: np.random.Generator) -> None:
        self.run, self.caller, self.bot = material(half, rng)
        self.rng, self.rate = rng, self.run.scenario.out_rate
        self.lost: tuple[float, float] | None = None
        self._encoded = False
        with CaptureReader(self.run.path) as reader:
            records = [r for r in reader.records() if not r.topic.startswith("/capture/")]
            self.metadata = {name: dict(value) for name, value in reader.metadata.items()}
        self.entries = _entries(records)
        self.line = line_of(self.run, {}, self.caller, rng)
        self.said = said_by(
            self.run, sum(f.size for f in self.frames), callers(half), self.bot, rng
        )
        self.words = [(first, last) for first, last, _ in self.run.truth["said"]]
        self.slots = [(first, last) for first, last, _ in self.run.truth["slots"]]

    # -- what is where -----------------------------------------------------------------------

    def of(self, topic: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.topic == topic]

    @property
    def frames(self) -> list[Entry]:
        """The bot's audio frames."""
        return self.of(SAID)

    @property
    def media(self) -> list[Entry]:
        """The caller's messages."""
        return [entry for entry in self.of(RX) if is_media(entry)]

    @property
    def duration(self) -> float:
        """When the caller's last message came."""
        return self.media[-1].time

    @property
    def offset(self) -> float:
        """When the caller's first sample was sent: what the least late message tells."""
        times = np.array([entry.time for entry in self.media])
        return float(np.min(times - STEP * np.arange(len(times))))

    def sent(self, sample: int) -> float:
        """When a sample of the line is sent."""
        return self.offset + sample / RATE

    def line_at(self, time: float) -> int:
        """The sample of the line that is sent then."""
        return max(0, round((time - self.offset) * RATE))

    @property
    def ends(self) -> NDArray[np.int_]:
        """Last sample of each frame of the bot, plus 1."""
        return np.cumsum([frame.size for frame in self.frames])

    def played(self) -> NDArray[np.float64]:
        """When each frame begins to be heard: they queue, and ``clear`` empties the queue."""
        frames = self.frames
        clears = [entry.time for entry in self.of(TX) if is_clear(entry)]
        secs = [frame.size / self.rate for frame in frames]
        return played([frame.time for frame in frames], secs, clears)

    def frame_at(self, sample: int) -> int:
        """Number of the frame that holds a sample."""
        return min(int(np.searchsorted(self.ends, sample, "right")), len(self.frames) - 1)

    def begin(self, slot: tuple[int, int]) -> int:
        """Where the frames of a sentence begin, 50 ms before its sound at most."""
        index = self.frame_at(slot[0])
        while index and self.frames[index].time - self.frames[index - 1].time < 0.2:
            index -= 1
        return max(int(self.ends[index]) - self.frames[index].size, slot[0] - self.rate // 20)

    def heard(self, sample: int) -> float:
        """When a sample of the bot is heard."""
        index = self.frame_at(sample)
        inside = sample - int(self.ends[index]) + self.frames[index].size
        return float(self.played()[index]) + inside / self.rate

    def loud(self, samples: Samples, rate: int, span: tuple[int, int], size: int) -> int:
        """A random place in a span at which so many samples lie in the middle of a word."""
        hop = rate // 50
        first, last = span[0], span[1] - max(size, hop)
        if last <= first:
            raise Unfit
        places = np.arange(first, last, hop)
        ends = np.stack([places - hop, places + size], axis=1).clip(0, len(samples) - hop)
        power = [[float(np.mean(samples[at : at + hop] ** 2)) for at in pair] for pair in ends]
        both = np.min(power, axis=1)
        return int(self.rng.choice(places[both >= both.max() * 10 ** (-LOUD_DB / 10)]))

    # -- its course --------------------------------------------------------------------------

    def sort(self) -> None:
        self.entries.sort(key=lambda entry: entry.time)

    def add(self, time: float, topic: str, body: Any, cause: Entry | None = None) -> Entry:
        entry = Entry(topic, time, body, cause)
        self.entries.append(entry)
        self.sort()
        return entry

    def remove(self, gone: Iterable[Entry]) -> None:
        """Take records out, and what was made of them."""
        ids = {id(entry) for entry in gone}
        self.entries = [e for e in self.entries if id(e) not in ids and id(e.cause) not in ids]

    def end(self, time: float, *, stop: bool = True) -> None:
        """Nothing is recorded from then on, but for a ``stop``."""
        self.entries = [entry for entry in self.entries if entry.time < time]
        if stop:
            call = self.metadata["call"]
            self.add(time, RX, encode(Stop(call["stream_id"], call.get("call_id", ""))).encode())

    def stretch(self, at: float, secs: float, *, speaks: bool = False) -> None:
        """Make the call longer from then on: the line's noise, and more of the bot if it speaks."""
        count = max(1, round(secs / STEP))
        secs = count * STEP
        pattern = min(self.media, key=lambda entry: abs(entry.time - at))
        heard = next(e for e in self.entries if e.cause is pattern)
        place = self.line_at(at) // SIZE * SIZE
        for entry in self.entries:
            entry.time += secs if entry.time >= at else 0.0
        for number in range(count):
            new = copy(pattern)
            new.time = at + number * STEP
            self.entries += [new, Entry(HEARD, new.time + 1e-4, heard.body, new)]
        if speaks:
            self._speak(at, secs)
        self.sort()
        quiet = self.noise(count * SIZE)
        self.line = np.concatenate([self.line[:place], quiet, self.line[place:]])
        moved = (place, count * SIZE)
        self.words = [(_shifted(a, *moved), _shifted(b, *moved)) for a, b in self.words]
        self.number()

    def _speak(self, at: float, secs: float) -> None:
        earlier = [frame for frame in self.frames if frame.time < at]
        pattern = earlier[-1]
        made = [e for e in self.entries if e.cause is pattern]
        step = pattern.size / self.rate
        count = round(secs / step)
        place = int(sum(frame.size for frame in earlier))
        for number in range(count):
            new = copy(pattern)
            new.time = at + number * step
            self.entries += [new, *(Entry(e.topic, new.time + 1e-4, e.body, new) for e in made)]
        words = Audio(self.bot(secs, False), RATE).resampled(self.rate).samples
        more = np.zeros(count * pattern.size, np.float32)
        more[: len(words)] = words[: len(more)]
        self.said = np.concatenate([self.said[:place], more, self.said[place:]])
        self.slots = [
            (_shifted(a, place, len(more)), _shifted(b, place - pattern.size + 1, len(more)))
            for a, b in self.slots
        ]

    def rewire(self, rate: int) -> None:
        """Let the serializer send PCM at another rate."""
        params = json.loads(self.metadata["serializer"]["params"])
        params |= {"outbound_encoding": "PCM", "outbound_pcm_sample_rate": rate}
        self.metadata["serializer"]["params"] = json.dumps(params)
        # The rest that a resampler held back until the end need not be there.
        rests = [e for e in self.of(TX) if e.cause and e.cause.topic == OTHER and not is_clear(e)]
        self.remove(rests)

    def number(self) -> None:
        """Number the caller's messages from 1."""
        for number, entry in enumerate(self.media, 1):
            message = parse(entry.body)
            entry.body = encode(msgspec.structs.replace(message, sequence_number=str(number)))

    def noise(self, size: int) -> Samples:
        """As much of the line without words."""
        frames = self.line[: len(self.line) // SIZE * SIZE].reshape(-1, SIZE)
        level = np.quantile(np.sqrt(np.mean(frames**2, axis=1)), 0.1)
        return (self.rng.standard_normal(size) * level).astype(np.float32)

    def slot(self, secs: float) -> tuple[int, int]:
        """One of the bot's sentences that lasts so long; one is made longer if there is none.

        While the caller is heard: what ends the pipeline ends his side first.
        """
        during = [s for s in self.slots if self.within(s)[-1].time < self.duration - 0.1]
        fits = [s for s in during if s[1] - s[0] >= secs * self.rate]
        if not fits:
            index = self.slots.index(max(during, key=lambda s: s[1] - s[0]))
            first, last = self.slots[index]
            at = self.frames[self.frame_at(last - 1)].time + 1e-3
            self.stretch(at, secs - (last - first) / self.rate + 0.1, speaks=True)
            fits = [self.slots[index]]
        return fits[self.rng.integers(len(fits))]

    def within(self, slot: tuple[int, int]) -> list[Entry]:
        """The frames of a sentence."""
        return self.frames[self.frame_at(slot[0]) : self.frame_at(slot[1] - 1) + 1]

    def queued(self, at: float) -> float:
        """Seconds of the bot that have been sent by then and are still to be heard."""
        sent = [index for index, frame in enumerate(self.frames) if frame.time < at]
        return float(self.played()[sent[-1]]) + self.frames[sent[-1]].size / self.rate - at

    def made_of(self, frame: Entry) -> list[Entry]:
        """What was sent of a frame."""
        return [e for e in self.entries if e.cause is frame]

    def hand_over(self, slot: tuple[int, int], times: Callable[[float], float]) -> None:
        """Give the frames of a sentence to the transport at other times."""
        for frame in self.within(slot):
            moved = times(frame.time) - frame.time
            for entry in (frame, *self.made_of(frame)):
                entry.time += moved
        self.sort()

    def interrupt(self, slot: tuple[int, int], at: float) -> Entry:
        """The pipeline interrupts a sentence: its rest is never made; return the interruption."""
        ends, gone = self.ends, [frame for frame in self.within(slot) if frame.time >= at]
        if gone:
            index = self.frames.index(gone[0])
            first, count = int(ends[index]) - gone[0].size, sum(frame.size for frame in gone)
            self.said = np.delete(self.said, slice(first, first + count))
            self.slots = [
                (a - count if a >= first + count else a, min(b, first) if a < first else b - count)
                for a, b in self.slots
            ]
            self.remove(gone)
        frame = OtherFrame(frame="InterruptionFrame", result="sent")
        cut = self.add(at, OTHER, msgspec.json.encode(frame))
        self.add(at + 5e-4, TX, encode(Clear()).encode(), cut)
        return cut

    # -- what is written ---------------------------------------------------------------------

    def encode(self) -> None:
        """Send the sound through the serializer, once; what was written may be changed then."""
        if self._encoded:
            return
        self._encoded = True
        sizes = [frame.size for frame in self.frames]
        sound = Exchange(self.line.copy(), framed(self.said, self.rate, sizes))
        records = [Record(e.topic, 0, 0, _bytes(e.body)) for e in self.entries]
        written = asyncio.run(through(records, self.run.scenario, self.metadata, sound))
        for entry, (topic, _, body) in zip(self.entries, written, strict=True):
            entry.topic, entry.body = topic, body

    def write(self, path: Path) -> Path:
        """Write the capture."""
        self.encode()
        self.sort()
        numbers = {id(entry): number for number, entry in enumerate(self.of(RX), 1)}
        written = []
        for entry in self.entries:
            body = entry.body.decode() if isinstance(entry.body, bytes) else entry.body
            if entry.topic == HEARD:
                body = msgspec.structs.replace(body, cause=numbers[id(entry.cause)])
            written.append((entry.topic, round(1e9 * entry.time), body))
        holes = self.lost and [round(1e9 * time) for time in self.lost]
        return write(written, self.metadata, path, unwritten=holes)

    def call(self) -> Call:
        """The call as it is read again."""
        with TemporaryDirectory() as folder:
            return Call.open(self.write(Path(folder, "a.mcap")))


def is_media(entry: Entry) -> bool:
    return entry.topic == RX and b'"payload"' in _bytes(entry.body)[:200]


def is_clear(entry: Entry) -> bool:
    return b'"clear"' in _bytes(entry.body)[:60]


def _bytes(body: str | bytes) -> bytes:
    return body.encode() if isinstance(body, str) else body


def _shifted(place: int, at: int, size: int) -> int:
    return place + size if place >= at else place


def _entries(records: list[Record]) -> list[Entry]:
    """The records, each with what it was made from."""
    zero = next(record.time_ns for record in records if record.topic == RX)
    entries: list[Entry] = []
    received: dict[int, Entry] = {}
    frame: Entry | None = None
    for record in records:
        entry = Entry(record.topic, (record.time_ns - zero) / 1e9, record.body)
        if record.topic == RX:
            received[record.sequence] = entry
        elif record.topic in (SAID, HEARD):
            body = msgspec.json.decode(record.body, type=AudioFrame)
            if record.topic == HEARD:
                entry.cause = received[body.cause or 0]
            else:
                entry.size, frame = len(body.data) // 2, entry
        elif record.topic == OTHER:
            frame = entry
        elif record.topic == TX:
            entry.cause = frame
        entries.append(entry)
    return entries
