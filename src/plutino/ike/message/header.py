"""The fixed header of every message (RFC 7296, 3.1)."""

import struct
from typing import ClassVar, Final, Self

from plutino.ike.numbers import MAJOR_VERSION, MINOR_VERSION, ExchangeType, Flag, name_of
from plutino.model.errors import WireError
from plutino.model.wire_value import wire_value

SPI_SIZE = 8
NO_SPI = bytes(SPI_SIZE)
_RESPONSE: Final = int(Flag.RESPONSE)
_INITIATOR: Final = int(Flag.INITIATOR)


@wire_value
class Header:
    """28 bytes. ``length`` is that of the whole message in bytes, this header included."""

    FIXED: ClassVar = struct.Struct("!8s8sBBBBII")
    initiator_spi: bytes
    responder_spi: bytes
    next_payload: int
    exchange_type: int
    flags: int
    message_id: int
    length: int = 0
    major_version: int = MAJOR_VERSION
    minor_version: int = MINOR_VERSION

    @classmethod
    def parse(cls, datagram: memoryview) -> Self:
        """WireError if truncated, or if the length is not the datagram's.

        The version is not judged here: another one deserves an answer (RFC 7296, 2.5).
        """
        if len(datagram) < cls.FIXED.size:
            raise WireError("IKE header", offset=len(datagram), why="truncated")
        fields = cls.FIXED.unpack_from(datagram)
        initiator, responder, following, version, exchange, flags, message_id, length = fields
        if length != len(datagram):
            why = f"length {length} in a datagram of {len(datagram)} bytes"
            raise WireError("IKE header", offset=24, why=why)
        if initiator == NO_SPI:
            raise WireError("IKE header", offset=0, why="the initiator's SPI is zero")
        return cls(
            initiator, responder, following, exchange, flags, message_id, length,
            version >> 4, version & 0xF,
        )  # fmt: skip

    def encode(self) -> bytes:
        """The 28 bytes."""
        version = self.major_version << 4 | self.minor_version
        return self.FIXED.pack(
            self.initiator_spi, self.responder_spi, self.next_payload, version,
            self.exchange_type, self.flags, self.message_id, self.length,
        )  # fmt: skip

    @property
    def is_response(self) -> bool:
        """Whether the R flag is set."""
        return bool(self.flags & _RESPONSE)

    @property
    def is_from_initiator(self) -> bool:
        """Whether it comes from the side that began the IKE SA (I flag)."""
        return bool(self.flags & _INITIATOR)

    @property
    def exchange_name(self) -> str:
        """IANA's name of the exchange, or its number."""
        return name_of(ExchangeType, self.exchange_type)
