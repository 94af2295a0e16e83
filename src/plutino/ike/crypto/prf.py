"""Pseudorandom functions (RFC 7296, 2.13; transform type 2)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from plutino._native import aes_xcbc

_AES_KEY: Final = 16


@dataclass(frozen=True, slots=True)
class Prf:
    """A PRF. ``key_size`` is its preferred key, ``output_size`` what it gives, both in bytes.

    ``fixed_key``: nonces as key are cut to half a key each (RFC 7296, 2.14).
    """

    name: str
    ike_id: int
    key_size: int
    output_size: int
    function: Callable[[bytes, bytes], bytes]
    fixed_key: bool = False
    weak: bool = False

    def compute(self, key: bytes, data: bytes) -> bytes:
        """prf(key, data); keys of any length (RFC 4434 and RFC 4615 say how)."""
        return self.function(key, data)

    def plus(self, key: bytes, seed: bytes, length: int) -> bytes:
        """prf+ (RFC 7296, 2.13); ValueError beyond 255 rounds."""
        if length > 255 * self.output_size:
            raise ValueError(f"prf+ gives at most {255 * self.output_size} bytes, not {length}")
        stream, block = b"", b""
        for number in range(1, 256):
            if len(stream) >= length:
                break
            block = self.compute(key, block + seed + bytes((number,)))
            stream += block
        return stream[:length]


def _hmac(algorithm: hashes.HashAlgorithm) -> Callable[[bytes, bytes], bytes]:
    def compute(key: bytes, data: bytes) -> bytes:
        mac = hmac.HMAC(key, algorithm)
        mac.update(data)
        return mac.finalize()

    return compute


def aes_cmac(key: bytes, data: bytes) -> bytes:
    """AES-CMAC with a key of 16 bytes (RFC 4493)."""
    mac = CMAC(AES(key))
    mac.update(data)
    return mac.finalize()


def _cmac_prf(key: bytes, data: bytes) -> bytes:
    """AES-CMAC-PRF-128 (RFC 4615, 3)."""
    return aes_cmac(key if len(key) == _AES_KEY else aes_cmac(bytes(_AES_KEY), key), data)


def _xcbc_prf(key: bytes, data: bytes) -> bytes:
    """AES-XCBC-PRF-128 (RFC 4434, 2)."""
    if len(key) > _AES_KEY:
        key = aes_xcbc(bytes(_AES_KEY), key)
    return aes_xcbc(key.ljust(_AES_KEY, b"\0"), data)


PRFS: Final = {
    one.ike_id: one
    for one in (
        Prf("prfsha1", 2, 20, 20, _hmac(hashes.SHA1()), weak=True),  # noqa: S303
        Prf("prfaesxcbc", 4, 16, 16, _xcbc_prf, fixed_key=True),
        Prf("prfsha256", 5, 32, 32, _hmac(hashes.SHA256())),
        Prf("prfsha384", 6, 48, 48, _hmac(hashes.SHA384())),
        Prf("prfsha512", 7, 64, 64, _hmac(hashes.SHA512())),
        Prf("prfaescmac", 8, 16, 16, _cmac_prf, fixed_key=True),
    )
}
