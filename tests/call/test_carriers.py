"""Captures of other carriers' serializers: one real call over each protocol, read again."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipecat.frames.frames import EndFrame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.serializers.plivo import PlivoFrameSerializer
from pipecat.serializers.protobuf import ProtobufFrameSerializer
from pipecat.serializers.telnyx import TelnyxFrameSerializer
from pipecat.serializers.twilio import TwilioFrameSerializer

from pipecat_bandwidth.encodings import PCMU
from pipecat_bandwidth.exceptions import ProtocolError
from tests.call.carried import STALL_MS, Carried, caller, carried
from tests.call.far_ends import FAR_ENDS, Exotel, FarEnd, Plivo, Telnyx, Twilio, Vonage
from tests.captures import speech
from tests.http_server import Answer, http_server
from workbench.call import Call
from workbench.call.carriers import CARRIERS, by_class, by_messages
from workbench.call.carriers.formats import PCMA, format_of, linear
from workbench.call.replay import replay
from workbench.diagnosis import Findings, diagnose
from workbench.exports import export
from workbench.tap import Tap
from workbench.tuning import compare, tune
from workbench.tuning.batch import tune_captures

# One call over each carrier: they are made by one process only.
pytestmark = pytest.mark.xdist_group("carriers")

OTHERS = [name for name in FAR_ENDS if name != "Bandwidth"]
NUMBERED = [name for name in FAR_ENDS if name != "Vonage"]
#: Numbers of the caller's messages that are never sent, 100 ms.
LOST = {name: frozenset(range(60, 65)) for name in FAR_ENDS} | {"Exotel": frozenset({12})}
#: Findings that nothing in these calls is the cause of.
FALSE = {"bad_message", "one_way", "rtvi_leak", "own_track", "wrong_rate", "wrong_codec", "restart"}


class Web(FarEnd):
    """What a browser speaks to Pipecat's own protobuf serializer, which is no carrier."""

    def serializer(self) -> Any:
        return ProtobufFrameSerializer()

    def begin(self) -> list[str]:
        return []

    def media(self, payload: bytes, number: int) -> bytes:
        frame = OutputAudioRawFrame(PCMU.decode(payload), 8000, 1)
        try:
            ProtobufFrameSerializer().serialize(frame).send(None)
        except StopIteration as done:  # the coroutine has nothing to wait for
            return bytes(done.value)
        raise AssertionError("it waited")


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Carried]:
    where = tmp_path_factory.mktemp("carried")

    wanted: dict[str, Callable[[], FarEnd]] = {
        name: partial(far_end, b"", lose=LOST[name], stall=STALL_MS)
        for name, far_end in FAR_ENDS.items()
    }
    return asyncio.run(carried(where, {**wanted, "Web": partial(Web, b"")}))


@pytest.fixture(scope="module")
def opened(calls: dict[str, Carried]) -> dict[str, tuple[Call, Findings]]:
    read = {name: Call.open(one.path) for name, one in calls.items()}
    return {name: (call, diagnose(call)) for name, call in read.items()}


# -- what is read ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAR_ENDS)
def test_both_sides_are_read_to_the_byte(name: str, calls: Any, opened: Any) -> None:
    call, far_end = opened[name][0], calls[name].far_end
    assert str(call.carrier) == name.partition(",")[0]
    size = round(far_end.wire.sample_rate * far_end.message_ms / 1000) * 2
    pieces = [far_end.caller[at : at + size] for at in range(0, len(far_end.caller), size)]
    spoken = [far_end.wire.encode(p) for n, p in enumerate(pieces, 1) if n not in LOST[name]]
    # Pipecat reads nothing more once the socket is closed: the last may be missing.
    assert list(call.inbound.payloads) == spoken[: len(call.inbound)]
    assert len(call.inbound) > len(spoken) - 10
    assert b"".join(call.outbound.payloads).startswith(far_end.got) and far_end.got
    kinds = {str(wire) for wire in (*call.inbound.formats, *call.outbound.formats)}
    assert kinds == {str(far_end.wire)}
    assert call.start is not None and len(call.times_of("start")) == 1


