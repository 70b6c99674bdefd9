"""Hours of clean calls: recorded runs whose voices are exchanged.

Every time, size and event stays what was recorded; the sound of each phrase becomes that of other
phrases of the same length, which pass through the real serializer again. Of a caller who interrupts
no voice but a cough may be left: then the bot falls silent at a cough.

``tests/ground/runs`` holds runs without sound, which is all that this needs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic_ns
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
from pipecat.frames.frames import (
    EndFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
)

from pipecat_bandwidth import BandwidthFrameSerializer
from pipecat_bandwidth.messages import Media, encode, parse
from tests.ground.caller import RATE, SIZE, ulaw_encode
from tests.ground.course import Course, Truth, course_of, truth_of
from tests.ground.filling import SAID, Fill, Samples, speech
from tests.ground.noises import Sound, callers
from tests.ground.record import late_ms
from tests.ground.scenarios import BY_NAME, Scenario, half_of_run
from tests.ground.voices import FEWEST, Half, speakers
from workbench import Call
from workbench.audio import Audio
from workbench.call import version_1_0
from workbench.capture import (
    AudioFrame,
    CaptureReader,
    CaptureWriter,
    HangUp,
    LogRecord,
    OtherFrame,
    Record,
)

Written: TypeAlias = tuple[str, int, Any]  # topic, time, body

RUNS = Path(__file__).parent / "runs"
SHARES = {"ordinary": 0.6, "formant": 0.15, "no voice": 0.25}
#: What is true of callers as they are made: fainter than any voice, cut off at the rail, a loud place.
TRUE_OF = {
    "television": ("level_mismatch",),
    "comfort_noise": ("level_mismatch",),
    "gain_control": ("clipping",),
    "babble": ("noise",),
}
_FRAMES = {"InterruptionFrame": InterruptionFrame, "EndFrame": EndFrame}


class Ground(NamedTuple):
    """One clean call.

    Parameters:
        name: Of its run.
        group: ``"ordinary"``, ``"formant"``, ``"no voice"``, ``"silent caller"``.
        voices: Who is heard: the caller's voice or sound, and the bot's voice.
        truth: What may be told of it.
        call: The call.
    """

    name: str
    group: str
    voices: str
    truth: Truth
    call: Call


class Run(NamedTuple):
    """One recorded run: its capture and what is known of it."""

    path: Path
    truth: dict[str, Any]

    @property
    def scenario(self) -> Scenario:
        return BY_NAME[self.truth["scenario"]]

    @property
    def course(self) -> Course:
        return course_of(self.path)

    @property
    def tells(self) -> Truth:
        """What may be told of it."""
        return truth_of(self.path, self.scenario.rightly)


def runs(folder: Path = RUNS, half: Half | None = None, most_late_ms: float = 60.0) -> list[Run]:
    """The recorded runs of a half that were in time."""
    found = [
        Run(path.with_suffix(".mcap"), json.loads(path.read_text("utf-8")))
        for path in sorted(folder.glob("*.json"))
    ]
    return [
        run
        for run in found
        if (half is None or half_of_run(run.path.stem) == half)
        and late_ms(run.truth) <= most_late_ms
    ]


def clean_calls(
    half: Half, rng: np.random.Generator, folder: Path = RUNS, most_late_ms: float = 60.0
) -> Iterator[Ground]:
    """Exchange the voices of runs drawn at random, again and again, without end.

    Args:
        half: Of the runs and of the voices.
        rng: Chooses.
        folder: Where the runs are.
        most_late_ms: Leave out runs of a machine that was later than this.
    """
    known = runs(folder, half, most_late_ms)
    plain = [run for run in known if run.scenario.group == "ordinary"]
    while True:
        group = str(rng.choice(list(SHARES), p=list(SHARES.values())))
        among = plain if group == "no voice" else known
        yield exchanged(among[rng.integers(len(among))], half, group, rng)


def exchanged(run: Run, half: Half, group: str, rng: np.random.Generator) -> Ground:
    """Exchange the voices of one run.

    Args:
        run: The run.
        half: Whose voices.
        group: What the caller becomes: ``"ordinary"``, ``"formant"`` or ``"no voice"``.
        rng: Chooses.
    """
    # Of a voice with few phrases none may fit.
    voices = (
        speakers(half, "formant", 4)
        if group == "formant"
        else speakers(half, "voice", FEWEST[half])
    )
    sounds = callers(half)
    # Two who say the same in one voice would be an echo.
    who = rng.choice(sorted(voices), 2, replace=len(voices) < 2).tolist()
    caller, bot = (speech(voices[name], rng) for name in who)
    if group == "no voice":
        who[0] = sorted(sounds)[rng.integers(len(sounds))]
        caller = _of(sounds[who[0]], rng)
    call = with_sound(run, caller, bot, sounds, rng)
    own = run.scenario.group
    shown = own if own != "ordinary" else group
    truth = run.tells
    if group == "no voice":  # who spoke is a cough now, and the bot was interrupted all the same
        truth = truth_of(run.path, run.scenario.rightly, caller=False)
        truth = truth.but("false_barge_in", *TRUE_OF.get(who[0], ()))
    return Ground(run.path.stem, shown, " / ".join(who), truth, call)


def with_sound(
    run: Run, caller: Fill, bot: Fill, sounds: dict[str, Sound], rng: np.random.Generator
) -> Call:
    """Give a run new sound: what caller and bot say, and the scenario's own sounds, by name."""
    with CaptureReader(run.path) as reader:
        records, metadata = list(reader.records()), reader.metadata
    sizes = sizes_of(records)
    line = line_of(run, sounds, caller, rng)
    said = said_by(run, sum(sizes), sounds, bot, rng)
    sound = Exchange(line, framed(said, run.scenario.out_rate, sizes))
    written = asyncio.run(through(records, run.scenario, metadata, sound))
    with TemporaryDirectory() as folder:
        return Call.open(write(written, metadata, Path(folder, run.path.name)))


