"""A pytest plugin: a simulated phone call to a bot, as a test of it.

It is there where the package is installed with its extra ``workbench``. The fixture
:func:`bandwidth_call` places a call and gives back what the caller heard and what the bot recorded::

    def test_the_bot_answers_and_hangs_up(bandwidth_call):
        from bot import app  # here, so that its Voice API is the simulated one

        call = bandwidth_call(app, "question.wav")
        assert call.simulated.ended_by == "hang up"
        assert not call.findings.failures("error")

While a test has the fixture, ``BANDWIDTH_VOICE_URL`` and ``BANDWIDTH_TOKEN_URL`` name a simulated
Voice API that takes any credentials, so that no test ends a real call.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import pytest

# Nothing of this package: pytest imports a plugin whether or not a test needs it.
if TYPE_CHECKING:
    from workbench.call import Call
    from workbench.diagnosis import Findings
    from workbench.simulator import Script, SimulatedCall

__all__ = ["BandwidthCall", "bandwidth_call"]

#: How long a capture may take to be finished after its call: the tap waits 2 s for late records.
_FINISH_SECS: Final = 5.0

T = TypeVar("T")


@dataclass(frozen=True)
class BandwidthCall:
    """One call to a bot, from both its sides.

    Parameters:
        simulated: What truly happened at the far end.
        capture: What the bot's tap recorded of it; ``None`` if nothing is found.
        captures: Where that was looked for.
    """

    simulated: SimulatedCall
    capture: Path | None
    captures: Path

    @functools.cached_property
    def call(self) -> Call:
        """The capture, opened.

        Raises:
            ValueError: If there is none.
        """
        from workbench.call import Call

        if self.capture is None:
            raise ValueError(
                f"no capture of {self.simulated.call_id} in {self.captures}/: put a Tap round the "
                "bot's serializer, and give the folder that it writes to as captures="
            )
        return Call.open(self.capture)

    @functools.cached_property
    def findings(self) -> Findings:
        """What is wrong with it, worst first; see :attr:`call`."""
        from workbench.diagnosis import diagnose

        return diagnose(self.call)


class Place(Protocol):
    """What the fixture is: places a call."""

    def __call__(
        self,
        app_or_url: Any,
        script: Script | str | Path | None = None,
        *,
        path: str = "/webhook",
        captures: str | Path = "captures",
        **options: Any,
    ) -> BandwidthCall:
        """Call a bot, to the end of the call.

        Args:
            app_or_url: An ASGI application, which is served on loopback in a thread of its own; or
                the address of the voice webhook of a server that runs.
            script: What the caller says: a script or its file, or a sound file that is said after
                the bot has spoken. The short demo call by default.
            path: Where an application takes the webhook.
            captures: The folder that the bot's tap writes to.
            options: Others of :func:`workbench.simulate`: ``username``, ``password``, ``line``,
                ``max_secs``.

        Raises:
            SimulationError: If the call failed; it names the step and what came back.
        """


@pytest.fixture
def bandwidth_call(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Place simulated calls to a bot; see :class:`Place`."""
    from workbench.simulator import Route, VoiceAPIServer, simulate

    with _background() as run:
        server = run(VoiceAPIServer(any_client=True).__aenter__())
        monkeypatch.setenv("BANDWIDTH_VOICE_URL", server.base_url)
        monkeypatch.setenv("BANDWIDTH_TOKEN_URL", server.token_url)

        def place(
            app_or_url: Any,
            script: Script | str | Path | None = None,
            *,
            path: str = "/webhook",
            captures: str | Path = "captures",
            **options: Any,
        ) -> BandwidthCall:
            said, folder = _script(script), Path(captures)
            before = set(folder.glob("*.mcap*"))
            with contextlib.ExitStack() as stack:
                url = app_or_url
                if not isinstance(app_or_url, str):
                    root = stack.enter_context(_served(app_or_url))
                    url = f"http://{root}{path}"
                    options = {"route": Route(f"ws://{root}")} | options
                simulated = run(simulate(url, said, voice_api=server, **options))
                capture = _finished(folder, simulated.call_id, before)
            return BandwidthCall(simulated, capture, folder)

        try:
            yield place
        finally:
            run(server.__aexit__(None, None, None))


def _script(script: Script | str | Path | None) -> Script:
    from workbench.demo import samples
    from workbench.simulator import Script

    if isinstance(script, Script):
        return script
    file = samples() / "call" / "demo.json" if script is None else Path(script)
    return Script.load(file) if file.suffix == ".json" else Script.spoken(file)


def _finished(folder: Path, call_id: str, before: set[Path]) -> Path | None:
    """The capture of a call, once it is finished; as it is after :data:`_FINISH_SECS`.

    A tap names a file after the beginning of the call's id, if the serializer has it.
    """
    names = f"*_{call_id[:6]}*.mcap", "*_call*.mcap"
    deadline = time.monotonic() + _FINISH_SECS
    while True:
        begun = [file for name in names for file in sorted(folder.glob(f"{name}.part"))]
        # After those that have begun: a tap may rename one meanwhile.
        finished = [file for name in names for file in sorted(folder.glob(name))]
        new = [file for file in (*finished, *begun) if file not in before]
        writing = bool(new) and all(file.suffix == ".part" for file in new)
        if not writing or time.monotonic() > deadline:
            return new[0] if new else None
        time.sleep(0.05)


@contextlib.contextmanager
def _background() -> Iterator[Callable[[Coroutine[Any, Any, T]], T]]:
    """Run coroutines on an event loop of its own: a test may have one, or none."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="bandwidth", daemon=True)
    thread.start()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def _served(app: Any) -> Iterator[str]:
    """Serve an application on loopback, in a thread: what blocks there does not hold up the caller.

    Yields:
        ``HOST:PORT``.
    """
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_config=None, access_log=False, ws="websockets-sansio", ws_ping_interval=None,
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="bot", daemon=True
    )
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
