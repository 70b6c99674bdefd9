import asyncio
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pipecat.frames.frames import EndFrame, TTSAudioRawFrame

from pipecat_bandwidth import BandwidthFrameSerializer, messages
from pipecat_bandwidth.encodings import FORMATS, PCMU, wire_format
from tests.captures import ANCHOR_NS, FRAME, MEDIA, SCRIPT, Chunk, Scene, scripted, speech
from workbench.audio import Audio
from workbench.call import SIGNALS, Call, FrameRecord
from workbench.call.signals import WAYS
from workbench.call.turns import find_turns
from workbench.capture import CaptureReader, CaptureWriter
from workbench.capture.schema import AudioFrame, Invalid, Note
from workbench.diagnosis import diagnose
from workbench.exceptions import CaptureError
from workbench.metrics.speech_level import active_level
from workbench.tap import Tap
from workbench.tuning.stalls import handed_over, stalls_of


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """The scripted call, clean."""
    return Call.open(scripted().write(tmp_path_factory.mktemp("call") / "scripted.mcap"))


@pytest.fixture
def short() -> Scene:
    """Four seconds: the bot greets, the caller answers."""
    scene = Scene(4.0, noise_dbov=-70)
    scene.say_bot(0.2, speech("bot/b07").span(0, 1.5))
    scene.say_caller(2.0, speech("caller/c08").span(0, 1.5))
    return scene


def opened(scene: Scene, tmp_path) -> Call:
    return Call.open(scene.write(tmp_path / "a.mcap"))


def shift_ms(reference: Audio, found: Audio) -> float:
    """By how much ``found`` lags behind ``reference``."""
    x, y = reference.resampled(8000).samples, found.resampled(8000).samples
    size = 1 << (len(x) + len(y)).bit_length()
    spectrum = np.conj(np.fft.rfft(x, size)) * np.fft.rfft(y, size)
    lag = int(np.argmax(np.fft.irfft(spectrum)))
    return (lag if lag < size // 2 else lag - size) / 8


# -- signals -----------------------------------------------------------------------------------


def test_every_signal_lasts_as_long_as_the_call(call):
    assert call.duration == pytest.approx(SCRIPT["duration"])
    for name in SIGNALS:
        assert call.signal(name).duration == pytest.approx(call.duration, abs=1e-4)
    with pytest.raises(ValueError, match="no signal 'bot', there are: caller_sent, bot_heard"):
        call.signal("bot")


def test_a_way_has_its_second_signal_only_where_that_is_another(call):
    for side, (before, behind) in WAYS.items():
        is_same = np.array_equal(call.signal(before).samples, call.signal(behind).samples)
        assert call.ways[side] == ((before,) if is_same else (before, behind))


def test_what_was_planted_stands_where_it_was_planted(call):
    for turn in SCRIPT["turns"]:
        name = "caller_sent" if turn["side"] == "caller" else "caller_heard"
        planted = speech(turn["file"].removeprefix("call/").removesuffix(".flac"))
        planted = planted.span(0, turn["end"] - turn["start"])
        found = call.signal(name).span(turn["start"], turn["end"])
        assert abs(shift_ms(planted, found)) <= 0.25, turn["id"]


def test_caller_audio_is_the_decoded_payload_to_the_sample(short, tmp_path):
    call = opened(short, tmp_path)
    sent = PCMU.decode(PCMU.encode(Audio(short.caller, 8000).pcm()))
    assert call.caller_sent.pcm() == sent
    assert call.bot_heard.pcm() == sent


@pytest.mark.parametrize("wire", FORMATS, ids=str)
@pytest.mark.parametrize("pipeline_rate", [8000, 16000, 24000])
def test_the_bot_keeps_its_rates_and_its_place(tmp_path, wire, pipeline_rate):
    scene = Scene(3.0, wire, pipeline_rate)
    scene.say_bot(0.5, speech("bot/b07").span(0, 2.0))
    call = opened(scene, tmp_path)
    assert call.bot_said.sample_rate == pipeline_rate
    assert call.bot_sent.sample_rate == wire.sample_rate
    assert call.caller_heard.sample_rate == 8000
    for name in ("bot_said", "bot_sent", "caller_heard"):
        found = call.signal(name)
        assert found.span(0, 0.49).level == -np.inf
        assert abs(shift_ms(speech("bot/b07").span(0, 2.0), found.span(0.5, 2.5))) <= 0.25


def test_coding_mu_law_a_second_time_changes_nothing():
    once = PCMU.decode(bytes(range(256)))
    assert PCMU.decode(PCMU.encode(once)) == once


@pytest.mark.parametrize("wire", [wire_format("PCM", 24000), PCMU], ids=str)
def test_every_frame_and_message_has_the_bytes_that_were_recorded(tmp_path, wire):
    scene = Scene(3.0, wire, 24000)
    scene.say_bot(0.5, speech("bot/b07").span(0, 2.0))
    call = opened(scene, tmp_path)
    assert [frame.pcm for frame in call.frames_out if frame.pcm] == [c.frame for c in scene.chunks]
    assert list(call.outbound.payloads) == [c.payload for c in scene.chunks]
    assert call.audio_out[-1].pcm == scene.chunks[-1].frame


@pytest.mark.parametrize(
    "text",
    [
        '{"media":{"payload":"/////w==","contentType":"audio/pcmu"},"eventType":"playAudio"}',
        '{"eventType":"clear","eventType":"playAudio",'
        '"media":{"contentType":"AUDIO/PCMU","payload":"/////w==","more":[1]},"more":{}}',
    ],
)
def test_audio_of_the_bot_is_read_in_whatever_order_its_keys_stand(short, tmp_path, text):
    short.extra.append((3.0, "/ws/tx", text))
    call = opened(short, tmp_path)
    (index,) = np.flatnonzero(np.abs(call.outbound.time - 3.0) < 1e-3)
    assert call.outbound.payloads[index] == b"\xff" * 4
    assert call.outbound.duration[index] == 0.0005
    assert call.outbound.size[index] == len(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"eventType":"playAudio"}',
        '{"eventType":"playAudio","media":{"contentType":"audio/pcmu","payload":"!"}}',
        '{"eventType":"playAudio","media":{"contentType":"audio/opus","payload":""}}',
        "[1]",
    ],
)
def test_what_the_bot_should_not_have_sent_is_an_event(short, tmp_path, text):
    short.extra.append((3.0, "/ws/tx", text))
    call = opened(short, tmp_path)
    (event,) = [event for event in call.events if event.kind == "bad_message"]
    assert event.time == pytest.approx(3.0) and event.text.startswith("to Bandwidth: ")


