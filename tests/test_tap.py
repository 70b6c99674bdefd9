from __future__ import annotations

import asyncio
import base64
import contextlib
import contextvars
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from loguru import logger
from mcap.reader import make_reader
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
    TTSAudioRawFrame,
)
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.serializers.vonage import VonageFrameSerializer

from pipecat_bandwidth import BandwidthFrameSerializer, VoiceAPI, VoiceAPIError, messages
from pipecat_bandwidth.voice_api import HangUp as HangUpDone
from tests.recordings import everything
from workbench import tap
from workbench.call import Call
from workbench.capture import (
    AudioFrame,
    CaptureReader,
    CaptureWriter,
    HangUp,
    Invalid,
    LogRecord,
    OtherFrame,
    Record,
    partfile,
    recording,
    redaction,
)
from workbench.capture.crew import Crew
from workbench.capture.redaction import hide, pseudonym, redact, secrets_of
from workbench.tap import Tap

SECRET = "s3cr3t-abcdef"
START = {
    "metadata": {
        "accountId": "9900000",
        "callId": "c-15ac29a2-1331029c",
        "streamId": "s-2a913f94",
        "streamName": "agent",
        "tracks": [{"name": "inbound", "mediaFormat": {"encoding": "PCMU", "sampleRate": 8000}}],
    },
    "streamParams": {"token": SECRET, "language": "en"},
    "eventType": "start",
}
AUDIO = base64.b64encode(bytes(160)).decode()
MEDIA = f'{{"payload":"{AUDIO}" , "sequenceNumber":"7","eventType":"media"}}'


