"""What the session needs of a credential, ours and the peer's, of whatever kind."""

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hmac import compare_digest
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self

from plutino.ike.auth.identity import Identity
from plutino.ike.auth.ocsp import NO_ANSWERS, Answers
from plutino.ike.errors import AuthenticationFailedError
from plutino.model.secret import Secret

Prf = Callable[[bytes, bytes], bytes]
SHARED_KEY: Final = 2
"""Shared Key Message Integrity Code (RFC 7296, 3.8)."""
_KEY_PAD: Final = b"Key Pad for IKEv2"


class CertificateData(NamedTuple):
    """The encoding (RFC 7296, 3.6) and its octets."""

    encoding: int
    data: bytes


class LocalCredential(Protocol):
    """How we prove who we are."""

    @property
    def identity(self) -> Identity:
        """IDi or IDr."""

    def certificates(self, requested: Collection[int]) -> tuple[CertificateData, ...]:
        """What goes into CERT payloads, the leaf first; ``requested`` are encodings of CERTREQ."""

    def authenticate(
        self, octets: bytes, peer_hashes: frozenset[int] | None, prf: Prf
    ) -> tuple[int, bytes]:
        """AUTH method and data over the octets.

        ``peer_hashes`` are those of SIGNATURE_HASH_ALGORITHMS, None if the peer sent none.
        """


class RemoteCredential(Protocol):
    """How the peer has to prove who it is."""

    @property
    def identity(self) -> Identity | None:
        """The one it must have; None for any that its credential confirms."""

    @property
    def authorities(self) -> tuple[bytes, ...]:
        """SHA-1 hashes for CERTREQ; empty where no certificate is wanted."""

    @property
    def asks_for_ocsp(self) -> bool:
        """Whether CERTREQ also asks for what a responder says of the certificate (RFC 4806)."""

    def accepts(self, identity: Identity) -> bool:
        """Whether a peer of this identity may be meant."""

    def judges_by(
        self, auth: tuple[int, bytes], certificates: Sequence[CertificateData]
    ) -> Hashable | None:
        """What takes the time to verify such a proof, the same for credentials that take as long.

        None where it is refused at once, whoever it is of.
        """

    def standing_in(self, identity: Identity) -> "RemoteCredential":
        """The same for another identity: what it says of a proof counts nothing."""

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
        """AuthenticationFailedError unless AUTH proves the received identity.

        StatusWantedError where that depends on questions that ``answers`` has nothing about.
        """


class OfIdentity:
    """A peer that must be of one identity, or of any that its credential confirms (None)."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def identity(self) -> Identity | None:
            """A field of whatever is one."""

    @property
    def asks_for_ocsp(self) -> bool:
        """Only certificates are revoked."""
        return False

    def accepts(self, identity: Identity) -> bool:
        """Whether a peer of this identity may be meant."""
        return self.identity is None or self.identity == identity

    def standing_in(self, identity: Identity) -> Self:
        """The same for another identity: what it says of a proof counts nothing."""
        return replace(self, identity=identity)  # type: ignore[type-var]

    def demand(self, received: Identity) -> None:
        """AuthenticationFailedError unless it is accepted."""
        if not self.accepts(received):
            raise AuthenticationFailedError("the peer has another identity")


@dataclass(frozen=True, slots=True)
class LocalPresharedKey:
    """Our identity with a pre-shared key (RFC 7296, 2.15)."""

    identity: Identity
    key: Secret = field(repr=False)

    def certificates(self, requested: Collection[int]) -> tuple[CertificateData, ...]:
        """None."""
        del requested
        return ()

    def authenticate(
        self, octets: bytes, peer_hashes: frozenset[int] | None, prf: Prf
    ) -> tuple[int, bytes]:
        """prf(prf(key, "Key Pad for IKEv2"), octets)."""
        del peer_hashes
        return SHARED_KEY, _mac(self.key, octets, prf)


@dataclass(frozen=True, slots=True)
class RemotePresharedKey(OfIdentity):
    """A peer with a pre-shared key; ``identity`` None accepts any who knows it."""

    identity: Identity | None
    key: Secret = field(repr=False)
    authorities: tuple[bytes, ...] = ()

    def judges_by(
        self, auth: tuple[int, bytes], certificates: Sequence[CertificateData]
    ) -> Hashable | None:
        """The prf, for a proof by a pre-shared key."""
        del certificates
        return SHARED_KEY if auth[0] == SHARED_KEY else None

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
        """AuthenticationFailedError unless AUTH is made of the same key."""
        del certificates, date, answers
        method, data = auth
        self.demand(received)
        if method != SHARED_KEY:
            raise AuthenticationFailedError(f"AUTH method {method}, not a pre-shared key")
        if not compare_digest(data, _mac(self.key, octets, prf)):
            raise AuthenticationFailedError("the pre-shared keys differ")


def _mac(key: Secret, octets: bytes, prf: Prf) -> bytes:
    return prf(prf(key.reveal(), _KEY_PAD), octets)
