"""A call is called sound only if all of it was judged."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from tests.captures import Scene, speech
from tests.diagnosis.test_arbitration import of
from workbench.call import Call
from workbench.capture import CaptureReader, CaptureWriter
from workbench.diagnosis import DETECTORS, Findings, diagnose, to_junit
from workbench.diagnosis.coverage import Unjudged, in_words
from workbench.diagnosis.detector import Detector

SOUND = "This call is sound"
NOT_ALL = "No fault that can be heard was found in what could be judged; "


def talk() -> Scene:
    scene = Scene(14.0)
    scene.say_bot(0.8, speech("bot/b01"))
    scene.say_caller(10.0, speech("caller/c08"))
    return scene


def unrecorded(path, topic: str, start: float = 0.0, end: float = 100.0) -> Call:
    """The same call by a recorder that did not look at a topic from ``start`` to ``end``."""
    with CaptureReader(path) as reader:
        records = [r for r in reader.records() if not r.topic.startswith("/capture/")]
    first = records[0].time_ns
    writer = CaptureWriter(path.with_name("torn.mcap"), call={"stream_id": "s-1", "call_id": "c-1"})
    for record in records:
        if record.topic != topic or not start <= (record.time_ns - first) / 1e9 < end:
            writer.record(record.topic, record.time_ns, record.body.decode())
    writer.close()
    return Call.open(writer.path)


def test_a_call_that_was_judged_whole_is_sound(tmp_path):
    found = diagnose(Call.open(talk().write(tmp_path / "a.mcap")))
    assert found.unjudged == ()
    assert found.sentence.startswith(SOUND)


def test_a_call_with_a_small_fault_is_not_called_sound():
    """What cannot be heard, such as a setting, leaves it sound."""
    small, setting = of("dropout", (1.0, 2.0), listen="bot_sent"), of("resampling", (0.0, 9.0))
    small, setting = (replace(finding, severity="info") for finding in (small, setting))
    assert Findings((setting,)).sentence.startswith(SOUND)
    both = Findings((small, setting))
    assert both.sentence == f"Only small things were found in this call: {small.measurement}."
    assert "in what was looked at" in both.of("dropout").sentence


def test_a_capture_without_its_end_is_not_called_sound(tmp_path):
    found = diagnose(Call.open(talk().write(tmp_path / "a.mcap", finish=False)))
    assert found.sentence == f"{NOT_ALL}the end of the call was not recorded."
    for shown in (str(found), found._repr_html_(), to_junit(found)):
        assert "the end of the call was not recorded" in shown
    assert found.as_dict()["unjudged"][0]["what"] == "the end of the call"


@pytest.mark.parametrize(
    ("topic", "start", "said"),
    [
        ("/frames/in/audio", 0.0, "bot_heard was not recorded"),
        ("/frames/in/audio", 10.0, "% of bot_heard was not recorded"),
        ("/frames/out/audio", 0.0, "bot_said was not recorded"),
    ],
)
def test_a_signal_that_is_not_there_though_its_twin_is(tmp_path, topic, start, said):
    path = talk().write(tmp_path / "a.mcap")
    found = diagnose(unrecorded(path, topic, start))
    assert said in in_words(found.unjudged)
    assert SOUND not in found.sentence


def test_a_detector_that_failed_is_named_and_skipped(tmp_path, monkeypatch):
    def broken(call):
        raise RuntimeError("broken")

    failing = Detector(find=broken, title="Echo", measured="so.", change="it.")
    monkeypatch.setitem(DETECTORS, "echo", failing)
    call = Call.open(talk().write(tmp_path / "a.mcap"))
    with pytest.warns(RuntimeWarning, match="echo failed"):
        found = diagnose(call)
    assert found.sentence == f"{NOT_ALL}echo failed: RuntimeError('broken')."
    suite = ElementTree.fromstring(to_junit(found))
    skipped = [
        case.attrib["name"] for case in suite.iter("testcase") if case.find("skipped") is not None
    ]
    assert skipped == ["echo"]
    assert suite.attrib["skipped"] == "1"


def test_kinds_that_were_not_asked_for_are_not_judged(tmp_path):
    found = diagnose(Call.open(talk().write(tmp_path / "a.mcap")), ["underrun", "echo"])
    assert {row.what for row in found.unjudged} == DETECTORS.keys() - {"underrun", "echo"}
    suite = ElementTree.fromstring(to_junit(found))
    assert suite.attrib["skipped"] == str(len(DETECTORS) - 2)


def test_what_cannot_be_measured_of_wrong_bytes_is_skipped():
    row = Unjudged("dropout", 0.5, "cannot be told from wrong_codec")
    suite = ElementTree.fromstring(
        to_junit(Findings([of("wrong_codec", (0, 30))], unjudged=(row,)))
    )
    case = next(case for case in suite.iter("testcase") if case.attrib["name"] == "dropout")
    assert (
        case.find("skipped").attrib["message"] == "50 % of dropout cannot be told from wrong_codec"
    )


def test_many_kinds_are_told_in_one():
    rows = [Unjudged(kind, 1.0, "was not asked for") for kind in ("echo", "noise")]
    assert in_words(rows) == "2 kinds of findings were not asked for"
    assert in_words([Unjudged("bot_heard", 0.123, "was not recorded"), *rows[:1]]) == (
        "12 % of bot_heard was not recorded; echo was not asked for"
    )