def test_a_stall_and_its_burst_make_the_call_no_longer(short, tmp_path):
    clean = opened(short, tmp_path)
    short.stall_caller(2.2, 1.0)
    held = Call.open(short.write(tmp_path / "b.mcap"))
    assert held.duration == pytest.approx(4.0)
    assert held.caller_sent.pcm() == clean.caller_sent.pcm()
    assert held.stats["max_delta_ms"] == pytest.approx(1000, abs=25)
    assert held.stats["lost_messages"] == 0


def test_a_pause_of_the_sender_is_silence_of_its_length(tmp_path):
    scene = Scene(6.0, noise_dbov=-30, jitter_ms=5)
    scene.pause_caller(2.0, 1.5)
    call = opened(scene, tmp_path)
    assert call.duration == pytest.approx(6.0)
    silent = np.flatnonzero(call.caller_sent.samples == 0) / 8000
    inside = silent[(silent > 1.99) & (silent < 3.51)]
    assert inside.min() == pytest.approx(2.0, abs=0.01)
    assert inside.max() == pytest.approx(3.5, abs=0.01)
    assert len(inside) == pytest.approx(1.5 * 8000, rel=0.01)


def test_lost_messages_leave_their_gap_and_move_nothing(short, tmp_path):
    clean = opened(short, tmp_path)
    short.lose(2.4, 5)
    call = Call.open(short.write(tmp_path / "b.mcap"))
    assert call.stats["lost_messages"] == 5
    for audio in (call.caller_sent, call.bot_heard):
        assert audio.span(2.4, 2.5).level == -np.inf
        assert audio.span(0, 2.4).pcm() == clean.caller_sent.span(0, 2.4).pcm()
        assert audio.span(2.5, 4).pcm() == clean.caller_sent.span(2.5, 4).pcm()


def test_duplicates_are_marked_and_not_played(short, tmp_path):
    clean = opened(short, tmp_path)
    short.repeat(2.4, 10)
    call = Call.open(short.write(tmp_path / "b.mcap"))
    assert call.inbound.duplicate.sum() == call.stats["duplicates"] == 10
    assert call.caller_sent.pcm() == clean.caller_sent.pcm()


def test_jitter_does_not_tear_the_audio(tmp_path):
    scene = Scene(4.0, noise_dbov=-30, jitter_ms=30)
    scene.arrival = np.maximum.accumulate(scene.arrival)  # TCP keeps the order
    call = opened(scene, tmp_path)
    sent = np.frombuffer(PCMU.decode(PCMU.encode(Audio(scene.caller, 8000).pcm())), "<i2")
    found = np.frombuffer(call.caller_sent.pcm(), "<i2")
    late = int(np.flatnonzero(found)[0])  # the quickest message sets the clock
    assert late < 80
    assert np.array_equal(found[late:], sent[: len(sent) - late])


@pytest.mark.parametrize("numbers", ["", "abc", "-1", "9" * 30])
def test_sequence_numbers_may_be_missing_or_nonsense(tmp_path, numbers):
    scene = Scene(2.0, noise_dbov=-30)
    scene.number = np.full(len(scene.number), numbers, object)
    call = opened(scene, tmp_path)
    assert call.duration == pytest.approx(2.0)
    assert call.caller_sent.level == pytest.approx(-30, abs=0.2)
    assert call.stats["lost_messages"] == 0


def test_a_counter_that_leaps_or_starts_anew_is_no_loss(tmp_path):
    scene = Scene(30.0, noise_dbov=-30)
    scene.number = scene.number.copy()
    scene.number[1000:] -= 999
    scene.number[1400:] += 10**12
    call = opened(scene, tmp_path)
    assert call.stats["lost_messages"] == 0
    assert call.caller_sent.span(0.1, 29.9).level == pytest.approx(-30, abs=0.2)


