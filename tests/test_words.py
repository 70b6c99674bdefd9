"""What is said, on its way into the capture: whole speeches, redacted, with the times of their sound."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.staged import PRIVATE, in_a_process
from workbench.capture import CaptureReader
from workbench.capture.personal import NUMBER, Personal, without
from workbench.words import Speeches

SECOND = 1_000_000_000
AUDIO = ("/ws/", "/frames/in/audio", "/frames/out/audio")


class Told(list):
    def __call__(self, words, *, time_ns):
        self.append(words)


@pytest.fixture
def told() -> Told:
    return Told()


def speeches(told: Told) -> Speeches:
    return Speeches(told, Personal("ada lovelace"))


def test_words_that_have_their_times_begin_where_the_sound_does(told):
    says = speeches(told)
    says.announced("A", "I say this.", 5 * SECOND, 105 * SECOND)
    says.begins("A", 5 * SECOND, 105 * SECOND)
    for index, word in enumerate(["I", "say", "this"]):
        says.said("A", word, 6 * SECOND, 106 * SECOND, (6 + index) * SECOND, False)
    # The sound is queued behind two seconds of another.
    says.sounded("A", 6 * SECOND, 8 * SECOND, 11 * SECOND)
    says.ends("A")
    (words,) = told
    assert (words.text, words.at, words.is_timed) == ("I say this.", [0, 2, 6], True)
    assert words.starts == [3.0, 4.0, 5.0] and words.ends == [4.0, 5.0, 6.0]


def test_a_sentence_is_as_long_as_the_sound_before_its_text_came(told):
    says = speeches(told)
    for begins, text in ((1, "First."), (4, "And this is the second one.")):
        says.announced("A", text, begins * SECOND, 0)
        says.sounded("A", begins * SECOND, begins * SECOND, (begins + 3) * SECOND)
        says.said("A", text, begins * SECOND, 0, None, False)
    says.ends("A")
    (words,) = told
    assert words.starts == [0.0, 3.0] and words.ends == [3.0, 6.0]


def test_a_text_before_its_sound_is_spread_over_it(told):
    says = speeches(told)
    for text in ("Half of it.", "And a half."):
        says.announced("A", text, SECOND, 0)
        says.said("A", text, SECOND, 0, None, False)
    says.sounded("A", SECOND, SECOND, 5 * SECOND)
    says.ends("A")
    assert told[0].starts == [0.0, 2.0] and told[0].ends == [2.0, 4.0]
    assert told[0].text == "Half of it. And a half."


def test_what_is_interrupted_is_not_pressed_into_the_sound_that_there_was(told):
    says = speeches(told)
    says.announced("A", "x" * 150, SECOND, 0)  # ten seconds, as people speak
    says.sounded("A", SECOND, SECOND, 2 * SECOND)
    says.interrupted()
    (words,) = told
    assert not words.is_whole and words.ends == [10.0]
    says.announced("A", "Nobody hears this.", SECOND, 0)
    says.over()
    assert told[1].starts == [] and told[1].text == "Nobody hears this."


def test_a_transcript_that_is_never_final_is_told_at_the_end(told):
    says = speeches(told)
    for text in ("I", "I say"):
        says.heard("A", text, 0, is_final=False)
    says.heard("A", "I say.", 0, is_final=True)
    says.heard("A", "And", 0, is_final=False)
    assert [words.text for words in told] == ["I say."]
    says.over()
    assert [(words.text, words.is_whole) for words in told] == [("I say.", True), ("And", False)]


def test_a_long_speech_is_told_in_parts_and_takes_no_more_memory(told):
    says = speeches(told)
    says.begins("A", SECOND, 0)
    for n in range(2000):
        says.said("A", f"word{'abcdefghij'[n % 10]}", SECOND, 0, (n + 1) * SECOND, False)
        says.sounded("A", SECOND + n, (n + 5) * SECOND, (n + 6) * SECOND)
        assert all(len(speech.pieces) <= 301 for speech in says._speeches.values())
    says.ends("A")
    assert sum(len(words.text.split()) for words in told) == 2000
    starts = [start for words in told for start in words.starts]
    assert starts == [pytest.approx(4.0 + n) for n in range(2000)]


TEXT = "So it is 4929 1234, or 5 6 7 8 and ada@mail.example for Ada Lovelace, at 10:30 or so."


@given(st.sets(st.integers(1, len(TEXT) - 1)), st.booleans(), st.booleans())
def test_however_a_text_comes_in_pieces_the_same_is_taken_out(cuts, is_timed, is_announced):
    told = Told()
    says = speeches(told)
    says.begins("A", SECOND, 0)
    if is_announced:
        says.announced("A", TEXT, SECOND, 0)
    places = [0, *sorted(cuts), len(TEXT)]
    for n, (first, last) in enumerate(zip(places, places[1:], strict=False)):
        pts = (n + 1) * SECOND if is_timed else None
        if is_timed or not is_announced:
            says.said("A", TEXT[first:last], SECOND, 0, pts, True)
        says.sounded("A", SECOND, (n + 1) * SECOND, (n + 2) * SECOND)
    says.ends("A")
    (words,) = told
    assert words.text == without(TEXT, Personal("ada lovelace").cuts(TEXT))
    assert words.at == sorted(words.at) and words.starts == sorted(words.starts)
    assert len(words.at) == len(words.starts) == len(words.ends)


@given(st.lists(st.sampled_from(["4", "92", "929", "1234", "so", "ok."]), max_size=12))
def test_a_number_that_comes_in_many_transcripts_is_one(texts):
    told = Told()
    says = speeches(told)
    for text in texts:
        says.heard("A", text, 0, is_final=True)
    assert not any(letter.isdigit() for words in told for letter in words.text)
    assert [w.text for w in told] == [NUMBER if t[0].isdigit() else t for t in texts]


@pytest.fixture(scope="module")
def captures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    names = ["few_timed_words", "few_words", "few_words_of_one", "unasked"]
    in_a_process(folder, names)
    return {name: folder / f"{name}.mcap" for name in names}


def bodies(path, topic=""):
    with CaptureReader(path) as reader:
        return [record for record in reader.records() if record.topic.startswith(topic)]


@pytest.mark.parametrize("name", ["few_timed_words", "few_words", "few_words_of_one", "unasked"])
def test_no_byte_of_a_capture_holds_what_is_private(captures, name):
    """Whatever Pipecat sends past the tap: its own messages to a client repeat all that is said."""
    for record in bodies(captures[name]):
        body = record.body
        if record.topic.startswith(AUDIO) and (b"payload" in body or b"data" in body):
            continue  # sound
        assert not [word for word in PRIVATE if word.encode() in _untimed(body).lower()]


def _untimed(body: bytes) -> bytes:
    """A record without its numbers: ids and times have any digits."""
    fields = json.loads(body)
    return json.dumps(_texts(fields)).encode()


def _texts(value):
    if isinstance(value, dict):
        return [_texts(item) for item in value.values()]
    if isinstance(value, list):
        return [_texts(item) for item in value]
    return value if isinstance(value, str) else None


@pytest.mark.parametrize("name", ["few_timed_words", "few_words", "few_words_of_one"])
def test_a_pipeline_tells_what_both_sides_say(captures, name):
    told = [json.loads(record.body) for record in bodies(captures[name], "/words")]
    bot = [words for words in told if words["side"] == "bot"]
    assert bot[0]["text"] == f"Dear [redacted], I heard {NUMBER}."
    assert bot[0].get("is_timed", False) == (name == "few_timed_words")
    assert bot[0]["starts"] == sorted(bot[0]["starts"])
    if name != "few_words_of_one":  # which has no transcript
        caller = [words["text"] for words in told if words["side"] == "caller"]
        assert caller[0] == f"My card is {NUMBER}, call {NUMBER} or write [e-mail]"


def test_who_does_not_ask_gets_no_words(captures):
    assert bodies(captures["unasked"], "/pipeline")
    assert not bodies(captures["unasked"], "/words")
    assert not any(b"Dear" in record.body for record in bodies(captures["unasked"]))


def test_an_untimed_speech_of_many_sentences_is_told_once(told):
    """Announced ahead of its sound, as a synthesis without times of words may do."""
    says = speeches(told)
    sentences = [
        f"This is sentence {chr(97 + n)} of many, and it goes on for a while." * 3
        for n in range(16)
    ]
    for sentence in sentences:
        says.announced("tts", sentence, 0, 0)
    says.begins("tts", 0, 0)
    for n, sentence in enumerate(sentences):
        at = n * 10_000_000_000
        says.sounded("tts", at, at, at + 9_000_000_000)
        says.said("tts", sentence, at, at, None, False)
    says.ends("tts")
    text = " ".join(words.text for words in told)
    assert len(told) > 1
    for n in range(16):
        assert text.count(f"sentence {chr(97 + n)} ") == 3


@pytest.mark.parametrize("shift", range(0, 30))
def test_a_long_answer_is_parted_between_sentences_and_not_inside_an_address(told, shift):
    says = speeches(told)
    words = (
        ["word"] * shift + ["and", "more."] * 125 + "write to ada at gmail dot com please.".split()
    )
    words += "Ask for Ada Lovelace there.".split() + ["and", "more."] * 160
    says.begins("A", 0, 0)
    says.sounded("A", 0, 0, 300 * SECOND)
    for index, word in enumerate(words):
        says.said("A", word, 0, 0, index * SECOND // 2, False)
    says.ends("A")
    assert len(told) > 1
    text = " ".join(words.text for words in told)
    assert "gmail" not in text and "Lovelace" not in text
