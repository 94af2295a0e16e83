"""What OCSP responders are asked about a certificate, and what they say of it (RFC 6960).

Who believes what of it decides is in ``revocation``. A request gets a nonce as it goes out (RFC
9654, 2.1). Many responders sign beforehand and cannot repeat it, so an answer without one counts by
its dates; in either case it serves everybody until its next update.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from plutino.model.private_key import SMALLEST_RSA
from plutino.model.x509_errors import MALFORMED

OCSP_CONTENT: Final = 14
"""Encoding "OCSP Content" (RFC 4806)."""
USABLE_URL: Final = re.compile(r"http://[!-~]{1,1000}")
"""Of a responder; not https, whose certificate would have to be checked first."""
TOLERANCE: Final = timedelta(minutes=5)
"""By which clocks may differ. An answer without a next update is good for so long."""
RECENT: Final = timedelta(seconds=30)
"""A responder that gave no answer of use is not asked again so soon."""
KEPT_FOR: Final = timedelta(hours=1)
"""It is asked again then even where its answer says to be good for longer."""
NONCE_SIZE: Final = 32
"""Octets (RFC 8954 and 9654, 2.1): more are not allowed by the one, fewer not by the other."""
_SIGNED_WITH: Final = {"sha256", "sha384", "sha512"}


@dataclass(frozen=True, slots=True)
class StatusQuestion:
    """``request`` (DER) for the responder at ``url``."""

    url: str
    request: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StatusAnswer:
    """What came of a question, and when; nothing if ``response`` is empty.

    ``nonce`` is what the request had; None: the response was not made for us.
    """

    response: bytes = field(repr=False)
    at: datetime
    nonce: bytes | None = None

    def is_recent(self, date: datetime) -> bool:
        """Whether it is in vain to ask once more."""
        return timedelta(0) <= date - self.at < RECENT

    def is_kept(self, date: datetime) -> bool:
        """Whether it still serves those who come, as far as its own dates go."""
        return timedelta(0) <= date - self.at < KEPT_FOR


Answers = Mapping[StatusQuestion, StatusAnswer]
NO_ANSWERS: Final[Answers] = MappingProxyType({})


class StatusWantedError(Exception):
    """Responders have to be asked before a chain can be judged; nothing is wrong with it so far."""

    def __init__(self, questions: tuple[StatusQuestion, ...]) -> None:
        super().__init__()
        self.questions = questions


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """What a responder has signed; ``delegate`` where the issuer has not done so itself."""

    status: ocsp.OCSPCertStatus
    this_update: datetime
    next_update: datetime | None
    delegate: x509.Certificate | None

    def is_current(self, date: datetime) -> bool:
        """Whether nothing newer should be there by now."""
        return date <= (self.next_update or self.this_update) + TOLERANCE


def question_about(
    certificate: x509.Certificate, issuer: x509.Certificate, url: str | None
) -> StatusQuestion | None:
    """For a responder at ``url``, or where the certificate says; None if it names none."""
    url = url or _named_responder(certificate)
    if url is None:
        return None
    # SHA-1 is what all responders know a certificate by (RFC 5019, 2.1.1); nobody has to trust it.
    request = _request(certificate, issuer, hashes.SHA1())  # noqa: S303
    return StatusQuestion(url, request.public_bytes(Encoding.DER))


def with_nonce(question: StatusQuestion, nonce: bytes) -> StatusQuestion:
    """The question as it goes out: what repeats this nonce was made for us, and just now."""
    asked = ocsp.load_der_ocsp_request(question.request)
    hashed = asked.issuer_name_hash, asked.issuer_key_hash
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        *hashed, asked.serial_number, asked.hash_algorithm
    )
    request = builder.add_extension(x509.OCSPNonce(nonce), critical=False).build()
    return StatusQuestion(question.url, request.public_bytes(Encoding.DER))


def read_status(
    octets: bytes,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    date: datetime,
    nonce: bytes | None = None,
) -> CertificateStatus:
    """The status of a certificate by a response that may be believed (RFC 6960, 3.2).

    ``nonce`` is that of the request that it answers, if it does. Raises one of MALFORMED with the
    reason if it may not. One that is out of date is read as well.
    """
    response = ocsp.load_der_ocsp_response(octets)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise ValueError(f"the responder says {response.response_status.name}")
    for extension in response.extensions:
        if isinstance(extension.value, x509.OCSPNonce):
            if nonce is not None and extension.value.nonce != nonce:
                raise ValueError("the response has the nonce of another request")
        elif extension.critical:
            raise ValueError(f"critical extension {extension.oid.dotted_string} is unknown")
    about = [one for one in response.responses if _is_about(one, certificate, issuer)]
    if not about:
        raise ValueError("the response is about another certificate")
    one = max(about, key=lambda one: one.this_update_utc)
    if one.this_update_utc > date + TOLERANCE:
        raise ValueError("the response is from the future")
    signer = _signer(response, issuer, date)
    delegate = None if signer is issuer else signer
    return CertificateStatus(
        one.certificate_status, one.this_update_utc, one.next_update_utc, delegate
    )


def _named_responder(certificate: x509.Certificate) -> str | None:
    """By the authority information access (RFC 5280, 4.2.2.1)."""
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.AuthorityInformationAccess):
            for access in extension.value:
                place = access.access_location
                if (
                    access.access_method == AuthorityInformationAccessOID.OCSP
                    and isinstance(place, x509.UniformResourceIdentifier)
                    and USABLE_URL.fullmatch(place.value)
                ):
                    return place.value
    return None


def _request(
    certificate: x509.Certificate, issuer: x509.Certificate, algorithm: hashes.HashAlgorithm
) -> ocsp.OCSPRequest:
    builder = ocsp.OCSPRequestBuilder()
    return builder.add_certificate(certificate, issuer, algorithm).build()


def _is_about(
    one: ocsp.OCSPSingleResponse, certificate: x509.Certificate, issuer: x509.Certificate
) -> bool:
    """Serial number, and the issuer's name and key, by the hash that the responder has used."""
    if one.serial_number != certificate.serial_number:
        return False
    known = _request(certificate, issuer, one.hash_algorithm)
    return (one.issuer_name_hash, one.issuer_key_hash) == (
        known.issuer_name_hash,
        known.issuer_key_hash,
    )


