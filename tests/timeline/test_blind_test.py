"""Blind listening: fair tosses, right counts, and exact probabilities."""

from __future__ import annotations

from math import comb

import pytest

from workbench.timeline.blind_test import (
    BlindScore,
    BlindTest,
    Letter,
    coin_tosses,
    fewest_right,
    score,
)


def test_the_same_seed_the_same_order() -> None:
    assert coin_tosses(16, seed=4) == coin_tosses(16, seed=4)
    assert coin_tosses(16, seed=4) != coin_tosses(16, seed=5)
    assert set(coin_tosses(64, seed=1)) == {"A", "B"}


def test_without_a_seed_the_order_is_fresh() -> None:
    assert len({coin_tosses(64) for _ in range(4)}) == 4


def test_the_coin_is_fair_and_forgets() -> None:
    order = coin_tosses(20_000, seed=1)
    assert order.count("A") / 20_000 == pytest.approx(0.5, abs=0.015)
    repeats = sum(one == other for one, other in zip(order, order[1:], strict=False))
    assert repeats / 20_000 == pytest.approx(0.5, abs=0.015)


@pytest.mark.parametrize(("right", "trials"), [(12, 16), (9, 10), (5, 5), (8, 16), (0, 3)])
def test_the_p_value_is_the_binomial_tail(right: int, trials: int) -> None:
    tail = sum(comb(trials, k) for k in range(right, trials + 1)) / 2**trials
    assert BlindScore(right, trials).p_value == pytest.approx(tail)


@pytest.mark.parametrize(("trials", "enough"), [(4, None), (5, 5), (10, 9), (16, 12), (20, 15)])
def test_how_many_are_enough(trials: int, enough: int | None) -> None:
    """12 of 16 is the textbook's."""
    assert fewest_right(trials) == enough


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (BlindScore(12, 16), "12 of 16 right, p = 0.038: the difference was heard."),
        (BlindScore(11, 16), "11 of 16 right, p = 0.105: this may be luck; 12 right would not be."),
        (BlindScore(3, 3), "3 of 3 right, p = 0.125: 3 trials are too few to show anything."),
        (BlindScore(0, 0), "0 of 0 right, p = 1.000: 0 trials are too few to show anything."),
    ],
)
def test_what_is_said(found: BlindScore, text: str) -> None:
    assert str(found) == text


def test_a_test_from_the_first_to_the_last_trial() -> None:
    test = BlindTest(("A", "B", "B"))
    assert (test.x, test.is_over) == ("A", False)
    assert test.answer("A") is True
    assert test.answer("A") is False
    assert test.score == BlindScore(1, 2)
    assert test.x == "B"
    assert test.answer("B") is True
    assert test.is_over
    assert test.score == BlindScore(2, 3)
    with pytest.raises(ValueError, match="all 3 trials are answered"):
        test.answer("A")
    with pytest.raises(ValueError, match="all 3 trials are answered"):
        _ = test.x


def test_its_repr_gives_nothing_away() -> None:
    test = BlindTest(coin_tosses(3, seed=1))
    assert repr(test) == "BlindTest(answers=[])"


def test_someone_who_hears_nothing_is_seldom_believed() -> None:
    """Guesses against 400 orders: about 3.8 % reach 12 of 16."""
    heard = 0
    for seed in range(400):
        guesses: tuple[Letter, ...] = coin_tosses(16, seed=10_000 + seed)
        heard += score(coin_tosses(16, seed=seed), guesses).is_heard
    assert heard / 400 < 0.06


@pytest.mark.parametrize("answer", ["", "a", "X"])
def test_answers_that_are_none(answer: str) -> None:
    with pytest.raises(ValueError, match="wanted 'A' or 'B'"):
        BlindTest(("A",)).answer(answer)  # type: ignore[arg-type]


def test_what_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="2 answers to 1 trials"):
        score(("A",), ("A", "B"))
    with pytest.raises(ValueError, match="wanted at least 1"):
        coin_tosses(0)