def _of(sound: Sound, rng: np.random.Generator) -> Fill:
    return lambda secs, _cut: sound(rng, secs).samples


# -- the new sound -------------------------------------------------------------------------------


def line_of(run: Run, sounds: dict[str, Sound], caller: Fill, rng: np.random.Generator) -> Samples:
    """All that the caller sends, at 8 kHz: a line's noise, and words where there were words."""
    length = run.truth["sent"] * SIZE
    line = np.zeros(length, np.float32)
    if run.scenario.line_dbov is not None:
        noise = rng.standard_normal(length) * 10 ** (rng.uniform(-72, -58) / 20)
        line += noise.astype(np.float32)
    if run.scenario.background:
        line += sounds[run.scenario.background](rng, length / RATE).samples[:length]
    for first, last, name in run.truth["said"]:
        fill = _of(sounds[name], rng) if name in sounds else caller
        words = fill((last - first) / RATE, False)[: max(0, length - first)]
        line[first : first + len(words)] += words
    return line


def said_by(
    run: Run, size: int, sounds: dict[str, Sound], bot: Fill, rng: np.random.Generator
) -> Samples:
    """All that the bot's frames hold, at their rate: other phrases where there was sound."""
    rate = run.scenario.out_rate
    out = np.zeros(size, np.float32)
    for first, last, cut in run.truth["slots"]:
        words = Audio(bot((last - first) / rate, bool(cut)), RATE).resampled(rate).samples
        words = words[: last - first]
        out[first : first + len(words)] = words
    if run.scenario.mixer:
        music = sounds["music"](rng, len(out) / rate + 0.1).resampled(rate)
        out += np.float32(0.1) * music.samples[: len(out)]
    return out


