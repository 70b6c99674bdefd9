"""The one reader of sound files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from workbench.budget import Budget, usual
from workbench.sound_files import foreign
from workbench.sound_files.code_length import mp3
from workbench.sound_files.headerless import Encoding, likely, otherwise
from workbench.sound_files.headers import Claim, Mended, claim_of, is_cut_ogg

__all__ = ["Sound", "naming", "read"]

#: Samples that are read at once, what a file claims is not allocated; and where it breaks off.
_BLOCK, _SMALL = 1 << 20, 1 << 10
#: A file is shorter than its header if so much is missing, in seconds; of what is coded, where a
#: header estimates, so large a share.
_MISSING, _MISSING_SHARE = 0.02, 0.03
#: What an MP3's first frame holds if it tells how many there are; without, libsndfile guesses.
_COUNTS: Final = (b"Xing", b"Info", b"VBRI")
#: What libsndfile takes for a kind of file by two bytes or none, so that sound without a header passes.
_WEAK: Final = ("MPC2K", "HTK", "MAT4", "WVE", "SDS", "XI", "RAW")
#: Names of what has been MPEG audio all along.
_MPEG: Final = (".mp1", ".mp2", ".mp3", ".mpga", ".mpa")
#: What files begin with that are broken if libsndfile refuses them.
_KNOWN: Final = (
    b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b".snd", b"riff", b"caff", b"fLaC", b"OggS", b"ID3",
    b"NIST", b"Creative",
)  # fmt: skip
#: Coded by a length that a header tells exactly.
_COUNTED: Final = ("WAV", "WAVEX", "RF64", "AIFF", "AU", "W64", "CAF", "FLAC")


@dataclass(frozen=True, eq=False)
class Sound:
    """One channel of a sound file.

    Parameters:
        samples: Shape ``(n,)``, float32 in [-1, 1).
        sample_rate: In hertz.
        channels: How many the file has.
        channel: Which one it is, from 0.
        is_lossless: Whether the file keeps samples as they were given to it.
        remarks: What is wrong with the file, a sentence each.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    channels: int
    channel: int
    is_lossless: bool
    remarks: tuple[str, ...] = ()


@contextmanager
def naming(path: str | Path, mode: Literal["rb", "wb"] = "rb") -> Iterator[None]:
    """Wrap a call of soundfile, so that an error names the file and what is wrong with it.

    Args:
        path: The file that is read or written.
        mode: ``"wb"`` for writing.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it can, and libsndfile refuses it.
    """
    try:
        yield
    except soundfile.LibsndfileError as error:
        if mode == "rb":
            # Where a file cannot be opened, libsndfile says "System error" and the system says why.
            open(path, mode).close()
        what = "not a sound file" if mode == "rb" else "cannot be written"
        raise ValueError(f"{path}: {what} ({error.error_string.rstrip('.')})") from None


def read(
    path: str | Path,
    channel: int | None = None,
    *,
    default_channel: int | None = None,
    encoding: str | Encoding | None = None,
    budget: Budget | None = None,
) -> Sound:
    """Read one channel of a sound file.

    Args:
        path: The file.
        channel: Which one of a file with several, from 0.
        default_channel: The same where the file has it and none was chosen.
        encoding: What it holds, as :meth:`Encoding.named` takes it, whatever its header says.
        budget: What it may claim; by default :func:`workbench.budget.usual`.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is not a sound file, lacks a header, claims more than its budget, or has
            several channels and none was chosen. The message says what would help.
    """
    given = Encoding.named(encoding) if isinstance(encoding, str) else encoding
    with open(path, "rb", buffering=0) as plain, naming(path):
        raw = cast("BinaryIO", plain)
        claim = claim_of(raw)
        with _opened(Path(path), raw, claim, given) as file:
            limits = budget or usual()
            _check(path, file, claim, limits)
            chosen = _channel(path, file.channels, channel, default_channel)
            samples = _samples(path, file, chosen, limits)
            remarks = _remarks(path, raw, file, claim, len(samples)) if given is None else []
            return Sound(
                samples=samples,
                sample_rate=file.samplerate,
                channels=file.channels,
                channel=chosen,
                is_lossless=file.subtype.startswith(("PCM", "FLOAT", "DOUBLE", "ULAW", "ALAW")),
                remarks=tuple(remarks),
            )