def test_clear_cuts_what_the_caller_heard_and_not_what_was_sent(tmp_path):
    scene = Scene(8.0)
    scene.say_bot(0.5, speech("bot/b05"), lead=3.0)  # far ahead, as some syntheses send
    scene.interrupt(2.0)
    call = opened(scene, tmp_path)
    assert call.caller_heard.span(2.01, 8).level == -np.inf
    assert call.bot_sent.span(2.01, 4).level > -40
    assert call.stats["bot_sent_ms"] - call.stats["caller_heard_ms"] == pytest.approx(3000, abs=50)


def test_what_stop_cuts_off_was_never_heard(tmp_path):
    scene = Scene(2.0)
    scene.say_bot(0.5, speech("bot/b05"), lead=60.0)
    call = opened(scene, tmp_path)
    assert call.duration == pytest.approx(2.0)
    assert call.stats["caller_heard_ms"] == pytest.approx(1500, abs=2)


def test_what_was_sent_after_stop_was_never_heard(tmp_path):
    scene = Scene(3.0)
    scene.say_bot(0.5, speech("bot/b05").span(0, 2.0))
    scene.chunks += [Chunk(3.0 + i * FRAME, b"\1\0" * 320, b"\x10" * 320, 3.0) for i in range(50)]
    call = opened(scene, tmp_path)
    assert call.playout.heard_ms == call.stats["caller_heard_ms"] == pytest.approx(2000)
    assert call.stats["bot_sent_ms"] == pytest.approx(4000)
    (turn,) = call.turns
    assert turn.heard_ms == pytest.approx(2000)
    assert "2.0 s of the 4.0 s" in call.summary()


@pytest.mark.parametrize("cleared", [False, True])
def test_without_stop_a_call_lasts_until_all_of_it_was_played(tmp_path, cleared):
    scene = Scene(8.0, stop=False)
    scene.lose(0.0, 10_000)
    scene.say_bot(0.5, speech("bot/b01").span(0, 6.0), lead=100.0)
    if cleared:
        scene.extra.append((2.0, "/ws/tx", messages.encode(messages.Clear())))
    call = opened(scene, tmp_path)
    assert call.duration == pytest.approx(2.0 if cleared else 6.5, abs=1e-3)
    assert call.caller_heard.duration == pytest.approx(call.duration, abs=1e-3)


def test_without_stop_a_call_lasts_to_the_end_of_its_last_audio(tmp_path):
    scene = Scene(2.0, stop=False, jitter_ms=0)
    assert opened(scene, tmp_path).duration == pytest.approx(scene.arrival[-1] + MEDIA, abs=1e-4)


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("how", ["late", "twice"])
def test_a_message_that_came_late_or_twice_spoils_no_other(tmp_path, how, rate):
    scene = Scene(4.0, noise_dbov=-30, jitter_ms=0, heard_rate=rate)
    if how == "late":
        scene.arrival[100] = scene.arrival[101] + 5e-4
    else:
        scene.twice.add(100)
    call = opened(scene, tmp_path)
    sent = Audio.from_pcm(PCMU.decode(PCMU.encode(Audio(scene.caller, 8000).pcm())), 8000)
    assert call.caller_sent.pcm() == sent.pcm()
    heard = sent.resampled(rate).samples
    assert np.abs(call.bot_heard.samples - heard).max() < 1e-4


def test_input_that_goes_by_the_serializer_is_not_the_bots(short, tmp_path):
    pcm = speech("caller/c05", 8000).span(0, 1.0).pcm()
    for at, frame in ((2.0, "InputAudioRawFrame"), (2.5, "UserAudioRawFrame")):
        body = AudioFrame(
            data=pcm, format="pcm-s16", sample_rate=8000, number_of_channels=1, frame=frame
        )
        short.extra.append((at, "/frames/out/audio", body))
    call = opened(short, tmp_path)
    assert {frame.frame for frame in call.audio_out} == {"TTSAudioRawFrame"}
    assert call.stats["bot_said_ms"] == pytest.approx(1500)
    assert call.bot_said.span(1.8, 4.0).level == -np.inf


def test_two_rates_in_one_call_become_the_commoner_one(tmp_path):
    scene = Scene(6.0, pipeline_rate=24000)
    scene.say_bot(0.5, speech("bot/b07").span(0, 2.0))
    pcm = speech("bot/b07", 16000).span(0, 1.0).pcm()
    for index in range(25):
        frame = AudioFrame(
            data=pcm[index * 1280 : (index + 1) * 1280], format="pcm-s16", sample_rate=16000,
            number_of_channels=1, frame="TTSAudioRawFrame",
        )  # fmt: skip
        scene.extra.append((3.5 + index * 0.04, "/frames/out/audio", frame))
    call = opened(scene, tmp_path)
    assert call.bot_said.sample_rate == 24000
    for start, length in ((0.5, 2.0), (3.5, 1.0)):
        found = call.bot_said.span(start, start + length)
        assert abs(shift_ms(speech("bot/b07").span(0, length), found)) <= 0.25


