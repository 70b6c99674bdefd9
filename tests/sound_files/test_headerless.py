"""Files without a header, or with one that is wrong: made by hand, no program is needed."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipecat_bandwidth.encodings import PCMU
from tests.captures import speech
from tests.ground.voices import clips
from workbench import sound_files
from workbench.audio import Audio
from workbench.exceptions import SoundFileWarning
from workbench.sound_files.code_length import ALAW
from workbench.sound_files.headerless import ENCODINGS, Encoding

VOICE = speech("bot/b05", 8000).span(0, 4)
PCM = VOICE.pcm()
ULAW = PCMU.encode(PCM)
SOUND = {  # by the encoding's name
    "ulaw": ULAW,
    "alaw": bytes(np.abs(ALAW[None] - VOICE.samples[:, None]).argmin(axis=1).astype(np.uint8)),
    "pcm": PCM,
    "pcm-be": np.frombuffer(PCM, "<i2").astype(">i2").tobytes(),
    "u8": ((np.frombuffer(PCM, "<i2") >> 8) + 128).astype(np.uint8).tobytes(),
    "s8": (np.frombuffer(PCM, "<i2") >> 8).astype(np.int8).tobytes(),
    "pcm24": b"".join(b"\x12" + PCM[i : i + 2] for i in range(0, len(PCM), 2)),
    "float": VOICE.samples.astype("<f4").tobytes(),
}


def wav(data: bytes, claimed: int, tag: int = 1, riff: int = 0, rest: bytes = b"") -> bytes:
    size = 1 if tag == 7 else 2
    form = struct.pack("<HHIIHH", tag, 1, 8000, 8000 * size, size, 8 * size)
    head = b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + struct.pack("<I", 16) + form
    return head + b"data" + struct.pack("<I", claimed) + data + rest


@pytest.mark.parametrize("claimed", [0, 0xFFFFFFFF, 0x7FFFF000, 0xFFFFFFFE])
@pytest.mark.parametrize(("data", "tag"), [(PCM, 1), (ULAW, 7)])
def test_a_wav_that_does_not_tell_its_length_is_read_whole(
    data: bytes, tag: int, claimed: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(data, claimed, tag))
    read = Audio.read(path)
    assert len(read) == len(VOICE)
    assert read.pcm() == (PCM if tag == 1 else PCMU.decode(ULAW))


def test_a_wav_with_nothing_in_it_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(b"", 0))
    assert len(Audio.read(path)) == 0
    path.write_bytes(wav(b"", 0, rest=b"LIST" + struct.pack("<I", 4) + b"INFO"))
    assert len(Audio.read(path)) == 0


def test_what_stands_behind_the_sound_is_no_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(PCM, len(PCM), rest=b"LIST" + struct.pack("<I", 400) + bytes(400)))
    assert Audio.read(path).pcm() == PCM


@pytest.mark.parametrize("name", SOUND)
def test_its_bytes_say_what_a_file_without_a_header_is(name: str, tmp_path: Path) -> None:
    path = tmp_path / "call.raw"
    path.write_bytes(SOUND[name])
    told = rf"no header; as .* at 8 kHz it would be 4\.0 s of sound, and --as {name} reads it so"
    with pytest.raises(ValueError, match=told):
        Audio.read(path)
    read = Audio.read(path, encoding=name)
    assert len(read) == len(VOICE)
    assert np.abs(read.samples - VOICE.samples).max() < 0.05


@pytest.mark.parametrize("name", ["ulaw", "alaw", "pcm", "pcm-be"])
def test_of_every_voice_the_encoding_is_told(name: str, tmp_path: Path) -> None:
    path = tmp_path / "call.bin"
    for phrase in clips():
        pcm = np.frombuffer(phrase.audio().pcm(), "<i2")
        match name:
            case "ulaw":
                data = PCMU.encode(pcm.tobytes())
            case "alaw":
                nearest = np.abs(np.sort(ALAW)[None] - pcm[:, None] / 32768).argmin(axis=1)
                data = np.argsort(ALAW)[nearest].astype(np.uint8).tobytes()
            case _:
                data = pcm.astype(">i2" if "be" in name else "<i2").tobytes()
        path.write_bytes(data)
        with pytest.raises(ValueError, match=f"--as {name} reads it so"):
            Audio.read(path)


def test_a_name_that_says_what_the_bytes_say_is_believed(tmp_path: Path) -> None:
    (tmp_path / "a.ulaw").write_bytes(ULAW)
    assert Audio.read(tmp_path / "a.ulaw").pcm() == PCMU.decode(ULAW)
    (tmp_path / "a.alaw").write_bytes(ULAW)
    with pytest.raises(ValueError, match="no header; as mu-law"):
        Audio.read(tmp_path / "a.alaw")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (np.random.default_rng(1).bytes(20_000), "its bytes are like no sound"),
        (b"<!DOCTYPE html><title>401 Unauthorized</title>", "the error page of a download"),
        (b'{"error": "not found"}', "the error page of a download"),
        (b"", "it is empty"),
        (b"\x89MCAP0\r\n" + bytes(100), "it is a capture"),
        (b"PK\x03\x04" + bytes(100), "a ZIP archive: unpack it"),
        (b"\x0a\x0d\x0d\x0a" + bytes(100), "let Wireshark save its stream"),
    ],
)
def test_what_is_no_sound_is_named(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "call.raw"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"call\.raw: not a sound file \(.*{told}"):
        Audio.read(path)


def test_a_header_with_the_wrong_encoding_is_told_and_overruled(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(ULAW, len(ULAW), tag=1))
    with pytest.warns(SoundFileWarning, match="its bytes are mu-law: --as ulaw reads them so"):
        Audio.read(path)
    assert Audio.read(path, encoding="ulaw").pcm() == PCMU.decode(ULAW)


@pytest.mark.parametrize("subtype", ["PCM_16", "ULAW", "ALAW", "PCM_U8"])
def test_a_header_that_is_right_is_not_doubted(subtype: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for phrase in clips():
        audio = phrase.audio()
        for gain in (1.0, 0.01):
            soundfile.write(path, gain * audio.samples, 8000, subtype=subtype)
            assert sound_files.read(path).remarks == ()


def test_an_encoding_has_a_name_a_rate_and_channels() -> None:
    assert Encoding.named("pcm@16000x2") == Encoding("pcm", 16000, 2)
    assert Encoding.named("ULAW") == Encoding("ulaw")
    for name in ENCODINGS:
        for text in (name, f"{name}@16000", f"{name}@24000x2"):
            assert str(Encoding.named(text)) == text
    with pytest.raises(ValueError, match="no encoding 'opus', there are: ulaw, alaw, pcm"):
        Encoding.named("opus")
