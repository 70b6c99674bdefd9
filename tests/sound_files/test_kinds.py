"""Kinds of sound files, made by sox and ffmpeg: length, rate and channels of each are right."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.captures import speech
from tests.programs import run
from workbench import sound_files
from workbench.audio import Audio

SECS = 2.5


class Kind(NamedTuple):
    """One kind of file.

    Parameters:
        name: What it is.
        suffix: Of its name.
        command: What makes it of ``{source}``; ``-`` at its end: to a pipe.
        rate: In hertz.
        channels: How many.
        near: By so much its length may differ, in seconds: codecs fill up their frames.
        encoding: What has to be said of it.
    """

    name: str
    suffix: str
    command: str
    rate: int = 8000
    channels: int = 1
    near: float = 0.0
    encoding: str | None = None


S, F = "sox -D {source}", "ffmpeg -v error -y -i {source}"
KINDS = (
    # WAV, as carriers and programs write it
    Kind("WAV PCM 16", ".wav", f"{S} {{to}}"),
    Kind("WAV PCM 8", ".wav", f"{S} -b 8 -e unsigned {{to}}"),
    Kind("WAV PCM 24", ".wav", f"{S} -b 24 {{to}}"),
    Kind("WAV PCM 32", ".wav", f"{S} -b 32 -e signed {{to}}"),
    Kind("WAV float", ".wav", f"{S} -b 32 -e floating-point {{to}}"),
    Kind("WAV double", ".wav", f"{F} -c:a pcm_f64le {{to}}"),
    Kind("WAV mu-law", ".wav", f"{S} -e mu-law {{to}}"),
    Kind("WAV A-law", ".wav", f"{S} -e a-law {{to}}"),
    Kind("WAV GSM", ".wav", f"{S} -e gsm {{to}}", near=0.07),
    Kind("WAV IMA ADPCM", ".wav", f"{S} -e ima-adpcm {{to}}", near=0.07),
    Kind("WAV MS ADPCM", ".wav", f"{S} -e ms-adpcm {{to}}", near=0.07),
    Kind("WAV stereo", ".wav", f"{S} {{to}} remix 1 1", channels=2),
    Kind("WAV mu-law stereo", ".wav", f"{S} -e mu-law {{to}} remix 1 1", channels=2),
    Kind("WAV 16 kHz", ".wav", f"{S} -r 16000 {{to}}", rate=16000),
    Kind("WAV 44.1 kHz", ".wav", f"{S} -r 44100 {{to}}", rate=44100),
    Kind("WAV 48 kHz stereo", ".wav", f"{F} -ar 48000 -ac 2 {{to}}", rate=48000, channels=2),
    Kind("WAV big-endian", ".wav", f"{S} -B {{to}}"),
    Kind("RF64", ".wav", f"{F} -rf64 always {{to}}"),
    Kind("WAVE64", ".w64", f"{F} {{to}}"),
    # written to a pipe: no length in the header
    Kind("WAV from ffmpeg's pipe", ".wav", f"{F} -f wav -"),
    Kind("WAV mu-law from ffmpeg's pipe", ".wav", f"{F} -c:a pcm_mulaw -f wav -"),
    Kind("WAV from sox's pipe", ".wav", "sox -D --ignore-length {source} -t wav -"),
    Kind("AU from a pipe", ".au", f"{F} -f au -"),
    Kind("AIFF from a pipe", ".aiff", f"{F} -f aiff -"),
    Kind("CAF from a pipe", ".caf", f"{F} -f caf -"),
    Kind("WAVE64 from a pipe", ".w64", f"{F} -f w64 -"),
    Kind("FLAC from a pipe", ".flac", f"{F} -f flac -"),
    # other containers
    Kind("FLAC", ".flac", f"{S} {{to}}"),
    Kind("FLAC stereo", ".flac", f"{S} {{to}} remix 1 1", channels=2),
    Kind("AIFF", ".aiff", f"{S} {{to}}"),
    Kind("AIFF-C", ".aifc", f"{S} {{to}}"),
    Kind("AU mu-law", ".au", f"{S} -e mu-law {{to}}"),
    Kind("CAF", ".caf", f"{F} {{to}}"),
    Kind("NIST SPHERE", ".sph", f"{S} {{to}}"),
    Kind("VOC", ".voc", f"{S} {{to}}"),
    Kind("IRCAM", ".sf", f"{S} {{to}}"),
    # coded
    Kind("MP3 64 kbit/s", ".mp3", f"{F} -ar 16000 -b:a 64k {{to}}", rate=16000, near=0.1),
    Kind("MP3 VBR", ".mp3", f"{F} -ar 44100 -q:a 5 {{to}}", rate=44100, near=0.1),
    Kind(
        "MP3 from a pipe", ".mp3", f"{F} -ar 8000 -b:a 16k -write_xing 0 -f mp3 -", near=0.25
    ),
    Kind("Ogg Vorbis", ".ogg", f"{F} -c:a libvorbis {{to}}", near=0.02),
    Kind("Opus", ".opus", f"{F} -c:a libopus {{to}}", near=0.03),
    # no header, but a name that says what it is
    Kind("mu-law, .ul", ".ul", f"{S} {{to}}"),
    Kind("mu-law, .ulaw", ".ulaw", f"{S} -t ul {{to}}"),
    Kind("A-law, .al", ".al", f"{S} {{to}}"),
    Kind("Asterisk's .sln", ".sln", f"{S} -t sln {{to}}"),
    Kind("Asterisk's .sln16", ".sln16", f"{S} -r 16000 -t s16 {{to}}", rate=16000),
    Kind("GSM", ".gsm", f"{S} {{to}}", near=0.02),
    # no header, and what it is has to be said
    Kind("mu-law, .raw", ".raw", f"{S} -e mu-law {{to}}", encoding="ulaw"),
    Kind("A-law, .raw", ".raw", f"{S} -e a-law {{to}}", encoding="alaw"),
    Kind("PCM, .raw", ".raw", f"{S} {{to}}", encoding="pcm"),
    Kind("PCM, .pcm", ".pcm", f"{S} -t raw -r 16000 {{to}}", rate=16000, encoding="pcm@16000"),
    Kind("PCM stereo", ".raw", f"{S} {{to}} remix 1 1", channels=2, encoding="pcm@8000x2"),
    Kind("PCM big-endian", ".raw", f"{S} -B {{to}}", encoding="pcm-be"),
    Kind("PCM 24", ".raw", f"{S} -b 24 {{to}}", encoding="pcm24"),
    Kind("float", ".raw", f"{S} -b 32 -e floating-point {{to}}", encoding="float"),
)  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kinds") / "source.wav"
    speech("bot/b05", 8000).span(0, SECS).write(path)
    return path


def made(kind: Kind, source: Path, folder: Path) -> Path:
    path = folder / f"made{kind.suffix}"
    command = [word.format(source=source, to=path) for word in kind.command.split()]
    out = run(*command)
    if command[-1] == "-":
        path.write_bytes(out)
    return path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_is_read_with_its_length_rate_and_channels(
    kind: Kind, source: Path, tmp_path: Path
) -> None:
    path = made(kind, source, tmp_path)
    sound = sound_files.read(path, default_channel=1, encoding=kind.encoding)
    assert (sound.sample_rate, sound.channels) == (kind.rate, kind.channels)
    assert sound.remarks == ()
    read = Audio(sound.samples, sound.sample_rate)
    assert read.duration == pytest.approx(SECS, abs=kind.near + 1e-4)
    assert like(read, Audio.read(source)) > (0.98 if not kind.near else 0.7)


def like(one: Audio, other: Audio) -> float:
    """Largest correlation of two sounds that may be shifted."""
    x, y = (audio.resampled(8000).samples for audio in (one, other))
    n = 2 * max(len(x), len(y))
    cross = np.fft.irfft(np.fft.rfft(x, n) * np.conj(np.fft.rfft(y, n)))
    return float(cross.max() / np.sqrt(np.sum(x**2, dtype=float) * np.sum(y**2, dtype=float)))


@pytest.mark.parametrize(
    ("suffix", "options", "what"),
    [
        ("m4a", "-c:a aac", "MP4 or M4A"),
        ("webm", "-c:a libopus", "WebM"),
        ("mka", "", "WebM or Matroska"),
        ("wma", "", "WMA"),
        ("aac", "", "AAC"),
        ("ac3", "", "AC-3"),
        ("wv", "", "WavPack"),
        ("spx", "-c:a libspeex", "Speex in Ogg"),
    ],
)
def test_of_what_is_not_read_it_is_said_what_converts_it(
    suffix: str, options: str, what: str, source: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"call.{suffix}"
    run("ffmpeg", "-v", "error", "-y", "-i", source, *options.split(), path)
    with pytest.raises(ValueError, match=f"{what}.* ffmpeg -i call.{suffix} call.wav converts it"):
        Audio.read(path)
    run("ffmpeg", "-v", "error", "-y", "-i", path, tmp_path / "call.wav")
    assert Audio.read(tmp_path / "call.wav").duration == pytest.approx(SECS, abs=0.2)


def test_of_an_encoding_in_wav_that_is_not_known_it_is_said_too(
    source: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    run("ffmpeg", "-v", "error", "-y", "-i", source, "-ar", 16000, "-c:a", "g722", path)
    with pytest.raises(ValueError, match=r"WAV with G\.722, .* ffmpeg -i a\.wav a\.wav"):
        Audio.read(path)


CUT = ("wav", "aiff", "au", "caf", "w64", "flac", "mp3", "wav -e mu-law")


@pytest.mark.parametrize("kind", CUT)
def test_a_file_cut_in_half_says_that_it_is_shorter(
    kind: str, source: Path, tmp_path: Path
) -> None:
    suffix, *options = kind.split()
    path = tmp_path / f"call.{suffix}"
    if options:
        run("sox", source, *options, path, "repeat", 3)
    else:
        run("ffmpeg", "-v", "error", "-y", "-stream_loop", 3, "-i", source, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(match=r"is shorter than its header: [45].. s of 10.[01] s; it was cut off"):
        read = Audio.read(path)
    assert read.duration == pytest.approx(2 * SECS, abs=0.7)


@pytest.mark.parametrize("suffix", ["ogg", "opus"])
def test_an_ogg_that_was_cut_off_says_so(suffix: str, source: Path, tmp_path: Path) -> None:
    path = tmp_path / f"call.{suffix}"
    run("ffmpeg", "-v", "error", "-y", "-stream_loop", 3, "-i", source, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(match="has no last page: it was cut off, and the .* that are there are read"):
        assert 2 < Audio.read(path).duration < 8


def test_whole_files_say_nothing(source: Path, tmp_path: Path) -> None:
    """Also an MP3 that does not tell its length, of which libsndfile guesses three times as much."""
    path = tmp_path / "a.mp3"
    run("ffmpeg", "-v", "error", "-y", "-i", source, "-q:a", 5, "-write_xing", 0, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Audio.read(path)
