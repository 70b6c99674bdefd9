"""G.711 against its rule, for every value there is; content types against the documented strings."""

from __future__ import annotations

import numpy as np
import pytest

from pipecat_bandwidth.encodings import (
    FORMATS,
    PCMU,
    WireFormat,
    from_content_type,
    wire_format,
)

#: Upper ends of the eight segments of mu-law, on G.711's 14-bit scale with the bias of 33.
SEGMENT_ENDS = (0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF, 0x1FFF)


def ccitt_encode(sample: int) -> int:
    """Mu-law code of a 16-bit sample, after the CCITT reference: an oracle of its own."""
    magnitude = sample >> 2  # G.711 takes 14 bits; the shift rounds down
    mask = 0xFF
    if magnitude < 0:
        magnitude, mask = -magnitude, 0x7F
    magnitude = min(magnitude, 8159) + 33
    segment = next((n for n, end in enumerate(SEGMENT_ENDS) if magnitude <= end), 8)
    code = 0x7F if segment == 8 else segment << 4 | (magnitude >> (segment + 1)) & 0xF
    return code ^ mask


def ccitt_decode(code: int) -> int:
    """16-bit sample of a mu-law code: the middle of its interval."""
    code = ~code & 0xFF
    magnitude = (((code & 0xF) << 3) + 132 << (code >> 4 & 7)) - 132
    return -magnitude if code & 0x80 else magnitude


def test_every_sample_is_encoded_as_the_rule_says() -> None:
    samples = range(-32768, 32768)
    pcm = np.array(samples, "<i2").tobytes()
    assert PCMU.encode(pcm) == bytes(map(ccitt_encode, samples))


def test_every_code_is_decoded_as_the_rule_says() -> None:
    decoded = np.frombuffer(PCMU.decode(bytes(range(256))), "<i2")
    assert decoded.tolist() == [ccitt_decode(code) for code in range(256)]
    assert (decoded.min(), decoded.max()) == (-32124, 32124)


def test_every_code_but_minus_zero_survives_a_round_trip() -> None:
    codes = bytes(range(256))
    assert PCMU.encode(PCMU.decode(codes)) == codes.replace(b"\x7f", b"\xff")


def test_silence() -> None:
    assert PCMU.encode(bytes(320)) == b"\xff" * 160
    assert PCMU.decode(b"\xff" * 160) == bytes(320)


def test_error_stays_within_half_a_step() -> None:
    samples = np.arange(-32124, 32125, dtype="<i2")
    decoded = np.frombuffer(PCMU.decode(PCMU.encode(samples.tobytes())), "<i2")
    error = np.abs(decoded.astype(int) - samples)
    step = (np.abs(samples.astype(int)) + 132) / 16  # at most: 16 steps between powers of two
    assert (error <= step / 2 + 4).all()  # and two bits fewer to begin with


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
def test_pcm_is_sent_as_it_is(rate: int) -> None:
    form = wire_format("PCM", rate)
    pcm = np.arange(-32768, 32768, dtype="<i2").tobytes()
    assert form.encode(pcm) == pcm
    assert form.decode(pcm) == pcm
    assert form.decode(pcm + b"\1") == pcm


@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_a_streams_encoder_does_the_same(form: WireFormat) -> None:
    rng = np.random.default_rng(4)
    pieces = [rng.bytes(size) for size in (320, 320, 640, 0, 2, 320, 40_000)]
    pieces.append(np.arange(-32768, 32768, dtype="<i2").tobytes())
    encode = form.encoder()
    sent = [encode(piece) for piece in pieces]  # all kept: none may change with the next
    assert sent == [form.encode(piece) for piece in pieces]


@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_encoders_do_not_disturb_each_other(form: WireFormat) -> None:
    one, other = form.encoder(), form.encoder()
    a, b = bytes(320), b"\x12\x34" * 160
    assert [one(a), other(b), one(a), other(b)] == [form.encode(pcm) for pcm in (a, b, a, b)]


def test_a_streams_encoder_refuses_half_a_sample_every_time() -> None:
    encode = PCMU.encoder()
    for _ in range(3):
        with pytest.raises(ValueError, match="multiple of element size"):
            encode(bytes(321))
    assert encode(bytes(320)) == PCMU.encode(bytes(320))


@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_nothing_in_nothing_out(form: WireFormat) -> None:
    assert form.encode(b"") == form.decode(b"") == b""


CONTENT_TYPES = [
    ("PCMU", 8000, "audio/pcmu", 1),
    ("PCM", 8000, "audio/pcm;rate=8000;channels=1;bit-depth=16;endian=little;encoding=signed", 2),
    ("PCM", 16000, "audio/pcm;rate=16000;channels=1;bit-depth=16;endian=little;encoding=signed", 2),
    ("PCM", 24000, "audio/pcm;rate=24000;channels=1;bit-depth=16;endian=little;encoding=signed", 2),
]


@pytest.mark.parametrize(("encoding", "rate", "content_type", "width"), CONTENT_TYPES)
def test_content_types_are_the_documented_strings(
    encoding: str, rate: int, content_type: str, width: int
) -> None:
    form = wire_format(encoding, rate)
    assert (form.content_type, form.bytes_per_sample) == (content_type, width)
    assert from_content_type(content_type) is form
    assert form.duration(bytes(width * rate)) == 1.0


def test_formats_are_complete_and_the_cheapest_comes_first() -> None:
    assert [(form.encoding, form.sample_rate) for form in FORMATS] == [c[:2] for c in CONTENT_TYPES]
    per_second = [form.sample_rate * form.bytes_per_sample for form in FORMATS]
    assert per_second == sorted(per_second)
    assert [str(form) for form in FORMATS] == ["PCMU", "PCM 8 kHz", "PCM 16 kHz", "PCM 24 kHz"]


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        ("AUDIO/PCMU", PCMU),
        (" audio/pcmu ", PCMU),
        (
            "audio/PCM; encoding=signed; endian=little; bit-depth=16; channels=1; rate=16000",
            wire_format("PCM", 16000),
        ),
    ],
)
def test_content_types_are_read_in_any_case_and_order(content_type: str, form: WireFormat) -> None:
    assert from_content_type(content_type) is form


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "audio/pcm",
        "audio/pcma",
        "audio/pcmu;rate=8000",
        "audio/pcm;rate=44100;channels=1;bit-depth=16;endian=little;encoding=signed",
        "audio/pcm;rate=8000;channels=2;bit-depth=16;endian=little;encoding=signed",
        "audio/pcm;rate=8000;channels=1;bit-depth=16;endian=big;encoding=signed",
        "audio/pcm;rate=8000;channels=1;bit-depth=16;endian=little;encoding=signed;x=1",
        "x" * 10_000,
    ],
)
def test_other_content_types_are_refused(content_type: str) -> None:
    with pytest.raises(
        ValueError, match="^unknown content type .*, there are: audio/pcmu"
    ) as caught:
        from_content_type(content_type)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("encoding", "rate"), [("PCMU", 16000), ("PCM", 44100), ("OPUS", 48000), ("pcmu", 8000)]
)
def test_other_formats_are_refused(encoding: str, rate: int) -> None:
    with pytest.raises(ValueError) as caught:
        wire_format(encoding, rate)
    assert str(caught.value) == (
        f"no format {encoding!r} at {rate} Hz, there are: PCMU 8000, PCM 8000, PCM 16000, PCM 24000"
    )
