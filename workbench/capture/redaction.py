"""What must not get into a capture: credentials, and what the stream parameters carry.

A stream parameter is often a one-time token by which the socket was authenticated, so none is kept
unless it is asked for. An account id becomes a pseudonym: on one machine the same account has the
same one. Account ids are short numbers, which can all be tried in seconds: hence it is keyed, with
what only the machine knows, and whoever has a capture and not the key cannot tell the account.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import os
import re
from collections.abc import Collection, Mapping
from functools import cache, lru_cache
from typing import Any, Final

__all__ = ["KEY", "REDACTED", "hide", "may_hold_secrets", "pseudonym", "redact", "secrets_of"]

REDACTED: Final = "[redacted]"

_SECRET: Final = re.compile(
    r"token|secret|passw|pwd|passphrase|auth|credential|signature|cookie|bearer|jwt"
    r"|(?:^|[_-])key$|api[_-]?key|(?-i:(?<=[a-z])Key$)",
    re.IGNORECASE,
)
#: Bandwidth's, Twilio's, Telnyx's and Plivo's names of what the application itself put there.
_PARAMETERS: Final = {"streamparams", "customparameters", "extraheaders"}
#: Pipecat's messages to a client: transcripts and generated text among them.
_RTVI: Final = "rtvi-ai"
_ACCOUNT: Final = {"accountid", "accountsid"}
#: What begins a name, or hides its letters, in a message that cannot be parsed.
_SUSPECT: Final = (
    b"param", b"header", b"account", b"token", b"secret", b"passw", b"auth", b"credential",
    b"signature", b"cookie", b"api_key", b"apikey", b"\\u", _RTVI.encode(),
)  # fmt: skip


#: Name in the environment of a key for pseudonyms: machines that share it agree on them.
KEY: Final = "WORKBENCH_ACCOUNT_KEY"
#: 128 random bits, made when a machine was set up (``man 5 machine-id``).
_MACHINE_IDS: Final = ("/etc/machine-id", "/var/lib/dbus/machine-id")


def pseudonym(account_id: str) -> str | None:
    """Name an account without saying its id; ``None`` where there is no key to do it with.

    The key is that of the environment, :data:`KEY`, or the machine's own id. A container has
    mostly neither.
    """
    key = _key()
    if key is None:
        return None
    return "hmac:" + hmac.digest(key, f"account {account_id}".encode(), "sha256").hex()[:16]


@cache  # read once, on the local disk
def _key() -> bytes | None:
    if given := os.environ.get(KEY):
        return given.encode("utf-8", "surrogateescape")
    for path in _MACHINE_IDS:
        with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
            text = file.read(64).strip()
            if len(text) == 32 and len(set(text)) > 1 and int(text, 16):
                return b"pipecat-bandwidth " + text.encode()  # the id itself is told to nobody
    return None


@lru_cache(maxsize=1024)  # names come again and again
def _is_secret(name: str) -> bool:
    return _SECRET.search(name) is not None


def redact(
    value: Any, allow: Collection[str] = (), secrets: Mapping[str, str] | None = None
) -> Any:
    """Take out of a JSON value what must not be kept.

    Args:
        value: Objects, lists and scalars. It is not changed.
        allow: Names of stream parameters that may be kept.
        secrets: What :func:`secrets_of` found, to be hidden in every text.

    Returns:
        The same with :data:`REDACTED` for every stream parameter and for whatever has a name that
        looks like a secret's, and a pseudonym for every account id. Of Pipecat's RTVI messages,
        which repeat what is said, only the type is left.
    """
    if isinstance(value, Mapping):
        if value.get("label") == _RTVI:  # of what it tells a client, only that it did
            return {name: value[name] for name in ("label", "type", "id") if name in value}
        return {
            str(name): _redact_field(str(name), item, allow, secrets)
            for name, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact(item, allow, secrets) for item in value]
    return hide(value, secrets) if secrets and isinstance(value, str) else value


def _redact_field(
    name: str, value: Any, allow: Collection[str], secrets: Mapping[str, str] | None
) -> Any:
    plain = name.replace("_", "").replace("-", "").lower()
    if plain in _PARAMETERS and isinstance(value, Mapping):
        return {key: item if key in allow else REDACTED for key, item in value.items()}
    # Yes, no and nothing are no secrets; a number may be one.
    is_telling = bool(value) and not isinstance(value, bool)
    if is_telling and plain in _PARAMETERS:
        return REDACTED
    if is_telling and plain in _ACCOUNT and isinstance(value, (str, int)):
        return pseudonym(str(value)) or REDACTED
    if is_telling and name not in allow and _is_secret(name):
        return REDACTED
    return redact(value, allow, secrets)


def may_hold_secrets(data: bytes) -> bool:
    """Whether bytes that are no message look like a part of one that must not be kept.

    Args:
        data: Anything; torn JSON, or JSON in UTF-16 or UTF-32.
    """
    plain = data.replace(b"\0", b"").lower()
    return any(word in plain for word in _SUSPECT)


def secrets_of(thing: object) -> dict[str, str]:
    """Find the secrets that an object holds, so that no text repeats them.

    Args:
        thing: Anything; its attributes are looked at, and theirs, and what is in those that have a
            secret's name. What it has of its own package counts as a part of it.

    Returns:
        What to write instead of each.
    """
    found: dict[str, str] = {}
    package = _package(thing)
    parts = [value for _, value in _attributes(thing) if _package(value) == package]
    for part in (thing, *parts):
        for name, value in _attributes(part):
            _take(found, name, value)
            for inner, text in _attributes(value):
                _take(found, inner, text)
                if _is_secret(inner):
                    for last, deep in _attributes(text):
                        _take(found, last, deep)
    return found


def _package(thing: object) -> str:
    return type(thing).__module__.partition(".")[0]


def _take(found: dict[str, str], name: str, text: object) -> None:
    """Add what has a secret's name, with the token or the password in a header."""
    if not isinstance(text, str) or len(text) < 4:
        return
    if name.replace("_", "").lower() in _ACCOUNT:
        found[text] = pseudonym(text) or REDACTED
    elif _is_secret(name) and "url" not in name:
        found[text] = REDACTED
        scheme, _, rest = text.partition(" ")
        if scheme in ("Basic", "Bearer") and len(rest) >= 4:
            found[rest] = REDACTED
        if scheme == "Basic":
            with contextlib.suppress(ValueError):
                _, _, password = base64.b64decode(rest).decode().partition(":")
                if len(password) >= 4:
                    found[password] = REDACTED


def _attributes(thing: object) -> list[tuple[str, object]]:
    if type(thing).__module__ == "builtins":
        return []
    if fields := getattr(thing, "__dict__", None):
        return list(fields.items())
    slots = getattr(type(thing), "__slots__", ())
    names = [slots] if isinstance(slots, str) else slots
    return [(name, getattr(thing, name)) for name in names if hasattr(thing, name)]


def hide(text: str, secrets: Mapping[str, str]) -> str:
    """Replace every secret that stands in a text, the longest first: one may be part of another."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, secrets[secret])
    return text
