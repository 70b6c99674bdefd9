"""What Bandwidth does with the BXML that a voice webhook returns, as far as a stream needs it.

A mistake in the document fails the call: it is refused. So is what Bandwidth would carry out but
the simulator cannot follow. The verbs are walked in order, for each begins when the one before it
is done: first those before ``<StartStream>``, then those that come before the stream is over.
``<StartStream>`` itself takes no time. The attributes of verbs that do not concern a stream are not
checked.

References:
    Bandwidth, BXML ``<StartStream>``, ``<StopStream>``, ``<Pause>``: attributes and limits;
    ``<Gather>``, ``<Record>``: with a URL, the document that it answers takes over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit
from xml.etree import ElementTree

__all__ = ["MAX_SIZE", "Document", "NotBXML", "StartStream", "not_an_address", "parse"]

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
#: Verbs after which the document does not go on, at least not with the caller alone on the line.
_LEAVES: Final = {
    "Hangup": "ends the call",
    "Redirect": "leaves this document for another",
    **dict.fromkeys(
        ("Bridge", "Conference", "Connect", "Forward", "Refer", "Transfer"),
        "hands the caller on, where the simulator cannot follow,",
    ),
}
#: Verbs that go on in another document if they have such a URL.
_ASKS: Final = {"Gather": "gatherUrl", "Record": "recordCompleteUrl"}
#: Verbs that take time; what is after them waits.
_DELAYS: Final = frozenset("Gather Pause PlayAudio Record Ring SendDtmf SpeakSentence".split())
_VERBS: Final = frozenset(
    "PauseRecording ResumeRecording StartGather StartRecording StartStream StartTranscription "
    "StopGather StopRecording StopStream StopTranscription Tag".split()
).union(_LEAVES, _DELAYS)
_ATTRIBUTES: Final = frozenset(
    "destination destinationUsername destinationPassword mode tracks name "
    "streamEventUrl streamEventMethod username password".split()
)


class NotBXML(ValueError):
    """No BXML at all, but something else: a web page, JSON."""


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
        event_method: ``"POST"`` or ``"GET"``.
        event_credentials: User and password for those, if any.
        params: ``<StreamParam>`` names and values; of a name given twice the first.
    """

    destination: str
    name: str
    bidirectional: bool
    tracks: tuple[str, ...]
    credentials: tuple[str, str] | None
    event_url: str
    event_method: str
    event_credentials: tuple[str, str] | None
    params: Mapping[str, str]


@dataclass(frozen=True)
class Document:
    """A BXML document with one stream.

    Parameters:
        stream: What to open.
        keep_alive: What holds the call while the stream runs: ``"StopStream"`` until the socket
            closes, ``"Pause"`` for its time whether or not it does, ``None`` not at all.
        pause_secs: How long the Pauses hold it.
        before: Verbs before the stream that take time.
    """

    stream: StartStream
    keep_alive: Literal["StopStream", "Pause"] | None
    pause_secs: float = 0.0
    before: tuple[str, ...] = ()


def parse(text: str | bytes) -> Document:
    """Read and check a document.

    Raises:
        NotBXML: If it is something else.
        ValueError: If Bandwidth would reject it, if it starts no stream, or if the caller is gone
            before the stream is over; says what is wrong.
    """
    if len(text) > MAX_SIZE:
        raise ValueError(f"the document is too long, at most {MAX_SIZE} bytes are allowed")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # no such encoding
        raise NotBXML(f"not XML: {error}") from None
    if root.tag not in ("Response", "Bxml"):
        raise NotBXML(f"the root is <{root.tag[:60]}>, <Response> or <Bxml> is wanted")
    verbs = list(root)
    for verb in verbs:
        if verb.tag not in _VERBS:
            raise ValueError(f"<{verb.tag[:60]}> is no verb of BXML")
    streams = [_start_stream(verb) for verb in verbs if verb.tag == "StartStream"]
    names = [stream.name for stream in streams if stream.name]
    if not streams:
        raise ValueError("no <StartStream> in it")
    if len(names) != len(set(names)):
        raise ValueError(f"streams of one name: {names}")
    if (tracks := sum(len(stream.tracks) for stream in streams)) > MAX_TRACKS:
        raise ValueError(f"{tracks} tracks, at most {MAX_TRACKS} are allowed")
    if len(streams) > 1:
        raise ValueError(f"{len(streams)} streams; the simulator carries one")
    index = [verb.tag for verb in verbs].index("StartStream")
    before = _before_the_stream(verbs[:index])
    keep_alive, pause_secs = _what_holds_the_call(streams[0], verbs[index + 1 :])
    return Document(streams[0], keep_alive, pause_secs, before)


def _before_the_stream(verbs: Iterable[ElementTree.Element]) -> tuple[str, ...]:
    """Names of the verbs that the stream waits for."""
    for verb in verbs:
        if leaves := _leaves(verb):
            raise ValueError(f"<{verb.tag}> {leaves} before <StartStream> is reached")
        _pause_secs(verb)
    return tuple(verb.tag for verb in verbs if verb.tag in _DELAYS)


