"""What the detectors say of calls in which one thing is wrong, or nothing.

Faults of known size, at any place of any conversation, are in ``test_planted``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soxr

from pipecat_bandwidth import messages
from pipecat_bandwidth.encodings import FORMATS, PCMU, wire_format
from tests import planting
from tests.captures import LEAD, SCRIPT, Scene, scripted, speech
from workbench.audio import Audio
from workbench.call import Call
from workbench.diagnosis import DETECTORS, Finding, diagnose


def conversation(**settings) -> Scene:
    """Thirty clean seconds: greeting, wish, question, answer, goodbye."""
    scene = Scene(33.0, **settings)
    for at, name in ((0.8, "bot/b01"), (16.3, "bot/b02"), (27.0, "bot/b10")):
        scene.say_bot(at, speech(name))
    for at, name in ((10.1, "caller/c01"), (21.9, "caller/c02")):
        scene.say_caller(at, speech(name))
    return scene


def found(scene: Scene, tmp_path, *kinds: str) -> list[Finding]:
    return list(diagnose(Call.open(scene.write(tmp_path / "a.mcap")), kinds or None))


def echoing(loss_db: float) -> Scene:
    """A greeting that comes back from the caller's telephone after 240 ms."""
    scene = Scene(20.0)
    scene.say_bot(1.0, speech("bot/b01"))
    scene.say_caller(1.24, speech("bot/b01"), 10 ** (-loss_db / 20))
    return scene


def yielding(ms: float) -> Scene:
    """A bot that goes on for so long when the caller speaks."""
    return planting.yielding(np.random.default_rng(0), ms).scene


def test_every_detector_is_proved():
    others = {  # proved below: nothing plants these in any conversation
        "one_way", "bad_message", "capture_dropped", "hang_up_unconfirmed", "early_end",
        "container_header", "own_track", "resampling", "rtvi_leak", "restart", "broke_off",
        "wrong_layout", "out_of_order",
    }  # fmt: skip
    assert {fault.kind for fault in planting.FAULTS} | others == DETECTORS.keys()


# -- faults without a size -----------------------------------------------------------------------


def test_echo_is_measured_and_not_taken_for_a_caller(tmp_path):
    call = Call.open(echoing(20).write(tmp_path / "a.mcap"))
    (finding,) = diagnose(call, ["echo"])
    assert finding.value == pytest.approx(20, abs=3)
    assert finding.span == pytest.approx((1.06, 1.0 + 8.5 + 0.24), abs=0.1)
    assert "240 ms" in finding.measurement
    assert [turn.side for turn in call.turns] == ["bot"]
    assert found(echoing(50), tmp_path, "echo") == []


@pytest.mark.parametrize(("louder_db", "is_echo"), [(-6, True), (6, False)])
def test_a_beat_that_goes_with_three_seconds_of_words_is_no_echo(tmp_path, louder_db, is_echo):
    """Music as loud as the words, each time they are: by its level alone it would be their echo."""
    words = speech("bot/b01").span(0.06, 3.0)
    power = np.convolve(words.samples**2, np.ones(200) / 200, "same")
    noise = np.random.default_rng(0).standard_normal(len(words.samples))
    beat = Audio((noise * np.sqrt(power)).astype(np.float32), words.sample_rate)
    scene = Scene(8.0)
    scene.say_bot(1.0, words)
    scene.say_caller(1.36, beat, 10 ** (louder_db / 20))
    assert bool(found(scene, tmp_path, "echo")) is is_echo


@pytest.mark.parametrize(("louder_db", "is_echo"), [(-12, True), (3, True), (12, False)])
def test_what_is_much_louder_than_the_bots_words_is_not_made_of_them(tmp_path, louder_db, is_echo):
    """Waves that are the bot's own, once: a line may add a little, and four times is somebody else."""
    words = speech("bot/b01").span(0.06, 3.0)
    quiet = Audio(words.samples / 5, words.sample_rate)
    scene = Scene(8.0)
    scene.say_bot(1.0, quiet)
    scene.say_caller(1.36, quiet, 10 ** (louder_db / 20))
    assert bool(found(scene, tmp_path, "echo")) is is_echo


