"""Identities (RFC 7296, 3.5)."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Self


class IdType(IntEnum):
    """RFC 7296, 3.5."""

    IPV4_ADDR = 1
    FQDN = 2
    RFC822_ADDR = 3
    IPV6_ADDR = 5
    DER_ASN1_DN = 9
    DER_ASN1_GN = 10
    KEY_ID = 11


@dataclass(frozen=True, slots=True)
class Identity:
    """A type and its octets as in IDi and IDr."""

    id_type: int
    data: bytes

    @classmethod
    def fqdn(cls, name: str) -> Self:
        """A name; it need not exist in DNS."""
        return cls(IdType.FQDN, name.encode())
