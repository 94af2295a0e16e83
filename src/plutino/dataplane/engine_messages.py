"""The engine's own messages and attributes, pure (docs/engine-protocol.md)."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from plutino.model.drop_reason import LINK_COUNTERS
from plutino.model.errors import WireError
from plutino.model.numbers import IfId
from plutino.netlink.wire import Attribute, encode_attributes, parse_attributes


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


_U32: Final = struct.Struct("=I")
_U64: Final = struct.Struct("=Q")


@dataclass(frozen=True, slots=True)
class EngineDevice:
    """A TUN device that the engine serves; ``stats`` by the names of ``rtnl_link_stats64``."""

    name: str
    if_id: IfId
    ifindex: int
    mtu: int
    attached: bool
    stats: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Version, process id, cryptographic library; ``boot_id`` is new at each start."""

    version: str
    pid: int
    crypto: str
    boot_id: str


def encode_device(name: str, if_id: IfId, ifindex: int, mtu: int) -> bytes:
    """NEWDEV, whose descriptors travel beside it."""
    return encode_attributes(
        [
            _text(EngineAttribute.IFNAME, name),
            _number(EngineAttribute.IF_ID, if_id),
            _number(EngineAttribute.IFINDEX, ifindex),
            _number(EngineAttribute.MTU, mtu),
        ]
    )


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
    return EngineDevice(
        name=_string(found, EngineAttribute.IFNAME, "NEWDEV"),
        if_id=IfId(_u32(found, EngineAttribute.IF_ID, "NEWDEV")),
        ifindex=_u32(found, EngineAttribute.IFINDEX, "NEWDEV"),
        mtu=_u32(found, EngineAttribute.MTU, "NEWDEV"),
        attached=found.get(EngineAttribute.ATTACHED) == b"\x01",
        stats=dict(zip(LINK_COUNTERS, numbers, strict=False)),
    )


def parse_socket(payload: bytes) -> tuple[int, int]:
    """Kind and errors, from NEWSOCK."""
    found = _parse(payload, "NEWSOCK")
    errors = found.get(EngineAttribute.SOCK_ERRORS, bytes(8))
    if len(errors) != _U64.size:
        raise WireError("NEWSOCK", offset=0, why="SOCK_ERRORS has not 8 bytes")
    return _u32(found, EngineAttribute.SOCK_KIND, "NEWSOCK"), int(_U64.unpack(errors)[0])


def parse_stat(payload: bytes) -> Mapping[str, int]:
    """Counters by the names of ``/proc/net/xfrm_stat``, from NEWSTAT."""
    counters = {}
    for attribute in parse_attributes(payload, what="NEWSTAT"):
        if attribute.number == EngineAttribute.STAT and len(attribute.payload) > _U64.size:
            (value,) = _U64.unpack_from(attribute.payload)
            name = attribute.payload[_U64.size :].split(b"\0", 1)[0]
            counters[name.decode("ascii", "replace")] = int(value)
    return counters


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
    return {one.number: one.payload for one in parse_attributes(payload, what=what)}


def _u32(found: Mapping[int, bytes], number: int, what: str) -> int:
    octets = found.get(number, b"")
    if len(octets) != _U32.size:
        raise WireError(what, offset=0, why=f"attribute {number} is missing or has not 4 bytes")
    return int(_U32.unpack(octets)[0])


def _string(found: Mapping[int, bytes], number: int, what: str) -> str:
    if number not in found:
        raise WireError(what, offset=0, why=f"attribute {number} is missing")
    return found[number].split(b"\0", 1)[0].decode("utf-8", "replace")
