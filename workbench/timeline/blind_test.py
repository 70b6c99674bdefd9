"""Blind listening: is X A or B, and could the score be luck?

In an ABX test the listener hears A, B and X as often as they like, X being one of the two by the
toss of a coin, and says which. Without an audible difference they are right half of the time, so
the number of right answers follows a binomial distribution, and its tail is the probability of such
a score by guessing alone [1]_. There is no sound and no screen here: whatever runs the test plays
what :attr:`BlindTest.x` says, such as two of
``comparison.sounds("PCMU", "PCM 16 kHz", leg="G.722")``.

References:
    .. [1] ITU-R BS.1116-3, section 3; D. Clark, "High-resolution subjective testing using a
       double-blind comparator", J. Audio Eng. Soc. 30(5), 1982: ABX.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import numpy as np
from scipy import stats

__all__ = ["BlindScore", "BlindTest", "Letter", "coin_tosses", "fewest_right", "score"]

Letter: TypeAlias = Literal["A", "B"]

#: Probability by luck below which a difference counts as heard.
SIGNIFICANT: Final = 0.05


def coin_tosses(trials: int, seed: int | None = None) -> tuple[Letter, ...]:
    """Toss a coin for X in each trial; independently, so that no trial gives another away.

    Args:
        trials: How many.
        seed: The same seed gives the same order; a new one by default.

    Raises:
        ValueError: If there is not one trial.
    """
    if trials < 1:
        raise ValueError(f"{trials=}, wanted at least 1")
    tossed = np.random.default_rng(seed).integers(2, size=trials)
    return tuple("B" if side else "A" for side in tossed)


@dataclass(frozen=True)
class BlindScore:
    """The result.

    Parameters:
        right: Answers that were right.
        trials: Answers in all.
    """

    right: int
    trials: int

    @property
    def p_value(self) -> float:
        """Probability of at least so many right answers by guessing; 1 before the first."""
        if not self.trials:
            return 1.0
        tail = stats.binomtest(self.right, self.trials, 0.5, alternative="greater")
        return float(tail.pvalue)

    @property
    def is_heard(self) -> bool:
        """Whether guessing is an unlikely explanation: p below 0.05."""
        return self.p_value < SIGNIFICANT

    def __str__(self) -> str:
        text = f"{self.right} of {self.trials} right, p = {self.p_value:.3f}"
        if self.is_heard:
            return f"{text}: the difference was heard."
        enough = fewest_right(self.trials)
        if enough is None:
            return f"{text}: {self.trials} trials are too few to show anything."
        return f"{text}: this may be luck; {enough} right would not be."


def score(order: Sequence[Letter], answers: Sequence[Letter]) -> BlindScore:
    """Count right answers.

    Args:
        order: What X was.
        answers: What was said, for the first trials or all of them.

    Raises:
        ValueError: If there are more answers than trials.
    """
    if len(answers) > len(order):
        raise ValueError(f"{len(answers)} answers to {len(order)} trials")
    pairs = zip(order, answers, strict=False)
    return BlindScore(sum(was == said for was, said in pairs), len(answers))


def fewest_right(trials: int) -> int | None:
    """How many right answers are more than luck; ``None`` if not even all of them would be."""
    for right in range(trials + 1):
        if BlindScore(right, trials).is_heard:
            return right
    return None


@dataclass
class BlindTest:
    """A test in progress. What X is stays hidden until it is answered.

    Parameters:
        order: What X is in each trial, see :func:`coin_tosses`.
    """

    order: tuple[Letter, ...] = field(repr=False)
    answers: list[Letter] = field(default_factory=list, init=False)

    @property
    def is_over(self) -> bool:
        """Whether every trial was answered."""
        return len(self.answers) == len(self.order)

    @property
    def x(self) -> Letter:
        """What to play as X now.

        Raises:
            ValueError: If the test is over.
        """
        if self.is_over:
            raise ValueError(f"all {len(self.order)} trials are answered")
        return self.order[len(self.answers)]

    def answer(self, letter: Letter) -> bool:
        """Take an answer, and go on to the next trial; return whether it was right.

        Showing that before the end would let the listener learn: better not.

        Raises:
            ValueError: If the test is over, or for anything but ``"A"`` and ``"B"``.
        """
        if letter not in ("A", "B"):
            raise ValueError(f"answer {letter!r}, wanted 'A' or 'B'")
        right = letter == self.x
        self.answers.append(letter)
        return right

    @property
    def score(self) -> BlindScore:
        """The score so far. If you stop when you like it, the p-value is worth nothing."""
        return score(self.order, self.answers)
