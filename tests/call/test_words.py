"""The words of real pipelines on the call's clock, and which of them the caller heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.captures import Scene, speech
from tests.staged import PRIVATE, WORD
from workbench.call import Call, Word, Words
from workbench.call.streams import WordsRecord
from workbench.call.words import Place, find_words
from workbench.capture import CaptureReader
from workbench.capture import Words as Recorded
from workbench.diagnosis import diagnose
from workbench.exceptions import CaptureError

KEPT = Path(__file__).parents[1] / "data" / "staged"
NAMES = ("timed_words", "words", "words_of_one")
#: Each word of the bot's takes as long; redaction has made one of several.
LENGTHS = {"Dear": 1, "[redacted],": 2, "I": 1, "heard": 1, "[number].": 5}
TEXT = "Dear [redacted], I heard [number]. Then I say words that nobody hears."


@pytest.fixture(scope="module")
def calls() -> dict[str, Call]:
    return {name: Call.open(KEPT / f"{name}.mcap") for name in NAMES}


def first_message(call: Call, after: float) -> float:
    return float(call.outbound.time[call.outbound.time > after][0])


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_has_its_words(calls, name):
    whole, cut = calls[name].answers
    assert whole.words.text == cut.words.text == TEXT
    assert whole.words.unheard.text == "" and whole.words.about == (name != "timed_words")


def test_words_that_have_their_times_are_where_they_sound(calls):
    call = calls["timed_words"]
    for answer, after in zip(call.answers, (1.0, 9.5), strict=True):
        at = first_message(call, after)
        for word in answer.words[:8]:
            length = WORD * LENGTHS.get(word.text, 1)
            assert (word.start, word.end) == pytest.approx((at, at + length), abs=0.03)
            at += length


def test_a_sentence_is_where_it_sounds_and_its_words_about_there(calls):
    call = calls["words"]
    words = call.answers[0].words
    begin = first_message(call, 1.0)
    assert words[0].start == pytest.approx(begin, abs=0.03)
    assert words[5].text == "Then"
    assert words[5].start == pytest.approx(begin + 10 * WORD, abs=0.03)
    assert all(word.about for word in words)


@pytest.mark.parametrize("name", NAMES)
def test_of_an_interrupted_answer_it_is_told_which_words_the_caller_heard(calls, name):
    """By the caller's own clock: they heard from the first message on, until the queue was cleared."""
    call = calls[name]
    cut = call.answers[1]
    assert cut.outcome == "interrupted"
    secs = float(call.times_of("clear")[-1]) - first_message(call, call.times_of("clear")[1])
    heard = 0.0
    for word in cut.words.heard:
        heard += WORD * LENGTHS.get(word.text, 1)
    allowed = WORD / 2 if name == "timed_words" else 2 * WORD
    assert heard == pytest.approx(secs, abs=allowed + 0.02)
    assert cut.words.unheard.text.endswith("nobody hears.")
    assert cut.words.heard.text + " " + cut.words.unheard.text == TEXT


def test_the_caller_speaks_where_they_do(calls):
    words = calls["words"].words.of("caller")
    speech_of = calls["words"].caller_speech
    for word in words:
        assert any(s - 0.01 <= word.start <= word.end <= e + 0.01 for s, e in speech_of.tolist())
    assert words.phrases[0].text == "My card is [number], call [number] or write [e-mail]"


def test_a_call_may_be_read_without_its_words(calls, tmp_path):
    call = Call.open(KEPT / "words.mcap", words=False)
    assert not call.words and not call.answers[0].words
    assert not any(finding.words for finding in diagnose(call))


def test_kept_captures_hold_nothing_private():
    for name in NAMES:
        with CaptureReader(KEPT / f"{name}.mcap") as reader:
            bodies = [r.body.lower() for r in reader.records("/words", "/frames/out/other")]
        assert bodies
        assert not [w for w in PRIVATE if any(w.encode() in b for b in bodies if b"text" in b)]


# -- planted -----------------------------------------------------------------------------------


def planted(tmp_path: Path, change=lambda scene: None, duration: float = 9.0) -> Call:
    """A bot that speaks from 1 s on: a word each half second, of which the synthesis knows."""
    scene = Scene(duration)
    scene.say_bot(1.0, speech("bot/b02"))
    count = int(speech("bot/b02").duration / 0.5)
    scene.pipeline(0.99, "first audio", processor="A")
    text = " ".join(f"w{n:02}" for n in range(count))
    starts = [0.09 + 0.5 * n for n in range(count)]
    body = Recorded(
        side="bot", text=text, processor="A", is_timed=True, at=[4 * n for n in range(count)],
        starts=starts, ends=[start + 0.5 for start in starts],
    )  # fmt: skip
    scene.extra.append((0.9, "/words", body))
    change(scene)
    return Call.open(scene.write(tmp_path / "a.mcap"))


