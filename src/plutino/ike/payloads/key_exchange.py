"""KE payload (RFC 7296, 3.4), for Diffie-Hellman and key encapsulation alike."""

import struct
from dataclasses import dataclass
from typing import ClassVar, Self

from plutino.ike.numbers import PayloadType
from plutino.ike.payloads.generic import demand


@dataclass(frozen=True, slots=True)
class KePayload:
    """The method of a key exchange and one side's public value, big-endian."""

    payload_type: ClassVar = PayloadType.KE
    FIXED: ClassVar = struct.Struct("!HH")
    method: int
    data: bytes

    @classmethod
    def parse(cls, body: memoryview) -> Self:
        """WireError if truncated."""
        demand(body, cls.FIXED.size, "KE payload")
        method, _reserved = cls.FIXED.unpack_from(body)
        return cls(method, bytes(body[cls.FIXED.size :]))

    def encode(self) -> bytes:
        """Method, two reserved bytes, public value."""
        return self.FIXED.pack(self.method, 0) + self.data