def test_a_caller_who_speaks_over_the_echo_is_heard(tmp_path):
    scene = echoing(20)
    scene.say_caller(5.0, speech("caller/c05"))
    call = Call.open(scene.write(tmp_path / "a.mcap"))
    caller = [turn for turn in call.turns if turn.side == "caller"]
    assert caller[0].start == pytest.approx(5.06, abs=0.1)
    assert caller[-1].end == pytest.approx(5.0 + 5.0, abs=0.2)


def test_narrow_speech_on_a_wide_wire_is_named(tmp_path):
    wide = wire_format("PCM", 24000)
    narrow = conversation(wire=wide, pipeline_rate=8000)
    (finding,) = found(narrow, tmp_path, "upsampled")
    assert finding.value == pytest.approx(3900, rel=0.1)
    assert "audio_out_sample_rate=24000" in finding.remedy
    assert found(conversation(wire=wide, pipeline_rate=24000), tmp_path, "upsampled") == []


@pytest.mark.parametrize(("ratio", "expected"), [(2, True), (0.5, True), (1, False)])
def test_a_rate_that_is_not_the_declared_one_is_found_outbound(tmp_path, ratio, expected):
    scene = conversation()
    for chunk in scene.chunks:
        chunk.payload = chunk.payload * 2 if ratio == 2 else chunk.payload[:: round(1 / ratio)]
    findings = found(scene, tmp_path, "wrong_rate")
    assert bool(findings) is expected
    if expected:
        assert findings[0].value == pytest.approx(ratio, rel=0.05)


@pytest.mark.parametrize("ratio", [0.5, 2])
def test_a_rate_that_is_not_the_declared_one_is_found_inbound(tmp_path, ratio):
    scene = conversation()
    scene.arrival = scene.arrival / ratio
    scene.duration /= ratio
    (finding,) = found(scene, tmp_path, "wrong_rate")
    assert finding.side == "caller"
    assert finding.value == pytest.approx(ratio, rel=0.1)


def test_one_way_audio_is_named_for_each_side(tmp_path):
    mute = Scene(10.0, noise_dbov=-200)
    mute.say_bot(1.0, speech("bot/b07"))
    assert [f.side for f in found(mute, tmp_path, "one_way")] == ["caller"]
    lone = Scene(10.0)
    lone.say_caller(1.0, speech("caller/c01"))
    (finding,) = found(lone, tmp_path, "one_way")
    assert finding.side == "bot"
    assert finding.severity == "error"
    unsent = conversation()
    for chunk in unsent.chunks:
        chunk.payload = b""
    (finding,) = found(unsent, tmp_path, "one_way")
    assert "none was sent" in finding.cause


@pytest.mark.parametrize(
    "misread",
    [
        lambda pcm: np.frombuffer(pcm, "<i2").byteswap().tobytes(),
        lambda pcm: pcm[1:] + b"\0",  # from an odd byte on
    ],
    ids=["swapped", "odd"],
)
def test_misread_bytes_are_static(tmp_path, misread):
    scene = Scene(14.0)
    audio = speech("bot/b01", 8000)
    scene.say_bot(1.0, Audio.from_pcm(misread(audio.pcm()), 8000))
    findings = found(scene, tmp_path, "wrong_codec")
    assert {finding.side for finding in findings} == {"bot"}
    assert sum(finding.span[1] - finding.span[0] for finding in findings) > 3
    assert all(finding.value > 1.5 for finding in findings)


def test_a_file_header_in_the_audio_is_named(tmp_path):
    scene = conversation()
    first = min(scene.chunks, key=lambda chunk: chunk.time)
    first.frame = b"RIFF\x24\x00\x00\x00WAVE" + first.frame[12:]
    (finding,) = found(scene, tmp_path, "container_header")
    assert "WAV" in finding.measurement
    assert finding.span == pytest.approx((0.8, 0.8))