async def test_a_call_through_the_real_serializer_and_tap(tmp_path):
    params = BandwidthFrameSerializer.InputParams(auto_hang_up=False)
    tap = Tap(BandwidthFrameSerializer("s-1", params=params), tmp_path / "a.mcap")
    await tap.setup(SimpleNamespace(audio_in_sample_rate=16000, audio_out_sample_rate=24000))
    tracks = (messages.Track("inbound"),)
    await tap.deserialize(messages.encode(messages.Start("s-1", "c-1", "9", "n", tracks)))
    caller, bot = speech("caller/c01", 8000).pcm(), speech("bot/b07").span(0.1, 2).pcm()
    began = time.monotonic()
    for index in range(40):
        await asyncio.sleep(max(0, began + index * MEDIA - time.monotonic()))
        payload = PCMU.encode(caller[index * 320 : (index + 1) * 320])
        media = messages.Media(payload, "inbound", str(index + 1))
        await tap.deserialize(messages.encode(media))
        if index % 2 == 0:
            pcm = bot[index // 2 * 1920 : (index // 2 + 1) * 1920]
            await tap.serialize(TTSAudioRawFrame(pcm, 24000, 1))
    await tap.serialize(EndFrame())
    await tap.deserialize(messages.encode(messages.Stop("s-1", "c-1")))
    tap.close()
    call = Call.open(tap.path)
    assert call.bot_heard.sample_rate == 16000
    assert call.bot_said.sample_rate == 24000
    assert call.stats["bot_heard_ms"] == pytest.approx(800, abs=1)
    assert call.stats["bot_sent_ms"] == pytest.approx(804, abs=1)  # with the filter's tail
    # The serializer's filters take 4 ms, and a busy machine its own time between frame and message.
    slowest = max(frame.took_ms or 0.0 for frame in call.frames_out)
    assert 3 <= shift_ms(call.bot_said, call.bot_sent) < 50 + slowest
    assert shift_ms(call.caller_sent, call.bot_heard) == pytest.approx(4, abs=1)
    kinds = [event.kind for event in call.events if event.kind != "warning"]
    assert kinds == ["start", "end", "stop"]
    assert not diagnose(call, ["tail_lost", "audio_lost", "wrong_rate", "sequence_gap"])


# -- files -------------------------------------------------------------------------------------


def test_a_recording_that_was_cut_off_opens(short, tmp_path):
    short.stop = False
    call = Call.open(short.write(tmp_path / "a.mcap", finish=False))
    assert not call.finished
    assert call.duration == pytest.approx(4.0, abs=0.05)
    assert "cut off" in call.summary()
    whole = (tmp_path / "a.mcap.part").read_bytes()
    (tmp_path / "torn.mcap").write_bytes(whole[: len(whole) - 100])
    torn = Call.open(tmp_path / "torn.mcap")
    assert torn.damage or not torn.finished


DEEP = '{"data": ' + "[" * 5000 + "]" * 5000 + "}"
SOUND = '{"data": "AAAAAAAA", "sample_rate": %s, "number_of_channels": %s}'


@pytest.mark.parametrize("topic", ["/frames/in/audio", "/frames/out/audio"])
@pytest.mark.parametrize(
    "body",
    [
        DEEP,
        *(SOUND % (rate, 1) for rate in (-1, 0, 1, 999, 2**62, 10**30)),
        *(SOUND % (8000, channels) for channels in (-1, 0, 33, 2**62, 10**30)),
    ],
    ids=lambda body: body[-60:],
)
def test_a_frame_that_makes_no_sense_spoils_nothing(short, tmp_path, topic, body):
    clean = opened(short, tmp_path)
    short.extra.append((2.0, topic, body))
    call = Call.open(short.write(tmp_path / "b.mcap"))
    assert call.duration == clean.duration
    assert call.caller_sent.pcm() == clean.caller_sent.pcm()
    for name in SIGNALS:
        assert len(call.signal(name)) == round(call.duration * call.signal(name).sample_rate)
    assert diagnose(call) is not None and call.summary()


@pytest.mark.parametrize("topic", ["/notes", "/log", "/capture/stats", "/ws/tx/binary"])
def test_other_records_that_make_no_sense_are_told(short, tmp_path, topic):
    short.extra.append((2.0, topic, DEEP))
    call = Call.open(short.write(tmp_path / "b.mcap"))
    assert [event.time for event in call.events if event.kind == "bad_message"] == [2.0]


def test_a_record_of_another_day_is_told_and_makes_the_call_no_longer(short, tmp_path):
    short.extra.append((40 * 86_400.0, "/ws/rx", messages.encode(messages.Media(b"", "inbound"))))
    call = Call.open(short.write(tmp_path / "b.mcap"))
    assert call.duration == pytest.approx(4.0)
    (event,) = (event for event in call.events if event.kind == "bad_message")
    assert event.text == "1 records are dated more than a day from this call and were skipped"


def test_what_is_no_capture_is_refused(tmp_path):
    (tmp_path / "no.mcap").write_bytes(b"no")
    with pytest.raises(CaptureError, match="not an MCAP"):
        Call.open(tmp_path / "no.mcap")
    with pytest.raises(CaptureError):
        Call.open(tmp_path / "absent.mcap")


def test_a_call_without_a_single_message_opens(tmp_path):
    scene = Scene(0.0, stop=False)
    scene.arrival = scene.arrival[:0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scene, "_records", lambda self: [])
        call = opened(scene, tmp_path)
    assert call.duration == 0
    assert call.turns == ()
    assert call.summary()
    assert call._repr_html_()
    assert call.stats["inbound_messages"] == 0


# -- events, turns, figures ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bot", "caller", "latency_ms"),
    [
        ([(0, 2), (4, 5)], [(2.5, 3.4)], 600),
        ([(0, 2.5), (4, 5)], [(2.0, 3.4)], 600),  # barged in
        ([(0, 2), (2.6, 2.8), (4, 5)], [(2.5, 3.4)], 600),  # the bot began, and gave way
        ([(0, 2), (4, 5)], [(1.0, 1.5)], None),  # "yes" while the bot goes on is no question
        ([(0, 2), (3.0, 5)], [(2.5, 3.4)], None),  # an answer before the end
    ],
)
def test_an_answer_is_timed_from_the_last_word(bot, caller, latency_ms):
    found = find_turns(np.array(caller, float), np.array(bot, float))
    last = [turn for turn in found if turn.side == "bot"][-1]
    assert last.latency_ms == (None if latency_ms is None else pytest.approx(latency_ms))


