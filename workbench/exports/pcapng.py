"""A pcapng file, written by hand: the few blocks that Wireshark needs, stamped in nanoseconds.

Knows the container and the IP envelope, and nothing of calls. Hand-written because the libraries
that write pcapng are either slower by a hundred times, lose the nanoseconds, or are GPL.

References:
    draft-ietf-opsawg-pcapng: section numbers below.
    RFC 768, RFC 791, RFC 1071: UDP, IPv4 and their checksum.
    Wireshark, ``epan/exported_pdu.h``: the tags of an exported PDU.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import BinaryIO, Final, NamedTuple

__all__ = ["LINKTYPE_RAW", "LINKTYPE_UPPER_PDU", "Address", "PcapngWriter", "udp", "upper_pdu"]

#: A packet begins with its IP header.
LINKTYPE_RAW: Final = 101
#: A packet is what one protocol handed to the next, with tags that name the dissector.
LINKTYPE_UPPER_PDU: Final = 252

#: Wireshark takes a file with a longer packet for damaged: WTAP_MAX_PACKET_SIZE_STANDARD.
_LONGEST: Final = 256 * 1024
_SECTION, _INTERFACE, _NAMES, _PACKET = 0x0A0D0D0A, 1, 4, 6
_END, _COMMENT = 0, 1


class Address(NamedTuple):
    """One end of a UDP conversation.

    Parameters:
        host: IPv4, dotted.
        port: Port number.
    """

    host: str
    port: int

    @property
    def packed(self) -> bytes:
        """The four bytes of the host."""
        return bytes(map(int, self.host.split(".")))


class PcapngWriter:
    """Blocks of one section, in the order of the calls."""

    def __init__(self, file: BinaryIO, application: str, comment: str) -> None:
        """Begin the section.

        Args:
            file: Opened for binary writing; it stays the caller's to close.
            application: What made the file.
            comment: About the whole file; Wireshark shows it under Capture File Properties.
        """
        self._file = file
        self._interfaces = 0
        # Section 4.1. The length of the section is not given (-1).
        header = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
        self._write(_SECTION, header, (_COMMENT, comment.encode()), (4, application.encode()))

    def interface(self, link_type: int, name: str) -> int:
        """Describe an interface (4.2), its stamps in nanoseconds; returns its number."""
        header = struct.pack("<HHI", link_type, 0, 0)
        self._write(_INTERFACE, header, (2, name.encode()), (9, b"\x09"))
        self._interfaces += 1
        return self._interfaces - 1

    def names(self, hosts: Mapping[str, str]) -> None:
        """Name IPv4 addresses (4.5)."""
        records = b"".join(
            _option(1, Address(host, 0).packed + name.encode() + b"\0")
            for host, name in hosts.items()
        )
        self._write(_NAMES, records + _option(_END, b""))

    def packet(
        self, interface: int, time_ns: int, data: bytes, *, inbound: bool, comment: str = ""
    ) -> None:
        """Write one packet (4.3).

        Args:
            interface: As :meth:`interface` returned it.
            time_ns: Nanoseconds since 1970.
            data: The packet, as the interface's link type says. Of one over 256 KiB the rest is
                left out, as if the capture had been limited to that.
            inbound: Whether it was received, else it was sent.
            comment: Shown in the packet's details.
        """
        kept = data[:_LONGEST]
        stamp = time_ns >> 32, time_ns & 0xFFFFFFFF
        header = struct.pack("<IIIII", interface, *stamp, len(kept), len(data)) + _padded(kept)
        direction = (2, b"\x01\0\0\0" if inbound else b"\x02\0\0\0")
        if comment:
            self._write(_PACKET, header, (_COMMENT, comment.encode()), direction)
        else:
            self._write(_PACKET, header, direction)

    def _write(self, kind: int, body: bytes, *options: tuple[int, bytes]) -> None:
        if options:
            body += b"".join(_option(*option) for option in options) + _option(_END, b"")
        size = len(body) + 12
        self._file.write(struct.pack("<II", kind, size) + body + struct.pack("<I", size))


def udp(source: Address, destination: Address, payload: bytes, identification: int = 0) -> bytes:
    """Wrap a payload of at most 65,507 bytes in UDP and IPv4, with both checksums."""
    size = 8 + len(payload)
    hosts = source.packed + destination.packed
    head = struct.pack("!HHH", source.port, destination.port, size)
    pseudo_header = hosts + struct.pack("!HH", 17, size)
    # A UDP checksum of 0 would say that there is none (RFC 768).
    check = _checksum(pseudo_header + head + b"\0\0" + payload) or 0xFFFF
    first = struct.pack("!BBHHHBB", 0x45, 0, 20 + size, identification & 0xFFFF, 0x4000, 64, 17)
    header = first + struct.pack("!H", _checksum(first + b"\0\0" + hosts)) + hosts
    return header + head + struct.pack("!H", check) + payload


def upper_pdu(dissector: str, source: Address, destination: Address, payload: bytes) -> bytes:
    """Make an exported PDU that Wireshark gives to the dissector named."""
    tags = (
        (12, _padded(dissector.encode())),
        (20, source.packed),
        (21, destination.packed),
        (0, b""),
    )
    return b"".join(struct.pack("!HH", tag, len(value)) + value for tag, value in tags) + payload


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _checksum(data: bytes) -> int:
    """RFC 1071. The one's complement sum of 16-bit words is the number itself modulo 0xFFFF."""
    number = int.from_bytes(data + b"\0" * (len(data) % 2), "big")
    return 0xFFFF - (number % 0xFFFF or 0xFFFF)
