"""A folder of calls, shown by a real server of this machine: one bad call, one good, one broken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from tests.captures import Scene, changed, speech
from workbench.view.serving import Server
from workbench.view.shelf import Shelf
from workbench.workers import Here

#: What a stranger may call a file, or a label.
HOSTILE = "<img src=x onerror='window.hacked = 1'>"
#: Where the bad call has its one hole, and how long it is.
HOLE = 2.0, 0.3


def shown_calls(folder: Path) -> Path:
    """Write the calls into a folder that is made."""
    made, folder = folder, folder / "captures"
    folder.mkdir(parents=True)
    bad = Scene(8.0)
    bad.say_bot(0.5, speech("bot/b02"))
    bad.hole(*HOLE)
    bad.say_caller(5.5, speech("caller/c02"))
    bad.lose(6.0, 15)
    good = Scene(6.0)
    good.say_bot(0.5, speech("bot/b02"))
    good.say_caller(4.0, speech("caller/c02"))
    for name, scene, labels in (
        ("bad", bad, {"release": "1.4", "note": HOSTILE}),
        ("good", good, {"release": "1.3"}),
    ):
        plain = scene.write(made / f"{name}.mcap")
        changed(plain, folder / f"{name}.mcap", labels=labels)
    (folder / "broken.mcap").write_bytes(b"no capture")
    return folder


@contextmanager
def served(*captures: Path) -> Iterator[Server]:
    """Serve calls; its ``shelf`` is diagnosed."""
    with Shelf(captures, Here(), every_secs=0.2) as shelf:
        server = Server(shelf)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            until = monotonic() + 60
            shelf.wait_for_list()
            while shelf.told()["waiting"] and monotonic() < until:
                sleep(0.05)
            yield server
        finally:
            server.should_exit = True
            thread.join()
