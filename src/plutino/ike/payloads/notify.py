"""Notify and Delete payloads (RFC 7296, 3.10 and 3.11)."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from plutino.ike.numbers import FIRST_STATUS, NotifyType, PayloadType, Protocol, name_of
from plutino.ike.payloads.generic import demand
from plutino.model.errors import WireError
from plutino.model.wire_value import wire_value


@wire_value
class NotifyPayload:
    """An error or a status; ``protocol`` and ``spi`` name the SA that it is about, if any."""

    payload_type: ClassVar = PayloadType.NOTIFY
    FIXED: ClassVar = struct.Struct("!BBH")
    type: int
    data: bytes = b""
    protocol: int = Protocol.NONE
    spi: bytes = b""

    @classmethod
    def parse(cls, body: memoryview) -> Self:
        """WireError if truncated."""
        demand(body, cls.FIXED.size, "notify payload")
        protocol, spi_size, type_ = cls.FIXED.unpack_from(body)
        rest = body[cls.FIXED.size :]
        demand(rest, spi_size, "SPI of a notify payload")
        return cls(type_, bytes(rest[spi_size:]), protocol, bytes(rest[:spi_size]))

    def encode(self) -> bytes:
        """Protocol, SPI, type, data."""
        return self.FIXED.pack(self.protocol, len(self.spi), self.type) + self.spi + self.data

    @property
    def is_error(self) -> bool:
        """Whether the type is one of the errors."""
        return self.type < FIRST_STATUS

    @property
    def name(self) -> str:
        """IANA's name of the type, or its number."""
        return name_of(NotifyType, self.type)


@dataclass(frozen=True, slots=True)
class DeletePayload:
    """SPIs of the sender's inbound SAs that end; none for the IKE SA itself."""

    payload_type: ClassVar = PayloadType.DELETE
    FIXED: ClassVar = struct.Struct("!BBH")
    protocol: int
    spis: tuple[bytes, ...] = ()

    @classmethod
    def of_children(cls, spis: Sequence[bytes]) -> Self:
        """Ends CHILD_SAs of ESP."""
        return cls(Protocol.ESP, tuple(spis))

    @classmethod
    def parse(cls, body: memoryview) -> Self:
        """WireError if truncated or if SPIs and their count differ."""
        demand(body, cls.FIXED.size, "delete payload")
        protocol, size, count = cls.FIXED.unpack_from(body)
        rest = bytes(body[cls.FIXED.size :])
        if len(rest) != size * count or (size == 0 and count):
            why = f"{len(rest)} bytes for {count} SPIs of {size}"
            raise WireError("delete payload", offset=cls.FIXED.size, why=why)
        spis = tuple(rest[at : at + size] for at in range(0, len(rest), size)) if size else ()
        return cls(protocol, spis)

    def encode(self) -> bytes:
        """Protocol, size and count of SPIs, SPIs."""
        size = len(self.spis[0]) if self.spis else 0
        return self.FIXED.pack(self.protocol, size, len(self.spis)) + b"".join(self.spis)
