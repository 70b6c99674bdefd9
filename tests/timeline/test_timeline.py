"""The player's kernel side: views, sound, marks and state. The browser's is in tests/browser."""

from __future__ import annotations

import base64
import io
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
from PIL import Image

from tests.captures import ANCHOR_NS, Scene, speech
from workbench.audio import Audio
from workbench.call import Call
from workbench.capture import CaptureWriter
from workbench.diagnosis import diagnose
from workbench.metrics.speech_level import active_level
from workbench.timeline import CallTimeline
from workbench.timeline.scene import Choice, on_clock
from workbench.timeline.stretching import stretched
from workbench.timeline.views import CHUNK_SECS, PLAY_RATE, Track
from workbench.tuning.comparison import compare

SECRET = "Bearer hunter2 +15551234567 <b>bold</b>"


def tone(hz: float, secs: float, rate: int, peak: float = 0.5) -> Audio:
    time = np.arange(round(secs * rate)) / rate
    return Audio((peak * np.sin(2 * np.pi * hz * time)).astype(np.float32), rate)


def noise(secs: float, rate: int) -> Audio:
    samples = np.random.default_rng(7).standard_normal(round(secs * rate)) * 0.1
    return Audio(np.clip(samples, -0.99, 0.99).astype(np.float32), rate)


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """14 s: the bot speaks, with a hole of 0.3 s, the caller answers, 0.2 s of that is lost."""
    scene = Scene(14.0, pipeline_rate=16000)
    scene.say_bot(0.5, speech("bot/b02"))
    scene.hole(2.0, 0.3)
    scene.say_caller(7.0, speech("caller/c02"))
    scene.lose(8.0, 10)
    scene.say_bot(11.5, speech("bot/b09"))
    scene.log(3.0, f"a warning about {SECRET}", level=3)
    return Call.open(scene.write(tmp_path_factory.mktemp("timeline") / "call.mcap"))


@pytest.fixture
def timeline(call: Call) -> CallTimeline:
    return CallTimeline(call, diagnose(call))


def ask(timeline: CallTimeline, **question: Any) -> tuple[dict[str, Any], list[bytes]]:
    """Send what a browser would, and take what it would get."""
    sent: list[tuple[dict[str, Any], list[bytes]]] = []
    timeline.send = lambda content, buffers: sent.append((content, buffers))
    timeline._on_message(timeline, {"ask": "1", **question}, [])
    assert sent[0][0].pop("ask") == "1"
    return sent[0]


def ask_sound(timeline: CallTimeline, side: str, choice: str, chunk: int = 0) -> np.ndarray:
    question = {"side": side, "choice": choice, "chunk": chunk, "speed": 1}
    _, buffers = ask(timeline, kind="sound", **question)
    return np.frombuffer(buffers[0], np.int16)


# -- envelopes and spectrograms --------------------------------------------------------------------


@pytest.mark.parametrize(
    "span", [(0.0, 20.0), (3.0, 9.5), (12.0, 12.01), (19.0, 21.0), (-1.0, 1.0)]
)
def test_envelope_holds_the_extremes_of_every_column(span: tuple[float, float]) -> None:
    audio = noise(20.0, 16000)
    start, end = span
    columns = 300
    envelope = Track(audio).envelope(start, end, columns)
    edges = np.linspace(start, end, columns + 1) * audio.sample_rate
    for column, (low, high) in enumerate(envelope.tolist()):
        first, last = int(np.floor(edges[column])), int(np.ceil(edges[column + 1]))
        inside = audio.samples[max(first, 0) : max(last, 0)]
        if len(inside) == 0:
            assert (low, high) == (0, 0) or column in (0, columns - 1) or end - start < 1
            continue
        near = audio.samples[max(first - 300, 0) : max(last + 300, 0)]  # entries of the pyramid
        assert near.min() * 127 - 1 <= low <= inside.min() * 127 + 8
        assert inside.max() * 127 - 8 <= high <= near.max() * 127 + 1


