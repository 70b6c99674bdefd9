"""Captures of version 1.0 are read for ever, and tell the same as later ones."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.captures import Scene, speech
from workbench.call import Call, HangUpRecord, PipelineRecord, version_1_0
from workbench.capture import Note, recording
from workbench.diagnosis import diagnose


def ended(at: float = 6.2) -> Scene:
    scene = Scene(8.0, stop=False)
    scene.say_caller(0.5, speech("caller/c05").span(0, 1.5))
    scene.say_bot(2.5, speech("bot/b07").span(0, 3.0))
    scene.frame_out(at, "EndFrame")
    return scene


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def write(scene: Scene, version: str) -> Call:
        monkeypatch.setattr(recording, "FORMAT_VERSION", version)
        return Call.open(scene.write(tmp_path / f"{version}.mcap"))

    return write


def told(call: Call) -> list[dict[str, object]]:
    return [asdict(finding) for finding in diagnose(call)]


def timeless(records: tuple) -> list:
    return [replace(record, time=0.0) for record in records]


REASON = "hang up failed (HTTP 403): no access"


@pytest.mark.parametrize(
    ("line", "record"),
    [
        ("Call c-1 hung up (HTTP 200, attempts: 2, 0.40 s)",
         {"outcome": "ended", "status_code": 200, "attempts": 2, "took_us": 400_000}),
        ("Call c-1 was already over (HTTP 404, attempts: 1, 0.20 s)",
         {"outcome": "already_over", "status_code": 404, "attempts": 1, "took_us": 200_000}),
        (f"a#0: call c-1 may still be up: {REASON}",
         {"outcome": "failed", "status_code": 403, "reason": REASON}),
        ("a#0: call c-1 may still be up: hang-up was cancelled",
         {"outcome": "cancelled", "reason": "hang-up was cancelled"}),
    ],
)  # fmt: skip
def test_a_hang_up_is_diagnosed_alike_in_both_versions(written, line, record) -> None:
    old, new = ended(), ended()
    old.log(6.4, line, level=4)
    new.hang_up(6.4, **record)
    new.log(6.4, "said in other words", level=4)
    old, new = written(old, "1.0"), written(new, "1.1")
    assert timeless(old.hang_ups) == timeless(new.hang_ups)
    assert isinstance(old.hang_ups[0], HangUpRecord)
    one, other = told(old), told(new)
    for finding in (*one, *other):
        if finding["kind"] == "hang_up_unconfirmed":
            finding["measurement"] = finding["measurement"].partition("may still be up: ")[2]
        finding["parts"] = [tuple(round(number, 3) for number in part) for part in finding["parts"]]
    assert one == other


def test_an_event_of_the_pipeline_is_the_same_in_both_versions(written) -> None:
    old, new = ended(), ended()
    old.extra += [
        (2.4, "/notes", Note(text="pipeline: bot begins to speak")),
        (2.5, "/notes", Note(text="pipeline: first byte after 312 ms (Model#0)")),
    ]
    new.pipeline(2.4, "bot begins to speak")
    new.pipeline(2.5, "first byte", processor="Model#0", seconds=0.312)
    old, new = written(old, "1.0"), written(new, "1.1")
    assert timeless(old.pipeline) == timeless(new.pipeline)
    assert timeless(old.pipeline)[1] == PipelineRecord(0.0, "first byte", "Model#0", 0.312)
    texts = [[e.text for e in c.events if e.kind == "pipeline"] for c in (old, new)]
    assert texts == [["bot begins to speak", "first byte after 312 ms (Model#0)"]] * 2


def test_in_1_1_no_text_is_a_hang_up_or_the_pipelines(written) -> None:
    scene = ended()
    scene.log(6.4, "Call c-1 hung up (HTTP 200, attempts: 2, 0.40 s)")
    scene.extra.append((2.4, "/notes", Note(text="pipeline: a user's own")))
    call = written(scene, "1.1")
    assert call.hang_ups == call.pipeline == ()
    assert [e.text for e in call.events if e.kind == "note"] == ["pipeline: a user's own"]


def test_words_of_others_are_left_alone() -> None:
    assert version_1_0.hang_up("an ordinary line") is None
    assert version_1_0.pipeline("a mark") is None
    assert version_1_0.hang_up("Call c-1 hung up").status_code is None
