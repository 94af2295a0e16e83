"""ESP's algorithms in three tongues: the kernel's (XFRM), scapy's and tshark's."""

import os
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import algorithms, modes
from scapy.layers.ipsec import AUTH_ALGOS, CRYPT_ALGOS, AuthAlgo, CryptAlgo

from plutino.model.secret import Secret
from plutino.netlink.xfrm.attributes import AeadAlgorithm, Algorithm, AuthAlgorithm
from plutino.netlink.xfrm.constants import Xfrma
from plutino.netlink.xfrm.structures import AlgorithmHeader, AuthHeader
from tests.support.xcbc import AesXcbc

# scapy writes GCM for a whole tag only, and has no XCBC; its framing stays the judge's.
for _octets in (8, 12):
    CRYPT_ALGOS[f"AES-GCM-{_octets}"] = CryptAlgo(
        f"AES-GCM-{_octets}",
        cipher=algorithms.AES,
        mode=modes.GCM,
        salt_size=4,
        block_size=1,
        iv_size=8,
        icv_size=_octets,
        format_mode_iv=lambda sa, iv, **_: sa.crypt_salt + iv,
    )
AUTH_ALGOS["AES-XCBC-96"] = AuthAlgo(
    "AES-XCBC-96", mac=AesXcbc, digestmod=lambda: None, icv_size=12, key_size=(16,)
)


@dataclass(frozen=True, slots=True)
class Keys:
    """Keying material of one SA: encryption with its salt, and integrity (empty for AEAD)."""

    crypt: bytes
    auth: bytes


@dataclass(frozen=True, slots=True)
class EspAlgorithm:
    """One suite; lengths in octets. ``tshark`` is its names of encryption and integrity."""

    name: str
    crypt: str
    crypt_key: int
    scapy_crypt: str
    auth: str | None = None
    auth_key: int = 0
    icv: int = 16
    scapy_auth: str | None = None
    tshark: tuple[str, str] | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def is_aead(self) -> bool:
        """Whether one algorithm does both."""
        return self.auth is None

    def new_keys(self) -> Keys:
        """Random ones."""
        return Keys(os.urandom(self.crypt_key), os.urandom(self.auth_key))

    def attributes(self, keys: Keys) -> list[tuple[int, Any]]:
        """As XFRM has it."""
        if self.auth is None:
            return [
                (Xfrma.ALG_AEAD, AeadAlgorithm.of(self.crypt, Secret(keys.crypt), self.icv * 8))
            ]
        crypt = AlgorithmHeader(self.crypt, len(keys.crypt) * 8)
        auth = AuthHeader(self.auth, len(keys.auth) * 8, self.icv * 8)
        return [
            (Xfrma.ALG_CRYPT, Algorithm(crypt, Secret(keys.crypt))),
            (Xfrma.ALG_AUTH_TRUNC, AuthAlgorithm(auth, Secret(keys.auth))),
        ]

    def scapy(self, keys: Keys) -> dict[str, Any]:
        """As scapy's SecurityAssociation takes it."""
        return {
            "crypt_algo": self.scapy_crypt,
            "crypt_key": keys.crypt or None,
            "crypt_icv_size": self.icv if self.is_aead else None,
            "auth_algo": self.scapy_auth,
            "auth_key": keys.auth or None,
        }


def _hmac(name: str, octets: int, icv: int, scapy: str, tshark: str) -> tuple[Any, ...]:
    return (f"hmac({name})", octets, icv, scapy, tshark)


_AUTH: Final = {
    "sha1": _hmac("sha1", 20, 12, "HMAC-SHA1-96", "HMAC-SHA-1-96 [RFC2404]"),
    "sha256": _hmac("sha256", 32, 16, "SHA2-256-128", "HMAC-SHA-256-128 [RFC4868]"),
    "sha384": _hmac("sha384", 48, 24, "SHA2-384-192", "HMAC-SHA-384-192 [RFC4868]"),
    "sha512": _hmac("sha512", 64, 32, "SHA2-512-256", "HMAC-SHA-512-256 [RFC4868]"),
    "xcbc": ("xcbc(aes)", 16, 12, "AES-XCBC-96", None),
    "cmac": ("cmac(aes)", 16, 12, "AES-CMAC-96", None),
}


def _separate(name: str, octets: int, auth: str) -> EspAlgorithm:
    kernel, scapy, tshark = {
        "cbc": ("cbc(aes)", "AES-CBC", "AES-CBC [RFC3602]"),
        "ctr": ("rfc3686(ctr(aes))", "AES-CTR", "AES-CTR [RFC3686]"),
        "null": ("ecb(cipher_null)", "NULL", "NULL"),
    }[name]
    auth_kernel, auth_key, icv, auth_scapy, auth_tshark = _AUTH[auth]
    return EspAlgorithm(
        name=f"{name}{octets * 8 if octets else ''}-{auth}",
        crypt=kernel,
        crypt_key=octets + (4 if name == "ctr" else 0),
        scapy_crypt=scapy,
        auth=auth_kernel,
        auth_key=auth_key,
        icv=icv,
        scapy_auth=auth_scapy,
        tshark=(tshark, auth_tshark) if auth_tshark else None,
    )


def _gcm(key: int, icv: int) -> EspAlgorithm:
    return EspAlgorithm(
        name=f"gcm{key * 8}-{icv}",
        crypt="rfc4106(gcm(aes))",
        crypt_key=key + 4,
        scapy_crypt="AES-GCM" if icv == 16 else f"AES-GCM-{icv}",
        icv=icv,
        tshark=(f"AES-GCM with {icv} octet ICV [RFC4106]", "NULL"),
    )


def _aead(name: str, kernel: str, scapy: str, key: int, icv: int = 16) -> EspAlgorithm:
    return EspAlgorithm(name=name, crypt=kernel, crypt_key=key, scapy_crypt=scapy, icv=icv)


ALGORITHMS: Final = (
    *(_gcm(key, 16) for key in (16, 24, 32)),
    _gcm(16, 8),
    _gcm(16, 12),
    _aead("chacha20-poly1305", "rfc7539esp(chacha20,poly1305)", "CHACHA20-POLY1305", 36),
    _aead("ccm128-16", "rfc4309(ccm(aes))", "AES-CCM", 19),
    _aead("ccm256-16", "rfc4309(ccm(aes))", "AES-CCM", 35),
    _aead("ccm128-8", "rfc4309(ccm(aes))", "AES-CCM", 19, 8),
    _aead("gmac128", "rfc4543(gcm(aes))", "AES-NULL-GMAC", 20),
    _aead("gmac256", "rfc4543(gcm(aes))", "AES-NULL-GMAC", 36),
    *(_separate("cbc", 16, auth) for auth in _AUTH),
    _separate("cbc", 32, "sha256"),
    *(_separate("ctr", 16, auth) for auth in ("sha256", "sha384", "sha512", "xcbc", "cmac")),
    _separate("ctr", 32, "sha256"),
    _separate("null", 0, "sha256"),
)
BY_NAME: Final = {algorithm.name: algorithm for algorithm in ALGORITHMS}
