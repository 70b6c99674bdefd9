"""What Bandwidth does with the BXML that a voice webhook returns, as far as a stream needs it.

The document is read as strictly as Bandwidth reads it: a mistake in it fails the call.

References:
    Bandwidth, BXML ``<StartStream>``, ``<StopStream>``, ``<Pause>``: attributes and limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit
from xml.etree import ElementTree

__all__ = ["Document", "StartStream", "parse"]

#: "A BXML document is at most 64 KB."
MAX_SIZE: Final = 64 * 1024
#: Limits of ``<StreamParam>``; beyond them the whole document is rejected.
MAX_PARAMS: Final = 12
MAX_PARAM_NAME: Final = 256
MAX_PARAM_VALUE: Final = 2048
#: ``both`` counts as two.
MAX_TRACKS: Final = 4

_TRACKS: Final[dict[str, tuple[str, ...]]] = {
    "inbound": ("inbound",),
    "outbound": ("outbound",),
    "both": ("inbound", "outbound"),
}
_ATTRIBUTES: Final = frozenset(
    "destination destinationUsername destinationPassword mode tracks name "
    "streamEventUrl streamEventMethod username password".split()
)


@dataclass(frozen=True)
class StartStream:
    """One ``<StartStream>``.

    Parameters:
        destination: ``ws://`` or ``wss://``, with its path and query.
        name: ``""`` when none was given: Bandwidth then takes the stream id.
        bidirectional: Whether ``playAudio`` is obeyed.
        tracks: ``"inbound"``, ``"outbound"`` or both.
        credentials: User and password for the upgrade request, if any.
        event_url: Where ``mediaStream*`` webhooks go, perhaps relative; ``""`` for nowhere.
        event_credentials: User and password for those, if any.
        params: ``<StreamParam>`` names and values; of a name given twice the first.
    """

    destination: str
    name: str
    bidirectional: bool
    tracks: tuple[str, ...]
    credentials: tuple[str, str] | None
    event_url: str
    event_credentials: tuple[str, str] | None
    params: Mapping[str, str]


@dataclass(frozen=True)
class Document:
    """A BXML document with one stream.

    Parameters:
        stream: What to open.
        keep_alive: What holds the call while the stream runs: ``"StopStream"`` until the socket
            closes, ``"Pause"`` for its time whether or not it does, ``None`` not at all.
        pause_secs: How long the Pause holds it.
    """

    stream: StartStream
    keep_alive: Literal["StopStream", "Pause"] | None
    pause_secs: float = 0.0


def parse(text: str | bytes) -> Document:
    """Read and check a document.

    Raises:
        ValueError: If Bandwidth would reject it, or if it starts no stream; says what is wrong.
    """
    if len(text) > MAX_SIZE:
        raise ValueError(f"a document of {len(text)} bytes, at most {MAX_SIZE} are allowed")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"not XML: {error}") from None
    if root.tag not in ("Response", "Bxml"):
        raise ValueError(f"the root is <{root.tag}>, <Response> or <Bxml> is wanted")
    streams = [_start_stream(verb) for verb in root if verb.tag == "StartStream"]
    names = [stream.name for stream in streams if stream.name]
    if not streams:
        raise ValueError("no <StartStream> in it")
    if len(names) != len(set(names)):
        raise ValueError(f"streams of one name: {names}")
    if (tracks := sum(len(stream.tracks) for stream in streams)) > MAX_TRACKS:
        raise ValueError(f"{tracks} tracks, at most {MAX_TRACKS} are allowed")
    if len(streams) > 1:
        raise ValueError(f"{len(streams)} streams; the simulator carries one")
    verbs = list(root)
    after = verbs[[verb.tag for verb in verbs].index("StartStream") + 1 :]
    return _what_holds_the_call(streams[0], after)


def _what_holds_the_call(stream: StartStream, verbs: list[ElementTree.Element]) -> Document:
    for verb in verbs:
        if verb.tag == "StopStream":
            if verb.get("name") is None:
                raise ValueError("<StopStream> needs a name")
            if verb.get("name") != stream.name:
                continue  # An unknown name has no effect.
            wait = verb.get("wait", "false")
            if wait not in ("true", "false"):
                raise ValueError(f"<StopStream wait={wait!r}>, 'true' or 'false' is allowed")
            return Document(stream, "StopStream" if wait == "true" else None)
        if verb.tag == "Pause":
            secs = _number(verb.get("duration", "1"))
            if not 0.1 <= secs <= 86400:
                raise ValueError(f"<Pause> of {verb.get('duration')}, 0.1 to 86400 s are allowed")
            return Document(stream, "Pause", secs)
    return Document(stream, None)


def _start_stream(verb: ElementTree.Element) -> StartStream:
    if unknown := sorted(set(verb.attrib) - _ATTRIBUTES):
        raise ValueError(f"<StartStream> has no attribute {unknown[0]!r}")
    destination = verb.get("destination", "")
    if urlsplit(destination).scheme not in ("ws", "wss") or not urlsplit(destination).hostname:
        raise ValueError("<StartStream> destination is not a ws:// or wss:// address")
    mode, tracks = verb.get("mode", "unidirectional"), verb.get("tracks", "inbound")
    if mode not in ("unidirectional", "bidirectional"):
        raise ValueError(f"<StartStream mode={mode!r}>, unidirectional or bidirectional is allowed")
    if tracks not in _TRACKS:
        raise ValueError(f"<StartStream tracks={tracks!r}>, one of {list(_TRACKS)} is allowed")
    return StartStream(
        destination,
        verb.get("name", ""),
        mode == "bidirectional",
        _TRACKS[tracks],
        _credentials(verb, "destinationUsername", "destinationPassword"),
        verb.get("streamEventUrl", ""),
        _credentials(verb, "username", "password"),
        _params(verb),
    )


def _params(verb: ElementTree.Element) -> dict[str, str]:
    params = [(p.get("name", ""), p.get("value", "")) for p in verb.findall("StreamParam")]
    if len(params) > MAX_PARAMS:
        raise ValueError(f"{len(params)} stream parameters, at most {MAX_PARAMS} are allowed")
    for name, value in params:
        if not 0 < len(name) <= MAX_PARAM_NAME or len(value) > MAX_PARAM_VALUE:
            raise ValueError(
                f"a stream parameter with a name of {len(name)} and a value of {len(value)} "
                f"characters, 1 to {MAX_PARAM_NAME} and 0 to {MAX_PARAM_VALUE} are allowed"
            )
    return dict(reversed(params))


def _credentials(verb: ElementTree.Element, user: str, password: str) -> tuple[str, str] | None:
    given = verb.get(user), verb.get(password)
    return (given[0] or "", given[1] or "") if any(given) else None


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return float("nan")
