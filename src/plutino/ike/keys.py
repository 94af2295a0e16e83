"""The keys of an IKE SA in use: the ciphers of both directions, and what is derived later."""

from dataclasses import dataclass, field, replace
from typing import Self

from plutino.ike.crypto.encryption import (
    ENCRYPTIONS,
    FIXED_KEY_SIZES,
    CombinedMode,
    NotAuthenticError,
    PlainCipher,
)
from plutino.ike.crypto.integrity import INTEGRITIES, Integrity
from plutino.ike.crypto.keymat import Exchanged, IkeKeys, KeySizes
from plutino.ike.crypto.prf import PRFS, Prf
from plutino.ike.errors import NoProposalChosenError
from plutino.ike.message.protection import Cipher, Random
from plutino.ike.numbers import TransformType
from plutino.ike.payloads.proposal import Transform
from plutino.ike.proposals import Chosen


@dataclass(slots=True)
class CombinedCipher:
    """One direction under an AEAD; the plaintext is padded by its length byte alone.

    IVs count up from a random start, so none comes twice under a key (RFC 5282, 3.1).
    """

    mode: CombinedMode
    keymat: bytes = field(repr=False)
    last_iv: int | None = None

    @property
    def overhead(self) -> int:
        """Bytes beside the payloads."""
        return self.mode.iv_size + 1 + self.mode.icv_size

    def sealed_size(self, plaintext_size: int) -> int:
        """Bytes that ``seal`` gives."""
        return plaintext_size + self.overhead

    def seal(self, associated: bytes, plaintext: bytes, random: Random) -> bytes:
        """IV, ciphertext, ICV."""
        size = self.mode.iv_size
        if self.last_iv is None:
            self.last_iv = int.from_bytes(random(size), "big")
        self.last_iv = (self.last_iv + 1) % 2 ** (8 * size)
        iv = self.last_iv.to_bytes(size, "big")
        return iv + self.mode.seal(self.keymat, iv, associated, plaintext + b"\0")

    def open(self, associated: bytes, sealed: bytes) -> bytes:
        """The plaintext without its padding."""
        size = self.mode.iv_size
        padded = self.mode.open(self.keymat, sealed[:size], associated, sealed[size:])
        return _unpadded(padded)


@dataclass(frozen=True, slots=True)
class SeparateCipher:
    """One direction with encryption and integrity of their own (RFC 7296, 3.14)."""

    cipher: PlainCipher
    integrity: Integrity
    encryption_key: bytes = field(repr=False)
    integrity_key: bytes = field(repr=False)

    @property
    def overhead(self) -> int:
        """Bytes at most beside the payloads."""
        return self.cipher.iv_size + self.cipher.block_size + self.integrity.icv_size

    def sealed_size(self, plaintext_size: int) -> int:
        """Bytes that ``seal`` gives."""
        padded = plaintext_size + 1 + self._pad_length(plaintext_size)
        return self.cipher.iv_size + padded + self.integrity.icv_size

    def seal(self, associated: bytes, plaintext: bytes, random: Random) -> bytes:
        """IV, ciphertext, ICV over all that stands before it."""
        length = self._pad_length(len(plaintext))
        padded = plaintext + bytes(length) + bytes((length,))
        iv = random(self.cipher.iv_size)
        sealed = iv + self.cipher.encrypt(self.encryption_key, iv, padded)
        return sealed + self.integrity.compute(self.integrity_key, associated + sealed)

    def open(self, associated: bytes, sealed: bytes) -> bytes:
        """The plaintext without its padding; the ICV is checked before anything is decrypted."""
        icv_size, iv_size = self.integrity.icv_size, self.cipher.iv_size
        if len(sealed) < iv_size + icv_size + 1:
            raise NotAuthenticError
        body, icv = sealed[:-icv_size], sealed[-icv_size:]
        if not self.integrity.matches(self.integrity_key, associated + body, icv):
            raise NotAuthenticError
        if (len(body) - iv_size) % self.cipher.block_size:
            raise NotAuthenticError
        return _unpadded(self.cipher.decrypt(self.encryption_key, body[:iv_size], body[iv_size:]))

    def _pad_length(self, plaintext_size: int) -> int:
        return -(plaintext_size + 1) % self.cipher.block_size


