"""The commands as a shell sees them: what is printed, and the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
import soundfile
from fastapi import FastAPI, Request, Response, WebSocket
from pipecat.frames.frames import EndFrame
from starlette.websockets import WebSocketDisconnect

from pipecat_bandwidth import BandwidthFrameSerializer
from pipecat_bandwidth.encodings import wire_format
from pipecat_bandwidth.messages import PlayAudio, Start, encode, parse
from tests.captures import Scene, changed, speech
from tests.fuzz.bombs import halves
from workbench.budget import ENVIRONMENT
from workbench.cli import console, main
from workbench.demo.bot import serve
from workbench.diagnosis import DETECTORS, diagnose
from workbench.simulator import Script
from workbench.simulator.script import Rule, Turn

SAMPLE = Path(__file__).parent.parent / "sample_audio"
CAPTURE = SAMPLE / "captures" / "demo.mcap"
CHOPPY = SAMPLE / "captures" / "choppy.mcap"


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
        for stream in (console.out, console.err):  # which may have read COLUMNS when they were made
            monkeypatch.setattr(stream, "_width", columns)
        with pytest.raises(SystemExit) as exit_:
            main()
        printed = capsys.readouterr()
        return Run(int(exit_.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A call of 6 s, for what is no matter of the call: a report of the demo's takes six seconds."""
    scene = Scene(6.0, pipeline_rate=24000)
    scene.say_bot(0.5, speech("bot/b02").span(0, 3.6))
    return scene.write(tmp_path_factory.mktemp("cli") / "short.mcap")


@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "simulate",
        "attach",
        "summary",
        "diagnose",
        "compare",
        "tune",
        "replay",
        "report",
        "export",
    ],
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


def test_any_sound_file_is_compared(workbench: Callable[..., Run], tmp_path: Path) -> None:
    voice = speech("bot/b01").resampled(16000)
    soundfile.write(tmp_path / "call.mp3", voice.samples, 16000, format="MP3")
    run = workbench("compare", tmp_path / "call.mp3")
    assert (run.code, run.err) == (0, "") and "PCM 16 kHz" in run.out


