"""A JupyterLab server of its own: no settings, no history and no extensions of the person's."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import Page

START_SECS = 60


class Lab:
    """JupyterLab over a folder.

    Attributes:
        folder: What it serves; notebooks are written there.
    """

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._token = secrets.token_hex(8)
        settings = scratch / "settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        quiet = '{"fetchNews": "false", "checkForUpdates": false, "doNotDisturbMode": true}'
        (settings / "notification.jupyterlab-settings").write_text(quiet)
        root = Path(__file__).parent.parent.parent
        environment = os.environ | {
            "JUPYTER_CONFIG_DIR": str(scratch / "config"),
            "JUPYTER_DATA_DIR": str(scratch / "data"),
            "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(scratch / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(scratch / "workspaces"),
            "IPYTHONDIR": str(scratch / "ipython"),
            "PYTHONPATH": str(root),
        }
        command = [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
            f"--port={self._port}", "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={self._token}", f"--ServerApp.root_dir={folder}",
            "--LabApp.news_url=None", "--LabApp.extension_manager=readonly",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--expose-app-in-browser",
        ]  # fmt: skip
        self.log = scratch / "lab.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self._wait()

    def _wait(self) -> None:
        address = f"http://127.0.0.1:{self._port}/api/status?token={self._token}"
        give_up = time.monotonic() + START_SECS
        while time.monotonic() < give_up and self._process.poll() is None:
            try:
                with urllib.request.urlopen(address, timeout=2):
                    return
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.1)
        self.close()
        raise RuntimeError(f"JupyterLab did not start:\n{self.log.read_text()}")

    def write(self, name: str, *cells: str) -> None:
        """Write a notebook of code cells."""
        import nbformat  # two seconds, of each worker

        notebook = nbformat.v4.new_notebook()
        notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        notebook.metadata["kernelspec"] = {
            "name": "python3", "language": "python", "display_name": "Python 3",
        }  # fmt: skip
        nbformat.write(notebook, self.folder / name)

    def run(self, page: Page, name: str) -> None:
        """Open a notebook, run all its cells and wait for the end."""
        self.open(page, name)
        self.command(page, "notebook:run-all-cells")

    def open(self, page: Page, name: str) -> None:
        """Open a notebook and wait until its kernel is up."""
        self.look_at(page, name)
        # Cells that are run before the kernel is up open a dialog instead.
        idle = "/\\| Idle/.test(document.querySelector('#jp-main-statusbar')?.textContent ?? '')"
        page.wait_for_function(idle, timeout=60_000)

    def look_at(self, page: Page, name: str) -> None:
        """Open a notebook and wait until its cells are there."""
        workspace = secrets.token_hex(4)
        address = f"http://127.0.0.1:{self._port}/lab/workspaces/{workspace}/tree/{name}"
        page.goto(f"{address}?token={self._token}")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)

    def command(self, page: Page, name: str, *, wait: bool = True) -> None:
        """Have JupyterLab carry out one of its commands, and wait until it is done."""
        script = f"window.jupyterapp.commands.execute('{name}')"
        page.evaluate(script if wait else f"() => {{ {script}; }}")

    def close(self) -> None:
        """Stop the server and its kernels."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
