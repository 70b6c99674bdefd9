"""A widget where there is no kernel: its comm is whatever carries messages to a page.

ipywidgets talk to their page through the ``comm`` package, which leaves open what a comm is. So a
widget that is made inside :func:`hosted` is the same as in a notebook, and sends what it sends to a
function. What comes back from the page is given to :meth:`HostedComm.handle_msg`.

What goes to the page is one binary message each: the length of its head (four bytes, little endian),
the head as JSON, and the buffers one behind the other. The head has ``type`` (``comm_open``,
``comm_msg``, ``comm_close``; ``display`` when the page may show it), ``data`` as Jupyter's messages have it, and ``lengths`` of the buffers.

References:
    Jupyter, "Messaging in Jupyter: custom messages"; ipywidgets, "Low level widget protocol", 2.1.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeAlias

import comm
from comm.base_comm import BaseComm

__all__ = ["HostedComm", "Publish", "hosted", "packed"]

#: Takes a message's type, its data and its buffers; from any thread.
Publish: TypeAlias = Callable[[str, dict[str, Any], Sequence[Any]], None]

#: A widget's own module and style: the page has them from files.
_CODE: Final = ("_esm", "_css")

_host: ContextVar[Publish | None] = ContextVar("host", default=None)
_before: Callable[..., BaseComm] = comm.create_comm
_exchange = threading.Lock()


class HostedComm(BaseComm):
    """A comm whose other end is a page.

    Parameters:
        publish: Where its messages go.
        given: As of any comm.
    """

    def __init__(self, publish: Publish, **given: Any) -> None:
        """Open it, which is its first message."""
        self._publish = publish
        super().__init__(**given)

    def publish_msg(
        self,
        msg_type: str,
        data: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        buffers: Sequence[Any] | None = None,
        **keys: Any,
    ) -> None:
        """Send a message."""
        told = data or {}
        if msg_type == "comm_open":
            state = {k: v for k, v in told.get("state", {}).items() if k not in _CODE}
            if state.get("_model_module") != "anywidget":
                return  # a layout: the page has its own
            told = {**told, "state": state}
        self._publish(msg_type, told, buffers or ())


@contextmanager
def hosted(publish: Publish) -> Iterator[None]:
    """Let the widgets that are made in here, by this thread, send to a page.

    Args:
        publish: Where to.
    """
    _install()
    token = _host.set(publish)
    try:
        yield
    finally:
        _host.reset(token)


def packed(kind: str, data: Any, buffers: Sequence[Any] = ()) -> bytes:
    """One message as it goes to the page.

    Args:
        kind: Its type.
        data: Of JSON's types.
        buffers: Bytes.
    """
    parts = [bytes(buffer) for buffer in buffers]
    lengths = [len(part) for part in parts]
    head = json.dumps({"type": kind, "data": data, "lengths": lengths}).encode()
    return b"".join([struct.pack("<I", len(head)), head, *parts])


def _install() -> None:
    """Ask who hosts a widget before it gets its comm; a kernel may have come meanwhile."""
    global _before
    with _exchange:
        if comm.create_comm is not _created:
            _before, comm.create_comm = comm.create_comm, _created


def _created(*args: Any, **given: Any) -> BaseComm:
    publish = _host.get()
    return _before(*args, **given) if publish is None else HostedComm(publish, **given)
