"""The document that a webhook returns, read as strictly as Bandwidth does.

A mistake in it fails the call: it is refused, with what is wrong. How its verbs are played is in
:mod:`workbench.simulator.playing`. The attributes of verbs that take no time and concern no stream
are not checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from workbench.simulator import verbs
from workbench.simulator.start_stream import MAX_TRACKS, StartStream
from workbench.simulator.verbs import Verb

__all__ = ["MAX_SIZE", "Document", "NotBXML", "parse"]

#: "A BXML document is at most 64 KB."
MAX_SIZE: Final = 64 * 1024


class NotBXML(ValueError):
    """No BXML at all, but something else: a web page, JSON."""


@dataclass(frozen=True)
class Document:
    """A BXML document.

    Parameters:
        verbs: In order: each begins when the one before it is done.
    """

    verbs: tuple[Verb, ...]


def parse(text: str | bytes) -> Document:
    """Read and check a document.

    Raises:
        NotBXML: If it is something else.
        ValueError: If Bandwidth would reject it; says what is wrong.
    """
    if len(text) > MAX_SIZE:
        raise ValueError(f"the document is too long, at most {MAX_SIZE} bytes are allowed")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # no such encoding
        raise NotBXML(f"not XML: {error}") from None
    if root.tag not in ("Response", "Bxml"):
        raise NotBXML(f"the root is <{root.tag[:60]}>, <Response> or <Bxml> is wanted")
    document = Document(tuple(verbs.read(verb) for verb in root))
    _check(tuple(verb.stream for verb in document.verbs if verb.stream))
    return document


def _check(streams: tuple[StartStream, ...]) -> None:
    names = [stream.name for stream in streams if stream.name]
    if len(names) != len(set(names)):
        raise ValueError(f"streams of one name: {names}")
    if (tracks := sum(len(stream.tracks) for stream in streams)) > MAX_TRACKS:
        raise ValueError(f"{tracks} tracks, at most {MAX_TRACKS} are allowed")
