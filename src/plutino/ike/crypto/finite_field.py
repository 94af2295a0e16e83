"""Diffie-Hellman over finite fields: the MODP groups (RFC 2409, RFC 3526).

The exponentiation is ours, in constant time: the libraries of Python give theirs up.
"""

from dataclasses import dataclass
from typing import Final

from plutino._native import modp_power
from plutino.ike.crypto.started import DiffieHellman, Random, Started

_GENERATOR: Final = 2


@dataclass(frozen=True, slots=True)
class FiniteField(DiffieHellman):
    """A MODP group. ``prime`` is safe, so every value but 0, 1 and -1 is acceptable (RFC 6989).

    ``exponent_size`` in bytes is twice the group's strength, by the higher of the estimates of
    RFC 3526, 8.
    """

    name: str
    ike_id: int
    prime: bytes
    exponent_size: int
    weak: bool = False

    @property
    def size(self) -> int:
        """Bytes of a public value and of the secret."""
        return len(self.prime)

    def start(self, random: Random) -> Started:
        """Begins one."""
        exponent = random(self.exponent_size)

        def complete(peer: bytes) -> bytes:
            return self._power(peer, exponent)

        return Started(self._power(_GENERATOR.to_bytes(self.size, "big"), exponent), complete)

    def _power(self, base: bytes, exponent: bytes) -> bytes:
        try:
            return modp_power(self.prime, base, exponent)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error


def _prime(bits: int, offset: int) -> bytes:
    """2^n - 2^(n-64) - 1 + 2^64 * (floor(2^(n-130) * pi) + offset) (RFC 3526, 2)."""
    prime: int = 2**bits - 2 ** (bits - 64) - 1 + 2**64 * (_pi_bits(bits - 130) + offset)
    return prime.to_bytes(bits // 8, "big")


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
    FiniteField("modp1024", 2, _prime(1024, 129093), 32, weak=True),
    FiniteField("modp1536", 5, _prime(1536, 741804), 32, weak=True),
    FiniteField("modp2048", 14, _prime(2048, 124476), 40),
    FiniteField("modp3072", 15, _prime(3072, 1690314), 53),
    FiniteField("modp4096", 16, _prime(4096, 240904), 60),
    FiniteField("modp6144", 17, _prime(6144, 929484), 68),
    FiniteField("modp8192", 18, _prime(8192, 4743158), 78),
)
