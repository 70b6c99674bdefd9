"""Captions and TextGrids hold what was said, where it was, and are what their readers want."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.captures import Scene, speech
from workbench.call import Call, Word, Words
from workbench.capture import Words as Recorded
from workbench.exports import export
from workbench.exports.words import _without_gaps

KEPT = Path(__file__).parents[1] / "data" / "staged"
HOSTILE = 'say --> <img src="x"> & more'
CUE = re.compile(r"(\d\d:\d\d:\d\d\.\d{3}) --> (\d\d:\d\d:\d\d\.\d{3})\n<v (caller|bot)>(.*)")


@pytest.fixture(scope="module")
def call() -> Call:
    return Call.open(KEPT / "timed_words.mcap")


def secs(clock: str) -> float:
    hours, minutes, rest = clock.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


def test_captions_are_cues_of_both_sides_in_order(call, tmp_path):
    (path,) = export(call, tmp_path, "webvtt")
    text = path.read_text(encoding="utf-8")
    assert path.name == "timed_words.vtt" and text.startswith("WEBVTT\n\n")
    cues = CUE.findall(text)
    assert len(cues) == text.count("-->") == 5
    starts = [secs(start) for start, _, _, _ in cues]
    assert starts == sorted(starts)
    assert all(secs(start) < secs(end) <= call.duration + 0.001 for start, end, _, _ in cues)
    assert cues[0][2:] == ("caller", "My card is [number], call [number] or write [e-mail]")
    assert cues[-1][3].startswith("(not heard) I heard [number]")
    assert secs(cues[1][0]) == pytest.approx(call.answers[0].end, abs=0.05)


def intervals(text: str) -> list[list[tuple[float, float, str]]]:
    """By tier; as Praat reads it, without one."""
    found = []
    for tier in text.split("    item [")[1:]:
        count = int(re.search(r"intervals: size = (\d+)", tier)[1])
        rows = re.findall(r'xmin = (.*)\n +xmax = (.*)\n +text = "((?:[^"]|"")*)"', tier)
        assert len(rows) == count
        found.append([(float(start), float(end), word) for start, end, word in rows])
    return found


def test_a_textgrid_has_a_tier_for_each_side_and_for_what_was_not_heard(call, tmp_path):
    (path,) = export(call, tmp_path / "a.TextGrid")
    text = path.read_text(encoding="utf-8")
    assert text.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n')
    tiers = intervals(text)
    said = [" ".join(word for _, _, word in tier if word) for tier in tiers]
    own = [call.words.of("caller"), call.words.of("bot").heard, call.words.unheard]
    assert said == [words.text for words in own]
    until = float(re.search(r"xmax = (.*)", text)[1])
    for tier in tiers:
        assert tier[0][0] == 0 and tier[-1][1] == until
        assert all(first[1] == last[0] for first, last in zip(tier, tier[1:], strict=False))
    starts = [start for start, _, word in tiers[1] if word]
    assert starts == pytest.approx([word.start for word in own[1]], abs=1e-4)


TIMES = st.floats(0, 10)


@given(st.lists(st.tuples(TIMES, TIMES), max_size=8))
def test_intervals_have_no_gap_and_no_word_is_lost(times):
    words = Words(Word(f"w{n}", a, max(a, b), "bot") for n, (a, b) in enumerate(times))
    found = list(_without_gaps(words, 20.0))
    assert found[0].start == 0 and found[-1].end == 20.0
    assert all(a.end == b.start for a, b in zip(found, found[1:], strict=False))
    assert all(interval.end > interval.start for interval in found)
    assert " ".join(interval.text for interval in found).split() == words.text.split()


def test_what_a_stranger_said_stays_text(tmp_path):
    scene = Scene(4.0)
    scene.say_caller(0.5, speech("caller/c02"))
    scene.extra.append((3.0, "/words", Recorded(side="caller", text=HOSTILE)))
    call = Call.open(scene.write(tmp_path / "a.mcap"))
    (path,) = export(call, tmp_path / "a.vtt")
    assert CUE.findall(path.read_text())[0][3] == ('say --&gt; &lt;img src="x"&gt; &amp; more')
    (path,) = export(call, tmp_path / "a.TextGrid")
    assert 'text = "src=""x"">"' in path.read_text()


def test_a_folder_gets_them_if_there_are_words(call, tmp_path):
    assert {path.suffix for path in export(call, tmp_path / "with")} >= {".vtt", ".TextGrid"}
    call = Call.open(call.path, words=False)
    written = export(call, tmp_path / "without")
    assert not {path.suffix for path in written} & {".vtt", ".TextGrid"}
    assert not [path for path in written if b"nobody hears" in path.read_bytes()]


@pytest.mark.parametrize("kind", ["webvtt", "textgrid"])
def test_a_call_without_words_says_how_to_get_them(kind, tmp_path):
    call = Call.open(KEPT / "cascade.mcap")
    with pytest.raises(ValueError, match="words=True"):
        export(call, tmp_path, kind)
    assert not list(tmp_path.iterdir())
