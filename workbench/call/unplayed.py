"""What the far end never played of what the bot sent, and what never got that far.

Conventions:
    Times in seconds on the call's clock. A *hop* is 10 ms; it is audible from a level in dBov on.
"""

from __future__ import annotations

from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.audio import Audio
from workbench.call.playout import Playout
from workbench.call.streams import Stream
from workbench.call.turns import TURN_PAUSE
from workbench.metrics.speech import HOP, joined, levels, runs_of

__all__ = ["AUDIBLE_DBOV", "audible_secs", "not_passed", "unplayed_secs"]

#: Quieter than this is a pause, or its noise: nobody misses it.
AUDIBLE_DBOV: Final = -50.0


def audible_secs(audio: Audio, over_dbov: float = AUDIBLE_DBOV) -> float:
    """How long a piece of audio is above a level, the pauses of a turn between included."""
    spans = joined(runs_of(levels(audio) > over_dbov, HOP), TURN_PAUSE)
    return float((spans[:, 1] - spans[:, 0]).sum())


def unplayed_secs(sent: Stream, playout: Playout, which: NDArray[np.intp]) -> float:
    """How much sound of some messages was not played.

    Args:
        sent: The bot's messages.
        playout: What became of them in the far end's queue.
        which: Indices of those that are asked for, in order.
    """
    left = playout.duration - playout.heard
    which = which[left[which] > 0]
    secs = 0.0
    for wire, some in groupby(which.tolist(), key=lambda index: sent.formats[index]):
        pieces = []
        for index in some:
            pcm = wire.decode(sent.payloads[index])
            pieces.append(pcm[2 * round(float(playout.heard[index]) * wire.sample_rate) :])
        secs += audible_secs(Audio.from_pcm(b"".join(pieces), wire.sample_rate))
    return secs


def not_passed(
    given: NDArray[np.float64],
    duration: NDArray[np.float64],
    passed: NDArray[np.float64],
    at_least: float,
) -> list[NDArray[np.intp]]:
    """Runs of audio that was given to the serializer and after which nothing came out of it.

    Args:
        given: When each piece went in, shape ``(n,)``; what is made of it comes before the next.
        duration: Audio in each, in seconds, shape ``(n,)``.
        passed: When pieces came out.
        at_least: Shorter runs, in seconds of audio, may be what a resampler holds back.

    Returns:
        Indices of the pieces of each run.
    """
    following = np.append(given, np.inf)[np.searchsorted(given, given, side="right")]
    made = np.searchsorted(passed, following) - np.searchsorted(passed, given)
    silent = np.flatnonzero(made == 0)
    runs = np.split(silent, np.flatnonzero(np.diff(silent) > 1) + 1) if len(silent) else []
    return [run for run in runs if duration[run].sum() >= at_least]
