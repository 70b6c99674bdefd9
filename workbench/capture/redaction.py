"""What must not get into a capture: credentials, and what the stream parameters carry.

A stream parameter is often a one-time token by which the socket was authenticated, so none is kept
unless it is asked for. An account id becomes a pseudonym: the same account has the same one, and
since account ids are short numbers, whoever really wants it back can find it by trying.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

__all__ = ["REDACTED", "hide", "pseudonym", "redact", "secrets_of"]

REDACTED: Final = "[redacted]"

_SECRET: Final = re.compile(
    r"token|secret|passw|passphrase|auth|credential|signature|(?:^|_)key$|api_?key|(?<=[a-z])Key$",
    re.IGNORECASE,
)
#: Bandwidth's, Twilio's, Telnyx's and Plivo's names of what the application itself put there.
_PARAMETERS: Final = {"streamparams", "customparameters", "extraheaders"}
_ACCOUNT: Final = {"accountid", "accountsid"}


def pseudonym(account_id: str) -> str:
    """Name an account without saying its id."""
    return "sha256:" + hashlib.sha256(f"account {account_id}".encode()).hexdigest()[:16]


def redact(value: Any, allow: Collection[str] = ()) -> Any:
    """Take out of a JSON value what must not be kept.

    Args:
        value: Objects, lists and scalars. It is not changed.
        allow: Names of stream parameters that may be kept.

    Returns:
        The same with :data:`REDACTED` for every stream parameter and for every string whose name
        looks like a secret's, and a pseudonym for every account id.
    """
    if isinstance(value, Mapping):
        return {str(name): _redact_field(str(name), item, allow) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item, allow) for item in value]
    return value


def _redact_field(name: str, value: Any, allow: Collection[str]) -> Any:
    plain = name.replace("_", "").lower()
    if plain in _PARAMETERS and isinstance(value, Mapping):
        return {key: item if key in allow else REDACTED for key, item in value.items()}
    if plain in _PARAMETERS and value:
        return REDACTED
    if isinstance(value, str) and value:
        if plain in _ACCOUNT:
            return pseudonym(value)
        if name not in allow and _SECRET.search(name):
            return REDACTED
    return redact(value, allow)


def secrets_of(thing: object) -> dict[str, str]:
    """Find the secrets that an object holds, so that no text repeats them.

    Args:
        thing: Anything; its attributes are looked at, and theirs.

    Returns:
        What to write instead of each.
    """
    found: dict[str, str] = {}
    for name, value in _attributes(thing):
        inner = [(name, value)] if isinstance(value, str) else list(_attributes(value))
        for key, text in inner:
            if not isinstance(text, str) or len(text) < 4:
                continue
            if key.replace("_", "").lower() in _ACCOUNT:
                found[text] = pseudonym(text)
            elif _SECRET.search(key) and "url" not in key:
                found[text] = REDACTED
    return found


def _attributes(thing: object) -> list[tuple[str, object]]:
    try:
        return list(vars(thing).items())
    except TypeError:
        return []


def hide(text: str, secrets: Mapping[str, str]) -> str:
    """Replace every secret that stands in a text."""
    for secret, instead in secrets.items():
        text = text.replace(secret, instead)
    return text
