"""Datagrams off sockets, a row of them with one system call (recvmmsg(2)).

IKE's own sockets and, on the kernel plane, those for ESP in UDP tell the address of ours that a
datagram came to. What comes to the engine's port 4500 comes by a socket from it, with both
addresses and the sender's port before it (docs/engine-protocol.md).
"""

import ctypes
import socket
import struct
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from plutino.ike.path import Path, SocketAddress
from plutino.model.policy import IpAddress
from plutino.model.sa import NAT_T_PORT

NON_ESP_MARKER: Final = bytes(4)
"""Before IKE on port 4500 (RFC 3948, 2.2)."""
ROW: Final = 64
"""Datagrams of one call at most."""
_LONGEST: Final = 1 << 16
_IP_PKTINFO: Final = 8
_NAME_SIZE: Final = 28
_CONTROL_SIZE: Final = 64
_NAMES: Final = {4: struct.Struct("!2xH4s"), 6: struct.Struct("!2xH4x16s")}
"""``struct sockaddr_in`` and ``struct sockaddr_in6``: port and address."""
_CONTROL: Final = struct.Struct("@Nii")
"""``struct cmsghdr``: its length with what follows, level and type."""
_DESTINATIONS: Final = {
    # The header, and where our address is from its start (in_pktinfo, in6_pktinfo).
    4: (
        _CONTROL.pack(_CONTROL.size + 12, socket.IPPROTO_IP, _IP_PKTINFO),
        slice(_CONTROL.size + 8, _CONTROL.size + 12),
    ),
    6: (
        _CONTROL.pack(_CONTROL.size + 20, socket.IPPROTO_IPV6, socket.IPV6_PKTINFO),
        slice(_CONTROL.size, _CONTROL.size + 16),
    ),
}
_PREFIX: Final = struct.Struct("!16s16sH")
_MAPPED: Final = bytes(10) + b"\xff\xff"
"""Before an IPv4 address in 16 octets (RFC 4291, 2.5.5.2)."""


class Source(IntEnum):
    """What a socket gives: datagrams of an IP version, or those that the engine passes on."""

    ENGINE = 0
    IPV4 = 4
    IPV6 = 6


class Came(NamedTuple):
    """A datagram without the non-ESP marker; addresses are packed, ours first."""

    ends: tuple[bytes, bytes]
    ports: tuple[int, int]
    payload: bytes

    @property
    def path(self) -> Path:
        """Our end and the sender's."""
        here, there = map(_address, self.ends)
        return Path(SocketAddress(here, self.ports[0]), SocketAddress(there, self.ports[1]))


class _IoVector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """``struct msghdr``."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("parts", ctypes.c_void_p),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """``struct mmsghdr``."""

    _fields_ = (("header", _Header), ("length", ctypes.c_uint))


_SIZE: Final = struct.Struct("@I")
_SIZE_STEP: Final = ctypes.sizeof(_Message) // _SIZE.size


class Rows:
    """Room for one row, of which only as much takes memory as was ever filled."""

    def __init__(self) -> None:
        self._receive = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._octets = bytearray(ROW * _LONGEST)
        self._names = bytearray(ROW * _NAME_SIZE)
        self._controls = bytearray(ROW * _CONTROL_SIZE)
        octets, names, controls = map(_start_of, (self._octets, self._names, self._controls))
        self._parts = (_IoVector * ROW)()
        self._messages = (_Message * ROW)()
        for place in range(ROW):
            self._parts[place] = _IoVector(octets + place * _LONGEST, _LONGEST)
            header = _Header(
                names + place * _NAME_SIZE, _NAME_SIZE, ctypes.addressof(self._parts[place]), 1,
                controls + place * _CONTROL_SIZE, _CONTROL_SIZE, 0,
            )  # fmt: skip
            self._messages[place] = _Message(header, 0)
        self._template = bytes(self._messages)
        self._view = memoryview(self._octets)
        every = memoryview(self._messages).cast("B").cast("I")
        self._sizes = every[_Message.length.offset // _SIZE.size :]

    def read(self, opened: socket.socket, source: Source, port: int) -> tuple[int, list[Came]]:
        """How many have come, ``ROW`` if there may be more, and those that make sense.

        EOFError where the engine has closed its end. An ICMP error of a packet before takes the
        place of a row: the next one has what came.
        """
        ctypes.memmove(self._messages, self._template, len(self._template))
        count = self._receive(opened.fileno(), self._messages, ROW, socket.MSG_DONTWAIT, None)
        if count < 0:
            return 0, []
        if source is Source.ENGINE:
            if not self._sizes[0]:
                raise EOFError
            found = (self._passed_on(place, port) for place in range(count))
        else:
            found = (self._own(place, source, port) for place in range(count))
        return count, [one for one in found if one is not None]

    def _own(self, place: int, source: Source, port: int) -> Came | None:
        start = place * _LONGEST
        end = start + self._sizes[place * _SIZE_STEP]
        if port == NAT_T_PORT:
            if not self._octets.startswith(NON_ESP_MARKER, start, end):
                return None
            start += len(NON_ESP_MARKER)
        here = self._destination(place, source)
        if here is None:
            return None
        there_port, there = _NAMES[source].unpack_from(self._names, place * _NAME_SIZE)
        return Came((here, there), (port, there_port), self._view[start:end].tobytes())

    def _destination(self, place: int, source: Source) -> bytes | None:
        """Our address that a datagram came to; it alone was asked for (``IP_PKTINFO``)."""
        head, where = _DESTINATIONS[source]
        start = place * _CONTROL_SIZE
        if not self._controls.startswith(head, start):
            return None
        return bytes(self._controls[start + where.start : start + where.stop])

    def _passed_on(self, place: int, port: int) -> Came | None:
        start = place * _LONGEST
        end = start + self._sizes[place * _SIZE_STEP]
        if end - start < _PREFIX.size:
            return None
        there, here, there_port = _PREFIX.unpack_from(self._octets, start)
        if here.startswith(_MAPPED):
            here, there = here[len(_MAPPED) :], there[len(_MAPPED) :]
        payload = self._view[start + _PREFIX.size : end].tobytes()
        return Came((here, there), (port, there_port), payload)


def _start_of(octets: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(octets))


def _address(packed: bytes) -> IpAddress:
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
