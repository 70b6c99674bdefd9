"""What other people's programs make of an export; Wireshark's command line is the judge of RTP."""

from __future__ import annotations

import csv
import errno
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path
from time import monotonic_ns
from typing import Any

import numpy as np
import pytest
import soundfile

from pipecat_bandwidth.encodings import FORMATS, PCMU, WireFormat, wire_format
from pipecat_bandwidth.messages import Clear, Media, PlayAudio, Start, Stop, Track, encode
from tests.captures import Scene, speech
from workbench.audio import Audio
from workbench.call import SIGNALS, Call
from workbench.capture import CaptureReader, CaptureWriter, Invalid
from workbench.diagnosis import Finding, Part
from workbench.exports import (
    _SUFFIXES,
    export,
    pcapng,
    tables,
    write_audio,
    write_csv,
    write_findings,
    write_labels,
    write_pcap,
)
from workbench.exports.tables import _cells

MEDIA = 0.020
ANCHOR_NS = monotonic_ns() // 10**9 * 10**9 + 123


@pytest.fixture(scope="module")
def tshark() -> str:
    path = shutil.which("tshark")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("tshark is not installed, and CI is to have it")
        pytest.skip("tshark is not installed (apt-get install tshark)")
    return path


def read_with(tshark: str, path: Path, *arguments: str) -> str:
    """Run tshark on a file, with every checksum verified."""
    checks = ("-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE")
    run = subprocess.run(
        [tshark, "-n", "-r", str(path), *checks, *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "damaged" not in run.stderr and "cut short" not in run.stderr, run.stderr
    return run.stdout


def fields(tshark: str, path: Path, where: str, *names: str) -> list[list[str]]:
    wanted = [argument for name in names for argument in ("-e", name)]
    out = read_with(tshark, path, "-Y", where, "-T", "fields", *wanted)
    return [line.split("\t") for line in out.splitlines()]


def record(
    path: Path,
    received: Iterable[tuple[float, Any]] = (),
    sent: Iterable[tuple[float, Any]] = (),
    *,
    call_id: str = "c-1",
    start: Start | None = None,
    length: float | None = None,
) -> Call:
    """Write a capture: messages at their times, between a ``start`` at 0 and perhaps a ``stop``."""
    start = start or Start("s-1", call_id, "99", "agent", (Track("inbound"),))
    rows = [(0.0, "/ws/rx", start), *((t, "/ws/rx", m) for t, m in received)]
    rows += [(t, "/ws/tx", m) for t, m in sent]
    if length is not None:
        rows.append((length, "/ws/rx", Stop("s-1", call_id)))
    writer = CaptureWriter(path, call={"call_id": call_id}, max_records=10**6, max_bytes=2**30)
    for time, topic, message in sorted(rows, key=lambda row: row[0]):
        body = message if isinstance(message, Invalid) else encode(message)
        topic = topic + "/invalid" if isinstance(message, Invalid) else topic
        writer.record(topic, ANCHOR_NS + round(time * 1e9), body)
    writer.close()
    return Call.open(path)


def payload_of(number: int) -> bytes:
    """20 ms of mu-law that differ from message to message."""
    return np.random.default_rng(number).integers(0, 256, 160, np.uint8).tobytes()


def media(number: int) -> Media:
    return Media(payload_of(number), "inbound", str(number))


def tone(seconds: float, wire: WireFormat = PCMU) -> bytes:
    t = np.arange(round(seconds * wire.sample_rate)) / wire.sample_rate
    samples = (0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    return wire.encode(Audio(samples, wire.sample_rate).pcm())


# -- RTP statistics --------------------------------------------------------------------------------

COUNT = 1500


def clean(rng: np.random.Generator, jitter_ms: float = 0.0) -> list[tuple[float, int]]:
    """Arrivals as (time, number): 30 s of messages."""
    late = np.abs(rng.standard_normal(COUNT)) * jitter_ms / 1000
    times = 0.1 + np.arange(COUNT) * MEDIA + late
    return sorted(zip(times.tolist(), range(1, COUNT + 1), strict=True))


def with_losses(rng: np.random.Generator) -> list[tuple[float, int]]:
    lost = set(rng.choice(np.arange(2, COUNT), 29, replace=False).tolist())
    lost |= set(range(700, 712))
    return [row for row in clean(rng, 3) if row[1] not in lost]


def with_bursts(rng: np.random.Generator) -> list[tuple[float, int]]:
    """What TCP does when it repeats a segment: nothing for a while, then all of it at once."""
    arrivals = []
    for time, number in clean(rng, 1):
        held = np.ceil(time / 1.0) if time % 1.0 > 0.8 else time
        arrivals.append((max(held + number * 1e-6, time), number))
    return sorted(arrivals)


def with_a_stall(rng: np.random.Generator) -> list[tuple[float, int]]:
    return [(max(t, 11.0 + n * 1e-5) if t > 10 else t, n) for t, n in clean(rng, 1)]


def reordered(rng: np.random.Generator) -> list[tuple[float, int]]:
    arrivals = clean(rng, 1)
    for at in range(50, COUNT - 50, 70):
        (t1, n1), (t2, n2) = arrivals[at : at + 2]
        arrivals[at : at + 2] = [(t1, n2), (t2, n1)]
    return arrivals


def duplicated(rng: np.random.Generator) -> list[tuple[float, int]]:
    arrivals = clean(rng, 3)
    return sorted(arrivals + [(t + 0.004, n) for t, n in arrivals[100:1100:100]])


def wrapping(rng: np.random.Generator) -> list[tuple[float, int]]:
    """Numbers that exceed what an RTP header holds, some of them lost on the way."""
    lost = {*range(900, 920), 30, 1200}
    return [(t, n + 65_000) for t, n in clean(rng, 3) if n not in lost]


def everything(rng: np.random.Generator) -> list[tuple[float, int]]:
    lost = set(range(300, 310)) | {500, 1000}
    arrivals = [row for row in with_bursts(rng) if row[1] not in lost]
    return sorted(arrivals + [(t + 0.0015, n) for t, n in arrivals[50:COUNT:200]])


FAULTS = {
    "clean": clean,
    "jitter": lambda rng: clean(rng, 6),
    "losses": with_losses,
    "bursts": with_bursts,
    "a stall": with_a_stall,
    "reordering": reordered,
    "duplicates": duplicated,
    "sequence wrap": wrapping,
    "everything": everything,
}


def rtp_statistics(arrivals: list[tuple[float, int]]) -> dict[str, float]:
    """RFC 3550, appendices A.3 and A.8, in milliseconds, from what was planted and nothing else.

    As tshark does it, the mean jitter leaves out the first packet.
    """
    jitter, spread, deltas = 0.0, [], []
    for (before, last), (now, number) in zip(arrivals, arrivals[1:], strict=False):
        transit = (now - before) - (number - last) * MEDIA
        jitter += (abs(transit) * 1000 - jitter) / 16
        spread.append(jitter)
        deltas.append((now - before) * 1000)
    numbers = [number for _, number in arrivals]
    return {
        "packets": len(arrivals),
        "lost": max(numbers) - min(numbers) + 1 - len(numbers),
        "max_delta": max(deltas),
        "mean_jitter": float(np.mean(spread)),
        "max_jitter": max(spread),
    }


def tshark_streams(tshark: str, path: Path) -> dict[str, dict[str, float]]:
    """The table of Telephony > RTP Streams, by SSRC."""
    found = {}
    for line in read_with(tshark, path, "-q", "-z", "rtp,streams").splitlines():
        row = re.match(
            r"\s*\S+\s+\S+\s+192\.0\.2\.\d\s+\d+\s+192\.0\.2\.\d\s+\d+\s+(0x\w+)\s+(.+?)\s+(\d+)"
            r"\s+(-?\d+) \(\S+\)\s+" + r"\s+".join([r"(-?[\d.]+)"] * 6),
            line,
        )
        if row:
            ssrc, kind, packets, lost, *times = row.groups()
            names = ("min_delta", "mean_delta", "max_delta", "min_jitter", "mean_jitter")
            numbers = dict(zip((*names, "max_jitter"), map(float, times), strict=True))
            found[ssrc] = {"packets": int(packets), "lost": int(lost), **numbers}
            assert kind == "g711U"
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_tshark_measures_what_was_planted_and_so_does_the_call(
    tshark: str, tmp_path: Path, fault: str
) -> None:
    arrivals = FAULTS[fault](np.random.default_rng(5))
    call = record(tmp_path / "call.mcap", [(t, media(n)) for t, n in arrivals])
    write_pcap(call, tmp_path / "call.pcapng")
    (theirs,) = tshark_streams(tshark, tmp_path / "call.pcapng").values()
    ours = rtp_statistics(arrivals)
    assert (theirs["packets"], theirs["lost"]) == (ours["packets"], ours["lost"])
    for name in ("max_delta", "mean_jitter", "max_jitter"):
        assert theirs[name] == pytest.approx(ours[name], abs=0.002), name
    # A message that came twice makes up for a lost one in RTP's count.
    assert call.stats["lost_messages"] - call.stats["duplicates"] == theirs["lost"]
    assert call.stats["max_delta_ms"] == pytest.approx(theirs["max_delta"], abs=1)
    assert call.stats["jitter_ms"] == pytest.approx(theirs["mean_jitter"], abs=1)
    assert call.stats["max_jitter_ms"] == pytest.approx(theirs["max_jitter"], abs=1)


# -- the pcap --------------------------------------------------------------------------------------


def test_a_sender_whose_numbers_start_anew_goes_on_without_a_gap(
    tshark: str, tmp_path: Path
) -> None:
    arrivals = [
        (t, Media(payload_of(n), "inbound", str(n if n <= 900 else n - 900)))
        for t, n in clean(np.random.default_rng(5), 1)
    ]
    call = record(tmp_path / "call.mcap", arrivals)
    write_pcap(call, tmp_path / "call.pcapng")
    (theirs,) = tshark_streams(tshark, tmp_path / "call.pcapng").values()
    assert (theirs["packets"], theirs["lost"]) == (COUNT, 0)
    assert theirs["max_jitter"] < 3


def test_inbound_packets_are_what_arrived_to_the_nanosecond(tshark: str, tmp_path: Path) -> None:
    arrivals = [(0.1, 65534), (0.120000007, 65535), (0.140000031, 65536), (0.181, 65538)]
    call = record(tmp_path / "call.mcap", [(t, media(n)) for t, n in arrivals])
    write_pcap(call, tmp_path / "call.pcapng")
    names = ("frame.time_epoch", "rtp.seq", "rtp.timestamp", "rtp.payload", "frame.comment")
    rows = fields(tshark, tmp_path / "call.pcapng", "rtp", *names)
    assert [row[1:3] for row in rows] == [
        ["65534", "0"], ["65535", "160"], ["0", "320"], ["2", "640"],
    ]  # fmt: skip
    assert [bytes.fromhex(row[3]) for row in rows] == [payload_of(n) for _, n in arrivals]
    assert [row[4] for row in rows] == ["", "", "", "1 missing before this one"]
    with CaptureReader(call.path) as reader:
        stamps = [r.time_ns for r in reader.records("/ws/rx")][1:]
    assert [int(row[0].replace(".", "")) for row in rows] == stamps
    assert np.diff(stamps).tolist() == [20_000_007, 20_000_024, 40_999_969]


def test_outbound_is_a_stream_with_a_marker_and_its_pauses(tshark: str, tmp_path: Path) -> None:
    wire = wire_format("PCM", 24000)
    said = tone(0.92, wire) + bytes(round(0.08 * 24000) * 2)  # a voice does not stop at full sound
    size = len(said) // 25
    sent: list[tuple[float, Any]] = []
    for begin in (0.5, 5.5, 7.0):  # pauses of 4 s and of 0.5 s
        for index in range(25):
            piece = PlayAudio(wire.content_type, said[index * size : (index + 1) * size])
            sent.append((begin + index * 0.040 + 0.001 * (index % 2), piece))
    call = record(tmp_path / "call.mcap", sent=sent, length=9)
    write_pcap(call, tmp_path / "call.pcapng")
    (stream,) = tshark_streams(tshark, tmp_path / "call.pcapng").values()
    assert (stream["packets"], stream["lost"]) == (75, 0)
    assert stream["max_delta"] == pytest.approx(41, abs=0.01)  # tshark leaves out what is marked
    assert stream["max_jitter"] < 1.1  # 250 ms if the timestamps did not know of the pauses
    rows = fields(
        tshark, tmp_path / "call.pcapng", "rtp", "rtp.seq", "rtp.marker", "rtp.timestamp",
        "rtp.payload", "ip.src", "frame.packet_flags_direction",
    )  # fmt: skip
    assert [row[0] for row in rows] == [str(number) for number in range(1, 76)]
    assert [index for index, row in enumerate(rows) if row[1] == "1"] == [0, 25, 50]
    # Each utterance lost 1 ms to its own jitter; what is played late is not made up for.
    assert [int(rows[index][2]) for index in (0, 25, 50)] == [0, 39_992, 51_984]
    assert {tuple(row[4:]) for row in rows} == {("192.0.2.2", "0x00000002")}
    payload = b"".join(bytes.fromhex(row[3]) for row in rows[:25])
    heard = np.frombuffer(PCMU.decode(payload), "<i2") / 32768
    t = np.arange(8000) / 8000
    assert len(heard) == 8000
    assert np.abs(heard - 0.3 * np.sin(2 * np.pi * 440 * t))[80:7200].max() < 0.012


def test_what_is_cleared_is_made_up_for_by_the_pause_after_it(tshark: str, tmp_path: Path) -> None:
    """A bot 80 ms ahead of real time: each interruption throws those away."""
    sent: list[tuple[float, Any]] = []
    for begin in (1.0, 3.0, 5.0):
        piece = PlayAudio(PCMU.content_type, tone(0.04))
        sent += [(begin + max(0.0, i * 0.04 - 0.08), piece) for i in range(26)]
        sent.append((begin + 0.96, Clear()))  # of 1.04 s
    call = record(tmp_path / "call.mcap", sent=sent, length=7)
    write_pcap(call, tmp_path / "call.pcapng")
    rows = fields(tshark, tmp_path / "call.pcapng", "rtp.marker == 1", "rtp.ssrc", "rtp.timestamp")
    assert rows == [["0x00000b07", str(16_000 * index)] for index in range(3)]


def test_a_burst_that_was_cleared_leaves_no_lead_behind(tshark: str, tmp_path: Path) -> None:
    """Ten seconds sent at once and cleared after one: the next utterance is not 7 s early."""
    burst = [(1.0 + i * 1e-3, PlayAudio(PCMU.content_type, tone(1.0))) for i in range(10)]
    later = [(4.0 + i * 0.02, PlayAudio(PCMU.content_type, tone(0.02))) for i in range(10)]
    call = record(tmp_path / "call.mcap", sent=[*burst, (2.0, Clear()), *later], length=5)
    write_pcap(call, tmp_path / "call.pcapng")
    names = ("rtp.ssrc", "rtp.marker", "rtp.timestamp")
    rows = fields(tshark, tmp_path / "call.pcapng", "rtp", *names)
    assert [row[0] for row in rows] == ["0x00000b07"] * 10 + ["0x00000b08"] * 10
    assert [row[1] for row in rows] == ["1"] + ["0"] * 9 + ["1"] + ["0"] * 9
    assert [int(row[2]) for row in rows[:10]] == [8000 * i for i in range(10)]
    assert np.diff([int(row[2]) for row in rows[10:]]).tolist() == [160] * 9


def test_a_short_silence_is_jitter_and_no_new_utterance(tshark: str, tmp_path: Path) -> None:
    beep = tone(0.2)[:-400] + PCMU.encode(bytes(800))  # 50 ms of silence: a pause, not a hole
    sent = [(at, PlayAudio(PCMU.content_type, beep)) for at in (1.0, 1.3, 1.62)]
    call = record(tmp_path / "call.mcap", sent=sent, length=3)
    write_pcap(call, tmp_path / "call.pcapng")
    rows = fields(tshark, tmp_path / "call.pcapng", "rtp", "rtp.marker", "rtp.timestamp")
    assert rows == [["1", "0"], ["0", "1600"], ["1", str(3200 + 960)]]


def test_wireshark_finds_a_call_and_nothing_wrong_with_it(tshark: str, tmp_path: Path) -> None:
    sent = [(0.3 + i * 0.02, PlayAudio(PCMU.content_type, tone(0.02))) for i in range(20)]
    received = [(0.1 + i * MEDIA, media(i + 1)) for i in range(50)]
    call = record(tmp_path / "call.mcap", received, [*sent, (0.5, Clear())], length=1.2)
    path = tmp_path / "call.pcapng"
    write_pcap(call, path)
    sip = fields(tshark, path, "sip", "sip.Method", "sip.Status-Code", "sip.Call-ID", "sdp.media")
    audio = "audio {} RTP/AVP 0"
    assert sip == [
        ["INVITE", "", "c-1", audio.format(40000)],
        ["", "200", "c-1", audio.format(50000)],
        ["ACK", "", "c-1", ""],
        ["BYE", "", "c-1", ""],
        ["", "200", "c-1", ""],
    ]
    setup = fields(tshark, path, "rtp", "rtp.setup-method")
    assert {tuple(row) for row in setup} == {("SDP",)}
    assert len(tshark_streams(tshark, path)) == 2
    assert fields(tshark, path, "_ws.malformed || _ws.expert", "frame.number") == []
    right = "ip.checksum.status == 1 && udp.checksum.status == 1"
    assert len(fields(tshark, path, right, "frame.number")) == 5 + 50 + 20
    assert len(fields(tshark, path, "json", "frame.number")) == 1 + 50 + 20 + 1 + 1
    clears = fields(
        tshark, path, 'json.value.string == "clear"', "frame.interface_name", "frame.time_relative"
    )
    assert len(clears) == 1
    assert clears[0][0] == "WebSocket messages"
    assert float(clears[0][1]) == pytest.approx(0.503, abs=1e-6)  # the INVITE is 3 ms before 0
    resolved = subprocess.run(
        [tshark, "-r", path, "-Y", "sip", "-N", "n"], capture_output=True, text=True, check=True
    ).stdout
    assert "bandwidth" in resolved and "bot" in resolved
    assert b"Synthesised from a capture" in path.read_bytes()[:400]


def test_no_secret_and_no_line_break_gets_into_a_pcap(tshark: str, tmp_path: Path) -> None:
    """As another program might have written the capture: not redacted, and a hostile id."""
    params = {"token": "hunter2-hunter2", "language": "en"}
    start = Start("s-1", "c-1", "99", "agent", (Track("inbound"),), params)
    call = record(
        tmp_path / "call.mcap", [(0.1, media(1))], start=start,
        call_id="c-1\r\nAuthorization: Basic aHVudGVyMg==\r\n\u00e9",
    )  # fmt: skip
    path = tmp_path / "call.pcapng"
    write_pcap(call, path)
    assert b"hunter2" not in path.read_bytes()
    first = fields(tshark, path, "json", "json.key")[0][0].split(",")
    assert {"streamParams", "token", "language"} <= set(first)
    assert fields(tshark, path, "sip.auth || sip.Authorization", "frame.number") == []
    assert fields(tshark, path, "sip.Method == INVITE", "sip.Call-ID") == [
        ["c-1AuthorizationBasicaHVudGVyMg"]
    ]


@pytest.mark.parametrize("wire", FORMATS, ids=str)
def test_messages_of_any_length_can_be_read(tshark: str, tmp_path: Path, wire: WireFormat) -> None:
    """9 s of 24 kHz are 576 KB of JSON and 72 KB of PCMU: too much for a packet, twice over."""
    sent = [(1.0, PlayAudio(wire.content_type, tone(9.0, wire))), (10.0, Clear())]
    call = record(tmp_path / "call.mcap", sent=sent)
    write_pcap(call, tmp_path / "call.pcapng")
    names = ("rtp.timestamp", "udp.length", "rtp.marker")
    rows = fields(tshark, tmp_path / "call.pcapng", "rtp", *names)
    length = str(8 + 12 + 8000)
    assert rows == [[str(8000 * second), length, str(int(not second))] for second in range(9)]
    assert fields(tshark, tmp_path / "call.pcapng", 'json.value.string == "clear"', "frame.number")


@pytest.mark.parametrize("what", ["cut", "only a start", "nothing", "foreign"])
def test_a_pcap_of_a_poor_capture_can_be_read(tshark: str, tmp_path: Path, what: str) -> None:
    path = tmp_path / "call.mcap"
    if what == "nothing":
        CaptureWriter(path).close()
        call = Call.open(path)
    elif what == "foreign":  # messages that are no audio, and audio without numbers
        unnumbered = Media(payload_of(1), None, None)
        invalid = Invalid(data=b"\xff", error="not UTF-8")
        call = record(path, [(0.1, unnumbered), (0.12, unnumbered), (0.2, invalid)])
    else:
        call = record(path, [(0.1 + i * MEDIA, media(i)) for i in range(500 * (what == "cut"))])
    if what == "cut":
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        call = Call.open(path)
    write_pcap(call, tmp_path / "call.pcapng")
    packets = fields(tshark, tmp_path / "call.pcapng", "rtp", "rtp.seq")
    assert len(packets) == len(call.inbound)
    assert len(fields(tshark, tmp_path / "call.pcapng", "sip", "frame.number")) == 5
    if what == "foreign":
        assert packets == [["0"], ["1"]]


# -- sound -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Both sides: the caller beeps at 1.0 s, the bot at 2.0 s; ten messages, a clear."""
    wire = wire_format("PCM", 24000)
    beep = np.frombuffer(PCMU.decode(tone(0.2)), "<i2")
    caller = np.zeros(8000 * 4, "<i2")
    caller[8000:9600] = beep
    encoded = PCMU.encode(caller.tobytes())
    pieces = [encoded[at : at + 160] for at in range(0, len(encoded), 160)]
    received = [(i * MEDIA + 1e-6, Media(p, "inbound", str(i + 1))) for i, p in enumerate(pieces)]
    said = tone(0.4, wire)
    size = len(said) // 10
    sent = [
        (2.0 + i * 0.020, PlayAudio(wire.content_type, said[i * size : (i + 1) * size]))
        for i in range(10)
    ]
    path = tmp_path_factory.mktemp("talk") / "talk.mcap"
    return record(path, received, [*sent, (2.3, Clear())], length=4.0)


def onset(samples: np.ndarray, rate: int) -> float:
    return float(np.argmax(np.abs(samples) > 0.1)) / rate


@pytest.mark.parametrize(("suffix", "format_"), [(".wav", "WAV"), (".FLAC", "FLAC")])
def test_signals_are_channels_aligned_on_the_clock(
    talk: Call, tmp_path: Path, suffix: str, format_: str
) -> None:
    write_audio(talk, tmp_path / f"talk{suffix}")
    samples, rate = soundfile.read(tmp_path / f"talk{suffix}")
    info = soundfile.info(tmp_path / f"talk{suffix}")
    assert (rate, samples.shape, info.format) == (8000, (32_000, 2), format_)  # as on the wire
    assert onset(samples[:, 0], rate) == pytest.approx(1.0, abs=0.001)
    assert onset(samples[:, 1], rate) == pytest.approx(2.0, abs=0.001)
    loud = np.flatnonzero(np.abs(samples[:, 1]) > 0.1) / rate
    assert loud.max() == pytest.approx(2.3, abs=0.002)  # cut by the clear
    expected = talk.caller_sent.samples
    assert np.abs(samples[:, 0] - expected).max() < 1 / 32768


def test_a_long_call_is_written_as_if_it_were_converted_at_once(tmp_path: Path) -> None:
    scene = Scene(131.0, noise_dbov=-40)
    scene.say_caller(58.5, speech("caller/c01"))  # over the joint of two pieces
    call = Call.open(scene.write(tmp_path / "a.mcap"))
    write_audio(call, tmp_path / "a.wav", ["caller_sent"], sample_rate=24000)
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    whole = np.frombuffer(call.caller_sent.resampled(24000).pcm(), "<i2")
    assert len(samples) == round(call.duration * 24000)
    assert np.abs(samples.astype(int) - whole[: len(samples)]).max() <= 1


def test_all_five_signals_fit_in_one_file(talk: Call, tmp_path: Path) -> None:
    write_audio(talk, tmp_path / "all.wav", list(SIGNALS), sample_rate=16000)
    samples, rate = soundfile.read(tmp_path / "all.wav")
    assert (rate, samples.shape) == (16000, (64_000, 5))
    heard = [np.abs(samples[:, column]).max() > 0.25 for column in range(5)]
    assert heard == [True, False, False, True, True]  # no frames were captured


@pytest.mark.parametrize("name", ["call.wav", "call.flac"])
def test_a_sound_file_that_cannot_be_made_is_named(talk: Call, tmp_path: Path, name: str) -> None:
    path = tmp_path / "missing" / name
    with pytest.raises(FileNotFoundError) as error:
        write_audio(talk, path)
    assert error.value.filename == str(path)


def test_one_signal_keeps_its_rate_and_every_sample(talk: Call, tmp_path: Path) -> None:
    write_audio(talk, tmp_path / "sent.wav", ["bot_sent"])
    samples, rate = soundfile.read(tmp_path / "sent.wav", dtype="int16")
    assert rate == 24000
    assert samples.tobytes() == talk.bot_sent.pcm()


def test_the_caller_as_mu_law_is_the_wire_bit_for_bit(tmp_path: Path) -> None:
    """All codes but that of minus zero, which no 16-bit sample stands for."""
    codes = bytes(range(256)) * 50
    pieces = [codes[at : at + 160] for at in range(0, len(codes), 160)]
    received = [(i * MEDIA, Media(p, "inbound", str(i + 1))) for i, p in enumerate(pieces)]
    call = record(tmp_path / "call.mcap", [(t + 1e-6, m) for t, m in received], length=1.6)
    path = tmp_path / "wire.wav"
    write_audio(call, path, ["caller_sent"], subtype="ULAW")
    assert soundfile.info(path).subtype == "ULAW"
    assert codes.replace(b"\x7f", b"\xff") in path.read_bytes()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("call.mp3", {}, "suffixes are .wav and .flac"),
        ("call", {}, "suffixes"),
        ("call.flac", {"subtype": "ULAW"}, "FLAC has no ULAW"),
        ("call.wav", {"signals": []}, "at least one"),
        ("call.wav", {"signals": "caller_sent"}, "a sequence"),
        ("call.wav", {"signals": ["caller_said"]}, "there are: caller_sent"),
    ],
)
def test_sound_that_cannot_be_written_is_an_error_that_says_why(
    talk: Call, tmp_path: Path, name: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        write_audio(talk, tmp_path / name, **options)
    assert not (tmp_path / name).exists()


# -- tables ----------------------------------------------------------------------------------------

FINDINGS = [
    Finding(
        kind="underrun", side="bot", parts=(Part(2.1, 2.25, 150.0),), severity="error", value=150.0, unit="ms",
        threshold=20.0, measurement="150 ms of silence\tin a word", cause="late, very",
        remedy="=HYPERLINK(1)", listen="caller_heard",
    ),
    Finding(
        kind="noise", side=None, severity="info", value=-3.5, unit="dB",
        parts=(Part(-0.0, 1.0, -3.5), Part(3.0, 4.0, np.nan)),
        threshold=-6.0, measurement="-3.5 dB", cause="", remedy="", confidence=0.75,
    ),
]  # fmt: skip


def test_labels_are_what_audacity_reads(talk: Call, tmp_path: Path) -> None:
    write_labels(talk, FINDINGS, tmp_path / "talk.txt")
    text = (tmp_path / "talk.txt").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()]
    assert all(re.fullmatch(r"-?\d+\.\d{6}", cell) for row in rows for cell in row[:2])
    assert {len(row) for row in rows} == {3}
    assert rows == sorted(rows, key=lambda row: (float(row[0]), float(row[1])))
    assert ["2.100000", "2.250000", "error: underrun (bot), 150 ms of silence in a word"] in rows
    assert ["3.000000", "4.000000", "info: noise, 2 of 2, -3.5 dB"] in rows
    assert ["2.300000", "2.300000", "clear"] in rows
    assert ["4.000000", "4.000000", "stop"] in rows


def test_turns_are_labels(tmp_path: Path) -> None:
    scene = Scene(6.0)
    scene.say_caller(0.5, speech("caller/c05"))
    call = Call.open(scene.write(tmp_path / "call.mcap"))
    write_labels(call, [], tmp_path / "call.txt")
    turns = [
        [float(cell) for cell in line.split("\t")[:2]]
        for line in (tmp_path / "call.txt").read_text().splitlines()
        if line.endswith("caller speaks")
    ]
    assert turns == [pytest.approx([turn.start, turn.end], abs=1e-6) for turn in call.turns]
    assert turns


def test_csv_has_every_message_and_event_in_order(talk: Call, tmp_path: Path) -> None:
    write_csv(talk, tmp_path / "talk.csv")
    with (tmp_path / "talk.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wire = [row for row in rows if row["source"] == "wire"]
    with CaptureReader(talk.path) as reader:
        bodies = [record.body for record in reader.records("/ws/rx", "/ws/tx")]
    assert [int(row["bytes"]) for row in wire] == [len(body) for body in bodies]
    times = [float(row["time_s"]) for row in rows]
    assert times == sorted(times)
    caller = [row for row in wire if row["kind"] == "media"]
    assert [int(row["sequence"]) for row in caller] == list(range(1, 201))
    assert {(row["direction"], row["duration_ms"], row["lead_ms"]) for row in caller} == {
        ("inbound", "20.0", "")
    }
    bot = [row for row in wire if row["kind"] == "playAudio"]
    # 40 ms each, sent every 20 ms: the queue grows by 20 ms with every message.
    assert [float(row["lead_ms"]) for row in bot] == pytest.approx([0, *range(20, 200, 20)])
    assert {(row["direction"], row["duration_ms"], row["sequence"]) for row in bot} == {
        ("outbound", "40.0", "")
    }
    (clear,) = [row for row in wire if row["kind"] == "clear"]
    assert (float(clear["time_s"]), clear["duration_ms"]) == (2.3, "")
    events = [(float(row["time_s"]), row["kind"]) for row in rows if row["source"] == "event"]
    assert events == [(event.time, event.kind) for event in talk.events]


def test_hang_ups_and_the_pipeline_are_in_the_tables(tmp_path: Path) -> None:
    scene = Scene(2.0)
    scene.pipeline(0.5, "first byte", processor="Model#0", seconds=0.312)
    scene.hang_up(1.9, "ended", status_code=200, attempts=1, took_us=204_000)
    call = Call.open(scene.write(tmp_path / "a.mcap"))
    write_csv(call, tmp_path / "a.csv")
    write_labels(call, (), tmp_path / "a.txt")
    for name in ("a.csv", "a.txt"):
        text = (tmp_path / name).read_text("utf-8")
        assert "first byte after 312 ms (Model#0)" in text
        assert "ended (HTTP 200, attempts: 1, 0.20 s)" in text


def test_csv_counts_what_is_no_message_and_runs_no_formula(tmp_path: Path) -> None:
    invalid = Invalid(data=b"\xff", error='=cmd|"/c calc"')
    other = Media(payload_of(9), "outbound", "9")
    received = [(0.05, other), (0.1, media(1)), (0.2, other), (0.3, invalid), (0.4, media(2))]
    call = record(tmp_path / "call.mcap", received)
    write_csv(call, tmp_path / "call.csv")
    with (tmp_path / "call.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wire = [(row["kind"], row["sequence"]) for row in rows if row["source"] == "wire"]
    assert wire == [  # the bot's own track has no number, and takes none from the caller's
        ("start", ""), ("media", ""), ("media", "1"), ("media", ""), ("invalid", ""),
        ("media", "2"),
    ]  # fmt: skip
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "@", "+"))]

    write_findings(FINDINGS, tmp_path / "findings.csv")
    with (tmp_path / "findings.csv").open(newline="", encoding="utf-8") as file:
        first, second, third = csv.DictReader(file)
    assert first["remedy"] == "'=HYPERLINK(1)"
    assert (first["start_s"], first["end_s"], first["kind"]) == ("2.1", "2.25", "underrun")
    assert first["cause"] == "late, very"
    assert (second["value"], second["measurement"]) == ("-3.5", "'-3.5 dB")
    assert (second["side"], second["confidence"]) == ("", "0.75")
    names = ("finding", "start_s", "end_s", "part_value")
    parts = [[row[name] for name in names] for row in (second, third)]
    assert parts == [["2", "-0.0", "1.0", "-3.5"], ["2", "3.0", "4.0", ""]]