class Echo(FrameSerializer):
    """A serializer of a few lines, which misbehaves on demand."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.error: BaseException | None = None
        self.answer: str | bytes | None = '{"eventType":"clear"}'
        self.frame: Frame | None = None
        self.log = ""
        self._register_event_handler("on_thing")
        vars(self).update(attributes)

    async def setup(self, setup: Any) -> None:
        self.calls.append(setup)
        self._raise()

    async def serialize(self, frame: Frame) -> str | bytes | None:
        self.calls.append(frame)
        self._raise()
        return self.answer

    async def deserialize(self, data: str | bytes) -> Frame | None:
        self.calls.append(data)
        if self.log:
            logger.info(self.log)
        self._raise()
        return self.frame

    def _raise(self) -> None:
        if self.error:
            raise self.error

    async def happen(self) -> None:
        await self._call_event_handler("on_thing", 5)


def echo_tap(tmp_path: Path, **attributes: Any) -> Tap:
    return Tap(Echo(**attributes), tmp_path / "a.mcap")


def finish(tapped: Tap) -> list[Record]:
    tapped.close()
    assert tapped._writer and tapped._writer.dropped == 0
    return everything(tapped.path)


def on(records: list[Record], topic: str) -> list[Record]:
    return [record for record in records if record.topic == topic]


def logged(records: list[Record]) -> list[str]:
    return [msgspec.json.decode(r.body, type=LogRecord).message for r in on(records, "/log")]


async def until(condition: Any, secs: float = 15.0) -> None:
    deadline = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.02)


def output(pcm: bytes = bytes(640), rate: int = 16000) -> OutputAudioRawFrame:
    return OutputAudioRawFrame(pcm, rate, 1)


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    seen: list[str] = []
    handler = logger.add(lambda message: seen.append(message.record["message"]), level="WARNING")
    yield seen
    logger.remove(handler)


# -- passing through ---------------------------------------------------------------------------


async def test_everything_goes_through_unchanged(tmp_path: Path) -> None:
    made = InputAudioRawFrame(b"\0\0", 8000, 1)
    inner = Echo(frame=made)
    tapped = Tap(inner, tmp_path)
    assert isinstance(tapped, FrameSerializer)
    setup, frame = object(), output()
    await tapped.setup(setup)
    assert await tapped.deserialize(MEDIA) is made
    assert await tapped.serialize(frame) is inner.answer
    assert inner.calls == [setup, MEDIA, frame]
    inner.answer = inner.frame = None
    assert await tapped.deserialize(b"\x00") is None
    assert await tapped.serialize(frame) is None
    tapped.close()
    inner.answer = "after"
    assert await tapped.serialize(frame) == "after"


async def test_attributes_and_decisions_are_those_of_the_serializer_inside(tmp_path: Path) -> None:
    inner = Echo(colour="red")
    tapped = Tap(inner, tmp_path)
    assert tapped.colour == "red" and tapped.calls is inner.calls
    with pytest.raises(AttributeError, match="no attribute 'smell'"):
        tapped.smell  # noqa: B018
    rtvi = OutputTransportMessageFrame(message={"label": "rtvi-ai"})
    assert tapped.should_ignore_frame(rtvi)
    inner._params = FrameSerializer.InputParams(ignore_rtvi_messages=False)
    assert not tapped.should_ignore_frame(rtvi)
    await tapped.cleanup()
    tapped.close()


async def test_event_handlers_are_those_of_the_serializer_inside(tmp_path: Path) -> None:
    inner = Echo()
    tapped = Tap(inner, tmp_path)
    got: list[Any] = []

    @tapped.event_handler("on_thing")
    async def on_thing(serializer: FrameSerializer, value: int) -> None:
        got.append((serializer, value))

    await inner.happen()
    await until(lambda: got)
    assert got == [(inner, 5)]
    tapped.remove_event_handler("on_thing", on_thing)
    await inner.happen()
    await asyncio.sleep(0.05)
    assert len(got) == 1
    tapped.close()


@pytest.mark.parametrize("error", [ValueError("broken"), asyncio.CancelledError()])
async def test_exceptions_are_recorded_and_go_on(tmp_path: Path, error: BaseException) -> None:
    tapped = echo_tap(tmp_path, error=error)
    for call in (
        tapped.setup(None),
        tapped.deserialize(MEDIA),
        tapped.serialize(output()),
        tapped.serialize(EndFrame()),
    ):
        with pytest.raises(type(error)) as caught:
            await call
        assert caught.value is error
    records = finish(tapped)
    kind = type(error).__name__
    assert [text.split(":")[0] for text in logged(records)] == [
        f"setup raised {kind}",
        f"deserialize raised {kind}",
        f"serialize(OutputAudioRawFrame) raised {kind}",
        f"serialize(EndFrame) raised {kind}",
    ]
    (end,) = on(records, "/frames/out/other")
    assert msgspec.json.decode(end.body, type=OtherFrame).result == "error"
    assert len(on(records, "/ws/rx")) == len(on(records, "/frames/out/audio")) == 1
    assert not on(records, "/ws/tx")


# -- what is recorded --------------------------------------------------------------------------


async def test_a_bandwidth_call_is_recorded_in_both_directions(tmp_path: Path) -> None:
    params = BandwidthFrameSerializer.InputParams(auto_hang_up=False)
    inner = BandwidthFrameSerializer("s-1", "c-15ac29a2", "9900000", params=params)
    tapped = Tap(inner, tmp_path / "calls")
    name = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d_c-15ac\.mcap"
    await tapped.deserialize(json.dumps(START))
    heard = await tapped.deserialize(MEDIA)
    said = await tapped.serialize(output())
    cleared = await tapped.serialize(InterruptionFrame())
    assert isinstance(heard, InputAudioRawFrame) and said and cleared
    records = finish(tapped)
    assert re.fullmatch(name, tapped.path.name) and tapped.path.parent == tmp_path / "calls"

    start, media = on(records, "/ws/rx")
    assert media.body.decode() == MEDIA
    assert (start.sequence, media.sequence) == (1, 2)
    (entry,) = on(records, "/frames/in/audio")
    frame = msgspec.json.decode(entry.body, type=AudioFrame)
    assert frame.data == heard.audio and frame.sample_rate == heard.sample_rate
    assert (frame.frame, frame.frame_id, frame.cause) == ("InputAudioRawFrame", heard.id, 2)
    assert frame.timestamp and frame.timestamp.sec * 10**9 + frame.timestamp.nsec == entry.time_ns
    assert frame.took_us is not None
    assert 0 < frame.took_us <= (entry.time_ns - media.time_ns) / 1e3

    (given,) = on(records, "/frames/out/audio")
    frame = msgspec.json.decode(given.body, type=AudioFrame)
    assert (frame.data, frame.sample_rate, frame.cause) == (bytes(640), 16000, None)
    play, clear = on(records, "/ws/tx")
    assert (play.body.decode(), clear.body.decode()) == (said, cleared)
    assert isinstance(messages.parse(play.body), messages.PlayAudio)
    assert given.time_ns < play.time_ns < clear.time_ns
    other = [msgspec.json.decode(r.body, type=OtherFrame) for r in on(records, "/frames/out/other")]
    assert [(o.frame, o.result) for o in other] == [("InterruptionFrame", "sent")]

    with CaptureReader(tapped.path) as reader:
        assert reader.metadata["call"]["call_id"] == "c-15ac29a2"
        assert reader.metadata["call"]["stream_id"] == "s-1"
        about = reader.metadata["serializer"]
    assert about["class"] == "pipecat_bandwidth.serializer.BandwidthFrameSerializer"
    assert BandwidthFrameSerializer.InputParams(**json.loads(about["params"])) == params


async def test_a_record_bears_the_time_of_its_moment(tmp_path: Path) -> None:
    class Slow(Echo):
        async def serialize(self, frame: Frame) -> str | bytes | None:
            await asyncio.sleep(0.2)
            return await super().serialize(frame)

        async def deserialize(self, data: str | bytes) -> Frame | None:
            await asyncio.sleep(0.2)
            return InputAudioRawFrame(b"\0\0", 8000, 1)

    tapped = Tap(Slow(), tmp_path / "a.mcap")
    before = time.monotonic_ns()
    await asyncio.gather(tapped.serialize(output()), tapped.deserialize(MEDIA))
    records = finish(tapped)
    with CaptureReader(tapped.path) as reader:
        about = reader.metadata["capture"]
    offset = int(about["unix_anchor_ns"]) - int(about["monotonic_anchor_ns"])
    secs = {r.topic: (r.time_ns - offset - before) / 1e9 for r in records}
    assert secs["/ws/rx"] < 0.15 and secs["/frames/out/audio"] < 0.15  # at entry
    assert secs["/frames/in/audio"] >= 0.2 and secs["/ws/tx"] >= 0.2  # at return
    (out,) = on(records, "/frames/out/audio")
    assert msgspec.json.decode(out.body, type=AudioFrame).took_us >= 199_000  # type: ignore[operator]


async def test_a_serializer_of_somebody_else_is_recorded_too(tmp_path: Path) -> None:
    params = TwilioFrameSerializer.InputParams(auto_hang_up=False)
    inner = TwilioFrameSerializer("MZ1", "CA15ac", "AC99", auth_token=SECRET, params=params)
    tapped = Tap(inner, tmp_path)

    class Setup:
        audio_in_sample_rate = 8000

    await tapped.setup(Setup())
    start = {
        "event": "start",
        "start": {"accountSid": "AC99", "customParameters": {"pin": "4711"}, "streamSid": "MZ1"},
    }
    media = {"event": "media", "media": {"payload": AUDIO}}
    assert await tapped.deserialize(json.dumps(start)) is None
    assert await tapped.deserialize(json.dumps(media))
    assert await tapped.deserialize(json.dumps({"event": "dtmf", "dtmf": {"digit": "5"}}))
    assert await tapped.serialize(output(rate=8000))
    assert await tapped.deserialize(json.dumps({"event": "stop"})) is None
    records = finish(tapped)
    assert len(on(records, "/ws/rx")) == 4 and len(on(records, "/ws/tx")) == 1
    (digit,) = on(records, "/frames/in/other")
    other = msgspec.json.decode(digit.body, type=OtherFrame)
    assert (other.frame, other.fields, other.cause) == ("InputDTMFFrame", {"button": "5"}, 3)
    contents = whole_contents(tapped.path)
    assert SECRET not in contents and "4711" not in contents and "AC99" not in contents
    assert tapped.path.name.endswith("_CA15ac.mcap")


async def test_samples_in_which_a_word_stands_are_kept(tmp_path: Path) -> None:
    """Binary audio is whatever its bytes spell; what else is binary is looked at as before."""
    tapped = Tap(VonageFrameSerializer(), tmp_path / "a.mcap")

    class Setup:
        audio_in_sample_rate = 16000

    await tapped.setup(Setup())
    samples = (b"\\u" + b"auth" + bytes(2)) * 80
    assert await tapped.deserialize(samples)
    sent = await tapped.serialize(output(samples, rate=16000))
    assert sent == samples
    records = finish(tapped)
    for topic in ("/ws/rx/invalid", "/ws/tx/binary"):
        (record,) = on(records, topic)
        assert msgspec.json.decode(record.body, type=Invalid).data == samples


INVALID = {
    "no JSON": ("nonsense", b"nonsense"),
    "cut": ('{"eventType":"me', b'{"eventType":"me'),
    "a list": ("[1]", b"[1]"),
    "empty": ("", b""),
    "bytes": (b"\xff\x00", b"\xff\x00"),
    "a lone surrogate": ('{"a":"\ud800"}', b'{"a":"\xed\xa0\x80"}'),
    "deep": ("[" * 100_000, b"[" * 100_000),
    "deep object": ('{"a":' * 50_000, b'{"a":' * 50_000),
    "too long": ('{"a":"' + "x" * 300_000 + '"}', b""),
    "a token perhaps": ('{"streamParams":{"token":"abc"', b""),
}


@pytest.mark.parametrize("case", INVALID)
async def test_what_is_no_message_stands_apart(tmp_path: Path, case: str) -> None:
    data, kept = INVALID[case]
    tapped = echo_tap(tmp_path, answer=data)
    await tapped.deserialize(data)
    await tapped.serialize(InterruptionFrame())
    records = finish(tapped)
    assert not on(records, "/ws/rx") and not on(records, "/ws/tx")
    (entry,) = on(records, "/ws/rx/invalid")
    invalid = msgspec.json.decode(entry.body, type=Invalid)
    assert invalid.data == kept and invalid.error
    sent = on(records, "/ws/tx/binary")
    assert len(sent) == bool(data)  # nothing was sent when there was nothing to send


async def test_json_in_a_binary_message_is_a_message(tmp_path: Path) -> None:
    tapped = echo_tap(tmp_path)
    await tapped.deserialize(MEDIA.encode())
    (entry,) = on(finish(tapped), "/ws/rx")
    assert entry.body.decode() == MEDIA


@dataclass
class OddFrame(Frame):
    anything: Any = None
    image: bytes = b""
    api_key: str = ""
    nested: dict[Any, Any] = field(default_factory=dict)


async def test_other_frames_are_kept_as_far_as_json_goes(tmp_path: Path) -> None:
    tapped = echo_tap(tmp_path)
    message = {"type": "hello", "sender": {"token": SECRET, "user": 5}}
    await tapped.serialize(OutputTransportMessageFrame(message=message))
    message["type"] = "changed afterwards"
    odd = OddFrame(object(), bytes(50_000), SECRET, {1: float("nan")})
    odd.pts = 1_500
    await tapped.serialize(odd)
    await tapped.serialize(InputDTMFFrame(KeypadEntry.STAR))
    first, second, third = (
        msgspec.json.decode(r.body, type=OtherFrame)
        for r in on(finish(tapped), "/frames/out/other")
    )
    assert first.fields == {
        "message": {"type": "hello", "sender": {"token": "[redacted]", "user": 5}}
    }
    assert second.frame == "OddFrame" and second.pts_us == 1.5 and second.frame_id == odd.id
    assert second.fields["anything"] == "<object>"
    assert "not recorded" in second.fields["image"]
    assert second.fields["api_key"] == "[redacted]"
    assert second.fields["nested"] == {"1": None}
    assert third.fields == {"button": "*"}


async def test_a_field_that_is_no_json_costs_only_itself(tmp_path: Path) -> None:
    tapped = echo_tap(tmp_path)
    endless: dict[Any, Any] = {}
    endless["endless"] = endless
    for odd in (endless, {(1, 2): 3}, "\ud800", {"a": "\ud800"}):
        await tapped.serialize(OddFrame(anything=odd, api_key=SECRET))
    kept = [
        msgspec.json.decode(r.body, type=OtherFrame).fields
        for r in on(finish(tapped), "/frames/out/other")
    ]
    assert [fields["anything"] for fields in kept] == ["<dict>", "<dict>", "<str>", "<dict>"]
    assert {fields["api_key"] for fields in kept} == {"[redacted]"}


async def test_audio_that_changes_afterwards_is_kept_as_it_was(tmp_path: Path) -> None:
    tapped = echo_tap(tmp_path)
    audio = bytearray(b"\1\0" * 80)
    await tapped.serialize(OutputAudioRawFrame(audio, 8000, 1))  # type: ignore[arg-type]
    audio[:] = bytes(160)
    (entry,) = on(finish(tapped), "/frames/out/audio")
    assert msgspec.json.decode(entry.body, type=AudioFrame).data == b"\1\0" * 80


async def test_frames_keep_their_class(tmp_path: Path) -> None:
    tapped = echo_tap(tmp_path)
    await tapped.serialize(TTSAudioRawFrame(bytes(4), 24000, 2))
    (entry,) = on(finish(tapped), "/frames/out/audio")
    frame = msgspec.json.decode(entry.body, type=AudioFrame)
    assert (frame.frame, frame.number_of_channels) == ("TTSAudioRawFrame", 2)


async def test_notes_are_marks_in_time(tmp_path: Path) -> None:
    tapped = echo_tap(tmp_path)
    await tapped.deserialize(MEDIA)
    tapped.note("the caller sounds far away")
    await tapped.deserialize(MEDIA)
    own = [r for r in finish(tapped) if not r.topic.startswith("/capture")]
    assert [r.topic for r in own] == ["/ws/rx", "/notes", "/ws/rx"]
    assert json.loads(own[1].body) == {"text": "the caller sounds far away"}


# -- what must not be recorded -----------------------------------------------------------------


def whole_contents(path: Path) -> str:
    """Every text in the file."""
    with open(path, "rb") as file:
        reader = make_reader(file)
        parts = [m.data.decode() for _, _, m in reader.iter_messages()]
        parts += [json.dumps(m.metadata) for m in reader.iter_metadata()]
        parts += [a.data.decode() for a in reader.iter_attachments()]
    return "\n".join(parts) + path.name


async def test_no_secret_gets_into_the_file(tmp_path: Path) -> None:
    class Leaky(Echo):
        async def deserialize(self, data: str | bytes) -> Frame | None:
            logger.warning(f"refused {self._client_secret} of account {self._account_id}")
            try:
                raise RuntimeError(f"401 for {self._api.token}")
            except RuntimeError:
                logger.exception("while refreshing")
            raise ValueError(f"bad client_secret={self._client_secret}")

    class API:
        token = ""

        def __init__(self) -> None:
            self.token = "t0ken-" + SECRET

    class Params(FrameSerializer.InputParams):
        api_key: str = "k3y-" + SECRET

    inner = Leaky(_client_secret="cs-" + SECRET, _account_id="9900000", _api=API())
    inner._params = Params()
    tapped = Tap(inner, tmp_path)
    with pytest.raises(ValueError, match=SECRET):
        await tapped.deserialize(json.dumps(START))
    stop = {"metadata": START["metadata"], "eventType": "stop"}
    with pytest.raises(ValueError, match=SECRET):
        await tapped.deserialize(json.dumps(stop))
    assert SECRET not in repr(tapped) and SECRET not in str(tapped)
    records = finish(tapped)
    contents = whole_contents(tapped.path)
    assert SECRET not in contents and "9900000" not in contents
    assert "c-15ac29a2-1331029c" in contents and "[redacted]" in contents
    assert len(logged(records)) == 6
    start = json.loads(on(records, "/ws/rx")[0].body)
    assert start["streamParams"] == {"token": "[redacted]", "language": "[redacted]"}
    with CaptureReader(tapped.path) as reader:
        account = reader.metadata["call"]["account"]
    assert start["metadata"]["accountId"] == account and account.startswith("hmac:")


NAMES_OF_SECRETS = [
    "token", "accessToken", "client_secret", "password", "passphrase", "pwd", "Authorization",
    "X-Auth", "credentials", "signature", "X-Twilio-Signature", "Cookie", "Set-Cookie", "key",
    "private_key", "signing-key", "api_key", "apiKey", "x-api-key", "publicKey", "bearer", "jwt",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES_OF_SECRETS)
def test_whatever_has_the_name_of_a_secret_is_redacted(name: str) -> None:
    for value in (SECRET, 4711, [SECRET], {"value": SECRET}, (SECRET,)):
        assert redact({"a": [{name: value}]}) == {"a": [{name: "[redacted]"}]}
    for empty in ("", [], {}, None, False, True):
        assert redact({name: empty}) == {name: empty}
    assert redact({name: SECRET}, allow=[name]) == {name: SECRET}


@pytest.mark.parametrize("name", ["text", "language", "monkey", "keypad", "streamId", "pass_on"])
def test_other_names_are_no_secrets(name: str) -> None:
    value = {name: ["a", {"b": 1}]}
    assert redact(value) == value


@pytest.fixture(autouse=True)
def keyed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With a key for the pseudonyms of accounts."""
    monkeypatch.setenv(redaction.KEY, "a key")
    redaction._key.cache_clear()
    yield
    redaction._key.cache_clear()