def _what_holds_the_call(
    stream: StartStream, verbs: Iterable[ElementTree.Element]
) -> tuple[Literal["StopStream", "Pause"] | None, float]:
    """``keep_alive`` and ``pause_secs``, from the verbs after ``<StartStream>``."""
    pause = 0.0
    for verb in verbs:
        waits = verb.tag == "StopStream" and _waits(verb)
        if verb.tag == "StopStream" and stream.name and verb.get("name") == stream.name:
            if waits:
                return "StopStream", 0.0
            break  # Another name is unknown and has no effect.
        if leaves := _leaves(verb):
            if not pause:
                raise ValueError(f"<{verb.tag}> {leaves} before anything holds the call")
            # What comes next is up to the bot's server; a loop of both is a way to hold a call.
            pause = math.inf if verb.tag == "Redirect" else pause
            break
        pause += _pause_secs(verb)
    return ("Pause" if pause else None), pause


def _leaves(verb: ElementTree.Element) -> str:
    """How the document is left at a verb; empty if it goes on."""
    if verb.get(_ASKS.get(verb.tag, "")):
        return f"asks its {_ASKS[verb.tag]} for another document"
    return _LEAVES.get(verb.tag, "")


def _waits(verb: ElementTree.Element) -> bool:
    """Whether a ``<StopStream>`` waits for the socket to close."""
    if verb.get("name") is None:
        raise ValueError("<StopStream> needs a name")
    wait = verb.get("wait", "false")
    if wait not in ("true", "false"):
        raise ValueError(f"<StopStream wait={wait[:60]!r}>, 'true' or 'false' is allowed")
    return wait == "true"


def _pause_secs(verb: ElementTree.Element) -> float:
    """How long a ``<Pause>`` lasts; 0 for another verb."""
    if verb.tag != "Pause":
        return 0.0
    duration = verb.get("duration", "1")
    try:
        secs = float(duration)
    except ValueError:
        secs = math.nan
    if not 0.1 <= secs <= 86400:
        raise ValueError(f"<Pause> of {duration[:60]}, 0.1 to 86400 s are allowed")
    return secs


def _start_stream(verb: ElementTree.Element) -> StartStream:
    if unknown := sorted(set(verb.attrib) - _ATTRIBUTES):
        raise ValueError(f"<StartStream> has no attribute {unknown[0][:60]!r}")
    if nested := [child.tag for child in verb if child.tag != "StreamParam"]:
        raise ValueError(f"<StartStream> holds <StreamParam> alone, not <{nested[0][:60]}>")
    destination = verb.get("destination", "")
    if wrong := not_an_address(destination, "ws", "wss"):
        # Without the address: there may be a token in it.
        raise ValueError(f"<StartStream> destination is not a ws:// or wss:// address: {wrong}")
    event_url = verb.get("streamEventUrl", "")
    if wrong := not_an_address(event_url, "http", "https", ""):
        raise ValueError(f"<StartStream> streamEventUrl is no address: {wrong}")
    mode, tracks = verb.get("mode", "unidirectional"), verb.get("tracks", "inbound")
    if mode not in ("unidirectional", "bidirectional"):
        raise ValueError(
            f"<StartStream mode={mode[:60]!r}>, unidirectional or bidirectional is allowed"
        )
    if tracks not in _TRACKS:
        raise ValueError(f"<StartStream tracks={tracks[:60]!r}>, one of {list(_TRACKS)} is allowed")
    return StartStream(
        destination,
        verb.get("name", ""),
        mode == "bidirectional",
        _TRACKS[tracks],
        _credentials(verb, "destinationUsername", "destinationPassword"),
        event_url,
        _method(verb, "streamEventMethod"),
        _credentials(verb, "username", "password"),
        _params(verb),
    )


def _method(verb: ElementTree.Element, attribute: str) -> str:
    """An HTTP method, POST by default."""
    method = verb.get(attribute, "POST")
    if method not in ("GET", "POST"):
        raise ValueError(f"<{verb.tag} {attribute}={method[:60]!r}>, GET or POST is allowed")
    return method


def not_an_address(text: str, *schemes: str) -> str:
    """Say what is wrong with a URL; empty if nothing is. A relative one has the scheme ``""``."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # "Port out of range 0-65535"
    except ValueError as error:
        return str(error)
    if parts.scheme not in schemes:
        return f"its scheme is {parts.scheme[:60]!r}"
    if parts.scheme and not parts.hostname:
        return "it names no host"
    if parts.fragment:
        return "it has a #fragment"
    if any(character.isspace() for character in text):
        return "there is a space in it"
    return ""


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
    if ":" in (given[0] or ""):
        raise ValueError(f"<StartStream {user}> has a colon, which HTTP Basic does not allow")
    return (given[0] or "", given[1] or "") if any(given) else None