@pytest.mark.parametrize("name", NUMBERED)
def test_what_was_lost_is_found_to_the_message(name: str, calls: Any, opened: Any) -> None:
    call, found = opened[name]
    missing = np.flatnonzero(call.inbound.missing)
    assert call.inbound.missing.sum() == len(LOST[name]) and len(missing) == 1
    assert call.inbound.sequence[missing[0]] == max(LOST[name]) + 1
    (gap,) = found.of("sequence_gap")
    assert gap.value == pytest.approx(100)
    report = call.carrier.advice.report
    assert str(call.carrier) in report and report in gap.remedy


def test_where_nothing_is_numbered_nothing_is_said_of_loss(opened: Any) -> None:
    call, found = opened["Vonage"]
    assert not call.inbound.missing.any() and not found.of("sequence_gap")
    assert "not numbered: what is lost cannot be told" in call.summary()
    assert "Vonage numbers no messages" in str(found)


@pytest.mark.parametrize("name", FAR_ENDS)
def test_an_interruption_empties_the_queue(name: str, calls: Any, opened: Any) -> None:
    call, found = opened[name]
    assert calls[name].far_end.cleared == 1
    (cleared,), (noticed,) = call.times_of("clear"), call.times_of("interruption")
    assert 0 <= cleared - noticed < 0.5
    assert not found.of("missing_clear")
    # One frame of the transport may be under way.
    assert np.count_nonzero(call.outbound.time > cleared) <= 1
    answered = len(call.times_of("cleared"))
    assert answered == (1 if name in ("Plivo", "Vonage") else 0)


@pytest.mark.parametrize("name", FAR_ENDS)
def test_nothing_is_found_that_is_not_there(name: str, opened: Any) -> None:
    call, found = opened[name]
    assert not {finding.kind for finding in found} & FALSE
    assert not call.times_of("bad_message").size
    assert {turn.side for turn in call.turns} == {"caller", "bot"}
    assert (
        "Bandwidth" not in " ".join(f"{f.cause} {f.remedy}" for f in found) or name == "Bandwidth"
    )
    assert "outbound_" not in " ".join(f.remedy for f in found) or name == "Bandwidth"


# -- what the carrier says that it has played ------------------------------------------------------


@pytest.mark.parametrize("name", OTHERS)
def test_marks_correct_the_queue(name: str, calls: Any, opened: Any) -> None:
    call, found = opened[name]
    far_end = calls[name].far_end
    assert not calls[name].is_starved, "this machine is too busy to call in real time"
    check = call.playout_check
    assert check is not None
    assert check.marks == 3 and check.corrected >= 1, (call.marks, check)
    told = [hole for hole in call.playout.underruns if call.playout.is_told(hole)]
    lasted = max(hole.end - hole.start for hole in told)
    assert lasted == pytest.approx(far_end.gap, abs=0.1) and far_end.gap > 0.3
    assert f"marks that {call.carrier} answered" in call.summary()
    finding = next(f for f in found.of("underrun") if "answers to the bot's marks" in f.cause)
    assert finding.value == pytest.approx(1000 * far_end.gap, abs=100)
    assert call.carrier.advice.report in finding.remedy
    assert "The queue model is corrected by" in finding.cause
    assert call.stats["marks"] == 3 and call.stats["marks_corrected"] >= 1


def test_the_third_mark_was_thrown_away_and_tells_nothing(opened: Any) -> None:
    """It was set behind words that an interruption cut: the pipeline never sent it."""
    for name in OTHERS:
        assert [mark.answered is not None for mark in opened[name][0].marks] == [True] * 3


def test_without_marks_the_queue_is_said_to_be_a_model(opened: Any) -> None:
    call = opened["Bandwidth"][0]
    assert call.playout_check is None and not call.marks
    (heard,) = [line for line in call.summary().splitlines() if line.startswith("heard")]
    assert heard.endswith("that the bot sent")
    assert "carrier:" not in call.summary()


# -- what is for Bandwidth only --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Twilio", "Web"])
def test_settings_of_bandwidth_s_serializer_are_refused(name: str, calls: Any, opened: Any) -> None:
    call, path = opened[name][0], calls[name].path
    who = call.carrier.serializer or str(call.carrier)
    assert who in ("TwilioFrameSerializer", "ProtobufFrameSerializer")
    for what, run in {
        "compare": lambda: compare(call),
        "tune": lambda: tune([call]),
        "replay": lambda: replay(call),
        "with_cushion": lambda: call.with_cushion(100),
    }.items():
        sentence = f"^{what} is for Bandwidth's serializer; {path.name} was recorded from {who}$"
        with pytest.raises(ValueError, match=sentence):
            run()
    with pytest.raises(ValueError, match=f"^tune is for Bandwidth's serializer; {path.name}"):
        tune_captures([path])


