"""Identities as IDi and IDr bear them (RFC 7296, 3.5)."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, Self

from plutino.model.identity import IdType, comparable_name, identity_of, name_words

__all__ = ["IdType", "Identity", "parse_identity"]
_MOST_SHOWN: Final = 1024
"""Octets of one in words: a log line is not for whoever sends more."""


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """A type and its octets as in IDi and IDr; distinguished names are compared by their words."""

    id_type: int
    data: bytes
    _compared: tuple[int, bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Once: what a peer sends is compared with each that is configured."""
        is_name = self.id_type == IdType.DER_ASN1_DN
        compared = self.id_type, comparable_name(self.data) if is_name else self.data
        object.__setattr__(self, "_compared", compared)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self._compared == other._compared

    def __hash__(self) -> int:
        return hash(self._compared)

    def __str__(self) -> str:
        if len(self.data) > _MOST_SHOWN:
            return f"type {self.id_type} of {len(self.data)} octets"
        if self.id_type in {IdType.IPV4_ADDR, IdType.IPV6_ADDR} and len(self.data) in {4, 16}:
            return str(ip_address(self.data))
        if self.id_type in {IdType.FQDN, IdType.RFC822_ADDR}:
            return self.data.decode("ascii", "backslashreplace")
        if self.id_type == IdType.KEY_ID:
            return f"@#{self.data.hex()}"
        try:
            return name_words(self.data) if self.id_type == IdType.DER_ASN1_DN else self._hex()
        except ValueError:
            return self._hex()

    def _hex(self) -> str:
        return f"type {self.id_type} {self.data.hex()}"

    @classmethod
    def fqdn(cls, name: str) -> Self:
        """A name; it need not exist in DNS."""
        return cls(IdType.FQDN, name.encode())


def parse_identity(text: str) -> Identity:
    """From the words of a configuration; ValueError where they make none."""
    return Identity(*identity_of(text))
