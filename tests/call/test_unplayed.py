"""What was not played, and what never got as far as the wire."""

from __future__ import annotations

import numpy as np
import pytest

from pipecat_bandwidth.encodings import PCMU, wire_format
from workbench.audio import Audio
from workbench.call import Stream
from workbench.call.playout import reconstruct
from workbench.call.unplayed import audible_secs, not_passed, unplayed_secs

PCM = wire_format("PCM", 24000)


def sound(secs: float, rate: int = 8000, dbov: float = -20.0) -> Audio:
    noise = np.random.default_rng(0).standard_normal(round(secs * rate)) * 10 ** (dbov / 20)
    return Audio(noise.astype(np.float32), rate)


def followed(*parts: Audio) -> Audio:
    return Audio(np.concatenate([part.samples for part in parts]), parts[0].sample_rate)


SILENCE = Audio(np.zeros(4000, np.float32), 8000)


def test_pauses_of_a_turn_are_part_of_it_and_silence_behind_it_is_not():
    said = followed(SILENCE, sound(1.0), SILENCE, sound(0.5), SILENCE, SILENCE, SILENCE)
    assert audible_secs(said) == pytest.approx(2.0)
    assert audible_secs(sound(1.0, dbov=-70)) == 0.0
    assert audible_secs(SILENCE) == 0.0


def test_what_is_left_is_counted_at_every_rate_of_the_wire():
    formats = (PCMU, PCMU, PCM)
    audio = [sound(1.0), sound(1.0), sound(1.0, 24000)]
    payloads = tuple(f.encode(a.pcm()) for f, a in zip(formats, audio, strict=True))
    time, zeros = np.zeros(3), np.zeros(3, np.int64)
    sent = Stream(time, zeros - 1, np.ones(3), time, zeros > 0, zeros, zeros, payloads, formats)
    playout = reconstruct(time, np.ones(3), stopped=0.75)
    assert unplayed_secs(sent, playout, np.arange(0)) == 0.0
    late = reconstruct(time, np.ones(3), [0.75])
    assert unplayed_secs(sent, late, np.arange(3)) == pytest.approx(2.25, abs=0.011)
    assert unplayed_secs(sent, late, np.array([2])) == pytest.approx(1.0)
    whole = reconstruct(time, np.ones(3))
    assert unplayed_secs(sent, whole, np.arange(3)) == 0.0


def test_runs_after_which_nothing_came_out_are_those_that_are_long_enough():
    given = np.arange(200) * 0.04
    made = np.ones(200, bool)
    made[50:53] = made[100:150] = False
    runs = not_passed(given, np.full(200, 0.04), given[made] + 1e-4, 0.5)
    assert [(run[0], run[-1]) for run in runs] == [(100, 149)]


def test_pieces_that_go_in_at_once_come_out_together():
    given, passed = np.repeat([0.0, 1.0], 3), np.repeat([0.001, 1.001], 3)
    assert not_passed(given, np.full(6, 0.5), passed, 0.1) == []
    assert not_passed(np.empty(0), np.empty(0), passed, 0.1) == []