def test_the_other_track_is_named(tmp_path):
    scene = conversation()
    for index in range(50):
        payload = messages.Media(b"\xff" * 160, "outbound", str(index + 1))
        scene.receive(1 + index * 0.02, messages.encode(payload))
    (finding,) = found(scene, tmp_path, "own_track")
    assert finding.value == 50
    assert 'tracks="inbound"' in finding.remedy


@pytest.mark.parametrize(
    ("pipeline_rate", "wire_rate", "least"),
    [(8000, 24000, 8), (8000, 16000, 3), (24000, 8000, 1.5)],
)
def test_blocks_that_were_converted_each_by_itself_are_heard(
    tmp_path, pipeline_rate, wire_rate, least
):
    wire = wire_format("PCM", wire_rate)
    scene = conversation(wire=wire, pipeline_rate=pipeline_rate)
    assert found(scene, tmp_path, "block_joint") == []
    for chunk in scene.chunks:
        samples = np.frombuffer(chunk.frame, "<i2")
        converted = soxr.resample(samples, pipeline_rate, wire_rate)
        chunk.payload = wire.encode(converted.astype("<i2").tobytes())
    (finding,) = found(scene, tmp_path, "block_joint")
    assert finding.value > least
    assert "serializer" in finding.cause


def test_blocks_that_came_broken_are_not_blamed_on_the_serializer(tmp_path):
    scene = conversation(pipeline_rate=24000)
    for chunk in scene.chunks:  # converted, each frame by itself, before it was sent
        samples = np.frombuffer(chunk.frame, "<i2")
        low = soxr.resample(samples, 24000, 8000)
        chunk.frame = soxr.resample(low, 8000, 24000).tobytes()[: len(chunk.frame)]
        chunk.payload = PCMU.encode(low.tobytes())
    (finding,) = found(scene, tmp_path, "block_joint")
    assert finding.listen == "bot_said"


def test_a_pop_of_the_serializer_is_told_from_one_before_it(tmp_path):
    scene = conversation()
    first = next(chunk for chunk in scene.chunks if chunk.said == 16.3)
    first.payload = PCMU.encode(np.full(40, 9000, "<i2").tobytes()) + first.payload[40:]
    (finding,) = found(scene, tmp_path, "onset_pop")
    assert finding.listen == "bot_sent"
    assert "serializer makes it" in finding.cause


def interrupted_burst(answer_at: float) -> Scene:
    """Five seconds sent at once, interrupted after one; then an answer."""
    scene = Scene(14.0, noise_dbov=-70)
    scene.say_bot(0.5, speech("bot/b02"), lead=100.0)
    scene.say_caller(1.1, speech("caller/c08").span(0, 0.6))
    scene.frame_out(1.4, "InterruptionFrame", "sent")
    scene.extra.append((1.401, "/ws/tx", messages.encode(messages.Clear())))
    scene.say_bot(answer_at, speech("bot/b07"))
    return scene


SEAMS = ("onset_pop", "tail_lost", "audio_lost", "block_joint", "dropout")


@pytest.mark.parametrize("answer_at", [1.5, 2.0, 3.0, 7.0])
def test_a_burst_that_was_interrupted_is_no_fault_of_what_is_said_next(tmp_path, answer_at):
    assert found(interrupted_burst(answer_at), tmp_path, *SEAMS) == []


@pytest.mark.parametrize("answer_at", [1.5, 2.0, 3.0])
def test_what_an_answer_to_an_interruption_lost_is_found(tmp_path, answer_at):
    scene = interrupted_burst(answer_at)
    scene.chunks[-1].payload = scene.chunks[-2].payload = b""
    (finding,) = found(scene, tmp_path, *SEAMS)
    assert finding.kind == "tail_lost"
    assert finding.value == pytest.approx(80)
    length = speech("bot/b07").duration
    assert finding.span == pytest.approx((answer_at, answer_at + length), abs=1e-3)


