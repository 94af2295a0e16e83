"""Netlink framing, pure: messages, attributes and acknowledgements (``linux/netlink.h``).

Every family (XFRM, rtnetlink, the engine's own messages) is built on these. Numbers of the framing
are in host order, as the kernel has them; parsing is total: a value or a WireError.
"""

import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Final, Self

from plutino.model.errors import WireError
from plutino.model.wire_value import wire_value

NLM_F_REQUEST = 0x01
NLM_F_MULTI = 0x02
NLM_F_ACK = 0x04
NLM_F_ECHO = 0x08
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP_FILTERED = 0x20
NLM_F_ROOT = 0x100
NLM_F_MATCH = 0x200
NLM_F_DUMP = NLM_F_ROOT | NLM_F_MATCH
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200

NLMSG_NOOP = 1
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSG_OVERRUN = 4

NLMSGERR_ATTR_MSG = 1
NLMSGERR_ATTR_OFFS = 2

NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

ALIGNMENT = 4
MAX_ATTRIBUTE = 0xFFFF
"""``nla_len`` has 16 bits and counts its own header."""


def align(length: int) -> int:
    """``NLMSG_ALIGN``/``NLA_ALIGN``: the next multiple of 4 bytes."""
    return (length + ALIGNMENT - 1) & -ALIGNMENT


@wire_value
class Attribute:
    """``struct nlattr`` with its payload. ``type`` is as on the wire, flags included.

    The payload is left out of ``repr``: an attribute may hold a key.
    """

    FIXED: ClassVar = struct.Struct("=HH")
    type: int
    payload: bytes = field(repr=False)

    @property
    def number(self) -> int:
        """The type without NLA_F_NESTED and NLA_F_NET_BYTEORDER."""
        return self.type & NLA_TYPE_MASK

    def encode(self) -> bytes:
        """The attribute with its padding to 4 bytes; ValueError above 64 KiB."""
        return encode_attribute(self.type, self.payload)


def parse_attributes(data: bytes, *, what: str) -> tuple[Attribute, ...]:
    """All attributes in their order, unknown ones too; ``what`` names the bytes in a WireError.

    The padding after the last attribute may be missing, as ``nla_ok`` allows.
    """
    return tuple(Attribute(kind, payload) for kind, payload in _split(data, what))


def parse_payloads(data: bytes, *, what: str) -> dict[int, bytes]:
    """The same by number, the last of each: a link has dozens of attributes, and few matter."""
    return {kind & NLA_TYPE_MASK: payload for kind, payload in _split(data, what)}


def _split(data: bytes, what: str) -> list[tuple[int, bytes]]:
    data = bytes(data)
    found: list[tuple[int, bytes]] = []
    offset, end = 0, len(data)
    header = _ATTRIBUTE_HEADER
    while offset < end:
        if end - offset < header:
            raise WireError(what, offset=offset, why="attribute header truncated")
        length, kind = _unpack_attribute(data, offset)
        if length < header:
            raise WireError(what, offset=offset, why=f"attribute length {length} is below {header}")
        if length > end - offset:
            raise WireError(
                what,
                offset=offset,
                why=f"attribute {kind & NLA_TYPE_MASK} of {length} bytes reaches past the end",
            )
        found.append((kind, data[offset + header : offset + length]))
        offset += (length + ALIGNMENT - 1) & -ALIGNMENT
    return found


def encode_attribute(number: int, payload: bytes) -> bytes:
    """One attribute with its padding to 4 bytes; ValueError above 64 KiB."""
    length = _ATTRIBUTE_HEADER + len(payload)
    if length > MAX_ATTRIBUTE:
        raise ValueError(
            f"attribute {number & NLA_TYPE_MASK} of {length} bytes does not fit 16 bits"
        )
    return _pack_attribute(length, number) + payload + _PADDING[length % ALIGNMENT]


_ATTRIBUTE_HEADER: Final = Attribute.FIXED.size
_pack_attribute: Final = Attribute.FIXED.pack
_unpack_attribute: Final = Attribute.FIXED.unpack_from
_PADDING: Final = (b"", bytes(3), bytes(2), bytes(1))
"""By the length modulo ``ALIGNMENT``."""


def encode_attributes(attributes: Iterable[Attribute]) -> bytes:
    """The attributes one after the other, each padded to 4 bytes."""
    return b"".join(attribute.encode() for attribute in attributes)