@pytest.mark.parametrize("name", ["accountId", "account_sid", "Account-Id", "ACCOUNTID"])
def test_an_account_has_the_same_pseudonym_in_every_release(name: str) -> None:
    assert redact({name: "9900000"}) == {name: "hmac:beecfea7ff36f991"}
    assert redact({name: 9900000}) == {name: "hmac:beecfea7ff36f991"}


def test_without_its_key_no_pseudonym_tells_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    known = pseudonym("9900000")
    monkeypatch.setenv(redaction.KEY, "another key")
    redaction._key.cache_clear()
    tried = {pseudonym(str(account)) for account in range(9_890_000, 9_910_000)}
    assert len(tried) == 20_000
    assert known not in tried


@pytest.mark.parametrize("machine", ["", "uninitialized\n", "0" * 32, None])
def test_a_machine_without_an_id_leaves_accounts_out(
    machine: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(redaction.KEY)
    monkeypatch.setattr(redaction, "_MACHINE_IDS", (str(tmp_path / "machine-id"),))
    if machine is not None:
        (tmp_path / "machine-id").write_text(machine)
    redaction._key.cache_clear()
    assert pseudonym("9900000") is None
    assert redact({"accountId": "9900000"}) == {"accountId": "[redacted]"}
    (tmp_path / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    redaction._key.cache_clear()
    assert str(pseudonym("9900000")).startswith("hmac:")


@dataclass
class Settings:
    api_key: str
    voice: str


@pytest.mark.parametrize(
    "message",
    [
        {"settings": Settings(SECRET, "v")},
        {"headers": {"Authorization": [f"Bearer {SECRET}"]}},
        {"headers": {"Set-Cookie": f"id={SECRET}"}},
        {"token": SECRET.encode()},
        {"token": {"value": SECRET}},
        [{"token": (SECRET,)}],
        {"streamParams": {"a": SECRET}},
        {"text": f"my key is {SECRET}"},
        f"my key is {SECRET}",
        {"text": f'quoted "{SECRET}"'},
    ],
)
async def test_no_secret_of_a_transport_message_gets_into_the_file(
    tmp_path: Path, message: Any
) -> None:
    """As a frame, and as the message that was made of it."""
    tapped = echo_tap(tmp_path, _client_secret=SECRET)
    frame = OutputTransportMessageFrame(message=message)
    tapped._inner.answer = msgspec.json.encode({"eventType": "x", "m": message}).decode()
    await tapped.serialize(frame)
    tapped.note(f"sent {SECRET}")
    finish(tapped)
    contents = whole_contents(tapped.path)
    assert SECRET not in contents and base64.b64encode(SECRET.encode()).decode() not in contents
    assert contents.count("[redacted]") >= 3


PARAMETERS = f'{{"eventType":"start","streamParams":{{"token":"{SECRET}"}}}}'


@pytest.mark.parametrize(
    "data",
    [
        PARAMETERS[:-1],
        PARAMETERS[:-1].replace("Params", "\\u0050arams").replace("token", "t"),
        f'{{"event":"start","start":{{"customParameters":{{"a":"{SECRET}"',
        f'{{"event":"start","Parameters":{{"a":"{SECRET}"',
        f'{{"cookie":"{SECRET}"',
        f"[{PARAMETERS}]",
        json.dumps(PARAMETERS),
        b"\xff" + PARAMETERS.encode(),
        PARAMETERS.encode("utf-16"),
        PARAMETERS.encode("utf-32-be"),
        PARAMETERS.replace("start", "media"),
        f'{{"eventType":"media","payload":"AAAA","extra":{{"token":"{SECRET}"}}}}',
        PARAMETERS.replace("Params", "\\u0050arams").replace("start", "media"),
        PARAMETERS.replace("streamParams", "stream_params"),
        PARAMETERS.replace("streamParams", "STREAMPARAMS"),
    ],
)
async def test_no_secret_of_a_torn_or_odd_message_gets_into_the_file(
    tmp_path: Path, data: str | bytes
) -> None:
    tapped = echo_tap(tmp_path, answer=data)
    await tapped.deserialize(data)
    await tapped.serialize(InterruptionFrame())
    records = finish(tapped)
    found = [r.body for r in records if r.topic.startswith("/ws")]
    assert len(found) == 2
    kept = [base64.b64decode(json.loads(body).get("data", "")) for body in found]
    assert SECRET.encode() not in b"".join([*found, *kept]).replace(b"\0", b"")


async def test_the_bytes_of_a_binary_protocol_are_kept(tmp_path: Path) -> None:
    binary = bytes(range(256)) * 4
    tapped = echo_tap(tmp_path, answer=binary)
    await tapped.serialize(output())
    (entry,) = on(finish(tapped), "/ws/tx/binary")
    assert msgspec.json.decode(entry.body, type=Invalid).data == binary


async def test_the_secrets_of_bandwidths_own_serializer_are_hidden_in_every_text(
    tmp_path: Path,
) -> None:
    inner = BandwidthFrameSerializer("s-1", "c-1", "9900000", "id-1", SECRET)
    tapped = Tap(inner, tmp_path)
    basic = base64.b64encode(f"id-1:{SECRET}".encode()).decode()
    tapped.note(f"secret {SECRET}, header Basic {basic}, account 9900000")
    await tapped.serialize(OutputTransportMessageFrame(message={"text": f"it is {SECRET}"}))
    records = finish(tapped)
    assert SECRET not in whole_contents(tapped.path) and basic not in whole_contents(tapped.path)
    (note,) = on(records, "/notes")
    assert json.loads(note.body)["text"] == (
        "secret [redacted], header [redacted], account hmac:beecfea7ff36f991"
    )


def test_an_address_is_no_secret_and_of_two_secrets_the_longer_is_hidden_whole() -> None:
    class API:
        __slots__ = ("_authorization",)

        def __init__(self) -> None:
            self._authorization = "Bearer 9900000-abcdef"

    inner = Echo(_token_url="https://x/token", _account_id="9900000", _token=API())
    secrets = secrets_of(inner)
    text = hide("https://x/token answered 9900000-abcdef to 9900000", secrets)
    assert text == f"https://x/token answered [redacted] to {pseudonym('9900000')}"


async def test_stream_parameters_that_are_asked_for_are_kept(tmp_path: Path) -> None:
    tapped = Tap(Echo(), tmp_path / "a.mcap", allow=["language"])
    await tapped.deserialize(json.dumps(START))
    (start,) = on(finish(tapped), "/ws/rx")
    assert json.loads(start.body)["streamParams"] == {"token": "[redacted]", "language": "en"}
    with CaptureReader(tapped.path) as reader:
        assert "language" in reader.metadata["capture"]["redaction"]


async def test_a_start_that_hides_its_name_is_redacted_all_the_same(tmp_path: Path) -> None:
    tapped = echo_tap(tmp_path)
    await tapped.deserialize(json.dumps(START).replace('"start"', '"\\u0073tart"'))
    await tapped.deserialize(json.dumps({**START, "eventType": "begin"}))
    finish(tapped)
    assert SECRET not in whole_contents(tapped.path)


# -- the log -----------------------------------------------------------------------------------


async def test_each_call_gets_the_log_of_its_own_serializer(tmp_path: Path) -> None:
    first = Tap(Echo(log="I am the first"), tmp_path / "1.mcap")
    second = Tap(Echo(log="I am the second"), tmp_path / "2.mcap")
    logger.info("I am the bot")
    await asyncio.gather(*(t.deserialize(MEDIA) for t in [first, second] * 3))
    assert logged(finish(first)) == ["I am the first"] * 3
    (entry, *_) = on(finish(second), "/log")
    record = msgspec.json.decode(entry.body, type=LogRecord)
    assert (record.message, record.level) == ("I am the second", 2)
    assert record.file == "test_tap.py" and record.line


async def test_what_others_log_meanwhile_is_not_of_the_serializer(tmp_path: Path) -> None:
    elsewhere: dict[str, Any] = {"__name__": "elsewhere", "logger": logger}
    exec("def say():\n    logger.warning('from elsewhere')", elsewhere)

    class Chatty(Echo):
        async def serialize(self, frame: Frame) -> str | bytes | None:
            elsewhere["say"]()
            logger.debug("of the serializer")
            return None

    tapped = Tap(Chatty(), tmp_path / "a.mcap")
    await tapped.serialize(output())
    assert logged(finish(tapped)) == ["of the serializer"]


async def test_a_log_record_is_cut_and_has_no_variables(tmp_path: Path) -> None:
    class Wordy(Echo):
        async def serialize(self, frame: Frame) -> str | bytes | None:
            variable = SECRET + "-in-a-variable"
            try:
                raise RuntimeError("x" * 5000)
            except RuntimeError:
                logger.exception("y" * 10)
            logger.info("z" * 5000)
            raise ValueError("v" * 5000 + variable[:0])

    tapped = Tap(Wordy(), tmp_path / "a.mcap")
    with pytest.raises(ValueError, match="vvv"):
        await tapped.serialize(output())
    records = finish(tapped)
    assert [len(text) for text in logged(records)] == [2000, 2000, 2000]
    assert SECRET not in whole_contents(tapped.path)


async def test_the_log_of_everybody_else_is_not_even_formatted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    tapped = echo_tap(tmp_path, log="of the serializer")
    monkeypatch.setattr(tap._log, "write", lines.append)
    logger.info("of the bot")
    await tapped.deserialize(MEDIA)
    logger.info("of the bot")
    assert len(lines) == 1
    tapped.close()


async def test_a_second_tap_shares_the_handler_of_the_first(tmp_path: Path) -> None:
    first = echo_tap(tmp_path)
    handler = tap._log.handler
    second = Tap(Echo(log="once"), tmp_path / "b.mcap")
    assert tap._log.handler == handler
    await second.deserialize(MEDIA)
    assert logged(finish(second)) == ["once"]
    first.close()


@pytest.mark.parametrize("error", [None, ValueError("broken")])
async def test_after_a_call_of_the_serializer_its_log_is_nobodys(
    tmp_path: Path, error: Exception | None
) -> None:
    tapped = echo_tap(tmp_path, error=error)
    for call in (tapped.setup(None), tapped.deserialize(MEDIA), tapped.serialize(output())):
        with pytest.raises(ValueError, match="broken") if error else contextlib.nullcontext():
            await call
        assert tap._tap.get() is None
    tapped.close()


async def test_what_a_task_of_the_serializer_logs_later_is_there_too(tmp_path: Path) -> None:
    class HangsUp(Echo):
        async def serialize(self, frame: Frame) -> None:
            async def hang_up() -> None:
                await asyncio.sleep(0.1)
                logger.error("the call may still be up")

            self.task = asyncio.create_task(hang_up())

    tapped = Tap(HangsUp(), tmp_path / "a.mcap")
    await tapped.serialize(EndFrame())
    await tapped.task
    assert logged(finish(tapped)) == ["the call may still be up"]


def hang_ups(records: list[Record]) -> list[HangUp]:
    return [msgspec.json.decode(r.body, type=HangUp) for r in on(records, "/hang_up")]


async def test_how_a_hang_up_came_out_is_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [
        VoiceAPIError("hang up", f"not with {SECRET}", 403),
        HangUpDone("completed", 200, 2, 0.5),
    ]

    class API(VoiceAPI):
        async def hang_up(self, account_id: str, call_id: str) -> HangUpDone:
            await asyncio.sleep(0.01)
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    inner = BandwidthFrameSerializer("s-1", "c-1", "9900000", voice_api=API("id-1", SECRET))
    # What the log says of it decides nothing.
    monkeypatch.setattr(inner, "_log", lambda *_: logger.error("Anruf wohl noch da"))
    tapped = Tap(inner, tmp_path)
    for _ in range(3):
        await tapped.serialize(EndFrame())
    failed, ended = hang_ups(finish(tapped))
    assert (failed.outcome, failed.status_code, failed.attempts) == ("failed", 403, None)
    assert failed.reason == "hang up failed (HTTP 403): not with [redacted]"
    assert (ended.outcome, ended.status_code, ended.attempts, ended.reason) == ("ended", 200, 2, "")
    assert ended.took_us and 10_000 < ended.took_us < 10_000_000
    call = Call.open(tapped.path)
    assert [hang_up.is_over for hang_up in call.hang_ups] == [False, True]
    assert call.metadata["call"]["account"] == pseudonym("9900000")
    assert SECRET not in whole_contents(tapped.path)


async def test_a_hang_up_is_recorded_though_whoever_waited_for_it_is_gone(tmp_path: Path) -> None:
    class Slow(VoiceAPI):
        async def hang_up(self, account_id: str, call_id: str) -> HangUpDone:
            await asyncio.sleep(0.1)
            return HangUpDone("already_over", 404, 1, 0.1)

    inner = BandwidthFrameSerializer("s-1", "c-1", "9900000", voice_api=Slow("id-1", SECRET))
    tapped = Tap(inner, tmp_path)
    waiting = asyncio.create_task(tapped.serialize(EndFrame()))
    await asyncio.sleep(0.02)
    waiting.cancel()
    await asyncio.sleep(0.3)
    assert [hang_up.outcome for hang_up in hang_ups(finish(tapped))] == ["already_over"]


async def test_labels_are_kept_without_secrets_and_within_bounds(tmp_path: Path) -> None:
    labels = {"prompt": "v7", "api_key": "abc", "note": f"with {SECRET}", "long": "x" * 10**6}
    labels |= {f"label {n}": n for n in range(1000)}
    inner = BandwidthFrameSerializer("s-1", "c-1", "9900000", "id-1", SECRET)
    tapped = Tap(inner, tmp_path, labels=labels)
    finish(tapped)
    kept = Call.open(tapped.path).labels
    assert kept["prompt"] == "v7" and kept["label 3"] == "3"
    assert kept["api_key"] == "[redacted]" and kept["note"] == "with [redacted]"
    assert len(kept) == 64 and max(map(len, kept.values())) == 2000


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no name")


@pytest.mark.parametrize(
    ("labels", "kept"),
    [
        (None, {}),
        (["release"], {}),
        ({"release": "1.4", "voice": Unspeakable(), "region": "ewr"}, {"release": "1.4"}),
        ({7: None, "take": 3}, {"7": "None", "take": "3"}),
    ],
)
async def test_what_is_no_label_costs_neither_the_call_nor_its_capture(
    labels: Any, kept: dict[str, str], tmp_path: Path
) -> None:
    tapped = Tap(Echo(), tmp_path, labels=labels)
    await tapped.deserialize(MEDIA)
    finish(tapped)
    call = Call.open(tapped.path)
    assert call.labels == kept and len(call.inbound) == 1
    told = "labels:     " + ", ".join(f"{name} {value}" for name, value in kept.items())
    assert (told in call.summary()) == bool(kept)


async def test_the_log_is_heard_again_after_all_handlers_were_removed(tmp_path: Path) -> None:
    Tap(Echo(), tmp_path / "0.mcap").close()
    assert tap._log.handler is not None
    logger.remove(tap._log.handler)
    tapped = echo_tap(tmp_path, log="hello")
    await tapped.deserialize(MEDIA)
    assert logged(finish(tapped)) == ["hello"]


# -- when a file ends --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "message", "reason"),
    [
        (EndFrame(), None, "EndFrame"),
        (CancelFrame(), None, "CancelFrame"),
        (None, '{"metadata":{},"eventType":"stop"}', "stop"),
        (None, '{"event":"stop"}', "stop"),
    ],
)
async def test_a_call_that_is_over_ends_its_file(
    tmp_path: Path, frame: Frame | None, message: str | None, reason: str
) -> None:
    tapped = Tap(Echo(answer=None), tmp_path / "a.mcap", grace_secs=0.2)
    await tapped.deserialize(MEDIA)
    if frame:
        await tapped.serialize(frame)
    if message:
        await tapped.deserialize(message)
    await until(lambda: tapped.path.name == "a.mcap")
    with CaptureReader(tapped.path) as reader:
        assert reader.finished and reader.metadata["end"]["reason"] == reason
        assert len(list(reader.records("/ws/rx"))) == 1 + bool(message)
    assert os.listdir(tmp_path) == ["a.mcap"]


async def test_what_comes_late_keeps_the_file_open(tmp_path: Path) -> None:
    tapped = Tap(Echo(answer=None), tmp_path / "a.mcap", grace_secs=1.5)
    await tapped.serialize(EndFrame())
    for _ in range(5):
        await asyncio.sleep(0.4)
        await tapped.deserialize(MEDIA)
    await until(lambda: tapped.path.name == "a.mcap")
    assert len(on(everything(tapped.path), "/ws/rx")) == 5
    assert os.listdir(tmp_path) == ["a.mcap"]


async def test_the_first_reason_is_kept(tmp_path: Path) -> None:
    tapped = Tap(Echo(answer=None), tmp_path / "a.mcap", grace_secs=0.2)
    await tapped.deserialize('{"eventType":"stop"}')
    await tapped.serialize(EndFrame())
    await tapped.cleanup()
    await until(lambda: tapped.path.name == "a.mcap")
    with CaptureReader(tapped.path) as reader:
        assert reader.metadata["end"]["reason"] == "stop"


async def test_cleaning_up_cleans_up_the_serializer_and_ends_the_file(tmp_path: Path) -> None:
    class Cleaned(Echo):
        async def cleanup(self) -> None:
            await asyncio.sleep(0)
            self.calls.append("cleaned")

    tapped = Tap(Cleaned(), tmp_path / "a.mcap", grace_secs=0.1)
    await tapped.cleanup()
    assert tapped.calls == ["cleaned"]
    await until(lambda: tapped.path.name == "a.mcap")
    with CaptureReader(tapped.path) as reader:
        assert reader.metadata["end"]["reason"] == "cleanup"


class HangsUpSlowly(Echo):
    """Answers only when the far end's service has, and logs what it said."""

    def __init__(self) -> None:
        super().__init__(answer=None)
        self.answered = asyncio.Event()

    async def serialize(self, frame: Frame) -> str | bytes | None:
        if isinstance(frame, EndFrame):
            await self.answered.wait()
            logger.info("call hung up")
        return None


async def test_a_file_waits_for_a_serializer_that_still_hangs_up(tmp_path: Path) -> None:
    inner = HangsUpSlowly()
    tapped = Tap(inner, tmp_path / "a.mcap", grace_secs=0.2)
    await tapped.deserialize(MEDIA)
    await tapped.deserialize('{"eventType":"stop"}')
    hanging_up = asyncio.create_task(tapped.serialize(EndFrame()))
    await until(lambda: os.listdir(tmp_path))
    await asyncio.sleep(1.0)
    assert os.listdir(tmp_path) == ["a.mcap.part"]
    inner.answered.set()
    await hanging_up
    await until(lambda: tapped.path.name == "a.mcap")
    assert os.listdir(tmp_path) == ["a.mcap"]
    records = everything(tapped.path)
    assert logged(records) == ["call hung up"] and on(records, "/frames/out/other")


async def test_a_serializer_that_never_answers_keeps_no_file_open_for_ever(tmp_path: Path) -> None:
    tapped = Tap(HangsUpSlowly(), tmp_path / "a.mcap", grace_secs=0.1, idle_secs=0.5)
    hanging_up = asyncio.create_task(tapped.serialize(EndFrame()))
    await until(lambda: tapped.path.name == "a.mcap")
    hanging_up.cancel()
    await asyncio.gather(hanging_up, return_exceptions=True)
    assert tapped._writer and tapped._writer.busy == 0
    tapped.close()


async def test_what_is_said_after_the_call_begins_no_file(tmp_path: Path) -> None:
    over = asyncio.Event()

    class LogsLate(Echo):
        async def serialize(self, frame: Frame) -> None:
            async def log() -> None:
                await over.wait()
                logger.error("too late")

            self.task = asyncio.create_task(log())

    tapped = Tap(LogsLate(), tmp_path / "a.mcap", grace_secs=0.1)
    await tapped.serialize(EndFrame())
    await until(lambda: tapped.path.name == "a.mcap")
    over.set()
    await tapped.task
    tapped.note("too late")
    assert os.listdir(tmp_path) == ["a.mcap"] and tapped._writer and tapped._writer.closed
    tapped.close()


async def test_a_call_whose_first_word_after_a_pause_is_a_log_line_is_recorded(
    tmp_path: Path,
) -> None:
    class LogsFirst(Echo):
        async def serialize(self, frame: Frame) -> str | bytes | None:
            logger.warning("resampled")
            return self.answer

    other = Tap(Echo(log="of another call"), tmp_path / "other.mcap")
    tapped = Tap(LogsFirst(), tmp_path / "a.mcap", idle_secs=0.3)
    await until(lambda: tapped.path.name == "a.mcap")
    for _ in range(3):
        await tapped.serialize(output())
    await other.deserialize(MEDIA)
    assert logged(finish(other)) == ["of another call"]
    tapped.close()
    assert tapped.path.name == "a-2.mcap"
    records = everything(tapped.path)
    assert len(on(records, "/frames/out/audio")) == 3
    assert logged(records) == ["resampled"] * 2  # the first belongs to no file


async def test_a_file_that_cannot_be_begun_again_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    def fail(serializer: FrameSerializer) -> dict[str, Any]:
        raise RuntimeError("a bug")

    tapped = Tap(Echo(), tmp_path / "a.mcap", idle_secs=0.3)
    await until(lambda: tapped.path.name == "a.mcap")
    with monkeypatch.context() as patch:
        patch.setattr(tap, "_about", fail)
        for _ in range(3):
            await tapped.deserialize(MEDIA)
    assert len(warnings) == 1 and "Cannot record the call" in warnings[0]
    await tapped.deserialize(MEDIA)
    tapped.close()
    assert len(on(everything(tmp_path / "a-2.mcap"), "/ws/rx")) == 1


async def test_an_end_that_fails_or_is_cancelled_ends_the_file_too(tmp_path: Path) -> None:
    tapped = Tap(Echo(error=asyncio.CancelledError()), tmp_path / "a.mcap", grace_secs=0.1)
    with pytest.raises(asyncio.CancelledError):
        await tapped.serialize(CancelFrame())
    await until(lambda: tapped.path.name == "a.mcap")


async def test_a_call_that_goes_on_after_all_goes_on_in_a_new_file(tmp_path: Path) -> None:
    tapped = Tap(Echo(), tmp_path / "a.mcap", idle_secs=0.3)
    await tapped.deserialize(MEDIA)
    await until(lambda: tapped.path.name == "a.mcap")
    await tapped.deserialize(MEDIA)
    await tapped.deserialize(MEDIA)
    await until(lambda: tapped.path.name == "a-2.mcap")
    counts = [len(on(everything(tmp_path / name), "/ws/rx")) for name in ("a.mcap", "a-2.mcap")]
    assert counts == [1, 2]


async def test_two_files_of_one_second_have_two_names_from_the_beginning(tmp_path: Path) -> None:
    taps = [echo_tap(tmp_path) for _ in range(3)]
    names = ["a.mcap", "a-2.mcap", "a-3.mcap"]
    assert [tapped.path.name for tapped in taps] == [f"{name}.part" for name in names]
    await until(lambda: (tmp_path / "a.mcap.part").exists())
    await asyncio.sleep(0.2)  # the first chunk is on the disk, and the name still not to be had
    taps.append(echo_tap(tmp_path))
    names.append("a-4.mcap")
    assert taps[-1].path.name == "a-4.mcap.part"
    for tapped in reversed(taps):
        tapped.close()
    assert [tapped.path.name for tapped in taps] == names


@pytest.mark.parametrize("call_id", ["../../x", "/etc/passwd", "a\0b", "..", "über-ähnlich", "."])
async def test_a_call_id_leads_nowhere_else(tmp_path: Path, call_id: str) -> None:
    tapped = Tap(Echo(call_id=call_id), tmp_path / "calls")
    finish(tapped)
    assert tapped.path.parent == tmp_path / "calls"
    assert re.fullmatch(r"[0-9T-]{19}_[A-Za-z0-9_-]{1,6}\.mcap", tapped.path.name)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="no time zones here")
