"""The serializer, message by message: real frames, real JSON, a real HTTP server to hang up with."""

from __future__ import annotations

import asyncio
import base64
import gc
import inspect
import io
import json
import time
import warnings
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger
from pipecat.frames.frames import (
    AudioRawFrame,
    BotStoppedSpeakingFrame,
    CancelFrame,
    DataFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
    SpeechOutputAudioRawFrame,
    StartFrame,
    TextFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    UserAudioRawFrame,
)
from pipecat.processors.frame_processor import FrameProcessorSetup
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.serializers.twilio import TwilioFrameSerializer
from pydantic import SecretStr

from pipecat_bandwidth import BandwidthFrameSerializer, hanging_up, serializer
from pipecat_bandwidth.encodings import FORMATS, PCMU, WireFormat, from_content_type
from pipecat_bandwidth.far_end import WAY_SECS
from pipecat_bandwidth.hanging_up import Outcome
from pipecat_bandwidth.messages import Media, Start, Stop, Track, encode
from pipecat_bandwidth.resampler import RATES, StreamResampler
from pipecat_bandwidth.voice_api import HangUp, VoiceAPI
from tests.fuzz import messages as fuzz
from tests.fuzz.messages import HOSTILE, ended
from tests.http_server import HANG, RESET, Answer, Server, http_server
from workbench.simulator import VoiceAPIServer

InputParams = BandwidthFrameSerializer.InputParams

STREAM, CALL, ACCOUNT = "s-2a913f94", "c-15ac29a2", "9900000"
CLIENT, SECRET = "client-7", "hunter2-is-the-secret"
START = Start(STREAM, CALL, ACCOUNT, "agent", (Track("inbound"),))


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Warnings and errors that are logged."""
    lines: list[str] = []
    sink = logger.add(
        lambda line: lines.append(str(line).rstrip("\n")), level="WARNING", format="{message}"
    )
    yield lines
    logger.remove(sink)


@contextmanager
def unlogged() -> Iterator[None]:
    """For thousands of cases."""
    logger.disable("pipecat_bandwidth")
    try:
        yield
    finally:
        logger.enable("pipecat_bandwidth")


def make(
    in_rate: int | None = 8000, clock: Callable[[], float] = time.monotonic, **params: Any
) -> BandwidthFrameSerializer:
    """A serializer in a pipeline of that input rate, or in none yet."""
    settings = InputParams(auto_hang_up=False, **params)
    made = BandwidthFrameSerializer(STREAM, CALL, params=settings, clock=clock)
    if in_rate is not None:
        asyncio.run(made.setup(SimpleNamespace(audio_in_sample_rate=in_rate)))
    return made


async def made(in_rate: int = 8000, **params: Any) -> BandwidthFrameSerializer:
    """The same inside a running loop."""
    made = make(None, **params)
    await made.setup(SimpleNamespace(audio_in_sample_rate=in_rate))
    return made


def speech(seconds: float, sample_rate: int, seed: int = 1) -> bytes:
    """Something of speech's level and spectrum."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    rng = np.random.default_rng(seed)
    hz, phase = rng.uniform(100, 3300, 30), rng.uniform(0, 6, 30)
    return (
        np.rint(1000 * np.sin(2 * np.pi * np.outer(t, hz) + phase).sum(axis=1))
        .astype("<i2")
        .tobytes()
    )


def media(payload: bytes, number: object = None, track: str | None = "inbound") -> str:
    return encode(Media(payload, track, number))


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def output(pcm: Any, sample_rate: Any = 8000, channels: Any = 1) -> OutputAudioRawFrame:
    """A frame with anything in it."""
    frame = OutputAudioRawFrame(b"", 8000, 1)
    frame.audio, frame.sample_rate, frame.num_channels = pcm, sample_rate, channels
    return frame


def played(text: str | None) -> tuple[WireFormat, bytes]:
    """Read a message as Bandwidth would."""
    assert text is not None
    fields = json.loads(text)
    assert fields.keys() == {"eventType", "media"} and fields["eventType"] == "playAudio"
    assert fields["media"].keys() == {"contentType", "payload"}
    form = from_content_type(fields["media"]["contentType"])
    assert form.content_type == fields["media"]["contentType"]
    payload = base64.b64decode(fields["media"]["payload"], validate=True)
    assert payload and len(payload) % form.bytes_per_sample == 0
    return form, payload


# -- parameters --------------------------------------------------------------------------------


def test_defaults_are_the_documented_ones() -> None:
    assert InputParams().model_dump() == {
        "ignore_rtvi_messages": True,
        "resampler_clear_after_secs": None,
        "bandwidth_sample_rate": 8000,
        "sample_rate": None,
        "outbound_encoding": "PCMU",
        "outbound_pcm_sample_rate": 24000,
        "outbound_cushion_ms": 0,
        "auto_hang_up": True,
        "hang_up_after_secs": 3.0,
    }


BAD_PARAMS = [
    ("outbound_encodng", "PCM", "unknown, there are: ignore_rtvi_messages, "),
    ("outbound_encoding", "OPUS", "Input should be 'PCMU' or 'PCM', not 'OPUS'"),
    ("outbound_encoding", "pcm", "Input should be 'PCMU' or 'PCM', not 'pcm'"),
    ("outbound_pcm_sample_rate", 48000, "Input should be 8000, 16000 or 24000, not 48000"),
    ("outbound_pcm_sample_rate", "8000", "Input should be 8000, 16000 or 24000, not '8000'"),
    ("bandwidth_sample_rate", 16000, "Input should be 8000, not 16000"),
    ("sample_rate", 0, "Input should be 8000, 16000, 22050, 24000, 32000, 44100 or 48000, not 0"),
    ("sample_rate", -1, "Input should be 8000, 16000, "),
    ("sample_rate", 16000.5, "Input should be 8000, 16000, "),
    ("auto_hang_up", "yes", "Input should be a valid boolean, not 'yes'"),
    ("auto_hang_up", 1, "Input should be a valid boolean, not 1"),
    ("ignore_rtvi_messages", None, "Input should be a valid boolean, not None"),
    ("resampler_clear_after_secs", 0, "Input should be greater than 0, not 0"),
    ("resampler_clear_after_secs", float("nan"), "Input should be a finite number, not nan"),
    ("resampler_clear_after_secs", "1", "Input should be a valid number, not '1'"),
]


@pytest.mark.parametrize(("name", "value", "reason"), BAD_PARAMS)
def test_wrong_parameters_are_refused(name: str, value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=name):
        InputParams(**{name: value})


@pytest.mark.parametrize(("name", "value", "reason"), BAD_PARAMS)
def test_a_wrong_file_is_refused_by_name_and_key(
    tmp_path: Path, name: str, value: object, reason: str
) -> None:
    path = tmp_path / "tuned.json"
    for content in ({name: value}, {"params": {name: value}, "provenance": {}}):
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError) as caught:
            InputParams.load(path)
        assert str(caught.value).startswith(f"{path}: {name}: {reason}")


TUNED = {
    "sample_rate": 16000,
    "outbound_encoding": "PCM",
    "outbound_pcm_sample_rate": 16000,
    "auto_hang_up": False,
    "resampler_clear_after_secs": 2.5,
}


def test_saved_parameters_load_again(tmp_path: Path) -> None:
    for params in (InputParams(), InputParams(**TUNED)):
        params.save(tmp_path / "tuned.json")
        assert InputParams.load(str(tmp_path / "tuned.json")) == params
        assert json.loads((tmp_path / "tuned.json").read_text()) == params.model_dump()


