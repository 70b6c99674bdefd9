"""What the browser is answered: the page, the list, a call, and its timeline over a WebSocket.

====================================== =============================================================
``/``, ``/call/ID``, ``/call/ID/ID``   the page, which is one for all; ``#t=9.72&finding=2`` is its own
``/page/NAME``                         its scripts and styles, and those of the timeline
``/calls?after=N``                     the list: what changed since revision N of it
``/call/ID/about``                     what is known of a call
``/call/ID/notes.txt``                 its notes as Audacity's labels
``/call/ID/timeline``, a WebSocket     the widget, see :mod:`workbench.view.hosting`
====================================== =============================================================

All of it behind the token (:mod:`workbench.view.guard`), and calls by their ids, never by a path.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from workbench.capture.partfile import SUFFIX
from workbench.exceptions import WorkbenchError
from workbench.looks import css_variables
from workbench.notes import Notes, labels_of
from workbench.timeline import CallTimeline
from workbench.view.entry import Entry
from workbench.view.guard import Guard
from workbench.view.hosting import HostedComm, hosted, packed
from workbench.view.opened import OpenedCalls
from workbench.view.shelf import Shelf

__all__ = ["application"]

_log = logging.getLogger(__name__)

_PAGE: Final = Path(__file__).parent / "page"
_TYPES: Final = {".js": "text/javascript", ".css": "text/css"}
#: Closing code of ours: there is no such call, or it cannot be read; said before.
_NO_CALL: Final = 4404


def application(shelf: Shelf, token: str, *, words: bool = True) -> ASGIApp:
    """Make the application.

    Args:
        shelf: The calls; its threads are its owner's.
        token: What each path begins with.
        words: Whether to show what was said, where captures hold it.
    """
    answers = _Answers(shelf, OpenedCalls(words=words))
    routes = [
        Route("/", answers.page),
        Route("/call/{id}", answers.page),
        Route("/call/{id}/about", answers.about),
        Route("/call/{id}/notes.txt", answers.notes),
        Route("/call/{id}/{other}", answers.page),
        Route("/calls", answers.calls),
        Route("/page/{name}", answers.file),
        WebSocketRoute("/call/{id}/timeline", answers.timeline),
    ]
    return Guard(Starlette(routes=routes), token)


class _Answers:
    """One method for each path."""

    def __init__(self, shelf: Shelf, opened: OpenedCalls) -> None:
        self._shelf = shelf
        self._opened = opened

    def page(self, request: Request) -> Response:
        return HTMLResponse(_file("view.html").replace("BASE", f"{request.scope['root_path']}/"))

    def file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _names():
            raise HTTPException(404)
        return Response(_file(name), media_type=_TYPES[Path(name).suffix])

    def calls(self, request: Request) -> Response:
        after = request.query_params.get("after", "-1")
        return JSONResponse(self._shelf.told(int(after) if after.lstrip("-").isdecimal() else -1))

    def about(self, request: Request) -> Response:
        return JSONResponse(self._entry(request.path_params["id"]).about())

    def notes(self, request: Request) -> Response:
        entry = self._entry(request.path_params["id"])
        try:
            text = labels_of(Notes(entry.source).read())
        except WorkbenchError as error:
            raise HTTPException(409, str(error)) from error
        name = "".join(c if c.isalnum() and c.isascii() or c in "-_." else "_" for c in entry.name)
        sent = {"Content-Disposition": f'attachment; filename="{name}.notes.txt"'}
        return PlainTextResponse(text, headers=sent)

    def _entry(self, number: str) -> Entry:
        """A call by its id; one that is asked for before all were listed may still come."""
        try:
            if not self._shelf.has(number):
                self._shelf.wait_for_list()
            return self._shelf.entry(number)
        except KeyError:
            raise HTTPException(404, "There is no such call here.") from None

    async def timeline(self, websocket: WebSocket) -> None:
        await websocket.accept()
        hosting = _Hosting(websocket)
        try:
            entry = await asyncio.to_thread(self._entry, websocket.path_params["id"])
            await hosting.run(partial(self._opened.call, entry), self._opened.findings)
        except (HTTPException, WorkbenchError, OSError) as error:
            await hosting.refuse(getattr(error, "detail", None) or str(error))
        except WebSocketDisconnect:
            pass
        finally:
            await hosting.close()


class _Hosting:
    """One widget on one page: what it sends goes out in order, what comes in is answered in order."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._loop = asyncio.get_running_loop()
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="timeline")
        self._sender = asyncio.create_task(self._send())
        self._widget: CallTimeline | None = None
        self._diagnosing: asyncio.Task[None] | None = None

    async def run(self, opened: Callable[[], Any], diagnosed: Callable[[Any], Any]) -> None:
        """Show a call, then what is wrong with it, and answer until the page is gone."""
        self._publish("status", {"text": "Opening the call"})
        call = await self._loop.run_in_executor(self._worker, opened)
        widget = await self._loop.run_in_executor(self._worker, self._made, call)
        self._widget = widget
        self._diagnosing = asyncio.create_task(self._diagnose(widget, diagnosed))
        comm = widget.comm
        assert isinstance(comm, HostedComm)
        while True:
            data = await self._received()
            message = {"content": {"data": data}, "buffers": []}
            await self._loop.run_in_executor(self._worker, comm.handle_msg, message)

    async def _received(self) -> Any:
        try:
            return await self._websocket.receive_json()
        except RuntimeError as error:  # it was found closed when something was sent
            raise WebSocketDisconnect from error

    def _made(self, call: Any) -> CallTimeline:
        with hosted(self._publish):
            widget = CallTimeline(call)
        self._publish("display", {})
        return widget

    async def _diagnose(self, widget: CallTimeline, diagnosed: Callable[[Any], Any]) -> None:
        if not widget.call.finished and widget.call.path.suffix == SUFFIX:
            widget.follow(1.0, diagnosing=True)
            return
        self._publish("status", {"text": "Looking for faults"})
        try:
            found = await asyncio.to_thread(diagnosed, widget.call)
            await asyncio.to_thread(setattr, widget, "findings", found)
            self._publish("status", {"text": ""})
        except Exception as error:  # the call can be heard all the same
            _log.warning("cannot diagnose a call", exc_info=True)
            self._publish("status", {"text": f"Not diagnosed: {error}"})

    async def refuse(self, why: str) -> None:
        """Say why there is no call to be seen."""
        self._outgoing.put_nowait(packed("status", {"text": why, "failed": True}))
        await self._outgoing.join()
        await self._websocket.close(_NO_CALL)

    async def close(self) -> None:
        """Let go of all of it."""
        for task in (self._sender, self._diagnosing):
            if task is not None:
                task.cancel()
        if self._widget is not None:
            await self._loop.run_in_executor(self._worker, self._widget.close)
        self._worker.shutdown(wait=False)

    def _publish(self, kind: str, data: dict[str, Any], buffers: Any = ()) -> None:
        message = packed(kind, data, buffers)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._outgoing.put_nowait, message)

    async def _send(self) -> None:
        while True:
            message = await self._outgoing.get()
            try:
                await self._websocket.send_bytes(message)
            except (RuntimeError, WebSocketDisconnect):
                return  # the page is gone: whoever reads from it is told
            finally:
                self._outgoing.task_done()


@cache
def _names() -> frozenset[str]:
    return frozenset({"timeline.js", "timeline.css", "looks.css"}) | {
        path.name for path in _PAGE.iterdir() if path.suffix in _TYPES
    }


@cache
def _file(name: str) -> str:
    """A script, a style or the page itself."""
    if name == "timeline.js":
        return str(CallTimeline._esm)
    if name == "timeline.css":
        return str(CallTimeline._css)
    if name == "looks.css":
        night = f"@media (prefers-color-scheme: dark) {{ :root {{ {css_variables(night=True)} }} }}"
        return f":root {{ {css_variables()} }}\n{night}\n"
    return (_PAGE / name).read_text("utf-8")
