"""Keying material of IKE SAs and CHILD_SAs (RFC 7296, 2.14, 2.17 and 2.18; RFC 9370; RFC 8784)."""

from dataclasses import dataclass, field, replace
from typing import Self

from plutino.ike.crypto.prf import Prf


@dataclass(frozen=True, slots=True)
class KeySizes:
    """Bytes of an encryption key with its salt, and of an integrity key (0 with an AEAD)."""

    encryption: int
    integrity: int


@dataclass(frozen=True, slots=True)
class IkeKeys:
    """SK_d to SK_pr. None of them is ever printed."""

    d: bytes = field(repr=False)
    ai: bytes = field(repr=False)
    ar: bytes = field(repr=False)
    ei: bytes = field(repr=False)
    er: bytes = field(repr=False)
    pi: bytes = field(repr=False)
    pr: bytes = field(repr=False)

    def with_ppk(self, prf: Prf, ppk: bytes) -> Self:
        """SK_d, SK_pi and SK_pr after a post-quantum key is mixed in (RFC 8784, 3)."""
        d, pi, pr = (prf.plus(ppk, one, prf.key_size) for one in (self.d, self.pi, self.pr))
        return replace(self, d=d, pi=pi, pr=pr)


@dataclass(frozen=True, slots=True)
class Exchanged:
    """Nonces and SPIs of an exchange, as both ends know them."""

    initiator_nonce: bytes
    responder_nonce: bytes
    initiator_spi: bytes
    responder_spi: bytes

    @property
    def nonces(self) -> bytes:
        """Ni | Nr."""
        return self.initiator_nonce + self.responder_nonce

    @property
    def seed(self) -> bytes:
        """Ni | Nr | SPIi | SPIr."""
        return self.nonces + self.initiator_spi + self.responder_spi


@dataclass(frozen=True, slots=True)
class SharedSecrets:
    """Of CREATE_CHILD_SA and what followed: SK(0), and SK(1) | ... | SK(n) (RFC 9370, 2.2.4).

    ``first`` is empty where a CHILD_SA has no key exchange of its own.
    """

    first: bytes = field(default=b"", repr=False)
    additional: bytes = field(default=b"", repr=False)

    def around(self, nonces: bytes) -> bytes:
        """SK(0) | Ni | Nr | SK(1) | ... | SK(n)."""
        return self.first + nonces + self.additional


def first_keys(prf: Prf, sizes: KeySizes, shared: bytes, exchanged: Exchanged) -> IkeKeys:
    """The keys after IKE_SA_INIT (RFC 7296, 2.14)."""
    key = exchanged.nonces
    if prf.fixed_key:
        half = prf.key_size // 2
        key = exchanged.initiator_nonce[:half] + exchanged.responder_nonce[:half]
    return _spread(prf, sizes, prf.compute(key, shared), exchanged)


def intermediate_keys(
    prf: Prf, sizes: KeySizes, keys: IkeKeys, shared: bytes, exchanged: Exchanged
) -> IkeKeys:
    """The keys after one more key exchange in IKE_INTERMEDIATE (RFC 9370, 2.2.2)."""
    return _spread(prf, sizes, prf.compute(keys.d, shared + exchanged.nonces), exchanged)


def rekeyed_keys(
    prf: Prf, sizes: KeySizes, old: tuple[Prf, IkeKeys], shared: SharedSecrets, exchanged: Exchanged
) -> IkeKeys:
    """The keys of an IKE SA that replaces another, whose PRF makes SKEYSEED (RFC 7296, 2.18)."""
    old_prf, old_keys = old
    seed = old_prf.compute(old_keys.d, shared.around(exchanged.nonces))
    return _spread(prf, sizes, seed, exchanged)


def child_keymat(prf: Prf, d: bytes, shared: SharedSecrets, nonces: bytes, length: int) -> bytes:
    """KEYMAT of a CHILD_SA (RFC 7296, 2.17): the initiator's direction first."""
    return prf.plus(d, shared.around(nonces), length)


def _spread(prf: Prf, sizes: KeySizes, seed: bytes, exchanged: Exchanged) -> IkeKeys:
    lengths = (
        prf.key_size, sizes.integrity, sizes.integrity, sizes.encryption, sizes.encryption,
        prf.key_size, prf.key_size,
    )  # fmt: skip
    stream = prf.plus(seed, exchanged.seed, sum(lengths))
    keys: list[bytes] = []
    for length in lengths:
        keys.append(stream[:length])
        stream = stream[length:]
    return IkeKeys(*keys)