@pytest.mark.parametrize("listen", ["bot_said", "bot_sent"])
def test_a_pop_of_an_answer_to_an_interruption_is_found(tmp_path, listen):
    scene = interrupted_burst(3.0)
    first = next(chunk for chunk in scene.chunks if chunk.said == 3.0)
    step = np.full(40, 9000, "<i2").tobytes()
    if listen == "bot_said":
        first.frame = step + first.frame[80:]
    else:
        first.payload = PCMU.encode(step) + first.payload[40:]
    (finding,) = found(scene, tmp_path, "onset_pop")
    assert finding.listen == listen
    assert finding.span == pytest.approx((3.0, 3.002), abs=1e-3)
    assert finding.measurement.startswith("1 utterances")


def test_a_hole_in_an_answer_to_an_interruption_is_found(tmp_path):
    scene = interrupted_burst(2.0)
    middle = max(
        (c for c in scene.chunks if c.said == 2.0),
        key=lambda c: np.square(np.frombuffer(c.frame, "<i2").astype(float)).sum(),
    )
    middle.frame = middle.frame[:240] + bytes(160) + middle.frame[400:]
    (finding,) = found(scene, tmp_path, "dropout")
    assert finding.value == pytest.approx(10, abs=1)


def test_an_end_that_comes_out_with_the_next_utterance_is_lost(tmp_path):
    """A pause of 0.6 s is between two utterances: what one lacks the other has too much."""
    scene = Scene(10.0)
    scene.say_bot(1.0, speech("bot/b07"))
    kept = scene.chunks[-1]
    scene.say_bot(1.0 + speech("bot/b07").duration + 0.6, speech("bot/b02"))
    ghost = next(chunk for chunk in scene.chunks if chunk.said > 1.0)
    ghost.payload, kept.payload = kept.payload + ghost.payload, b""
    (finding,) = found(scene, tmp_path, "tail_lost")
    assert finding.value == pytest.approx(1000 * len(kept.frame) / 16000, abs=0.2)
    assert finding.span == pytest.approx((1.0, 1.0 + speech("bot/b07").duration), abs=1e-3)


def test_static_is_placed_at_any_rate_of_the_pipeline(tmp_path):
    """At 22,050 Hz ten milliseconds are no whole number of samples."""
    scene = Scene(60.0, pipeline_rate=22_050)
    scene.say_bot(0.5, speech("bot/b07"))
    static = scene.rng.uniform(-1, 1, 3 * 22_050)  # as of encrypted bytes
    scene.say_bot(50.0, Audio(static.astype(np.float32), 22_050))
    (finding,) = found(scene, tmp_path, "wrong_codec")
    assert finding.span == pytest.approx((50.0, 53.0), abs=0.26)


def test_what_was_interrupted_before_is_no_cut_goodbye(tmp_path):
    scene = interrupted_burst(6.0)
    scene.frame_out(12.0, "EndFrame")
    assert found(scene, tmp_path, "cut_goodbye") == []


def test_a_word_soon_after_an_interruption_is_an_answer(tmp_path):
    scene = Scene(8.0)
    scene.say_bot(1.0, speech("bot/b03"))
    scene.interrupt(3.0)
    scene.say_bot(3.35, speech("bot/b07").span(0.06, 0.26))
    assert found(scene, tmp_path, "stale_audio") == []


def test_a_bot_that_goes_on_in_a_stall_did_not_stand_still(tmp_path):
    """Half of the time without a frame is what speech synthesis does now and then."""
    scene = conversation(jitter_ms=0)
    scene.stall_caller(2.0, 0.4)
    for chunk in scene.chunks:
        if 2.1 <= chunk.time < 2.3:
            chunk.time = 2.3
    assert [finding.kind for finding in found(scene, tmp_path, "jitter", "loop_lag")] == ["jitter"]


