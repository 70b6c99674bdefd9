"""Files that are not read here: what they are, and what makes sound of them that is."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["told"]

#: Where, which bytes, what it is.
_CODED: Final = (
    (4, b"ftyp", "MP4 or M4A (mostly AAC)"),
    (0, b"\x1a\x45\xdf\xa3", "WebM or Matroska"),
    (0, b"#!AMR-WB", "AMR-WB"),
    (0, b"#!AMR", "AMR-NB"),
    (0, b"\x30\x26\xb2\x75", "WMA (ASF)"),
    (0, b"\xff\xf1", "AAC (ADTS)"),
    (0, b"\xff\xf9", "AAC (ADTS)"),
    (0, b"\x0b\x77", "AC-3"),
    (0, b"#!SILK", "SILK"),
    (0, b"FLV\x01", "Flash video"),
    (8, b"AVI ", "AVI"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"wvpk", "WavPack"),
    (0, b"\0\0\1\xba", "MPEG program stream"),
    (28, b"Speex", "Speex in Ogg"),
)
_NO_SOUND: Final = (
    (0, b"\x89MCAP", "a capture: open it as one"),
    (0, b"\x0a\x0d\x0d\x0a", "a packet capture (pcapng): let Wireshark save its stream as .au"),
    (0, b"\xd4\xc3\xb2\xa1", "a packet capture (pcap): let Wireshark save its stream as .au"),
    (0, b"PK\x03\x04", "a ZIP archive: unpack it"),
    (0, b"\x1f\x8b", "packed with gzip: unpack it"),
    (0, b"%PDF", "a PDF"),
    (0, b"MThd", "MIDI"),
)
#: Encodings in WAV that libsndfile does not know.
_TAGS: Final = {
    0x0002: "Microsoft ADPCM", 0x0022: "TrueSpeech", 0x0040: "G.721", 0x0042: "G.723.1",
    0x0045: "G.726", 0x0064: "G.726", 0x0065: "G.722", 0x0083: "G.729", 0x00FF: "AAC",
    0x0160: "WMA", 0x0161: "WMA", 0x028E: "G.722", 0x028F: "G.722", 0xA100: "G.723.1", 0xA109: "Speex",
    0xA112: "G.722", 0xA116: "G.729",
}  # fmt: skip


def told(path: Path, head: bytes) -> str | None:
    """Say what a file is that libsndfile does not read; ``None`` if it may be sound without a header.

    Args:
        path: The file, which the advice names.
        head: Its first bytes.
    """
    converts = f"which is not read here: ffmpeg -i {path.name} {path.stem}.wav converts it"
    for at, magic, what in _CODED:
        if head[at : at + len(magic)] == magic:
            return f"{what}, {converts}"
    for at, magic, what in _NO_SOUND:
        if head[at : at + len(magic)] == magic:
            return f"it is {what}"
    if head[:4] in (b"RIFF", b"RF64", b"RIFX") and (at := head.find(b"fmt ")) > 0:
        tag = int.from_bytes(head[at + 8 : at + 10], "little")
        if tag in _TAGS:
            return f"WAV with {_TAGS[tag]}, {converts}"
    if not head:
        return "it is empty"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"{")):
        return "it is text, such as the error page of a download"
    if head.isascii() and all(byte >= 32 or byte in b"\t\r\n\f" for byte in head):
        return "it is text"
    return None