@pytest.mark.parametrize("name", ["Telnyx, A-law", "Vonage", "Web"])
def test_exports_are_made_all_the_same(name: str, opened: Any, tmp_path: Path) -> None:
    call, found = opened[name]
    written = export(call, tmp_path / "all", findings=found)
    assert {path.suffix for path in written} >= {".wav", ".csv", ".txt", ".pcapng"}
    (pcap,) = (path for path in written if path.suffix == ".pcapng")
    said = pcap.read_bytes()
    who = call.carrier.name.lower() or "carrier"
    assert who.encode() in said and b"bandwidth" not in said and b"sequenceNumber. " not in said


# -- who it is -------------------------------------------------------------------------------------


def test_a_carrier_that_nobody_knows_is_said_to_be_so(opened: Any) -> None:
    call, found = opened["Web"]
    assert not call.carrier.is_read
    summary = call.summary()
    assert "recorded from ProtobufFrameSerializer; this version reads the messages of" in summary
    assert "Bandwidth, Twilio, Telnyx, Plivo, Exotel and Vonage" in summary
    assert "heard:" not in summary and "lost" not in summary and "kbit/s" not in summary
    assert {turn.side for turn in call.turns} == {"caller", "bot"}
    assert [200 < answer.wait_ms < 1500 for answer in call.answers.waited_for] == [True]
    assert call.stats["caller_level_dbov"] == pytest.approx(-23, abs=3)
    assert call.stats["bot_level_dbov"] == pytest.approx(-21, abs=3)
    assert not {"lost_messages", "caller_heard_ms", "wire_in_hz"} & call.stats.keys()
    assert not [f for f in found if f.severity == "error"]
    assert "messages of ProtobufFrameSerializer are not read" in found.sentence + found.not_judged
    assert "sound" not in found.sentence.split(":")[0]


@pytest.mark.parametrize("name", FAR_ENDS)
def test_a_serializer_of_one_s_own_is_known_by_its_messages(name: str) -> None:
    far_end = FAR_ENDS[name](b"")
    bodies = [text.encode() for text in far_end.begin()]
    assert str(by_messages("my.bot.Mine", {}, bodies)) == name.partition(",")[0]


def test_who_looks_like_nobody_is_nobody_s() -> None:
    hello = [b'{"op":"audio"}', b"[1]", b"\xff"]
    assert str(by_messages("my.bot.Mine", {}, hello)) == "Mine"
    assert not by_messages("my.bot.Mine", {}, hello).is_read
    assert str(by_messages("", {}, hello)) == "Bandwidth"  # whose format it is
    assert by_class("my.bot.Mine", {}) is None


@pytest.mark.parametrize("kind", CARRIERS, ids=lambda kind: kind.name)
def test_what_is_none_of_its_messages_is_refused(kind: Any) -> None:
    carrier = kind({})
    for body in (b"[]", b"{", b"{}", b"\xff", b'{"event":"nonsense"}', b'{"event":7}', b"[" * 9999):
        for read in (carrier.received, carrier.sent):
            with pytest.raises((ProtocolError, ValueError)):
                read(body)
    assert carrier.advice.report and kind.name in carrier.advice.report


# -- encodings -------------------------------------------------------------------------------------


def test_formats_by_the_carriers_names() -> None:
    assert format_of("audio/x-mulaw", 8000) is PCMU and format_of("PCMA", 8000) is PCMA
    assert format_of("audio/x-raw", 24000) == linear(24000)
    for encoding, rate in (("OPUS", 48000), ("PCMU", 16000), ("L16", 7999)):
        with pytest.raises(ValueError, match="not read here"):
            format_of(encoding, rate)
    pcm = speech("bot/b01", 8000).pcm()
    again = PCMA.decode(PCMA.encode(pcm))
    error = np.frombuffer(again, "<i2").astype(float) - np.frombuffer(pcm, "<i2")
    power = np.square(np.frombuffer(pcm, "<i2").astype(float)).mean()
    assert 10 * np.log10(power / np.square(error).mean()) > 35  # dB, of speech in G.711


