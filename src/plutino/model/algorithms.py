"""One table of the algorithms that an SA can use, with every name and size they go by."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from plutino.model.secret import Secret

_OCTET: Final = 8
_IDS_OF_INTEGRITY_ALONE: Final = (11, 21)
"""ENCR_NULL (RFC 2410) and ENCR_NULL_AUTH_AES_GMAC (RFC 4543)."""


@dataclass(frozen=True, slots=True)
class EncryptionAlgorithm:
    """An ENCR transform (RFC 7296, 3.3.2). Sizes in bytes; ``icv_size`` is 0 unless combined.

    ``kernel_name`` is what goes into ``alg_name`` of the kernel's structures, ``ike_id`` IANA's.
    """

    name: str
    kernel_name: str
    ike_id: int
    key_size: int
    salt_size: int
    iv_size: int
    icv_size: int
    block_size: int

    @property
    def keymat_size(self) -> int:
        """Bytes of key and salt together, as XFRM and IKEv2 take them (RFC 4106, 8.1)."""
        return self.key_size + self.salt_size


@dataclass(frozen=True, slots=True)
class IntegrityAlgorithm:
    """An INTEG transform (RFC 7296, 3.3.2). Sizes in bytes; the ICV is truncated to its size."""

    name: str
    kernel_name: str
    ike_id: int
    key_size: int
    icv_size: int


@dataclass(frozen=True, slots=True)
class AeadKey:
    """A combined-mode algorithm by its kernel name with its keying material: key, then salt."""

    kernel_name: str
    keymat: Secret
    icv_bits: int


@dataclass(frozen=True, slots=True)
class SeparateKeys:
    """An encryption and an integrity algorithm by their kernel names, each with its key."""

    encryption: str
    encryption_key: Secret
    integrity: str
    integrity_key: Secret
    icv_bits: int


SaKeys = AeadKey | SeparateKeys


@dataclass(frozen=True, slots=True)
class EspSuite:
    """What ESP needs: a combined-mode algorithm, or encryption with integrity (RFC 8221)."""

    encryption: EncryptionAlgorithm
    integrity: IntegrityAlgorithm | None = None

    @property
    def name(self) -> str:
        """plutino's own name, which is also strongSwan's: ``aes256gcm16``, ``aes128-sha256``."""
        own = self.encryption.name
        return own if self.integrity is None else f"{own}-{self.integrity.name}"

    @property
    def keymat_size(self) -> int:
        """Bytes of encryption key, salt and integrity key, in this order (RFC 7296, 2.17)."""
        return self.encryption.keymat_size + (self.integrity.key_size if self.integrity else 0)

    @property
    def icv_size(self) -> int:
        """Bytes of the integrity check value."""
        return self.encryption.icv_size if self.integrity is None else self.integrity.icv_size

    @property
    def is_secret(self) -> bool:
        """Whether it encrypts; NULL and GMAC protect integrity alone."""
        return self.encryption.ike_id not in _IDS_OF_INTEGRITY_ALONE

    def keys(self, keymat: Secret) -> SaKeys:
        """The keys of an SA. ValueError if the keying material has another length."""
        if len(keymat) != self.keymat_size:
            raise ValueError(f"{self.name} needs {self.keymat_size} bytes, not {len(keymat)}")
        if self.integrity is None:
            return AeadKey(self.encryption.kernel_name, keymat, _OCTET * self.icv_size)
        encryption_key, integrity_key = keymat.split(self.encryption.keymat_size)
        return SeparateKeys(
            self.encryption.kernel_name,
            encryption_key,
            self.integrity.kernel_name,
            integrity_key,
            _OCTET * self.icv_size,
        )

    def describe_keymat(self) -> str:
        """What the bytes of the keying material are, for words in errors."""
        parts = [f"{self.encryption.key_size} of key"]
        if self.encryption.salt_size:
            parts.append(f"{self.encryption.salt_size} of salt")
        if self.integrity is not None:
            parts.append(f"{self.integrity.key_size} of integrity key")
        return ", ".join(parts)


_AES_BITS: Final = (128, 192, 256)
_COMBINED: Final = {
    # kernel name, salt, ICV in bytes to the ids of IANA
    "gcm": ("rfc4106(gcm(aes))", 4, {8: 18, 12: 19, 16: 20}),
    "ccm": ("rfc4309(ccm(aes))", 3, {8: 14, 12: 15, 16: 16}),
}
INTEGRITY_ALGORITHMS: Final = {
    one.name: one
    for one in (
        IntegrityAlgorithm("sha256", "hmac(sha256)", 12, 32, 16),
        IntegrityAlgorithm("sha384", "hmac(sha384)", 13, 48, 24),
        IntegrityAlgorithm("sha512", "hmac(sha512)", 14, 64, 32),
        IntegrityAlgorithm("aesxcbc", "xcbc(aes)", 5, 16, 12),
        IntegrityAlgorithm("aescmac", "cmac(aes)", 8, 16, 12),
    )
}


def _combined() -> Iterator[EncryptionAlgorithm]:
    for mode, (kernel_name, salt, lengths) in _COMBINED.items():
        for bits in _AES_BITS:
            for icv, ike_id in lengths.items():
                name = f"aes{bits}{mode}{icv}"
                yield EncryptionAlgorithm(name, kernel_name, ike_id, bits // 8, salt, 8, icv, 4)
    for bits in _AES_BITS:  # integrity alone: ENCR_NULL_AUTH_AES_GMAC (RFC 4543)
        yield EncryptionAlgorithm(f"aes{bits}gmac", "rfc4543(gcm(aes))", 21, bits // 8, 4, 8, 16, 4)
    yield EncryptionAlgorithm(
        "chacha20poly1305", "rfc7539esp(chacha20,poly1305)", 28, 32, 4, 8, 16, 4
    )


COMBINED_MODES: Final = frozenset(one.ike_id for one in _combined())
"""ENCR transforms that need no INTEG beside them (RFC 5282, RFC 7634)."""


def _separate() -> Iterator[EncryptionAlgorithm]:
    for bits in _AES_BITS:
        yield EncryptionAlgorithm(f"aes{bits}", "cbc(aes)", 12, bits // 8, 0, 16, 0, 16)
        yield EncryptionAlgorithm(f"aes{bits}ctr", "rfc3686(ctr(aes))", 13, bits // 8, 4, 8, 0, 4)
    yield EncryptionAlgorithm("null", "ecb(cipher_null)", 11, 0, 0, 0, 0, 4)


ESP_SUITES: Final = {
    suite.name: suite
    for suite in (
        *map(EspSuite, _combined()),
        *(
            EspSuite(encryption, integrity)
            for encryption in _separate()
            for integrity in INTEGRITY_ALGORITHMS.values()
        ),
    )
}
"""By name: all that RFC 8221 calls MUST and SHOULD, and their kin."""

DEFAULT_ALGORITHM: Final = "aes256gcm16"


def algorithm_names(keys: SaKeys) -> str:
    """The suite's name, or the kernel's names where it is none of ours."""
    for name, suite in ESP_SUITES.items():
        if _fits(suite, keys):
            return name
    if isinstance(keys, AeadKey):
        return f"{keys.kernel_name} {_OCTET * len(keys.keymat)}"
    return f"{keys.encryption} {_OCTET * len(keys.encryption_key)} {keys.integrity}"


def _fits(suite: EspSuite, keys: SaKeys) -> bool:
    encryption, integrity = suite.encryption, suite.integrity
    if _OCTET * suite.icv_size != keys.icv_bits:
        return False
    if isinstance(keys, AeadKey):
        names = (encryption.kernel_name, encryption.keymat_size)
        return integrity is None and names == (keys.kernel_name, len(keys.keymat))
    return (
        integrity is not None
        and encryption.kernel_name == keys.encryption
        and encryption.keymat_size == len(keys.encryption_key)
        and integrity.kernel_name == keys.integrity
    )
