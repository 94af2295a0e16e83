"""SA payload with its proposals and transforms (RFC 7296, 3.3)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final, Self

from plutino.ike.numbers import AttributeType, PayloadType
from plutino.ike.payloads.generic import demand
from plutino.model.errors import WireError
from plutino.model.wire_value import wire_value

_ATTRIBUTE_IS_SHORT: Final = 0x8000
_MORE_PROPOSALS: Final = 2
_MORE_TRANSFORMS: Final = 3
_MOST_KNOWN: Final = 256
_LONGEST_KNOWN: Final = 512
"""Lists of transforms that were read before, and their octets."""


@wire_value
class Transform:
    """One algorithm. ``key_bits`` is the Key Length attribute (RFC 7296, 3.3.5).

    ``unknown_attributes`` are type and value as on the wire: such a transform is never chosen.
    """

    HEADER: ClassVar = struct.Struct("!BBHBBH")
    type: int
    id: int
    key_bits: int | None = None
    unknown_attributes: tuple[tuple[int, bytes], ...] = ()

    @classmethod
    def parse(cls, type_: int, id_: int, attributes: memoryview) -> Self:
        """WireError if an attribute is truncated."""
        key_bits = None
        unknown: list[tuple[int, bytes]] = []
        for number, value in _attributes(attributes):
            if number == _ATTRIBUTE_IS_SHORT | AttributeType.KEY_LENGTH and key_bits is None:
                key_bits = int.from_bytes(value, "big")
            else:
                unknown.append((number, value))
        return cls(type_, id_, key_bits, tuple(unknown))

    def encode(self, *, last: bool) -> bytes:
        """The substructure; ``last`` ends the proposal's list."""
        attributes = b""
        if self.key_bits is not None:
            number = _ATTRIBUTE_IS_SHORT | AttributeType.KEY_LENGTH
            attributes = struct.pack("!HH", number, self.key_bits)
        for number, value in self.unknown_attributes:
            attributes += struct.pack("!H", number)
            if not number & _ATTRIBUTE_IS_SHORT:
                attributes += struct.pack("!H", len(value))
            attributes += value
        length = self.HEADER.size + len(attributes)
        more = 0 if last else _MORE_TRANSFORMS
        return self.HEADER.pack(more, 0, length, self.type, 0, self.id) + attributes


@wire_value
class Proposal:
    """A set of transforms for one protocol; ``spi`` is empty in the first IKE exchange."""

    HEADER: ClassVar = struct.Struct("!BBHBBBB")
    number: int
    protocol: int
    spi: bytes
    transforms: tuple[Transform, ...]

    def of_type(self, type_: int) -> tuple[Transform, ...]:
        """The transforms of one type, in the order of preference."""
        return tuple(one for one in self.transforms if one.type == type_)

    def encode(self, *, last: bool) -> bytes:
        """The substructure; ``last`` ends the payload's list."""
        count = len(self.transforms)
        body = self.spi + b"".join(
            one.encode(last=place == count) for place, one in enumerate(self.transforms, 1)
        )
        more = 0 if last else _MORE_PROPOSALS
        length = self.HEADER.size + len(body)
        fixed = (more, 0, length, self.number, self.protocol, len(self.spi), count)
        return self.HEADER.pack(*fixed) + body


@dataclass(frozen=True, slots=True)
class SaPayload:
    """Proposals offered in their order of preference, or the one that was chosen."""

    payload_type: ClassVar = PayloadType.SA
    proposals: tuple[Proposal, ...]

    @classmethod
    def parse(cls, body: memoryview) -> Self:
        """WireError if lengths, counts or the "last" marks contradict each other."""
        return cls(tuple(_proposals(body)))

    def encode(self) -> bytes:
        """All proposals."""
        count = len(self.proposals)
        return b"".join(
            one.encode(last=place == count) for place, one in enumerate(self.proposals, 1)
        )


def _proposals(body: memoryview) -> Iterator[Proposal]:
    for more, part in _substructures(body, Proposal.HEADER.size, "proposal"):
        if more not in {0, _MORE_PROPOSALS}:
            raise WireError("proposal", offset=0, why=f"last substructure is {more}, not 0 or 2")
        _, _, _, number, protocol, spi_size, count = Proposal.HEADER.unpack_from(part)
        rest = part[Proposal.HEADER.size :]
        demand(rest, spi_size, "SPI of a proposal")
        transforms = _transforms_of(bytes(rest[spi_size:]))
        if len(transforms) != count:
            why = f"{len(transforms)} transforms where {count} were announced"
            raise WireError("proposal", offset=0, why=why)
        yield Proposal(number, protocol, bytes(rest[:spi_size]), transforms)


def _transforms_of(octets: bytes) -> tuple[Transform, ...]:
    """Most peers offer the same, each time; what is much longer is not worth the room."""
    return _known(octets) if len(octets) <= _LONGEST_KNOWN else tuple(_transforms(octets))


@lru_cache(_MOST_KNOWN)
def _known(octets: bytes) -> tuple[Transform, ...]:
    return tuple(_transforms(octets))


def _transforms(octets: bytes) -> Iterator[Transform]:
    for more, part in _substructures(memoryview(octets), Transform.HEADER.size, "transform"):
        if more not in {0, _MORE_TRANSFORMS}:
            raise WireError("transform", offset=0, why=f"last substructure is {more}, not 0 or 3")
        _, _, _, type_, _, id_ = Transform.HEADER.unpack_from(part)
        yield Transform.parse(type_, id_, part[Transform.HEADER.size :])


def _substructures(body: memoryview, minimum: int, what: str) -> Iterator[tuple[int, memoryview]]:
    """The parts of a list of substructures, which ends where its last one says so."""
    offset = 0
    more = -1
    while offset < len(body):
        if more == 0:
            raise WireError(what, offset=offset, why="another one after the last")
        part = body[offset:]
        demand(part, minimum, what)
        more, length = part[0], int.from_bytes(part[2:4], "big")
        if not minimum <= length <= len(part):
            raise WireError(what, offset=offset, why=f"length {length} of {len(part)} bytes")
        yield more, part[:length]
        offset += length
    if more > 0:
        raise WireError(what, offset=offset, why="the last one is missing")


def _attributes(body: memoryview) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset < len(body):
        part = body[offset:]
        demand(part, 4, "transform attribute")
        number, value = struct.unpack_from("!HH", part)
        if number & _ATTRIBUTE_IS_SHORT:
            yield number, bytes(part[2:4])
            offset += 4
        else:
            demand(part, 4 + value, "transform attribute")
            yield number, bytes(part[4 : 4 + value])
            offset += 4 + value