def test_holes_at_two_rates_of_the_wire_are_told_once_each(tmp_path):
    """A serializer whose resampler lets audio out in bursts, before and after a new setting."""
    scene = Scene(24.0, pipeline_rate=24_000)
    for at, wire in ((1.0, PCMU), (12.0, wire_format("PCM", 16_000))):
        part = Scene(24.0, wire, 24_000)
        part.say_bot(at, speech("bot/b01"), lead=0.0)
        for index in range(0, len(part.chunks) - 3, 3):
            held = part.chunks[index : index + 3]
            payload = b"".join(chunk.payload for chunk in held)
            spare = 80 * wire.bytes_per_sample * wire.sample_rate // 8000 * (index // 3 % 2)
            play = messages.PlayAudio(wire.content_type, payload[: len(payload) - spare])
            scene.extra.append((held[2].time + 4e-5, "/ws/tx", messages.encode(play)))
        for chunk in part.chunks:
            chunk.payload = b""
        scene.chunks += part.chunks
    call = Call.open(scene.write(tmp_path / "a.mcap"))
    findings = diagnose(call, ["underrun"])
    assert {f.remedy.split()[1] for f in findings} == {
        "audio_out_sample_rate=8000", "audio_out_sample_rate=16000",
    }  # fmt: skip
    assert sum(f.value for f in findings) <= call.playout.underrun_ms.sum() + 1e-6


def test_a_scrap_that_comes_at_once_is_stale(tmp_path):
    scene = Scene(16.0)
    scene.say_bot(1.0, speech("bot/b03"))
    late = [c for c in scene.chunks if 3.0 < c.time < 3.1]
    scene.interrupt(3.0)
    for chunk in late:
        chunk.time += 0.05
    scene.chunks += late
    (finding,) = found(scene, tmp_path, "stale_audio")
    assert finding.value == pytest.approx(40 * len(late))
    scene.say_bot(3.2, speech("bot/b07"))  # a quick answer is none
    scene.chunks = [c for c in scene.chunks if c not in late]
    assert found(scene, tmp_path, "stale_audio") == []


@pytest.mark.parametrize("how", ["pause", "jitter", "stall", "loss"])
def test_what_the_network_does_is_no_drift(tmp_path, how):
    scene = Scene(90.0, jitter_ms=30 if how == "jitter" else 1)
    scene.arrival = np.maximum.accumulate(scene.arrival)
    if how == "pause":
        scene.pause_caller(30.0, 5.0)
    elif how == "stall":
        for at in range(5, 85, 7):
            scene.stall_caller(at, 0.6)
    elif how == "loss":
        scene.lose(40.0, 100)
    call = Call.open(scene.write(tmp_path / "a.mcap"))
    assert abs(call.clock_drift) < 4
    assert not diagnose(call, ["clock_drift"])


def test_rates_that_force_a_conversion_are_named(tmp_path):
    findings = found(conversation(pipeline_rate=24000, heard_rate=16000), tmp_path, "resampling")
    settings = {f.side: f.remedy.split()[1] for f in findings}
    assert settings == {
        "caller": "audio_in_sample_rate=8000",
        "bot": "audio_out_sample_rate=8000",
    }
    assert found(conversation(), tmp_path, "resampling") == []


def test_rtvi_on_the_telephone_is_named_once(tmp_path):
    scene = conversation()
    for at in (1.0, 2.0):
        scene.frame_out(at, "OutputTransportMessageUrgentFrame", "sent")
        scene.extra.append((at + 1e-3, "/ws/tx", '{"label":"rtvi-ai","type":"bot-ready"}'))
    scene.frame_out(3.0, "OutputTransportMessageUrgentFrame", "none")
    (finding,) = found(scene, tmp_path, "rtvi_leak", "bad_message")
    assert finding.kind == "rtvi_leak"
    assert finding.value == 2


def test_an_interruption_by_nobody_is_false(tmp_path):
    scene = Scene(16.0)
    scene.say_bot(1.0, speech("bot/b03"))
    scene.interrupt(3.5)
    (finding,) = found(scene, tmp_path, "false_barge_in")
    assert finding.span == pytest.approx((3.5, 3.5))
    assert found(yielding(300), tmp_path, "false_barge_in") == []