@pytest.mark.parametrize(
    "text", ["=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", " =1", "\n\n +1", "\ufeff=1", "\uff1d1",
             "\uff0b1", "\uff0d1", "\uff201", "\u200b=1", "\na"]
)  # fmt: skip
def test_no_cell_begins_a_formula_however_it_is_written(text: str) -> None:
    assert _cells([text]) == ["'" + text]


@pytest.mark.parametrize("text", ["a=1", "1-2", "", " a", "'=1", "\u2013 late"])
def test_other_cells_are_as_they_are(text: str) -> None:
    assert _cells([text, -1.5, 3]) == [text, -1.5, 3]


# -- export ----------------------------------------------------------------------------------------


def test_a_directory_gets_one_file_of_each_kind(talk: Call, tmp_path: Path) -> None:
    written = export(talk, tmp_path / "out", findings=FINDINGS)
    names = ["talk.wav", "talk.pcapng", "talk.labels.txt", "talk.csv", "talk.findings.csv"]
    assert written == [tmp_path / "out" / name for name in names]
    assert all(path.stat().st_size > 50 for path in written)
    assert export(talk, tmp_path / "out", "flac") == [tmp_path / "out" / "talk.flac"]


def test_an_export_is_its_owners_alone_also_over_another_file(talk: Call, tmp_path: Path) -> None:
    (tmp_path / "talk.csv").write_text("old")
    (tmp_path / "talk.csv").chmod(0o644)
    for path in export(talk, tmp_path, findings=FINDINGS):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["wav", "flac", "pcap", "labels", "csv"])
