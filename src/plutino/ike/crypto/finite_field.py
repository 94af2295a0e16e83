"""Diffie-Hellman over finite fields: the MODP groups (RFC 2409, RFC 3526).

OpenSSL does the exponentiation, in constant time, and makes the private key: it takes none from
outside that would not have to be exponentiated by us first.
"""

import warnings
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import dh

from plutino.ike.crypto.started import Random, Started

_GENERATOR: Final = 2


@dataclass(frozen=True, slots=True)
class FiniteField:
    """A MODP group. ``prime`` is safe, so every value but 0, 1 and -1 is acceptable (RFC 6989)."""

    name: str
    ike_id: int
    prime: int
    weak: bool = False

    @property
    def size(self) -> int:
        """Bytes of a public value and of the secret."""
        return (self.prime.bit_length() + 7) // 8

    def start(self, random: Random) -> Started:
        """Begins one."""
        del random
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its makers will drop it; then ours takes its place
            numbers = dh.DHParameterNumbers(self.prime, _GENERATOR)
            private = numbers.parameters().generate_private_key()
        public = private.public_key().public_numbers().y.to_bytes(self.size, "big")

        def complete(peer: bytes) -> bytes:
            value = int.from_bytes(peer, "big")
            if len(peer) != self.size or not 1 < value < self.prime - 1:
                raise ValueError(f"{self.name}: the peer's value is out of range")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = dh.DHPublicNumbers(value, numbers).public_key()
                return private.exchange(theirs).rjust(self.size, b"\0")

        return Started(public, complete)

    def respond(self, peer: bytes, random: Random) -> tuple[bytes, bytes]:
        """Our value and the secret; ValueError if the peer's value is not acceptable."""
        started = self.start(random)
        return started.public, started.finish(peer)


def _prime(bits: int, offset: int) -> int:
    """2^n - 2^(n-64) - 1 + 2^64 * (floor(2^(n-130) * pi) + offset) (RFC 3526, 2)."""
    prime: int = 2**bits - 2 ** (bits - 64) - 1 + 2**64 * (_pi_bits(bits - 130) + offset)
    return prime


def _pi_bits(bits: int) -> int:
    """floor(2^bits * pi), by Machin's formula with guard bits."""
    guard = 64
    one = 1 << (bits + guard)

    def arccot(x: int) -> int:
        term: int = one // x
        total = term
        number, sign = 3, -1
        while term:
            term //= x * x
            total += sign * (term // number)
            number, sign = number + 2, -sign
        return total

    pi: int = 4 * (4 * arccot(5) - arccot(239))
    return pi >> guard


FINITE_FIELDS: Final = (
    FiniteField("modp1024", 2, _prime(1024, 129093), weak=True),
    FiniteField("modp1536", 5, _prime(1536, 741804), weak=True),
    FiniteField("modp2048", 14, _prime(2048, 124476)),
    FiniteField("modp3072", 15, _prime(3072, 1690314)),
    FiniteField("modp4096", 16, _prime(4096, 240904)),
    FiniteField("modp6144", 17, _prime(6144, 929484)),
    FiniteField("modp8192", 18, _prime(8192, 4743158)),
)