def test_parameters_load_from_beside_their_provenance(tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    path.write_text(json.dumps({"params": TUNED, "provenance": {"captures": ["a.mcap"]}}))
    assert InputParams.load(path) == InputParams(**TUNED)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"{", "not JSON: "),
        (b"\xff", "not JSON: "),
        (b"[" * 100_000, "not JSON: "),
        (b"[1]", "not an object but list"),
        (b"null", "not an object but NoneType"),
        (b'{"params": 5}', "not an object but int"),
    ],
)  # fmt: skip
def test_what_is_no_parameter_file_is_refused_by_name(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "tuned.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        InputParams.load(path)
    assert str(caught.value).startswith(f"{path}: {reason}")


# -- construction ------------------------------------------------------------------------------

NEEDED = {"call_id": CALL, "account_id": ACCOUNT, "client_id": CLIENT, "client_secret": SECRET}


def test_it_knows_its_ids() -> None:
    made = BandwidthFrameSerializer(STREAM, CALL, ACCOUNT, CLIENT, SECRET)
    assert (made.stream_id, made.call_id, made.stream_format) == (STREAM, CALL, None)


@pytest.mark.parametrize("absent", [None, ""])
@pytest.mark.parametrize("names", [["call_id"], ["client_secret"], list(NEEDED)])
def test_what_hanging_up_needs_and_lacks_is_listed(names: list[str], absent: str | None) -> None:
    with pytest.raises(ValueError) as caught:
        BandwidthFrameSerializer(STREAM, **NEEDED | dict.fromkeys(names, absent))
    assert str(caught.value) == f"auto_hang_up needs {', '.join(names)}; or set auto_hang_up=False"


def test_without_hanging_up_nothing_is_needed() -> None:
    assert make().call_id == CALL
    assert BandwidthFrameSerializer(STREAM, params=InputParams(auto_hang_up=False)).call_id is None


async def test_params_that_change_later_change_no_hang_up(said: list[str]) -> None:
    params = InputParams(auto_hang_up=False)
    line = BandwidthFrameSerializer(STREAM, params=params)
    params.auto_hang_up = True
    await line.serialize(EndFrame())
    assert not said


def test_with_a_voice_api_no_credentials_are_needed() -> None:
    BandwidthFrameSerializer(STREAM, CALL, ACCOUNT, voice_api=VoiceAPI(CLIENT, SECRET))
    with pytest.raises(ValueError, match="^auto_hang_up needs account_id; or set"):
        BandwidthFrameSerializer(STREAM, CALL, voice_api=VoiceAPI(CLIENT, SECRET))


@pytest.mark.parametrize("name", ["call_id", "account_id"])
@pytest.mark.parametrize(
    "value", ["..", ".", "c/1", "c%2f", "c?x", "c#", "c 1", "c-1\n", "\u0661", "x" * 257, 0.5, b"c"]
)
def test_ids_that_could_change_an_address_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be 1 to 256 letters, digits, '-' or '_'"):
        BandwidthFrameSerializer(STREAM, **NEEDED | {name: value})


async def test_a_numeric_account_is_taken_as_its_text() -> None:
    async with VoiceAPIServer() as server:
        call = server.add("9900000", CALL)
        pair = (server.client_id, server.client_secret)
        api = VoiceAPI(*pair, base_url=server.base_url, token_url=server.token_url)
        serializer = BandwidthFrameSerializer(STREAM, CALL, 9900000, voice_api=api)
        assert serializer.account_id == "9900000"
        await serializer.serialize(EndFrame())
        await api.aclose()
        assert call.over.is_set()


async def test_what_does_not_say_that_it_is_media_is_no_audio() -> None:
    ear = BandwidthFrameSerializer(STREAM, params=InputParams(auto_hang_up=False))
    for text in (
        '{"type":"ping","payload":"/38="}',
        '{"track":"inbound","payload":"/38=","sequenceNumber":"1"}',
        '{"payload":"/38=","eventType":"ping"}',
        '{"payload":"/38=","eventType":null}',
    ):
        assert await ear.deserialize(text) is None
    assert (ear.stats.bad, ear.stats.other, ear.stats.wire_in_ms) == (3, 1, 0.0)
    frame = await ear.deserialize('{"track":"inbound","payload":"/38=","eventType":"media"}')
    assert isinstance(frame, InputAudioRawFrame) and ear.stats.wire_in_ms == 0.25


@pytest.mark.parametrize("stream_id", ["", None, 5])
def test_a_stream_id_is_needed(stream_id: object) -> None:
    with pytest.raises(ValueError, match="^stream_id=.* must be a string that is not empty$"):
        BandwidthFrameSerializer(stream_id, **NEEDED)


@pytest.mark.parametrize("name", ["client_id", "client_secret"])
@pytest.mark.parametrize("value", [SecretStr(SECRET), SECRET.encode(), 5])
def test_credentials_of_another_type_are_refused_by_name(name: str, value: object) -> None:
    text = io.StringIO()
    sink = logger.add(text, level=0, diagnose=True, backtrace=False)

    def arguments() -> dict[str, object]:  # a function, so that the test itself shows none
        return NEEDED | {name: value}

    with pytest.raises(ValueError) as caught:
        BandwidthFrameSerializer(STREAM, **arguments())
    logger.opt(exception=caught.value).error("as a bot would log it")
    logger.remove(sink)
    kind = type(value).__name__
    assert str(caught.value) == f"{name} must be a string that is not empty, not {kind}"
    assert SECRET not in text.getvalue()


@pytest.mark.parametrize(
    "params", [FrameSerializer.InputParams(), TwilioFrameSerializer.InputParams(), {}, "PCMU", 0]
)
def test_another_serializers_parameters_are_refused(params: object) -> None:
    kind = rf"{type(params).__module__}\.{type(params).__qualname__}"
    with pytest.raises(
        ValueError, match=f"^params must be BandwidthFrameSerializer.InputParams, not {kind}$"
    ):
        BandwidthFrameSerializer(STREAM, **NEEDED, params=params)


def test_the_secret_is_not_shown() -> None:
    text = io.StringIO()
    sink = logger.add(text, level=0, diagnose=True, backtrace=True)
    made = BandwidthFrameSerializer(STREAM, **NEEDED)
    arguments = NEEDED | {"call_id": "../"}
    try:
        BandwidthFrameSerializer(STREAM, **arguments)
    except ValueError as error:
        logger.exception(f"as a bot would log it: {error!r}")
    logger.remove(sink)
    shown = f"{made} {made!r} {vars(made)} {made.stats} {asdict(made.stats)}" + text.getvalue()
    ours = shown.replace(repr(arguments), "")  # what the test itself holds
    assert SECRET not in ours


# -- from the caller ---------------------------------------------------------------------------


async def test_media_becomes_audio_of_the_pipelines_rate() -> None:
    made_at_8k = await made(8000)
    payload = bytes(range(160))
    frame = await made_at_8k.deserialize(media(payload, "1"))
    assert type(frame) is InputAudioRawFrame
    assert frame.audio == PCMU.decode(payload)
    assert (frame.sample_rate, frame.num_channels, frame.num_frames) == (8000, 1, 160)


@pytest.mark.parametrize("in_rate", RATES)
async def test_every_message_gives_a_whole_frame_from_the_first_on(in_rate: int) -> None:
    ear = await made(in_rate)
    pcm = speech(1.0, 8000)
    heard = b""
    for number, piece in enumerate(cut(PCMU.encode(pcm), 160), 1):
        frame = await ear.deserialize(media(piece, str(number)))
        assert isinstance(frame, InputAudioRawFrame)
        assert (frame.sample_rate, frame.num_frames) == (in_rate, in_rate // 50)
        heard += frame.audio
    resampler = StreamResampler(8000, in_rate)
    assert heard == resampler.process(PCMU.decode(PCMU.encode(pcm)))
    stats = ear.stats
    assert (stats.messages_in, stats.bad, stats.gaps) == (50, 0, 0)
    assert stats.wire_in_ms == stats.audio_in_ms == pytest.approx(1000)
    assert stats.inbound_delay_ms == resampler.delay_ms <= 4.0


@pytest.mark.parametrize("size", [1, 7, 80, 161, 8000])
async def test_media_of_any_length_is_taken(size: int) -> None:
    ear = await made(16000)
    frame = await ear.deserialize(media(b"\x80" * size))
    assert isinstance(frame, InputAudioRawFrame)
    assert frame.num_frames == 2 * size


async def test_a_stall_loses_nothing() -> None:
    """Pipecat's own resampler forgets what it holds after 0.2 s."""
    pcm = PCMU.encode(speech(0.4, 8000))
    steady, stalled = await made(16000), await made(16000)
    heard = {steady: b"", stalled: b""}
    for number, piece in enumerate(cut(pcm, 160)):
        if number == 10:
            await asyncio.sleep(0.3)
        for ear in heard:
            frame = await ear.deserialize(media(piece))
            assert isinstance(frame, InputAudioRawFrame)
            heard[ear] += frame.audio
    assert heard[steady] == heard[stalled]


async def test_the_resampler_is_cleared_by_the_clock_when_asked() -> None:
    ear = await made(16000, resampler_clear_after_secs=0.05)
    await ear.deserialize(media(b"\x80" * 160))
    at_once = await ear.deserialize(media(b"\xff" * 160))
    await ear.deserialize(media(b"\x80" * 160))
    await asyncio.sleep(0.1)
    later = await ear.deserialize(media(b"\xff" * 160))
    assert any(at_once.audio) and not any(later.audio)


async def test_setting_up_twice_does_not_disturb_the_stream() -> None:
    pcm = PCMU.encode(speech(0.2, 8000))
    once, twice = await made(16000), await made(16000)
    for piece in cut(pcm, 160):
        await twice.setup(SimpleNamespace(audio_in_sample_rate=16000))
        one, two = [await ear.deserialize(media(piece)) for ear in (once, twice)]
        assert one.audio == two.audio


async def test_both_kinds_of_setup_are_understood() -> None:
    """A StartFrame up to Pipecat 1.7, a FrameProcessorSetup from 1.8 on."""
    wanted = inspect.signature(FrameProcessorSetup).parameters
    later = FrameProcessorSetup(**dict.fromkeys(wanted))
    later.audio_in_sample_rate = 24000
    with warnings.catch_warnings(record=True):  # the rates of a StartFrame are on their way out
        for setup in (StartFrame(audio_in_sample_rate=24000), later):
            ear = make(None)
            await ear.setup(setup)
            frame = await ear.deserialize(media(b"\x80" * 160))
            assert frame.sample_rate == 24000


async def test_the_parameter_overrides_the_pipeline(said: list[str]) -> None:
    ear = await made(16000, sample_rate=24000)
    frame = await ear.deserialize(media(b"\x80" * 160))
    assert (frame.sample_rate, frame.num_frames) == (24000, 480)
    assert make(None, sample_rate=24000).stats.inbound_delay_ms == ear.stats.inbound_delay_ms == 4.0
    assert len(said) == 1 and said[0].endswith("sample_rate=8000 avoids it")


async def test_audio_before_setup_comes_at_the_calls_own_rate() -> None:
    frame = await make(None).deserialize(media(b"\x80" * 160))
    assert (frame.sample_rate, frame.num_frames) == (8000, 160)


@pytest.mark.parametrize("rate", [0, -1, None, 12000, 8000.5, "16000", float("nan"), True, []])
async def test_a_pipeline_without_a_usable_rate_gets_the_calls_own(
    rate: object, said: list[str]
) -> None:
    ear = make(None)
    for _ in range(2):
        await ear.setup(SimpleNamespace(audio_in_sample_rate=rate))
    frame = await ear.deserialize(media(b"\x80" * 160))
    assert (frame.sample_rate, frame.num_frames) == (8000, 160)
    assert len(said) == 1
    assert f"audio_in_sample_rate={rate!r} is not one of (8000, " in said[0]


async def test_resampling_is_remarked_once_with_the_setting_that_avoids_it(said: list[str]) -> None:
    ear = await made(16000)
    await ear.setup(SimpleNamespace(audio_in_sample_rate=16000))
    assert [line.partition(": ")[2] for line in said] == [
        "the caller's audio is resampled from 8000 to 16000 Hz, which adds 4.0 ms; "
        "audio_in_sample_rate=8000 avoids it"
    ]


# -- hostile messages --------------------------------------------------------------------------


def test_there_are_at_least_65_hostile_messages() -> None:
    assert len(HOSTILE) >= 65


@pytest.mark.parametrize("in_rate", [8000, 16000])
@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
async def test_no_message_ends_a_call(data: object, in_rate: int, said: list[str]) -> None:
    assert await ended(data, in_rate) is None
    for line in said:
        assert len(line) < fuzz.LONGEST_LINE and line.isascii() and line.isprintable()


async def test_one_call_outlasts_all_of_them(said: list[str]) -> None:
    line = await fuzz.begun()
    for data in HOSTILE.values():
        if not fuzz._is_stop(data):
            assert await ended(data, 8000, line) is None
    assert len(said) < 20


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=10,
)
spoilt = st.builds(
    lambda message, changes: json.dumps({**json.loads(encode(message)), **changes}),
    st.sampled_from([START, Media(b"\x80" * 160, "inbound", "1"), Stop(STREAM, CALL)]),
    st.dictionaries(
        st.sampled_from(
            ["eventType", "metadata", "payload", "track", "sequenceNumber", "streamParams"]
        ),
        json_values,
        min_size=1,
    ),
)


@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=200), json_values.map(json.dumps), spoilt)
)
def test_no_text_at_all_ends_a_call(data: str | bytes) -> None:
    with unlogged():
        assert asyncio.run(ended(data)) is None


