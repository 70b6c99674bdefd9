"""Who speaks into whose words: voices, echoes, keys and crowds are told apart."""

from __future__ import annotations

import numpy as np
import pytest

from tests.captures import SAMPLES, Scene, speech
from workbench.audio import Audio
from workbench.call import Call
from workbench.diagnosis import Finding, diagnose
from workbench.diagnosis.detectors.barge_in import _why_early
from workbench.metrics.speech import levels
from workbench.metrics.speech_level import active_level

KINDS = ("slow_barge_in", "false_barge_in", "early_answer", "dead_air", "noise")


def told(scene: Scene, tmp_path, *kinds: str) -> list[Finding]:
    return list(diagnose(Call.open(scene.write(tmp_path / "a.mcap")), kinds or KINDS))


def at_level(audio: Audio, dbov: float) -> Audio:
    gain = np.float32(10 ** ((dbov - active_level(audio)) / 20))
    return Audio(audio.samples * gain, audio.sample_rate)


#: Who says what, and when: each 0.7 s after the other.
TURNS: list[tuple[str, float]] = []
for _name in ("bot/b07", "caller/c05", "bot/b02", "caller/c06"):
    _at = TURNS[-1][1] + speech(TURNS[-1][0]).duration + 0.7 if TURNS else 0.8
    TURNS.append((_name, _at))
END = TURNS[-1][1] + speech(TURNS[-1][0]).duration + 1.0
#: When the bot's second turn begins.
SECOND = TURNS[2][1]


def talk() -> Scene:
    """The bot asks, the caller answers, the bot goes on for a while."""
    scene = Scene(round(END / 0.02) * 0.02, noise_dbov=-68)
    for name, at in TURNS:
        say = scene.say_bot if name.startswith("bot") else scene.say_caller
        say(at, speech(name))
    return scene


def crowd(secs: float) -> Audio:
    paths = sorted(SAMPLES.glob("bot_voices/*.flac")) + sorted(SAMPLES.glob("human/*.flac"))
    voices = [Audio.read(path).resampled(8000).samples for path in paths]
    count = round(secs * 8000)
    mixed = sum(np.roll(np.resize(v, count), 3001 * i) for i, v in enumerate(voices * 3))
    return Audio((mixed / 10).astype(np.float32), 8000)


def key(frequencies: tuple[float, float], secs: float = 0.25) -> Audio:
    time = np.arange(round(secs * 8000)) / 8000
    return Audio(
        sum(0.1 * np.sin(2 * np.pi * f * time) for f in frequencies).astype(np.float32), 8000
    )


def test_an_ordinary_talk_raises_nothing(tmp_path):
    assert told(talk(), tmp_path) == []


@pytest.mark.parametrize("delay", [0.12, 0.6, 0.9])
@pytest.mark.parametrize("loss_db", [15, 25])
def test_an_echo_is_no_barge_in_even_under_the_callers_words(tmp_path, delay, loss_db):
    """Where it was heard before it is expected, also while the caller is speaking."""
    scene = talk()
    for name, at in TURNS[::2]:
        scene.say_caller(at + delay, speech(name), 10 ** (-loss_db / 20))
    scene.say_caller(SECOND + 2.0, speech("caller/c05").span(0, 0.6))  # and a word into the second
    assert told(scene, tmp_path, "slow_barge_in", "early_answer", "noise") == []


@pytest.mark.parametrize("dbov", [-55, -45])
def test_people_in_the_background_are_no_barge_in(tmp_path, dbov):
    scene = talk()
    scene.say_caller(0.0, at_level(crowd(END), dbov))
    assert [
        f for f in told(scene, tmp_path, "slow_barge_in", "early_answer") if not f.possible
    ] == []


def test_a_crowd_alone_is_possible_at_most(tmp_path):
    scene = Scene(20.0, noise_dbov=-68)
    scene.say_bot(1.0, speech("bot/b02"))
    scene.say_bot(8.0, speech("bot/b07"))
    scene.say_caller(0.0, at_level(crowd(20.0), -24))
    for finding in told(scene, tmp_path, "slow_barge_in", "early_answer"):
        assert finding.possible and finding.severity == "info"


