"""The server: on this machine only, until Ctrl-C."""

from __future__ import annotations

import os
import socket
import webbrowser
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import uvicorn

from workbench.capture.partfile import SUFFIX
from workbench.view.application import application
from workbench.view.entry import Entry
from workbench.view.guard import new_token
from workbench.view.shelf import Shelf

__all__ = ["Server", "serve"]

_HOST: Final = "127.0.0.1"


class Server(uvicorn.Server):
    """A server of some calls; whoever has its ``address`` gets in.

    Parameters:
        shelf: The calls.
        port: Where to listen; by default where there is room.
        words: Whether to show what was said, where captures hold it.

    Attributes:
        address: Of the list, with the token: ends with a slash.

    Raises:
        OSError: If somebody else listens there.
    """

    def __init__(self, shelf: Shelf, port: int = 0, *, words: bool = True) -> None:
        """Take the port: who asks from now on is answered by :meth:`run`."""
        token = new_token()
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind((_HOST, port))
            self._listener.listen()  # who comes before it answers waits
        except OSError:
            self._listener.close()
            raise
        self.address = f"http://{_HOST}:{self._listener.getsockname()[1]}/{token}/"
        config = uvicorn.Config(
            application(shelf, token, words=words),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            ws="websockets-sansio",
            ws_max_size=64 * 1024,  # of what comes: a question, a note
            ws_per_message_deflate=False,  # there is no wire
            timeout_graceful_shutdown=15,  # a call that is being opened is opened
        )
        super().__init__(config)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer until Ctrl-C, or until ``should_exit`` is set."""
        super().run(sockets or [self._listener])


def serve(
    captures: Iterable[str | Path],
    *,
    place: str = "",
    port: int = 0,
    browser: bool = True,
    words: bool = True,
    ready: Callable[[str], object] = lambda _address: None,
) -> None:
    """Show calls in the browser, until Ctrl-C.

    Args:
        captures: Files, folders, URLs, and data sets that :func:`workbench.survey` has made. One
            capture that is given alone is shown itself.
        place: Where in it: ``"t=9.72"``, ``"finding=2"``, or both with an ``&`` between.
        port: Where to listen, on 127.0.0.1; by default where there is room.
        browser: Whether to open the browser.
        words: Whether to show what was said, where captures hold it.
        ready: Called with the address when there is one.

    Raises:
        ValueError: If a data set is something else.
        NotAvailable: Without pyarrow, where there is a data set.
        OSError: If somebody else listens there.
    """
    given = list(captures)
    with Shelf(given) as shelf:
        server = Server(shelf, port, words=words)
        address = server.address + _only(given)
        address += f"#{place}" if place else ""
        ready(address)
        if browser:
            webbrowser.open(address)
        with suppress(KeyboardInterrupt):  # which uvicorn raises again, once all is closed
            server.run()


def _only(given: list[str | Path]) -> str:
    """Where the one capture is, if one was given; a folder is not waited for."""
    if len(given) != 1 or not str(given[0]).endswith((".mcap", f".mcap{SUFFIX}")):
        return ""
    name = str(given[0])
    return f"call/{Entry(name if '://' in name else os.path.abspath(name)).id}"