@pytest.mark.parametrize(
    ("tone", "latency_ms"),
    [((3.6, 4.2), 800), ((1.0, 1.2), 1600), ((4.6, 4.9), 1600), ((3.6, 5.2), 1600)],
    ids=["behind his words", "before them", "too long after them", "still on"],
)
def test_a_tone_behind_the_callers_words_is_the_last_of_them(tone, latency_ms):
    """As the beep of a voicemail is."""
    caller, bot = np.array([(2.5, 3.4)]), np.array([(5.0, 7.0)])
    *_, answer = find_turns(caller, bot, np.array([tone]))
    assert answer.latency_ms == pytest.approx(latency_ms)


def test_events_tell_what_happened(short, tmp_path):
    short.interrupt(1.0)
    short.receive(1.5, '{"eventType":"dtmf"}')
    short.receive(1.6, '{"eventType":"media","payload":"!"}')
    short.extra.append((1.7, "/ws/rx/invalid", Invalid(data=b"\xff", error="not UTF-8")))
    short.extra.append(
        (1.8, "/ws/tx", '{"eventType":"playAudio","media":{"contentType":"x","payload":""}}')
    )
    short.extra.append((1.9, "/notes", Note(text="here")))
    short.frame_out(3.0, "EndFrame")
    short.log(3.1, "an ordinary line")
    short.log(3.2, "something odd", level=3)
    short.log(3.3, "something wrong", level=4)
    short.log(3.4, "Call c-1 hung up (HTTP 200, attempts: 1, 0.20 s)")
    short.hang_up(3.5, "failed", status_code=503, reason="overloaded", took_us=2e5)
    short.hang_up(3.6, "ended", status_code=200, attempts=1, took_us=204_000)
    call = opened(short, tmp_path)
    kinds = [event.kind for event in call.events]
    assert kinds == [
        "start", "interruption", "clear", "other_message", "bad_message", "bad_message",
        "bad_message", "note", "end", "warning", "error", "hang_up_failed",
        "hang_up", "stop",
    ]  # fmt: skip
    failed, ended = call.hang_ups
    assert (failed.outcome, failed.is_over, failed.reason) == ("failed", False, "overloaded")
    assert (ended.status_code, ended.attempts, ended.took_ms) == (200, 1, 204)
    assert [event.text for event in call.events if event.kind.startswith("hang_up")] == [
        "the call may still be up: overloaded",
        "ended (HTTP 200, attempts: 1, 0.20 s)",
    ]
    assert call.times_of("hang_up") == pytest.approx([3.6])
    assert call.stats["bad_messages"] == 3


def test_turns_are_those_of_the_script(call):
    for turn in SCRIPT["turns"]:
        if not turn["speech"]:  # hold music is nobody's turn
            continue
        start, end = turn["speech"][0][0], turn["speech"][-1][1]
        mine = [t for t in call.turns if t.side == turn["side"] and abs(t.start - start) < 0.15]
        assert len(mine) == 1, turn["id"]
        assert mine[0].end == pytest.approx(end, abs=0.3), turn["id"]
    assert len(call.turns) == sum(bool(turn["speech"]) for turn in SCRIPT["turns"])


def test_latencies_are_those_of_the_script(call):
    for gap in SCRIPT["response_gaps"]:
        turn = next(t for t in SCRIPT["turns"] if t["id"] == gap["bot_turn"])
        if not turn["speech"] or gap["bot_turn"] == "b09":
            continue
        before = next(t for t in SCRIPT["turns"] if t["id"] == gap["caller_turn"])
        expected = 1000 * (turn["speech"][0][0] - before["speech"][-1][1])
        found = min(call.turns, key=lambda t: abs(t.start - turn["speech"][0][0]))
        assert found.latency_ms == pytest.approx(expected, abs=250)


@pytest.mark.parametrize(
    ("before", "lead"),
    [
        ([(0.5, -20.0), (0.3, -45.0)], 0.8),  # a hum that dies away
        ([(0.5, -20.0), (0.04, -100.0), (0.2, -30.0)], 0.74),
        ([(0.5, -20.0), (0.3, -100.0)], 0.0),  # a sound of its own
        ([(0.5, -66.0)], 0.0),  # the synthesis hisses
        ([(0.7, -42.0)], 0.0),  # a background that begins
        ([(2.5, -40.0)], 0.0),  # a background without end
    ],
)
def test_the_bot_answers_with_its_first_sound(tmp_path, before, lead):
    parts = [
        0.5**-0.5
        * 10 ** (dbov / 20)
        * np.sin(2 * np.pi * 330 * np.arange(int(24000 * secs)) / 24000)
        for secs, dbov in before
    ]
    words = speech("bot/b07").span(0.06, 1.5)
    bot = Audio(np.concatenate([*parts, words.samples]).astype(np.float32), 24000)
    scene = Scene(8.0, noise_dbov=-70)
    scene.say_caller(0.5, speech("caller/c08").span(0, 1.5))
    begun = 5.0 - sum(secs for secs, _ in before)
    scene.say_bot(begun, bot)
    (turn,) = [turn for turn in opened(scene, tmp_path).turns if turn.side == "bot"]
    assert turn.start == pytest.approx(5.0 - lead, abs=0.06)


