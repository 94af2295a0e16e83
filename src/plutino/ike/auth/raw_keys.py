"""Public keys without certificates: each end knows the other's beforehand (RFC 7670).

CERT bears a SubjectPublicKeyInfo for peers that look at it. What is believed is the configured key,
whether one came or not, so none is asked for by CERTREQ.
"""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Final, Self

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from plutino.ike.auth.credentials import CertificateData, OfIdentity, Prf
from plutino.ike.auth.identity import Identity
from plutino.ike.auth.ocsp import NO_ANSWERS, Answers
from plutino.ike.auth.signature import kind_of, sign, verify
from plutino.ike.errors import AuthenticationFailedError
from plutino.model.private_key import PrivateKey, PublicKey

RAW_PUBLIC_KEY: Final = 15
"""Encoding "Raw Public Key" (RFC 7670, 3)."""


@dataclass(frozen=True, slots=True)
class LocalRawKey:
    """Our identity with a key; ``public`` is its SubjectPublicKeyInfo (DER)."""

    identity: Identity
    public: bytes
    key: PrivateKey = field(repr=False, compare=False)  # its public half tells it

    @classmethod
    def of(cls, identity: Identity, key: PrivateKey) -> Self:
        """With the public half of the key."""
        form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        return cls(identity, key.public_key().public_bytes(*form), key)

    def certificates(self, requested: Collection[int]) -> tuple[CertificateData, ...]:
        """The key, whatever is asked for."""
        del requested
        return (CertificateData(RAW_PUBLIC_KEY, self.public),)

    def authenticate(
        self, octets: bytes, peer_hashes: frozenset[int] | None, prf: Prf
    ) -> tuple[int, bytes]:
        """A signature that the peer understands."""
        del prf
        return sign(self.key, octets, peer_hashes)


@dataclass(frozen=True, slots=True)
class RemoteRawKey(OfIdentity):
    """A peer by its key (SubjectPublicKeyInfo, DER), and by its identity unless that is None."""

    identity: Identity | None
    public: bytes
    authorities: tuple[bytes, ...] = ()

    def judges_by(
        self, auth: tuple[int, bytes], certificates: Sequence[CertificateData]
    ) -> Hashable | None:
        """The kind of key, for what may be its signature, with no other key along."""
        return None if self._others(certificates) else kind_of(_key_of(self.public), auth)

    def verify(
        self,
        auth: tuple[int, bytes],
        octets: bytes,
        received: Identity,
        certificates: Sequence[CertificateData],
        *,
        prf: Prf,
        date: datetime,
        answers: Answers = NO_ANSWERS,
    ) -> None:
        """AuthenticationFailedError unless the signature is that of the configured key."""
        del prf, date, answers
        self.demand(received)
        if self._others(certificates):
            raise AuthenticationFailedError("the peer's public key is not the configured one")
        verify(_key_of(self.public), auth, octets)

    def _others(self, certificates: Sequence[CertificateData]) -> set[bytes]:
        given = {one.data for one in certificates if one.encoding == RAW_PUBLIC_KEY}
        return given - {self.public}


@cache
def _key_of(public: bytes) -> PublicKey:
    """Of the gateway file, so there are not many."""
    key = load_der_public_key(public)
    assert isinstance(key, PublicKey)
    return key