async def _fed(far_end: FarEnd, serializer: Any, path: Path) -> Call:
    """All that a far end says, given to a serializer at once."""
    tap = Tap(serializer, path)

    class Setup:
        audio_in_sample_rate = 8000

    await tap.setup(Setup())
    for text in far_end.begin():
        await tap.deserialize(text)
    for number, at in enumerate(range(0, len(far_end.caller), 320), 1):
        payload = far_end.wire.encode(far_end.caller[at : at + 320])
        frame = await tap.deserialize(far_end.media(payload, number))
        assert isinstance(frame, InputAudioRawFrame)
    tap.close()
    return Call.open(tap.path)


async def test_a_law_read_as_the_other_names_the_serializer_s_setting(tmp_path: Path) -> None:
    """Telnyx sends what its start message says; the serializer was told otherwise."""
    far_end = Telnyx(caller(8000))
    params = TelnyxFrameSerializer.InputParams(auto_hang_up=False)
    wrong = TelnyxFrameSerializer("st-1", "PCMA", "PCMU", params=params)
    call = await _fed(far_end, wrong, tmp_path / "a.mcap")
    finding = diagnose(call, ["wrong_codec"])[0]
    assert (finding.side, finding.listen) == ("caller", "bot_heard")
    assert "mu-law, decoded as A-law" in finding.measurement
    assert "outbound_encoding of TelnyxFrameSerializer" in finding.remedy


# -- messages of one carrier -----------------------------------------------------------------------


def test_of_two_tracks_the_caller_s_is_taken() -> None:
    carrier = by_class("pipecat.serializers.twilio.TwilioFrameSerializer", {})
    assert carrier is not None
    media = {"track": "outbound", "chunk": "3", "payload": "/w=="}
    one = carrier.received(json.dumps({"event": "media", "media": media}).encode())
    assert (one.sequence, one.is_caller) == (3, False)
    media = {
        "track": "inbound",
        "timestamp": "60",
        "payload": base64.b64encode(bytes(160)).decode(),
    }
    other = carrier.received(json.dumps({"event": "media", "media": media}).encode())
    assert other.is_caller and other.sequence == 3  # by the time, where nothing is counted


def test_the_rate_of_start_counts() -> None:
    exotel = by_class("ExotelFrameSerializer", {"exotel_sample_rate": 8000})
    vonage = by_class("VonageFrameSerializer", {"vonage_sample_rate": 24000})
    assert exotel is not None and vonage is not None
    start = Exotel(b"").begin()[1].replace('"8000"', '"16000"')
    assert exotel.received(start.encode()).tracks[0].sample_rate == 16000
    media = exotel.received(Exotel(b"").media(bytes(3200), 7).encode())
    assert (media.wire.sample_rate, media.sequence) == (16000, 7)
    vonage.received(Vonage(b"").begin()[0].encode())
    assert vonage.binary(bytes(640), inbound=True).wire.sample_rate == 16000
    assert vonage.binary(bytes(960), inbound=False).wire.sample_rate == 24000


@pytest.mark.filterwarnings("ignore:.*deprecated and will be removed:DeprecationWarning:pipecat")
async def test_a_hang_up_is_read_from_pipecat_s_log(tmp_path: Path) -> None:
    """The real request, to a server on loopback: the serializer tells of it in its log only."""
    for status, outcome in ((200, "ended"), (500, "failed")):
        async with http_server() as api:
            api.on("/2010-04-01", Answer(status, {}))
            ours = TwilioFrameSerializer("MZ1", "CA1", "AC1", "t0ken", base_url=api.url)
            tap = Tap(ours, tmp_path / f"{status}.mcap")
            await tap.deserialize(Twilio(b"").begin()[1])
            await tap.serialize(EndFrame())
            tap.close()
        call = Call.open(tap.path)
        assert [hang_up.outcome for hang_up in call.hang_ups] == [outcome]
        found = diagnose(call, ["hang_up_unconfirmed"])
        assert ("auth_token" in str([f.remedy for f in found])) is (outcome == "failed")
    plivo = by_class("PlivoFrameSerializer", PlivoFrameSerializer.InputParams().model_dump())
    assert plivo is not None
    told = plivo.hang_up("Plivo call c-1 already terminated")
    assert told is not None and told.outcome == "already_over"
    assert plivo.hang_up("a Plivo call begins") is None
    assert isinstance(Plivo(b"").begin(), list)