@pytest.mark.parametrize(
    ("secs", "dbov", "pause", "begins"),
    [
        (0.25, -20.0, 0.3, 4.45),  # a word that no detector calls a voice
        (0.25, -45.0, 0.3, 5.0),  # a breath
        (0.05, -20.0, 0.3, 5.0),  # a click
        (0.25, -20.0, 0.8, 5.0),  # something long before
    ],
)
def test_a_short_word_is_the_answers_first(tmp_path, secs, dbov, pause, begins):
    pitch = np.linspace(300, 900, int(24000 * secs))  # it rises: no tone
    word = 2**0.5 * 10 ** (dbov / 20) * np.sin(2 * np.pi * np.cumsum(pitch) / 24000)
    words = speech("bot/b07").span(0.06, 1.5).resampled(24000)
    silence = np.zeros(int(24000 * pause))
    bot = Audio(np.concatenate([word, silence, words.samples]).astype(np.float32), 24000)
    scene = Scene(8.0, noise_dbov=-70)
    scene.say_caller(0.5, speech("caller/c08").span(0, 1.5))
    scene.say_bot(5.0 - secs - pause, bot)
    call = opened(scene, tmp_path)
    (turn,) = [turn for turn in call.turns if turn.side == "bot"]
    assert turn.start == pytest.approx(begins, abs=0.06)


def test_an_interrupted_turn_was_said_further_than_heard(tmp_path):
    scene = Scene(8.0)
    scene.say_bot(0.5, speech("bot/b05"), lead=1.0)
    scene.say_caller(2.5, speech("caller/c08"))
    scene.interrupt(3.0)
    call = opened(scene, tmp_path)
    bot = next(turn for turn in call.turns if turn.side == "bot")
    assert bot.heard_ms == pytest.approx(2500, abs=5)
    assert bot.said_ms == pytest.approx(3500, abs=50)


def test_what_an_interruption_threw_away_was_meant_for_its_own_turn(tmp_path):
    """Six seconds sent at once, of which 1.7 are heard; the answer comes before they would end."""
    scene = Scene(12.0, noise_dbov=-70)
    scene.say_bot(0.5, speech("bot/b01").span(0, 6.0), lead=100.0)
    scene.say_caller(2.0, speech("caller/c08").span(0, 1.5))
    scene.frame_out(2.2, "InterruptionFrame", "sent")
    scene.extra.append((2.2, "/ws/tx", messages.encode(messages.Clear())))
    scene.say_bot(4.0, speech("bot/b07").span(0, 2.0))
    call = opened(scene, tmp_path)
    first, last = [turn for turn in call.turns if turn.side == "bot"]
    assert (first.said_ms, last.said_ms) == pytest.approx((6000, 2000), abs=1)
    assert (first.heard_ms, last.heard_ms) == pytest.approx((1700, 2000), abs=1)


def test_audio_belongs_to_the_turn_that_it_is_heard_in(tmp_path):
    """Two sentences sent at once, and a third close behind: neither time nor nearness misleads."""
    scene = Scene(12.0, noise_dbov=-70)
    one, other = (speech(f"bot/{name}", 8000).span(0.06, 2.06).samples for name in ("b07", "b01"))
    pause = np.zeros(8000, np.float32)
    scene.say_bot(0.5, Audio(np.concatenate([one, pause, other]), 8000), lead=100.0)
    scene.say_caller(2.5, speech("caller/c08").span(0, 0.8))
    scene.say_bot(6.0, speech("bot/b02").span(0.06, 2.06))
    scene.say_caller(5.5, speech("caller/c09").span(0, 0.45))
    call = opened(scene, tmp_path)
    bot = [turn for turn in call.turns if turn.side == "bot"]
    assert [turn.start for turn in bot] == pytest.approx([0.5, 3.5, 6.0], abs=0.1)
    assert [turn.said_ms for turn in bot] == pytest.approx([2700, 2300, 2000], abs=130)
    assert sum(turn.said_ms for turn in bot) == pytest.approx(7000)


def _tells(scene, observed, at, what):
    """Tell of a synthesis as an observer does, or as a web client is told."""
    if observed:
        scene.pipeline(at, f"synthesis {what}")
    else:
        scene.rtvi(at, {"begins": "bot-tts-started", "ends": "bot-tts-stopped"}[what])


