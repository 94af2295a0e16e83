"""The engine's own messages and attributes, pure (docs/engine-protocol.md)."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from plutino.model.drop_reason import LINK_COUNTERS
from plutino.model.errors import WireError
from plutino.model.numbers import IfId, Spi
from plutino.model.policy import IpAddress
from plutino.model.sa import SaDirection
from plutino.netlink.wire import Attribute, encode_attributes, parse_attributes, parse_payloads


class EngineMessage(IntEnum):
    """Message types from 0x80 on."""

    NEWDEV = 0x80
    DELDEV = 0x81
    GETDEV = 0x82
    NEWSOCK = 0x83
    DELSOCK = 0x84
    GETSOCK = 0x85
    GETSTAT = 0x86
    NEWSTAT = 0x87
    JOIN = 0x88
    GETINFO = 0x89
    NEWINFO = 0x8A
    SHUTDOWN = 0x8B
    GETDROP = 0x8C
    NEWDROP = 0x8D
    NEWMAP = 0x8E
    DELMAP = 0x8F
    GETMAP = 0x90
    IKE = 0x91
    HEARIKE = 0x92


class EngineAttribute(IntEnum):
    """Attributes, in one space of numbers."""

    IFNAME = 1
    IF_ID = 2
    IFINDEX = 3
    MTU = 4
    ATTACHED = 5
    STATS64 = 6
    SOCK_KIND = 7
    STAT = 8
    GROUPS = 9
    VERSION = 10
    PID = 11
    CRYPTO = 12
    BOOT_ID = 13
    SOCK_ERRORS = 14
    TIME = 15
    REASON = 16
    DIRECTION = 17
    SPI = 18
    SEQUENCE = 19
    SOURCE = 20
    DESTINATION = 21
    INNER_HEADER = 22
    QUEUES = 23
    EXTERNAL = 24
    PREFIX = 25
    MISSED = 26
    LOST = 27
    PORT = 28
    MARK = 29
    DATAGRAM = 30


IpNetwork = IPv4Network | IPv6Network

_U32: Final = struct.Struct("=I")
_U64: Final = struct.Struct("=Q")


@dataclass(frozen=True, slots=True)
class EngineDevice:
    """A TUN device that the engine serves; ``stats`` by the names of ``rtnl_link_stats64``.

    The external device has no ``if_id``.
    """

    name: str
    if_id: IfId | None
    ifindex: int
    mtu: int
    attached: bool
    stats: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A TUN device to serve, and a descriptor for each of its queues."""

    name: str
    if_id: IfId | None
    ifindex: int
    mtu: int
    descriptors: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class EngineIke:
    """An IKE message to send by the engine's port 4500, without the non-ESP marker.

    ``port`` is the peer's, in host order; ``mark`` is 0 for none.
    """

    source: IpAddress
    destination: IpAddress
    port: int
    datagram: bytes = field(repr=False)
    mark: int = 0


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Version, process id, cryptographic library; ``boot_id`` is new at each start."""

    version: str
    pid: int
    crypto: str
    boot_id: str


@dataclass(frozen=True, slots=True)
class EngineDrop:
    """A packet that the engine dropped; what is not known of it is None or empty.

    ``time`` is in nanoseconds since the epoch, ``reason`` a counter's name, ``sequence`` the low
    half of the ESP sequence number. ``source`` and ``destination`` are those of the outer header,
    ``inner_header`` the IP header and the ports of the packet in clear. ``missed`` is how many
    drops before it nobody has read nor can read, since they were read last.
    """

    time: int
    reason: str
    direction: SaDirection
    if_id: IfId | None
    spi: Spi | None
    sequence: int | None
    source: IpAddress | None
    destination: IpAddress | None
    inner_header: bytes
    missed: int = 0


@dataclass(frozen=True, slots=True)
class EngineLosses:
    """What the engine had to tell and nobody got, since its start.

    ``notifications`` that listeners were too slow for, and ``drops`` of which no record was read.
    """

    notifications: int
    drops: int


def encode_device(name: str, if_id: IfId | None, ifindex: int, mtu: int, queues: int) -> bytes:
    """NEWDEV, whose descriptors travel beside it: so many of the datagram's, in order.

    Without if_id it is the external device.
    """
    external = [] if if_id is not None else [Attribute(EngineAttribute.EXTERNAL, b"")]
    return encode_attributes(
        [
            _text(EngineAttribute.IFNAME, name),
            _number(EngineAttribute.IF_ID, if_id or 0),
            _number(EngineAttribute.IFINDEX, ifindex),
            _number(EngineAttribute.MTU, mtu),
            _number(EngineAttribute.QUEUES, queues),
            *external,
        ]
    )


def encode_map(prefix: IpNetwork, if_id: IfId | None = None) -> bytes:
    """NEWMAP; without if_id DELMAP."""
    octets = bytes([prefix.prefixlen]) + prefix.network_address.packed
    told = [] if if_id is None else [_number(EngineAttribute.IF_ID, if_id)]
    return encode_attributes([Attribute(EngineAttribute.PREFIX, octets), *told])


def parse_map(payload: bytes) -> tuple[IpNetwork, IfId]:
    """From NEWMAP."""
    found = _parse(payload, "NEWMAP")
    octets = found.get(EngineAttribute.PREFIX, b"")
    if len(octets) not in (5, 17):
        raise WireError("NEWMAP", offset=0, why="PREFIX has not 5 or 17 bytes")
    try:
        prefix = ip_network((octets[1:], octets[0]))
    except ValueError as error:
        raise WireError("NEWMAP", offset=0, why=f"PREFIX is none: {error}") from error
    return prefix, IfId(_u32(found, EngineAttribute.IF_ID, "NEWMAP"))


def encode_name(name: str) -> bytes:
    """DELDEV, or GETDEV of one."""
    return encode_attributes([_text(EngineAttribute.IFNAME, name)])


def encode_kind(kind: int) -> bytes:
    """NEWSOCK and DELSOCK."""
    return encode_attributes([_number(EngineAttribute.SOCK_KIND, kind)])


def encode_groups(groups: int) -> bytes:
    """JOIN: bit n-1 for group n."""
    return encode_attributes([_number(EngineAttribute.GROUPS, groups)])


def parse_device(payload: bytes) -> EngineDevice:
    """From NEWDEV."""
    found = _parse(payload, "NEWDEV")
    octets = found.get(EngineAttribute.STATS64, b"")
    numbers = struct.unpack(f"={len(octets) // 8}Q", octets[: len(octets) // 8 * 8])
    if_id = _u32(found, EngineAttribute.IF_ID, "NEWDEV")
    return EngineDevice(
        name=_string(found, EngineAttribute.IFNAME, "NEWDEV"),
        if_id=IfId(if_id) if if_id else None,
        ifindex=_u32(found, EngineAttribute.IFINDEX, "NEWDEV"),
        mtu=_u32(found, EngineAttribute.MTU, "NEWDEV"),
        attached=found.get(EngineAttribute.ATTACHED) == b"\x01",
        stats=dict(zip(LINK_COUNTERS, numbers, strict=False)),
    )


def parse_socket(payload: bytes) -> tuple[int, int]:
    """Kind and errors, from NEWSOCK."""
    found = _parse(payload, "NEWSOCK")
    errors = _u64(found, EngineAttribute.SOCK_ERRORS, "NEWSOCK", absent=0)
    return _u32(found, EngineAttribute.SOCK_KIND, "NEWSOCK"), errors


def parse_stat(payload: bytes) -> Mapping[str, int]:
    """Counters by the names of ``/proc/net/xfrm_stat``, from NEWSTAT."""
    counters = {}
    for attribute in parse_attributes(payload, what="NEWSTAT"):
        if attribute.number == EngineAttribute.STAT and len(attribute.payload) > _U64.size:
            (value,) = _U64.unpack_from(attribute.payload)
            name = attribute.payload[_U64.size :].split(b"\0", 1)[0]
            counters[name.decode("ascii", "replace")] = int(value)
    return counters


def parse_losses(payload: bytes) -> EngineLosses:
    """From NEWSTAT."""
    found = _parse(payload, "NEWSTAT")
    return EngineLosses(
        notifications=_u64(found, EngineAttribute.LOST, "NEWSTAT"),
        drops=_u64(found, EngineAttribute.MISSED, "NEWSTAT"),
    )


def parse_drop(payload: bytes) -> EngineDrop:
    """From NEWDROP."""
    found = _parse(payload, "NEWDROP")
    time = found.get(EngineAttribute.TIME, b"")
    direction = found.get(EngineAttribute.DIRECTION, b"")
    if len(time) != _U64.size or direction not in (b"\1", b"\2"):
        raise WireError("NEWDROP", offset=0, why="TIME or DIRECTION is missing")

    def number(attribute: EngineAttribute) -> int | None:
        return _u32(found, attribute, "NEWDROP") if attribute in found else None

    def address(attribute: EngineAttribute) -> IpAddress | None:
        octets = found.get(attribute)
        return ip_address(octets) if octets is not None and len(octets) in (4, 16) else None

    if_id, spi = number(EngineAttribute.IF_ID), number(EngineAttribute.SPI)
    return EngineDrop(
        time=int(_U64.unpack(time)[0]),
        reason=_string(found, EngineAttribute.REASON, "NEWDROP"),
        direction=SaDirection(direction[0]),
        if_id=None if if_id is None else IfId(if_id),
        spi=None if spi is None else Spi(spi),
        sequence=number(EngineAttribute.SEQUENCE),
        source=address(EngineAttribute.SOURCE),
        destination=address(EngineAttribute.DESTINATION),
        inner_header=found.get(EngineAttribute.INNER_HEADER, b""),
        missed=_u64(found, EngineAttribute.MISSED, "NEWDROP", absent=0),
    )


def parse_info(payload: bytes) -> EngineInfo:
    """From NEWINFO."""
    found = _parse(payload, "NEWINFO")
    return EngineInfo(
        version=_string(found, EngineAttribute.VERSION, "NEWINFO"),
        pid=_u32(found, EngineAttribute.PID, "NEWINFO"),
        crypto=_string(found, EngineAttribute.CRYPTO, "NEWINFO"),
        boot_id=found.get(EngineAttribute.BOOT_ID, b"").hex(),
    )


def _text(number: int, text: str) -> Attribute:
    return Attribute(number, text.encode() + b"\0")


def _number(number: int, value: int) -> Attribute:
    return Attribute(number, _U32.pack(value))


def _parse(payload: bytes, what: str) -> Mapping[int, bytes]:
    return parse_payloads(payload, what=what)


def _u32(found: Mapping[int, bytes], number: int, what: str) -> int:
    octets = found.get(number, b"")
    if len(octets) != _U32.size:
        raise WireError(what, offset=0, why=f"attribute {number} is missing or has not 4 bytes")
    return int(_U32.unpack(octets)[0])


def _u64(found: Mapping[int, bytes], number: int, what: str, *, absent: int | None = None) -> int:
    octets = found.get(number, b"" if absent is None else _U64.pack(absent))
    if len(octets) != _U64.size:
        raise WireError(what, offset=0, why=f"attribute {number} is missing or has not 8 bytes")
    return int(_U64.unpack(octets)[0])


def _string(found: Mapping[int, bytes], number: int, what: str) -> str:
    if number not in found:
        raise WireError(what, offset=0, why=f"attribute {number} is missing")
    return found[number].split(b"\0", 1)[0].decode("utf-8", "replace")


def encode_ike(message: EngineIke) -> bytes:
    """The payload of IKE as a request."""
    return encode_attributes(
        [
            Attribute(EngineAttribute.SOURCE, message.source.packed),
            Attribute(EngineAttribute.DESTINATION, message.destination.packed),
            Attribute(EngineAttribute.PORT, _U32.pack(message.port)),
            Attribute(EngineAttribute.MARK, _U32.pack(message.mark)),
            Attribute(EngineAttribute.DATAGRAM, message.datagram),
        ]
    )
