"""What all payloads share: the generic header's body, its bounds, and payloads we do not know.

The chain in ``plutino.ike.message.chain`` reads and writes the generic header (RFC 7296, 3.2); a
payload's ``parse`` gets the body behind it and ``encode`` gives that body.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from plutino.ike.numbers import NONCE_SIZES, PayloadType
from plutino.model.errors import WireError


class Payload(Protocol):
    """One payload: its number on the wire and its body."""

    @property
    def payload_type(self) -> int:
        """RFC 7296, 3.2."""

    def encode(self) -> bytes:
        """The body, without the generic header."""


def demand(body: memoryview, size: int, what: str) -> None:
    """WireError unless the body has ``size`` bytes at least."""
    if len(body) < size:
        raise WireError(what, offset=len(body), why=f"truncated, {size} bytes are needed")


@dataclass(frozen=True, slots=True)
class OpaquePayload:
    """A payload we do not read: unknown, or without use here (CP, EAP, vendor id).

    An unknown one with its critical bit fails the exchange (RFC 7296, 2.5).
    """

    payload_type: int
    critical: bool
    body: bytes

    def encode(self) -> bytes:
        """The body as it was."""
        return self.body


@dataclass(frozen=True, slots=True)
class NoncePayload:
    """Ni or Nr (RFC 7296, 3.9)."""

    payload_type: ClassVar = PayloadType.NONCE
    nonce: bytes

    @classmethod
    def parse(cls, body: memoryview) -> Self:
        """WireError unless it has 16 to 256 bytes."""
        if len(body) not in NONCE_SIZES:
            raise WireError("nonce", offset=0, why=f"{len(body)} bytes, not 16 to 256")
        return cls(bytes(body))

    def encode(self) -> bytes:
        """The nonce."""
        return self.nonce
