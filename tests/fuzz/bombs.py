"""Small files that claim to be large, or are in one way what no call is: what each costs.

``python -m tests.fuzz.bombs`` makes each and gives it to the whole workbench.
"""

from __future__ import annotations

import base64
import json
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import CompressionType, Writer

from pipecat_bandwidth.encodings import PCMU
from pipecat_bandwidth.messages import Clear, Media, PlayAudio, Start, Track, encode
from tests.captures import speech
from workbench.capture.schema import FORMAT, FORMAT_VERSION

#: Any time will do.
ANCHOR_NS = 1_790_000_000_000_000_000

Rows = Iterable[tuple[str, float, bytes]]

START = encode(Start("s-1", "c-1", "99", "agent", (Track("inbound"),))).encode()


def write(path: Path, rows: Rows, chunk: int = 1 << 20, **metadata: dict[str, str]) -> Path:
    """Write records of a topic, a time in seconds and a body, as any other program may."""
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=chunk, compression=CompressionType.ZSTD)
        writer.start(library="bomb")
        about = {"format": FORMAT, "format_version": FORMAT_VERSION}
        writer.add_metadata("capture", about)
        for name, fields in ({"call": {"call_id": "c-1"}} | metadata).items():
            writer.add_metadata(name, fields)
        channels: dict[str, int] = {}
        numbers: dict[str, int] = {}
        for topic, time, body in rows:
            if topic not in channels:
                schema = writer.register_schema("x", "jsonschema", b"{}")
                channels[topic] = writer.register_channel(topic, "json", schema, {})
            numbers[topic] = numbers.get(topic, 0) + 1
            at = ANCHOR_NS + round(time * 1e9)
            writer.add_message(channels[topic], at, body, at, numbers[topic] & 0xFFFFFFFF)
        writer.finish()
    return path


def media(number: int | str, payload: bytes) -> bytes:
    return encode(Media(payload, "inbound", str(number))).encode()


def play(payload: bytes) -> bytes:
    return encode(PlayAudio("audio/pcmu", payload)).encode()


def frame(pcm: bytes, rate: int, channels: int = 1, **fields: Any) -> bytes:
    body = {"data": base64.b64encode(pcm).decode(), "format": "pcm-s16", "sample_rate": rate}
    return json.dumps(
        {**body, "number_of_channels": channels, "frame": "TTSAudioRawFrame"} | fields
    ).encode()


def talk(secs: float = 3.0, first: int = 1, at: float = 0.0) -> Iterator[tuple[str, float, bytes]]:
    """A call in which both sides speak."""
    pcm = speech("caller/c01", 8000).pcm()
    said = speech("bot/b07", 8000).pcm()
    if not at:
        yield "/ws/rx", 0.0, START
    for index in range(round(secs * 50)):
        time = at + 0.001 + index * 0.02
        piece = pcm[index * 320 % (len(pcm) - 320) :][:320]
        yield "/ws/rx", time, media(first + index, PCMU.encode(piece))
        yield "/frames/in/audio", time + 1e-4, frame(piece, 8000, frame="InputAudioRawFrame")
        if index > 10:
            piece = said[index * 320 % (len(said) - 320) :][:320]
            yield "/frames/out/audio", time + 0.005, frame(piece, 8000)
            yield "/ws/tx", time + 0.0051, play(PCMU.encode(piece))


def with_rows(*more: tuple[str, float, bytes], secs: float = 3.0) -> Rows:
    return sorted([*talk(secs), *more], key=lambda row: row[1])


# -- captures ------------------------------------------------------------------------------------


def zeros(path: Path) -> Path:
    """A few hundred kilobytes that unpack to gigabytes: frames of the bot, all zeros."""
    pcm = base64.b64encode(bytes(30_000_000)).decode()
    body = (
        '{"data":"' + pcm + '","format":"pcm-s16","sample_rate":8000,"number_of_channels":1}'
    ).encode()
    many = (("/frames/out/audio", 0.5 + index * 0.01, body) for index in range(80))
    return write(path, [("/ws/rx", 0.0, START), *many], chunk=1 << 24)


def zeros_of_messages(path: Path) -> Path:
    """The same as messages of the bot."""
    body = play(bytes(30_000_000))
    many = (("/ws/tx", 0.5 + index * 0.01, body) for index in range(80))
    return write(path, [("/ws/rx", 0.0, START), *many], chunk=1 << 24)


def notes(path: Path) -> Path:
    """The same as notes."""
    body = json.dumps({"text": "a" * 30_000_000}).encode()
    many = (("/notes", 0.5 + index * 0.01, body) for index in range(80))
    return write(path, [("/ws/rx", 0.0, START), *many], chunk=1 << 24)