def test_envelope_never_misses_a_click_at_any_zoom() -> None:
    samples = np.zeros(3_000_000, np.float32)
    samples[1_234_567] = 0.9
    track = Track(Audio(samples, 8000))
    at = 1_234_567 / 8000
    for width in (370.0, 60.0, 5.0, 0.3, 0.01):
        envelope = track.envelope(at - width * 0.4, at + width * 0.6, 800)
        assert envelope[:, 1].max() == round(0.9 * 127)
        column = int(envelope[:, 1].argmax())
        assert abs(column - 320) <= max(2, 800 * 0.04 / width)


def test_spectrogram_shows_a_tone_where_it_is() -> None:
    silence = np.zeros(8000 * 4, np.float32)
    audio = Audio(np.concatenate([silence, tone(1000, 4.0, 8000).samples]), 8000)
    picture = Track(audio).spectrogram(0.0, 8.0, 400, 96, 12000)
    assert picture.shape == (96, 400)
    assert not picture[:, :195].any()
    loudest = picture[:, 210:390].argmax(axis=0)
    assert set(95 - loudest) == {8}  # rows of 125 Hz: 1000 to 1125
    level = (picture[95 - 8, 300] / 255) * 80 - 110
    assert level == pytest.approx(-30, abs=0.5)  # -9 dBov is beyond the top of the scale


def test_spectrogram_is_empty_above_the_signals_own_highest_frequency() -> None:
    picture = Track(noise(2.0, 8000)).spectrogram(0.0, 2.0, 100, 96, 12000)
    assert picture[64:].min() > 0
    assert not picture[:64].any()


def test_views_of_nothing_are_empty() -> None:
    track = Track(Audio(np.zeros(0, np.float32), 8000))
    assert not track.envelope(0.0, 1.0, 10).any()
    assert not track.spectrogram(0.0, 1.0, 10, 8, 4000).any()
    assert track.sound(0).shape == (0,)
    assert track.peak == 0


# -- sound ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
def test_chunks_join_to_what_the_whole_would_be(rate: int) -> None:
    audio = noise(9.37, rate)
    track = Track(audio)
    parts = [track.sound(chunk) for chunk in range(4)]
    assert [len(part) for part in parts[:2]] == [CHUNK_SECS * PLAY_RATE] * 2
    assert len(parts[3]) == 0
    joined = np.concatenate(parts).astype(int)
    whole = audio.samples if rate == PLAY_RATE else soxr.resample(audio.samples, rate, PLAY_RATE)
    whole = np.rint(whole * 32768)
    assert abs(len(joined) - len(whole)) <= 1
    size = min(len(joined), len(whole))
    assert np.abs(joined[:size] - whole[:size]).max() <= 2


@pytest.mark.parametrize("speed", [0.5, 0.75, 1.25, 1.5, 2.0])
def test_another_speed_keeps_the_pitch_and_joins(speed: float) -> None:
    track = Track(tone(440, 12.0, 16000))
    parts = [track.sound(chunk, speed) for chunk in range(3)]
    assert [len(part) for part in parts] == [round(CHUNK_SECS * PLAY_RATE / speed)] * 3
    joined = np.concatenate(parts) / 32768
    spectrum = np.abs(np.fft.rfft(joined * np.hanning(len(joined))))
    assert np.argmax(spectrum) * PLAY_RATE / len(joined) == pytest.approx(440, abs=1)
    steepest = 0.5 * 2 * np.pi * 440 / PLAY_RATE
    assert np.abs(np.diff(joined)).max() < 1.3 * steepest  # no click, at the joints either
    assert np.std(joined) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)


def test_speed_one_is_the_sound_itself() -> None:
    samples = noise(1.0, PLAY_RATE).samples
    assert np.array_equal(stretched(samples, 100, 500, 1.0), samples[100:600])


def test_loudness_is_matched_by_the_level_of_speech() -> None:
    quiet = Audio(speech("bot/b02").samples * np.float32(0.1), 24000)
    for audio in (speech("bot/b02"), quiet):
        gain = Choice("x", lambda audio=audio: audio).gain_db
        assert active_level(audio) + gain == pytest.approx(-26.0, abs=0.3)
    assert Choice("x", lambda: Audio(np.zeros(8000, np.float32), 8000)).gain_db == 0


