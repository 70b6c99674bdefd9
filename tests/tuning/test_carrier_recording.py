"""A carrier's recording: planted delay, drift and gain are found, and the leg it went over."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from pipecat_bandwidth.encodings import PCMU, wire_format
from tests.captures import Scene, speech
from tests.tuning.test_resend import frames
from workbench.audio import Audio
from workbench.call import Call
from workbench.metrics import distances
from workbench.tuning import carrier_recording
from workbench.tuning.batch import tune_captures
from workbench.tuning.comparison import SETTINGS, compare
from workbench.tuning.legs import LEGS, Leg, lacking
from workbench.tuning.tuning import tune

WIDE = wire_format("PCM", 16000)

#: What can be told from a recording, on this machine.
SINGLE = [name for name, leg in LEGS.items() if "+" not in name and not lacking(leg)]


@pytest.fixture(scope="module", autouse=True)
def travelled_once() -> Iterator[None]:
    """A leg is the same each time, as ``test_legs`` tells: what it made of a voice is kept meanwhile.

    Opus and AMR take most of the time of telling a leg, and these tests send two voices over them.
    """
    travel, kept = Leg.apply, dict[tuple[Leg, int, bytes], Audio]()

    def apply(leg: Leg, audio: Audio) -> Audio:
        key = leg, audio.sample_rate, sha256(audio.samples).digest()
        if key not in kept:
            kept[key] = travel(leg, audio)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Leg, "apply", apply)
        yield


def scene(wire: object = WIDE) -> Scene:
    made = Scene(30.0, wire=wire, pipeline_rate=24000)  # type: ignore[arg-type]
    made.say_bot(1.0, speech("bot/b05"))
    made.say_bot(14.0, speech("bot/b09"))
    made.say_caller(11.0, speech("caller/c05"))
    return made


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Call:
    return Call.open(scene().write(tmp_path_factory.mktemp("carrier") / "wide.mcap"))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Call:
    return Call.open(scene(PCMU).write(tmp_path_factory.mktemp("carrier") / "narrow.mcap"))


def recorded(
    heard: Audio, *, delay: float = 0.0, ppm: float = 0.0, gain: float = 0.0, rate: int = 16000
) -> Audio:
    """Int16 as another machine would have recorded it, whose clock is fast by so many ppm."""
    stretched = soxr.resample(heard.samples, heard.sample_rate, rate * (1 + ppm * 1e-6))
    late = round(delay * rate)
    moved = np.pad(stretched, (late, 0)) if late >= 0 else stretched[-late:]
    loud = Audio(moved * np.float32(10 ** (gain / 20)), rate)
    return Audio.from_pcm(loud.pcm(), rate)


@cache
def over(leg: str, call: Call) -> Audio:
    return LEGS[leg].apply(call.played)


PLANTED = [
    (0.0, 0.0, 0.0),
    (3.25, 100.0, -6.0),
    (-2.5, -100.0, 4.0),
    (12.75, 1000.0, -12.0),
    (0.0625, -1000.0, 2.0),
    (-5.75, 321.0, 0.0),
]


@pytest.mark.parametrize(("delay", "ppm", "gain"), PLANTED)
def test_delay_drift_and_gain_are_found(delay: float, ppm: float, gain: float, call: Call) -> None:
    rate = 8000 if ppm > 0 else 16000
    heard = over("G.711", call)
    recording = recorded(heard, delay=delay, ppm=ppm, gain=gain, rate=rate)
    found = carrier_recording.align(call, recording)
    assert found.delay_ms == pytest.approx(1000 * delay, abs=0.05)
    assert found.drift_ppm == pytest.approx(ppm, abs=1.0)
    assert found.gain_db == pytest.approx(gain, abs=0.2)
    assert found.matched > (0.99 if delay >= 0 else 0.7)
    assert found.jitter_ms < 0.01
    # And the recording is on the call's clock, as loud as it was sent.
    assert len(found.heard) == round(call.played.duration * rate)
    later = max(0.0, -delay) + 0.1
    pair = (a.resampled(8000).span(later, 29) for a in (heard, found.heard))
    reference, again = (distances.band_limited(audio) for audio in pair)
    assert distances.si_sdr(reference, again) > 35
    level = distances.active_level(reference)
    assert distances.active_level(again) == pytest.approx(level, abs=0.2)


@pytest.mark.parametrize("leg", SINGLE)
def test_each_leg_is_told(leg: str, call: Call) -> None:
    found = carrier_recording.align(
        call, recorded(over(leg, call), delay=2.5, ppm=250.0, gain=-5.0)
    )
    assert found.leg == leg
    assert found.family == ("wideband" if LEGS[leg].bandwidth_hz > 4000 else "narrowband")
    assert found.distance_db[leg] < 1.0
    assert f"measured, a {found.family} leg" in found.sentence
    assert found.sent_hz > 7000
    assert found.heard_hz > 6000 if found.family == "wideband" else found.heard_hz < 4000


VOICE = speech("bot/b05")


@cache
def voice_over(leg: str) -> Audio:
    return LEGS[leg].apply(VOICE)


#: Seconds that a recording begins late and ends early, while the bot speaks.
CUTS = [(0.5, 0.0), (2.3, 0.0), (0.0, 0.6), (1.7, 1.7)]


@pytest.mark.parametrize(
    ("leg", "cut"),
    [*((leg, CUTS[-1]) for leg in SINGLE), *itertools.product(("G.711", "G.722"), CUTS[:-1])],
)
def test_a_recording_of_a_part_names_no_other_leg(leg: str, cut: tuple[float, float]) -> None:
    """Every leg with a cut at both ends, every cut of a narrow and a wide leg."""
    late, early = cut
    whole = voice_over(leg)
    found = carrier_recording.align(VOICE, recorded(whole.span(late, whole.duration - early)))
    assert found.leg in (leg, None)
    assert (found.stands_for is not None) or LEGS[leg].bandwidth_hz == 4000
    assert found.covered == pytest.approx((late, VOICE.duration - early), abs=0.001)
    assert found.matched < 1.0
    assert found.gain_db == pytest.approx(0.0, abs=0.5)


def test_windows_of_which_half_was_recorded_are_not_enough() -> None:
    """Half a second here and there is found at its place, but never a window as a whole."""
    with pytest.raises(ValueError, match="are found whole on it"):
        carrier_recording.align(VOICE, recorded(voice_over("G.711").span(2.0, 2.9)))


@pytest.mark.parametrize("leg", ["G.711", "G.722", "GSM"])
def test_a_file_at_8_khz_cannot_show_the_band_but_shows_a_narrow_codecs_noise(
    leg: str, call: Call
) -> None:
    found = carrier_recording.align(call, recorded(over(leg, call), ppm=-60.0, rate=8000))
    assert found.family == "unknown"
    assert found.leg == (leg if leg != "G.722" else None)  # which takes sound above 4 kHz
    assert found.distance_db[leg] < 1.0  # the leg carried more than the file shows
    assert "a file at 8000 Hz does not show whether the leg is wide" in found.sentence


def test_over_a_narrow_wire_the_band_shows_nothing(narrow: Call) -> None:
    found = carrier_recording.align(narrow, recorded(over("G.722", narrow), delay=1.0))
    assert (found.family, found.leg, found.stands_for) == ("unknown", None, None)
    assert "too little to show whether the leg is wide" in found.sentence


def test_noise_like_that_of_no_codec_is_not_given_a_name(call: Call) -> None:
    noise = np.random.default_rng(1).standard_normal(len(call.played)).astype(np.float32)
    hiss = Audio(call.played.samples + 0.05 * noise, 16000)
    found = carrier_recording.align(call, recorded(hiss))
    assert found.leg is None
    assert found.family == "wideband"
    assert "nothing in this file tells its codec (its noise is as like that of" in found.sentence


def test_the_caller_on_top_does_not_hinder_finding_it(call: Call) -> None:
    heard = over("G.722", call)
    caller = call.caller_sent.resampled(16000).samples[: len(heard)]
    both = Audio(np.clip(heard.samples + caller, -1, 1), 16000)
    found = carrier_recording.align(call, recorded(both, delay=1.5, ppm=40.0))
    assert found.family == "wideband"
    assert found.delay_ms == pytest.approx(1500, abs=0.1)
    assert found.drift_ppm == pytest.approx(40, abs=2)


def test_utterances_that_the_queue_moved_are_followed() -> None:
    """The second of three, by 12 ms."""
    spoken = [
        np.pad(speech(name, 16000).samples, 16000) for name in ("bot/b05", "bot/b09", "bot/b03")
    ]
    said = Audio(np.concatenate(spoken), 16000)
    heard = LEGS["G.711"].apply(said).samples
    second = slice(len(spoken[0]) // 2, len(spoken[0]) // 2 + len(spoken[1]) // 2)
    moved = heard.copy()
    moved[second] = np.roll(heard, round(0.012 * 8000))[second]
    found = carrier_recording.align(said, recorded(Audio(moved, 8000), delay=0.5))
    assert found.matched > 0.9
    assert found.jitter_ms < 12
    assert found.stands_for is None or found.leg == "G.711"
    assert found.delay_ms == pytest.approx(500, abs=12)


def test_audio_alone_is_enough() -> None:
    voice = speech("bot/b03")
    found = carrier_recording.align(voice, recorded(LEGS["G.711"].apply(voice), delay=0.75))
    assert found.delay_ms == pytest.approx(750, abs=0.05)
    assert (found.family, found.leg) == ("narrowband", "G.711")


def test_another_channel_is_refused(call: Call) -> None:
    with pytest.raises(ValueError, match="is it another call, or the other channel"):
        carrier_recording.align(call, call.caller_sent)


def test_silence_is_refused(call: Call) -> None:
    with pytest.raises(ValueError, match="is silent, so it does not hold what the bot sent"):
        carrier_recording.align(call, Audio(np.zeros(80000, np.float32), 8000))


def test_too_little_to_look_for_is_refused(call: Call) -> None:
    with pytest.raises(ValueError, match="windows of 1 s of speech to find again, wanted three"):
        carrier_recording.align(speech("bot/b01").span(0, 1.2), call.played)


def test_of_two_channels_the_bots_is_read(tmp_path: Path) -> None:
    path = tmp_path / "both.wav"
    soundfile.write(path, np.array([[0.1, 0.5]] * 100), 8000)
    assert carrier_recording.read(path).samples[0] == pytest.approx(0.5, abs=1e-4)
    assert carrier_recording.read(path, 0).samples[0] == pytest.approx(0.1, abs=1e-4)
    with pytest.raises(ValueError, match="no channel 2"):
        carrier_recording.read(path, 2)
    soundfile.write(path, np.full(100, 0.25), 8000)
    assert carrier_recording.read(path).samples[0] == pytest.approx(0.25, abs=1e-4)


# -- recordings that were wrongly written or read ------------------------------------------------


def interleaved(voice: Audio, size: int) -> Audio:
    """The caller and the bot by turns, so many samples each."""
    other = speech("caller/c05", voice.sample_rate).samples
    both = np.zeros((2, -(-len(voice) // size), size), np.float32)
    both[1].reshape(-1)[: len(voice)] = voice.samples
    both[0].reshape(-1)[: len(other)] = other[: both[0].size]
    return Audio(np.ascontiguousarray(both.transpose(1, 0, 2)).reshape(-1), voice.sample_rate)


def padded(voice: Audio) -> Audio:
    whole = voice.samples[: len(voice) // 4000 * 4000].reshape(-1, 4000)
    return Audio(np.pad(whole, ((0, 0), (0, 160))).reshape(-1), voice.sample_rate)


MISTAKEN = {
    "20 ms of silence were put in each 0.52 s, 2.4 s per minute": padded,
    "its polarity is inverted": lambda voice: Audio(-voice.samples, voice.sample_rate),
    "its header says 4000 Hz, it was recorded at 8000 Hz": lambda v: Audio(v.samples, 4000),
    "its header says 16000 Hz, it was recorded at 8000 Hz": lambda v: Audio(v.samples, 16000),
    "it is in stereo and was read as mono": lambda voice: interleaved(voice, 1),
    "two tracks take turns each 20 ms": lambda voice: interleaved(voice, 160),
}


@pytest.mark.parametrize("mistake", MISTAKEN)
def test_a_mistake_is_undone_and_told_by_its_name(mistake: str) -> None:
    heard = recorded(voice_over("G.711"), rate=8000)
    found = carrier_recording.align(VOICE, MISTAKEN[mistake](heard))  # type: ignore[no-untyped-call]
    assert found.mistake.startswith(mistake)
    assert found.sentence.startswith(f"Undone in the carrier's recording: {mistake}")
    assert found.matched > 0.9
    assert found.delay_ms == pytest.approx(0.0, abs=0.2)


# -- what tells no leg ---------------------------------------------------------------------------


def line(heard: Audio, dbov: float) -> Audio:
    noise = np.random.default_rng(3).standard_normal(len(heard)) * 10 ** (dbov / 20)
    return Audio(heard.samples + noise.astype(np.float32), heard.sample_rate)


def mixed(heard: Audio, call: Call) -> Audio:
    caller = call.caller_sent.resampled(heard.sample_rate).samples[: len(heard)]
    caller = np.pad(caller, (0, len(heard) - len(caller)))
    return Audio(np.clip(heard.samples + caller, -1, 1), heard.sample_rate)


def eight_bits(heard: Audio) -> Audio:
    return Audio(np.round(heard.samples * 128) / np.float32(128), heard.sample_rate)


def levelled(heard: Audio) -> Audio:
    """A gain control that follows the level within 0.3 s."""
    size = round(0.3 * heard.sample_rate)
    power = np.convolve(np.square(heard.samples, dtype=float), np.ones(size) / size, "same")
    return Audio(
        (heard.samples * np.clip(0.05 / np.sqrt(power + 1e-6), 0.3, 3)).clip(-1, 1),
        heard.sample_rate,
    )


ORDINARY = {
    "a line at -35 dBov": lambda heard, call: line(heard, -35),
    "both sides in one": mixed,
    "8 bits": lambda heard, call: eight_bits(heard),
    "gain control": lambda heard, call: levelled(heard),
}


@pytest.mark.parametrize("what", ORDINARY)
def test_an_ordinary_recording_at_8_khz_names_no_leg(what: str, call: Call) -> None:
    heard = ORDINARY[what](over("G.711", call), call)  # type: ignore[no-untyped-call]
    found = carrier_recording.align(call, recorded(heard, rate=8000, delay=0.5))
    assert (found.leg, found.stands_for) == (None, None)
    assert "Nothing in this file tells the leg (" in found.sentence


@pytest.mark.parametrize(("leg", "dbov"), [("G.711", -70), ("G.711", -60), ("GSM", -50)])
def test_the_even_noise_of_a_line_is_told_from_the_codecs(
    leg: str, dbov: float, call: Call
) -> None:
    found = carrier_recording.align(call, recorded(line(over(leg, call), dbov), rate=8000))
    assert found.leg == leg
    assert found.distance_db[leg] < 1.0


def test_a_lost_packet_now_and_then_is_no_noise_of_the_codec(call: Call) -> None:
    heard = over("GSM", call)
    samples = heard.samples.copy()
    for start in range(8000, len(samples) - 160, 16000):
        samples[start : start + 160] = 0
    found = carrier_recording.align(call, recorded(Audio(samples, 8000), rate=8000))
    assert found.leg == "GSM"


@pytest.mark.parametrize(("kind", "rate"), [("MP3", 8000), ("MP3", 16000), ("OGG", 16000)])
def test_of_a_coded_file_no_leg_is_named(kind: str, rate: int, call: Call, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind.lower()}"
    soundfile.write(path, recorded(over("G.711", call), rate=rate).samples, rate, format=kind)
    found = carrier_recording.align(call, carrier_recording.read(path))
    assert (found.leg, found.stands_for) == (None, None)
    assert "the file's own coding" in found.sentence


def test_a_recording_that_tells_nothing_leaves_the_assumption(call: Call) -> None:
    found = compare(
        call, SETTINGS[::2], recording=recorded(mixed(over("G.711", call), call), rate=8000)
    )
    assert set(found.table["leg"]) == {"G.711"}
    assert "take PCMU" in found.sentence and "take PCM 16" not in found.sentence
    assert found.assumption.startswith("Assumed of the far end, of which neither the capture nor")


def test_a_coded_recording_of_a_wide_leg_shows_that_it_is_wide(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    heard = line(over("G.722", call), -60)
    soundfile.write(path, recorded(heard).samples, 16000, format="MP3")
    found = carrier_recording.align(call, carrier_recording.read(path))
    assert (found.family, found.leg, found.stands_for) == ("wideband", None, "G.722")
    assert "nothing in this file tells its codec" in found.sentence


# -- in a comparison ---------------------------------------------------------------------------


@pytest.mark.parametrize(("leg", "take"), [("G.711", "PCMU"), ("G.722", "PCM 16 kHz")])
def test_a_comparison_takes_the_leg_that_was_measured(leg: str, take: str, call: Call) -> None:
    settings = SETTINGS[::2]
    recording = recorded(over(leg, call), delay=1.0, ppm=50.0, gain=-3.0)
    found = compare(call, settings, recording=recording)
    assert set(found.table["leg"]) == {leg}
    assert found.measured is not None and found.measured.leg == leg
    assert found.sentences[0] == found.measured.sentence
    assert f"take {take}" in found.sentence
    assert found.assumption.startswith("The leg whose noise is on the carrier's recording: ")
    as_sent = found.table.set_index("setting").loc["PCM 16 kHz"]
    assert found.recorded["lsd_db"] == pytest.approx(as_sent["lsd_db"], abs=0.5)
    assert found.recorded["estoi"] == pytest.approx(as_sent["estoi"], abs=0.01)
    assert found.recorded["bandwidth_hz"] == pytest.approx(as_sent["bandwidth_hz"], abs=500)


@pytest.mark.parametrize(("leg", "take"), [("G.711", "PCMU"), ("G.722", "PCM 16 kHz")])
@pytest.mark.parametrize("cut", [(2.3, 0.0), (0.0, 2.3)])
def test_what_was_not_recorded_is_not_measured(
    leg: str, take: str, cut: tuple[float, float]
) -> None:
    whole = voice_over(leg)
    part = whole.span(cut[0], whole.duration - cut[1])
    found = compare(VOICE, SETTINGS[::2], recording=recorded(part))
    assert set(found.table["leg"]) == {leg}
    assert f"take {take}" in found.sentence
    as_sent = found.table.set_index("setting").loc["PCM 16 kHz"]
    assert found.recorded["lsd_db"] == pytest.approx(as_sent["lsd_db"], abs=0.5)
    assert found.recorded["estoi"] == pytest.approx(as_sent["estoi"], abs=0.01)


def test_legs_that_are_asked_for_are_assumed_all_the_same(call: Call) -> None:
    measured = carrier_recording.align(call, recorded(over("G.722", call)))
    found = compare(call, SETTINGS[:1], legs="G.711", recording=measured)
    assert set(found.table["leg"]) == {"G.711"}
    assert found.measured is measured
    assert found.assumption.startswith("Assumed of the far end, which no capture shows")


def test_frames_without_a_clock_are_refused() -> None:
    with pytest.raises(ValueError, match="frames alone have no clock"):
        compare(frames(speech("bot/b02")), recording=speech("bot/b02"))


# -- tuning on the legs that recordings show ---------------------------------------------------


@pytest.mark.slow
def test_calls_are_tuned_on_the_legs_that_their_recordings_show(call: Call) -> None:
    """It was assumed that they were narrow; the recording knows better."""
    found = tune(call, recordings=[recorded(over("G.722", call), delay=1.0)])
    assert found.setting.label == "PCM 16 kHz"
    assert "recordings of 1 of 1 calls show: G.722 in 1." in str(found)
    assert "Assumed of the far end" not in str(found)
    assert found.elsewhere["G.711"] == "PCMU"
    assert found.provenance["leg"] == "G.722" and found.provenance["recorded"] == ["G.722"]


def test_each_call_counts_on_its_own_leg(call: Call) -> None:
    """One on a wide leg, one on a narrow one, and one of which nothing is known."""
    voices = [speech("bot/b05", 24000), speech("bot/b09", 24000), speech("bot/b03", 24000)]
    heard = [
        recorded(LEGS[leg].apply(voice))
        for leg, voice in zip(("G.722", "G.711"), voices[:2], strict=True)
    ]
    found = tune(voices, recordings=[*heard, None])
    assert "of 2 of 3 calls show: G.722 in 1 and G.711 in 1" in str(found)
    assert "Of the others G.711 is assumed." in str(found)
    assert found.why[0].startswith("Take PCM 16 kHz") and "over the legs recorded" in found.why[0]
    own = found.table[found.table["leg"] == "the legs recorded"].set_index("setting")
    narrow = found.table[found.table["leg"] == "G.711"].set_index("setting")
    assert 0 < own["behind"]["PCMU"]
    assert own["missing_percent"]["PCM 16 kHz"] < narrow["missing_percent"]["PCM 16 kHz"]


def test_a_recording_of_another_call_tells_nothing(call: Call) -> None:
    other = recorded(LEGS["G.722"].apply(speech("caller/c05")))
    found = tune(call, recordings=[other])
    assert found.setting.label == "PCMU"
    assert "Assumed of the far end, which no capture shows: G.711." in str(found)
    assert "1 recording does not tell." in str(found)


def test_a_recording_for_each_call(call: Call) -> None:
    with pytest.raises(ValueError, match="2 recordings for 1 calls, wanted one for each"):
        tune(call, recordings=[None, None])


def test_files_of_recordings_reach_the_workers(call: Call, tmp_path: Path) -> None:
    heard = recorded(over("G.722", call), delay=1.0)
    path = tmp_path / "carrier.wav"
    soundfile.write(path, np.stack([np.zeros_like(heard.samples), heard.samples], axis=1), 16000)
    found = tune_captures([call.path], recordings=[path])
    assert found.setting.label == "PCM 16 kHz"
    assert found.provenance["recorded"] == ["G.722"]
