"""Whose messages a capture holds, and one reader for each carrier.

A carrier is known by the class of the serializer that the capture names, or else by what its messages
look like. To add one: a module with a :class:`workbench.call.carriers.wire.Carrier`, its line in
:data:`CARRIERS`, and a far end for it in ``tests/call/far_ends.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from workbench.call.carriers.bandwidth import Bandwidth
from workbench.call.carriers.exotel import Exotel
from workbench.call.carriers.plivo import Plivo
from workbench.call.carriers.telnyx import Telnyx
from workbench.call.carriers.twilio import Twilio
from workbench.call.carriers.unknown import Unknown
from workbench.call.carriers.vonage import Vonage
from workbench.call.carriers.wire import Carrier

__all__ = ["CARRIERS", "LOOKED_AT", "Carrier", "by_class", "by_messages", "known_by_name"]

CARRIERS: Final[tuple[type[Carrier], ...]] = (Bandwidth, Twilio, Telnyx, Plivo, Exotel, Vonage)
#: Messages that are looked at where the class tells nothing: the first may be of any carrier.
LOOKED_AT: Final = 50


def by_class(path: str, params: Mapping[str, Any]) -> Carrier | None:
    """Find the carrier of a serializer.

    Args:
        path: Of its class, with its modules, as the capture has it.
        params: Its parameters.

    Returns:
        ``None`` for a class that is not known: it may be somebody's own.
    """
    name = path.rpartition(".")[2]
    return next((kind(params) for kind in CARRIERS if kind.serializer == name), None)


def by_messages(path: str, params: Mapping[str, Any], bodies: Iterable[bytes]) -> Carrier:
    """Find the carrier by the first message that looks like one's.

    Args:
        path: As for :func:`by_class`.
        params: Likewise.
        bodies: JSON messages, in order; :data:`LOOKED_AT` of them are enough.

    Returns:
        One that reads none, where none looks like any; where the capture does not even name a class,
        Bandwidth's, which the format is named after.
    """
    for body in bodies:
        try:
            fields = msgspec.json.decode(body)
        except (msgspec.DecodeError, ValueError, RecursionError):
            continue
        if isinstance(fields, dict):
            for kind in CARRIERS:
                if kind.is_like(fields):
                    return kind(params)
    return Unknown(params, path.rpartition(".")[2]) if path else Bandwidth(params)


def known_by_name() -> str:
    """The carriers that are read, in words."""
    names = [kind.name for kind in CARRIERS]
    return f"{', '.join(names[:-1])} and {names[-1]}"
