"""Key exchange methods (transform types 4 and 6 to 12): Diffie-Hellman and key encapsulation.

One shape fits both: the initiator starts and later finishes with the peer's value; the responder
answers a value with its own at once. Peers' values are checked as RFC 6989 asks.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519

from plutino.ike.crypto.finite_field import FINITE_FIELDS
from plutino.ike.crypto.mlkem import ML_KEMS
from plutino.ike.crypto.started import DiffieHellman, Random, Started


class KeyExchange(Protocol):
    """A key exchange that we began."""

    @property
    def public(self) -> bytes:
        """Our KE data."""

    def finish(self, peer: bytes) -> bytes:
        """The shared secret; ValueError if the peer's value is not acceptable."""


class KeyExchangeMethod(Protocol):
    """A method by its IANA number."""

    @property
    def name(self) -> str:
        """strongSwan's word: ``x25519``, ``ecp256``, ``modp2048``."""

    @property
    def ike_id(self) -> int:
        """IANA's number."""

    @property
    def weak(self) -> bool:
        """Whether RFC 8247 advises against it."""

    def start(self, random: Random) -> KeyExchange:
        """Begins one, with a key of its own."""

    def respond(self, peer: bytes, random: Random) -> tuple[bytes, bytes]:
        """Our KE data and the shared secret; ValueError if the peer's value is not acceptable."""


@dataclass(frozen=True, slots=True)
class X25519(DiffieHellman):
    """Curve25519 (RFC 8031)."""

    name: str = "x25519"
    ike_id: int = 31
    weak: bool = False

    def start(self, random: Random) -> Started:
        """Begins one."""
        private = x25519.X25519PrivateKey.from_private_bytes(random(32))

        def complete(peer: bytes) -> bytes:
            return private.exchange(x25519.X25519PublicKey.from_public_bytes(peer))

        return Started(private.public_key().public_bytes_raw(), complete)


@dataclass(frozen=True, slots=True)
class X448(DiffieHellman):
    """Curve448 (RFC 8031)."""

    name: str = "x448"
    ike_id: int = 32
    weak: bool = False

    def start(self, random: Random) -> Started:
        """Begins one."""
        private = x448.X448PrivateKey.from_private_bytes(random(56))

        def complete(peer: bytes) -> bytes:
            return private.exchange(x448.X448PublicKey.from_public_bytes(peer))

        return Started(private.public_key().public_bytes_raw(), complete)


@dataclass(frozen=True, slots=True)
class EllipticCurve(DiffieHellman):
    """A curve over a prime field: x and y on the wire, x alone as secret (RFC 5903, RFC 6954)."""

    name: str
    ike_id: int
    curve: ec.EllipticCurve
    weak: bool = False

    def start(self, random: Random) -> Started:
        """Begins one; a surplus of 8 random bytes makes the key's bias negligible (FIPS 186-5)."""
        size = (self.curve.key_size + 7) // 8
        scalar = int.from_bytes(random(size + 8), "big") % (self.curve.group_order - 1) + 1
        private = ec.derive_private_key(scalar, self.curve)
        numbers = private.public_key().public_numbers()

        def complete(peer: bytes) -> bytes:
            if len(peer) != 2 * size:
                raise ValueError(f"{self.name} takes {2 * size} bytes, not {len(peer)}")
            x, y = (int.from_bytes(one, "big") for one in (peer[:size], peer[size:]))
            public = ec.EllipticCurvePublicNumbers(x, y, self.curve).public_key()
            return private.exchange(ec.ECDH(), public)

        public = numbers.x.to_bytes(size, "big") + numbers.y.to_bytes(size, "big")
        return Started(public, complete)


_METHODS: tuple[KeyExchangeMethod, ...] = (
    EllipticCurve("ecp256", 19, ec.SECP256R1()),
    EllipticCurve("ecp384", 20, ec.SECP384R1()),
    EllipticCurve("ecp521", 21, ec.SECP521R1()),
    EllipticCurve("ecp256bp", 28, ec.BrainpoolP256R1()),
    EllipticCurve("ecp384bp", 29, ec.BrainpoolP384R1()),
    EllipticCurve("ecp512bp", 30, ec.BrainpoolP512R1()),
    X25519(),
    X448(),
    *FINITE_FIELDS,
    *ML_KEMS,
)
KEY_EXCHANGES: Final[dict[int, KeyExchangeMethod]] = {one.ike_id: one for one in _METHODS}