def test_a_key_that_interrupts_is_named(tmp_path):
    scene = talk()
    scene.say_caller(SECOND + 2.0, key((770, 1336)))
    scene.interrupt(SECOND + 2.3)
    (finding,) = told(scene, tmp_path, "false_barge_in")
    assert "key 5" in finding.measurement
    assert finding.severity == "info"


def test_music_that_interrupts_is_named(tmp_path):
    scene = talk()
    scene.say_caller(SECOND + 1.0, speech("bot/hold_music").span(1.0, 4.0))
    scene.interrupt(SECOND + 2.3)
    (finding,) = told(scene, tmp_path, "false_barge_in")
    assert "music" in finding.measurement and finding.severity == "warning"


def test_an_interruption_out_of_nothing_says_so(tmp_path):
    scene = talk()
    scene.interrupt(SECOND + 2.3)
    (finding,) = told(scene, tmp_path, "false_barge_in")
    assert "InterruptionFrame" in finding.remedy


@pytest.mark.parametrize("hertz", [420, 540])
def test_a_cry_that_interrupts_may_be_a_voice(tmp_path, hertz):
    """Its pitch wavers; no detector of voices knows it."""
    time = np.arange(8000) / 8000
    phase = 2 * np.pi * np.cumsum(hertz * (1 + 0.08 * np.sin(2 * np.pi * 5 * time))) / 8000
    wave = sum(np.sin(k * phase) / k for k in range(1, 7))
    wave *= 0.1 * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    scene = talk()
    scene.say_caller(SECOND + 1.8, Audio(wave.astype(np.float32), 8000))
    scene.interrupt(SECOND + 2.3)
    (finding,) = told(scene, tmp_path, "false_barge_in")
    assert finding.severity == "info" and finding.possible
    assert "pitch" in finding.measurement


@pytest.mark.parametrize(
    ("hertz", "secs", "may_be_a_voice"),
    [
        ((352, 704), 0.1, True),
        ((400,), 0.06, True),
        ((180, 484), 0.12, True),
        ((425,), 0.25, False),
    ],
)
def test_a_tone_as_long_as_a_syllable_that_interrupts_may_be_a_voice(
    tmp_path, hertz, secs, may_be_a_voice
):
    """Machines beep for longer: those of a busy line for a quarter of a second."""
    time = np.arange(round(8000 * secs)) / 8000
    wave = sum(0.1 * np.sin(2 * np.pi * f * time) for f in hertz)
    scene = talk()
    scene.say_caller(SECOND + 1.8, Audio(wave.astype(np.float32), 8000))
    scene.interrupt(SECOND + 2.3)
    (finding,) = told(scene, tmp_path, "false_barge_in")
    assert finding.possible == may_be_a_voice
    assert (finding.severity == "info") == may_be_a_voice


def whispered(audio: Audio) -> Audio:
    """The same with noise in the place of a voice, as its loudness goes."""
    size = audio.sample_rate // 50
    loudness = np.sqrt(np.convolve(np.square(audio.samples), np.ones(size) / size, "same"))
    noise = np.random.default_rng(4).standard_normal(len(loudness))
    return Audio((loudness * np.diff(noise, prepend=0) * 0.5).astype(np.float32), audio.sample_rate)


def growled(secs: float) -> Audio:
    """A voice through effects: one short tone after the other."""
    time = np.arange(640) / 8000
    tones = [
        np.append(0.1 * np.sin(2 * np.pi * hertz * time), np.zeros(160))
        for hertz in np.resize([300, 520, 390, 640], round(10 * secs))
    ]
    return Audio(np.concatenate(tones).astype(np.float32), 8000)