@wire_value
class Message:
    """``struct nlmsghdr`` with its payload, which ``repr`` leaves out: it may hold a key."""

    FIXED: ClassVar = struct.Struct("=IHHII")
    type: int
    flags: int
    sequence: int
    port: int
    payload: bytes = field(repr=False)

    def encode(self) -> bytes:
        """The message with its padding to 4 bytes."""
        return encode_message(self.type, self.flags, self.sequence, self.payload, self.port)


def encode_message(kind: int, flags: int, sequence: int, payload: bytes, port: int = 0) -> bytes:
    """One message with its padding to 4 bytes."""
    length = _MESSAGE_HEADER + len(payload)
    header = _pack_message(length, kind, flags, sequence, port)
    return header + payload + _PADDING[length % ALIGNMENT]


_MESSAGE_HEADER: Final = Message.FIXED.size
_pack_message: Final = Message.FIXED.pack


def parse_messages(datagram: bytes) -> tuple[Message, ...]:
    """All messages of one datagram."""
    return tuple(_messages(datagram))


def _messages(datagram: bytes) -> Iterator[Message]:
    offset = 0
    header = Message.FIXED.size
    while offset < len(datagram):
        if len(datagram) - offset < header:
            raise WireError("netlink datagram", offset=offset, why="message header truncated")
        length, kind, flags, sequence, port = Message.FIXED.unpack_from(datagram, offset)
        if not header <= length <= len(datagram) - offset:
            raise WireError(
                "netlink datagram", offset=offset, why=f"message length {length} does not fit"
            )
        payload = bytes(datagram[offset + header : offset + length])
        yield Message(kind, flags, sequence, port, payload)
        offset += align(length)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """``struct nlmsgerr`` of NLMSG_ERROR, or the end of a dump (NLMSG_DONE).

    ``errno`` is positive, 0 for success. ``extack`` is NLMSGERR_ATTR_MSG: the reason of a refusal,
    or a warning on success. ``offset`` is where in the request the offending attribute starts.
    """

    ERRNO: ClassVar = struct.Struct("=i")
    errno: int
    extack: str | None = None
    offset: int | None = None

    @classmethod
    def parse(cls, message: Message) -> Self:
        """From NLMSG_ERROR or NLMSG_DONE; anything else or a short one is a WireError."""
        payload = message.payload
        if message.type not in (NLMSG_ERROR, NLMSG_DONE):
            raise WireError("acknowledgement", offset=4, why=f"type {message.type} is none")
        if message.type == NLMSG_DONE and not payload:
            return cls(0)
        if len(payload) < cls.ERRNO.size:
            raise WireError("acknowledgement", offset=len(payload), why="errno truncated")
        (code,) = cls.ERRNO.unpack_from(payload)
        start = cls.ERRNO.size
        if message.type == NLMSG_ERROR:
            start = cls._end_of_request(payload, capped=bool(message.flags & NLM_F_CAPPED))
        if not message.flags & NLM_F_ACK_TLVS:
            return cls(abs(code))
        attributes = parse_attributes(payload[start:], what="extended acknowledgement")
        extack, offset = None, None
        for attribute in attributes:
            if attribute.number == NLMSGERR_ATTR_MSG:
                text = attribute.payload.split(b"\0", 1)[0]
                extack = text.decode("utf-8", "replace")
            elif attribute.number == NLMSGERR_ATTR_OFFS and len(attribute.payload) == 4:
                offset = int.from_bytes(attribute.payload, sys.byteorder)
        return cls(abs(code), extack, offset)

    @classmethod
    def _end_of_request(cls, payload: bytes, *, capped: bool) -> int:
        """Where the copy of the request ends that follows errno: its header alone if capped."""
        header = Message.FIXED.size
        if len(payload) < cls.ERRNO.size + header:
            raise WireError("acknowledgement", offset=len(payload), why="request header truncated")
        if capped:
            return cls.ERRNO.size + header
        (length,) = struct.unpack_from("=I", payload, cls.ERRNO.size)
        if length < header or cls.ERRNO.size + length > len(payload):
            raise WireError(
                "acknowledgement", offset=cls.ERRNO.size, why=f"request of {length} bytes not there"
            )
        return min(cls.ERRNO.size + align(length), len(payload))