def test_the_time_in_a_name_is_utc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        try:
            tapped = Tap(Echo(), tmp_path)
        finally:
            patch.undo()
            time.tzset()
    named = datetime.strptime(tapped.path.name[:19] + "+0000", "%Y-%m-%dT%H-%M-%S%z")
    assert abs(datetime.now(UTC) - named) < timedelta(hours=1)
    tapped.close()


async def test_a_relative_place_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    tapped = Tap(Echo(), "calls/a.mcap", idle_secs=0.3)
    monkeypatch.chdir(tmp_path / "elsewhere")
    await until(lambda: tapped.path.name == "a.mcap")
    await tapped.deserialize(MEDIA)
    tapped.close()
    assert sorted(os.listdir(tmp_path / "calls")) == ["a-2.mcap", "a.mcap"]
    assert tapped.path == tmp_path / "calls" / "a-2.mcap"
    assert not os.listdir(tmp_path / "elsewhere")


UNDER_UVICORN = """
import asyncio, signal, sys
from contextlib import asynccontextmanager
import uvicorn
from fastapi import FastAPI
from pipecat_bandwidth import BandwidthFrameSerializer
from workbench.tap import Tap, close_all

async def stop():
    while not server.started:
        await asyncio.sleep(0.01)
    signal.raise_signal(signal.SIGTERM)

@asynccontextmanager
async def lifespan(app):
    quiet = BandwidthFrameSerializer.InputParams(auto_hang_up=False)
    taps = [Tap(BandwidthFrameSerializer("s", params=quiet), sys.argv[1]) for _ in range(2)]
    task = asyncio.create_task(stop())
    yield
    for tapped in taps:
        tapped.note("last words")
    await asyncio.to_thread(close_all)

app = FastAPI(lifespan=lifespan)
server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
server.run()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no signals here")
def test_a_server_that_a_signal_stops_finishes_its_captures(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", UNDER_UVICORN, tmp_path], timeout=60, check=False)
    assert run.returncode == -signal.SIGTERM
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 2
    for path in paths:
        with CaptureReader(path) as reader:
            assert reader.finished and reader.metadata["end"]["reason"] == "exit"
            assert len(list(reader.records("/notes"))) == 1


async def test_closed_is_closed_even_where_the_file_has_closed_by_itself(tmp_path: Path) -> None:
    tapped = Tap(Echo(), tmp_path / "a.mcap", idle_secs=0.2)
    await until(lambda: tapped.path.name == "a.mcap")
    tapped.close()
    writer = tapped._writer
    await tapped.deserialize(MEDIA)
    assert tapped._writer is writer and os.listdir(tmp_path) == ["a.mcap"]


async def test_closed_is_closed(tmp_path: Path) -> None:
    tapped = echo_tap(tmp_path)
    tapped.close()
    assert await tapped.serialize(EndFrame())
    await tapped.deserialize(MEDIA)
    tapped.note("nobody hears it")
    tapped.close()
    assert os.listdir(tmp_path) == ["a.mcap"]
    assert not on(everything(tapped.path), "/ws/rx")


# -- what must not hurt the call ---------------------------------------------------------------


async def a_call(tapped: Tap) -> None:
    assert await tapped.deserialize(json.dumps(START)) is None
    assert await tapped.deserialize(MEDIA) is None
    assert await tapped.deserialize("nonsense") is None
    assert await tapped.serialize(output()) == '{"eventType":"clear"}'
    assert await tapped.serialize(InterruptionFrame()) == '{"eventType":"clear"}'
    tapped.note("x")
    assert await tapped.serialize(EndFrame()) == '{"eventType":"clear"}'
    await tapped.cleanup()
    assert repr(tapped)


@pytest.mark.parametrize(
    "name", ["record", "close_when_quiet", "__init__"]
)  # fmt: skip
async def test_a_recording_that_fails_is_not_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str], name: str
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(CaptureWriter, name, fail)
        tapped = echo_tap(tmp_path)
        await a_call(tapped)
        await until(lambda: warnings)
        await asyncio.sleep(0.05)
    tapped.close()
    assert len(warnings) == 1 and "call is not affected" in warnings[0]


async def test_a_recording_whose_thread_dies_is_said_once_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    tapped = echo_tap(tmp_path)
    first = tapped._writer
    assert first
    monkeypatch.setattr(first, "_drain", fail)  # not the class: other tests' recordings live on
    await until(lambda: first.closed)
    await a_call(tapped)
    assert tapped._writer is first
    assert len(warnings) == 1 and "a bug" in warnings[0]
    assert everything(tapped.path)  # what was written can be read


async def test_a_place_that_cannot_be_written_is_not_noticed(
    tmp_path: Path, warnings: list[str]
) -> None:
    (tmp_path / "file").write_text("")
    tapped = Tap(Echo(), tmp_path / "file" / "calls")
    await a_call(tapped)
    tapped.close()
    assert tapped._writer and tapped._writer.dropped >= 7
    assert len(warnings) == 1


async def test_no_thread_to_be_had_is_not_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        patch.setattr(recording, "_crew", Crew())  # the threads of other tests are there already
        tapped = echo_tap(tmp_path)
        await a_call(tapped)
        tapped.close()
    assert len(warnings) == 1 and "new thread" in warnings[0]


async def test_a_disk_that_hangs_does_not_hold_up_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr(partfile, "_sync", lambda fd: go.wait(20))
    tapped = echo_tap(tmp_path)
    await asyncio.sleep(0.2)
    slowest = 0.0
    for _ in range(200):
        began = time.perf_counter()
        await tapped.deserialize(MEDIA)
        await tapped.serialize(output())
        slowest = max(slowest, time.perf_counter() - began)
        await asyncio.sleep(0)
    tapped.close(wait=0)
    assert slowest < 0.5 and not go.is_set()
    go.set()
    tapped.close()
    assert len(on(everything(tapped.path), "/ws/rx")) == 200


async def test_odd_messages_and_frames_reach_the_serializer_all_the_same(tmp_path: Path) -> None:
    class NoFrame:
        """What some library may push through."""

    inner = Echo()
    tapped = Tap(inner, tmp_path)
    odd: list[Any] = [None, 5, bytearray(b"{}"), memoryview(b"{}"), NoFrame()]
    for item in odd:
        assert await tapped.deserialize(item) is None
        assert await tapped.serialize(item) == inner.answer
    assert inner.calls == [item for item in odd for _ in range(2)]
    tapped.close()


async def test_a_call_that_is_thrown_away_half_done_ends_quietly(tmp_path: Path) -> None:
    class Never(Echo):
        async def deserialize(self, data: str | bytes) -> Frame | None:
            await asyncio.sleep(60)
            return None

    tapped = Tap(Never(), tmp_path / "a.mcap")
    call = tapped.deserialize(MEDIA)
    contextvars.copy_context().run(call.send, None)
    call.close()  # as the garbage collector does it, in another context
    assert len(on(finish(tapped), "/ws/rx")) == 1


async def test_many_calls_at_once(tmp_path: Path) -> None:
    taps = [Tap(Echo(_call_id=f"c-{n}"), tmp_path) for n in range(12)]
    for number in range(50):
        await asyncio.gather(*(t.deserialize(MEDIA.replace('"7"', f'"{number}"')) for t in taps))
    for tapped in taps:
        await tapped.serialize(EndFrame())
        tapped.close(wait=0)
    for tapped in taps:
        tapped.close()
        numbers = [
            json.loads(r.body)["sequenceNumber"] for r in on(everything(tapped.path), "/ws/rx")
        ]
        assert numbers == [str(n) for n in range(50)]
    assert len({tapped.path for tapped in taps}) == 12
