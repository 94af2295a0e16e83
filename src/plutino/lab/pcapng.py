"""Writes packets to a file that Wireshark opens (pcapng, draft-ietf-opsawg-pcapng)."""

import struct
from typing import BinaryIO, Final

_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_PACKET: Final = 6
_BYTE_ORDER: Final = 0x1A2B3C4D
_LINKTYPE_ETHERNET: Final = 1
_IF_NAME: Final = 2
_IF_TSRESOL: Final = 9
_NANOSECONDS: Final = 9


def _pad(octets: bytes) -> bytes:
    return octets + bytes(-len(octets) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("=HH", code, len(value)) + _pad(value)


class PcapngWriter:
    """One section with one Ethernet interface."""

    def __init__(self, file: BinaryIO, interface: str) -> None:
        self._file = file
        self._block(_SECTION, struct.pack("=IHHq", _BYTE_ORDER, 1, 0, -1))
        options = _option(_IF_NAME, interface.encode())
        options += _option(_IF_TSRESOL, bytes([_NANOSECONDS])) + _option(0, b"")
        self._block(_INTERFACE, struct.pack("=HHI", _LINKTYPE_ETHERNET, 0, 0) + options)

    def write(self, frame: bytes, nanoseconds: int) -> None:
        """One frame, seen at a time since the epoch."""
        head = struct.pack(
            "=IIIII", 0, nanoseconds >> 32, nanoseconds & 0xFFFFFFFF, len(frame), len(frame)
        )
        self._block(_PACKET, head + _pad(frame))

    def _block(self, kind: int, body: bytes) -> None:
        length = len(body) + 12
        self._file.write(struct.pack("=II", kind, length) + body + struct.pack("=I", length))