def test_what_follows_a_hole_is_as_much_later(tmp_path):
    call = planted(tmp_path, lambda scene: scene.hole(2.3, 0.4))
    starts = [word.start for word in call.words]
    expected = [1.0 + 0.5 * n + (0.4 if 0.5 * n > 1.3 else 0.0) for n in range(len(starts))]
    assert starts == pytest.approx(expected, abs=0.03)
    assert not call.words.unheard


def test_what_an_interruption_cut_was_not_heard(tmp_path):
    call = planted(tmp_path, lambda scene: scene.interrupt(2.4))
    assert call.words.heard.text == "w00 w01 w02"
    assert [w.start for w in call.words.unheard][:2] == pytest.approx([2.5, 3.0], abs=0.03)


def test_what_the_end_of_the_call_cut_was_not_heard(tmp_path):
    call = planted(tmp_path, duration=3.1)
    assert call.words.heard.text == "w00 w01 w02 w03"


def test_what_was_thrown_away_is_quoted_beside_the_finding(tmp_path):
    def ahead(scene: Scene) -> None:
        for chunk in scene.chunks:  # all of it at once
            chunk.time = 1.0 + (chunk.time - 1.0) / 100
        scene.interrupt(2.4)

    call = planted(tmp_path, ahead)
    (found,) = diagnose(call, ["unheard_speech"])
    assert found.words.startswith("not heard: \N{LEFT DOUBLE QUOTATION MARK}w03 w04")
    assert "w03" not in f"{found} {found!r}" and found.as_dict()["words"] == found.words


def test_words_are_found_in_any_case_across_two_of_them():
    words = Words(
        [
            Word("Say", 1.0, 1.2, "bot"), Word("This", 1.2, 1.5, "bot"), Word("say", 4, 4.2, "bot"),
            Word("say", 1.1, 1.3, "caller", phrase=1),
        ]
    )  # fmt: skip
    assert [found.text for found in words.search("SAY")] == ["Say", "say", "say"]
    assert [found.text for found in words.search("y thi")] == ["Say This"]
    assert words.search(" ") == words.search("that") == []
    assert words.between(1.3, 2.0).text == "This"


@pytest.mark.parametrize(
    "body",
    [
        '{"side": "nobody", "text": "a"}',
        '{"side": "bot", "text": "a", "at": [0], "starts": [0.0], "ends": []}',
        '{"side": "bot", "text": "a", "at": [0], "starts": [1e300], "ends": [1.0]}',
        '{"side": "bot"}',
    ],
)
def test_words_that_make_no_sense_are_told_and_passed_over(tmp_path, body):
    scene = Scene(2.0)
    scene.extra.append((1.0, "/words", body))
    scene.extra.append((1.2, "/words", Recorded(side="bot", text="so it is")))
    call = Call.open(scene.write(tmp_path / "a.mcap"))
    assert call.words.text == "so it is"
    assert [event.kind for event in call.events].count("bad_message") == 1


def test_a_file_that_claims_more_words_than_are_said_is_refused(tmp_path):
    scene = Scene(2.0)
    scene.extra += [(1.0, "/words", Recorded(side="bot", text="a " * 900))] * 120
    with pytest.raises(CaptureError, match="words"):
        Call.open(scene.write(tmp_path / "a.mcap"))


TIMES = st.floats(-20, 20)


class Anywhere:
    def place(self, processor: str, time: float) -> Place:
        return Place(time, time < 5)


@st.composite
def records(draw):
    text = draw(st.text(max_size=40))
    at = draw(st.lists(st.integers(0, 50), max_size=5))
    times = st.lists(TIMES, min_size=len(at), max_size=len(at))
    side = draw(st.sampled_from(["caller", "bot"]))
    starts, ends = tuple(draw(times)), tuple(draw(times))
    return WordsRecord(draw(TIMES), side, text, "A", True, True, tuple(at), starts, ends)


@given(st.lists(records(), max_size=4), st.lists(st.tuples(TIMES, st.floats(0.1, 5)), max_size=4))
def test_whatever_was_recorded_words_are_in_order_and_none_is_lost(given_records, speech_of):
    spans, end = [], -30.0
    for start, secs in sorted(speech_of):
        if start > end:
            end = start + secs
            spans.append((start, end))
    given_records.sort(key=lambda record: record.time)
    found = find_words(given_records, Anywhere(), np.array(spans).reshape(-1, 2))
    assert len(found) == sum(len(record.text.split()) for record in given_records)
    assert all(word.start <= word.end for word in found)
    starts = [word.start for word in found]
    assert starts == sorted(starts)