@dataclass(frozen=True, slots=True)
class IkeSuite:
    """The algorithms of an IKE SA, looked up."""

    prf: Prf
    encryption: CombinedMode | PlainCipher
    key_size: int
    integrity: Integrity | None
    transforms: tuple[Transform, ...] = ()

    @classmethod
    def of(cls, chosen: Chosen) -> Self:
        """NoProposalChosenError if one is not built in: an offer of ours never has such."""
        encryption = ENCRYPTIONS.get(chosen.encryption.id)
        prf = PRFS.get(chosen.id_of(TransformType.PRF))
        integrity = INTEGRITIES.get(chosen.id_of(TransformType.INTEG))
        if encryption is None or prf is None:
            raise NoProposalChosenError(f"unknown algorithm in {chosen.transforms}")
        if isinstance(encryption, PlainCipher) and integrity is None:
            raise NoProposalChosenError("encryption without integrity")
        bits = chosen.encryption.key_bits
        key_size = FIXED_KEY_SIZES.get(encryption.ike_id) or (bits or 0) // 8
        if key_size not in encryption.key_sizes:
            raise NoProposalChosenError(f"key of {key_size} bytes")
        return cls(prf, encryption, key_size, integrity, tuple(chosen.transforms.values()))

    @property
    def method(self) -> int:
        """The key exchange method that it was made by."""
        found = (one.id for one in self.transforms if one.type == TransformType.KE)
        return next(found, 0)

    @property
    def sizes(self) -> KeySizes:
        """Bytes of the keys of one direction."""
        integrity = self.integrity
        separate = isinstance(self.encryption, PlainCipher)
        return KeySizes(
            self.key_size + self.encryption.salt_size,
            integrity.key_size if separate and integrity is not None else 0,
        )

    def cipher(self, encryption_key: bytes, integrity_key: bytes) -> Cipher:
        """One direction in use."""
        if isinstance(self.encryption, CombinedMode):
            return CombinedCipher(self.encryption, encryption_key)
        assert self.integrity is not None
        return SeparateCipher(self.encryption, self.integrity, encryption_key, integrity_key)


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """Suite, keys and ciphers of one end of an IKE SA."""

    suite: IkeSuite
    keys: IkeKeys
    exchanged: Exchanged
    is_initiator: bool
    cipher_in: Cipher = field(repr=False)
    cipher_out: Cipher = field(repr=False)

    @classmethod
    def of(
        cls, suite: IkeSuite, keys: IkeKeys, exchanged: Exchanged, *, is_initiator: bool
    ) -> Self:
        """Of one end: the initiator sends by SK_ei and SK_ai."""
        forth = suite.cipher(keys.ei, keys.ai)
        back = suite.cipher(keys.er, keys.ar)
        inward, outward = (back, forth) if is_initiator else (forth, back)
        return cls(suite, keys, exchanged, is_initiator, inward, outward)

    @property
    def prf(self) -> Prf:
        """The PRF of the IKE SA."""
        return self.suite.prf

    @property
    def lowest_nonce(self) -> bytes:
        """What decides between two IKE SAs that came about at once (RFC 7296, 2.8.1)."""
        return min(self.exchanged.initiator_nonce, self.exchanged.responder_nonce)

    def with_ppk(self, ppk: bytes) -> Self:
        """After a post-quantum key is mixed in (RFC 8784)."""
        return replace(self, keys=self.keys.with_ppk(self.prf, ppk))


def _unpadded(padded: bytes) -> bytes:
    """Without padding and its length; the sender chooses what it pads with (RFC 7296, 3.14)."""
    length = padded[-1] + 1 if padded else 1
    if length > len(padded):
        raise NotAuthenticError
    return padded[:-length]