def test_a_short_fuzz_ends_no_call() -> None:
    assert asyncio.run(fuzz.run(2000, seed=3)) == {}


def test_the_fuzzer_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fragile(self: BandwidthFrameSerializer, data: Any) -> None:
        json.loads(data)["eventType"]

    monkeypatch.setattr(BandwidthFrameSerializer, "deserialize", fragile)
    endings = asyncio.run(fuzz.run(200, seed=3))
    assert endings["JSONDecodeError raised"] and endings["deaf afterwards"]


def test_the_fuzzer_would_notice_what_wears_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = BandwidthFrameSerializer.deserialize

    async def wearing(self: BandwidthFrameSerializer, data: Any) -> Frame | None:
        return await sound(self, data) if self._stats.bad < 20 else None

    monkeypatch.setattr(BandwidthFrameSerializer, "deserialize", wearing)
    assert asyncio.run(fuzz.run(300, seed=3))["deaf afterwards"]


def test_the_fuzzer_would_notice_a_soiled_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serializer, "_clean", str)
    assert [how for how in asyncio.run(fuzz.run(2000, seed=3)) if how.startswith("logged: ")]


async def test_bad_messages_are_counted_and_logged_once_in_a_while(
    said: list[str],
) -> None:
    now = -7.0
    ear = await made(clock=lambda: now)
    for _ in range(500):
        await ear.deserialize("[]")
    assert said == [f"{ear}: bad message: not a JSON object but list"]
    now += 10.0
    for _ in range(500):
        await ear.deserialize('{"eventType":"media","payload":"A"}')
    assert said[1:] == [
        f"{ear}: 501 bad messages so far, the last: "
        "bad media: Invalid base64 encoded string - at `$.payload`"
    ]
    assert (ear.stats.bad, ear.stats.messages_in) == (1000, 1000)


async def test_what_is_logged_holds_nothing_of_the_message(said: list[str]) -> None:
    ear = await made()
    for text in (
        '{"eventType":"media","payload":"SECRET!"}',
        '{"eventType":"SECRET","payload":5',
        "SECRET",
        json.dumps({"eventType": "media", "SECRET": 1, "payload": ["SECRET"]}),
    ):
        ear._next_log = 0.0
        await ear.deserialize(text)
    assert len(said) == 4
    assert not [line for line in said if "SECRET" in line]


async def test_foreign_text_is_made_harmless_in_the_log(said: list[str]) -> None:
    ear = BandwidthFrameSerializer("y" * 1000, CALL, params=InputParams(auto_hang_up=False))
    start = Start("s\r\n2026 | ERROR | fake\x1b[31m" + "x" * 1000, "c-\u2028other")
    await ear.deserialize(encode(start))
    stream, call, _ = said  # the third: no track
    assert f" {'s??2026 | ERROR | fake?[31m'.ljust(200, 'x')}, this " in stream
    assert stream.endswith(f" for {'y' * 200}")
    assert call.endswith(f" c-?other, this serializer was made for {CALL}")


async def test_the_log_of_a_strange_format_is_bounded(said: list[str]) -> None:
    ear = await made()
    await ear.deserialize(
        '{"eventType":"start","metadata":{"tracks":[{"name":"inbound","mediaFormat":'
        f'{{"encoding":"{"Z" * 5000}","sampleRate":{"9" * 4000}}}}}]}}}}'
    )
    assert len(said) == 1 and f" {'Z' * 200} at 0 Hz; " in said[0]
    assert len(said[0]) < 400


FAR_END = ['{"eventType":"error","message":"SECRET"}', '{"eventType":"mark\\r\\n\\u001b[31m"}']


async def test_other_types_are_counted_and_remarked_once_each(said: list[str]) -> None:
    ear = await made()
    for text in [*FAR_END, '{"eventType":"clear"}', fuzz.REAL[4]] * 3:
        assert await ear.deserialize(text) is None
    assert said == [
        f"{ear}: a message of type error, which is not known here; it is ignored",
        f"{ear}: a message of type mark???[31m, which is not known here; it is ignored",
        f"{ear}: a message of type clear, which is ours to send; it is ignored",
        f"{ear}: a message of type playAudio, which is ours to send; it is ignored",
    ]
    assert (ear.stats.other, ear.stats.bad) == (12, 0)


async def test_remarks_on_other_types_are_bounded(said: list[str]) -> None:
    ear = await made()
    for number in range(1000):
        await ear.deserialize(json.dumps({"eventType": f"{number:04}" + "x" * 5000}))
    assert ear.stats.other == 1000
    assert len(said) == len(ear._other_types) == 8
    assert max(map(len, said)) < 200


@pytest.mark.parametrize("ending", ["stop", "EndFrame", "CancelFrame"])
async def test_the_number_of_bad_messages_is_told_at_the_end(ending: str, said: list[str]) -> None:
    line = await made()
    for _ in range(300):
        await line.deserialize("[]")
    for _ in range(3):
        if ending == "stop":
            await line.deserialize(encode(Stop(STREAM, CALL)))
        else:
            await line.serialize(EndFrame() if ending == "EndFrame" else CancelFrame())
    total = 301 if ending == "stop" else 300
    assert said[1:] == [f"{line}: 300 of {total} messages were bad"]
    await line.serialize(EndFrame())
    assert len(said) == 2
    await line.deserialize("[]")
    await line.serialize(EndFrame())
    assert said[2].startswith(f"{line}: 301 of ")


async def test_at_the_end_of_a_clean_call_nothing_is_told(said: list[str]) -> None:
    line = await made()
    await line.deserialize(encode(START))
    await line.deserialize(encode(Stop(STREAM, CALL)))
    await line.serialize(EndFrame())
    assert said == []


# -- the course of a stream --------------------------------------------------------------------


async def test_start_tells_the_format(said: list[str]) -> None:
    ear = await made()
    assert await ear.deserialize(encode(START)) is None
    assert ear.stream_format == Track("inbound", "PCMU", 8000)
    assert (ear.stats.starts, said) == (1, [])


@pytest.mark.parametrize(
    ("start", "remark"),
    [
        (
            Start(STREAM, CALL, tracks=(Track("outbound"), Track("inbound", "OPUS", 48000))),
            "start announces OPUS at 48000 Hz; it is read as PCMU at 8000 Hz, "
            "the only format that Bandwidth documents",
        ),
        (
            Start(STREAM, CALL, tracks=(Track("inbound", "PCMU", 16000),)),
            "start announces PCMU at 16000 Hz; it is read as PCMU at 8000 Hz, "
            "the only format that Bandwidth documents",
        ),
        (Start(STREAM, CALL), "start announces no inbound track; PCMU at 8000 Hz is assumed"),
        (
            Start("s-other", CALL, tracks=(Track("inbound"),)),
            f"start announces the stream s-other, this serializer was made for {STREAM}",
        ),
        (
            Start(STREAM, "c-other", tracks=(Track("inbound"),)),
            f"start announces the call c-other, this serializer was made for {CALL}",
        ),
    ],
)
async def test_a_strange_start_is_remarked_and_changes_nothing(
    start: Start, remark: str, said: list[str]
) -> None:
    ear = await made()
    await ear.deserialize(encode(start))
    assert said == [f"{ear}: {remark}"]
    frame = await ear.deserialize(media(b"\x12" * 160))
    assert frame.audio == PCMU.decode(b"\x12" * 160)
    assert (ear.stream_id, ear.call_id) == (STREAM, CALL)