def test_bad_messages_are_counted(tmp_path):
    scene = conversation()
    for at in (1.0, 2.0, 3.0):
        scene.receive(at, '{"eventType":"media"}')
    (finding,) = found(scene, tmp_path, "bad_message")
    assert finding.value == 3
    assert finding.span == pytest.approx((1.0, 3.0))


def test_an_unconfirmed_hang_up_is_an_error(tmp_path):
    scene = conversation()
    scene.frame_out(32.0, "EndFrame")
    scene.hang_up(32.5, "failed", status_code=403, reason="hang up failed (HTTP 403): no access")
    (finding,) = found(scene, tmp_path, "hang_up_unconfirmed")
    assert finding.severity == "error"
    assert "HTTP 403" in finding.measurement
    scene.hang_up(32.6, "ended", status_code=200, attempts=2, took_us=400_000)
    assert found(scene, tmp_path, "hang_up_unconfirmed") == []


def test_a_stream_that_stops_at_once_is_explained(tmp_path):
    scene = Scene(1.5)
    scene.say_bot(0.3, speech("bot/b07").span(0, 1.0))
    (finding,) = found(scene, tmp_path, "early_end")
    assert "StopStream" in finding.remedy
    scene.frame_out(1.0, "EndFrame")
    assert found(scene, tmp_path, "early_end") == []
    assert found(Scene(6.0), tmp_path, "early_end") == []


def test_a_capture_with_holes_says_so(tmp_path):
    path = conversation().write(tmp_path / "a.mcap", finish=False)
    torn = tmp_path / "torn.mcap"
    torn.write_bytes(path.read_bytes()[:-2000])
    (finding,) = diagnose(Call.open(torn), ["capture_dropped"])
    assert finding.severity == "info"


# -- nothing is found where nothing is ---------------------------------------------------------


@pytest.mark.parametrize("pipeline_rate", [8000, 24000])
@pytest.mark.parametrize("wire", FORMATS, ids=str)
def test_a_clean_call_raises_nothing(tmp_path, wire, pipeline_rate):
    scene = conversation(wire=wire, pipeline_rate=pipeline_rate)
    kinds = {finding.kind for finding in found(scene, tmp_path)}
    expected = {"resampling"} if wire.sample_rate != pipeline_rate else set()
    assert kinds == expected | ({"upsampled"} if wire.sample_rate > pipeline_rate else set())


def test_an_ordinary_barge_in_raises_nothing(tmp_path):
    assert found(yielding(350), tmp_path, "slow_barge_in", "missing_clear", "underrun") == []


def test_a_blocked_loop_is_not_called_jitter(tmp_path):
    rng = np.random.default_rng(0)
    assert found(planting.blocked(rng, 300).scene, tmp_path, "jitter") == []
    assert found(planting.stalled(rng, 300).scene, tmp_path, "loop_lag") == []


def test_a_murmur_of_assent_is_no_barge_in(tmp_path):
    scene = Scene(20.0)
    scene.say_bot(1.0, speech("bot/b03"))
    scene.say_caller(3.0, speech("caller/c09"))  # "Bye.", half a second
    assert found(scene, tmp_path, "slow_barge_in") == []


def test_pauses_between_sentences_are_no_underruns(tmp_path):
    scene = Scene(30.0)
    at = 1.0
    for name in ("bot/b07", "bot/b04", "bot/b02", "bot/b10"):  # each comes 0.4 s late
        scene.say_bot(at, speech(name))
        at += speech(name).duration + 0.4
    assert found(scene, tmp_path, "underrun") == []


def test_several_holes_of_one_utterance_are_one_finding(tmp_path):
    scene = conversation()
    first = scene.hole(1.6, 0.060)
    last = scene.hole(2.4, 0.100)
    (finding,) = found(scene, tmp_path, "underrun")
    assert finding.value == pytest.approx(160, rel=0.05)
    assert finding.span == pytest.approx((first, last + 0.1), abs=0.04)
    assert "2 holes" in finding.measurement