def test_an_export_that_fails_leaves_what_was_there(
    talk: Call, tmp_path: Path, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"talk{_SUFFIXES[kind][0]}"
    path.write_text("old")
    whole = talk.path.read_bytes()

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for where, name in (
        (pcapng.PcapngWriter, "packet"),
        (soundfile.SoundFile, "write"),
        (tables, "_cells"),
    ):
        monkeypatch.setattr(where, name, fails)
    monkeypatch.setattr(Path, "write_text", fails)
    with pytest.raises(OSError, match="No space"):
        export(talk, path, kind, findings=FINDINGS)
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert talk.path.read_bytes() == whole


@pytest.mark.parametrize(
    ("name", "kind", "starts"),
    [
        ("a.wav", None, b"RIFF"),
        ("a.flac", "flac", b"fLaC"),
        ("a.pcapng", None, b"\x0a\x0d\x0d\x0a"),
        ("a.pcap", "pcap", b"\x0a\x0d\x0d\x0a"),
        ("a.txt", None, b"0.000000\t"),
        ("a.csv", None, b"time_s,"),
    ],
)
def test_a_file_is_what_its_suffix_says(
    talk: Call, tmp_path: Path, name: str, kind: Any, starts: bytes
) -> None:
    assert export(talk, tmp_path / name, kind) == [tmp_path / name]
    assert (tmp_path / name).read_bytes().startswith(starts)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("a.mcap", None, r"suffixes are \.wav, \.flac, \.pcapng"),
        ("a.wav", "flac", r"suffixes are \.flac"),
        ("a.wav", "mp3", "there are: wav, flac"),
    ],
)
def test_an_export_that_is_not_known_is_an_error_that_lists_those_that_are(
    talk: Call, tmp_path: Path, name: str, kind: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        export(talk, tmp_path / name, kind)
    assert list(tmp_path.iterdir()) == []