def test_matching_never_clips() -> None:
    samples = speech("bot/b02").samples * np.float32(0.02)
    samples[1000] = 0.9  # one click
    assert Choice("x", lambda: Audio(samples, 24000)).gain_db <= 20 * np.log10(1 / 0.9) + 1e-6


# -- what the browser asks -------------------------------------------------------------------------


def test_a_view_is_answered_with_three_pictures_a_side(timeline: CallTimeline, call: Call) -> None:
    tracks = {"caller": "caller_sent", "bot": "bot_said"}
    view = {"start": 0.0, "end": call.duration, "columns": 200, "rows": 50, "tracks": tracks}
    reply, buffers = ask(timeline, kind="view", **view)
    assert [axes["side"] for axes in reply["tracks"]] == ["caller", "bot"]
    assert [axes["top_hz"] for axes in reply["tracks"]] == [4000, 8000]
    assert [len(buffer) for buffer in buffers] == [400, 10000, 200] * 2
    caller, bot = (np.frombuffer(b, np.int8).reshape(200, 2) for b in buffers[::3])
    level = np.frombuffer(buffers[5], np.uint8)
    assert (level <= np.abs(bot.astype(int)).max(axis=1) + 6).all() and level.max() > 10
    column = 200 / call.duration
    assert caller[: int(6 * column), 1].max() < 5 < caller[int(7.2 * column) :, 1].max()
    assert bot[int(0.7 * column) : int(6 * column), 1].max() > 40


def test_sound_is_that_of_the_signal(timeline: CallTimeline, call: Call) -> None:
    sound = ask_sound(timeline, "bot", "bot_said", chunk=1)
    wanted = call.bot_said.resampled(PLAY_RATE).span(4.0, 8.0)
    assert np.abs(sound[: len(wanted)] - wanted.samples * 32768).max() <= 2


def test_marks_tell_what_happened_when(timeline: CallTimeline) -> None:
    marks = ask(timeline, kind="marks")[0]["marks"]
    json.dumps(marks)
    assert [mark["start"] for mark in marks] == sorted(mark["start"] for mark in marks)
    assert {"start", "stop", "warning"} <= {m["kind"] for m in marks if m["row"] == "event"}
    (hole,) = (mark for mark in marks if mark["row"] == "underrun")
    assert hole["start"] == pytest.approx(2.1, abs=0.15)
    assert hole["end"] - hole["start"] == pytest.approx(0.3, abs=0.05)
    findings = {mark["kind"]: mark for mark in marks if mark["row"] == "finding"}
    assert findings["sequence_gap"]["side"] == "caller"
    assert findings["sequence_gap"]["listen"] == "caller_sent"
    assert "200 ms" in findings["sequence_gap"]["text"]
    assert findings["underrun"]["parts"] == [[hole["start"], hole["end"]]]
    assert findings["sequence_gap"]["title"] == "Caller audio missing"
    assert findings["underrun"]["title"] == hole["title"] == "Gap in playback"
    assert {m["title"] for m in marks if m["row"] == "event"} >= {"start", "stop", "warning"}
    assert findings["underrun"]["severity"] == "error"
    assert findings["underrun"]["remedy"]


def test_a_text_of_the_capture_is_one_bounded_line(tmp_path: Path) -> None:
    scene = Scene(2.0)
    scene.log(1.0, "a\x1b[31m\nb" + "x" * 5000, level=3)
    marks = CallTimeline(Call.open(scene.write(tmp_path / "call.mcap")))._scene.marks
    (text,) = (mark["text"] for mark in marks if mark["kind"] == "warning")
    assert len(text) <= 600
    assert text.isprintable()


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"kind": "money"}, "'money' is asked for"),
        (
            {"kind": "sound", "side": "bot", "choice": "no", "chunk": 0, "speed": 1},
            "KeyError: 'no'",
        ),
        ({}, "KeyError: 'kind'"),
    ],
)
def test_a_question_without_answer_is_answered_with_why(
    timeline: CallTimeline, question: dict[str, Any], said: str
) -> None:
    reply, buffers = ask(timeline, **question)
    assert said in reply["error"]
    assert buffers == []