async def test_a_second_start_is_counted_and_ignored(said: list[str]) -> None:
    ear = await made()
    for start in (START, Start("s-other", "c-other", tracks=(Track("inbound", "OPUS", 1),)), START):
        await ear.deserialize(encode(start))
    assert ear.stats.starts == 3
    assert ear.stream_format == Track("inbound", "PCMU", 8000)
    assert said == [f"{ear}: a second start message; it is ignored"]


async def test_a_start_after_stop_is_counted_and_ignored(said: list[str]) -> None:
    for first in ([], [START]):
        ear, told = await made(), []
        ear.add_event_handler("on_stream_start", lambda _, start, told=told: told.append(start))
        for message in [*first, Stop(STREAM, CALL), START]:
            await ear.deserialize(encode(message))
        assert await ear.deserialize(media(b"\x12" * 160)) is None
        await ear.cleanup()
        assert (ear.stats.starts, told) == (1 + len(first), first)
    assert [line.partition(": ")[2] for line in said] == [
        "a start message after stop; it is ignored",
        "a second start message; it is ignored",
    ]


@pytest.mark.parametrize("begun", [True, False])
async def test_the_stop_of_another_stream_mutes_nothing(begun: bool, said: list[str]) -> None:
    line = await made()
    if begun:
        await line.deserialize(encode(START))
    for _ in range(3):
        await line.deserialize(encode(Stop("s-other\n", CALL)))
        assert await line.deserialize(media(b"\x12" * 160)) is not None
        assert await line.serialize(output(speech(0.02, 8000))) is not None
    assert said == [f"{line}: a stop of the stream s-other?, not ours; it is ignored"]
    assert (line.stats.other, line.stats.after_stop) == (3, 0)


@pytest.mark.parametrize("stream_id", [STREAM, "s-announced", ""])
async def test_a_stop_is_ours_by_label_or_by_what_start_announced(stream_id: str) -> None:
    line = await made()
    await line.deserialize(encode(Start("s-announced", CALL, tracks=(Track("inbound"),))))
    await line.deserialize(encode(Stop(stream_id)))
    assert await line.deserialize(media(b"\x12" * 160)) is None
    assert (line.stats.other, line.stats.after_stop) == (0, 1)


async def test_other_tracks_are_counted_and_dropped() -> None:
    ear = await made()
    for track in ("outbound", "both", ""):
        assert await ear.deserialize(media(b"\x12" * 160, "1", track)) is None
    assert await ear.deserialize(media(b"\x12" * 160, "1", None)) is not None
    stats = ear.stats
    assert (stats.other_track, stats.wire_in_ms, stats.duplicates) == (3, 20.0, 0)


async def test_after_stop_nothing_comes_in_or_goes_out() -> None:
    line = await made()
    await line.deserialize(encode(START))
    assert await line.serialize(output(speech(0.04, 24000), 24000)) is not None
    assert await line.deserialize(encode(Stop(STREAM, CALL))) is None
    before = line.stats
    for frame in (
        output(speech(0.04, 24000), 24000),
        output(speech(0.04, 8000), 8000),
        EndFrame(),
        InterruptionFrame(),
        OutputTransportMessageFrame({"a": 1}),
    ):
        assert await line.serialize(frame) is None
    assert await line.deserialize(media(b"\x12" * 160)) is None
    after = line.stats
    assert after.after_stop == 3
    assert (after.messages_out, after.wire_out_ms) == (before.messages_out, before.wire_out_ms)


SEQUENCES = [
    # numbers as they arrive; gaps, missing, duplicates, out of order
    ([1, 2, 3], (0, 0, 0, 0)),
    ([7, 8, 9], (0, 0, 0, 0)),
    ([0, 1], (0, 0, 0, 0)),
    ([1, 2, 4, 5], (1, 1, 0, 0)),
    ([1, 502], (1, 500, 0, 0)),
    ([1, 2, 4, 3, 5], (1, 0, 0, 1)),
    ([1, 5, 3, 2, 4, 6], (1, 0, 0, 3)),
    ([1, 2, 2, 3], (0, 0, 1, 0)),
    ([1, 3, 2, 2], (1, 0, 1, 1)),
    ([1, 1, 1], (0, 0, 2, 0)),
    ([5, 4], (0, 0, 1, 0)),
    ([None, None], (0, 0, 0, 0)),
    (["", "", ""], (0, 0, 0, 0)),
    ([1, "", 2, ""], (0, 0, 0, 0)),
    ([1, None, 2], (0, 0, 0, 0)),
    ([1, "x", "2.0", -3, 2], (0, 0, 0, 0)),
    ([1, 10**17, 2, 3], (0, 0, 0, 1)),  # not believed
    ([1, 10**17, 10**17 + 1, 10**17 + 2], (1, 0, 0, 1)),  # believed in the end
    ([900, 901, 1, 2, 3], (1, 0, 0, 1)),  # numbering begins anew
    ([1, 3000, 2900, 2901], (1, 2996, 0, 2)),
    ([1, 3001], (1, 2999, 0, 0)),  # expected + 2999: believed at once
    ([1, 3002], (0, 0, 0, 1)),
    ([200, 101], (0, 0, 1, 0)),  # expected - 100
    ([200, 100], (0, 0, 0, 1)),
    (["007", "008", "9"], (0, 0, 0, 0)),
]


@pytest.mark.parametrize("kind", [str, int])
@pytest.mark.parametrize(("numbers", "counts"), SEQUENCES)
async def test_sequence_numbers_are_counted_and_nothing_else(
    numbers: list[Any], counts: tuple[int, ...], kind: type
) -> None:
    ear = await made()
    for place, number in enumerate(numbers):
        number = kind(number) if isinstance(number, int) else number
        frame = await ear.deserialize(media(bytes([place]) * 160, number))
        assert frame.audio == PCMU.decode(bytes([place]) * 160)  # in the order of arrival
    stats = ear.stats
    assert (stats.gaps, stats.missing, stats.duplicates, stats.out_of_order) == counts


async def test_a_log_that_fails_ends_no_call() -> None:
    """A sink on a full disk, added with ``catch=False``, raises into whoever logs."""

    def full(_line: object) -> None:
        raise OSError(28, "No space left on device")

    sink = logger.add(full, level="DEBUG", catch=False)
    try:
        ear = make(None)
        await ear.setup(SimpleNamespace(audio_in_sample_rate=16000))
        for text in (encode(START), "{", '{"eventType":"new"}'):
            assert await ear.deserialize(text) is None
        assert await ear.deserialize(media(b"\x12" * 160)) is not None
        assert await ear.serialize(output(speech(0.04, 24000), 24000)) is not None
        assert await ear.deserialize(encode(Stop(STREAM, CALL))) is None
    finally:
        logger.remove(sink)


async def test_lines_go_elsewhere_when_asked(said: list[str]) -> None:
    lines: list[tuple[str, str]] = []
    params = InputParams(auto_hang_up=False)
    ear = BandwidthFrameSerializer(
        STREAM, params=params, log=lambda level, text: lines.append((level, text))
    )
    for text in (encode(START), "{", "["):
        await ear.deserialize(text)
    await ear.serialize(output(b"ab", 5))
    assert [level for level, _ in lines] == ["DEBUG", "WARNING", "WARNING"]
    assert lines[1][1].startswith("bad message: ") and "sample_rate=5" in lines[2][1]
    assert said == []


