"""A call for other people's programs: sound files, Wireshark, Audacity, spreadsheets.

========================= ========================================================================
``write_audio``           WAV or FLAC of one or several of the five signals, aligned
``write_pcap``            pcapng with both streams as RTP, and the JSON messages
``write_labels``          turns, events, findings and notes as an Audacity label track
``write_csv``             wire messages and events
``write_findings``        findings as CSV
``write_webvtt``          what was said as captions
``write_textgrid``        the same, word by word, for Praat
``export``                any of them, by the suffix of the file or into a directory
========================= ========================================================================

Exports are never the store: each leaves out most of what the capture holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from workbench.call import Call
from workbench.exports.rtp import write_pcap
from workbench.exports.sound import write_audio
from workbench.exports.tables import write_csv, write_findings, write_labels
from workbench.exports.words import write_textgrid, write_webvtt
from workbench.notes import Notes

if TYPE_CHECKING:
    from workbench.diagnosis import Finding

__all__ = [
    "Kind",
    "export",
    "write_audio",
    "write_csv",
    "write_findings",
    "write_labels",
    "write_pcap",
    "write_textgrid",
    "write_webvtt",
]

Kind: TypeAlias = Literal["wav", "flac", "pcap", "labels", "csv", "webvtt", "textgrid"]

#: A file in a directory gets the first suffix of its kind.
_SUFFIXES: Final[dict[Kind, tuple[str, ...]]] = {
    "wav": (".wav",),
    "flac": (".flac",),
    "pcap": (".pcapng", ".pcap"),
    "labels": (".labels.txt", ".txt"),
    "csv": (".csv",),
    "webvtt": (".vtt",),
    "textgrid": (".TextGrid",),
}
#: What a directory gets when no kind is asked for; FLAC would say what WAV says.
_USUAL: Final[tuple[Kind, ...]] = ("wav", "pcap", "labels", "csv")
#: What it gets besides if the capture holds words.
_OF_WORDS: Final[tuple[Kind, ...]] = ("webvtt", "textgrid")


def export(
    call: Call,
    target: str | Path,
    kind: Kind | None = None,
    *,
    findings: Sequence[Finding] = (),
    signals: Sequence[str] = ("caller_sent", "caller_heard"),
    sample_rate: int | None = None,
) -> list[Path]:
    """Write a call to one file, or to files named after the capture in a directory.

    Args:
        call: The call.
        target: A file; or, if it exists as one or has no suffix, a directory, which is created.
        kind: What to write; by default what the file's suffix says, and in a directory WAV, pcap,
            labels and CSV, and of a call with words WebVTT and TextGrid.
        findings: As ``diagnose(call)`` returned them: for labels and CSV.
        signals: Channels of a sound file.
        sample_rate: Of a sound file, in hertz; by default the highest of its signals.

    Returns:
        The files written, each complete and for its owner alone, as the capture is, also where
        it replaces one. CSV makes a second one, ``.findings.csv``, if there are findings.

    Raises:
        ValueError: If there is no such kind, the file's suffix is none of it, or words are wanted of
            a call that has none.
    """
    if kind is not None and kind not in _SUFFIXES:
        raise ValueError(f"cannot export {kind!r}, there are: {', '.join(_SUFFIXES)}")
    path = Path(target)
    if path.is_dir() or not path.suffix:
        kinds = (kind,) if kind else _USUAL + (_OF_WORDS if call.words else ())
        stem = path / call.path.name.removesuffix(".part").removesuffix(".mcap")
        jobs = [(one, stem.with_name(stem.name + _SUFFIXES[one][0])) for one in kinds]
        path.mkdir(parents=True, exist_ok=True)
    else:
        jobs = [(_checked(path, kind), path)]
    written = []
    for one, file in jobs:
        written.append(file)
        if one in ("wav", "flac"):
            write_audio(call, file, signals, sample_rate=sample_rate)
        elif one == "pcap":
            write_pcap(call, file)
        elif one == "labels":
            write_labels(call, findings, file, Notes(call.path).read())
        elif one == "webvtt":
            write_webvtt(call, file)
        elif one == "textgrid":
            write_textgrid(call, file)
        else:
            write_csv(call, file)
            if findings:
                written.append(file.with_suffix(".findings.csv"))
                write_findings(findings, written[-1])
    return written


def _checked(path: Path, kind: Kind | None) -> Kind:
    name = path.name.lower()
    for one, suffixes in _SUFFIXES.items():
        if kind in (None, one) and name.endswith(tuple(map(str.lower, suffixes))):
            return one
    allowed = [suffix for one in ([kind] if kind else _SUFFIXES) for suffix in _SUFFIXES[one]]
    raise ValueError(f"cannot export to {str(path)!r}, the suffixes are {', '.join(allowed)}")