class _Onward(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that soundfile reads on and on, without seeking where it is: FLAC breaks on that."""

    def seekable(self) -> bool:
        """It may be; nobody needs to know."""
        return False


@contextmanager
def _opened(
    path: Path, raw: BinaryIO, claim: Claim | None, given: Encoding | None
) -> Iterator[soundfile.SoundFile]:
    """The file as libsndfile has it, or as it is said to be."""
    with ExitStack() as open_files:
        enter = open_files.enter_context
        if given is None:
            if claim is not None and claim.mended:
                file = enter(_Onward(Mended(raw, claim.mended)))
            else:
                raw.seek(0)
                try:
                    file = enter(_Onward(raw.fileno(), closefd=False))
                    if file.format in _WEAK or _is_no_mp3(path, raw, file):
                        given = _without_header(path, raw, "Format not recognised")
                except soundfile.LibsndfileError as error:
                    given = _without_header(path, raw, error.error_string.rstrip("."))
        if given is not None:
            first = 0 if claim is None else claim.first
            last = None if claim is None else claim.first + claim.there
            how: dict[str, Any] = {
                "format": "RAW",
                "subtype": given.form.subtype,
                "endian": given.form.endian,
                "samplerate": given.sample_rate,
                "channels": given.channels,
            }
            file = enter(_Onward(Mended(raw, {}, first, last), **how))
        yield file


def _is_no_mp3(path: Path, raw: BinaryIO, file: soundfile.SoundFile) -> bool:
    """Whether a file passed for MP3 by the 11 bits that any faint sound without a header may hold."""
    if file.format != "MP3" or path.suffix.lower() in _MPEG:
        return False
    raw.seek(0)
    head = raw.read(1 << 14)
    raw.seek(0)
    return not head.startswith(b"ID3") and not bool(mp3(np.frombuffer(head, np.uint8)[None]) < 1)


def _without_header(path: Path, raw: BinaryIO, why: str) -> Encoding:
    """What a file holds that libsndfile does not know, if its name and its bytes agree.

    Raises:
        ValueError: If not; the message says what it is.
    """
    raw.seek(0)
    head = raw.read(4096)
    if (what := foreign.told(path, head)) is not None:
        raise ValueError(f"{path}: not a sound file ({what})") from None
    if head.startswith(_KNOWN):
        raise ValueError(f"{path}: not a sound file ({why})") from None
    encoding, is_named = likely(raw, path.suffix.lower())
    if encoding is None:
        raise ValueError(
            f"{path}: not a sound file (no header, and its bytes are like no sound; if it is some, "
            "say which: --as ulaw, alaw, pcm, gsm)"
        ) from None
    if not is_named:
        secs = encoding.secs(path.stat().st_size)
        raise ValueError(
            f"{path}: no header; as {encoding.title} it would be {secs:.1f} s of sound, and --as "
            f"{encoding} reads it so (encoding={str(encoding)!r} in Python); at 16 kHz, --as "
            f"{encoding}@16000, {secs / 2:.1f} s"
        ) from None
    return encoding


def _channel(path: str | Path, channels: int, channel: int | None, default: int | None) -> int:
    if channel is None and default is not None and channels > default:
        channel = default
    if channel is None and channels > 1 and default is None:
        raise ValueError(f"{path} has {channels} channels, choose channel 0 to {channels - 1}")
    if not 0 <= (channel or 0) < channels:
        raise ValueError(f"{path} has no channel {channel}, it has 0 to {channels - 1}")
    return channel or 0


def _samples(
    path: str | Path, file: soundfile.SoundFile, channel: int, budget: Budget
) -> NDArray[np.float32]:
    """All of them that can be had: those that soundfile.blocks() makes up are not there.

    Raises:
        ValueError: If there are more than the header claims, and too many.
    """
    samples = [np.empty(0, np.float32)]
    size, done = max(1, _BLOCK // file.channels), 0
    while size:
        try:
            block = file.read(size, "float32", always_2d=True)
        except soundfile.LibsndfileError:
            # A block that the file breaks off in is lost as a whole: smaller ones, from where it began.
            size = _SMALL if size > _SMALL else size // 4
            with suppress(soundfile.LibsndfileError):
                file.seek(done)
                continue
            break
        if not len(block):
            break
        done += len(block)
        if why := budget.breach("samples", done * file.channels):
            raise ValueError(f"{path} {why}")
        samples.append(np.ascontiguousarray(block[:, channel]))
    return np.concatenate(samples)


def _remarks(
    path: str | Path, raw: BinaryIO, file: soundfile.SoundFile, claim: Claim | None, count: int
) -> Iterator[str]:
    """What is wrong with a file."""
    secs = count / file.samplerate
    told = secs
    if claim is not None and claim.told is not None and claim.there > 0:
        told = secs * claim.told / claim.there
    elif claim is None and (file.format in _COUNTED or _is_counted_mp3(raw, file)):
        told = file.frames / file.samplerate
    most = _MISSING if file.format in _COUNTED else max(_MISSING, _MISSING_SHARE * told)
    if told - secs > most:
        yield (
            f"{path} is shorter than its header: {secs:.1f} s of {told:.1f} s; it was cut off, and "
            "what is there is read"
        )
    elif is_cut_ogg(raw):
        yield f"{path} has no last page: it was cut off, and the {secs:.1f} s that are there are read"
    if claim is not None and file.format in ("WAV", "WAVEX", "RF64", "AU", "AIFF"):
        meant = otherwise(raw, claim.first, claim.there, file.subtype)
        if meant is not None:
            yield (
                f"{path} says that it is {file.subtype_info}, its bytes are {meant.form.title}: "
                f"--as {meant} reads them so (encoding={str(meant)!r} in Python)"
            )


def _is_counted_mp3(raw: BinaryIO, file: soundfile.SoundFile) -> bool:
    """Whether an MP3 tells how many frames it has."""
    if file.format != "MP3":
        return False
    raw.seek(0)
    head = raw.read(10)
    # A tag with the title may go before the first frame; its length has 7 bits a byte.
    tag = 0
    if head[:3] == b"ID3":
        for byte in head[6:10]:
            tag = tag << 7 | byte & 0x7F
        tag += 10
    raw.seek(tag)
    first = raw.read(200)
    return any(name in first for name in _COUNTS)


def _check(
    path: str | Path, file: soundfile.SoundFile, claim: Claim | None, budget: Budget
) -> None:
    """Refuse a sound file that claims what none of a call has.

    Raises:
        ValueError: If it does; the message says what.
    """
    if not budget.is_sound(file.samplerate, file.channels):
        raise ValueError(
            f"{path} is at {file.samplerate} Hz with {file.channels} channels; {budget.lowest_hz} "
            f"to {budget.highest_hz} Hz are read, and 1 to {budget.channels} channels"
        )
    is_told = claim is None or claim.told is not None
    frames = file.frames if is_told else 0  # those that are there are counted as they are read
    why = budget.breach("samples", frames * file.channels)
    why = why or budget.breach("hours", frames / file.samplerate / 3600)
    if why:
        raise ValueError(f"{path} {why}")