def _signer(
    response: ocsp.OCSPResponse, issuer: x509.Certificate, date: datetime
) -> x509.Certificate:
    """The issuer, or whom it lets speak for itself (RFC 6960, 4.2.2.2); else ValueError."""
    algorithm = response.signature_hash_algorithm
    if algorithm is not None and algorithm.name not in _SIGNED_WITH:
        raise ValueError(f"it is signed with {algorithm.name}, which nobody should believe")
    for one in _named_signers(response, issuer):
        if _has_signed(one, response, algorithm):
            if one is not issuer:
                _check_delegate(one, issuer, date)
            return one
    raise ValueError("it is signed neither by the issuer nor by a responder of the issuer's")


def _named_signers(
    response: ocsp.OCSPResponse, issuer: x509.Certificate
) -> Iterator[x509.Certificate]:
    for one in (issuer, *response.certificates):
        key = x509.SubjectKeyIdentifier.from_public_key(one.public_key()).digest
        if response.responder_key_hash == key or response.responder_name == one.subject:
            yield one


def _has_signed(
    one: x509.Certificate, response: ocsp.OCSPResponse, algorithm: hashes.HashAlgorithm | None
) -> bool:
    key, signature, octets = one.public_key(), response.signature, response.tbs_response_bytes
    try:
        if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, octets)
        elif algorithm is None:
            return False
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, octets, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, octets, ec.ECDSA(algorithm))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _check_delegate(one: x509.Certificate, issuer: x509.Certificate, date: datetime) -> None:
    """ValueError unless the issuer itself has made it a responder, and it still is one."""
    try:
        one.verify_directly_issued_by(issuer)
    except (TypeError, InvalidSignature, *MALFORMED):
        raise ValueError("the responder's certificate is not the issuer's") from None
    algorithm, key = one.signature_hash_algorithm, one.public_key()
    if algorithm is not None and algorithm.name not in _SIGNED_WITH:
        raise ValueError(f"the responder's certificate is signed with {algorithm.name}")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SMALLEST_RSA:
        raise ValueError(f"the responder's key has {key.key_size} bits")
    if not one.not_valid_before_utc <= date <= one.not_valid_after_utc:
        raise ValueError("the responder's certificate is out of date")
    usages: set[x509.ObjectIdentifier] = set()
    for extension in one.extensions:
        if isinstance(extension.value, x509.ExtendedKeyUsage):
            usages = set(extension.value)
        elif isinstance(extension.value, x509.KeyUsage):
            if not (extension.value.digital_signature or extension.value.content_commitment):
                raise ValueError("the responder's key usage has no digitalSignature")
        elif extension.critical and isinstance(extension.value, x509.UnrecognizedExtension):
            raise ValueError("the responder's certificate has an unknown critical extension")
    if ExtendedKeyUsageOID.OCSP_SIGNING not in usages:
        raise ValueError("the responder's certificate is not for OCSP")