def test_a_picture_is_never_larger_than_a_screen(timeline: CallTimeline) -> None:
    view = {"start": 0, "end": 1, "columns": 10**9, "rows": 10**9, "tracks": {"bot": "bot_said"}}
    _, buffers = ask(timeline, kind="view", **view)
    assert sum(map(len, buffers)) == 4096 * 2 + 4096 * 512


@pytest.mark.parametrize(("secs", "columns"), [(10.0, 100), (10.0, 1000), (3.0, 500)])
def test_the_level_of_a_tone_is_that_of_a_tone(secs: float, columns: int) -> None:
    samples = 0.5 * np.sin(2 * np.pi * 440 * np.arange(80000) / 8000)
    track = Track(Audio(samples.astype(np.float32), 8000))
    level = track.rms(0.0, secs, columns)[1:-8]
    np.testing.assert_allclose(level, 127 * 0.5 / np.sqrt(2), atol=1)
    assert track.rms(20.0, 20 + secs, columns).max() == 0
    assert len(track.rms(0.0, 0.5, 1000)) == 0  # a wave is seen there


def test_a_picture_up_to_the_voice_shows_nothing_of_what_is_above() -> None:
    time = np.arange(48000) / 24000
    track = Track(Audio((0.3 * np.sin(2 * np.pi * 9000 * time)).astype(np.float32), 24000))
    assert track.spectrogram(0.2, 1.8, 50, 90, 12000.0).max() > 200
    assert track.spectrogram(0.2, 1.8, 50, 90, 4000.0).max() < 100


# -- what a notebook keeps -------------------------------------------------------------------------


def test_saved_state_holds_no_text_and_no_sound_of_the_call(
    timeline: CallTimeline, call: Call
) -> None:
    ask(timeline, kind="marks")
    ask_sound(timeline, "bot", "bot_said")
    state = {
        key: value for key, value in timeline.get_state().items() if key not in ("_esm", "_css")
    }
    overview = state.pop("_overview")
    text = json.dumps(state, default=str)
    for word in ("hunter2", "1555", "c-1", "s-1", "agent", "warning", str(call.path.name)):
        assert word not in text, word
    assert len(text) < 4000
    assert len(overview) <= 2 * 2 * 20 * call.duration  # 20 columns a second, two sides


def test_the_overview_of_an_hour_is_as_small(call: Call) -> None:
    scene = CallTimeline(call)._scene
    scene.call = type("Hour", (), {"duration": 3600.0})()  # type: ignore[assignment]
    assert len(scene.overview({"caller": "caller_sent"})) == 2400


