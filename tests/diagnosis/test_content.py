"""Faults inside the sound, and what only looks like them."""

from __future__ import annotations

import io
import re
import wave

import msgspec
import numpy as np
import pytest
import soundfile

from pipecat_bandwidth.encodings import FORMATS, PCMU
from tests.captures import Scene, speech
from tests.misread import WRONG, as_samples
from workbench.audio import Audio
from workbench.call import Call
from workbench.call.frames import frames_of
from workbench.diagnosis import Finding, diagnose, excerpt
from workbench.diagnosis.detectors import continuity, order
from workbench.diagnosis.finding import Part
from workbench.metrics.speech import levels

PHRASES = ("caller/c05", "caller/c01")


def found(scene: Scene, tmp_path, *kinds: str) -> list[Finding]:
    return list(diagnose(Call.open(scene.write(tmp_path / "a.mcap")), kinds or None))


def talk(**settings) -> Scene:
    """Both sides speak twice in thirty seconds."""
    scene = Scene(30.0, **settings)
    for at, name in ((0.8, "bot/b03"), (16.3, "bot/b02")):
        scene.say_bot(at, speech(name).span(0.0, 5.0))
    for at, name in zip((10.1, 22.5), PHRASES, strict=True):
        scene.say_caller(at, speech(name))
    return scene


# -- holes in words ----------------------------------------------------------------------------


def formant(secs: float = 6.0, rate: int = 8000) -> Audio:
    """Vowels of a synthesiser, parted by closures of digital silence into which they fade."""
    rng, parts = np.random.default_rng(3), []
    while sum(map(len, parts)) < secs * rate:
        count = int(rng.uniform(0.09, 0.16) * rate)
        time = np.arange(count) / rate
        vowel = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 20))
        fade = np.minimum(1, (count - np.arange(count)) / (0.02 * rate)) ** 3
        attack = np.minimum(1, np.arange(count) / (0.004 * rate))
        parts += [0.1 * vowel * fade * attack, np.zeros(int(rng.uniform(0.02, 0.08) * rate))]
    return Audio(np.concatenate(parts).astype(np.float32), rate)


def test_closures_of_a_synthesiser_are_no_dropouts(tmp_path):
    scene = Scene(24.0)
    scene.say_bot(1.0, formant())
    scene.say_caller(10.0, formant())
    assert found(scene, tmp_path, "dropout") == []


def test_an_abrupt_closure_among_many_that_fade_is_possible_only(tmp_path):
    samples = formant().samples.copy()
    starts = np.flatnonzero((samples[1:] == 0) & (samples[:-1] != 0)) + 1
    first = int(starts[starts > 16000][0])
    time = np.arange(400) / 8000  # instead of the fading end, and of the next attack
    vowel = 0.1 * sum(np.sin(2 * np.pi * 120 * k * time + 1) / k for k in range(1, 20))
    last = first + int(np.argmax(samples[first:] != 0))
    samples[first - 400 : first] = samples[last : last + 400] = vowel
    scene = Scene(12.0)
    scene.say_bot(1.0, Audio(samples, 8000))
    findings = found(scene, tmp_path, "dropout")
    assert [(f.severity, f.possible) for f in findings] == [("info", True)]


@pytest.mark.parametrize("gain_db", [0, -26])
@pytest.mark.parametrize("side", ["caller", "bot"])
def test_holes_in_words_are_found_at_any_level(tmp_path, side, gain_db):
    """In the loudest places of one phrase: 40 ms of zeros, of a caller at -49 dBov too."""
    audio = speech("caller/c05", 8000)
    samples = audio.samples * np.float32(10 ** (gain_db / 20))
    power = np.convolve(np.square(samples), np.ones(800), "same")
    places = [int(np.argmax(power[first : first + 8000])) + first for first in (2000, 12000, 22000)]
    for at in places:
        samples[at : at + 320] = 0
    scene = Scene(12.0, noise_dbov=-200)
    (scene.say_caller if side == "caller" else scene.say_bot)(1.0, Audio(samples, 8000))
    findings = found(scene, tmp_path, "dropout")
    assert {finding.side for finding in findings} == {side}
    starts = [part.start for finding in findings for part in finding.parts]
    assert starts == pytest.approx([1.0 + at / 8000 for at in places], abs=0.03)
    assert sum(finding.value for finding in findings) == pytest.approx(120, abs=10)