def sizes_of(records: Iterable[Record]) -> list[int]:
    """Samples of each of the bot's frames."""
    frames = (msgspec.json.decode(r.body, type=AudioFrame) for r in records if r.topic == SAID)
    return [len(frame.data) // 2 for frame in frames]


def framed(samples: Samples, rate: int, sizes: list[int]) -> Iterator[bytes]:
    """Divide what the bot says into its frames."""
    pcm = Audio(np.clip(samples, -1, 1), rate).pcm()
    for end, size in zip(np.cumsum(sizes), sizes, strict=True):
        yield pcm[2 * (end - size) : 2 * end]


# -- the capture ---------------------------------------------------------------------------------


@dataclass
class Exchange:
    """New sound on its way through the serializer: what is left of it, what came out."""

    line: Samples
    said: Iterator[bytes]
    heard: list[bytes] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)


async def through(
    records: list[Record], scenario: Scenario, metadata: dict[str, dict[str, str]], sound: Exchange
) -> list[Written]:
    """Every record with the new sound in it, as the real serializer makes it."""
    kind = BandwidthFrameSerializer.InputParams
    params = kind.model_validate_json(metadata["serializer"]["params"])
    fixed = {"auto_hang_up": False, "sample_rate": scenario.in_rate}
    serializer = BandwidthFrameSerializer(
        metadata["call"]["stream_id"], params=params.model_copy(update=fixed)
    )
    made: list[Written] = []
    has_hang_ups = any(record.topic == "/hang_up" for record in records)
    for record in records:
        if record.topic.startswith("/capture/"):
            continue  # the writer makes its own
        if record.topic == "/log" and not has_hang_ups and (body := _hang_up(record)):
            made.append(("/hang_up", record.time_ns, body))
        else:
            made.append((record.topic, record.time_ns, await _renewed(record, serializer, sound)))
    return made


def _hang_up(record: Record) -> HangUp | None:
    """What a capture of format 1.0 says of a hang-up in its log; today it is a record of its own."""
    return version_1_0.hang_up(msgspec.json.decode(record.body, type=LogRecord).message)


async def _renewed(record: Record, serializer: BandwidthFrameSerializer, sound: Exchange) -> Any:
    """The body of one record."""
    text = record.body.decode()
    match record.topic:
        case "/ws/rx":
            message = parse(text)
            if isinstance(message, Media):
                part, sound.line = sound.line[:SIZE], sound.line[SIZE:]
                payload = ulaw_encode(part)
                text = encode(msgspec.structs.replace(message, payload=payload))
            heard = await serializer.deserialize(text)
            if isinstance(heard, InputAudioRawFrame):
                sound.heard.append(heard.audio)
            return text
        case "/frames/in/audio":
            was = msgspec.json.decode(text, type=AudioFrame)
            return msgspec.structs.replace(was, data=sound.heard.pop(0))
        case "/frames/out/audio":
            was = msgspec.json.decode(text, type=AudioFrame)
            frame = OutputAudioRawFrame(next(sound.said), was.sample_rate, 1)
            _keep(await serializer.serialize(frame), sound)
            return msgspec.structs.replace(was, data=frame.audio)
        case "/frames/out/other":
            if other := _FRAMES.get(msgspec.json.decode(text, type=OtherFrame).frame):
                _keep(await serializer.serialize(other()), sound)
            return text
        case "/ws/tx":
            return sound.sent.pop(0)
    return text


def _keep(text: str | bytes | None, sound: Exchange) -> None:
    if text is not None:
        sound.sent.append(str(text))


def write(
    records: list[Written],
    metadata: dict[str, dict[str, str]],
    path: Path,
    unwritten: Sequence[int] | None = None,
) -> Path:
    """Write a capture of these records, but for a span that a full disk had no room for."""
    serializer = metadata["serializer"]
    about = {"class": serializer["class"], "params": json.loads(serializer["params"])}
    writer = CaptureWriter(
        path, call=metadata["call"], serializer=about, max_records=10**7, max_bytes=2**31
    )
    shift = monotonic_ns() - records[0][1]
    first, last = unwritten or (0, 0)
    for topic, time_ns, body in records:
        if first <= time_ns < last:
            writer._sequences[topic] += 1
            writer.count_lost("the disk is full")
            continue
        writer.record(topic, time_ns + shift, body)
    writer.close()
    return writer.path