@pytest.mark.parametrize("observed", [False, True], ids=["to a web client", "observer"])
@pytest.mark.parametrize(
    ("told", "holes"),
    [
        ([(1.8, "begins"), (3.9, "ends"), (6.4, "begins"), (9.0, "ends")], 0),
        (
            [(1.8, "begins"), (3.9, "ends"), (3.9, "begins"), (9.0, "ends")],
            1,
        ),  # both were made ahead
        ([(1.8, "begins"), (9.0, "ends")], 1),  # it breaks off in a word
        ([(1.8, "begins"), (6.4, "begins"), (9.0, "ends")], 1),  # the one before is not over
        ([(6.4, "begins")], 1),  # nothing is known of the one before
    ],
)
def test_between_two_syntheses_is_no_hole(tmp_path, observed, told, holes):
    """Right before a gap of 0.85 s there is a syllable, and right behind it."""
    scene = Scene(14.0, noise_dbov=-60)
    scene.say_bot(2.0, speech("bot/b01").span(0.06, 8.0))
    dry = scene.hole(5.8, 0.85)
    assert dry < 6.4 < dry + 0.85
    for at, what in told:
        _tells(scene, observed, at, what)
    call = opened(scene, tmp_path)
    assert len(call.playout.underruns) == holes
    assert [finding.kind for finding in diagnose(call, ["underrun"])] == ["underrun"] * holes
    table = {row.cushion_ms: row.underruns for row in call.playout.cushion_table([40])}
    assert table == {40: holes}
    stalls = stalls_of(handed_over(call), (0,))
    assert stalls.holes.sum() == holes


@pytest.mark.parametrize("answered", [False, True])
def test_the_caller_answers_in_a_pause_which_is_no_hole_then(tmp_path, answered):
    scene = Scene(14.0, noise_dbov=-60)
    scene.say_bot(2.0, speech("bot/b01").span(0.06, 8.0))
    scene.hole(4.4, 0.06)
    dry = scene.hole(5.8, 0.85)
    if answered:
        scene.say_caller(dry + 0.1, speech("caller/c08").span(0.05, 0.65))
    call = opened(scene, tmp_path)
    if not answered:
        assert call.playout.underrun_ms == pytest.approx([60, 850], abs=1)
        return
    assert call.playout.underrun_ms == pytest.approx([60], abs=1)
    assert call.stats["underruns"] == 1 and call.stats["underrun_ms"] == pytest.approx(60, abs=1)
    assert {row.cushion_ms: row.underruns for row in call.playout.cushion_table([40, 100])} == {
        40: 1, 100: 0,
    }  # fmt: skip


def test_the_lead_is_that_of_messages_which_go_on(tmp_path):
    scene = Scene(4.0)
    scene.say_bot(0.5, speech("bot/b07").span(0, 1.6))
    stats = opened(scene, tmp_path).stats
    # The first three are given at once; from then on two are waiting.
    assert stats["mean_lead_ms"] == pytest.approx((40 + 38 * 80) / 39, abs=0.1)


def test_figures_are_those_that_were_planted(short, tmp_path):
    short.lose(1.0, 4)
    short.repeat(2.0, 2)
    stats = opened(short, tmp_path).stats
    assert stats["inbound_messages"] == 200 - 4 + 2
    assert stats["loss_percent"] == pytest.approx(2.0)
    assert stats["caller_sent_ms"] == pytest.approx(4000 - 80)
    assert stats["bot_heard_ms"] == pytest.approx(4000 - 80 + 40)
    for name in ("bot_said_ms", "bot_sent_ms", "caller_heard_ms"):
        assert stats[name] == pytest.approx(1500)
    assert stats["inbound_kbit_s"] == pytest.approx(116, rel=0.05)
    assert stats["pipeline_out_hz"] == stats["wire_out_hz"] == 8000
    assert all(np.isfinite(value) for value in stats.values())


def test_jitter_is_that_of_rfc_3550(tmp_path):
    scene = Scene(4.0, jitter_ms=0)
    scene.arrival = scene.arrival + np.where(np.arange(200) % 2, 0.008, 0.0)
    expected, value = [], 0.0
    for index in range(200):
        difference = 8.0 if index else 0.0
        value += (difference - value) / 16
        expected.append(value)
    stats = opened(scene, tmp_path).stats
    assert stats["jitter_ms"] == pytest.approx(np.mean(expected), rel=0.01)
    assert stats["max_jitter_ms"] == pytest.approx(expected[-1], rel=0.01)


def test_both_tracks_counted_together_are_no_loss(tmp_path):
    scene = Scene(4.0)
    other = [
        (
            float(at) + 0.005,
            messages.encode(messages.Media(b"\xff" * 160, "outbound", str(2 * n + 2))),
        )
        for n, at in enumerate(scene.arrival)
    ]
    scene.number = scene.number * 2 - 1
    for at, text in other:
        scene.receive(at, text)
    call = opened(scene, tmp_path)
    assert call.stats["lost_messages"] == 0
    assert call.stats["other_track_messages"] == 200


def test_stereo_frames_are_mixed_down():
    left, right = np.array([100, 200], "<i2"), np.array([300, 400], "<i2")
    frame = FrameRecord(0.0, "TTS", np.column_stack((left, right)).tobytes(), 8000, 2)
    assert np.frombuffer(frame.mono, "<i2").tolist() == [200, 300]
    assert frame.duration == 2 / 8000


# -- for people ---------------------------------------------------------------------------------


