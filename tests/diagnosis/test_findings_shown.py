"""How findings are shown, compared with a baseline, and handed to a CI server."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from tests.captures import Scene, speech
from workbench.call import Call
from workbench.capture import CaptureWriter
from workbench.diagnosis import DETECTORS, Findings, Part, diagnose, excerpt, to_junit
from workbench.diagnosis.baseline import changes
from workbench.diagnosis.catalogue import SYMPTOMS, page
from workbench.diagnosis.detector import Detector, Threshold, detector
from workbench.terminal import print_findings

HOSTILE = "<img src=x onerror=alert(1)> & \x00\x1b[31m"
FINDING = DETECTORS["jitter"].finding(
    side="caller",
    parts=[Part(11.0, 11.2, 200.0)],
    severity="info",
    value=200.0,
    measurement="stood still",
    cause="Network.",
    remedy="Move.",
)
#: The three holes of one finding.
HOLES = replace(
    FINDING, parts=(Part(9.72, 9.781, 61.0), Part(11.05, 11.149, 99.0), Part(13.08, 13.48, 400.0))
)


def at(*span: float) -> tuple[Part, ...]:
    return (Part(*span, 1.0),)


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """The same short call without a fault, with a hole of 100 ms, and with one of 300 ms."""
    folder = tmp_path_factory.mktemp("calls")

    def call(hole: float) -> Call:
        scene = Scene(14.0)
        scene.say_bot(0.8, speech("bot/b01"))
        scene.say_caller(10.0, speech("caller/c08"))
        if hole:
            scene.hole(2.0, hole)
        return Call.open(scene.write(folder / f"{hole}.mcap"))

    return {hole: call(hole) for hole in (0.0, 0.1, 0.3)}


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not {name for name, _ in attrs} - {"style"}

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("long", [True, False])
def test_a_long_call_shows_how_far_it_is_to_whoever_watches(
    calls, monkeypatch, capsys, watched, long
):
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    if watched:
        monkeypatch.setenv("FORCE_COLOR", "1")  # what makes a terminal of anything
    if long:
        monkeypatch.setattr("workbench.diagnosis.diagnosing._LONG", calls[0.1].duration)
    diagnose(calls[0.1])
    printed = capsys.readouterr()
    assert not printed.out
    assert ("Diagnosing 0.1.mcap" in printed.err) == (watched and long)
    assert bool(printed.err) == (watched and long)


def test_findings_are_a_value(calls):
    found = diagnose(calls[0.1])
    assert found == diagnose(calls[0.1])
    assert hash(found) == hash(diagnose(calls[0.1]))
    assert found[0] in found and list(found) == [found[i] for i in range(len(found))]
    assert isinstance(found[:1], Findings) and len(found[:1]) == 1
    assert list(found.of("underrun")) == [f for f in found if f.kind == "underrun"]
    assert found[:1]._repr_html_().count("<tr>") == 2
    with pytest.raises(AttributeError):
        found.found = ()


def test_a_selection_does_not_call_the_call_sound(calls):
    assert "sound" not in diagnose(calls[0.1]).of("echo").sentence
    assert "sound" not in diagnose(calls[0.0], ["echo"]).sentence
    assert "sound" in diagnose(calls[0.0]).sentence


def test_json_takes_a_finding_and_its_parts():
    row = json.loads(json.dumps(HOLES.as_dict(), allow_nan=False))
    assert row["kind"], row["title"] == ("jitter", "Delivery stalled")
    assert row["span"] == [9.72, 13.48]
    assert row["parts"][1] == {"start": 11.05, "end": 11.149, "value": 99.0}
    unknown = replace(FINDING, parts=(Part(1.0, 2.0, np.nan),))
    assert json.loads(json.dumps(unknown.as_dict(), allow_nan=False))["parts"][0]["value"] is None


def test_words_name_the_parts_and_cut_a_long_list():
    assert HOLES.told == "stood still, at 9.72, 11.05 and 13.08 s"
    many = replace(FINDING, parts=tuple(Part(t, t, 1.0) for t in range(1, 18)))
    assert many.told == "stood still, at 1.00, 2.00, 3.00, 4.00, 5.00 s and 12 more"
    assert FINDING.told == "stood still"
    for shown in (str(HOLES), Findings([HOLES])._repr_html_(), to_junit(Findings([HOLES]))):
        assert "stood still, at 9.72, 11.05 and 13.08 s" in shown
    console = Console(file=io.StringIO(), width=80)
    print_findings(console, Findings([many]))
    assert "5.00 s and 12 more" in console.file.getvalue()


def test_a_sentence_says_the_worst(calls):
    found = diagnose(calls[0.1])
    assert found.sentence.startswith("The worst of this call: the bot's speech is chopped: 100 ms")
    assert str(found).splitlines()[0] == found.sentence
    assert "sound" in diagnose(calls[0.0]).sentence
    assert "sound" in Findings([FINDING]).sentence  # nothing but an info


def test_the_table_is_escaped_and_says_nothing_twice():
    one = replace(FINDING, measurement=HOSTILE, cause=HOSTILE, remedy="Do <b>it</b>.")
    shown = Tags(Findings([one, replace(one, parts=at(20.0, 20.0))])._repr_html_())
    assert set(shown.tags) <= {*"p b br code table thead tbody tr th td".split()}
    assert shown.text.count("Do <b>it</b>.") == 1
    assert shown.text.count("as above") == 2
    assert "11.00\N{EN DASH}11.20 s" in shown.text
    assert "20.00 s" in shown.text
    assert Tags(Findings()._repr_html_()).tags == ["p", "b"]


def test_advice_given_further_up_says_where():
    """Between the two stands another cause, which is not meant."""
    other = replace(FINDING, cause="Another.", remedy="Do another thing.", parts=at(3.0, 4.0))
    advice = list(Findings([FINDING, other, FINDING, FINDING]).advice())
    assert advice[:2] == [(FINDING.cause, FINDING.remedy), (other.cause, other.remedy)]
    where = "as at 11.00\N{EN DASH}11.20 s"
    assert advice[2:] == [(where, where), ("as above", "as above")]


def test_title_and_kind_stand_beside_each_other():
    assert str(FINDING) == (
        "info at 11.00-11.20 s: Delivery stalled (caller) [jitter]: stood still"
    )
    html = Findings([FINDING])._repr_html_()
    assert "<b>Delivery stalled</b> (caller) <code" in html
    assert "Delivery stalled (caller) jitterstood still" in Tags(html).text


@pytest.mark.parametrize("kind", DETECTORS)
def test_in_a_terminal_the_heading_of_a_finding_is_one_line(kind):
    console = Console(file=io.StringIO(), width=80)
    title = DETECTORS[kind].title
    late = replace(FINDING, kind=kind, title=title, severity="warning", parts=at(3500.5, 3512.75))
    print_findings(console, Findings([late]))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    when = "3500.50\N{EN DASH}3512.75 s"
    assert lines[2:] == [
        f"warning  {when}  {title} (caller)  {kind}",
        "    stood still",
        "    why: Network.",
        "    change: Move.",
    ]


def test_an_excerpt_is_the_finding_and_a_second_around_it(calls):
    call = calls[0.3]
    (finding,) = diagnose(call, ["underrun"])
    heard = excerpt(call, finding)
    start, end = finding.span
    assert heard.duration == pytest.approx(end - start + 2, abs=0.01)
    hole = heard.span(1.01, 1 + end - start - 0.01)
    assert np.abs(hole.samples).max() == 0
    assert heard.level > -40
    with pytest.raises(ValueError, match="jitter cannot be heard"):
        excerpt(call, FINDING)


def test_an_excerpt_stays_inside_the_call_and_is_short(calls):
    call = calls[0.0]
    for span in ((0.0, 0.0), (0.0, call.duration), (13.9, 30.0), (40.0, 41.0)):
        heard = excerpt(call, replace(FINDING, parts=at(*span), listen="caller_heard"))
        assert 0.9 < heard.duration <= 12.0


@pytest.mark.parametrize(
    ("parts", "secs"),
    [
        ([(2.0, 2.1), (4.0, 4.5)], 4.5),  # both, and what is between them
        ([(2.0, 2.1), (4.0, 4.5), (12.5, 12.6)], 4.5),  # the last one is too far off
        ([(1.0, 12.5), (12.6, 12.7)], 12.0),
    ],
)
def test_an_excerpt_begins_with_the_first_part(calls, parts, secs):
    finding = replace(
        FINDING, parts=tuple(Part(*part, 1.0) for part in parts), listen="caller_heard"
    )
    assert excerpt(calls[0.0], finding).duration == pytest.approx(secs, abs=0.01)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (0.0, 0.1, "new"),
        (0.1, 0.3, "worse"),
        (0.3, 0.1, "better"),
        (0.1, 0.0, "gone"),
        (0.1, 0.1, "same"),
    ],
)
def test_a_baseline_tells_what_changed(calls, before, after, verdict):
    found = diagnose(calls[after], baseline=calls[before])
    changes = {change.kind: change.verdict for change in found.changes}
    assert changes["underrun"] == verdict
    assert bool(found.failures("warning")) is (verdict in ("new", "worse"))
    assert f"{verdict}: Gap in playback (bot) [underrun]: " in str(found)
    assert f"{verdict}: Gap in playback (bot) [underrun]: " in Tags(found._repr_html_()).text


def test_a_terminal_tells_what_changed_below_the_findings(calls):
    console = Console(file=io.StringIO(), width=80)
    print_findings(console, diagnose(calls[0.1], ["underrun"], baseline=calls[0.0]))
    said = console.file.getvalue().partition("Against the baseline:\n")[2]
    assert said.startswith("    new: Gap in playback (bot) [underrun]: none before, ")
    print_findings(console, diagnose(calls[0.0], ["underrun"], baseline=calls[0.0]))
    assert console.file.getvalue().rstrip().endswith("\n    nothing changed")


def test_less_is_worse_where_it_is():
    fainter = replace(FINDING, kind="echo", unit="dB", threshold=35.0, value=30.0)
    assert fainter.excess < replace(fainter, value=6.0).excess
    early = replace(FINDING, kind="early_end", unit="s", threshold=3.0, value=2.0)
    assert early.excess < replace(early, value=0.5).excess


def test_junit_has_a_case_for_each_detector_and_fails_what_is_bad(calls):
    found = diagnose(calls[0.3])
    suite = ElementTree.fromstring(to_junit(found, "warning", "a & b"))
    assert suite.attrib["name"] == "a & b"
    assert len(suite) == len(DETECTORS) == int(suite.attrib["tests"])
    failed = [case.attrib["name"] for case in suite if case.find("failure") is not None]
    assert failed == ["underrun"]
    assert suite.attrib["failures"] == "1"
    said = suite.find("testcase/failure").attrib["message"]
    assert "chopped" in said
    assert "Gap in playback (bot) [underrun]" in said
    same = diagnose(calls[0.3], baseline=calls[0.3])
    suite = ElementTree.fromstring(to_junit(same))
    assert suite.attrib["failures"] == "0"
    assert "chopped" in suite.find("testcase/system-out").text


def test_junit_takes_any_text():
    bad = replace(FINDING, severity="error", measurement=HOSTILE, cause="]]>\ud800", remedy=HOSTILE)
    suite = ElementTree.fromstring(to_junit(Findings([bad, bad]), name="\x07"))
    assert "onerror" in suite.find("testcase/failure").attrib["message"]
    assert suite.attrib["failures"] == "1"


@pytest.mark.parametrize("kind", DETECTORS)
def test_every_detector_says_what_it_does(kind):
    told = DETECTORS[kind]
    assert told.kind == kind
    assert told.meaning.endswith(".")
    assert told.measured.endswith(".")
    assert told.change.endswith(".")


def test_the_page_has_thresholds_with_their_sources():
    text = page()
    assert all(f"### {DETECTORS[kind].title} (`{kind}`)\n" in text for kind in DETECTORS)
    assert "- **Threshold:** 100 ms: An adaptive jitter buffer" in text
    assert all(threshold.why for told in DETECTORS.values() for threshold in told.thresholds)


def test_a_detector_that_is_declared_is_called_like_a_function(calls):
    @detector(title="Nothing", measured="so.", change="it.", thresholds=(Threshold(2.0, "ms"),))
    def nothing(call):
        """Nothing."""
        yield nothing.finding(
            side=None, parts=[Part(0.0, call.duration, 3)], severity="info", value=3,
            measurement="so", cause="C.", remedy="R.",
        )  # fmt: skip

    assert isinstance(nothing, Detector)
    (finding,) = nothing(calls[0.0])
    assert (finding.kind, finding.title) == ("nothing", "Nothing")
    assert (finding.value, finding.unit, finding.threshold) == (3.0, "ms", 2.0)
    assert "### Nothing (`nothing`)\n\nNothing.\n" in page({"nothing": nothing})


def test_thirty_symptoms_are_found_or_excused():
    assert len(SYMPTOMS) == 30
    assert [symptom.number for symptom in SYMPTOMS] == list(range(1, 31))
    named = {word for symptom in SYMPTOMS for word in re.findall(r"`(\w+)`", symptom.answer)}
    assert named - DETECTORS.keys() == set()


def test_one_of_each_is_no_change_however_long_the_calls_are():
    (change,) = changes([FINDING], [FINDING], 600.0, 10.0)
    assert change.verdict == "same"
    assert changes([FINDING], [FINDING] * 3, 60.0, 60.0)[0].verdict == "worse"
    assert changes([FINDING] * 3, [FINDING], 60.0, 60.0)[0].verdict == "better"
    assert changes([FINDING] * 3, [FINDING] * 30, 60.0, 600.0)[0].verdict == "same"


def test_a_large_value_is_written_out():
    found = replace(FINDING, value=24000.0, unit="Hz")
    assert "24000 Hz before, 24000 Hz now" in str(changes([found], [found], 60.0, 60.0)[0])


def test_nothing_is_said_of_nothing(tmp_path):
    writer = CaptureWriter(tmp_path / "a.mcap")
    writer.close()
    found = diagnose(Call.open(writer.path))
    assert found.sentence.startswith("Nothing can be said of this call")
