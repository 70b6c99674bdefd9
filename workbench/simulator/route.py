"""The way from the simulator to the bot: where a connection goes, and whom it trusts.

A bot names itself by its public name, which a tunnel or a proxy serves: behind it, on this machine,
it has another address and often no TLS. ``connect_to`` is curl's: the name stays in the request and
in the certificate's check, the connection goes elsewhere.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

__all__ = ["Fallback", "Route", "not_an_address", "ssl_advice"]

#: X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL.
_OTHER_NAME: Final = {62, 64}
#: X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED.
_OTHER_TIME: Final = {9, 10}


@dataclass(frozen=True)
class Fallback:
    """Where an event goes whose own address fails.

    Parameters:
        url: An ``http`` address, perhaps relative.
        method: ``"POST"`` or ``"GET"``.
        credentials: HTTP Basic user and password; empty for none.
    """

    url: str
    method: str = "POST"
    credentials: tuple[str, str] = ("", "")

    @classmethod
    def of(cls, said: Mapping[str, Any], prefix: str) -> Fallback | None:
        """Read it where BXML and requests have it: ``{prefix}Url``; none if that is not said.

        Args:
            said: Attributes of a verb, or fields of a request.
            prefix: ``"redirectFallback"``, ``"gatherFallback"`` and the like.
        """
        url = said.get(prefix + "Url", "")
        credentials = said.get("fallbackUsername", ""), said.get("fallbackPassword", "")
        return cls(url, said.get(prefix + "Method", "POST"), credentials) if url else None


@dataclass(frozen=True)
class Route:
    """How connections to the bot are made.

    Parameters:
        connect_to: ``HOST:PORT`` where those go whose host only the BXML names; with ``ws://``
            before it they have no TLS there, whatever the BXML says. ``""`` for where it says.
        ca: PEM file of certificates that are trusted beside the system's.
        insecure: Whether no certificate is checked.
        tls: What both come to.

    Raises:
        ValueError: If ``connect_to`` is no address, or ``ca`` no such file.
        OSError: If ``ca`` cannot be read.
    """

    connect_to: str = ""
    ca: str | Path | None = None
    insecure: bool = False
    tls: ssl.SSLContext = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.connect_to:
            scheme, host, port = self._there()
            if scheme not in ("", "ws") or not host or port is None:
                raise ValueError(
                    f"connect to {self.connect_to[:200]!r}: HOST:PORT or ws://HOST:PORT is wanted"
                )
        tls = ssl.create_default_context()
        if self.ca is not None:
            Path(self.ca).open("rb").close()  # whose error names the file
            try:
                tls.load_verify_locations(cafile=self.ca)
            except ssl.SSLError:
                raise ValueError(f"{self.ca}: no certificates in PEM form are in it") from None
        if self.insecure:
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        object.__setattr__(self, "tls", tls)

    def websocket(self, destination: str) -> tuple[str, dict[str, Any]]:
        """Say how to connect to a stream's destination.

        Args:
            destination: As the BXML names it.

        Returns:
            The address, and what else :func:`websockets.asyncio.client.connect` needs.
        """
        options: dict[str, Any] = {}
        if self.connect_to:
            scheme, host, port = self._there()
            options |= {"host": host, "port": port}
            if scheme:
                destination = urlsplit(destination)._replace(scheme="ws").geturl()
        secure = urlsplit(destination).scheme == "wss"
        return destination, options | ({"ssl": self.tls} if secure else {})

    def request(self, url: str, home: str) -> tuple[str, Mapping[str, str], Mapping[str, Any]]:
        """Say how to send a request.

        Args:
            url: As the BXML or a request names it.
            home: The webhook's, as it was given: what has its host goes there.

        Returns:
            The address, headers and extensions for httpx.
        """
        parts = httpx.URL(url)
        if not self.connect_to or parts.host == httpx.URL(home).host:
            return url, {}, {}
        scheme, host, port = self._there()
        there = parts.copy_with(host=host, port=port, **({"scheme": "http"} if scheme else {}))
        return str(there), {"Host": parts.netloc.decode()}, {"sni_hostname": parts.host}

    def _there(self) -> tuple[str, str | None, int | None]:
        scheme, _, rest = self.connect_to.rpartition("://")
        try:
            parts = urlsplit(f"//{rest}")
            whole = not (parts.path or parts.query or parts.fragment or parts.username)
            return scheme, parts.hostname if whole else None, parts.port
        except ValueError:
            return scheme, None, None


def ssl_advice(error: BaseException) -> str:
    """Say which option helps against a failure of TLS; empty if it is no such failure."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return ""
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return (
            "; there seems to be no TLS at that port: name it http:// or ws://, or give "
            "--connect-to ws://HOST:PORT if a tunnel or a proxy has the TLS"
        )
    if cause.verify_code in _OTHER_NAME:
        return (
            "; the certificate is for another name: --connect-to HOST:PORT keeps the name that the "
            "BXML has, --insecure checks nothing"
        )
    if cause.verify_code in _OTHER_TIME:
        return "; --insecure checks nothing"
    return "; --ca FILE trusts the certificate that signed it, --insecure checks nothing"


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