async def test_sequence_numbers_take_bounded_memory() -> None:
    ear = await made()
    for number in range(0, 200_000, 50):
        await ear.deserialize(media(b"\xff", str(number)))
    assert len(ear._sequence._skipped) <= 100
    assert ear.stats.missing == 49 * (200_000 // 50 - 1)


async def test_events_are_told() -> None:
    line = await made()
    told: list[object] = []

    @line.event_handler("on_stream_start")
    async def on_stream_start(serializer: BandwidthFrameSerializer, start: Start) -> None:
        told.append((serializer, start))

    @line.event_handler("on_stream_stop")
    def on_stream_stop(serializer: BandwidthFrameSerializer) -> None:
        told.append(serializer)
        raise RuntimeError("a handler's own mistake")

    await line.deserialize(encode(START))
    await line.cleanup()
    assert told == [(line, START)]
    for _ in range(2):
        assert await line.deserialize(encode(Stop())) is None
    await line.cleanup()
    assert told[1:] == [line]


async def test_stats_are_a_copy() -> None:
    line = await made()
    before = line.stats
    await line.deserialize("[]")
    assert (before.bad, line.stats.bad) == (0, 1)


# -- to the caller -----------------------------------------------------------------------------


def settings(form: WireFormat) -> dict[str, Any]:
    if form is PCMU:
        return {}
    return {"outbound_encoding": "PCM", "outbound_pcm_sample_rate": form.sample_rate}


@pytest.mark.parametrize("form", FORMATS, ids=str)
async def test_audio_at_the_rate_of_the_wire_is_only_encoded(form: WireFormat) -> None:
    mouth = await made(**settings(form))
    pcm = speech(0.04, form.sample_rate)
    assert played(await mouth.serialize(output(pcm, form.sample_rate))) == (form, form.encode(pcm))
    assert mouth.stats.outbound_delay_ms == 0.0


@pytest.mark.parametrize("form", FORMATS, ids=str)
@pytest.mark.parametrize("rate", RATES)
async def test_every_frame_gives_a_whole_message_from_the_first_on(
    form: WireFormat, rate: int
) -> None:
    mouth = await made(**settings(form))
    pcm = speech(0.4, rate)
    sent = b""
    for piece in cut(pcm, 2 * (rate // 25)):
        got, payload = played(await mouth.serialize(output(piece, rate)))
        assert got is form and form.duration(payload) == pytest.approx(0.04)
        sent += payload
    tail = await mouth.serialize(EndFrame())
    resampler = StreamResampler(rate, form.sample_rate)
    assert sent == form.encode(resampler.process(pcm))
    if resampler.delay_ms:
        assert played(tail)[1] == form.encode(resampler.flush())
    else:
        assert tail is None
    stats = mouth.stats
    assert stats.audio_out_ms == pytest.approx(400)
    assert stats.wire_out_ms == pytest.approx(400 + stats.tail_out_ms)
    assert stats.tail_out_ms <= 4.5
    assert stats.outbound_delay_ms == resampler.delay_ms


@dataclass
class OwnAudioFrame(DataFrame, AudioRawFrame):
    """Output of a user's own processor."""


@pytest.mark.parametrize(
    "kind", [OutputAudioRawFrame, TTSAudioRawFrame, SpeechOutputAudioRawFrame, OwnAudioFrame]
)
async def test_all_kinds_of_output_audio_are_sent(kind: type) -> None:
    mouth = await made()
    pcm = speech(0.02, 8000)
    assert played(await mouth.serialize(kind(pcm, 8000, 1))) == (PCMU, PCMU.encode(pcm))


@pytest.mark.parametrize("kind", [InputAudioRawFrame, UserAudioRawFrame])
async def test_the_callers_own_audio_is_never_sent_back(kind: type) -> None:
    mouth = await made()
    assert await mouth.serialize(kind(audio=bytes(320), sample_rate=8000, num_channels=1)) is None
    assert mouth.stats.audio_out_ms == 0


@pytest.mark.parametrize(
    "frame", [TextFrame("x"), TTSStoppedFrame(), BotStoppedSpeakingFrame(), Frame()]
)
async def test_other_frames_say_nothing(frame: Frame) -> None:
    assert await (await made()).serialize(frame) is None


@pytest.mark.parametrize("channels", [2, 3, 6])
async def test_channels_are_mixed_down(channels: int) -> None:
    mouth = await made(outbound_encoding="PCM", outbound_pcm_sample_rate=8000)
    rng = np.random.default_rng(2)
    each = rng.integers(-32768, 32768, (320, channels), dtype="<i2")
    each[0], each[1] = 32767, -32768
    _, payload = played(await mouth.serialize(output(each.tobytes(), 8000, channels)))
    mixed = np.frombuffer(payload, "<i2").astype(int)
    assert mixed.size == 320 and mixed[0] == 32767 and mixed[1] == -32768
    assert np.abs(mixed - each.astype(int).sum(axis=1) / channels).max() <= 0.5
    assert mouth.stats.audio_out_ms == 40


async def test_mixing_down_is_remarked_once(said: list[str]) -> None:
    mouth = await made()
    for _ in range(3):
        await mouth.serialize(output(speech(0.04, 8000), 8000, 2))
    assert said == [f"{mouth}: 2 channels are mixed down to one; audio_out_channels=1 avoids it"]


def pcm_to_wav(pcm: bytes, sample_rate: int, num_channels: int) -> bytes:
    """What Pipecat's ``add_wav_header`` makes of a frame, in every release."""
    with io.BytesIO() as file:
        with wave.open(file, "wb") as writer:
            writer.setnchannels(num_channels)
            writer.setsampwidth(2)
            writer.setframerate(sample_rate)
            writer.writeframes(pcm)
        return file.getvalue()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", [bytes, bytearray])
async def test_wav_headers_are_not_played(channels: int, kind: type, said: list[str]) -> None:
    """As Pipecat's transports put them before each frame with ``add_wav_header=True``."""
    mouth = await made(outbound_encoding="PCM", outbound_pcm_sample_rate=8000)
    for size in (640, 320, 10):  # of 10, a line feed in the header
        pcm = speech(0.04, 8000)[:size]
        frames = np.repeat(np.frombuffer(pcm, "<i2"), channels).tobytes()
        whole = kind(pcm_to_wav(frames, 8000, channels))
        assert played(await mouth.serialize(output(whole, 8000, channels)))[1] == pcm
    assert mouth.stats.audio_out_ms == 970 / 16
    assert said[0] == (
        f"{mouth}: audio begins with a WAV header, which is left out; "
        "add_wav_header=False avoids it"
    )
    assert len(said) == channels


async def test_audio_that_only_looks_like_a_wav_header_is_played(said: list[str]) -> None:
    mouth = await made(outbound_encoding="PCM", outbound_pcm_sample_rate=8000)
    for pcm in (b"RIFF", b"RIFF" + speech(0.04, 8000), pcm_to_wav(b"", 8000, 1)[:42]):
        assert played(await mouth.serialize(output(pcm)))[1] == pcm
    assert said == []


@pytest.mark.parametrize("empty", [b"", bytearray()])
async def test_empty_audio_is_remarked_once(empty: bytes, said: list[str]) -> None:
    mouth = await made()
    for _ in range(3):
        assert await mouth.serialize(output(empty)) is None
    assert said == [f"{mouth}: a frame without audio; nothing is sent"]
    assert mouth.stats.messages_out == 0


@pytest.mark.parametrize(
    ("size", "channels", "whole"),
    [(321, 1, 160), (319, 1, 159), (1, 1, 0), (643, 2, 160), (3, 2, 0)],
)
async def test_half_samples_are_left_out(
    size: int, channels: int, whole: int, said: list[str]
) -> None:
    mouth = await made(outbound_encoding="PCM", outbound_pcm_sample_rate=8000)
    pcm = speech(1.0, 8000)[:size]
    for _ in range(3):
        text = await mouth.serialize(output(pcm, 8000, channels))
        if whole:
            assert len(played(text)[1]) == 2 * whole
        else:
            assert text is None
    assert said[0] == f"{mouth}: {size} bytes are not whole samples; the rest is left out"
    assert len(said) == (2 if channels == 2 and whole else 1)  # the second: mixed down


async def test_odd_frames_do_not_shift_later_ones() -> None:
    mouth = await made(outbound_encoding="PCM", outbound_pcm_sample_rate=8000)
    pcm = speech(0.02, 8000)
    await mouth.serialize(output(pcm + b"\1"))
    assert played(await mouth.serialize(output(pcm)))[1] == pcm


@pytest.mark.parametrize(
    ("frame", "remark"),
    [
        (output(np.zeros(160, np.float32)), "audio is not sent: it must be bytes, not ndarray"),
        (output(np.zeros(160, np.int16)), "audio is not sent: it must be bytes, not ndarray"),
        (output("audio"), "audio is not sent: it must be bytes, not str"),
        (output(None), "audio is not sent: it must be bytes, not NoneType"),
        (output([1, 2]), "audio is not sent: it must be bytes, not list"),
        (output(memoryview(b"ab")), "audio is not sent: it must be bytes, not memoryview"),
        (output(b"ab", 8000, 0), "audio is not sent: num_channels is 0"),
        (output(b"ab", 8000, -1), "audio is not sent: num_channels is -1"),
        (output(b"ab", 8000, None), "audio is not sent: num_channels is None"),
        (output(b"ab", 8000, "2"), "audio is not sent: num_channels is '2'"),
        (output(b"ab", 0), "audio is not sent: sample_rate=0 is not one of "),
        (output(b"ab", -8000), "audio is not sent: sample_rate=-8000 is not one of "),
        (output(b"ab", None), "audio is not sent: sample_rate=None is not one of "),
        (output(b"ab", "8000"), "audio is not sent: sample_rate='8000' is not one of "),
        (output(b"ab", float("nan")), "audio is not sent: sample_rate=nan is not one of "),
        (output(b"ab", 1), "audio is not sent: sample_rate=1 is not one of "),
        (output(b"ab", 10**9), "audio is not sent: sample_rate=1000000000 is not one of "),
    ],
)
async def test_audio_that_is_none_is_remarked_once(
    frame: Frame, remark: str, said: list[str]
) -> None:
    mouth = await made()
    for _ in range(3):
        assert await mouth.serialize(frame) is None
    assert len(said) == 1 and said[0].startswith(f"{mouth}: {remark}")
    pcm = speech(0.02, 8000)
    assert played(await mouth.serialize(output(pcm)))[1] == PCMU.encode(pcm)


async def test_bytearrays_are_audio_too() -> None:
    pcm = speech(0.02, 8000)
    assert played(await (await made()).serialize(output(bytearray(pcm))))[1] == PCMU.encode(pcm)


@pytest.mark.parametrize("rate", [8000, 24000])
async def test_no_audio_no_message(rate: int) -> None:
    mouth = await made()
    assert await mouth.serialize(output(b"", rate)) is None
    assert await mouth.serialize(EndFrame()) is None


async def test_an_interruption_clears_and_forgets() -> None:
    """What the resampler held belongs to the sentence that was cut off."""
    mouth, fresh = await made(), await made()
    await mouth.serialize(output(speech(0.4, 24000, seed=5), 24000))
    assert await mouth.serialize(InterruptionFrame()) == '{"eventType":"clear"}'
    after = output(speech(0.04, 24000), 24000)
    assert await mouth.serialize(after) == await fresh.serialize(after)


async def test_a_cancel_sends_no_tail() -> None:
    mouth = await made()
    await mouth.serialize(output(speech(0.04, 24000), 24000))
    assert await mouth.serialize(CancelFrame()) is None


async def test_a_change_of_rate_loses_nothing() -> None:
    """The tail of the old rate goes in front of the new audio, in the same message."""
    mouth = await made()
    first, second = speech(0.1, 24000, seed=2), speech(0.1, 16000, seed=3)
    third = speech(0.1, 8000, seed=4)
    frames = [(first, 24000), (second, 16000), (third, 8000), (first, 24000)]
    sent = [played(await mouth.serialize(output(pcm, rate)))[1] for pcm, rate in frames]
    expected, tail = [], b""
    for pcm, rate in frames:
        resampler = StreamResampler(rate, 8000)
        expected.append(PCMU.encode(tail + resampler.process(pcm)))
        tail = resampler.flush()
    assert sent == expected
    assert played(await mouth.serialize(EndFrame()))[1] == PCMU.encode(tail)
    stats = mouth.stats
    assert (stats.audio_out_ms, stats.tail_out_ms, stats.wire_out_ms) == (400, 12, 412)


async def test_the_tail_is_sent_even_when_the_next_rate_is_none() -> None:
    mouth = await made()
    await mouth.serialize(output(speech(0.04, 24000), 24000))
    assert len(played(await mouth.serialize(output(b"ab", 5)))[1]) == 32
    assert await mouth.serialize(output(b"ab", 5)) is None


async def test_a_stall_inside_speech_loses_nothing() -> None:
    steady, stalled = await made(), await made()
    for number, piece in enumerate(cut(speech(0.4, 24000), 1920)):
        if number == 5:
            await asyncio.sleep(0.3)
        one, two = [await mouth.serialize(output(piece, 24000)) for mouth in (steady, stalled)]
        assert one == two


async def test_the_outbound_resampler_is_cleared_by_the_clock_when_asked() -> None:
    now = -7.0
    mouth = await made(clock=lambda: now, resampler_clear_after_secs=0.05)
    silence = output(bytes(1920), 24000)
    loud = output(speech(0.04, 24000), 24000)
    await mouth.serialize(loud)
    at_once = played(await mouth.serialize(silence))[1]
    await mouth.serialize(loud)
    now += 0.1
    later = played(await mouth.serialize(silence))[1]
    assert at_once != later == b"\xff" * 320


async def test_outbound_resampling_is_remarked_once(said: list[str]) -> None:
    mouth = await made(outbound_encoding="PCM", outbound_pcm_sample_rate=16000)
    for rate in (16000, 24000, 16000, 24000):
        await mouth.serialize(output(speech(0.04, rate), rate))
    assert said == [
        f"{mouth}: the bot's audio is resampled from 24000 to 16000 Hz, which adds 2.0 ms; "
        "audio_out_sample_rate=16000 avoids it"
    ]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_a_frame_that_would_hold_up_the_call_is_refused_with_one_warning(
    said: list[str], kind: type
) -> None:
    mouth = await made()
    for size in (40_000_000, 4 * 2**20 + 2):
        frame = output(b"", 48000)
        frame.audio = kind(bytes(size))
        assert await mouth.serialize(frame) is None
    assert said == [
        f"{mouth}: a frame of 40000000 bytes of audio is not sent, the largest has 4194304: cut it "
        "into pieces, or let Pipecat's transport do so"
    ]
    assert played(await mouth.serialize(output(speech(0.1, 8000), 8000)))


async def test_long_messages_are_sent_whole_and_remarked_once(said: list[str]) -> None:
    mouth = await made()
    for seconds in (0.1, 2.0, 10.0):
        _, payload = played(await mouth.serialize(output(speech(seconds, 8000))))
        assert len(payload) == 8000 * seconds
    assert said == [
        f"{mouth}: 2000 ms of audio in one message: its beginning has waited for its end, and how "
        "long a message may be is not documented; audio_out_10ms_chunks=4 sends 40 ms at a time"
    ]


async def test_the_silence_at_the_end_of_a_call_is_not_remarked(said: list[str]) -> None:
    mouth = await made()
    _, payload = played(await mouth.serialize(output(bytes(32000))))
    assert payload == b"\xff" * 16000
    assert said == []


# -- transport messages ------------------------------------------------------------------------

KINDS = [OutputTransportMessageFrame, OutputTransportMessageUrgentFrame]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("message", [{}, {"eventType": "mark", "n": [1, None, "\u00e9"]}])
async def test_transport_messages_are_passed_on(kind: type, message: dict) -> None:
    text = await (await made()).serialize(kind(message))
    assert json.loads(text) == message and text.isascii()


circular: dict[str, Any] = {}
circular["self"] = circular
deep: dict[str, Any] = {}
for _ in range(100_000):
    deep = {"a": deep}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "message",
    [
        None, "text", 5, [1], object(), {"x": object()}, {"x": b"bytes"}, {"x": {1, 2}}, {("a",): 1},
        {"x": float("nan")}, {"x": [float("inf")]}, circular, deep,
    ],
    ids=lambda message: type(message).__name__,
)  # fmt: skip
async def test_what_is_no_json_object_is_remarked_once(
    kind: type, message: object, said: list[str]
) -> None:
    mouth = await made()
    for _ in range(2):
        assert await mouth.serialize(kind(message)) is None
    assert len(said) == 1
    assert said[0].startswith(f"{mouth}: a transport message is not sent: ")
    assert len(said[0]) < 400


@pytest.mark.parametrize("ignored", [True, False])
async def test_rtvi_messages_stay_here_unless_asked_for(ignored: bool) -> None:
    mouth = await made(ignore_rtvi_messages=ignored)
    message = {"label": "rtvi-ai", "type": "bot-ready", "id": "1"}
    text = await mouth.serialize(OutputTransportMessageUrgentFrame(message))
    assert (text is None) is ignored
    assert InputParams().ignore_rtvi_messages


# -- conservation ------------------------------------------------------------------------------

steps = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.sampled_from(RATES), st.integers(0, 2500)),
        st.tuples(st.just("hear"), st.just(8000), st.integers(0, 400)),
        st.tuples(st.just("interrupt"), st.just(0), st.just(0)),
        st.tuples(st.just("stall"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@given(steps, st.sampled_from(FORMATS), st.sampled_from(RATES))
def test_every_sample_is_accounted_for(
    script: list[tuple[str, int, int]], form: WireFormat, in_rate: int
) -> None:
    """Frames, stalls, interruptions and changes of rate in any order."""

    now = 0.0

    async def call(stall_secs: float) -> list[str | bytes | None]:
        nonlocal now
        given: list[str | bytes | None] = []
        line = await made(in_rate, clock=lambda: now, **settings(form))
        owed = sent = tails = 0  # samples on the wire
        fed = 0  # into the current outbound resampler
        rate = None
        wire = form.sample_rate
        heard_in = heard_out = 0

        def tail() -> int:
            if not fed or rate in (None, wire):
                return 0
            delay = -(-32 * rate // min(rate, wire))
            return -(-(fed + delay) * wire // rate) - -(-fed * wire // rate)

        for what, at, size in script:
            if what == "say" and size:
                if at != rate:
                    tails += tail()
                    rate, fed = at, 0
                before = -(-fed * wire // rate)
                fed += size
                owed += -(-fed * wire // rate) - before
                pcm = np.random.default_rng(size).integers(-9999, 9999, size, dtype="<i2").tobytes()
                text = await line.serialize(output(pcm, at))
                sent += len(played(text)[1]) // form.bytes_per_sample if text else 0
                given.append(text)
            elif what == "hear":
                frame = await line.deserialize(media(b"\x33" * size))
                heard_in += size
                heard_out += frame.num_frames if frame else 0
                given.append(frame.audio if frame else None)
            elif what == "interrupt":
                await line.serialize(InterruptionFrame())
                fed = 0
            else:
                now += stall_secs
            assert sent == owed + tails
            assert heard_out == -(-heard_in * in_rate // 8000)
        tails += tail()
        text = await line.serialize(EndFrame())
        sent += len(played(text)[1]) // form.bytes_per_sample if text else 0
        assert sent == owed + tails
        stats = line.stats
        assert stats.wire_out_ms == pytest.approx(1000 * sent / wire)
        assert stats.tail_out_ms == pytest.approx(1000 * tails / wire)
        assert stats.wire_in_ms == pytest.approx(heard_in / 8)
        assert stats.audio_in_ms == pytest.approx(1000 * heard_out / in_rate)
        return given

    with unlogged():
        assert asyncio.run(call(60.0)) == asyncio.run(call(0.0))


# -- hanging up --------------------------------------------------------------------------------

CALL_PATH = f"/api/accounts/{ACCOUNT}/calls/{CALL}"
TOKEN = Answer(200, {"access_token": "t0ken-is-secret", "token_type": "Bearer", "expires_in": 3600})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with http_server() as state:
        state.on("/token", TOKEN)
        state.on("/api", Answer(200))
        yield state


@asynccontextmanager
async def voice_api(server: Server, deadline: float = 20.0) -> AsyncIterator[VoiceAPI]:
    urls = {"base_url": f"{server.url}/api", "token_url": f"{server.url}/token"}
    async with VoiceAPI(CLIENT, SECRET, deadline_secs=deadline, **urls) as api:
        yield api


def call(api: VoiceAPI, call_id: str = CALL, **params: Any) -> BandwidthFrameSerializer:
    return BandwidthFrameSerializer(
        STREAM, call_id, ACCOUNT, voice_api=api, params=InputParams(**params)
    )


@pytest.mark.parametrize("frame", [EndFrame(), CancelFrame()])
async def test_the_end_of_the_bot_ends_the_call(server: Server, frame: Frame) -> None:
    async with voice_api(server) as api:
        assert await call(api).serialize(frame) is None
    assert server.paths("/api") == [CALL_PATH]
    assert server.requests[-1].json == {"state": "completed"}


async def test_without_auto_hang_up_the_call_stays(server: Server) -> None:
    async with voice_api(server) as api:
        for frame in (EndFrame(), CancelFrame()):
            await call(api, auto_hang_up=False).serialize(frame)
    assert server.requests == []


async def test_the_tail_comes_with_the_end(server: Server) -> None:
    async with voice_api(server) as api:
        line = call(api)
        await line.serialize(output(speech(0.04, 24000), 24000))
        assert len(played(await line.serialize(EndFrame()))[1]) == 32
    assert server.paths("/api") == [CALL_PATH]


async def test_a_tail_that_the_stop_overtakes_is_not_counted(server: Server) -> None:
    """Bandwidth stops the stream while the hang-up is under way."""
    server.on("/api", Answer(200, delay=0.3))
    async with voice_api(server) as api:
        line = call(api)
        await line.serialize(output(speech(0.04, 24000), 24000))
        before = line.stats
        ending = asyncio.create_task(line.serialize(EndFrame()))
        await server.seen("/api")
        await line.deserialize(encode(Stop(STREAM, CALL)))
        assert await ending is None
    after = line.stats
    assert (after.wire_out_ms, after.tail_out_ms, after.messages_out) == (before.wire_out_ms, 0, 1)


async def test_a_call_is_hung_up_even_after_its_stream_stopped(server: Server) -> None:
    async with voice_api(server) as api:
        line = call(api)
        await line.deserialize(encode(Stop(STREAM, CALL)))
        assert await line.serialize(EndFrame()) is None
    assert server.paths("/api") == [CALL_PATH]


async def test_frames_at_once_and_later_share_one_hang_up(server: Server) -> None:
    server.on("/api", Answer(200, delay=0.1))
    async with voice_api(server) as api:
        line = call(api)
        await asyncio.gather(*(line.serialize(f()) for f in [EndFrame, CancelFrame] * 10))
        await line.serialize(CancelFrame())
    assert server.paths("/api") == [CALL_PATH]


async def test_a_failed_hang_up_is_tried_again_by_a_later_frame(
    server: Server, said: list[str]
) -> None:
    server.on("/api", Answer(403), Answer(403), Answer(200))
    async with voice_api(server) as api:
        line = call(api)
        for _ in range(5):
            assert await line.serialize(EndFrame()) is None
    assert server.paths("/api") == [CALL_PATH] * 3
    assert (
        said
        == [
            f"{line}: call {CALL} may still be up: hang up failed (HTTP 403): "
            "these credentials lack the role, or the account the feature"
        ]
        * 2
    )


async def test_a_hang_up_goes_on_when_its_frame_is_cancelled(server: Server) -> None:
    """Pipecat gives up on a CancelFrame after a while, and on everything when its loop ends."""
    server.on("/api", Answer(200, delay=0.3))
    async with voice_api(server) as api:
        line = call(api)
        waiting = asyncio.create_task(line.serialize(CancelFrame()))
        await server.seen("/api")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        started = time.monotonic()
        await line.serialize(EndFrame())  # waits for the same one
        assert time.monotonic() - started < 10
    assert server.paths("/api") == [CALL_PATH]


async def test_a_hang_up_outlives_its_serializer(server: Server) -> None:
    server.on("/token", Answer(TOKEN.status, TOKEN.body, delay=0.2))
    async with voice_api(server) as api:
        waiting = asyncio.create_task(call(api).serialize(CancelFrame()))
        await server.seen("/token")
        waiting.cancel()
        del waiting
        await asyncio.sleep(0)
        gc.collect()
        (hang_up,) = hanging_up._tasks  # the loop itself would let go of it
        async with asyncio.timeout(20):
            await server.seen("/api")
            await hang_up
    await asyncio.sleep(0)
    assert not hanging_up._tasks


@pytest.mark.parametrize("trouble", [HANG, RESET, Answer(503)], ids=["silent", "reset", "503"])
async def test_trouble_ends_with_the_deadline(
    server: Server, trouble: Answer, said: list[str]
) -> None:
    server.on("/api", trouble)
    async with voice_api(server, deadline=0.5) as api:
        line = call(api)
        started = time.monotonic()
        assert await line.serialize(EndFrame()) is None
        assert time.monotonic() - started < 10
    assert len(said) == 1 and "may still be up: hang up failed" in said[0]
    assert SECRET not in said[0] and "t0ken" not in said[0]


async def test_trouble_of_a_passing_kind_is_outlasted(server: Server, said: list[str]) -> None:
    server.on("/api", RESET, Answer(503), Answer(429, headers=(("Retry-After", "0"),)), Answer(200))
    async with voice_api(server) as api:
        await call(api).serialize(EndFrame())
    assert len(server.paths("/api")) == 4 and said == []


async def test_the_outcome_of_a_hang_up_is_told(server: Server) -> None:
    server.on("/api", Answer(403), Answer(404))
    outcomes: list[Outcome] = []
    async with voice_api(server) as api:
        line = call(api)
        line.add_event_handler("on_hang_up", lambda serializer, outcome: outcomes.append(outcome))
        for _ in range(3):
            await line.serialize(EndFrame())
        await line.cleanup()
    failed, done = outcomes
    reason = (
        "hang up failed (HTTP 403): these credentials lack the role, or the account the feature"
    )
    assert failed == Outcome("failed", 403, None, reason, failed.took_secs) and not failed
    assert done == Outcome("already_over", 404, 1, "", done.took_secs) and done
    assert 0 < done.took_secs < 20


async def test_a_listener_that_raises_keeps_no_call_up(server: Server) -> None:
    outcomes: list[Outcome] = []

    def fails(_outcome: Outcome) -> None:
        raise OSError(28, "No space left on device")

    async with voice_api(server) as api:
        line = call(api)
        line.hanging_up.listeners[:0] = [fails, outcomes.append]
        await line.serialize(EndFrame())
        await line.serialize(EndFrame())
    assert [outcome.outcome for outcome in outcomes] == ["ended"]
    assert make(None).hanging_up is None


async def test_calls_with_one_voice_api_share_its_token(server: Server) -> None:
    async with voice_api(server) as api:
        await asyncio.gather(
            *(call(api, f"c-{number}").serialize(EndFrame()) for number in range(20))
        )
        await call(api, "c-later").serialize(EndFrame())
    assert len(server.paths("/token")) == 1
    assert len(set(server.paths("/api"))) == 21


# -- the cushion -------------------------------------------------------------------------------


class Mouth:
    """A serializer with a cushion, on a clock that is turned."""

    def __init__(self, cushion_ms: int, **params: Any) -> None:
        self.now = 0.0
        self.line = make(None, clock=lambda: self.now, outbound_cushion_ms=cushion_ms, **params)
        self.rate = 8000

    def say(self, pcm: bytes, rate: int = 8000) -> tuple[float, bytes]:
        """Send a frame: how many ms of silence precede it, and what was sent."""
        form, payload = played(asyncio.run(self.line.serialize(output(pcm, rate))))
        sent = form.decode(payload)
        return (len(sent) - len(sent.lstrip(b"\0"))) / 2 / form.sample_rate * 1000, sent

    def clear(self) -> None:
        asyncio.run(self.line.serialize(InterruptionFrame()))


WORD = speech(0.04, 8000)


@pytest.mark.parametrize(
    ("form", "rate"), [(form, rate) for form in FORMATS for rate in (form.sample_rate, 22050)]
)
@pytest.mark.parametrize("cushion_ms", [1, 200, 1000])
def test_the_first_message_begins_with_the_cushion(
    form: WireFormat, rate: int, cushion_ms: int
) -> None:
    mouth, plain = Mouth(cushion_ms, **settings(form)), Mouth(0, **settings(form))
    pcm = speech(0.04, rate)
    silence = bytes(2 * (form.sample_rate * cushion_ms // 1000))
    assert mouth.say(pcm, rate)[1] == silence + plain.say(pcm, rate)[1]
    assert mouth.say(pcm, rate)[1] == plain.say(pcm, rate)[1]
    stats = mouth.line.stats
    assert (stats.cushions, stats.cushion_out_ms) == (1, cushion_ms)
    assert stats.wire_out_ms == pytest.approx(plain.line.stats.wire_out_ms + cushion_ms)
    assert plain.line.stats.cushions == 0


def test_nothing_is_put_into_the_middle_of_an_utterance() -> None:
    """Not while audio is queued, and not when it ran dry in a word: that would make it worse."""
    mouth = Mouth(200)
    assert mouth.say(WORD)[0] >= 200
    for now in (0.04, 0.239, 0.5, 1.4, 2.39):  # stalls up to 0.99 s behind the queue's end
        mouth.now = now
        assert mouth.say(WORD)[0] < 1


def test_after_a_pause_another_utterance_begins() -> None:
    mouth = Mouth(200)
    mouth.say(WORD)  # to be heard up to 0.24 s
    mouth.now = 1.25
    assert mouth.say(WORD)[0] >= 200
    assert mouth.line.stats.cushions == 2


def test_clear_forgets_what_was_queued() -> None:
    mouth = Mouth(200)
    mouth.say(speech(5.0, 8000))
    mouth.now = 0.1
    mouth.clear()
    assert mouth.say(WORD)[0] >= 200
    assert mouth.say(WORD)[0] < 1


def test_silence_is_no_utterance() -> None:
    """Neither does it get a cushion, nor does it hold up the one of the word that follows it."""
    mouth = Mouth(200)
    for _ in range(50):
        assert len(mouth.say(bytes(640))[1]) == 640
        mouth.now += 0.04
    assert mouth.say(WORD)[0] >= 200
    mouth.now += 0.3
    for _ in range(50):
        mouth.say(bytes(640))
        mouth.now += 0.04
    assert mouth.say(WORD)[0] >= 200
    assert mouth.line.stats.cushions == 2


@pytest.mark.parametrize(("queued_ms", "added_ms"), [(40, 160), (80, 120), (200, 0), (2000, 0)])
def test_silence_that_is_still_queued_is_a_part_of_the_cushion(
    queued_ms: int, added_ms: int
) -> None:
    """As where a voice begins with silence: the transport is 40 to 80 ms ahead by then."""
    mouth = Mouth(200)
    mouth.say(bytes(16 * 1000))
    mouth.now = 1.0 - queued_ms / 1000 if queued_ms < 1000 else 0.0
    if queued_ms > 1000:
        mouth.say(bytes(16 * 1000))
    assert mouth.say(WORD)[0] == pytest.approx(added_ms, abs=0.5)
    assert mouth.line.stats.cushion_out_ms == added_ms


@given(
    st.lists(st.tuples(st.floats(0, 2), st.sampled_from([b"", WORD, bytes(640)]), st.booleans())),
    st.integers(0, 1000),
)
def test_a_cushion_adds_silence_and_changes_nothing_else(
    script: list[tuple[float, bytes, bool]], cushion_ms: int
) -> None:
    with unlogged():
        mouth, plain = Mouth(cushion_ms), Mouth(0)
        added = 0
        for gap, pcm, interrupted in script:
            mouth.now = plain.now = mouth.now + gap
            if interrupted:
                mouth.clear()
                plain.clear()
            if pcm:
                sent, wanted = mouth.say(pcm)[1], plain.say(pcm)[1]
                more = len(sent) - len(wanted)
                assert 0 <= more <= 16 * cushion_ms and sent == bytes(more) + wanted
                added += more
        stats = mouth.line.stats
        assert stats.cushion_out_ms == pytest.approx(added / 16)
        assert stats.wire_out_ms == pytest.approx(stats.audio_out_ms + stats.cushion_out_ms)


@pytest.mark.parametrize("cushion_ms", [-1, 1001, 20.5, "200", None, True])
def test_a_cushion_of_another_length_is_refused(cushion_ms: object) -> None:
    with pytest.raises(ValueError, match="outbound_cushion_ms"):
        InputParams(outbound_cushion_ms=cushion_ms)


async def test_the_goodbye_behind_a_cushion_is_waited_for(server: Server) -> None:
    async with voice_api(server) as api:
        line = call(api, outbound_cushion_ms=300)
        began = time.monotonic()
        await line.serialize(output(speech(0.1, 8000)))
        await line.serialize(EndFrame())
        assert time.monotonic() - began >= 0.4
    assert server.paths("/api") == [CALL_PATH]


# -- the goodbye -------------------------------------------------------------------------------

NEVER = 60.0  # longer than any test waits


async def test_the_last_sound_is_played_before_the_call_is_hung_up(server: Server) -> None:
    async with voice_api(server) as api:
        line = call(api)
        began = time.monotonic()
        await line.serialize(output(speech(0.2, 8000)))
        await line.serialize(output(speech(0.2, 8000) + bytes(1600)))
        await line.serialize(EndFrame())
        assert time.monotonic() - began >= 0.4 + WAY_SECS
    assert server.paths("/api") == [CALL_PATH]


async def test_silence_behind_the_last_word_is_not_waited_for(server: Server) -> None:
    """Pipecat puts two seconds of it there, in one frame; ``hang_up_after_secs`` does not save us."""
    async with voice_api(server) as api, asyncio.timeout(20):
        line = call(api, hang_up_after_secs=NEVER)
        await line.serialize(output(speech(0.2, 24000) + bytes(48000), 24000))
        await line.serialize(output(bytes(round(NEVER * 48000)), 24000))
        await line.serialize(EndFrame())
    assert server.paths("/api") == [CALL_PATH]


@pytest.mark.parametrize("secs", [0.0, 0.3])
async def test_the_goodbye_is_waited_for_no_longer_than_is_set(server: Server, secs: float) -> None:
    async with voice_api(server) as api, asyncio.timeout(20):
        line = call(api, hang_up_after_secs=secs)
        await line.serialize(output(speech(NEVER, 8000)))
        began = time.monotonic()
        await line.serialize(EndFrame())
        assert time.monotonic() - began >= secs
    assert server.paths("/api") == [CALL_PATH]


@pytest.mark.parametrize("how", ["cancel", "stop", "interrupted", "given up", "shut down"])
async def test_what_ends_the_wait_for_the_goodbye(server: Server, how: str) -> None:
    async with voice_api(server) as api, asyncio.timeout(20):
        line = call(api, hang_up_after_secs=NEVER)
        await line.serialize(output(speech(NEVER, 8000)))
        ending = asyncio.create_task(line.serialize(EndFrame()))
        await asyncio.sleep(0.05)
        assert server.requests == [] and not ending.done()
        if how == "cancel":
            await line.serialize(CancelFrame())
        elif how == "stop":
            await line.deserialize(encode(Stop(STREAM, CALL)))
        elif how == "interrupted":
            await line.serialize(InterruptionFrame())
        elif how == "given up":
            ending.cancel()
        else:
            await line.hanging_up.request()
        await asyncio.wait([ending])
        await server.seen("/api")
    assert server.paths("/api") == [CALL_PATH]


@pytest.mark.parametrize("first", ["nothing", "cancel", "stop", "interrupted"])
async def test_no_goodbye_is_waited_for_where_nobody_hears_one(server: Server, first: str) -> None:
    async with voice_api(server) as api, asyncio.timeout(20):
        line = call(api, hang_up_after_secs=NEVER)
        if first != "nothing":
            await line.serialize(output(speech(NEVER, 8000)))
        if first == "stop":
            await line.deserialize(encode(Stop(STREAM, CALL)))
        elif first == "interrupted":
            await line.serialize(InterruptionFrame())
        await line.serialize(CancelFrame() if first == "cancel" else EndFrame())
    assert server.paths("/api") == [CALL_PATH]


async def test_the_deadline_of_the_hang_up_begins_after_the_goodbye(
    server: Server, said: list[str]
) -> None:
    server.on("/api", Answer(200, delay=0.2))
    outcomes: list[Outcome] = []
    async with voice_api(server, deadline=0.6) as api:
        line = call(api)
        line.hanging_up.listeners.append(outcomes.append)
        for _ in range(7):
            await line.serialize(output(speech(0.1, 8000)))
        await line.serialize(EndFrame())
    assert [outcome.outcome for outcome in outcomes] == ["ended"] and said == []


async def test_a_call_that_is_handed_over_during_the_goodbye_is_not_hung_up(server: Server) -> None:
    async with voice_api(server) as api:
        line = call(api)
        await line.serialize(output(speech(0.3, 8000)))
        ending = asyncio.create_task(line.serialize(EndFrame()))
        await asyncio.sleep(0.05)
        line.hanging_up.release()
        await ending
    assert server.requests == []


async def test_a_client_of_its_own_is_closed_when_it_is_done(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = {"base_url": f"{server.url}/api", "token_url": f"{server.url}/token"}
    monkeypatch.setattr(hanging_up, "VoiceAPI", partial(VoiceAPI, **urls))
    server.on("/api", Answer(403), Answer(200))
    line = BandwidthFrameSerializer(STREAM, **NEEDED)
    for _ in range(2):
        await line.serialize(EndFrame())
    assert server.paths("/api") == [CALL_PATH] * 2
    async with asyncio.timeout(10):
        await asyncio.gather(*server.tasks)  # connections that are still open


async def test_a_broken_voice_api_does_no_harm(said: list[str]) -> None:
    class Broken(VoiceAPI):
        async def hang_up(self, account_id: str, call_id: str) -> HangUp:
            raise ZeroDivisionError(SECRET)

    line = call(Broken(CLIENT, SECRET))
    assert await line.serialize(EndFrame()) is None
    assert said == [f"{line}: call {CALL} may still be up: hang up failed: ZeroDivisionError"]


def test_a_hang_up_that_the_end_of_the_loop_cuts_off_is_told(said: list[str]) -> None:
    outcomes: list[Outcome] = []

    async def bot() -> None:
        async with http_server() as server:
            server.on("/token", HANG)
            async with voice_api(server) as api:
                line = call(api)
                line.hanging_up.listeners.append(outcomes.append)
                ending = asyncio.create_task(line.serialize(EndFrame()))
                await server.seen("/token")
                ending.cancel()
                await asyncio.gather(ending, return_exceptions=True)
                tasks = [task for task in asyncio.all_tasks() if "_attempt" in repr(task)]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(bot())
    assert len(said) == 1 and said[0].endswith("may still be up: hang-up was cancelled")
    assert [outcome.outcome for outcome in outcomes] == ["cancelled"]
