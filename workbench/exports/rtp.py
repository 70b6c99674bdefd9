"""A capture as Wireshark knows calls: a SIP dialogue round two RTP streams, and the JSON beside it.

The media stream is JSON over TCP, so the packets are made up: one RTP packet per message, stamped
with the time at which the message reached, or left, the serializer. Hence *jitter* in Wireshark is
jitter of delivery, and *lost* is a gap in ``sequenceNumber``. Without a dialogue that announces
the ports Wireshark takes the packets for plain UDP and finds no stream.

=========  ====================================  ================================================
RTP        inbound                               outbound
=========  ====================================  ================================================
sequence   ``sequenceNumber``                    counted from 1
timestamp  by ``sequenceNumber``                 by the audio sent; a pause advances it, for the
                                                 jitter of a stream without the silence of a
                                                 pause would be the length of the pause
SSRC       one                                   another one if a ``clear`` threw away much more
                                                 than the pause after it can make up for: a
                                                 timestamp cannot go back
marker     never                                 first packet of an utterance
payload    as it arrived, if it was PCMU         PCMU as sent, all else reduced to PCMU
=========  ====================================  ================================================

References:
    RFC 3550, section 5.1: the RTP header. RFC 3551: payload type 0, PCMU.
    RFC 3261, RFC 4566: SIP and SDP. RFC 5737: addresses for documentation.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from heapq import merge
from itertools import count, groupby, pairwise
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipecat_bandwidth.encodings import PCMU
from workbench.audio import Audio
from workbench.beside import written_beside
from workbench.call import Call, Stream
from workbench.call.playout import Playout
from workbench.capture import CaptureReader
from workbench.capture.redaction import REDACTED
from workbench.exports.pcapng import (
    LINKTYPE_RAW,
    LINKTYPE_UPPER_PDU,
    Address,
    PcapngWriter,
    udp,
    upper_pdu,
)

__all__ = ["write_pcap"]

_CARRIER: Final = Address("192.0.2.1", 40000)
_BOT: Final = Address("192.0.2.2", 50000)
_SIP: Final = 5060
#: Numbers of the two interfaces, in the order in which they are described.
_RTP, _JSON = 0, 1
_MILLISECOND: Final = 1_000_000
_INBOUND_SSRC: Final = 0xCA11E2
_OUTBOUND_SSRC: Final = 0xB07
_RATE: Final = PCMU.sample_rate
#: Shorter silences in what is sent are jitter: a telephone's adaptive buffer rides them out.
_PAUSE: Final = 0.120
#: Samples in one packet at most, 1 s: a UDP datagram holds 65,507 bytes, a message may hold more.
_LONGEST: Final = _RATE

_COMMENT: Final = (
    "Synthesised from a capture of a media stream, which is JSON over TCP: no packet here was ever "
    "on a network. Times are those at which messages reached or left the bot's serializer, so "
    "jitter is jitter of delivery and a lost packet is a gap in {number}. Outbound sequence "
    "numbers and timestamps, addresses, ports and the SIP dialogue are made up. {reduced} was "
    "reduced to PCMU. The second interface has the JSON messages, without the values of "
    "{parameters}."
)
_OURS: Final = {"number": "sequenceNumber", "reduced": "Outbound PCM", "parameters": "streamParams"}
_OTHERS: Final = {
    "number": "the carrier's numbers of audio",
    "reduced": "What was not PCMU",
    "parameters": "the application's own parameters",
}
#: What the application itself put into a stream's first message, by the carriers' names.
_PARAMETERS: Final = ("streamParams", "customParameters", "custom_parameters", "extra_headers")


class _Packet(NamedTuple):
    time_ns: int
    interface: int
    data: bytes
    inbound: bool
    comment: str = ""


def write_pcap(call: Call, path: str | Path) -> None:
    """Write both streams as RTP, with a SIP dialogue round them and the JSON messages beside them.

    Args:
        call: The call; its capture is read again for the messages.
        path: A pcapng file, stamped in nanoseconds. In Wireshark: Telephony > RTP Streams, or VoIP
            Calls to listen. The messages filter as ``json``.
    """
    # A capture without a single record has no anchor, and a stamp cannot be negative.
    origin = max(call.anchor_ns, 3 * _MILLISECOND)
    before, after = _dialogue(call.metadata.get("call", {}).get("call_id", ""))
    body = merge(
        _messages(call),
        _inbound(call.inbound, origin),
        _outbound(call, origin),
        key=lambda packet: packet.time_ns,
    )
    with written_beside(path) as part, part.open("wb") as file:
        words = _OURS if call.carrier.is_ours else _OTHERS
        writer = PcapngWriter(file, "workbench", _COMMENT.format(**words))
        writer.interface(LINKTYPE_RAW, "RTP made from the media stream")
        writer.interface(LINKTYPE_UPPER_PDU, "WebSocket messages")
        writer.names({_CARRIER.host: call.carrier.name.lower() or "carrier", _BOT.host: "bot"})
        time_ns = origin
        for number, (inbound, data) in enumerate(before, -len(before)):
            writer.packet(_RTP, origin + number * _MILLISECOND, data, inbound=inbound)
        for packet in body:
            time_ns, interface, data, inbound, comment = packet
            writer.packet(interface, time_ns, data, inbound=inbound, comment=comment)
        for number, (inbound, data) in enumerate(after, 1):
            writer.packet(_RTP, time_ns + number * _MILLISECOND, data, inbound=inbound)


# -- packets -----------------------------------------------------------------------------------


def _messages(call: Call) -> Iterator[_Packet]:
    with CaptureReader(call.path, call.budget) as reader:
        for record in reader.records("/ws/rx", "/ws/tx"):
            inbound = record.topic == "/ws/rx"
            ends = (_CARRIER, _BOT) if inbound else (_BOT, _CARRIER)
            body = _without_parameters(record.body) if inbound else record.body
            yield _Packet(record.time_ns, _JSON, upper_pdu("json", *ends, body), inbound)


def _without_parameters(body: bytes) -> bytes:
    """Blank the values of parameters: the file goes to strangers, and they may be tokens."""
    try:
        fields = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return b"null"
    if not isinstance(fields, dict):
        return body
    holders = [part for part in (fields, fields.get("start")) if isinstance(part, dict)]
    named = [(part, name) for part in holders for name in _PARAMETERS if part.get(name)]
    for part, name in named:
        given = part[name]
        part[name] = dict.fromkeys(given, REDACTED) if isinstance(given, dict) else REDACTED
    return msgspec.json.encode(fields) if named else body


def _inbound(stream: Stream, origin: int) -> Iterator[_Packet]:
    """One packet per message in the order of arrival, late and repeated ones as they are."""
    if not len(stream):
        return
    sequence = max(int(stream.sequence[0]), 0) + stream.number
    timestamp = stream.number * round(stream.step * _RATE)
    columns = (_ns(stream, origin), sequence.tolist(), timestamp.tolist(), stream.missing.tolist())
    for time_ns, seq, ts, missing, payload in zip(*columns, _as_pcmu(stream), strict=True):
        packet = _packet(seq, ts, _INBOUND_SSRC, payload[:_LONGEST])
        comment = f"{missing} missing before this one" if missing else ""
        yield _Packet(time_ns, _RTP, udp(_CARRIER, _BOT, packet), True, comment)


def _outbound(call: Call, origin: int) -> Iterator[_Packet]:
    """The audio sent, in the order sent; one message is one packet, if it is not over a second."""
    stream, playout, sequence, timestamp = call.outbound, call.playout, count(1), 0
    # What was sent but not played runs ahead of the clock; the next pause makes up for it.
    ssrc, ahead = _OUTBOUND_SSRC, 0.0
    unplayed = (playout.duration - playout.heard).tolist()
    columns = (_ns(stream, origin), _pauses(playout).tolist(), unplayed, _as_pcmu(stream))
    for time_ns, pause, lost, payload in zip(*columns, strict=True):
        if pause >= 0:
            ahead -= pause
            if ahead > _PAUSE:
                ssrc, ahead = ssrc + 1, 0.0
            elif ahead < 0:
                timestamp, ahead = timestamp + round(-ahead * _RATE), 0.0
        ahead += lost
        for begin in range(0, len(payload), _LONGEST):
            piece = payload[begin : begin + _LONGEST]
            marker = pause >= 0 and begin == 0
            packet = _packet(next(sequence), timestamp, ssrc, piece, marker=marker)
            yield _Packet(time_ns, _RTP, udp(_BOT, _CARRIER, packet), False)
            timestamp += len(piece)


def _pauses(playout: Playout) -> NDArray[np.float64]:
    """Silence before each message that begins an utterance, in seconds; -1 before the others."""
    # What was cleared before it began has no start of its own: it would have begun when sent.
    start = np.where(np.isnan(playout.start), playout.time, playout.start)
    end = np.maximum.accumulate(start + playout.heard)
    pause = start - np.concatenate([start[:1], end[:-1]])
    cut = np.append(False, (playout.heard < playout.duration)[:-1])[: len(pause)]
    begins = ~playout.continues & ((pause >= _PAUSE) | (cut & ~np.isnan(playout.start)))
    begins[:1] = True
    return np.where(begins, np.maximum(pause, 0.0), -1.0)


def _ns(stream: Stream, origin: int) -> list[int]:
    return [origin + round(time * 1e9) for time in stream.time.tolist()]


def _as_pcmu(stream: Stream) -> list[bytes]:
    """Payloads as mu-law at 8 kHz: PCM reduced in one piece, so that no joint is heard."""
    reduced: list[bytes] = []
    pairs = zip(stream.formats, stream.payloads, strict=True)
    for wire_format, run in groupby(pairs, key=lambda pair: pair[0]):
        payloads = [payload for _, payload in run]
        if wire_format == PCMU:
            reduced += payloads
            continue
        pieces = [wire_format.decode(payload) for payload in payloads]
        whole = Audio.from_pcm(b"".join(pieces), wire_format.sample_rate).resampled(_RATE)
        payload = PCMU.encode(whole.pcm())
        ends = np.cumsum([len(piece) // 2 for piece in pieces]) * _RATE / wire_format.sample_rate
        cuts = [0, *np.rint(ends).astype(int).tolist()]
        reduced += [payload[begin:end] for begin, end in pairwise(cuts)]
    return reduced


def _packet(
    sequence: int, timestamp: int, ssrc: int, payload: bytes, *, marker: bool = False
) -> bytes:
    """Section 5.1 of RFC 3550: version 2, no padding, extension or sources; payload type 0."""
    flags = 0x80 if marker else 0
    header = (0x80, flags, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
    return struct.pack("!BBHII", *header) + payload


# -- dialogue ----------------------------------------------------------------------------------


def _dialogue(call_id: str) -> tuple[list[tuple[bool, bytes]], list[tuple[bool, bytes]]]:
    """INVITE, 200 and ACK to stand before the media, BYE and 200 after; True is inbound."""
    # The id came over the wire: nothing of it may end a line.
    call_id = re.sub(r"[^\w.-]", "", call_id, flags=re.ASCII) or "unknown"
    uri = f"sip:bot@{_BOT.host}"
    before = [
        _sip(True, f"INVITE {uri} SIP/2.0", call_id, "1 INVITE", _sdp(_CARRIER), to_tag=""),
        _sip(False, "SIP/2.0 200 OK", call_id, "1 INVITE", _sdp(_BOT)),
        _sip(True, f"ACK {uri} SIP/2.0", call_id, "1 ACK"),
    ]
    after = [
        _sip(True, f"BYE {uri} SIP/2.0", call_id, "2 BYE"),
        _sip(False, "SIP/2.0 200 OK", call_id, "2 BYE"),
    ]
    return before, after


def _sip(
    inbound: bool, first: str, call_id: str, sequence: str, sdp: str = "", to_tag: str = ";tag=b"
) -> tuple[bool, bytes]:
    lines = [
        first,
        f"Via: SIP/2.0/UDP {_CARRIER.host}:{_SIP};branch=z9hG4bK{sequence.replace(' ', '')}",
        f"From: <sip:caller@{_CARRIER.host}>;tag=a",
        f"To: <sip:bot@{_BOT.host}>{to_tag}",
        f"Call-ID: {call_id}",
        f"CSeq: {sequence}",
        f"Contact: <sip:{'caller' if inbound else 'bot'}@{(_CARRIER if inbound else _BOT).host}>",
        "Max-Forwards: 70",
        *(["Content-Type: application/sdp"] if sdp else []),
        f"Content-Length: {len(sdp)}",
    ]
    text = "\r\n".join([*lines, "", sdp]).encode()
    caller, bot = _CARRIER._replace(port=_SIP), _BOT._replace(port=_SIP)
    return inbound, udp(caller, bot, text) if inbound else udp(bot, caller, text)


def _sdp(end: Address) -> str:
    lines = (
        "v=0",
        f"o=- 1 1 IN IP4 {end.host}",
        "s=-",
        f"c=IN IP4 {end.host}",
        "t=0 0",
        f"m=audio {end.port} RTP/AVP 0",
        "a=rtpmap:0 PCMU/8000",
        "a=ptime:20",
    )
    return "".join(f"{line}\r\n" for line in lines)
