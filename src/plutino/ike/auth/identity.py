"""Identities (RFC 7296, 3.5)."""

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import ip_address
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

    def __str__(self) -> str:
        if self.id_type in {IdType.IPV4_ADDR, IdType.IPV6_ADDR} and len(self.data) in {4, 16}:
            return str(ip_address(self.data))
        if self.id_type in {IdType.FQDN, IdType.RFC822_ADDR}:
            return self.data.decode("ascii", "backslashreplace")
        return f"type {self.id_type} {self.data.hex()}"

    @classmethod
    def fqdn(cls, name: str) -> Self:
        """A name; it need not exist in DNS."""
        return cls(IdType.FQDN, name.encode())


def parse_identity(text: str) -> Identity:
    """From the words of a configuration: an address, ``user@host``, or else a name.

    ``@name`` is a name too, however it looks. ValueError if it is empty.
    """
    if not text:
        raise ValueError("an identity must not be empty")
    try:
        address = ip_address(text)
    except ValueError:
        pass
    else:
        kind = IdType.IPV4_ADDR if address.version == 4 else IdType.IPV6_ADDR
        return Identity(kind, address.packed)
    if text.startswith("@"):
        return Identity.fqdn(text[1:])
    if "@" in text:
        return Identity(IdType.RFC822_ADDR, text.encode())
    return Identity.fqdn(text)
