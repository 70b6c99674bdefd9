"""What words must not keep is taken out of them, however it is written."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.capture.personal import EMAIL, NUMBER, Personal, moved, without
from workbench.capture.redaction import REDACTED


def redacted(text: str, redact=(), before: int = 0) -> str:
    return without(text, Personal(redact).cuts(text, before))


def longest_run(text: str) -> int:
    """Digits in a row with nothing but spaces and signs between, told without a pattern."""
    longest = run = between = 0
    for letter in text:
        if unicodedata.category(letter) == "Nd":
            run, between = run + 1, 0
        elif letter.isalnum() or between >= 5:
            run = between = 0
        else:
            between += 1
        longest = max(longest, run)
    return longest


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("It is 4929-1234 5678 9012, thanks", f"It is {NUMBER}, thanks"),
        ("call (555) 123-4567 now", f"call ({NUMBER} now"),
        ("1, 2, 3. 4 is it", f"{NUMBER} is it"),
        ("٤٩٢٩ or １２３ it is", f"{NUMBER} or {NUMBER} it is"),
        ("four nine two, please", f"{NUMBER}, please"),
        ("Oh, double seven 3, please", f"{NUMBER}, please"),
        ("at 10:30 with 2 of us", "at 10:30 with 2 of us"),
        ("12:34:56 it says", f"{NUMBER} it says"),
        ("which one? one", "which one? one"),
        ("Four.", f"{NUMBER}."),
        ("5 ...... 5 ...... 5 ok", f"{NUMBER} ok"),
        ("write ada.l+x@mail.example.org.", f"write {EMAIL}"),
        ("write ada @ example .org now", f"write {EMAIL} now"),
        ("ada dot lovelace at example dot org it is", f"{EMAIL} it is"),
        ("ada at example.org it is", f"{EMAIL} it is"),
        ("look at home. Then go", "look at home. Then go"),
        ("I have 20 of these", "I have 20 of these"),
    ],
)
def test_numbers_and_addresses_go_and_the_rest_stays(said, kept):
    assert redacted(said) == kept


def test_digits_at_the_end_go_since_the_next_text_may_go_on_with_them():
    assert redacted("the first two are 49") == f"the first two are {NUMBER}"
    personal = Personal()
    before = personal.trailing("the first two are 49")
    assert redacted("29 and so on", before=before) == f"{NUMBER} and so on"
    assert redacted("29 and so on") == "29 and so on"
    assert personal.trailing("7", personal.trailing("49")) == 3
    assert personal.trailing("...", 2) == 2 and personal.trailing("done", 2) == 0


def test_what_the_owner_names_goes():
    names = ["Ada  Lovelace", re.compile(r"\b[A-Z]{2}-\w+")]
    said = "ADA\nLovelace has AB-x7q, adalovelace not"
    assert redacted(said, names) == f"{REDACTED} has {REDACTED}, adalovelace not"
    assert redacted("Ada and Ada", "ada") == f"{REDACTED} and {REDACTED}"


@pytest.mark.parametrize("wrong", ["", "  ", [""], [None], [b"ada"], [re.compile(b"a")]])
def test_what_cannot_be_redacted_is_refused(wrong):
    with pytest.raises(ValueError, match="redact"):
        Personal(wrong)


WORD = st.sampled_from(
    ["my", "card", "is", "2", "12", "10:30", "a@b.example", "at", "dot", "one", "42nd"]
)
NUMBERS = st.lists(st.sampled_from("0123456789٣７"), min_size=3, max_size=20).map(list)
BETWEEN = st.text(st.sampled_from(" -.,()/\u2011\u00a0\u200b_\n"), max_size=5)


@st.composite
def with_numbers(draw) -> str:
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        parts += draw(st.lists(WORD, max_size=4))
        digits = draw(NUMBERS)
        parts.append("".join(digit + draw(BETWEEN) for digit in digits))
    return " ".join(parts)


@given(with_numbers())
def test_no_number_is_left(text):
    kept = redacted(text)
    # A time of day has four.
    assert longest_run(re.sub(r"\b[0-2]?\d:[0-5]\d\b", "", kept)) < 3
    assert "@" not in kept


@given(st.text(max_size=200), st.integers(0, 3))
def test_whatever_the_text_cuts_are_in_order_and_leave_the_rest_as_it_was(text, before):
    cuts = Personal(["a", re.compile("x*")]).cuts(text, before)
    assert all(first.end <= last.start for first, last in zip(cuts, cuts[1:], strict=False))
    kept, rest = (
        without(text, cuts),
        "".join(
            letter for i, letter in enumerate(text) if not any(c.start <= i < c.end for c in cuts)
        ),
    )
    for cut in cuts:
        kept = kept.replace(cut.instead, "", 1)
    assert kept == rest


@given(st.text(st.characters(exclude_categories=["Nd"], exclude_characters="@"), max_size=100))
def test_what_has_no_digit_and_no_address_is_kept(text):
    words = re.compile(r"\b(zero|oh|one|two|three|four|five|six|seven|eight|nine|ten|at)\b", re.I)
    if not words.search(text):
        assert redacted(text) == text


@given(with_numbers())
def test_indices_move_with_the_text(text):
    cuts = Personal().cuts(text)
    kept = without(text, cuts)
    places = [moved(index, cuts) for index in range(len(text) + 1)]
    assert places == sorted(places) and places[-1] == len(kept)
    for index, letter in enumerate(text):
        if not any(cut.start <= index < cut.end for cut in cuts):
            assert kept[places[index]] == letter


@pytest.mark.parametrize(
    "text",
    [
        "a.b" * 3000,
        "a " * 5000,
        "1:" * 5000,
        "a at b." * 1500,
        "- " * 5000,
        "@" * 9000,
        "dot " * 4000,
        "b at " + "x dot " * 4000,
    ],
)
def test_no_text_holds_up_the_call(text):
    """A pattern that tries everything would take minutes, not a moment."""
    began = time.process_time()
    redacted(text)
    assert time.process_time() - began < 2.0
