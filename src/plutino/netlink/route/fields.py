"""What every rtnetlink message is made of: a fixed structure, numbers, texts, nested attributes."""

import struct
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from plutino.model.errors import WireError
from plutino.model.policy import IpAddress
from plutino.netlink.wire import NLA_F_NESTED, Attribute, encode_attributes, parse_payloads

Attributes = Mapping[int, bytes]
U32: Final = struct.Struct("=I")


def parse_fixed(
    form: struct.Struct, payload: bytes, what: str
) -> tuple[tuple[int, ...], Attributes]:
    """The fixed structure at the start, and the attributes after it. Raises WireError."""
    if len(payload) < form.size:
        raise WireError(what, offset=len(payload), why="fixed structure truncated")
    return form.unpack_from(payload), parse_payloads(payload[form.size :], what=what)


def parse_u32(attributes: Attributes, which: int, default: int = 0) -> int:
    """An attribute of 32 bits in host order, or the default if it is not there."""
    octets = attributes.get(which, b"")
    return int(U32.unpack(octets)[0]) if len(octets) == U32.size else default


def parse_text(octets: bytes) -> str:
    """Text up to its NUL."""
    return octets.split(b"\0", 1)[0].decode("utf-8", "replace")


def text_attribute(which: int, text: str) -> Attribute:
    """Text with its NUL."""
    return Attribute(which, text.encode() + b"\0")


def u32_attribute(which: int, value: int) -> Attribute:
    """32 bits in host order."""
    return Attribute(which, U32.pack(value))


def nested_attribute(which: int, *attributes: Attribute) -> Attribute:
    """Attributes in an attribute."""
    return Attribute(which | NLA_F_NESTED, encode_attributes(attributes))


def parse_ip(octets: bytes) -> IpAddress:
    """An address by its length. Raises WireError."""
    if len(octets) == 4:
        return IPv4Address(octets)
    if len(octets) == 16:
        return IPv6Address(octets)
    raise WireError("address", offset=len(octets), why="neither 4 nor 16 bytes")