def test_a_picture_stays_without_a_kernel(
    timeline: CallTimeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an output of its own: beside a widget without a model no front end shows it."""
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr("workbench.timeline.still.display", lambda data, **_: shown.append(data))
    timeline._ipython_display_()
    still, data = shown
    assert "application/vnd.jupyter.widget-view+json" in data
    assert still.keys() == {"text/plain", "image/png"}
    assert data["text/plain"] == f"CallTimeline(14.0 s, {len(timeline._findings)} findings)"
    assert still["image/png"].endswith(timeline._still)
    png = base64.b64decode(still["image/png"])
    assert len(png) < 200_000
    image = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), int)
    assert image.shape[1] == 1000
    blue = np.abs(image - (0x00, 0x72, 0xB2)).sum(axis=2) < 60  # the caller's waveform
    x = np.flatnonzero(blue[78:128, 90:].sum(axis=0) > 8) / 910 * 14.0
    assert x.min() == pytest.approx(7.0, abs=0.3)
    assert x.max() < 12


def test_the_axis_is_that_of_what_was_shown_not_of_what_is_fetched_ahead(
    timeline: CallTimeline, call: Call
) -> None:
    def top_hz(bot: str) -> float:
        view = {"start": 0.0, "end": 1.0, "columns": 10, "rows": 10, "tracks": {"bot": bot}}
        reply, _ = ask(timeline, kind="view", **view)
        return float(reply["tracks"][0]["top_hz"])

    ask_sound(timeline, "bot", "bot_said")
    assert top_hz("caller_heard") == 4000
    assert top_hz("bot_said") == 8000
    assert top_hz("caller_heard") == 8000  # side by side they are to be compared


# -- changing what there is ------------------------------------------------------------------------


def test_a_word_that_was_cut_does_not_click_where_speech_resumes(tmp_path: Path) -> None:
    """A tone is cut at its peak; the next stretch begins with silence, and then a tone."""
    scene = Scene(6.0, pipeline_rate=24000)
    time = np.arange(24000 * 2) / 24000
    loud = Audio((0.8 * np.cos(2 * np.pi * 1000 * time)).astype(np.float32), 24000)
    quiet = Audio(np.concatenate([np.zeros(2400, np.float32), loud.samples[:24000]]), 24000)
    scene.say_bot(0.5, loud)
    scene.interrupt(1.2)
    scene.say_bot(3.0, quiet)
    call = Call.open(scene.write(tmp_path / "call.mcap"))
    heard = compare(call, legs=["G.711"]).signals["PCM 24 kHz", "G.711"]
    laid = on_clock(call, heard)
    peaks = [np.abs(laid.span(*s).samples).max() for s in ((0.5, 1.2), (2.5, 3.09), (3.11, 4.0))]
    assert peaks[0] > 0.7 and peaks[2] > 0.7
    assert peaks[1] < 0.01
    resumes = round(sum(f.duration for f in call.audio_out if f.time < 2) * heard.sample_rate)
    assert np.abs(heard.samples[resumes : resumes + 20]).max() > 0.03  # there would be one


def test_words_of_any_length_that_were_cut_move_nothing_behind_them(tmp_path: Path) -> None:
    """An utterance that was interrupted is compared up to a multiple of 20 ms: here 13 ms short."""
    scene = Scene(14.0, pipeline_rate=16000)
    tone = Audio(np.sin(np.arange(round(1.033 * 16000)) * 0.2).astype(np.float32) / 2, 16000)
    begins = [0.5, 3.5, 6.5, 9.5, 12.0]
    for begin in begins:
        scene.say_bot(begin, tone)
        scene.interrupt(begin + 2.0)
    call = Call.open(scene.write(tmp_path / "call.mcap"))
    laid = on_clock(call, compare(call, legs=["G.711"]).reference)
    for begin in begins:
        heard, said = (a.span(begin + 0.01, begin + 0.9).samples for a in (laid, call.bot_said))
        assert np.array_equal(heard, said), begin


def test_settings_of_a_comparison_lie_on_the_calls_clock(call: Call) -> None:
    comparison = compare(call, legs=["G.711"])
    assert np.array_equal(on_clock(call, comparison.reference).samples, call.bot_said.samples)
    timeline = CallTimeline(call, comparison=comparison)
    assert set(timeline._scene.names("bot")) > {"PCMU / G.711", "PCM 24 kHz / G.711"}
    heard = ask_sound(timeline, "bot", "PCMU / G.711", 0).astype(float)
    said = ask_sound(timeline, "bot", "bot_said", 0).astype(float)
    assert np.corrcoef(heard, said)[0, 1] > 0.95  # a frame out of step and it would be 0
    gap = slice(round(2.2 * PLAY_RATE), round(2.3 * PLAY_RATE))  # the bot's own hole
    assert np.abs(heard[gap]).max() < 300


def test_replace_adds_and_exchanges_a_sound(timeline: CallTimeline, call: Call) -> None:
    timeline.replace("candidate", tone(500, call.duration, 8000))
    first = ask_sound(timeline, "bot", "candidate")
    timeline.replace("candidate", tone(900, call.duration, 8000, peak=0.25))
    second = ask_sound(timeline, "bot", "candidate")
    assert first.max() == pytest.approx(2 * second.max(), rel=0.02)
    (entry,) = (c for c in timeline._contents["sides"][1]["choices"] if c["name"] == "candidate")
    assert entry["revision"] == 1
    assert timeline._contents["readings"] == 1  # no need to ask for marks again


def test_replace_takes_a_sound_in_step_with_what_the_bot_said(
    timeline: CallTimeline, call: Call
) -> None:
    timeline.replace("candidate", compare(call, legs=["G.711"]).reference, in_step=True)
    assert np.array_equal(
        ask_sound(timeline, "bot", "candidate"), ask_sound(timeline, "bot", "bot_said")
    )


def test_a_signal_of_the_call_is_not_replaced(timeline: CallTimeline) -> None:
    with pytest.raises(ValueError, match="'bot_said' is a signal of the call"):
        timeline.replace("bot_said", tone(500, 1.0, 8000))


def test_sounds_are_whole_while_they_are_exchanged(timeline: CallTimeline) -> None:
    peaks = {round(peak * 32768) for peak in (0.125, 0.25, 0.5)}
    timeline.replace("candidate", tone(750, 4.0, PLAY_RATE, 0.5))
    answers: list[int] = []
    stop = threading.Event()

    def listen() -> None:
        while not stop.is_set():
            question = {
                "kind": "sound",
                "side": "bot",
                "choice": "candidate",
                "chunk": 0,
                "speed": 1,
            }
            _, buffers = timeline._answer(question)
            sound = np.frombuffer(buffers[0], np.int16).astype(int)
            answers.append(int(sound.max()) if np.ptp(sound[:96].reshape(3, 32)) else 0)

    thread = threading.Thread(target=listen)
    thread.start()
    for turn in range(30):
        timeline.replace("candidate", tone(750, 4.0, PLAY_RATE, (0.125, 0.25, 0.5)[turn % 3]))
        time.sleep(0.005)
    stop.set()
    thread.join(10)
    assert set(answers) <= peaks
    assert answers


class Recorder:
    """Writes a scene in two goes, as a call that is under way would be."""

    def __init__(self, path: Path, scene: Scene) -> None:
        self.writer = CaptureWriter(path, max_records=10**6)
        self.records = sorted(scene._records(), key=lambda record: record[0])

    def record_until(self, secs: float) -> None:
        while self.records and self.records[0][0] <= secs:
            at, topic, body = self.records.pop(0)
            self.writer.record(topic, ANCHOR_NS + round(at * 1e9), body)
        self.writer.flush()


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    scene = Scene(6.0)
    scene.say_caller(1.0, speech("caller/c02"))
    return Recorder(tmp_path / "live.mcap", scene)


def test_only_a_recording_that_grows_is_live(recorder: Recorder, tmp_path: Path) -> None:
    recorder.record_until(3.0)
    path = recorder.writer.path
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(path.read_bytes())
    assert not CallTimeline(Call.open(cut))._contents["live"]
    assert CallTimeline(Call.open(path))._contents["live"]
    hour_ago = time.time() - 3600
    os.utime(path, (hour_ago, hour_ago))
    assert not CallTimeline(Call.open(path))._contents["live"]  # its bot was killed


def test_refresh_shows_the_call_as_it_is_by_now(recorder: Recorder) -> None:
    recorder.record_until(3.0)
    timeline = CallTimeline(Call.open(recorder.writer.path))
    timeline.replace("candidate", tone(500, 3.0, 8000))
    assert timeline._contents["duration"] == pytest.approx(3.0, abs=0.05)
    assert timeline._contents["live"]
    recorder.record_until(5.0)
    timeline.refresh()
    assert timeline._contents["duration"] == pytest.approx(5.0, abs=0.05)
    assert timeline.view == [0.0, timeline.call.duration]  # it was the whole call, and is
    assert timeline._contents["readings"] == 2
    assert "candidate" in timeline._scene.names("bot")
    recorder.record_until(9.0)
    recorder.writer.close()
    timeline.refresh()  # the file has another name by now
    assert not timeline._contents["live"]
    assert timeline.call.duration == pytest.approx(6.0, abs=0.05)


def test_refresh_leaves_a_closer_view_alone(recorder: Recorder) -> None:
    recorder.record_until(3.0)
    timeline = CallTimeline(Call.open(recorder.writer.path))
    timeline.view = [1.0, 2.0]
    recorder.record_until(5.0)
    timeline.refresh()
    assert timeline.view == [1.0, 2.0]
    recorder.writer.close()


def test_follow_goes_on_until_the_capture_is_finished(recorder: Recorder) -> None:
    recorder.record_until(2.0)
    timeline = CallTimeline(Call.open(recorder.writer.path))
    timeline.follow(every_secs=0.05)
    (thread,) = (t for t in threading.enumerate() if t.name == "timeline")
    recorder.record_until(9.0)
    recorder.writer.close()
    thread.join(60)
    assert not thread.is_alive()
    assert timeline.call.finished
    assert timeline.call.duration == pytest.approx(6.0, abs=0.05)


def test_unfollow_ends_the_thread(recorder: Recorder) -> None:
    recorder.record_until(2.0)
    timeline = CallTimeline(Call.open(recorder.writer.path))
    timeline.follow(every_secs=30.0)
    (thread,) = (t for t in threading.enumerate() if t.name == "timeline")
    timeline.close()
    thread.join(10)
    assert not thread.is_alive()
    recorder.writer.close()


def test_an_unknown_choice_falls_back_to_the_first(call: Call) -> None:
    timeline = CallTimeline(call)
    timeline.bot = "long gone"
    timeline.replace("candidate", tone(500, 1.0, 8000))  # draws the overview anew
    assert len(timeline._overview) > 0


def test_findings_may_come_later_and_are_marked_with_those_of_the_person(tmp_path: Path) -> None:
    scene = Scene(6.0)
    scene.say_bot(0.5, speech("bot/b02"))
    scene.hole(2.0, 0.3)
    call = Call.open(scene.write(tmp_path / "call.mcap"))
    timeline = CallTimeline(call)
    assert not [mark for mark in marks_of(timeline) if mark["row"] == "finding"]
    readings = timeline._contents["readings"]
    timeline.findings = diagnose(call)
    assert timeline._contents["readings"] > readings
    assert [m["rank"] for m in marks_of(timeline) if m["row"] == "finding"]
    written = {"start": 2.0, "end": 2.3, "text": "<b>here</b>"}
    reply, _ = timeline._answer({"kind": "note", "write": written})
    (note,) = [mark for mark in reply["marks"] if mark["row"] == "note"]
    assert (note["start"], note["end"], note["written"]) == (2.0, 2.3, "<b>here</b>")
    assert [one.text for one in timeline.notes.read()] == ["<b>here</b>"]
    reply, _ = timeline._answer({"kind": "note", "remove": note["id"]})
    assert "note" not in {mark["row"] for mark in reply["marks"]}


def test_notes_that_cannot_be_read_are_said_and_the_rest_is_marked(tmp_path: Path) -> None:
    call = Call.open(Scene(3.0).write(tmp_path / "call.mcap"))
    (tmp_path / "call.mcap.notes.json").write_text("{")
    reply, _ = CallTimeline(call)._answer({"kind": "marks"})
    assert "left as it is" in reply["problem"] and reply["marks"]


def test_what_lies_before_and_after_the_call_is_drawn_as_nothing(tmp_path: Path) -> None:
    scene = Scene(3.0)
    scene.say_bot(0.0, speech("bot/b02"))
    timeline = CallTimeline(Call.open(scene.write(tmp_path / "call.mcap")))
    question = {"kind": "view", "start": -3.0, "end": 6.0, "columns": 90, "rows": 8,
                "tracks": {"bot": "caller_heard"}}  # fmt: skip
    _, (envelope, spectrogram, _) = timeline._answer(question)
    inside = np.frombuffer(envelope, np.int8).reshape(90, 2)
    assert not inside[:29].any() and not inside[61:].any() and inside[31:59].any()
    level = np.frombuffer(spectrogram, np.uint8).reshape(8, 90)
    assert not level[:, :29].any() and not level[:, 61:].any() and level[:, 31:59].any()


def marks_of(timeline: CallTimeline) -> list[dict[str, Any]]:
    return timeline._answer({"kind": "marks"})[0]["marks"]
