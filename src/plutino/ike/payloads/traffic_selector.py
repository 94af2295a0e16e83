"""TSi and TSr (RFC 7296, 3.13)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import ClassVar, Final, Self

from plutino.ike.numbers import PayloadType, TsType
from plutino.ike.payloads.generic import demand
from plutino.model.errors import WireError
from plutino.model.policy import IpAddress

_SIZES: Final = {TsType.IPV4_ADDR_RANGE: 4, TsType.IPV6_ADDR_RANGE: 16}
ANY_PORT: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class TrafficSelector:
    """A range of addresses and of ports; protocol 0 is any (RFC 7296, 3.13.1).

    For ICMP, ports hold type and code. OPAQUE is start 65535 with end 0 (RFC 4301, 4.4.1.2).
    """

    HEADER: ClassVar = struct.Struct("!BBHHH")
    first: IpAddress
    last: IpAddress
    protocol: int = 0
    first_port: int = 0
    last_port: int = ANY_PORT

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.first.version

    def encode(self) -> bytes:
        """Type, protocol, length, ports, addresses."""
        type_ = TsType.IPV4_ADDR_RANGE if self.version == 4 else TsType.IPV6_ADDR_RANGE
        addresses = self.first.packed + self.last.packed
        length = self.HEADER.size + len(addresses)
        fixed = (type_, self.protocol, length, self.first_port, self.last_port)
        return self.HEADER.pack(*fixed) + addresses

    def __str__(self) -> str:
        rest = "" if not self.protocol else f" proto {self.protocol}"
        if (self.first_port, self.last_port) != (0, ANY_PORT):
            rest += f" port {self.first_port}-{self.last_port}"
        return f"{self.first}-{self.last}{rest}"


@dataclass(frozen=True, slots=True)
class UnknownSelector:
    """A selector of a type that we do not know: it never matches."""

    type: int
    body: bytes

    def encode(self) -> bytes:
        """As it was."""
        return bytes((self.type,)) + self.body


@dataclass(frozen=True, slots=True)
class TsPayload:
    """TSi or TSr by ``payload_type``, at least one selector each."""

    payload_type: int
    selectors: tuple[TrafficSelector | UnknownSelector, ...]

    @classmethod
    def parse_initiator(cls, body: memoryview) -> Self:
        """TSi; WireError if lengths or count contradict each other."""
        return cls(PayloadType.TS_I, tuple(_selectors(body)))

    @classmethod
    def parse_responder(cls, body: memoryview) -> Self:
        """TSr; WireError if lengths or count contradict each other."""
        return cls(PayloadType.TS_R, tuple(_selectors(body)))

    @property
    def known(self) -> tuple[TrafficSelector, ...]:
        """The selectors that can match."""
        return tuple(one for one in self.selectors if isinstance(one, TrafficSelector))

    def encode(self) -> bytes:
        """Count, reserved, selectors."""
        selectors = b"".join(one.encode() for one in self.selectors)
        return bytes((len(self.selectors), 0, 0, 0)) + selectors


def _selectors(body: memoryview) -> Iterator[TrafficSelector | UnknownSelector]:
    demand(body, 4, "TS payload")
    count, offset, seen = body[0], 4, 0
    while offset < len(body):
        part = body[offset:]
        demand(part, TrafficSelector.HEADER.size, "traffic selector")
        type_, length = part[0], int.from_bytes(part[2:4], "big")
        if not TrafficSelector.HEADER.size <= length <= len(part):
            why = f"length {length} of {len(part)} bytes"
            raise WireError("traffic selector", offset=offset, why=why)
        known = type_ in {TsType.IPV4_ADDR_RANGE, TsType.IPV6_ADDR_RANGE}
        yield (
            _known(part[:length], offset)
            if known
            else UnknownSelector(type_, bytes(part[1:length]))
        )
        offset, seen = offset + length, seen + 1
    if seen != count or not seen:
        raise WireError(
            "TS payload", offset=0, why=f"{seen} selectors where {count} were announced"
        )


def _known(part: memoryview, offset: int) -> TrafficSelector:
    type_, protocol, _, first_port, last_port = TrafficSelector.HEADER.unpack_from(part)
    addresses = bytes(part[TrafficSelector.HEADER.size :])
    size = _SIZES[TsType(type_)]
    if len(addresses) != 2 * size:
        why = f"{len(addresses)} bytes of addresses, not {2 * size}"
        raise WireError("traffic selector", offset=offset, why=why)
    kind = IPv4Address if size == 4 else IPv6Address
    first, last = kind(addresses[:size]), kind(addresses[size:])
    return TrafficSelector(first, last, protocol, first_port, last_port)
