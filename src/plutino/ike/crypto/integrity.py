"""Integrity of IKE's own messages without a combined mode (transform type 3)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.constant_time import bytes_eq

from plutino._native import aes_xcbc
from plutino.ike.crypto.prf import PRFS, aes_cmac


@dataclass(frozen=True, slots=True)
class Integrity:
    """A MAC, truncated to ``icv_size``; sizes in bytes."""

    name: str
    ike_id: int
    key_size: int
    icv_size: int
    function: Callable[[bytes, bytes], bytes]
    weak: bool = False

    def compute(self, key: bytes, data: bytes) -> bytes:
        """The ICV."""
        return self.function(key, data)[: self.icv_size]

    def matches(self, key: bytes, data: bytes, icv: bytes) -> bool:
        """Whether an ICV is right, in constant time."""
        return bytes_eq(self.compute(key, data), icv)


INTEGRITIES: Final = {
    one.ike_id: one
    for one in (
        Integrity("sha1", 2, 20, 12, PRFS[2].compute, weak=True),
        Integrity("aesxcbc", 5, 16, 12, aes_xcbc),
        Integrity("aescmac", 8, 16, 12, aes_cmac),
        Integrity("sha256", 12, 32, 16, PRFS[5].compute),
        Integrity("sha384", 13, 48, 24, PRFS[6].compute),
        Integrity("sha512", 14, 64, 32, PRFS[7].compute),
    )
}