def test_summary_opens_with_a_sentence_and_names_the_formats(call):
    first, *rest = call.summary().splitlines()
    assert first.startswith("A call of 2 min 19 s on ")
    assert "10 turns of the bot" in first
    text = "\n".join(rest)
    assert "PCMU" in text
    assert "dBov" in text
    assert "scripted.mcap" in text


def test_html_escapes_what_came_from_the_capture(short, tmp_path):
    call = opened(short, tmp_path)
    call.metadata["call"]["from"] = "<script>alert(1)</script>"
    html = call._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_started_at_is_the_first_message(short, tmp_path):
    call = opened(short, tmp_path)
    assert call.started_at.tzinfo is not None
    assert call.frames_out[0].time == pytest.approx(-0.010)
    assert call.inbound.time[0] == pytest.approx(0, abs=0.01)
    assert MEDIA == call.inbound.duration[0]
    assert wire_format("PCMU") == call.outbound.formats[0]


# -- a recording with holes ------------------------------------------------------------------------


def without(path: Path, target: Path, start: float, end: float) -> Path:
    """The same capture without the records between two times, as a full disk leaves it."""
    with CaptureReader(path) as reader:
        records = list(reader.records())
    anchor = next(record.time_ns for record in records if record.topic.startswith("/ws/"))
    writer = CaptureWriter(target, call={"stream_id": "s-1", "call_id": "c-1"})
    for record in records:
        time = record.time_ns - anchor
        if record.topic.startswith("/capture/"):  # the new one has its own
            continue
        if not start <= time / 1e9 < end:
            writer.record(record.topic, ANCHOR_NS + time, record.body.decode())
        else:  # it was numbered, and then there was no room for it
            writer._sequences[record.topic] += 1
            writer.count_lost("the disk is full")
    writer.close()
    return writer.path


def test_what_was_not_recorded_is_not_what_never_arrived(tmp_path: Path) -> None:
    scene = Scene(12.0)
    scene.say_bot(1.0, speech("bot/b07").span(0, 3.0))
    scene.say_caller(5.0, speech("caller/c01"))
    scene.lose(7.5, 4)
    whole = Call.open(scene.write(tmp_path / "whole.mcap"))
    torn = Call.open(without(whole.path, tmp_path / "torn.mcap", 2.0, 3.0))
    assert whole.unrecorded == ()
    assert np.allclose(torn.unrecorded, [(2.0, 3.0)], atol=0.03)
    assert torn.stats["lost_messages"] == whole.stats["lost_messages"] == 4
    assert "not everything was recorded" in torn.summary()

    told = {finding.kind: finding for finding in diagnose(torn)}
    assert told.keys() == {"sequence_gap", "capture_dropped"}
    assert told["sequence_gap"].span == pytest.approx((7.5, 7.58), abs=0.02)
    assert told["capture_dropped"].severity == "warning"
    assert told["capture_dropped"].span == torn.unrecorded[0]
    assert diagnose(torn)[0].kind == "capture_dropped"


def test_what_was_not_recorded_moves_no_clock(tmp_path: Path) -> None:
    scene = Scene(40.0)
    scene.say_caller(5.0, speech("caller/c01"))
    whole = Call.open(scene.write(tmp_path / "whole.mcap"))
    torn = Call.open(without(whole.path, tmp_path / "torn.mcap", 12.0, 12.08))
    assert torn.dropped >= 4
    assert torn.clock_drift == pytest.approx(whole.clock_drift, abs=1.0)
    assert torn.inbound.start[-1] == pytest.approx(whole.inbound.start[-1], abs=0.005)
    assert torn.inbound.spells == ()


def test_a_fault_beside_a_hole_of_the_recording_is_still_found(tmp_path: Path) -> None:
    scene = Scene(12.0)
    scene.lose(5.0, 10)
    torn = without(scene.write(tmp_path / "whole.mcap"), tmp_path / "torn.mcap", 6.0, 6.5)
    (gap,) = diagnose(Call.open(torn), ["sequence_gap"])
    assert (gap.value, gap.span) == (200, pytest.approx((5.0, 5.2), abs=0.02))


def test_records_numbered_by_another_program_are_no_holes(tmp_path: Path) -> None:
    scene = Scene(4.0)
    path = scene.write(tmp_path / "whole.mcap")
    with CaptureReader(path) as reader:
        records = list(reader.records())
    writer = CaptureWriter(tmp_path / "other.mcap", call={"call_id": "c-1"})
    for number, record in enumerate(records):
        writer._sequences[record.topic] = 10 * number
        time = record.time_ns - records[0].time_ns
        writer.record(record.topic, ANCHOR_NS + time, record.body.decode())
    writer.close()
    assert Call.open(writer.path).unrecorded == ()


@pytest.mark.parametrize("dbov", [-25.0, -45.0, -52.0])
def test_the_level_of_a_faint_voice_is_not_that_of_its_line(tmp_path: Path, dbov: float) -> None:
    """Of the noise P.56 takes 15.9 dB below the voice for speech too; the voice is 4 of 30 s."""
    scene = Scene(30.0, noise_dbov=-66)
    said = speech("caller/c01").span(0.0, 4.0)
    scene.say_caller(8.0, said, 10 ** ((dbov - active_level(said)) / 20))
    scene.say_bot(1.0, speech("bot/b07"))
    level = Call.open(scene.write(tmp_path / "a.mcap")).stats["caller_level_dbov"]
    assert level == pytest.approx(dbov, abs=1.5)