def test_holes_of_two_causes_are_two_findings(tmp_path):
    scene = conversation()
    scene.hole(1.6, 0.060)
    scene.hole(2.4, 0.200)
    scene.stall_caller(2.4 - LEAD, 0.2 + LEAD)
    findings = found(scene, tmp_path, "underrun")
    assert [round(f.value) for f in findings] == pytest.approx([200, 60], abs=10)
    assert "process stood still" in findings[0].cause and "free" in findings[1].cause


def test_the_start_of_an_answer_is_not_held_against_a_hole_in_it(tmp_path):
    """The pause before the answer is no lateness of a frame in it."""
    scene = Scene(12.0)
    scene.say_bot(1.0, speech("bot/b07").span(0, 1.5))
    scene.say_bot(6.0, speech("bot/b01").span(0, 3.0))
    scene.hole(6.5, 0.2)
    scene.stall_caller(6.5 - LEAD, 0.2 + LEAD)
    (finding,) = found(scene, tmp_path, "underrun")
    assert "process stood still" in finding.cause


def test_the_cause_of_an_underrun_is_told_apart(tmp_path):
    late = conversation()
    late.hole(2.0, 0.2)
    (finding,) = found(late, tmp_path, "underrun")
    assert "speech service" in finding.cause and "event loop was free" in finding.cause
    assert "cushion of 200 ms" in finding.remedy and "the one hole" in finding.remedy

    blocked = conversation()
    blocked.hole(2.0, 0.2)
    blocked.stall_caller(2.0 - LEAD, 0.2 + LEAD)
    (process,) = found(blocked, tmp_path, "underrun", "loop_lag")
    (heard,) = process.followers
    assert (heard.kind, process.kind) == ("underrun", "loop_lag")
    assert "process stood still" in heard.cause
    assert heard.remedy == process.remedy, "one thing to change, said once"

    deaf = conversation()
    deaf.hole(2.0, 0.3)
    deaf.lose(1.5, 50)
    (finding,) = found(deaf, tmp_path, "underrun")
    assert "speech synthesis was slow, or something blocked" in finding.cause
    assert "Not even a cushion of 200 ms" in finding.remedy

    # The serializer keeps two of three chunks and sends all three at the third: no message for
    # 120 ms, and frames that come in time.
    bursts = Scene(12.0, pipeline_rate=24000)
    bursts.say_bot(1.0, speech("bot/b01"), lead=0.0)
    for index in range(0, len(bursts.chunks) - 3, 3):
        held = bursts.chunks[index : index + 3]
        held[2].payload = b"".join(chunk.payload for chunk in held)
        held[0].payload = held[1].payload = b""
    late = [c for c in bursts.chunks if len(c.payload) > 320]
    for number, chunk in enumerate(late):
        chunk.payload = chunk.payload[: len(chunk.payload) - 80 * (number % 2)]
    findings = found(bursts, tmp_path, "underrun")
    assert findings
    assert "audio_out_sample_rate=8000" in findings[0].remedy


def test_a_call_that_two_hold_their_tongue_in_at_the_end_is_dead_air(tmp_path):
    scene = Scene(12.0)
    scene.say_bot(1.0, speech("bot/b07"))
    (finding,) = found(scene, tmp_path, "dead_air")
    assert finding.span == pytest.approx((3.58, 12.0), abs=0.1)
    assert "hung up" in finding.cause


