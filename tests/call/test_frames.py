"""Frames and messages in columns are, one by one, what was read."""

from __future__ import annotations

import numpy as np
import pytest

from pipecat_bandwidth.encodings import PCMU, wire_format
from workbench.call.frames import Frames, FrameWriter, frames_of
from workbench.call.numbers import NumberWriter
from workbench.call.pieces import Decoded, Pieces, PieceWriter, join, laid, sizes
from workbench.call.streams import FrameRecord

RECORDS = [
    FrameRecord(-0.01, "StartFrame", result="none"),
    FrameRecord(0.5, "InputAudioRawFrame", b"\1\2\3\4", 8000, 1, cause=7, took_ms=0.25),
    FrameRecord(0.52, "TTSAudioRawFrame", b"\1\0\3\0\5\0\7\0", 24000, 2),
    FrameRecord(0.54, "TTSAudioRawFrame", b"\1\2\3", 16000, 1),
    FrameRecord(0.56, "TTSAudioRawFrame", b"", 16000, 1),
    FrameRecord(0.58, "TTSAudioRawFrame", b"\1\2", 0, 1),
    FrameRecord(0.6, "InterruptionFrame", cause=None, result="sent", took_ms=1.5),
]


def test_frames_come_back_as_they_were_added():
    frames = frames_of(RECORDS)
    assert list(frames) == RECORDS
    assert [frames[number] for number in range(-len(frames), len(frames))] == RECORDS * 2
    assert list(frames[1:-1:2]) == RECORDS[1:-1:2]
    with pytest.raises(IndexError):
        frames[len(RECORDS)]


def test_columns_say_what_each_frame_says():
    frames = frames_of(RECORDS)
    assert frames.duration.tolist() == [record.duration for record in RECORDS]
    assert frames.has_sound.tolist() == [record.has_sound for record in RECORDS]
    assert frames.is_to_be_sent.tolist() == [record.is_to_be_sent for record in RECORDS]
    assert frames.audio_rates.tolist() == [r.sample_rate for r in RECORDS if r.pcm]
    assert list(frames.without_audio) == [record for record in RECORDS if record.pcm is None]
    assert list(frames.mono) == [record.mono for record in RECORDS]
    spoken = frames.taken(frames.is_to_be_sent)
    assert isinstance(spoken, Frames) and list(spoken) == [r for r in RECORDS if r.is_to_be_sent]


def test_a_cause_that_no_record_can_have_is_none():
    writer = FrameWriter()
    writer.add(FrameRecord(0.0, "InputAudioRawFrame", b"\0\0", 8000, 1, cause=2**70))
    writer.add(FrameRecord(0.0, "InputAudioRawFrame", b"\0\0", 8000, 1, cause=-1))
    assert [frame.cause for frame in writer.frames()] == [None, None]


def test_of_no_frames_there_are_none():
    frames = frames_of([])
    assert not len(frames) and list(frames) == [] and frames.duration.sum() == 0.0
    assert not frames.is_to_be_sent.any()


@pytest.mark.parametrize("count", [0, 1, 9000])
def test_pieces_are_joined_in_order_or_out_of_it(count):
    rng, writer = np.random.default_rng(3), PieceWriter()
    given = [rng.bytes(2 * int(rng.integers(0, 40))) for _ in range(count)]
    for piece in given:
        writer.add(piece)
    pieces = writer.pieces()
    assert list(pieces) == given and len(pieces) == count
    assert sizes(pieces).tolist() == list(map(len, given))
    for which in (
        np.arange(count),
        np.arange(count)[::-3],
        np.flatnonzero(rng.random(count) < 0.5),
    ):
        picked = [given[index] for index in which.tolist()]
        assert join(pieces, which) == b"".join(picked) == join(given, which)
        assert laid(pieces.taken(which)).tobytes() == b"".join(picked)
        assert list(pieces.taken(which)) == picked


def test_pieces_that_are_decoded_are_those_of_their_formats():
    formats = [PCMU, wire_format("PCM", 16000)] * 3
    payloads = [bytes([255, 127, 0]), b"\1\2\3\4"] * 3
    decoded = Decoded(formats, payloads, np.array([0, 1, 4]))
    wanted = [formats[index].decode(payloads[index]) for index in (0, 1, 4)]
    assert list(decoded) == wanted and decoded[1] == wanted[1] and list(decoded[1:]) == wanted[1:]
    assert decoded.size.tolist() == list(map(len, wanted))
    assert isinstance(Pieces(np.empty(0, np.uint8), np.empty(0, int), np.empty(0, int))[:0], Pieces)


def test_a_number_that_came_twice_means_the_last_message():
    writer = NumberWriter()
    for number in (5, 2, 9, 5):
        writer.add(number)
    numbers = writer.numbers()
    assert dict(numbers) == {2: 1, 5: 3, 9: 2}
    assert numbers.get(3) is None and 9 in numbers and 10 not in numbers
    assert numbers.indices(np.array([9, 5, 1, 3, 99])).tolist() == [2, 3, -1, -1, -1]
    assert NumberWriter().numbers().indices(np.array([1, 2])).tolist() == [-1, -1]
