"""Packets to send and to inject, written by hand so that wrong ones can be too."""

import hashlib
import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from tests.support.sa_wire import INTEGRITY_KEY, LOCAL, REMOTE

INNER_LOCAL: Final = {4: "10.1.0.1", 6: "fd00:1::1"}
INNER_REMOTE: Final = {4: "10.2.0.1", 6: "fd00:2::1"}
PORT: Final = 5000
UDP: Final = 17
ESP: Final = 50
IPIP, IPV6, NO_NEXT = 4, 41, 59
BEETPH: Final = 94
_ICV: Final = 16


def checksum(octets: bytes) -> int:
    """RFC 1071."""
    padded = octets + bytes(len(octets) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_packet(
    source: str,
    destination: str,
    protocol: int,
    payload: bytes,
    *,
    tos: int = 0,
    ttl: int = 64,
    df: bool = True,
    fragment: int = 0,
    identification: int = 0x1234,
) -> bytes:
    """An IPv4 or IPv6 packet; ``fragment`` is the field with flags, for IPv4."""
    ends = ip_address(source).packed + ip_address(destination).packed
    if len(ends) == 32:
        first = 6 << 28 | tos << 20
        return struct.pack("!IHBB", first, len(payload), protocol, ttl) + ends + payload
    flags = fragment or (0x4000 if df else 0)
    length = 20 + len(payload)
    head = struct.pack("!BBHHHBB", 0x45, tos, length, identification, flags, ttl, protocol)
    return head + struct.pack("!H", checksum(head + b"\0\0" + ends)) + ends + payload


def udp(source: str, destination: str, text: bytes, ports: tuple[int, int] = (PORT, PORT)) -> bytes:
    """A UDP datagram with its checksum."""
    ends = ip_address(source).packed + ip_address(destination).packed
    length = 8 + len(text)
    head = struct.pack("!HHH", *ports, length)
    total = checksum(ends + struct.pack("!HH", UDP, length) + head + b"\0\0" + text)
    return head + struct.pack("!H", total or 0xFFFF) + text


def outgoing(
    version: int = 4,
    text: bytes = b"out",
    *,
    source: str = "",
    destination: str = "",
    ports: tuple[int, int] = (PORT, PORT),
    tos: int = 0,
    ttl: int = 64,
    df: bool = True,
) -> bytes:
    """A UDP packet from this gateway into the interface."""
    source = source or INNER_LOCAL[version]
    destination = destination or INNER_REMOTE[version]
    payload = udp(source, destination, text, ports)
    return ip_packet(source, destination, UDP, payload, tos=tos, ttl=ttl, df=df)


def incoming(
    version: int = 4,
    text: bytes = b"in",
    *,
    source: str = "",
    destination: str = "",
    ports: tuple[int, int] = (PORT, PORT),
    tos: int = 0,
    ttl: int = 64,
) -> bytes:
    """A UDP packet from the other side of the tunnel."""
    source = source or INNER_REMOTE[version]
    destination = destination or INNER_LOCAL[version]
    return ip_packet(
        source, destination, UDP, udp(source, destination, text, ports), tos=tos, ttl=ttl
    )


def esp(
    payload: bytes,
    next_header: int,
    *,
    spi: int = 0x1000,
    sequence: int = 1,
    high: int | None = None,
    key: bytes = INTEGRITY_KEY,
    padding: Callable[[int], bytes] = lambda octets: bytes(range(1, octets + 1)),
    pad_length: int | None = None,
) -> bytes:
    """ESP with NULL encryption and HMAC-SHA-256-128; ``high`` is ESN's upper half."""
    filler = padding(-(len(payload) + 2) % 4)
    length = len(filler) if pad_length is None else pad_length
    sealed = struct.pack("!II", spi, sequence & 0xFFFFFFFF)
    sealed += payload + filler + bytes([length, next_header])
    counted = sealed if high is None else sealed + struct.pack("!I", high)
    return sealed + hmac.new(key, counted, hashlib.sha256).digest()[:_ICV]


@dataclass(frozen=True, slots=True)
class Outer:
    """How ESP goes to this gateway."""

    version: int = 4
    in_udp: tuple[int, int] | None = None
    tos: int = 0
    source: str = ""
    destination: str = ""

    def packet(self, payload: bytes) -> bytes:
        """The IP packet with ESP inside."""
        source = self.source or REMOTE[self.version]
        destination = self.destination or LOCAL[self.version]
        if self.in_udp is None:
            return ip_packet(source, destination, ESP, payload, tos=self.tos)
        datagram = udp(source, destination, payload, self.in_udp)
        return ip_packet(source, destination, UDP, datagram, tos=self.tos)


def sealed(
    inner: bytes,
    *,
    spi: int = 0x1000,
    sequence: int = 1,
    high: int | None = None,
    outer: Outer = Outer(),
) -> bytes:
    """A whole packet in tunnel mode to this gateway."""
    inside = IPIP if inner[0] >> 4 == 4 else IPV6
    return outer.packet(esp(inner, inside, spi=spi, sequence=sequence, high=high))
