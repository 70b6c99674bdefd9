"""The server of `workbench view`: who gets in, and what it answers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import websockets
import websockets.sync.client

from tests.captures import Scene, speech
from tests.viewing import HOLE, HOSTILE, served, shown_calls
from workbench.notes import Notes
from workbench.surveys import survey
from workbench.view.entry import Entry
from workbench.view.serving import Server
from workbench.view.shelf import Shelf
from workbench.workers import Here


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shown_calls(tmp_path_factory.mktemp("view"))


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with served(folder) as server:
        yield server


def told(server: Server) -> dict[str, dict[str, Any]]:
    calls = httpx.get(server.address + "calls").json()["calls"]
    return {call["name"]: call for call in calls}


def id_of(folder: Path, name: str) -> str:
    return Entry(str(folder / name)).id


# -- who gets in -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "calls", "page/view.js", "call/0/about"])
def test_nothing_is_told_without_the_token(server: Server, path: str) -> None:
    host = server.address.rsplit("/", 2)[0]
    token = server.address.split("/")[3]
    for wrong in ("", f"{token[:-1]}/", f"{token}x/", f"{token[:-1]}é/"):
        answer = httpx.get(f"{host}/{wrong}{path}")
        assert answer.status_code == 403, wrong
        assert "captures" not in answer.text


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", 200), ("localhost:9000", 200), ("evil.example", 403), ("127.0.0.1.evil.example", 403),
     ("", 403), ("[", 403), ("127.0.0.1; script-src *", 403), ("user@127.0.0.1", 403)],
)  # fmt: skip
def test_a_name_that_leads_here_is_not_enough(server: Server, host: str, status: int) -> None:
    assert httpx.get(server.address, headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    "path",
    ["page/../guard.py", "page/..%2fguard.py", "page/%2e%2e%2fguard.py", "page//etc/passwd",
     "call/..%2f..%2fetc%2fpasswd/about", "call/bad.mcap/notes.txt", "page/view.html"],
)  # fmt: skip
def test_no_path_is_taken_from_outside(server: Server, path: str) -> None:
    assert httpx.get(server.address + path).status_code == 404


def test_a_page_may_load_and_reach_this_server_alone(server: Server) -> None:
    headers = httpx.get(server.address).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


async def opened(url: str, origin: str | None) -> int:
    """The status that a WebSocket is answered with."""
    try:
        async with websockets.connect(url, origin=origin):
            return 101
    except websockets.InvalidStatus as error:
        return error.response.status_code


async def test_a_web_socket_is_opened_by_an_own_page_only(server: Server, folder: Path) -> None:
    url = f"{server.address}call/{id_of(folder, 'good.mcap')}/timeline".replace("http:", "ws:")
    own = "http://" + server.address.split("/")[2]
    assert await opened(url, own) == 101
    for other in ("http://evil.example", own.replace("http:", "https:"), None):
        assert await opened(url, other) == 403
    assert await opened(url.replace(server.address.split("/")[3], "token"), own) == 403


# -- what it answers -------------------------------------------------------------------------------


def test_the_list_ranks_calls_by_harm_and_names_what_is_broken(server: Server) -> None:
    calls = told(server)
    assert {name: call["state"] for name, call in calls.items()} == {
        "bad.mcap": "known", "good.mcap": "known", "broken.mcap": "broken",
    }  # fmt: skip
    bad = calls["bad.mcap"]
    assert bad["worst_kind"] == "underrun" and bad["harm"] > calls["good.mcap"]["harm"]
    assert bad["labels"] == {"release": "1.4", "note": HOSTILE}
    assert calls["broken.mcap"]["problem"] == "not an MCAP file"
    every = httpx.get(server.address + "calls").json()
    assert (
        every["sentence"].startswith("2 calls on ")
        and "1 capture was not usable" in every["sentence"]
    )
    later = httpx.get(f"{server.address}calls?after={every['revision']}").json()
    assert later["calls"] == []


def test_a_call_is_told_with_all_that_was_found(server: Server, folder: Path) -> None:
    about = httpx.get(f"{server.address}call/{id_of(folder, 'bad.mcap')}/about").json()
    assert about["capture"] == str(folder / "bad.mcap")
    worst = about["found"][0]
    assert (worst["kind"], worst["side"]) == ("underrun", "bot")
    assert worst["start"] == pytest.approx(HOLE[0], abs=0.1)


def test_notes_are_handed_out_as_labels(server: Server, folder: Path) -> None:
    notes = Notes(folder / "good.mcap")
    note = notes.write(1.0, 2.0, "listen")
    try:
        answer = httpx.get(f"{server.address}call/{id_of(folder, 'good.mcap')}/notes.txt")
    finally:
        notes.remove(note.id)
    assert answer.text == "1.000000\t2.000000\tlisten\n"
    assert 'filename="good.mcap.notes.txt"' in answer.headers["content-disposition"]


def unpacked(message: bytes) -> tuple[str, Any, list[bytes]]:
    (length,) = struct.unpack_from("<I", message)
    head = json.loads(message[4 : 4 + length])
    buffers, at = [], 4 + length
    for size in head["lengths"]:
        buffers.append(message[at : at + size])
        at += size
    assert at == len(message)
    return head["type"], head["data"], buffers


async def test_the_widget_of_a_notebook_answers_over_the_socket(
    server: Server, folder: Path
) -> None:
    url = f"{server.address}call/{id_of(folder, 'bad.mcap')}/timeline".replace("http:", "ws:")
    origin = "http://" + server.address.split("/")[2]
    async with asyncio.timeout(60), websockets.connect(url, origin=origin) as socket:
        state: dict[str, Any] = {}
        while True:
            kind, data, buffers = unpacked(await socket.recv())
            if kind in ("comm_open", "comm_msg"):
                for path, buffer in zip(data.get("buffer_paths", ()), buffers, strict=True):
                    data["state"][path[0]] = buffer
                state |= data["state"]
            if kind == "display":
                break
        assert "_esm" not in state and state["_contents"]["duration"] == pytest.approx(8.0, abs=0.1)
        assert state["_overview"]
        asked = {"ask": "1", "kind": "sound", "side": "bot", "choice": "caller_heard", "chunk": 0,
                 "speed": 1.0}  # fmt: skip
        await socket.send(json.dumps({"method": "custom", "content": asked}))
        while True:
            kind, data, buffers = unpacked(await socket.recv())
            if kind == "comm_msg" and data["method"] == "custom":
                break
        sound = np.frombuffer(buffers[0], "<i2")
        assert data["content"]["ask"] == "1" and len(sound) == 4 * 24000
        assert np.abs(sound).max() > 1000


async def test_a_call_that_is_not_there_is_said(server: Server) -> None:
    url = f"{server.address}call/0123456789ab/timeline".replace("http:", "ws:")
    origin = "http://" + server.address.split("/")[2]
    async with asyncio.timeout(30), websockets.connect(url, origin=origin) as socket:
        _, data, _ = unpacked(await socket.recv())
        while not data.get("failed"):
            _, data, _ = unpacked(await socket.recv())
    assert data["text"] == "There is no such call here."


# -- the shelf -------------------------------------------------------------------------------------


def test_what_a_data_set_knows_is_not_opened_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "calls.parquet"
    survey(folder / "bad.mcap", out=out, executor=Here())

    class Refusing(Here):
        def submit(self, fn, /, *args, **kwargs):
            assert "bad.mcap" not in args[0]
            return super().submit(fn, *args, **kwargs)

    with served(out) as alone:
        row = told(alone)["bad.mcap"]
    assert row["state"] == "known" and row["labels"]["release"] == "1.4"
    assert [kind["kind"] for kind in row["kinds"]][0] == "underrun"
    with Shelf([folder, out], Refusing()) as shelf:
        shelf.wait_for_list()
        while shelf.told()["waiting"]:
            pass
        assert {call["state"] for call in shelf.told()["calls"]} == {"known", "broken"}


def test_a_recording_appears_and_keeps_its_id_when_it_is_finished(tmp_path: Path) -> None:
    scene = Scene(4.0)
    scene.say_bot(0.5, speech("bot/b02"))
    part = scene.write(tmp_path / "live.mcap", finish=False)
    with Shelf([tmp_path], Here(), every_secs=0.05) as shelf:
        shelf.wait_for_list()
        (before,) = shelf.told()["calls"]
        assert (before["name"], before["state"]) == ("live.mcap", "recording")
        assert part.name == "live.mcap.part"
        revision = shelf.told()["revision"]
        (tmp_path / "live.mcap.part").rename(tmp_path / "live.mcap")
        while (after := shelf.told(revision))["waiting"] or not after["calls"]:
            pass
        assert [(call["id"], call["state"]) for call in after["calls"]] == [(before["id"], "known")]
        (tmp_path / "live.mcap").unlink()
        while not (gone := shelf.told(revision)["gone"]):
            pass
        assert gone == [before["id"]] and not shelf.told()["calls"]


# -- the command -----------------------------------------------------------------------------------


@pytest.mark.slow  # it starts a process, which is the point
def test_the_command_prints_an_address_and_ends_with_ctrl_c(folder: Path) -> None:
    command = [sys.executable, "-m", "workbench", "view", str(folder / "good.mcap"), "--no-browser"]
    command += ["--at", "1.5", "--finding", "1"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=env, **pipes)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("Calls: ").strip()
        assert address.endswith(f"/call/{id_of(folder, 'good.mcap')}#t=1.50&finding=1")
        with websockets.sync.client.connect(
            address.partition("#")[0].replace("http:", "ws:") + "/timeline",
            origin="http://" + address.split("/")[2],
        ) as socket:
            assert socket.recv()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, said) == (0, "")
