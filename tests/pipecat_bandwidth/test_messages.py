"""The wire protocol: one table of values and texts, read both ways, and its broken twins."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipecat_bandwidth.exceptions import ProtocolError
from pipecat_bandwidth.messages import (
    MAX_MESSAGE_SIZE,
    Clear,
    Media,
    Message,
    Other,
    PlayAudio,
    Start,
    Stop,
    Track,
    encode,
    parse,
    play_audio_writer,
)

ACCOUNT = "9900000"
CALL = "c-15ac29a2-1331029c-2cb0-4a07-b215-b22865662d85"
STREAM = "s-2a913f94-93e372e2-60da-4c89-beb0-0d3a219b287c"
PCM = "audio/pcm;rate=24000;channels=1;bit-depth=16;endian=little;encoding=signed"
SILENCE = b"\xff" * 160
#: As in live messages: no spaces, ``eventType`` last.
METADATA = (
    f'{{"accountId":"{ACCOUNT}","callId":"{CALL}","streamId":"{STREAM}","streamName":"agent",'
    '"tracks":[{"name":"inbound","mediaFormat":{"encoding":"PCMU","sampleRate":8000}}]}'
)

CASES: list[tuple[Message, str]] = [
    (
        Start(STREAM, CALL, ACCOUNT, "agent", (Track("inbound", "PCMU", 8000),)),
        f'{{"metadata":{METADATA},"eventType":"start"}}',
    ),
    (
        Start(STREAM, CALL, ACCOUNT, "agent", (Track("inbound"),), {"token": "abc", "é": "😀"}),
        f'{{"metadata":{METADATA},"streamParams":{{"token":"abc","\\u00e9":"\\ud83d\\ude00"}},'
        '"eventType":"start"}',
    ),
    (
        Start(STREAM, CALL, ACCOUNT, "", (Track("inbound"), Track("outbound"))),
        f'{{"metadata":{{"accountId":"{ACCOUNT}","callId":"{CALL}","streamId":"{STREAM}",'
        '"streamName":"","tracks":['
        '{"name":"inbound","mediaFormat":{"encoding":"PCMU","sampleRate":8000}},'
        '{"name":"outbound","mediaFormat":{"encoding":"PCMU","sampleRate":8000}}]},'
        '"eventType":"start"}',
    ),
    (
        Media(SILENCE, "inbound", "1"),
        f'{{"track":"inbound","payload":"{"/" * 212 + "/w=="}","sequenceNumber":"1",'
        '"eventType":"media"}',
    ),
    (Media(b"\x00\x01\x02", "outbound", 7), '{"track":"outbound","payload":"AAEC",'
     '"sequenceNumber":7,"eventType":"media"}'),
    (Media(b""), '{"payload":"","eventType":"media"}'),
    (
        Stop(STREAM, CALL),
        f'{{"metadata":{{"callId":"{CALL}","streamId":"{STREAM}"}},"eventType":"stop"}}',
    ),
    (
        PlayAudio("audio/pcmu", b"\xff\x7f"),
        '{"eventType":"playAudio","media":{"contentType":"audio/pcmu","payload":"/38="}}',
    ),
    (
        PlayAudio(PCM, b"\x00\x80\xff\x7f"),
        f'{{"eventType":"playAudio","media":{{"contentType":"{PCM}","payload":"AID/fw=="}}}}',
    ),
    (PlayAudio('a"b\\\n', b""), r'{"eventType":"playAudio","media":{"contentType":"a\"b\\\n",'
     '"payload":""}}'),
    (Clear(), '{"eventType":"clear"}'),
]  # fmt: skip


@pytest.mark.parametrize(("message", "wire"), CASES)
def test_parse(message: Message, wire: str) -> None:
    assert parse(wire) == message
    assert parse(wire.encode()) == message


@pytest.mark.parametrize(("message", "wire"), CASES)
def test_encode(message: Message, wire: str) -> None:
    assert encode(message) == wire


def test_play_audio_is_written_the_same_way_without_a_message() -> None:
    for message, wire in CASES:
        if isinstance(message, PlayAudio):
            assert play_audio_writer(message.content_type, bytes)(message.payload) == wire


@pytest.mark.parametrize(("message", "wire"), CASES)
def test_order_of_keys_spaces_and_unknown_keys_do_not_matter(message: Message, wire: str) -> None:
    fields = json.loads(wire)
    backwards = {"later": [1, {"x": None}], **dict(reversed(fields.items()))}
    assert parse(json.dumps(backwards, indent=3)) == message


LENIENT: list[tuple[str, Message]] = [
    ('{"metadata":{},"eventType":"start"}', Start()),
    ('{"metadata":{"streamId":7,"callId":null,"tracks":"x"},"eventType":"start"}', Start()),
    ('{"metadata":{"accountId":9900000},"eventType":"start"}', Start(account_id="9900000")),
    ('{"metadata":{"accountId":true},"eventType":"start"}', Start()),
    (
        '{"metadata":{"tracks":["inbound",5,{"name":7},{"name":"outbound"}]},"eventType":"start"}',
        Start(tracks=(Track("inbound"), Track("outbound", "", 0))),
    ),
    (
        '{"metadata":{"tracks":[{"name":"inbound","mediaFormat":'
        '{"encoding":"audio/pcmu","sampleRate":"8000"}}]},"eventType":"start"}',
        Start(tracks=(Track("inbound", "PCMU", 0),)),
    ),
    (
        '{"metadata":{},"streamParams":{"a":"b","c":5},"eventType":"start"}',
        Start(stream_params={"a": "b"}),
    ),
    ('{"metadata":{},"streamParams":[1],"eventType":"start"}', Start()),
    ('{"metadata":{"streamId":"s"},"eventType":"stop"}', Stop("s")),
    *(
        (
            '{"metadata":{"tracks":[{"name":"inbound","mediaFormat":'
            f'{{"encoding":"PCMU","sampleRate":{rate}}}}}]}},"eventType":"start"}}',
            Start(tracks=(Track("inbound", "PCMU", read),)),
        )
        for rate, read in [
            (1, 1), (999_999, 999_999), (10**6, 0), (0, 0), (-8000, 0), ("9" * 4299, 0), (8000.0, 0), ("true", 0),
        ]
    ),
    ('{"eventType":"mark","name":"x"}', Other("mark")),
    ('{"eventType":"%s"}' % ("x" * 1000), Other("x" * 64)),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "message"), LENIENT)
def test_what_is_not_needed_may_be_wrong(wire: str, message: Message) -> None:
    assert parse(wire) == message


def test_what_is_kept_of_a_start_is_bounded() -> None:
    tracks = [{"name": "n" * 1000}, "m" * 1000] * 20
    metadata = {"streamId": "s" * 1000, "callId": "c" * 1000, "tracks": tracks}
    start = parse(json.dumps({"eventType": "start", "metadata": metadata}))
    assert isinstance(start, Start)
    assert (len(start.stream_id), len(start.call_id), len(start.tracks)) == (256, 256, 16)
    assert {len(track.name) for track in start.tracks} == {64}


BAD: list[tuple[str | bytes, str]] = [
    ("", "not JSON (DecodeError)"),
    (b"", "not JSON (DecodeError)"),
    ("{", "not JSON (DecodeError)"),
    ("\ufeff{}", "not JSON (DecodeError)"),
    (b"\xff\xff\xff", "not JSON (DecodeError)"),
    ("\ud800", "not JSON (UnicodeEncodeError)"),
    ("[" * 50_000, "not JSON (RecursionError)"),
    ('{"eventType":"media","payload":"","x":' + "[" * 50_000, "not JSON (RecursionError)"),
    ('{"eventType":"clear","x":NaN}', "not JSON (DecodeError)"),
    ("[]", "not a JSON object but list"),
    ("null", "not a JSON object but NoneType"),
    ("7", "not a JSON object but int"),
    ('"media"', "not a JSON object but str"),
    ("true", "not a JSON object but bool"),
    ("{}", "no eventType"),
    ('{"eventType":5}', "no eventType"),
    ('{"eventType":""}', "no eventType"),
    ('{"event":"media","media":{"payload":""}}', "no eventType"),
    ('{"type":"ping","payload":"/38="}', "no eventType"),
    ('{"eventType":"start"}', "bad start: metadata is not an object"),
    ('{"eventType":"start","metadata":[]}', "bad start: metadata is not an object"),
    ('{"eventType":"stop","metadata":null}', "bad stop: metadata is not an object"),
    ('{"eventType":"media"}', "bad media: Object missing required field `payload`"),
    (
        '{"eventType":"media","payload":null}',
        "bad media: Expected `bytes`, got `null` - at `$.payload`",
    ),
    (
        '{"eventType":"media","payload":[1]}',
        "bad media: Expected `bytes`, got `array` - at `$.payload`",
    ),
    (
        '{"eventType":"media","payload":"","track":5}',
        "bad media: Expected `str | null`, got `int` - at `$.track`",
    ),
    ('{"eventType":"playAudio"}', "bad playAudio: Object missing required field `media`"),
    (
        '{"eventType":"playAudio","media":{"payload":""}}',
        "bad playAudio: Object missing required field `contentType` - at `$.media`",
    ),
]

NOT_BASE64 = [
    "A",
    "AA=",
    "AA",
    "AAAA=",
    "AA==AA==",
    "AA AA===",
    "AA\nAA",
    "!!!!",
    "__--",
    "AAA\u00e4",
    "====",
    " AAAA",
]


def shortened(text: object) -> str:
    return repr(text)[:40]


@pytest.mark.parametrize(("wire", "reason"), BAD, ids=shortened)
def test_bad_messages_are_refused_with_their_reason(wire: str | bytes, reason: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(wire)
    assert str(caught.value) == reason


@pytest.mark.parametrize("payload", NOT_BASE64)
def test_base64_is_strict(payload: str) -> None:
    with pytest.raises(ProtocolError, match="^bad media: Invalid base64 encoded string"):
        parse(json.dumps({"eventType": "media", "payload": payload}))


@pytest.mark.parametrize("data", [None, 7, ["x"], object()])
def test_only_text_is_a_message(data: object) -> None:
    with pytest.raises(ProtocolError, match=f"^a message is text, not {type(data).__name__}$"):
        parse(data)


def test_size_is_limited() -> None:
    def media(size: int) -> str:
        empty = len(encode(Media(b"")))
        return encode(Media(bytes((size - empty) // 4 * 3)))

    assert isinstance(parse(media(MAX_MESSAGE_SIZE)), Media)
    large = media(10_000_000)
    with pytest.raises(ProtocolError) as caught:
        parse(large)
    assert str(caught.value) == f"message of {len(large)} characters, at most 65536 are read"
    assert isinstance(parse(large, max_size=len(large)), Media)


def test_the_largest_legal_start_is_read() -> None:
    """Bandwidth allows twelve stream parameters of 256 and 2048 characters."""
    parameters = {f"{n:02}" + "n" * 254: "\u00e9" * 2048 for n in range(12)}
    start = Start(STREAM, CALL, ACCOUNT, "agent", (Track("inbound"),), parameters)
    live = json.dumps(json.loads(encode(start)), ensure_ascii=False)  # as Bandwidth writes it
    assert parse(live) == parse(encode(start), max_size=10**6) == start


def broken(wire: str) -> Iterator[str]:
    """Cut, pad and corrupt a good text."""
    yield from (wire[:length] for length in range(len(wire)))
    yield wire + "x"
    yield wire + wire
    yield wire.replace('"', "'")
    yield wire.replace(":", "=", 1)
    yield "\0" + wire


@pytest.mark.parametrize("wire", [wire for _, wire in CASES], ids=shortened)
def test_broken_twins_are_refused(wire: str) -> None:
    for twin in broken(wire):
        with pytest.raises(ProtocolError):
            parse(twin)


SEQUENCES = [
    ("1", 1),
    ("007", 7),
    (12, 12),
    (0, 0),
    ("999999999999999999", 10**18 - 1),
    ("1" * 19, None),
    (10**18, None),
    (-1, None),
    ("-1", None),
    ("+1", None),
    (" 1", None),
    ("1_0", None),
    ("\u0661", None),
    ("", None),
    (1.0, None),
    (True, None),
    (None, None),
    ([1], None),
    ({"a": 1}, None),
]


@pytest.mark.parametrize(("written", "number"), SEQUENCES)
def test_sequence_numbers_are_read_leniently_and_never_needed(
    written: object, number: int | None
) -> None:
    wire = json.dumps({"eventType": "media", "payload": "AAEC", "sequenceNumber": written})
    message = parse(wire)
    assert isinstance(message, Media)
    assert (message.sequence, message.payload) == (number, b"\0\1\2")


@pytest.mark.parametrize(
    ("track", "inbound"), [(None, True), ("inbound", True), ("outbound", False), ("", False)]
)
def test_a_missing_track_is_the_callers(track: str | None, inbound: bool) -> None:
    assert Media(b"", track).is_inbound is inbound


def test_a_start_shows_the_names_of_its_parameters_and_no_values() -> None:
    start = Start(STREAM, stream_params={"token": "SECRET", "user": "SECRET"})
    assert repr(start) == (
        f"Start(stream_id={STREAM!r}, call_id='', account_id='', stream_name='', tracks=(), "
        "stream_params=['token', 'user'])"
    )
    assert "SECRET" not in f"{start} {list(start.__rich_repr__())}"


def test_messages_show_sizes_and_no_audio() -> None:
    assert repr(Media(SILENCE, "inbound", "5")) == "Media(inbound, #5, 160 bytes)"
    assert repr(PlayAudio("audio/pcmu", SILENCE)) == "PlayAudio('audio/pcmu', 160 bytes)"


@pytest.mark.parametrize("thing", [Other("mark"), None, "text", {"eventType": "clear"}])
def test_what_is_not_a_message_of_ours_is_not_encoded(thing: object) -> None:
    with pytest.raises(ValueError, match=f"^cannot encode {type(thing).__name__}$"):
        encode(thing)


# -- properties --------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)
texts = st.text(max_size=30)
messages = st.one_of(
    st.builds(Media, st.binary(max_size=400), st.none() | texts, st.none() | texts | st.integers()),
    st.builds(PlayAudio, texts, st.binary(max_size=400)),
    st.builds(Stop, texts, texts),
    st.builds(
        Start,
        texts,
        texts,
        texts,
        texts,
        st.lists(
            st.builds(Track, texts, st.sampled_from(["PCMU", "PCMA", ""]), st.integers(0, 96000)),
            max_size=4,
        ).map(tuple),
        st.dictionaries(texts, texts, max_size=3),
    ),
    st.just(Clear()),
)


def is_ours(data: str | bytes) -> bool:
    try:
        return isinstance(parse(data), Message)
    except ProtocolError:
        return True


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_nothing_but_a_protocol_error_comes_of_any_text(data: str | bytes) -> None:
    assert is_ours(data)


@given(json_values)
def test_nothing_but_a_protocol_error_comes_of_any_json(value: object) -> None:
    assert is_ours(json.dumps(value))


@given(
    st.sampled_from(["start", "media", "stop", "playAudio", "clear", "other"]),
    st.dictionaries(
        st.sampled_from(
            ["metadata", "payload", "track", "sequenceNumber", "media", "streamParams", "x"]
        ),
        json_values,
    ),
)
def test_nothing_but_a_protocol_error_comes_of_wrong_fields(kind: str, fields: dict) -> None:
    assert is_ours(json.dumps({**fields, "eventType": kind}))


@given(messages)
def test_parse_is_the_inverse_of_encode(message: Message) -> None:
    wire = encode(message)
    assert parse(wire) == message
    assert wire.isascii()


@given(st.binary(max_size=2000))
def test_base64_is_the_standard_one(payload: bytes) -> None:
    fields = json.loads(encode(PlayAudio("audio/pcmu", payload)))
    assert base64.b64decode(fields["media"]["payload"], validate=True) == payload