@pytest.mark.parametrize("who", ["nobody", "caller", "bot", "a growl"])
def test_where_somebody_is_heard_without_a_voice_nobody_may_wait(tmp_path, who):
    """Whispered words are no silence, though no detector of voices hears them."""
    scene = Scene(24.0, noise_dbov=-68)
    scene.say_bot(0.5, speech("bot/b07").span(0, 2))
    whisper = whispered(speech("caller/c06").span(0, 2))
    for at in (4.0, 14.0):
        scene.say_caller(at, speech("caller/c05").span(0, 1.5))
        if who == "caller":
            scene.say_caller(at + 2.0, whisper)
        if who == "bot":
            scene.say_bot(at + 2.0, whisper)
        if who == "a growl":
            scene.say_bot(at + 2.0, growled(2.0))
        scene.say_bot(at + 5.5, speech("bot/b02").span(0, 3))
    (finding,) = told(scene, tmp_path, "slow_response")
    unsure = who != "nobody"
    assert finding.possible == unsure and (finding.severity == "info") == unsure


@pytest.mark.parametrize(("secs", "unsure"), [(1.8, True), (2.3, False)])
def test_a_wait_near_the_threshold_is_possibly_too_long(tmp_path, secs, unsure):
    """The words have soft edges of 0.4 s in all."""
    scene = Scene(24.0, noise_dbov=-68)
    words = speech("caller/c05").span(0.1, 1.4)
    for at in (1.0, 12.0):
        scene.say_caller(at, words)
        scene.say_bot(at + words.duration + secs, speech("bot/b02").span(0.1, 3))
    (finding,) = told(scene, tmp_path, "slow_response")
    assert (finding.value < 2300) == unsure
    assert finding.possible == unsure and (finding.severity == "info") == unsure


def test_a_held_note_that_a_word_follows_is_the_word(tmp_path):
    """Of one utterance, however many sounds lead up to the voice."""
    scene = talk()
    time = np.arange(3200) / 8000
    for start, hertz in ((1.6, 300), (2.1, 440)):
        note = sum(np.sin(2 * np.pi * k * hertz * time) / k for k in (1, 2)) * 0.1
        scene.say_caller(SECOND + start, Audio(note.astype(np.float32), 8000))
    scene.say_caller(SECOND + 2.7, speech("caller/c05"))
    scene.interrupt(SECOND + 1.9)
    assert told(scene, tmp_path, "false_barge_in") == []


def test_a_hiss_that_begins_a_word_is_the_word(tmp_path):
    """Noticed at its "sh", which is no voice yet."""
    rng = np.random.default_rng(1)
    hiss = 0.03 * np.diff(rng.standard_normal(3200), prepend=0.0).astype(np.float32)
    scene = talk()
    scene.say_caller(SECOND + 2.0, Audio(hiss, 8000))
    scene.say_caller(SECOND + 2.45, speech("caller/c05"))
    scene.interrupt(SECOND + 2.15)
    assert told(scene, tmp_path, "false_barge_in") == []


def test_hold_music_is_not_nobody(tmp_path):
    scene = Scene(24.0, noise_dbov=-68)
    scene.say_bot(0.8, speech("bot/b07"))
    words = speech("caller/c05")
    at = 1.5 + speech("bot/b07").duration
    scene.say_caller(at, words)
    music = np.resize(speech("bot/hold_music").resampled(8000).samples, 22 * 8000)
    scene.say_caller(at + words.duration + 0.5, Audio(music, 8000))
    assert told(scene, tmp_path, "dead_air", "noise") == []


def test_an_offset_silences_nobody(tmp_path):
    scene = talk()
    scene.caller += np.float32(0.1)
    assert told(scene, tmp_path, "dead_air", "false_barge_in", "noise") == []


def test_one_who_thinks_is_given_time(tmp_path):
    """Some seconds after a question are the caller's; then the bot should ask again."""
    for gap, expected in ((4.0, "info"), (10.0, "warning"), (19.0, "error")):
        scene = Scene(36.0, noise_dbov=-68)
        question, answer = speech("bot/b07").span(0, 3.0), speech("caller/c05")
        scene.say_bot(0.8, question)
        scene.say_caller(3.9 + gap, answer)
        scene.say_bot(4.9 + gap + answer.duration, speech("bot/b02").span(0, 3.0))
        found = [f for f in told(scene, tmp_path, "dead_air") if f.span[1] < 35]
        assert [f.severity for f in found] == [expected]


