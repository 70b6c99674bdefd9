"""What a file claims is held to a budget when it is opened, and nothing gets past that."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.fuzz import bombs
from tests.fuzz.bombs import START, burst, clears, frame, halves, talk, with_rows, write
from tests.fuzz.isolated import isolated
from tests.fuzz.whole import LINES
from workbench.audio import Audio
from workbench.budget import ENVIRONMENT, Budget, usual
from workbench.call import Call
from workbench.call.replay import replay
from workbench.capture import CaptureReader
from workbench.exceptions import CaptureError
from workbench.exports import export


def notes(path: Path, count: int = 300) -> Path:
    body = b'{"text":"' + b"a" * 1000 + b'"}'
    return write(path, [("/ws/rx", 0.0, START), *[("/notes", 0.1, body)] * count])


def rates(path: Path, count: int) -> Path:
    rows = [("/frames/out/audio", i * 0.1, frame(bytes(400), 8000 + i)) for i in range(count)]
    return write(path, [("/ws/rx", 0.0, START), *rows])


@pytest.mark.parametrize(
    ("make", "budget", "name"),
    [
        (notes, Budget(unpacked_bytes=300_000), "unpacked_bytes"),
        (notes, Budget(records=300), "records"),
        (notes, Budget(events=300), "events"),
        (notes, Budget(metadata_bytes=10), "metadata_bytes"),
        (partial(notes, count=100_500), Budget(records_per_second=499), "records_per_second"),
        (halves, Budget(), "hours"),
        (partial(halves, hours=0.2), Budget(hours=0.1), "hours"),
        (bombs.long_silence, Budget(), "hours"),
        (partial(burst, count=1500), Budget(samples=2**40), "audio_per_second"),
        (partial(rates, count=9), Budget(), "rates"),
        (partial(halves, hours=1.0), Budget(samples=8000 * 3599), "samples"),
    ],
)
def test_a_capture_that_breaks_a_limit_is_refused_by_its_name(
    tmp_path: Path, make: Callable[[Path], Path], budget: Budget, name: str
) -> None:
    path = make(tmp_path / "a.mcap")
    with pytest.raises(CaptureError) as refused:
        Call.open(path, budget)
    told = str(refused.value)
    assert f"the limit {name!r}; for a file of your own, {ENVIRONMENT}=" in told
    assert len(told.splitlines()) == 1


def test_what_keeps_to_its_limits_is_read_to_the_last(tmp_path: Path) -> None:
    path = notes(tmp_path / "a.mcap")
    with CaptureReader(path) as reader:
        bodies = [len(record.body) for record in reader.records()]
    exactly = Budget(unpacked_bytes=10**6, records=len(bodies), events=301, metadata_bytes=10**4)
    call = Call.open(path, exactly)
    assert len(call.times_of("note")) == 300
    assert call.budget == exactly
    call = Call.open(halves(tmp_path / "b.mcap", hours=0.1), Budget(hours=0.11))
    assert call.duration == pytest.approx(363, abs=0.1)


def test_the_environment_raises_all_limits_and_no_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usual() == Budget()
    monkeypatch.setenv(ENVIRONMENT, "2.5")
    assert usual().hours == 5.0
    assert usual().records == 10_000_000
    assert usual().highest_hz == Budget().highest_hz
    for wrong in ("", "many", "0", "-1", "nan", "inf"):
        monkeypatch.setenv(ENVIRONMENT, wrong)
        with pytest.raises(ValueError, match=f"^{ENVIRONMENT}='{wrong}', a positive number"):
            usual()


def test_the_factor_that_an_error_names_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = halves(tmp_path / "a.mcap", hours=5.0)
    with pytest.raises(CaptureError) as refused:
        Call.open(path)
    factor = str(refused.value).rpartition(f"{ENVIRONMENT}=")[2].partition(" ")[0]
    monkeypatch.setenv(ENVIRONMENT, factor)
    assert Call.open(path).duration == pytest.approx(5 * 3600 + 3, abs=0.1)


def test_an_index_that_lies_gets_nothing_past(tmp_path: Path) -> None:
    """Chunks that claim little and hold much, and one chunk that is there many times."""
    path = notes(tmp_path / "a.mcap")
    with CaptureReader(path) as reader:
        assert reader.finished
        reader._claimed = 0
        reader.budget = Budget(unpacked_bytes=100_000)
        with pytest.raises(CaptureError, match="unpacked_bytes"):
            list(reader.records())


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"eventType":"mark","a":' + b"[" * 101 + b"]" * 101 + b"}", "nested deeper than 100"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested deeper than 100"),
        (b'{"eventType":"mark","a":[' + b"0," * 200_001 + b"0]}", "more than 200000 values"),
    ],
)
def test_a_record_that_makes_no_sense_is_passed_over_and_told(
    tmp_path: Path, body: bytes, why: str
) -> None:
    path = write(tmp_path / "a.mcap", with_rows(("/ws/rx", 1.0, body), ("/ws/tx", 1.1, body)))
    call = Call.open(path)
    told = [event for event in call.events if event.kind == "bad_message"]
    assert [event.time for event in told] == [1.0, 1.1]
    assert all(why in event.text for event in told)
    assert replay(call) is not None
    export(call, tmp_path / "all")
    with (tmp_path / "all" / "a.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows if float(row["time_s"]) in (1.0, 1.1)] == [
        "bad_message"
    ] * 2


@pytest.mark.parametrize(
    "text", [b'"' + b"[" * 500 + b'"', b'{"a":"\\"' + b"[{" * 300 + b'"}', b"[" * 100 + b"]" * 100]
)
def test_brackets_in_a_text_are_none(text: bytes) -> None:
    assert Budget().nonsense(text) is None
    assert Budget(depth=99).nonsense(text) == (
        None if b'"' in text else "JSON nested deeper than 99 levels"
    )


def test_nonsense_is_told_in_no_time_whatever_it_is() -> None:
    for text in (b"[]" * 90_000, b'\\"' * 1_000_000, b'"\\' * 1_000_000, b"[" * 190_000):
        assert isolated(partial(Budget().nonsense, text), LINES, seconds=5).what == "result"


def test_a_frame_of_no_channels_costs_no_replay(tmp_path: Path) -> None:
    call = Call.open(bombs.odd_channels(tmp_path / "a.mcap"))
    assert len([event for event in call.events if event.kind == "bad_message"]) == 6
    assert str(replay(call))


def test_a_number_that_nobody_counts_to_is_none(tmp_path: Path) -> None:
    call = Call.open(bombs.sequence_once(tmp_path / "a.mcap"))
    assert call.stats["lost_messages"] == 0
    assert call.inbound.sequence.max() < 1000
    assert Call.open(bombs.sequence(tmp_path / "b.mcap")).stats["lost_messages"] == 0


def test_a_long_text_is_cut(tmp_path: Path) -> None:
    call = Call.open(bombs.long_text(tmp_path / "a.mcap"))
    assert max(len(event.text) for event in call.events) <= 2000
    assert [len(text) for label in call.labels.items() for text in label] == [2000, 2000]


def test_more_interruptions_than_anybody_makes_are_diagnosed_in_time(tmp_path: Path) -> None:
    path = clears(tmp_path / "a.mcap", 800)
    assert isolated(partial(_findings_of, path), LINES).what == "result"


def _findings_of(path: Path) -> int:
    from workbench.diagnosis import diagnose

    return len(diagnose(Call.open(path)))


# -- sound files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (bombs.flac, "has 4,294,967,296 samples in one signal, at most 134,217,728 are read"),
        (partial(bombs.flac, samples=2**36), "has 68,719,476,735 samples"),
        (partial(bombs.wav, channels=1024), "at 8000 Hz with 1024 channels; 1000 to 192000 Hz are"),
        (partial(bombs.wav, rate=1, claimed=1000), "at 1 Hz with 1 channels"),
        (partial(bombs.wav, rate=2**31 - 1, claimed=1000), "at 2147483647 Hz"),
    ],
)
def test_a_sound_file_that_claims_too_much_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], told: str
) -> None:
    path = make(tmp_path / "a.snd")
    outcome = isolated(partial(Audio.read, path), (ValueError,))
    assert outcome.what == "line"
    assert told in outcome.told
    assert outcome.mb < 100


def test_a_sound_file_has_what_it_holds_and_not_what_it_claims(tmp_path: Path) -> None:
    path = bombs.flac(tmp_path / "a.flac", samples=2**26)
    outcome = isolated(partial(Audio.read, path), (ValueError,))
    assert (outcome.what, outcome.mb < 100) in (("result", True), ("line", True))
    if outcome.what == "result":
        assert len(outcome.told) == 80_000


def test_a_long_sound_file_of_ones_own_may_be_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100_000, np.int16), 8000)
    with pytest.raises(ValueError, match="the limit 'samples'"):
        Audio.read(tmp_path / "a.wav", budget=Budget(samples=99_999))
    assert len(Audio.read(tmp_path / "a.wav", budget=Budget(samples=100_000))) == 100_000


def test_a_call_without_damage_is_whole(tmp_path: Path) -> None:
    assert not [e for e in Call.open(write(tmp_path / "a.mcap", talk())).events if "bad" in e.kind]