def halves(path: Path, hours: float = 12.0) -> Path:
    """Two halves, hours apart."""
    return write(path, [*talk(3.0), *talk(3.0, first=1000, at=hours * 3600)])


def long_silence(path: Path, hours: float = 20.0) -> Path:
    """One message of the bot at the end of many hours."""
    return write(path, with_rows(("/ws/tx", hours * 3600, play(bytes(160)))))


def clears(path: Path, count: int = 1_000_000, secs: float = 26.0) -> Path:
    """So many interruptions that nobody could make."""
    body = encode(Clear()).encode()
    many = (("/ws/tx", 1.0 + index * (secs - 2) / count, body) for index in range(count))
    return write(path, with_rows(*many, secs=secs))


def kinds(path: Path, count: int = 1_000_000) -> Path:
    """As many messages of no known kind."""
    body = b'{"eventType":"mark"}'
    many = (("/ws/rx", 1.0 + index * 24 / count, body) for index in range(count))
    return write(path, with_rows(*many, secs=26.0))


def few_clears(path: Path, count: int = 800) -> Path:
    """More interruptions than a person makes, in a call of 26 s."""
    return clears(path, count)


def nested(path: Path, depth: int = 3000) -> Path:
    """A message that is nested as deep as no message is."""
    deep = '{"eventType":"mark","a":' + "[" * depth + "]" * depth + "}"
    return write(path, with_rows(("/ws/rx", 1.0, deep.encode())))


def deep_parameters(path: Path) -> Path:
    """The same in what the capture says of the serializer."""
    deep = '{"a":' + "[" * 3000 + "]" * 3000 + "}"
    return write(path, talk(), serializer={"class": "x", "params": deep})


def sequence(path: Path, number: int = 10**17) -> Path:
    """A sequence number that no sender has counted to."""
    silence = b"\xff" * 160
    rows = [row for row in talk() if b"sequenceNumber" not in row[2]]
    many = [("/ws/rx", 0.5 + i * 0.02, media(number + i * 10**13, silence)) for i in range(100)]
    return write(path, sorted([*rows, *many], key=lambda row: row[1]))


def sequence_once(path: Path) -> Path:
    """One such number among others."""
    return write(path, with_rows(("/ws/rx", 1.0, media(10**17, b"\xff" * 160))))


def no_channels(path: Path) -> Path:
    """A frame of no channels at all."""
    return write(path, with_rows(("/frames/out/audio", 1.0, frame(bytes(320), 8000, 0))))


def odd_channels(path: Path) -> Path:
    """Frames whose channels and rates cannot be."""
    odd = [(8000, -1), (8000, 7), (0, 1), (-8000, 1), (2**31, 1), (10**15, 2**40), (1, 1)]
    rows = [
        ("/frames/out/audio", 1.0 + index / 100, frame(bytes(320), rate, channels))
        for index, (rate, channels) in enumerate(odd)
    ]
    return write(path, with_rows(*rows))


def rate_96k(path: Path) -> Path:
    """A pipeline at 96 kHz, for which there is no MP3."""
    rows = [row for row in talk() if row[0] != "/frames/out/audio"]
    said = speech("bot/b07", 96000).pcm()
    more = [
        ("/frames/out/audio", 0.5 + i * 0.02, frame(said[i * 3840 :][:3840], 96000))
        for i in range(100)
    ]
    return write(path, sorted([*rows, *more], key=lambda row: row[1]))