def test_a_bot_that_waited_for_a_word_says_so(tmp_path):
    scene = Scene(24.0, noise_dbov=-68)
    scene.say_bot(0.8, speech("bot/b07").span(0, 3.0))
    scene.say_caller(4.5, speech("caller/c05"))
    asked = 4.5 + speech("caller/c05").duration + 5.0
    word = speech("caller/c06").span(0, 0.5)
    scene.say_caller(asked, word)
    scene.say_bot(asked + 0.7, speech("bot/b02"))
    found = [f for f in told(scene, tmp_path, "dead_air") if f.span[0] > 5]
    assert found and "had been waiting" in found[0].cause


def test_a_background_that_goes_on_is_not_the_bot_that_goes_on(tmp_path):
    """A mixer plays under everything; the caller speaks when the bot has finished."""
    scene = Scene(24.0, noise_dbov=-68)
    music = speech("bot/hold_music").resampled(8000).samples
    under = np.resize(music * np.float32(0.05), 22 * 8000)
    for at, name in ((1.0, "bot/b07"), (12.0, "bot/b02")):
        words = speech(name, 8000).samples
        under[round(at * 8000) :][: len(words)] += words[: len(under) - round(at * 8000)]
    scene.say_bot(0.5, Audio(under, 8000))
    scene.say_caller(2.0 + speech("bot/b07").duration, speech("caller/c05"))
    assert told(scene, tmp_path, "slow_barge_in", "early_answer", "stale_audio") == []


@pytest.mark.parametrize("beat_db", [0.0, 9.0, 18.0])
@pytest.mark.parametrize("rest", [0.0, 0.25, 0.35])
def test_the_beats_of_a_background_are_no_words(tmp_path, beat_db, rest):
    """Behind an interruption, which empties the queue, it goes on with a bar that is like the last."""
    scene = Scene(20.0, noise_dbov=-68)
    bar = 10 ** (-58 / 20) * scene.rng.standard_normal(4000).astype(np.float32)
    bar[:1200] *= np.float32(10 ** (beat_db / 20))
    bar[4000 - round(rest * 8000) :] = 0.0
    rhythm, cut = np.tile(bar, 36), 24 * 4000 + 960
    words, clear = speech("bot/b07", 8000).samples, 0.5 + cut / 8000
    rhythm[8000 : 8000 + len(words)] += words
    scene.say_bot(0.5, Audio(rhythm[:cut], 8000))
    scene.say_caller(clear - 0.4, unbroken(3.0))
    scene.interrupt(clear)
    scene.say_bot(clear + 0.04, Audio(rhythm[cut + 4000 - 640 :], 8000))
    assert told(scene, tmp_path, "slow_barge_in", "early_answer", "stale_audio") == []


# -- a bot that goes on over the caller ------------------------------------------------------------


def unbroken(secs: float) -> Audio:
    """Words without a pause."""
    words = speech("caller/c01").resampled(8000)
    level = levels(words)
    loud = np.repeat(level > -45.0, round(0.01 * 8000))[: len(words)]
    return Audio(np.resize(words.samples[: len(loud)][loud], round(secs * 8000)), 8000)


def resumed(after: float, words: float) -> Scene:
    """Interrupted in its second turn, the bot goes on ``after`` the clear; the caller speaks on."""
    scene = talk()
    scene.chunks = [chunk for chunk in scene.chunks if chunk.said <= SECOND]
    cut = SECOND + 2.3
    scene.caller[round((SECOND + 1.0) * 8000) :] *= np.float32(0.0)
    scene.say_caller(cut - 0.3, unbroken(words))
    scene.interrupt(cut)
    scene.say_bot(cut + after, speech("bot/b03"))
    return scene


@pytest.mark.parametrize("after", [0.4, 1.0])
def test_a_bot_that_goes_on_over_the_caller_did_not_wait(tmp_path, after):
    (finding,) = told(resumed(after, 3.0), tmp_path, "slow_barge_in", "early_answer")
    assert (finding.kind, finding.side) == ("early_answer", "bot")
    begins = SECOND + 2.3 + after
    assert finding.span == pytest.approx((begins, SECOND + 2.0 + 3.0), abs=0.15)
    assert "queued behind the interruption" in finding.remedy