# -- bytes that are something else -----------------------------------------------------------------


def alaw(audio: Audio) -> bytes:
    """A-law by its definition: thirteen segments, every other bit inverted."""
    linear = np.abs(audio.samples.astype(np.float64)) * 4096
    exponent = np.clip(np.floor(np.log2(np.maximum(linear, 1))) - 4, 0, 7).astype(int)
    step = 2.0 ** np.maximum(exponent, 1)
    mantissa = np.clip(linear / step - np.where(exponent > 0, 16, 0), 0, 15).astype(int)
    code = (exponent << 4 | mantissa) | np.where(audio.samples >= 0, 0x80, 0)
    return bytes((code ^ 0x55).astype(np.uint8))


def test_mu_law_handed_over_as_samples_is_named(tmp_path):
    scene = talk()
    scene.chunks = []
    said = PCMU.encode(speech("bot/b03", 8000).pcm())
    scene.say_bot(0.8, Audio.from_pcm(said[: len(said) // 2 * 2], 8000))
    found_all = found(scene, tmp_path)
    (finding,) = (finding for finding in found_all if finding.kind == "wrong_codec")
    assert finding.side == "bot"
    assert "are mu-law, read as 16-bit samples" in finding.measurement
    assert not {f.kind for f in found_all} & {"dropout", "clipping", "level_mismatch"}


def test_misread_bytes_are_heard_as_what_they_are(tmp_path):
    scene = talk()
    scene.chunks = []
    voice = speech("bot/b03", 8000)
    said = PCMU.encode(voice.pcm())
    scene.say_bot(0.8, Audio.from_pcm(said[: len(said) // 2 * 2], 8000))
    call = Call.open(scene.write(tmp_path / "call.mcap"))
    (finding,) = diagnose(call, ["wrong_codec"])
    meant = excerpt(call, finding, as_meant=True)
    assert meant.sample_rate == 8000
    # Two codes were in each sample that was read: it lasts twice as long as it seemed to.
    assert meant.duration == pytest.approx(2 * (finding.span[1] - finding.span[0]), rel=0.02)
    ours, theirs = levels(meant)[200:1200], levels(voice)
    lag = int(np.argmax(np.correlate(theirs + 100, ours - ours.mean(), "valid")))
    assert np.corrcoef(ours, theirs[lag : lag + len(ours)])[0, 1] > 0.95
    sound = Call.open(talk().write(tmp_path / "sound.mcap"))
    with pytest.raises(ValueError, match="bot_said is not known to be anything else"):
        excerpt(sound, finding, as_meant=True)


def test_a_law_read_as_mu_law_is_named(tmp_path):
    scene = talk(noise_dbov=-200)
    heard = PCMU.decode(alaw(Audio(scene.caller, 8000)))
    scene.caller = np.frombuffer(heard, "<i2").astype(np.float32) / 32768
    (finding,) = found(scene, tmp_path, "wrong_codec", "noise", "clipping")
    assert (finding.kind, finding.side) == ("wrong_codec", "caller")
    assert "are A-law, read as mu-law" in finding.measurement


@pytest.mark.parametrize("name", WRONG)
def test_of_bytes_that_are_no_such_samples_nothing_else_is_told(tmp_path, name):
    """All that rests on what the bot said is silent, whichever way it is garbage."""
    scene = Scene(14.0, pipeline_rate=24000)
    scene.say_caller(0.3, speech("caller/c05"))
    scene.say_bot(
        6.0, as_samples(WRONG[name](speech("bot/b03", 24000).span(0, 6)), 24000).span(0, 7)
    )
    kinds = {finding.kind for finding in found(scene, tmp_path) if finding.severity != "info"}
    assert kinds == {"wrong_layout" if name.startswith("two channels") else "wrong_codec"}


@pytest.mark.parametrize("wire", FORMATS[1:], ids=str)
def test_samples_swapped_on_the_wire_are_told_there(tmp_path, wire):
    scene = talk(wire=wire, pipeline_rate=wire.sample_rate)
    for chunk in scene.chunks:
        chunk.payload = np.frombuffer(chunk.payload, "<i2").byteswap().tobytes()
    (finding,) = found(scene, tmp_path, "wrong_codec")
    assert (finding.side, finding.listen) == ("bot", "bot_sent")
    assert "bytes swapped" in finding.measurement


def test_what_came_wrong_is_told_once(tmp_path):
    """The frames are swapped, and so is what was sent of them."""
    scene = talk(wire=FORMATS[1], pipeline_rate=8000)
    for chunk in scene.chunks:
        chunk.frame = np.frombuffer(chunk.frame, "<i2").byteswap().tobytes()
        chunk.payload = chunk.frame
    (finding,) = found(scene, tmp_path, "wrong_codec")
    assert finding.listen == "bot_said"


@pytest.mark.parametrize("kind", ["hiss", "chirps", "fax"])
def test_what_only_sounds_like_static_is_no_wrong_encoding(tmp_path, kind):
    rng, time = np.random.default_rng(1), np.arange(4 * 8000) / 8000
    symbol = (time * 2400).astype(int)
    sound = {
        "hiss": rng.standard_normal(len(time)),
        "chirps": np.sin(2 * np.pi * (2100 + 300 * np.sign(np.sin(2 * np.pi * 2 * time))) * time),
        # Quadrature modulation at 1800 Hz: 2400 symbols a second.
        "fax": np.sin(2 * np.pi * 1800 * time + np.pi / 4 * rng.integers(0, 8, 9600)[symbol]),
    }[kind]
    scene = talk()
    scene.say_caller(3.0, Audio((0.2 * sound / np.std(sound)).astype(np.float32), 8000))
    assert found(scene, tmp_path, "wrong_codec") == []


# -- where two blocks meet ---------------------------------------------------------------------------


def test_two_answers_frame_by_frame_take_turns(tmp_path):
    scene = talk()
    scene.chunks = []
    scene.say_bot(1.0, speech("bot/b03"))
    one, scene.chunks = scene.chunks, []
    scene.say_bot(1.0, speech("bot/b01"))
    for index, pair in enumerate(zip(one, scene.chunks, strict=False)):
        for half, chunk in enumerate(pair):
            chunk.time = 1.0 + max(0.0, (2 * index + half) * 0.04 - 0.08)
    scene.chunks = [chunk for pair in zip(one, scene.chunks, strict=False) for chunk in pair]
    findings = found(scene, tmp_path, "wrong_layout", "block_joint", "dropout")
    assert [(f.kind, f.side) for f in findings] == [("wrong_layout", "bot")]
    assert findings[0].span[0] == pytest.approx(1.0, abs=0.3)


def test_two_sources_on_the_callers_side_take_turns(tmp_path):
    scene = Scene(20.0)
    both = [speech(name, 8000).samples[8000:40000].reshape(-1, 160) for name in PHRASES]
    count = min(map(len, both))
    scene.caller[8000 : 8000 + 320 * count] = np.hstack([x[:count] for x in both]).ravel()
    (finding,) = found(scene, tmp_path, "wrong_layout")
    assert finding.side == "caller"


def test_messages_that_overtake_each_other_in_a_burst_are_not_two_sources(tmp_path):
    scene = talk()
    late = (scene.arrival >= 2.0) & (scene.arrival < 12.0)
    scene.arrival[late] = 12.0 + 1e-5 * scene.rng.permutation(int(late.sum()))
    assert found(scene, tmp_path, "wrong_layout") == []


def test_one_voice_takes_no_turns(tmp_path):
    assert (
        found(talk(), tmp_path, "wrong_layout", "block_joint", "out_of_order", "wrong_codec") == []
    )


def test_messages_converted_one_by_one_are_heard_as_joints(tmp_path):
    """The serializer makes 16 kHz of each message by itself."""
    for name, whole in (("whole", True), ("alone", False)):
        scene = talk(heard_rate=16000)
        call = Call.open(scene.write(tmp_path / f"{name}.mcap"))
        frames = [
            frame if whole else replace_pcm(frame, Audio.from_pcm(frame.pcm, 16000))
            for frame in call.frames_in
        ]
        call.frames_in = frames_of(frames)
        findings = list(diagnose(call, ["block_joint"]))
        assert [(f.side, f.listen) for f in findings] == (
            [] if whole else [("caller", "bot_heard")]
        )


def replace_pcm(frame, audio: Audio):
    """The same frame as it comes of a filter that knows nothing beside it."""
    alone = audio.resampled(8000).resampled(16000)
    return msgspec.structs.replace(frame, pcm=alone.pcm())


def test_each_step_at_a_start_is_a_part(tmp_path):
    scene = Scene(30.0)
    starts = (1.0, 8.0, 15.0, 22.0)
    for at in starts:
        samples = speech("bot/b03", 8000).span(0, 3.0).samples.copy()
        samples[:80] = 0.1 * np.exp(-np.arange(80) / 20)
        scene.say_bot(at, Audio(samples, 8000))
    (finding,) = found(scene, tmp_path, "onset_pop")
    assert [part.start for part in finding.parts] == pytest.approx(starts, abs=0.01)


def test_a_compressed_file_is_told_by_its_header(tmp_path):
    """The static behind it follows."""
    file = io.BytesIO()
    soundfile.write(file, speech("bot/b03", 24000).samples, 24000, format="OGG", subtype="VORBIS")
    data = file.getvalue() * 2
    scene = Scene(30.0, pipeline_rate=8000)
    scene.say_bot(1.0, Audio.from_pcm(data[: len(data) // 2 * 2], 8000))
    findings = found(scene, tmp_path)
    assert findings[0].kind == "container_header"
    assert findings[0].severity == "error"
    assert "wrong_codec" in {follower.kind for follower in findings[0].followers}
    assert "wrong_codec" not in {finding.kind for finding in findings}


# -- what the serializer does -------------------------------------------------------------------


def test_headers_that_the_serializer_leaves_out_are_not_heard(tmp_path):
    """As add_wav_header puts them before each frame; the capture has them, the wire has not."""
    scene = talk()
    for chunk in scene.chunks:
        file = io.BytesIO()
        with wave.open(file, "wb") as header:
            header.setparams((1, 2, scene.pipeline_rate, 0, "NONE", ""))
            header.writeframes(chunk.frame)
        chunk.frame = file.getvalue()
    assert [f for f in found(scene, tmp_path) if f.kind != "dead_air"] == []


def zeros(samples: np.ndarray) -> np.ndarray:
    """A hole of 30 ms in the loudest place of each second."""
    out = samples.copy()
    for first in range(0, len(out) - 8000, 8000):
        at = (
            first
            + 800
            + int(np.argmax(np.convolve(np.abs(out[first + 800 : first + 7200]), np.ones(240))))
        )
        out[at - 120 : at + 120] = 0
    return out


SPOILT = {
    "clipping": lambda x: np.clip(3.0 * x, -29_000, 29_000),
    "dc_offset": lambda x: x + 1500.0,
    "dropout": zeros,
}


@pytest.mark.parametrize("kind", SPOILT)
def test_what_the_serializer_spoils_is_told_of_it(tmp_path, kind):
    """Of what it was given nothing is told."""
    scene = talk(wire=FORMATS[1], pipeline_rate=8000)
    said = np.concatenate([np.frombuffer(chunk.frame, "<i2") for chunk in scene.chunks])
    spoilt = np.rint(SPOILT[kind](said.astype(float))).astype("<i2")
    sizes = np.cumsum([len(chunk.frame) // 2 for chunk in scene.chunks])
    for chunk, part in zip(scene.chunks, np.split(spoilt, sizes[:-1]), strict=True):
        chunk.payload = part.tobytes()
    findings = found(scene, tmp_path, kind)
    assert {(finding.side, finding.listen) for finding in findings} == {("bot", "bot_sent")}
    for chunk in scene.chunks:
        chunk.frame = chunk.payload
    findings = found(scene, tmp_path, kind)
    assert {(finding.side, finding.listen) for finding in findings} == {("bot", "bot_said")}


@pytest.mark.parametrize("side", ["bot", "caller"])
@pytest.mark.parametrize("drive_db", [0, 14])
def test_a_rail_that_a_conversion_rounded_is_told_as_possible(tmp_path, side, drive_db):
    scene = Scene(12.0)
    voice = speech("bot/b03" if side == "bot" else "caller/c05", 24000).span(0.0, 5.0)
    driven = np.clip(voice.samples * 10 ** (drive_db / 20) / voice.samples.max(), -1, 1)
    fainter = Audio((0.25 * driven).astype(np.float32), 24000).resampled(8000)
    (scene.say_bot if side == "bot" else scene.say_caller)(2.0, fainter)
    findings = found(scene, tmp_path, "clipping")
    assert [(f.side, f.possible, f.severity) for f in findings] == [(side, True, "warning")] * bool(
        drive_db
    )
    for finding in findings:
        assert 1.8 <= finding.span[0] < finding.span[1] <= 7.3
        assert re.search("1[23] dB below full scale", finding.measurement)


@pytest.mark.parametrize(
    ("name", "factor", "told"),
    [
        ("bot/b03", 1.0, False),
        ("caller/c05", 1.0, False),
        ("bot/b01", 1.0, False),
        ("caller/c05", 0.5, True),
        ("caller/c05", 2.0, True),
        ("bot/b03", 2.0, True),
        ("bot/b01", 2.0, True),
    ],
)
def test_a_voice_that_is_nobodys_was_declared_wrongly(tmp_path, name, factor, told):
    scene = Scene(60.0, pipeline_rate=24000)
    voice = speech(name, 24000)
    said = np.tile(voice.samples, 3 if factor > 1 else 1)
    scene.say_bot(1.0, Audio(said, round(24000 * factor)).resampled(24000))
    findings = found(scene, tmp_path, "wrong_rate")
    assert [(finding.side, finding.possible) for finding in findings] == [("bot", True)] * told


# -- pieces that do not follow on each other -------------------------------------------------------


def pieces(samples: np.ndarray, secs: float, rate: int = 8000) -> list[np.ndarray]:
    size = round(secs * rate)
    return [samples[at : at + size] for at in range(0, len(samples), size)]


def left_out(parts):
    return [part for number, part in enumerate(parts) if number % 4 != 3]


def put_twice(parts):
    return [part for number, part in enumerate(parts) for _ in range(1 + (number % 4 == 3))]


def in_pairs(parts):
    return [parts[min(number ^ 1, len(parts) - 1)] for number in range(len(parts))]


def faded(parts):
    ramp = np.linspace(0, 1, 80)
    window = np.concatenate((ramp, np.ones(640), ramp[::-1])).astype(np.float32)
    return [part * window[: len(part)] for part in parts]


@pytest.mark.parametrize(
    ("wrong", "secs", "says"),
    [
        (put_twice, 0.1, "of about 100 ms are said again at once"),
        (in_pairs, 0.1, "multiples of 100 ms apart: pieces are missing or not in their order"),
        (left_out, 0.02, "pieces are missing or not in their order"),
        (faded, 0.1, "fades out and in again"),
    ],
)
def test_pieces_that_do_not_follow_on_each_other_are_told(tmp_path, wrong, secs, says):
    scene = Scene(40.0)
    for at, name in ((0.8, "bot/b03"), (12.3, "bot/b02"), (24.8, "bot/b07")):
        voice = speech(name, 8000).span(0.0, 8.0).samples
        scene.say_bot(at, Audio(np.concatenate(wrong(pieces(voice, secs))), 8000))
    (finding,) = found(scene, tmp_path, "out_of_order", "block_joint", "wrong_layout")
    assert (finding.kind, finding.side, finding.listen) == ("out_of_order", "bot", "bot_said")
    assert says in finding.measurement
    assert "speech synthesis" in finding.cause


def keyed(time, hertz):
    """A warble: two tones take turns, ten times a second."""
    return np.sin(2 * np.pi * np.where(time * 10 % 2 < 1, hertz[0], hertz[1]) * time)


def beating(time, hertz):
    """Tones that beat 25 times a second."""
    return (
        sum(np.sin(2 * np.pi * f * time) for f in hertz) * (1 + np.cos(2 * np.pi * 25 * time)) / 4
    )


@pytest.mark.parametrize(
    ("made", "hertz"), [(beating, (1000, 2000, 3000)), (beating, (440, 480)), (keyed, (800, 1100))]
)
@pytest.mark.parametrize("secs", [6.0, 20.0])
def test_a_tone_that_beats_is_no_voice_in_pieces(tmp_path, made, hertz, secs):
    scene = Scene(60.0)
    time = np.arange(round(secs * 8000)) / 8000
    scene.say_bot(1.0, Audio((0.3 * made(time, hertz)).astype(np.float32), 8000))
    scene.say_bot(25.0, speech("bot/b02", 8000))
    assert found(scene, tmp_path, "out_of_order", "dropout") == []


@pytest.mark.parametrize(("powers", "sure"), [(2.5, False), (4.5, True)])
def test_jumps_that_chance_may_make_are_possible(tmp_path, monkeypatch, powers, sure):
    places = np.linspace(0.5, 6.5, 20)
    of_chance = order.Found(
        order.JUMPING, tuple(Part(at, at, np.nan) for at in places), 20, 0.1, powers
    )
    monkeypatch.setattr(order, "jumping", lambda _: of_chance)
    (finding,) = found(talk(), tmp_path, "out_of_order")
    assert finding.possible != sure
    assert finding.severity == ("error" if sure else "info")


def test_of_one_long_utterance_stretches_of_all_of_it_are_looked_at():
    rate, secs = 8000, 600
    audio = Audio(np.zeros(secs * rate, np.float32), rate)
    frames = np.arange(0, secs, 0.5)
    voice = np.array([[0.0, 200.0], [300.0, 600.0]])
    said = order.Said(audio, frames, np.full(len(frames), 0.5), voice)
    looked_at = [(first / rate, len(part) / rate) for _, first, part in order._stretches(said)]
    assert 60 < sum(size for _, size in looked_at) < 120
    assert max(np.diff([first for first, _ in looked_at])) < 180
    assert looked_at[0][0] == 0
    assert looked_at[-1][0] > 500
    assert not any(201 < first < 299 for first, _ in looked_at)


def stalled(secs: float, *, fades: bool = False) -> Scene:
    """Silence in the loudest word of each 0.8 s of an answer, which goes on behind it."""
    samples = speech("bot/b03", 8000).span(0.0, 6.4).samples
    power = np.convolve(np.square(samples), np.ones(160), "same")
    places = [int(np.argmax(power[at : at + 6400])) + at for at in range(0, len(samples), 6400)]
    made = []
    for words in np.split(samples, places):
        part = words.copy()
        if fades and len(part) > 320:
            part[-160:] *= np.linspace(1, 0, 160) ** 2
            part[:160] *= np.linspace(0, 1, 160) ** 2
        made += [part, np.zeros(round(secs * 8000), np.float32)]
    scene = Scene(30.0)
    scene.say_bot(1.0, Audio(np.concatenate(made[:-1]), 8000))
    return scene


@pytest.mark.parametrize("secs", [0.3, 0.9, 2.0])
def test_stalls_that_were_filled_with_silence_are_dropouts(tmp_path, secs):
    findings = found(stalled(secs), tmp_path, "dropout")
    parts = [part for finding in findings for part in finding.parts]
    assert len(parts) >= 2
    assert [part.value for part in parts] == pytest.approx([1000 * secs] * len(parts), abs=1)
    assert all("stalled" in finding.cause for finding in findings)


def test_what_goes_on_behind_a_hole_is_no_pop(tmp_path):
    assert found(stalled(0.5), tmp_path, "onset_pop") == []


def test_a_pause_into_which_the_voice_fades_is_none(tmp_path):
    assert found(stalled(0.5, fades=True), tmp_path, "dropout") == []


@pytest.mark.parametrize(
    ("hits", "tried", "told"),
    [(1, 1, "warning"), (1, 20, None), (2, 2, "warning"), (3, 3, "error"), (8, 40, "error")],
)
def test_stalls_that_chance_may_make_are_possible_or_none(tmp_path, monkeypatch, hits, tried, told):
    spans = [(1.0 + 0.6 * at, 1.5 + 0.6 * at) for at in range(tried)]
    monkeypatch.setattr(
        continuity, "_holes", lambda _: continuity._Holes([], spans[:hits], spans, 0)
    )
    scene = Scene(40.0)
    scene.say_bot(0.5, Audio(np.tile(speech("bot/b03", 8000).samples, 5), 8000).span(0, 38))
    findings = found(scene, tmp_path, "dropout")
    bots = [finding for finding in findings if finding.side == "bot"]
    assert {(f.severity, f.possible) for f in bots} == (
        {(told, told != "error")} if told else set()
    )
    if hits == 1 and told:
        assert bots[0].measurement.endswith("in 1 hole")
