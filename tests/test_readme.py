"""What the README says works as it stands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pipecat_bandwidth import BandwidthFrameSerializer
from workbench.call import Call
from workbench.findings import diagnose
from workbench.tap import Tap

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_two_commands_are_on_the_first_screen() -> None:
    head = README.splitlines()[:12]
    assert [line.split("#")[0].strip() for line in head if line.startswith("make ")] == [
        "make demo",
        "make test",
    ]
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^demo:", makefile, re.MULTILINE)
    assert re.search(r"^test:", makefile, re.MULTILINE)


def test_links_and_pictures_exist() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets
    for target in targets:
        if "://" not in target:
            assert (ROOT / target).is_file(), target


async def test_the_bots_lines_make_a_serializer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BANDWIDTH_CLIENT_ID", "id")
    monkeypatch.setenv("BANDWIDTH_CLIENT_SECRET", "secret")
    BandwidthFrameSerializer.InputParams(outbound_encoding="PCM").save("tuned.json")
    names = {"stream_id": "s-1", "call_id": "c-1", "account_id": "99"}
    exec(compile(BLOCKS[0], "README", "exec"), names)  # the README is ours
    serializer = names["serializer"]
    assert isinstance(serializer, Tap)
    assert serializer.stream_id == "s-1"
    serializer.close()


def test_the_notebook_lines_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "sample_audio" / "captures", tmp_path / "sample_audio" / "captures")
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[1], "README", "exec"), {})  # the README is ours
    printed = capsys.readouterr().out
    assert "underrun" in printed
    assert "G.711" in printed
    params = BandwidthFrameSerializer.InputParams.load("tuned.json")
    assert params.outbound_encoding == "PCMU"


def test_the_diagnosis_is_what_diagnose_says() -> None:
    shown = README.partition("\n```\nerror ")[2].partition("```")[0]
    worst = diagnose(Call.open(ROOT / "sample_audio" / "captures" / "choppy.mcap"))[0]
    text = " ".join(shown.split())
    for told in (worst.title, worst.when, worst.measurement, worst.cause, worst.remedy):
        assert told in text


def test_the_defaults_are_those_of_the_table() -> None:
    fields = BandwidthFrameSerializer.InputParams.model_fields
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", README, re.MULTILINE)
    assert {name for name, _ in rows} == set(fields) - {"ignore_rtvi_messages"}
    for name, default in rows:
        assert repr(fields[name].default).replace("'", '"') == default
