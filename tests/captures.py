"""Synthetic captures of known content: real files, real speech, faults of known size and place.

A :class:`Scene` is filled with speech and faults, then written through the real ``CaptureWriter``.
Every time is on the call's clock: 0 is the ``start`` message.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from time import monotonic_ns

import numpy as np
from mcap.reader import make_reader
from mcap.writer import Writer

from pipecat_bandwidth import messages
from pipecat_bandwidth.encodings import PCMU, WireFormat
from workbench.audio import Audio
from workbench.capture import AudioFrame, CaptureWriter, HangUp, LogRecord, OtherFrame, Pipeline
from workbench.capture.schema import Body

SAMPLES = Path(__file__).parent.parent / "sample_audio"
SCRIPT = json.loads((SAMPLES / "call" / "script.json").read_text(encoding="utf-8"))

MEDIA = 0.020
FRAME = 0.040  # what Pipecat's transport writes at once
LEAD = 0.080  # how far it is ahead of real time, once it runs
#: On the monotonic clock, which the capture's own records are on too: now.
ANCHOR_NS = monotonic_ns()


@cache
def speech(name: str, rate: int = 24000) -> Audio:
    """One file of the scripted call, such as ``caller/c05``."""
    return Audio.read(SAMPLES / "call" / f"{name}.flac").resampled(rate)


@dataclass
class Chunk:
    """One audio frame of the bot and the message made from it."""

    time: float
    frame: bytes
    payload: bytes
    said: float  # when its utterance began


@dataclass
class Scene:
    """A call in the making."""

    duration: float
    wire: WireFormat = PCMU
    pipeline_rate: int = 8000
    noise_dbov: float = -65.0
    jitter_ms: float = 1.0
    stop: bool = True
    heard_rate: int = 8000
    doubled: bool = False
    frame: str = "TTSAudioRawFrame"
    lost: set[int] = field(default_factory=set)
    twice: set[int] = field(default_factory=set)
    chunks: list[Chunk] = field(default_factory=list)
    extra: list[tuple[float, str, str | Body]] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = round(self.duration / MEDIA)
        self.rng = np.random.default_rng(1)
        noise = self.rng.standard_normal(count * 160) * 10 ** (self.noise_dbov / 20)
        self.caller = noise.astype(np.float32)
        self.arrival = np.arange(count) * MEDIA
        self.arrival += np.abs(self.rng.standard_normal(count)) * self.jitter_ms / 1000
        self.number = np.arange(1, count + 1)

    # -- sound -------------------------------------------------------------------------------

    def say_caller(self, at: float, audio: Audio, gain: float = 1.0) -> None:
        """Mix speech into the caller's side; what exceeds full scale is clipped."""
        samples = audio.resampled(8000).samples * np.float32(gain)
        first = round(at * 8000)
        samples = samples[: len(self.caller) - first]
        self.caller[first : first + len(samples)] += samples
        np.clip(self.caller, -0.999, 0.999, out=self.caller)

    def say_bot(self, at: float, audio: Audio, *, lead: float = LEAD) -> None:
        """Give speech to the transport at ``at``: the first of it is heard then."""
        said = audio.resampled(self.pipeline_rate).pcm()
        wired = Audio.from_pcm(said, self.pipeline_rate).resampled(self.wire.sample_rate)
        payload = self.wire.encode(wired.pcm())
        frame_bytes = round(FRAME * self.pipeline_rate) * 2
        wire_bytes = round(FRAME * self.wire.sample_rate) * self.wire.bytes_per_sample
        count = -(-len(said) // frame_bytes)
        for index in range(count):
            self.chunks.append(
                Chunk(
                    at + max(0.0, index * FRAME - lead),
                    said[index * frame_bytes : (index + 1) * frame_bytes],
                    payload[index * wire_bytes : (index + 1) * wire_bytes],
                    at,
                )
            )

    # -- faults ------------------------------------------------------------------------------

    def lose(self, at: float, count: int) -> None:
        """Leave out messages of the caller; their numbers are gone with them."""
        first = round(at / MEDIA)
        self.lost.update(range(first, first + count))

    def repeat(self, at: float, count: int) -> None:
        """Send messages of the caller twice."""
        first = round(at / MEDIA)
        self.twice.update(range(first, first + count))

    def stall_caller(self, at: float, secs: float) -> None:
        """Hold what the caller sends, then deliver it in a burst."""
        held = (self.arrival >= at) & (self.arrival < at + secs)
        self.arrival[held] = at + secs + np.arange(held.sum()) * 1e-5

    def pause_caller(self, at: float, secs: float) -> None:
        """Let the caller's side send nothing for a while, without skipping numbers."""
        first, last = round(at / MEDIA), round((at + secs) / MEDIA)
        keep = np.r_[0:first, last : len(self.arrival)]
        self.arrival, self.number = self.arrival[keep], np.arange(1, len(keep) + 1)
        self.caller = self.caller.reshape(-1, 160)[keep].ravel()

    def hole(self, at: float, secs: float) -> float:
        """Let the far end's queue run dry at ``at`` or just after it; return when.

        Everything of the bot that was to be played from then on comes ``secs`` later.
        """
        end = 0.0
        dry = None
        for chunk in sorted(self.chunks, key=lambda c: c.time):
            start = max(chunk.time, end)
            end = start + len(chunk.frame) / 2 / self.pipeline_rate
            if start >= at - 1e-9:
                dry = start if dry is None else dry
                chunk.time = max(dry, chunk.time) + secs
        assert dry is not None
        return dry

    def interrupt(self, at: float, *, clear: bool = True) -> None:
        """The pipeline interrupts what the bot is saying: the rest is never produced."""
        self.chunks = [c for c in self.chunks if not c.said < at <= c.time]
        self.frame_out(at, "InterruptionFrame", "sent" if clear else "none")
        if clear:
            self.extra.append((at + 0.001, "/ws/tx", messages.encode(messages.Clear())))

    def frame_out(self, at: float, frame: str, result: str = "none", **fields: object) -> None:
        body = OtherFrame(frame=frame, fields=fields, result=result)
        self.extra.append((at, "/frames/out/other", body))

    def rtvi(self, at: float, kind: str) -> None:
        """What Pipecat tells a web client, by default on every transport."""
        message = {"label": "rtvi-ai", "type": kind}
        self.frame_out(at, "OutputTransportMessageUrgentFrame", message=message)

    def log(self, at: float, text: str, level: int = 2) -> None:
        self.extra.append((at, "/log", LogRecord(level=level, message=text)))

    def hang_up(self, at: float, outcome: str, **fields: object) -> None:
        self.extra.append((at, "/hang_up", HangUp(outcome=outcome, **fields)))

    def pipeline(self, at: float, what: str, **fields: object) -> None:
        self.extra.append((at, "/pipeline", Pipeline(what=what, **fields)))

    def receive(self, at: float, text: str) -> None:
        """Something else that arrives."""
        self.extra.append((at, "/ws/rx", text))

    # -- writing -----------------------------------------------------------------------------

    def write(self, path: Path, *, finish: bool = True) -> Path:
        """Write the capture; without ``finish`` as a killed process would leave it."""
        call = {"stream_id": "s-1", "call_id": "c-1"}
        writer = CaptureWriter(path, call=call, max_records=10**7, max_bytes=2**31)
        for time, topic, body in sorted(self._records(), key=lambda record: record[0]):
            writer.record(topic, ANCHOR_NS + round(time * 1e9), body)
        if finish:
            writer.close()
        else:
            writer.flush()
        return writer.path

    def _records(self) -> list[tuple[float, str, str | Body]]:
        tracks = (messages.Track("inbound"),)
        start = messages.Start("s-1", "c-1", "99", "agent", tracks)
        records: list[tuple[float, str, str | Body]] = [
            (-0.010, "/frames/out/other", OtherFrame(frame="StartFrame", result="none")),
            (0.0, "/ws/rx", messages.encode(start)),
        ]
        received = [(t, body) for t, topic, body in self.extra if topic == "/ws/rx"]
        pieces: list[tuple[float, str, bytes]] = []
        coded = PCMU.encode(Audio(self.caller, 8000).pcm())
        # Converted as a stream, and cut into messages afterwards.
        heard = Audio.from_pcm(PCMU.decode(coded), 8000).resampled(self.heard_rate).pcm()
        if self.doubled:  # without a filter
            narrow = np.frombuffer(PCMU.decode(coded), "<i2")
            heard = narrow.repeat(self.heard_rate // 8000).tobytes()
        size = round(MEDIA * self.heard_rate) * 2
        for index, (at, number) in enumerate(zip(self.arrival, self.number, strict=True)):
            if index in self.lost:
                continue
            payload = coded[index * 160 : (index + 1) * 160]
            frame_pcm = heard[index * size : (index + 1) * size]
            text = messages.encode(messages.Media(payload, "inbound", str(number)))
            for copy in range(2 if index in self.twice else 1):
                pieces.append((float(at) + copy * 1e-4 + 1e-6, text, frame_pcm))
        pieces.sort(key=lambda piece: piece[0])
        others = np.sort([0.0, *(t for t, _ in received)])
        for index, (at, text, pcm) in enumerate(pieces):
            cause = index + 1 + int(np.searchsorted(others, at, side="right"))
            records.append((at, "/ws/rx", text))
            frame = AudioFrame(
                data=pcm, format="pcm-s16", sample_rate=self.heard_rate, number_of_channels=1,
                frame="InputAudioRawFrame", cause=cause,
            )  # fmt: skip
            records.append((at + 2e-5, "/frames/in/audio", frame))
        for chunk in self.chunks:
            frame = AudioFrame(
                data=chunk.frame, format="pcm-s16", sample_rate=self.pipeline_rate,
                number_of_channels=1, frame=self.frame, took_us=40.0,
            )  # fmt: skip
            records.append((chunk.time, "/frames/out/audio", frame))
            if chunk.payload:
                play = messages.PlayAudio(self.wire.content_type, chunk.payload)
                records.append((chunk.time + 4e-5, "/ws/tx", messages.encode(play)))
        records += self.extra
        if self.stop:
            stop = messages.encode(messages.Stop("s-1", "c-1"))
            records.append((self.duration, "/ws/rx", stop))
        return records


def changed(
    source: Path, target: Path, *, later: float = 0.0, labels: dict[str, str] | None = None
) -> Path:
    """A copy of a capture: so many seconds later, with other labels. It is another call to who asks."""
    shift = round(later * 1e9)
    with source.open("rb") as old, target.open("wb") as new:
        reader, writer = make_reader(old), Writer(new)
        header = reader.get_header()
        writer.start(header.profile, header.library)
        for record in reader.iter_metadata():
            if record.name != "labels":
                writer.add_metadata(record.name, record.metadata)
        if labels:
            writer.add_metadata("labels", labels)
        known: dict[int, int] = {}
        for schema, channel, message in reader.iter_messages(log_time_order=False):
            if channel.id not in known:
                of = writer.register_schema(schema.name, schema.encoding, schema.data)
                about = channel.message_encoding, of, channel.metadata
                known[channel.id] = writer.register_channel(channel.topic, *about)
            when = message.log_time + shift, message.publish_time + shift
            writer.add_message(known[channel.id], when[0], message.data, when[1], message.sequence)
        writer.finish()
    return target


def scripted(*, wire: WireFormat = PCMU, pipeline_rate: int = 8000, times: int = 1) -> Scene:
    """The scripted call of the sample audio, clean: its turns, its barge-in, its silence.

    ``times`` plays it again and again, for long calls.
    """
    length = SCRIPT["duration"]
    scene = Scene(round(length * times / MEDIA) * MEDIA, wire, pipeline_rate)
    for number in range(times):
        for turn in SCRIPT["turns"]:
            audio = Audio.read(SAMPLES / turn["file"])
            at = turn["start"] + number * length
            if turn["side"] == "caller":
                scene.say_caller(at, audio)
            else:
                scene.say_bot(at, audio)
        barge_in = SCRIPT["events"][0]
        scene.interrupt(barge_in["bot_audio_stops"] + number * length)
    return scene