def test_a_sound_file_without_a_header_is_compared_once_it_is_said_what_it_is(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    path = tmp_path / "call.raw"
    path.write_bytes(speech("bot/b01", 16000).pcm())
    run = workbench("compare", path)
    assert run.code == 2 and "--as pcm reads it so" in run.err
    assert workbench("compare", path, "--as", "pcm@16000").code == 0
    run = workbench("compare", path, "--as", "mp3")
    assert run.code == 2 and "no encoding 'mp3'" in run.err
    run = workbench("compare", CAPTURE, "--as", "pcm")
    assert run.code == 2 and "--recording" in run.err


def test_a_sound_file_that_was_cut_off_is_compared_and_told(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    path = tmp_path / "call.wav"
    speech("bot/b01", 8000).write(path)
    path.write_bytes(path.read_bytes()[:40_000])
    run = workbench("compare", path)
    assert run.code == 0 and "PCM 16 kHz" in run.out
    assert run.err.startswith(f"workbench: {path} is shorter than its header: 2.5 s of ")


@pytest.fixture
def nobody() -> Iterator[None]:
    """Root reads everything: be somebody else for a while."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    yield
    if is_root:
        os.seteuid(0)


@pytest.mark.parametrize("command", ["summary", "diagnose", "compare"])
def test_a_capture_of_somebody_elses_is_refused_in_one_line(
    workbench: Callable[..., Run], tmp_path: Path, request: pytest.FixtureRequest, command: str
) -> None:
    importlib.import_module("workbench.plots")  # whose library looks for its settings at home
    path = Path(shutil.copy(CAPTURE, tmp_path / "call.mcap"))
    path.chmod(0)
    request.getfixturevalue("nobody")
    run = workbench(command, path)
    assert run == Run(2, "", f"workbench: {path}: {os.strerror(13)}\n")


def test_what_is_made_of_a_call_is_for_its_owner_alone(
    workbench: Callable[..., Run], short: Path, tmp_path: Path
) -> None:
    assert workbench("report", short, "--no-audio", "-o", tmp_path / "r.html").code == 0
    assert workbench("export", short, "-o", tmp_path / "all").code == 0
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
    from workbench.call.replay import replay

    call = Call.open(CAPTURE)
    sentence, *facts = call.summary().splitlines()
    printed = workbench("summary", CAPTURE, columns=50).out.splitlines()
    assert printed.pop() == f"diagnosis:  {diagnose(call).sentence}"
    wrapped, whole = printed[: -len(facts)], printed[-len(facts) :]
    assert whole == facts and max(map(len, facts)) > 50
    replayed = workbench("replay", CAPTURE, columns=50).out.splitlines()
    for lines, said in ((wrapped, sentence), (replayed, str(replay(call)))):
        assert len(lines) > 1 and max(map(len, lines)) <= 50
        assert " ".join(map(str.strip, lines)) == said


def test_what_is_piped_is_neither_wrapped_nor_padded() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    for command in ("diagnose", "summary"):
        run = subprocess.run(
            [sys.executable, "-m", "workbench", command, CHOPPY], env=environment,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        lines = run.stdout.splitlines()
        assert max(map(len, lines)) > 120
        assert [line for line in lines if line != line.rstrip()] == []


def test_a_missing_file_and_a_sound_file_are_told_as_what_they_are(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    missing = workbench("tune", CAPTURE, tmp_path / "none.mcap")
    assert (missing.code, missing.out) == (2, "")
    assert missing.err == f"workbench: {tmp_path / 'none.mcap'}: No such file or directory\n"
    sound = workbench("diagnose", SAMPLE / "call" / "bot" / "b02.flac")
    assert sound.code == 2
    assert "a sound file, and no capture of a call; compare takes sound files" in sound.err
    neither = tmp_path / "notes.md"
    neither.write_text("# A choppy call\n", encoding="utf-8")
    text = workbench("diagnose", neither)
    assert (text.code, text.err) == (2, f"workbench: {neither}: not an MCAP file (at byte 0)\n")


def test_a_silent_call_is_a_sentence(workbench: Callable[..., Run], tmp_path: Path) -> None:
    path = Scene(4.0).write(tmp_path / "silent.mcap")
    for command in ("compare", "tune"):
        run = workbench(command, path)
        assert run.code == 2
        assert "the bot said nothing" in run.err or "holds audio of the bot" in run.err
        assert run.err.count("\n") <= 2 and "Traceback" not in run.err
    assert "noise at" in workbench("summary", path).out


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
    found = json.loads(workbench("diagnose", CAPTURE, "--json").out)["findings"]
    table = workbench("diagnose", CAPTURE)
    assert table.code == 0
    for finding in found:
        assert finding["kind"] in table.out
        assert DETECTORS[finding["kind"]].title in table.out
        assert finding["remedy"] and finding["cause"] and finding["unit"]


def test_fail_on_gates(workbench: Callable[..., Run]) -> None:
    severities = {
        f["severity"] for f in json.loads(workbench("diagnose", CAPTURE, "--json").out)["findings"]
    }
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


WORDS = Path(__file__).parent / "data" / "staged" / "timed_words.mcap"


@pytest.mark.parametrize("kind", ["webvtt", "textgrid"])
def test_words_are_exported_unless_they_are_left_out(
    workbench: Callable[..., Run], tmp_path: Path, kind: str
) -> None:
    run = workbench("export", WORDS, "-o", tmp_path, "--format", kind)
    assert run.code == 0 and "nobody" in Path(run.out.strip()).read_text()
    run = workbench("export", WORDS, "-o", tmp_path, "--format", kind, "--no-words")
    assert run.code == 2 and "holds no words" in run.err


def test_no_words_leaves_them_out_of_report_and_diagnosis(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    page = tmp_path / "r.html"
    assert workbench("report", WORDS, "-o", page, "--no-audio", "--no-words").code == 0
    assert "nobody hears" not in page.read_text()
    for options, is_said in (((), True), (("--no-words",), False)):
        found = workbench("diagnose", WORDS, "--json", *options).out
        assert ("Dear" in found) == is_said


def test_a_carriers_recording_tells_the_leg(workbench: Callable[..., Run], tmp_path: Path) -> None:
    from workbench.call import Call

    call = Call.open(CAPTURE)
    call.caller_heard.write(tmp_path / "carrier.wav")
    run = workbench("compare", CAPTURE, "--recording", tmp_path / "carrier.wav")
    assert run.code == 0
    assert "recording" in run.out and "G.711" in run.out


def test_a_call_is_tuned_on_the_leg_that_its_recording_shows(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    from workbench.call import Call
    from workbench.tuning.legs import LEGS

    scene = Scene(12.0, wire=wire_format("PCM", 16000), pipeline_rate=24000)
    scene.say_bot(1.0, speech("bot/b05"))
    capture = scene.write(tmp_path / "wide.mcap")
    played = Call.open(capture).played
    told, untold = tmp_path / "g722.wav", tmp_path / "narrow.mp3"
    LEGS["G.722"].apply(played).write(told)
    heard = played.resampled(8000)
    soundfile.write(untold, heard.samples, heard.sample_rate)

    run = workbench("tune", capture, "--recording", told, "-o", tmp_path / "told.json", columns=400)
    assert run.code == 0
    assert "recordings of 1 of 1 calls show: G.722 in 1." in run.out
    assert "Take PCM 16 kHz: over G.722" in run.out and "Assumed" not in run.out
    written = json.loads((tmp_path / "told.json").read_text())
    assert written["provenance"]["leg"] == "G.722"
    assert written["params"]["outbound_pcm_sample_rate"] == 16000

    run = workbench("tune", capture, "--recording", untold, columns=400)
    assert run.code == 0
    assert "Take PCMU: over G.711" in run.out
    assert "Assumed of the far end" in run.out and "1 recording does not tell." in run.out


def test_several_files_of_one_recording_are_taken(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    from workbench.call import Call

    heard = Call.open(CAPTURE).caller_heard
    files = [tmp_path / "a.mp3", tmp_path / "b.mp3"]
    for file, part in zip(files, (heard.span(0, 12), heard.span(12, heard.duration)), strict=True):
        soundfile.write(file, part.samples, part.sample_rate)
    page = tmp_path / "recorded.png"
    run = workbench("compare", CAPTURE, "--recording", *files, "--picture", page)
    assert (run.code, run.err) == (0, "")
    assert "holds" in run.out and "of sound that were looked at" in " ".join(run.out.split())
    assert page.stat().st_size > 10_000
    run = workbench("compare", CAPTURE, files[0])
    assert run.code == 2 and "give --recording first" in run.err


def test_compare_takes_a_capture_or_a_file_of_speech(
    workbench: Callable[..., Run], short: Path, tmp_path: Path
) -> None:
    voice = SAMPLE / "call" / "bot" / "b01.flac"
    for source in (short, voice):
        run = workbench(
            "compare", source, "--csv", tmp_path / "t.csv", "--picture", tmp_path / "p.png"
        )
        assert run.code == 0
        assert "PCMU" in run.out and "G.711" in run.out
        assert (tmp_path / "t.csv").read_text().count("\n") >= 9
        assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_tune_exports_what_the_bot_loads(
    workbench: Callable[..., Run], short: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(b"nothing")
    run = workbench("tune", short, broken, "-o", tmp_path / "tuned.json")
    assert run.code == 0
    assert "broken.mcap" in run.err and "1 of 2" in run.out
    params = BandwidthFrameSerializer.InputParams.load(tmp_path / "tuned.json")
    assert params.outbound_encoding == "PCMU"


@pytest.mark.slow
def test_report_is_one_file_without_ids(
    workbench: Callable[..., Run], short: Path, tmp_path: Path
) -> None:
    from workbench.call import Call

    run = workbench("report", CAPTURE, "-o", tmp_path / "out" / "r.html")
    assert run.code == 0
    page = (tmp_path / "out" / "r.html").read_text()
    assert Call.open(CAPTURE).metadata["call"]["call_id"] not in page
    assert "http://" not in page and "https://" not in page
    assert page.count("<audio") >= 4
    silent = tmp_path / "silent.html"
    assert workbench("report", short, "-o", silent, "--no-audio").code == 0
    assert "<audio" not in silent.read_text()
    assert "data:audio" not in silent.read_text()


def test_a_call_in_which_the_bot_was_silent_has_a_report(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    scene = Scene(10.0)
    scene.say_caller(1.0, speech("caller/c05"))
    path = scene.write(tmp_path / "silent.mcap")
    found = json.loads(workbench("diagnose", path, "--json").out)["findings"]
    run = workbench("report", path, "-o", tmp_path / "r.html")
    assert run.code == 0 and "The bot said nothing" in run.out
    page = (tmp_path / "r.html").read_text()
    assert found and all(finding["kind"] in page for finding in found)


def test_a_report_that_fails_otherwise_is_not_written(
    workbench: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("out of order")

    monkeypatch.setattr("workbench.tuning.comparison.compare", broken)
    run = workbench("report", CAPTURE, "-o", tmp_path / "r.html")
    assert run == Run(2, "", "workbench: out of order\n")
    assert not (tmp_path / "r.html").exists()


def test_a_server_that_is_not_there_is_one_line(workbench: Callable[..., Run]) -> None:
    run = workbench("simulate", "http://127.0.0.1:9/webhook")
    assert run.code == 2
    assert "webhook" in run.err and "127.0.0.1:9" in run.err
    assert "Traceback" not in run.err


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--connect-to", "bot.example", "'bot.example': HOST:PORT or ws://HOST:PORT is wanted"),
        ("--ca", "none.pem", "none.pem: No such file or directory"),
    ],
)
def test_a_way_that_leads_nowhere_is_one_line(
    workbench: Callable[..., Run], option: str, value: str, complaint: str
) -> None:
    run = workbench("simulate", "http://127.0.0.1:9/webhook", option, value)
    assert (run.code, run.err.count("\n")) == (2, 1) and complaint in run.err


def test_attach_prints_a_setup_file_and_nothing_else(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    options = ("--label", "release=1.4", "--words", "--redact", "Ada Lovelace")
    run = workbench("attach", "--where", tmp_path / "new" / "captures", *options)
    file = tmp_path / "new" / "captures" / "attach.py"
    assert (run.code, run.out, run.err) == (0, f"{file}\n", "")
    for said in (str(file.parent), "{'release': '1.4'}", "words=True", "'Ada Lovelace'"):
        assert said in file.read_text()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--label", "release"), "--label release: a label is NAME=VALUE"),
        (("--label", "=1"), "--label =1: a label is NAME=VALUE"),
        (("--redact", "Ada"), "--redact is of what is said: give --words too"),
        (("--where", "a:b:c"), "a:b:c: PIPECAT_SETUP_FILES is cut at each ':'"),
        (("--where", "/dev/null/captures"), "/dev/null/captures: Not a directory"),
    ],
)
def test_what_cannot_be_attached_is_one_line(
    workbench: Callable[..., Run], options: tuple[str, ...], complaint: str
) -> None:
    run = workbench("attach", *options)
    assert (run.code, run.out, run.err.count("\n")) == (2, "", 1) and complaint in run.err


# -- simulate, with bots that answer -----------------------------------------------------------


async def converse(websocket: WebSocket) -> None:
    """Greet, hear the caller out, close."""
    await play(websocket, 0.3)
    for _ in range(150):  # 3 s of his line, on which he is heard for 0.6 s after 0.4
        await websocket.receive_text()
    await websocket.close()


async def babble(websocket: WebSocket) -> None:
    for number in range(3000):
        await websocket.send_text(f"nonsense {number}")
    for number in range(7):
        message = PlayAudio(f"audio/[/b]{number}[red]", b"\x80")
        await websocket.send_text(encode(message))
    await play(websocket, 0.1)
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await websocket.receive_text()


async def mumble(websocket: WebSocket) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await websocket.receive_text()


async def break_off(websocket: WebSocket) -> None:
    await play(websocket, 0.1)
    await websocket.close(1011)


async def take_leave(websocket: WebSocket) -> None:
    """Greet, hear the caller out, and hang up where the environment says that Bandwidth is."""
    start = parse(await websocket.receive_text())
    assert isinstance(start, Start)
    serializer = BandwidthFrameSerializer(
        start.stream_id, start.call_id, start.account_id, "client", "secret"
    )
    await play(websocket, 0.3)
    for _ in range(150):
        await websocket.receive_text()
    await serializer.serialize(EndFrame())
    await mumble(websocket)


async def play(websocket: WebSocket, seconds: float) -> None:
    payload = b"\x90\x10" * round(seconds * 4000)
    await websocket.send_text(encode(PlayAudio("audio/pcmu", payload)))


@pytest.fixture(scope="module")
def bots() -> Iterator[str]:
    """The root of a server, on a thread, with a bot at each of ``/converse``, ``/babble``, ..."""
    app = FastAPI()
    all_of_them = (converse, babble, mumble, take_leave, break_off)
    behaviours = {behave.__name__: behave for behave in all_of_them}

    @app.post("/{name}")
    async def voice(name: str, request: Request) -> Response:
        verbs = '<StopStream name="b" wait="true"/>'
        stream = (
            f'<StartStream name="b" mode="bidirectional" destination="ws://{request.url.netloc}'
        )
        text = f'<Response><SpeakSentence>Hi</SpeakSentence>{stream}/{name}"/>{verbs}</Response>'
        return Response(text, media_type="application/xml")

    @app.websocket("/{name}")
    async def stream(websocket: WebSocket, name: str) -> None:
        await websocket.accept()
        await behaviours[name](websocket)

    loop, up, over = asyncio.new_event_loop(), queue.Queue[str](), asyncio.Event()

    async def run() -> None:
        async with serve(app) as url:
            up.put(url)
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    yield up.get(timeout=60)
    loop.call_soon_threadsafe(over.set)
    thread.join()
    loop.close()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """One greeting, one answer of 0.6 s."""
    file = str(SAMPLE / "call" / "caller" / "c09.flac")
    turns = (
        Turn("b01", "bot", file, 0.0, 0.3, 0.3, Rule()),
        Turn("c01", "caller", file, 0.4, 1.04, 0.64, Rule("b01", 0.1), "Bye."),
    )
    path = tmp_path / "script.json"
    path.write_bytes(msgspec.json.encode(Script("Short", 1.1, turns)))
    return path


def test_a_call_that_went_well_ends_with_0(
    workbench: Callable[..., Run], bots: str, script: Path
) -> None:
    run = workbench("simulate", f"{bots}/converse", "--script", script, "--timeout", 60)
    assert run.code == 0, run
    assert "1 of 1 turns" in run.out and "problem" not in run.out
    assert "the bot closed the WebSocket" in run.out
    assert "<SpeakSentence> 0.4 s, <StartStream>, <StopStream> " in run.out


def test_what_somebody_recorded_is_said(workbench: Callable[..., Run], bots: str) -> None:
    file = SAMPLE / "call" / "caller" / "c09.flac"
    run = workbench("simulate", f"{bots}/converse", "--speak", file, "--timeout", 60)
    assert run.code == 0 and "1 of 1 turns" in run.out, run
    two = workbench("simulate", f"{bots}/converse", "--speak", file, "--script", file)
    assert (two.code, two.err) == (
        2, "workbench: --script and --speak are two callers; give one\n",
    )  # fmt: skip
    none = workbench("simulate", f"{bots}/converse", "--speak", "none.wav")
    assert none.code == 2 and "none.wav" in none.err and none.err.count("\n") == 1


def test_many_calls_at_once_are_one_table(
    workbench: Callable[..., Run], bots: str, script: Path
) -> None:
    options = ("--script", script, "--calls", 3, "--timeout", 60)
    run = workbench("simulate", f"{bots}/converse", *options)
    assert run.code == 0, run
    assert "3 of 3 calls without a problem; the bot answers after never; 0 holes" in run.out
    failed = workbench("simulate", f"{bots}/break_off", *options)
    assert failed.code == 1 and failed.out.count("failed: stream: the bot broke off") == 3
    assert "0 of 3 calls without a problem" in failed.out


def test_a_call_that_failed_ends_with_1_and_one_that_was_none_with_2(
    workbench: Callable[..., Run], bots: str, script: Path
) -> None:
    failed = workbench("simulate", f"{bots}/break_off", "--script", script)
    assert failed.code == 1 and failed.err.startswith("workbench: stream: the bot broke off")
    assert failed.err.count("\n") == 1
    none = workbench("simulate", "http://127.0.0.1:9/", "--calls", 2)
    assert none.code == 2 and "is the bot started, and there?" in none.err
    assert workbench("simulate").code == 2 and workbench("simulate", "nonsense").code == 2


def test_the_voice_api_is_there_with_the_call(
    workbench: Callable[..., Run], bots: str, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = ("--script", script, "--timeout", 60, "--voice-port", port)
        refused = workbench("simulate", f"{bots}/take_leave", *options)
        assert refused.code == 2 and f"--voice-port {port}: " in refused.err
    root = f"http://127.0.0.1:{port}/api"
    monkeypatch.setenv("BANDWIDTH_VOICE_URL", f"{root}/v2")
    monkeypatch.setenv("BANDWIDTH_TOKEN_URL", f"{root}/v1/oauth2/token")
    run = workbench("simulate", f"{bots}/take_leave", *options)
    assert run.code == 0, run
    assert f"export BANDWIDTH_VOICE_URL={root}/v2\n" in run.out
    assert f"export BANDWIDTH_TOKEN_URL={root}/v1/oauth2/token\n" in run.out
    assert "the bot hung up through the Voice API" in run.out
    assert "token 200, hang up 200" in run.out


def test_a_silent_bot_ends_with_1_and_a_reason(
    workbench: Callable[..., Run], bots: str, script: Path
) -> None:
    run = workbench("simulate", f"{bots}/mumble", "--script", script, "--timeout", 4)
    assert run.code == 1
    problems = [line for line in run.out.splitlines() if line.startswith("problem: ")]
    assert "the caller said 0 of 1 turns" in problems[0]
    assert "the bot was never heard" in problems[1]
    assert "--timeout" in problems[2]


def test_what_a_bot_babbles_is_counted_and_harmless(
    workbench: Callable[..., Run], bots: str, script: Path
) -> None:
    run = workbench("simulate", f"{bots}/babble", "--script", script, "--timeout", 4)
    assert run.code == 1
    assert len(run.out) < 10_000
    assert "3000 x not JSON" in run.out
    assert "'audio/[/b]3[red]'" in run.out and "[/b]4" not in run.out
    assert "and 3 other kinds" in run.out
    assert "problem: messages that Bandwidth does not know: 3007" in run.out


def test_exit_codes_are_in_the_help(workbench: Callable[..., Run]) -> None:
    words = " ".join(workbench("--help").out.split())
    assert "Exit codes: 0 done; 1 done, and the answer is bad; 2 it could not be done." in words
    help_ = " ".join(workbench("simulate", "--help").out.split())
    assert "Exits with 1 when a call failed, and says why; with 2 when there was none" in help_


def test_a_file_beyond_the_budget_is_one_line_and_may_be_read_all_the_same(
    workbench: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, "0.05")
    path = halves(tmp_path / "long.mcap", hours=0.2)
    refused = workbench("summary", path)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.count("\n") == 1
    assert "long.mcap: lasts 0.2 hours, at most 0.1 are read: the limit 'hours'" in refused.err
    assert "12 min 03 s" in workbench("--budget", 1, "summary", path).out
    wrong = workbench("--budget", 0, "summary", path)
    assert (wrong.code, wrong.err) == (2, "workbench: a budget 0.0 times the usual one, a positive "
                                          "number is wanted\n")  # fmt: skip


# -- many calls --------------------------------------------------------------------------------


def test_survey_names_the_worst_and_fails_a_nightly_job(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    scene = Scene(8.0)
    scene.say_bot(1.0, speech("bot/b02"))
    scene.hole(1.8, 0.4)
    folder = tmp_path / ("captures" + 30 * "-long")
    folder.mkdir()
    scene.write(folder / "a.mcap")
    run = workbench("survey", folder, "--trend", "day", "--fail-on", "error", columns=40)
    assert run.code == 1
    sentence, headings, worst, _, kind, _, day = run.out.splitlines()
    assert sentence.startswith("1 call on ") and "it spoils the conversation" in sentence
    assert headings.split("\t") == ["began (UTC)", "length", "harm", "worst of it", "capture"]
    assert worst.split("\t")[2:] == ["2171", "Gap in playback, 400 ms", str(folder / "a.mcap")]
    assert kind.split("\t")[:5] == ["Gap in playback", "error", "1", "100.0 %", "1"]
    assert day.split("\t")[1:4] == ["1", "100.0", "100.0"]
    assert workbench("survey", folder, "--fail-on", "error", "--since", "2200-01-01").code == 0

    found = json.loads(workbench("survey", folder, "--json", "--trend", "hour").out)
    assert found["calls"][0]["worst_kind"] == found["findings"][0]["kind"] == "underrun"
    assert found["trend"][0]["calls"] == 1 and found["skipped"] == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("nothing.mcap",), "nothing.mcap: No such file or directory"),
        ((".", "--finding", "1"), "--at and --finding are of one call"),
    ],
)
def test_view_says_what_it_cannot_show(
    workbench: Callable[..., Run], given: tuple[str, ...], said: str
) -> None:
    run = workbench("view", *given, "--no-browser")
    assert run.code == 2 and said in run.err


def test_a_diagnosis_tells_how_to_see_what_was_found(
    workbench: Callable[..., Run], tmp_path: Path
) -> None:
    junit = tmp_path / "found.xml"
    run = workbench("diagnose", CHOPPY, "--junit", junit)
    assert f"workbench view {CHOPPY} --finding 1" in run.out
    assert f"workbench view {CHOPPY} --finding 3" in junit.read_text("utf-8")


def test_survey_keeps_what_it_found(workbench: Callable[..., Run], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    Scene(3.0).write(tmp_path / "a.mcap")
    (tmp_path / "broken.mcap").write_text("no capture")
    out = tmp_path / "calls.parquet"
    assert "skipped: " in workbench("survey", tmp_path, "-o", out).out
    again = workbench("survey", tmp_path, "-o", out).out
    assert "1 capture was known already, 0 opened." in again
    assert "1 call on " in workbench("survey", out).out
    unknown = workbench("survey", out, "--by", "release")
    assert unknown.code == 2
    assert "no call has a label 'release', there are: none" in unknown.err
    changed(tmp_path / "a.mcap", tmp_path / "b.mcap", later=1.0, labels={"release": "1.4"})
    run = workbench("survey", tmp_path, "-o", out, "--by", "release", columns=40)
    assert "\nToo few to compare, less than 8 calls: 1.4.\n" in run.out
    found = json.loads(workbench("survey", out, "--by", "release", "--json").out)
    assert found["by"]["groups"] == {"1.4": 1}
    empty = tmp_path / "empty"
    empty.mkdir()
    nothing = workbench("survey", empty)
    assert nothing.code == 2 and nothing.err.strip() == f"workbench: no captures (.mcap) in {empty}"