def test_a_bot_that_waits_until_the_caller_has_finished_did_wait(tmp_path):
    assert told(resumed(3.4, 3.0), tmp_path, "slow_barge_in", "early_answer") == []


@pytest.mark.parametrize("times", [2, 3, 5])
def test_a_bot_that_begins_in_each_pause_is_told_however_soon_it_stops(tmp_path, times):
    """0.9 s of pause; the bot begins after 0.5 s, and is silent 0.3 s after the caller goes on."""
    scene = Scene(6.0 + 3.0 * times, noise_dbov=-68)
    scene.say_bot(0.5, speech("bot/b07").span(0.0, 1.5))
    for number in range(times + 1):
        at = 3.0 + 2.9 * number
        scene.say_caller(at, unbroken(2.0))
        if number < times:
            scene.say_bot(at + 2.5, speech("bot/b03").span(0.0, 3.0))
            scene.interrupt(at + 3.2)
    findings = told(scene, tmp_path, "early_answer")
    assert [(f.value, len(f.parts)) for f in findings] == [(times, times)] * (times > 2)


@pytest.mark.parametrize(("sound_secs", "told_of"), [(0.02, 0), (0.25, 1)])
def test_a_click_before_the_words_is_not_when_the_bot_begins(tmp_path, sound_secs, told_of):
    """It comes 0.85 s before the caller has finished, the first word 0.25 s before."""
    scene = talk()
    scene.chunks = [chunk for chunk in scene.chunks if chunk.said <= SECOND]
    begins = SECOND + 8.0
    scene.caller[round((SECOND + 1.0) * 8000) :] *= np.float32(0.0)
    scene.say_caller(begins - 2.0, unbroken(2.25))
    scene.say_bot(begins - 0.6, at_level(unbroken(sound_secs), -26))
    scene.say_bot(begins, unbroken(2.0))
    assert len(told(scene, tmp_path, "early_answer")) == told_of


def test_each_early_answer_has_its_own_cause():
    pauses, amid, both = (_why_early(some) for some in ([0.4, 0.6], [0.0], [0.5, 0.0]))
    assert "paused for 0.6 s" in pauses[0] and "VADParams.stop_secs" in pauses[1]
    assert "made no pause" in amid[0] and "stop_secs" not in amid[1]
    assert "paused for 0.5 s" in both[0] and "1 of these times" in both[0]
    assert "stop_secs" in both[1] and "queued behind the interruption" in both[1]


def test_a_voice_in_a_background_is_not_the_bots(tmp_path):
    """A song under all of the call; nobody answers the caller's second question."""
    scene = Scene(30.0, noise_dbov=-68)
    song = speech("caller/c01", 8000).samples * np.float32(10 ** (-18 / 20))
    under = np.resize(song, 28 * 8000)
    words = speech("bot/b07", 8000).samples
    for at in (8000, 8000 + len(words)):
        under[at : at + len(words)] += words
    scene.say_bot(0.5, Audio(under, 8000))
    scene.say_caller(12.0, unbroken(6.0))
    call = Call.open(scene.write(tmp_path / "a.mcap"))
    assert call.ambience is not None
    assert call.bot_speech[0, 0] > 1.2 and call.bot_speech[-1, 1] < 3.0 + 2 * len(words) / 8000


@pytest.mark.parametrize(("dbov", "told_of"), [(-46, False), (-24, True)])
def test_a_strain_of_music_far_behind_the_bot_is_not_the_bot_that_goes_on(tmp_path, dbov, told_of):
    """Too short for a background that goes on; as loud as the bot it is what the bot plays."""
    scene = Scene(14.0, noise_dbov=-68)
    words = speech("bot/b03").span(0.0, 4.5)
    scene.say_bot(0.8, words)
    over = 0.8 + words.duration
    scene.say_bot(over + 0.1, at_level(speech("bot/hold_music").span(5.0, 6.8), dbov))
    scene.say_caller(over + 0.5, speech("caller/c05"))
    kinds = {finding.kind for finding in told(scene, tmp_path, "slow_barge_in", "early_answer")}
    assert bool(kinds) == told_of
