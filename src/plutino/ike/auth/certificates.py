"""X.509: our certificate with its chain, and whom we trust (RFC 4945; RFC 7296, 3.6 and 3.7).

In ``chains`` they are built and checked: signatures, times, basic and name constraints, path
length. What concerns IKE is checked here: key usage, and that the certificate bears the identity
(RFC 4945, 3.1 and 5.1); in ``revocation``, that nothing of the chain is revoked. What a responder
says of a certificate goes along with it where the peer asks for that (RFC 4806).
"""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from hashlib import sha1
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from plutino.ike.auth.chains import USAGES, build_chain
from plutino.ike.auth.credentials import SHARED_KEY, CertificateData, OfIdentity, Prf
from plutino.ike.auth.identity import Identity, IdType
from plutino.ike.auth.ocsp import NO_ANSWERS, OCSP_CONTENT, Answers
from plutino.ike.auth.revocation import Revocation
from plutino.ike.auth.signature import sign, verify
from plutino.ike.errors import AuthenticationFailedError
from plutino.model.private_key import PrivateKey, PublicKey
from plutino.model.x509_errors import MALFORMED

X509_SIGNATURE: Final = 4
"""Encoding "X.509 Certificate - Signature"."""
_MOST_CERTIFICATES: Final = 16
"""In one message: more is no chain but work for us."""


def key_hash(certificate: x509.Certificate) -> bytes:
    """What CERTREQ names an authority by: SHA-1 of its SubjectPublicKeyInfo."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha1(spki, usedforsecurity=False).digest()


@dataclass(frozen=True)
class LocalCertificate:
    """Our identity with a key and its certificate, the leaf first.

    ``ocsp_response`` is what a responder says of it; another one makes no other credential.
    """

    identity: Identity
    key: PrivateKey = field(repr=False, compare=False)  # the certificate tells it
    chain: tuple[x509.Certificate, ...] = field(repr=False)
    ocsp_response: bytes | None = field(default=None, repr=False, compare=False)

    def certificates(self, requested: Collection[int]) -> tuple[CertificateData, ...]:
        """The whole chain, whatever is asked for: most peers ask for too little."""
        found = [
            CertificateData(X509_SIGNATURE, one.public_bytes(Encoding.DER)) for one in self.chain
        ]
        if OCSP_CONTENT in requested and self.ocsp_response is not None:
            found.append(CertificateData(OCSP_CONTENT, self.ocsp_response))
        return tuple(found)

    def authenticate(
        self, octets: bytes, peer_hashes: frozenset[int] | None, prf: Prf
    ) -> tuple[int, bytes]:
        """A signature that the peer understands."""
        del prf
        return sign(self.key, octets, peer_hashes)


@dataclass(frozen=True)
class TrustedAuthorities(OfIdentity):
    """A peer with a certificate of one of these authorities, for its identity."""

    identity: Identity | None
    trusted: tuple[x509.Certificate, ...] = field(repr=False)
    revocation: Revocation = field(default_factory=Revocation)

    @cached_property
    def authorities(self) -> tuple[bytes, ...]:
        """For CERTREQ."""
        return tuple(map(key_hash, self.trusted))

    @property
    def asks_for_ocsp(self) -> bool:
        """Where the gateway file wants to know it."""
        return self.revocation.ocsp is not None

    def judges_by(
        self, auth: tuple[int, bytes], certificates: Sequence[CertificateData]
    ) -> Hashable | None:
        """The chain, where there is one; how long it takes is for who sends it to say."""
        has_chain = any(one.encoding == X509_SIGNATURE for one in certificates)
        return X509_SIGNATURE if has_chain and auth[0] != SHARED_KEY else None

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
        """AuthenticationFailedError unless chain, identity and signature are right.

        StatusWantedError, when all else is right, where a responder has to be asked.
        """
        del prf
        self.demand(received)
        leaf, *others = _parse(certificates)
        chain = build_chain(leaf, others, self.trusted, date)
        try:
            check_usage(leaf)
            is_borne = bears(leaf, received)
            key = leaf.public_key()
        except MALFORMED as error:
            raise AuthenticationFailedError(f"the peer's certificate: {error}") from error
        if not is_borne:
            raise AuthenticationFailedError(f"the certificate is not one of {received}")
        if not isinstance(key, PublicKey):
            raise AuthenticationFailedError("the certificate's key is of an unknown kind")
        verify(key, auth, octets)
        offered = [one.data for one in certificates if one.encoding == OCSP_CONTENT]
        # Last: lists may be long, and only the authorities' own make us ask anybody.
        self.revocation.check(chain, date, offered[:_MOST_CERTIFICATES], answers)


def check_usage(leaf: x509.Certificate) -> None:
    """ValueError if a certificate is not for signatures of IKE, or demands what we do not know."""
    for extension in leaf.extensions:
        value = extension.value
        if extension.critical and isinstance(value, x509.UnrecognizedExtension):
            raise ValueError(f"critical extension {extension.oid.dotted_string} is unknown")
        if isinstance(value, x509.KeyUsage):
            if not (value.digital_signature or value.content_commitment):
                raise ValueError("its key usage has no digitalSignature")
        elif isinstance(value, x509.ExtendedKeyUsage):
            if not USAGES & set(value):
                raise ValueError("its extended key usage is none of IKE")
        elif isinstance(value, x509.BasicConstraints) and value.ca:
            raise ValueError("it is that of an authority")


def bears(leaf: x509.Certificate, identity: Identity) -> bool:
    """Whether an identity is the subject or one of its alternative names (RFC 4945, 3.1).

    A KEY_ID (RFC 7296, 4) is the subject key identifier (RFC 5280, 4.2.1.2).
    """
    if identity.id_type == IdType.DER_ASN1_DN:
        return Identity(IdType.DER_ASN1_DN, leaf.subject.public_bytes()) == identity
    if identity.id_type == IdType.KEY_ID:
        found = (one.value for one in leaf.extensions)
        keys = (one.digest for one in found if isinstance(one, x509.SubjectKeyIdentifier))
        return identity.data in keys
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return identity in set(map(_identity_of, names))


def _identity_of(name: x509.GeneralName) -> Identity | None:
    """An alternative name as IKE bears it."""
    if isinstance(name, x509.DNSName):
        return Identity.fqdn(name.value)
    if isinstance(name, x509.RFC822Name):
        return Identity(IdType.RFC822_ADDR, name.value.encode())
    if isinstance(name, x509.IPAddress) and isinstance(name.value, IPv4Address | IPv6Address):
        is_v4 = name.value.version == 4
        return Identity(IdType.IPV4_ADDR if is_v4 else IdType.IPV6_ADDR, name.value.packed)
    return None


def _parse(certificates: Sequence[CertificateData]) -> list[x509.Certificate]:
    given = [one.data for one in certificates if one.encoding == X509_SIGNATURE]
    if not given or len(given) > _MOST_CERTIFICATES:
        raise AuthenticationFailedError(f"{len(given)} certificates came, 1 to 16 are in order")
    try:
        return [x509.load_der_x509_certificate(one) for one in given]
    except MALFORMED as error:
        raise AuthenticationFailedError(f"a certificate cannot be read: {error}") from error
