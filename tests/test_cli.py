"""The commands as a shell sees them: what is printed, and the exit code."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

from pipecat_bandwidth import BandwidthFrameSerializer
from tests.captures import Scene, speech
from workbench import cli
from workbench.cli import main
from workbench.detectors.titles import TITLES

SAMPLE = Path(__file__).parent.parent / "sample_audio"
CAPTURE = SAMPLE / "captures" / "demo.mcap"


class Run(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def workbench(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Run]:
    def run(*arguments: object, columns: int = 160) -> Run:
        monkeypatch.setattr(sys, "argv", ["workbench", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", str(columns))
        for console in (cli.out, cli.err):  # which may have read COLUMNS when they were made
            monkeypatch.setattr(console, "_width", columns)
        with pytest.raises(SystemExit) as exit_:
            main()
        printed = capsys.readouterr()
        return Run(int(exit_.value.code or 0), printed.out, printed.err)

    return run


@pytest.mark.parametrize(
    "command",
    ["demo", "simulate", "summary", "diagnose", "compare", "tune", "replay", "report", "export"],
)
def test_every_command_explains_itself(workbench: Callable[..., Run], command: str) -> None:
    run = workbench(command, "--help")
    assert run.code == 0
    assert len(run.out.splitlines()) > 5


def test_without_a_command_there_is_help(workbench: Callable[..., Run]) -> None:
    run = workbench()
    assert "diagnose" in run.out + run.err


@pytest.mark.parametrize("command", ["summary", "diagnose", "compare", "tune", "replay", "report"])
@pytest.mark.parametrize("what", ["missing", "empty", "foreign", "cut to the head", "folder"])
def test_what_is_not_a_capture_is_one_line_and_code_2(
    workbench: Callable[..., Run], tmp_path: Path, command: str, what: str
) -> None:
    path = tmp_path / "call.mcap"
    if what == "empty":
        path.touch()
    elif what == "foreign":
        path.write_bytes(b"RIFF....WAVE" * 100)
    elif what == "cut to the head":
        path.write_bytes(CAPTURE.read_bytes()[:20])
    elif what == "folder":
        path.mkdir()
    run = workbench(command, path)
    assert run.code == 2
    assert "call.mcap" in run.err
    assert "Traceback" not in run.out + run.err
    assert len(run.err.strip().splitlines()) <= 2


@pytest.mark.parametrize("command", ["summary", "tune"])
def test_of_a_folder_a_capture_is_asked_for(
    workbench: Callable[..., Run], tmp_path: Path, command: str
) -> None:
    assert workbench(command, tmp_path).err.strip().endswith(f"such as {tmp_path / '*.mcap'}")


@pytest.mark.parametrize("name", ["missing.wav", "text.wav", "empty.flac", "missing.flac"])
@pytest.mark.parametrize("option", [(), ("--recording",)])
def test_what_is_no_sound_is_one_line_and_code_2(
    workbench: Callable[..., Run], tmp_path: Path, name: str, option: tuple[str, ...]
) -> None:
    path = tmp_path / name
    if "missing" not in name:
        path.write_text("some text" * name.count("text"))
    run = workbench("compare", *((CAPTURE, *option, path) if option else (path,)))
    assert run.code == 2
    assert run.err.startswith(f"workbench: {path}: ") and len(run.err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("tune", CAPTURE, "-o"),
        ("diagnose", CAPTURE, "--junit"),
        ("compare", CAPTURE, "--csv"),
        ("compare", CAPTURE, "--picture"),
        ("export", CAPTURE, "-o"),
    ],
    ids=lambda arguments: " ".join(arguments[::2]),
)
def test_where_nothing_can_be_written_no_work_is_done(
    workbench: Callable[..., Run], tmp_path: Path, arguments: tuple[object, ...]
) -> None:
    path = tmp_path / "missing" / "file.png"
    run = workbench(*arguments, path)
    assert run == Run(2, "", f"workbench: {path}: no such folder\n")


def test_an_error_of_the_system_names_its_file(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    path = tmp_path / "missing.json"
    run = workbench("replay", CAPTURE, "--params", path)
    assert run == Run(2, "", f"workbench: {path}: {os.strerror(2)}\n")


def test_one_demo_is_played_at_a_time(workbench: Callable[..., Run]) -> None:
    run = workbench("demo", "--full", "--choppy")
    assert run == Run(2, "", "workbench: --full and --choppy are two calls; give one\n")


def test_options_of_compare_that_do_not_fit_are_refused(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    run = workbench("compare", CAPTURE, "--picture", tmp_path / "p.docx")
    assert run.code == 2 and "ends in .png" in run.err
    assert not (tmp_path / "p.docx").exists()
    run = workbench("compare", CAPTURE, "--channel", 1)
    assert run.code == 2 and "--recording" in run.err


def test_one_channel_of_a_wav_is_compared(workbench: Callable[..., Run], tmp_path: Path) -> None:
    """The bot in the second channel, nothing in the first."""
    voice = speech("bot/b01").samples
    stereo = tmp_path / "both.wav"
    soundfile.write(stereo, np.stack([np.zeros_like(voice), voice], axis=1), 24000)
    run = workbench("compare", stereo)
    assert run == Run(2, "", f"workbench: {stereo} has 2 channels, choose channel 0 to 1\n")
    run = workbench("compare", stereo, "--channel", 1)
    assert run.code == 0 and "PCM 16 kHz" in run.out


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_capture_of_somebody_elses_is_refused_in_one_line(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    path = Path(shutil.copy(CAPTURE, tmp_path / "call.mcap"))
    path.chmod(0)
    for command in ("summary", "diagnose", "compare", "tune"):
        run = workbench(command, path)
        assert run.code == 2 and len(run.err.splitlines()) == 1 and str(path) in run.err


def test_what_is_made_of_a_call_is_for_its_owner_alone(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    assert workbench("report", CAPTURE, "--no-audio", "-o", tmp_path / "r.html").code == 0
    assert workbench("export", CAPTURE, "-o", tmp_path / "all").code == 0
    made = [tmp_path / "r.html", *(tmp_path / "all").iterdir()]
    assert len(made) >= 5
    assert {path.stat().st_mode & 0o777 for path in made} == {0o600}


def test_a_capture_that_was_finished_meanwhile_is_found(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    shutil.copy(CAPTURE, tmp_path / "call.mcap")
    run = workbench("summary", tmp_path / "call.mcap.part")
    assert run.code == 0 and "call.mcap" in run.out
    assert workbench("summary", tmp_path / "other.mcap.part").code == 2


def test_sentences_break_between_words_and_facts_not_at_all(
    workbench: Callable[..., Run],
) -> None:
    from workbench.call import Call
    from workbench.rerun import same

    call = Call.open(CAPTURE)
    sentence, *facts = call.summary().splitlines()
    printed = workbench("summary", CAPTURE, columns=50).out.splitlines()
    wrapped, whole = printed[: -len(facts)], printed[-len(facts) :]
    assert whole == facts and max(map(len, facts)) > 50
    replayed = workbench("replay", CAPTURE, columns=50).out.splitlines()
    for lines, said in ((wrapped, sentence), (replayed, str(same(call)))):
        assert len(lines) > 1 and max(map(len, lines)) <= 50
        assert " ".join(map(str.strip, lines)) == said


def test_a_cut_capture_is_read_as_far_as_it_goes(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    whole = CAPTURE.read_bytes()
    path = tmp_path / "cut.mcap"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    run = workbench("summary", path, "--json")
    assert run.code == 0
    summary = json.loads(run.out)
    assert not summary["finished"]
    assert (
        3
        < summary["duration"]
        < json.loads(workbench("summary", CAPTURE, "--json").out)["duration"]
    )


def test_diagnose_prints_a_table_or_json(workbench: Callable[..., Run]) -> None:
    found = json.loads(workbench("diagnose", CAPTURE, "--json").out)
    table = workbench("diagnose", CAPTURE)
    assert table.code == 0
    for finding in found:
        assert finding["kind"] in table.out
        assert TITLES[finding["kind"]] in table.out
        assert finding["remedy"] and finding["cause"] and finding["unit"]


def test_fail_on_gates(workbench: Callable[..., Run]) -> None:
    severities = {f["severity"] for f in json.loads(workbench("diagnose", CAPTURE, "--json").out)}
    for level, reached in {
        "info": bool(severities),
        "warning": bool(severities & {"warning", "error"}),
        "error": "error" in severities,
        "never": False,
    }.items():
        assert workbench("diagnose", CAPTURE, "--fail-on", level).code == int(reached), level


def test_against_a_baseline_only_what_got_worse_fails(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    junit = tmp_path / "j.xml"
    run = workbench(
        "diagnose", CAPTURE, "--baseline", CAPTURE, "--fail-on", "info", "--junit", junit
    )
    assert run.code == 0
    assert "Against the baseline" in run.out
    suite = ElementTree.parse(junit).getroot()
    assert suite.find(".//testcase[@name='sequence_gap']") is not None
    assert suite.find(".//failure") is None
    assert workbench("diagnose", CAPTURE, "--fail-on", "warning", "--junit", junit).code == 1
    assert ElementTree.parse(junit).getroot().find(".//failure") is not None


def test_replay_tells_the_same_from_another(workbench: Callable[..., Run], tmp_path: Path) -> None:
    assert workbench("replay", CAPTURE, "--assert-same").code == 0
    other = tmp_path / "other.json"
    BandwidthFrameSerializer.InputParams(outbound_encoding="PCM").save(other)
    run = workbench("replay", CAPTURE, "--params", other, "--assert-same")
    assert run.code == 1
    assert "Not the same" in run.out


@pytest.mark.parametrize("kind", ["wav", "flac", "pcap", "labels", "csv"])
def test_export_writes_each_kind(workbench: Callable[..., Run], tmp_path: Path, kind: str) -> None:
    run = workbench("export", CAPTURE, "-o", tmp_path, "--format", kind)
    assert run.code == 0
    written = [Path(line) for line in run.out.split()]
    assert written and all(path.stat().st_size > 100 for path in written)


def test_a_carriers_recording_tells_the_leg(workbench: Callable[..., Run], tmp_path: Path) -> None:
    from workbench.call import Call

    call = Call.open(CAPTURE)
    call.caller_heard.write(tmp_path / "carrier.wav")
    run = workbench("compare", CAPTURE, "--recording", tmp_path / "carrier.wav")
    assert run.code == 0
    assert "recording" in run.out and "G.711" in run.out


def test_compare_takes_a_capture_or_a_file_of_speech(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    voice = SAMPLE / "bot_voices" / "bot_af_heart_24k.flac"
    for source in (CAPTURE, voice):
        run = workbench(
            "compare", source, "--csv", tmp_path / "t.csv", "--picture", tmp_path / "p.png"
        )
        assert run.code == 0
        assert "PCMU" in run.out and "G.711" in run.out
        assert (tmp_path / "t.csv").read_text().count("\n") >= 9
        assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_tune_exports_what_the_bot_loads(workbench: Callable[..., Run], tmp_path: Path) -> None:
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(b"nothing")
    run = workbench("tune", CAPTURE, broken, "-o", tmp_path / "tuned.json")
    assert run.code == 0
    assert "broken.mcap" in run.err and "1 of 2" in run.out
    params = BandwidthFrameSerializer.InputParams.load(tmp_path / "tuned.json")
    assert params.outbound_encoding == "PCMU"


def test_report_is_one_file_without_ids(workbench: Callable[..., Run], tmp_path: Path) -> None:
    from workbench.call import Call

    run = workbench("report", CAPTURE, "-o", tmp_path / "out" / "r.html")
    assert run.code == 0
    page = (tmp_path / "out" / "r.html").read_text()
    assert Call.open(CAPTURE).metadata["call"]["call_id"] not in page
    assert "http://" not in page and "https://" not in page
    assert page.count("<audio") >= 4
    silent = tmp_path / "silent.html"
    assert workbench("report", CAPTURE, "-o", silent, "--no-audio").code == 0
    assert "<audio" not in silent.read_text()
    assert "data:audio" not in silent.read_text()


def test_a_call_in_which_the_bot_was_silent_has_a_report(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    scene = Scene(10.0)
    scene.say_caller(1.0, speech("caller/c05"))
    path = scene.write(tmp_path / "silent.mcap")
    found = json.loads(workbench("diagnose", path, "--json").out)
    run = workbench("report", path, "-o", tmp_path / "r.html")
    assert run.code == 0 and "The bot said nothing" in run.out
    page = (tmp_path / "r.html").read_text()
    assert found and all(finding["kind"] in page for finding in found)


def test_a_report_that_fails_otherwise_is_not_written(
    workbench: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("out of order")

    monkeypatch.setattr("workbench.comparison.compare", broken)
    run = workbench("report", CAPTURE, "-o", tmp_path / "r.html")
    assert run == Run(2, "", "workbench: out of order\n")
    assert not (tmp_path / "r.html").exists()


def test_a_server_that_is_not_there_is_one_line(workbench: Callable[..., Run]) -> None:
    run = workbench("simulate", "http://127.0.0.1:9/webhook")
    assert run.code == 2
    assert "webhook" in run.err and "127.0.0.1:9" in run.err
    assert "Traceback" not in run.err
