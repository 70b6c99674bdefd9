"""``<StartStream>``: what it asks for, and the mistakes for which Bandwidth rejects a document.

References:
    Bandwidth, BXML ``<StartStream>`` and ``<StreamParam>``: attributes and limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from workbench.simulator.route import not_an_address

__all__ = ["MAX_TRACKS", "StartStream", "credentials", "method", "read"]

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


def read(verb: Element) -> StartStream:
    """Read and check one.

    Raises:
        ValueError: If Bandwidth would reject it; says what is wrong.
    """
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
        credentials(verb, "destinationUsername", "destinationPassword"),
        event_url,
        method(verb, "streamEventMethod"),
        credentials(verb, "username", "password"),
        _params(verb),
    )


def method(verb: Element, attribute: str) -> str:
    """An HTTP method, POST by default.

    Raises:
        ValueError: If it is neither GET nor POST.
    """
    name = verb.get(attribute, "POST")
    if name not in ("GET", "POST"):
        raise ValueError(f"<{verb.tag} {attribute}={name[:60]!r}>, GET or POST is allowed")
    return name


def credentials(verb: Element, user: str, password: str) -> tuple[str, str] | None:
    """User and password of these attributes; ``None`` if neither is there.

    Raises:
        ValueError: If there is a colon in the user's name.
    """
    given = verb.get(user), verb.get(password)
    if ":" in (given[0] or ""):
        raise ValueError(f"<{verb.tag} {user}> has a colon, which HTTP Basic does not allow")
    return (given[0] or "", given[1] or "") if any(given) else None


def _params(verb: Element) -> dict[str, str]:
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
