"""Encryption of IKE's own messages (transform type 1): combined modes and plain ciphers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

try:  # where older releases have it
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
except ImportError:  # pragma: no cover
    from cryptography.hazmat.primitives.ciphers.algorithms import TripleDES


_Mode = modes.CBC | modes.CTR


class NotAuthenticError(Exception):
    """A protected message whose integrity check fails: it is dropped without a trace."""


class _Aead(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


@dataclass(frozen=True, slots=True)
class CombinedMode:
    """An AEAD (RFC 5282, RFC 7634): ``salt_size`` bytes follow the key; sizes in bytes.

    The nonce is the salt and the explicit IV of 8 bytes.
    """

    ike_id: int
    salt_size: int
    icv_size: int
    make: Callable[[bytes], _Aead]
    iv_size: int = 8
    key_sizes: tuple[int, ...] = (16, 24, 32)

    def seal(self, keymat: bytes, iv: bytes, associated: bytes, plaintext: bytes) -> bytes:
        """Ciphertext and ICV."""
        key, salt = keymat[: -self.salt_size], keymat[-self.salt_size :]
        return self.make(key).encrypt(salt + iv, plaintext, associated)

    def open(self, keymat: bytes, iv: bytes, associated: bytes, sealed: bytes) -> bytes:
        """The plaintext; NotAuthenticError if the ICV is wrong."""
        key, salt = keymat[: -self.salt_size], keymat[-self.salt_size :]
        try:
            return self.make(key).decrypt(salt + iv, sealed, associated)
        except (InvalidTag, ValueError) as error:
            raise NotAuthenticError from error


@dataclass(frozen=True, slots=True)
class PlainCipher:
    """A cipher that needs INTEG beside it; sizes in bytes. ``salt_size`` is CTR's nonce."""

    ike_id: int
    iv_size: int
    block_size: int
    make: Callable[[bytes, bytes], "Cipher[_Mode]"]
    salt_size: int = 0
    key_sizes: tuple[int, ...] = (16, 24, 32)
    weak: bool = False

    def encrypt(self, keymat: bytes, iv: bytes, plaintext: bytes) -> bytes:
        """The ciphertext of whole blocks."""
        encryptor = self.make(keymat, iv).encryptor()
        return encryptor.update(plaintext) + encryptor.finalize()

    def decrypt(self, keymat: bytes, iv: bytes, ciphertext: bytes) -> bytes:
        """The plaintext with its padding."""
        decryptor = self.make(keymat, iv).decryptor()
        return decryptor.update(ciphertext) + decryptor.finalize()


class _TruncatedGcm:
    """AES-GCM with an ICV of 8 or 12 bytes, which the AEAD interface does not offer."""

    def __init__(self, key: bytes, icv_size: int) -> None:
        self._key = key
        self._icv_size = icv_size

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        return AESGCM(self._key).encrypt(nonce, data, associated_data)[: len(data) + self._icv_size]

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        ciphertext, icv = data[: -self._icv_size], data[-self._icv_size :]
        mode = modes.GCM(nonce, icv, min_tag_length=self._icv_size)
        decryptor = Cipher(algorithms.AES(self._key), mode).decryptor()
        decryptor.authenticate_additional_data(associated_data or b"")
        return decryptor.update(ciphertext) + decryptor.finalize()


def _gcm(icv_size: int) -> Callable[[bytes], _Aead]:
    return AESGCM if icv_size == 16 else lambda key: _TruncatedGcm(key, icv_size)


def _ccm(icv_size: int) -> Callable[[bytes], _Aead]:
    return lambda key: AESCCM(key, icv_size)


def _cbc(keymat: bytes, iv: bytes) -> "Cipher[_Mode]":
    return Cipher(algorithms.AES(keymat), modes.CBC(iv))


def _ctr(keymat: bytes, iv: bytes) -> "Cipher[_Mode]":
    """Nonce, IV and a counter from 1 (RFC 5930, RFC 3686)."""
    block = keymat[-4:] + iv + (1).to_bytes(4, "big")
    return Cipher(algorithms.AES(keymat[:-4]), modes.CTR(block))


def _triple_des(keymat: bytes, iv: bytes) -> "Cipher[_Mode]":
    return Cipher(TripleDES(keymat), modes.CBC(iv))


ENCRYPTIONS: Final[dict[int, CombinedMode | PlainCipher]] = {
    one.ike_id: one
    for one in (
        PlainCipher(3, 8, 8, _triple_des, key_sizes=(24,), weak=True),
        PlainCipher(12, 16, 16, _cbc),
        PlainCipher(13, 8, 1, _ctr, salt_size=4),
        CombinedMode(14, 3, 8, _ccm(8)),
        CombinedMode(15, 3, 12, _ccm(12)),
        CombinedMode(16, 3, 16, _ccm(16)),
        CombinedMode(18, 4, 8, _gcm(8)),
        CombinedMode(19, 4, 12, _gcm(12)),
        CombinedMode(20, 4, 16, _gcm(16)),
        CombinedMode(28, 4, 16, ChaCha20Poly1305, key_sizes=(32,)),
    )
}
FIXED_KEY_SIZES: Final = {3: 24, 28: 32}
"""Bytes of key where the transform has no Key Length attribute."""
