"""A call that is being recorded is read on, and told as if it had been opened anew."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.captures import SAMPLES, Scene, speech
from workbench.call import SIGNALS, Call
from workbench.call.following import Following
from workbench.capture import CaptureReader
from workbench.exceptions import CaptureError

SAMPLE = SAMPLES / "captures" / "choppy.mcap"  # recorded: a chunk a second


def same(one: Call, other: Call) -> None:
    assert (one.duration, one.anchor_ns, one.events) == (
        other.duration,
        other.anchor_ns,
        other.events,
    )
    assert (one.finished, one.metadata, one.unrecorded) == (
        other.finished, other.metadata, other.unrecorded,
    )  # fmt: skip
    for name in SIGNALS:
        assert np.array_equal(one.signal(name).samples, other.signal(name).samples), name


@pytest.fixture
def growing(tmp_path: Path) -> Path:
    return tmp_path / "call.mcap.part"


def grow(path: Path, share: float, source: Path = SAMPLE) -> None:
    data = source.read_bytes()
    with path.open("ab") as file:
        file.write(data[file.tell() : int(share * len(data))])


def test_each_look_tells_what_opening_it_anew_would(growing: Path) -> None:
    grow(growing, 0.05)
    following = Following(growing)
    for share in (0.05, 0.3, 0.3001, 0.55, 0.9):  # cuts fall inside of chunks
        grow(growing, share)
        same(following.call(), Call.open(growing))
    grow(growing, 1.0)
    os.rename(growing, growing.with_suffix(""))
    call = following.call()
    assert call.finished and call.path.name == "call.mcap"
    same(call, Call.open(growing.with_suffix("")))
    assert following.call() is call


def test_nothing_is_read_twice(growing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    block = CaptureReader._read_block
    monkeypatch.setattr(
        CaptureReader, "_read_block", lambda self, b: read.append(b.head.offset) or block(self, b)
    )
    grow(growing, 0.6)
    following = Following(growing)
    before = following.call()
    assert following.call() is before
    first = set(read)
    read.clear()
    grow(growing, 0.8)
    assert following.call().duration > before.duration
    assert read and not first & set(read)


def test_what_belongs_before_is_taken_by_reading_anew(growing: Path, tmp_path: Path) -> None:
    """A bot that begins to read late: the burst moves the call's zero."""
    scene = Scene(6.0)
    scene.say_caller(1.0, speech("caller/c02"))
    scene.stall_caller(0.0, 3.0)
    whole = scene.write(tmp_path / "burst.mcap")
    following = None
    for share in np.linspace(0.1, 0.95, 6):
        grow(growing, share, whole)
        following = following or Following(growing)
        try:
            anew = Call.open(growing)
        except CaptureError:
            with pytest.raises(CaptureError):
                following.call()
            continue
        same(following.call(), anew)
