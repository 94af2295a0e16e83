"""IDi and IDr, AUTH, CERT and CERTREQ (RFC 7296, 3.5 to 3.8)."""

import struct
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from plutino.ike.numbers import PayloadType
from plutino.ike.payloads.generic import demand

_ONE_AND_RESERVED: Final = struct.Struct("!B3s")


@dataclass(frozen=True, slots=True)
class IdPayload:
    """IDi or IDr by ``payload_type``.

    The reserved bytes are kept as received: AUTH covers them (RFC 7296, 2.15).
    """

    payload_type: int
    id_type: int
    data: bytes
    reserved: bytes = bytes(3)

    @classmethod
    def parse_initiator(cls, body: memoryview) -> Self:
        """IDi; WireError if truncated."""
        return cls._parse(PayloadType.ID_I, body)

    @classmethod
    def parse_responder(cls, body: memoryview) -> Self:
        """IDr; WireError if truncated."""
        return cls._parse(PayloadType.ID_R, body)

    @classmethod
    def _parse(cls, payload_type: int, body: memoryview) -> Self:
        demand(body, _ONE_AND_RESERVED.size, "ID payload")
        id_type, reserved = _ONE_AND_RESERVED.unpack_from(body)
        return cls(payload_type, id_type, bytes(body[_ONE_AND_RESERVED.size :]), reserved)

    def encode(self) -> bytes:
        """Also RestOfInitIDPayload and RestOfRespIDPayload of RFC 7296, 2.15."""
        return _ONE_AND_RESERVED.pack(self.id_type, self.reserved) + self.data


@dataclass(frozen=True, slots=True)
class AuthPayload:
    """Method and data that prove an identity (RFC 7296, 3.8)."""

    payload_type: ClassVar = PayloadType.AUTH
    method: int
    data: bytes

    @classmethod
    def parse(cls, body: memoryview) -> Self:
        """WireError if truncated."""
        demand(body, _ONE_AND_RESERVED.size, "AUTH payload")
        return cls(body[0], bytes(body[_ONE_AND_RESERVED.size :]))

    def encode(self) -> bytes:
        """Method, reserved, data."""
        return _ONE_AND_RESERVED.pack(self.method, bytes(3)) + self.data


@dataclass(frozen=True, slots=True)
class CertPayload:
    """A certificate, or what stands for one, in its encoding (RFC 7296, 3.6)."""

    payload_type: ClassVar = PayloadType.CERT
    encoding: int
    data: bytes

    @classmethod
    def parse(cls, body: memoryview) -> Self:
        """WireError if truncated."""
        demand(body, 1, "CERT payload")
        return cls(body[0], bytes(body[1:]))

    def encode(self) -> bytes:
        """Encoding, data."""
        return bytes((self.encoding,)) + self.data


@dataclass(frozen=True, slots=True)
class CertReqPayload:
    """Wanted encoding, and SHA-1 hashes of the authorities' public keys (RFC 7296, 3.7)."""

    payload_type: ClassVar = PayloadType.CERTREQ
    encoding: int
    authorities: bytes

    @classmethod
    def parse(cls, body: memoryview) -> Self:
        """WireError if truncated."""
        demand(body, 1, "CERTREQ payload")
        return cls(body[0], bytes(body[1:]))

    def encode(self) -> bytes:
        """Encoding, hashes."""
        return bytes((self.encoding,)) + self.authorities