@pytest.fixture(scope="module")
def scripted_call(tmp_path_factory):
    """The scripted call with all that its events say."""
    scene = scripted()
    clipping = next(event for event in SCRIPT["events"] if event["type"] == "clipping")
    first, last = round(clipping["start"] * 8000), round(clipping["end"] * 8000)
    scene.caller[first:last] *= 10 ** (clipping["gain_db"] / 20)
    np.clip(scene.caller, -0.98, 0.98, out=scene.caller)
    loss_db = 21  # as measured on the wire
    for turn in SCRIPT["turns"]:
        if turn["id"] in ("b09", "b10"):
            audio = speech(turn["file"].removeprefix("call/").removesuffix(".flac"))
            scene.say_caller(turn["start"] + 0.24, audio, 10 ** (-loss_db / 20))
    scene.lose(85.02, 3)
    scene.stall_caller(129.2, 0.2)
    return Call.open(scene.write(tmp_path_factory.mktemp("scripted") / "faults.mcap"))


def test_the_scripted_faults_are_found_and_the_decoys_are_not(scripted_call):
    findings = {finding.kind: finding for finding in diagnose(scripted_call)}
    # 1.3 s of ordinary latency, hold music, a quick barge-in and the echo are none.
    assert set(findings) == {"dead_air", "clipping", "echo", "sequence_gap", "jitter"}
    # The telephone cuts b04's last "s" off, at 49.27; "Hello?" begins at 56.08.
    assert findings["dead_air"].span == pytest.approx((49.27, 56.08), abs=0.04)
    assert findings["clipping"].side == "caller"
    assert 70.15 <= findings["clipping"].span[0] <= findings["clipping"].span[1] <= 75.35
    assert findings["sequence_gap"].span == pytest.approx((85.02, 85.08), abs=0.04)
    assert findings["sequence_gap"].value == 60
    assert findings["jitter"].span == pytest.approx((129.2, 129.4), abs=0.04)
    assert findings["jitter"].value == pytest.approx(200, rel=0.1)
    assert findings["echo"].value == pytest.approx(21, abs=3)


def test_worst_comes_first_and_everything_is_said(scripted_call):
    findings = diagnose(scripted_call)
    order = {"error": 0, "warning": 1, "info": 2}
    ranks = [order[finding.severity] for finding in findings]
    assert ranks == sorted(ranks)
    assert findings[0].kind == "clipping"
    for finding in findings:
        assert finding.measurement
        assert finding.cause.endswith(".")
        assert finding.remedy.endswith(".")
        start, end = finding.span
        assert 0 <= start <= end <= scripted_call.duration + 1
        assert finding.kind in str(finding)
        if finding.listen:
            assert scripted_call.signal(finding.listen)


def test_an_unknown_kind_is_refused(scripted_call):
    with pytest.raises(ValueError, match=r"no detector \['choppy'\], there are: underrun"):
        diagnose(scripted_call, ["choppy"])


def test_a_detector_that_fails_costs_no_other_finding(scripted_call, monkeypatch):
    def broken(call):
        yield from DETECTORS["echo"](call)
        raise ZeroDivisionError("of nothing")

    monkeypatch.setitem(DETECTORS, "clipping", replace(DETECTORS["clipping"], find=broken))
    with pytest.warns(RuntimeWarning, match="the detector clipping failed: ZeroDivisionError"):
        findings = diagnose(scripted_call, ["clipping", "sequence_gap"])
    assert {finding.kind for finding in findings} == {"echo", "sequence_gap"}


def test_a_call_of_nothing_is_diagnosed(tmp_path):
    scene = Scene(0.0, stop=False)
    assert isinstance(found(scene, tmp_path), list)


def test_a_serializer_that_takes_long_has_lost_nothing(tmp_path):
    scene = conversation()
    mine = sorted((c for c in scene.chunks if c.said == 16.3), key=lambda c: c.time)
    blocked = mine[20].time
    for chunk in mine[21:]:  # the next frame is given as soon as the message is out
        chunk.time += 0.5
    payload, mine[20].payload = mine[20].payload, b""
    late = messages.encode(messages.PlayAudio(PCMU.content_type, payload))
    scene.extra.append((mine[21].time - 2e-5, "/ws/tx", late))
    assert mine[21].time - blocked > 0.5
    assert found(scene, tmp_path, "tail_lost", "audio_lost") == []