def long_text(path: Path, letters: int = 200_000) -> Path:
    """Texts and names that no picture has room for."""
    text = "long" * (letters // 4)
    log = json.dumps({"level": 5, "message": text}).encode()
    what = json.dumps({"what": text, "processor": text}).encode()
    deep = json.dumps({"eventType": text}).encode()
    return write(
        path,
        with_rows(("/log", 1.0, log), ("/pipeline", 1.2, what), ("/ws/rx", 1.4, deep)),
        labels={text[:100_000]: text},
    )


def formula(path: Path, letters: int = 200_000) -> Path:
    """Texts that a drawing program takes for mathematics."""
    text = "$" + "\\frac{1}{" * 50 + "x" * letters + "$"
    note = json.dumps({"text": text}).encode()
    log = json.dumps({"level": 5, "message": text}).encode()
    return write(path, with_rows(("/notes", 1.0, note), ("/log", 1.1, log)), call={"call_id": text})


def burst(path: Path, count: int = 20_000) -> Path:
    """Hours of the caller in one moment."""
    rows = [("/ws/rx", 0.0, START)]
    payload = b"\xff" * 40_000
    rows += [("/ws/rx", 0.001 + i * 1e-6, media(i, payload)) for i in range(count)]
    return write(path, rows)


def twins(path: Path) -> Path:
    """Many rates beside each other over hours."""
    rows = [("/ws/rx", 0.0, START)]
    for index in range(3000):
        rate = 1000 + 61 * index
        rows.append(("/frames/out/audio", index * 1.2, frame(bytes(400), rate)))
    return write(path, rows)


CAPTURES: dict[str, Callable[[Path], Path]] = {
    "0.1 MB of zeros: frames": zeros,
    "0.1 MB of zeros: messages": zeros_of_messages,
    "0.1 MB of notes": notes,
    "two halves, 12 h apart": halves,
    "one message after 20 h": long_silence,
    "a million clears": clears,
    "a million unknown messages": kinds,
    "800 clears in 26 s": few_clears,
    "a message 3,000 deep": nested,
    "parameters 3,000 deep": deep_parameters,
    "sequence numbers near 10^17": sequence,
    "one sequence number of 10^17": sequence_once,
    "a frame of 0 channels": no_channels,
    "odd rates and channels": odd_channels,
    "a pipeline at 96 kHz": rate_96k,
    "texts of 200,000 letters": long_text,
    "formulas of 200,000 letters": formula,
    "28 h of the caller at once": burst,
    "3,000 rates in an hour": twins,
}


# -- sound files -----------------------------------------------------------------------------------


def flac(path: Path, samples: int = 2**32, rate: int = 8000) -> Path:
    """A FLAC that claims more samples than it has."""
    import soundfile

    soundfile.write(path, np.zeros(80_000, np.int16), 8000, format="FLAC")
    data = bytearray(path.read_bytes())
    # STREAMINFO: 20 bits of rate, 3 of channels, 5 of width, 36 of samples.
    field = rate << 44 | 0 << 41 | 15 << 36 | min(samples, 2**36 - 1)
    data[18:26] = struct.pack(">Q", field)
    path.write_bytes(data)
    return path


def wav(path: Path, channels: int = 1, rate: int = 8000, claimed: int = 0xFFFFFFFF) -> Path:
    """A WAV whose head claims what its body has not."""
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 0xFFFFFFFF, b"WAVE", b"fmt ", 16, 1, channels, rate,
        rate * channels * 2 & 0xFFFFFFFF, channels * 2 & 0xFFFF, 16, b"data", claimed,
    )  # fmt: skip
    path.write_bytes(head + bytes(1000))
    return path


def quiet_flac(path: Path, hours: float = 40.0) -> Path:
    """Many hours of silence, as they are."""
    import soundfile

    with soundfile.SoundFile(path, "w", 48000, 1, format="FLAC", subtype="PCM_16") as file:
        block = np.zeros(48000 * 600, np.int16)
        for _ in range(int(hours * 6)):
            file.write(block)
    return path


SOUNDS: dict[str, Callable[[Path], Path]] = {
    "a FLAC that claims 2^32 samples": flac,
    "a FLAC that claims 2^36 samples": partial(flac, samples=2**36),
    "a WAV that claims 4 GB": wav,
    "a WAV of 1,024 channels": partial(wav, channels=1024),
    "a WAV at 1 Hz": partial(wav, rate=1, claimed=1000),
    "a WAV at 2 GHz": partial(wav, rate=2**31 - 1, claimed=1000),
    "40 h of silence": quiet_flac,
}


def main() -> None:
    """Print what each costs."""
    from loguru import logger

    from tests.fuzz.isolated import isolated
    from tests.fuzz.whole import LINES, of_capture, of_sound

    logger.remove()
    with tempfile.TemporaryDirectory() as folder:
        for make, name, tried, lines in (
            *((make, name, of_capture, LINES) for name, make in CAPTURES.items()),
            *(
                (make, name, of_sound, (*LINES, ValueError, OSError))
                for name, make in SOUNDS.items()
            ),
        ):
            path = Path(folder, "a.mcap" if tried is of_capture else "a.flac")
            path.unlink(missing_ok=True)
            size = make(path).stat().st_size / 1e6
            came = isolated(partial(tried, path), lines)
            told = str(came.told).strip().splitlines()[-1].removeprefix(f"{path}: ")
            print(
                f"{name}, {size:.2f} MB: {came.what} after {came.secs:.1f} s and {came.mb:.0f} MB, "
                f"{came.step}: {told}",
                flush=True,
            )


if __name__ == "__main__":
    main()
