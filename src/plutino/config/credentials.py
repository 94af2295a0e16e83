"""Certificates, keys and revocation lists out of files' contents. Pure.

Each error says which file is meant and what is wrong with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import UnionType
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509 import ocsp

from plutino.model.errors import ConfigError
from plutino.model.private_key import SMALLEST_RSA, PrivateKey, PublicKey
from plutino.model.x509_errors import MALFORMED

_SPKI: Final = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
_PEM_LIST: Final = b"-----BEGIN X509 CRL-----"
_SIGNED_WITH: Final = {"sha256", "sha384", "sha512"}
_JUDGED: Final = (x509.AuthorityKeyIdentifier, x509.CRLNumber)
Named = tuple[str, str]
"""A file's name and its text."""


@dataclass(frozen=True, slots=True)
class SignatureFiles:
    """Our key, and what the peer is known by; what is not by signature at one end is not here.

    ``chain`` is our certificate with those above it, empty for a raw public key. ``peer_key`` is
    the peer's SubjectPublicKeyInfo (DER), None where ``authorities`` vouch for it.
    ``ocsp_response`` (DER) is about our certificate.
    """

    key: PrivateKey | None = field(default=None, repr=False)
    chain: tuple[x509.Certificate, ...] = field(default=(), repr=False)
    authorities: tuple[x509.Certificate, ...] = field(default=(), repr=False)
    peer_key: bytes | None = None
    revoked: tuple[x509.CertificateRevocationList, ...] = field(default=(), repr=False)
    ocsp_response: bytes | None = field(default=None, repr=False)


def parse_signature_files(
    key: Named | None,
    certificate: Named | None,
    authorities: Named | None,
    peer_key: Named | None,
) -> SignatureFiles:
    """ConfigError names the file; no word of it shows key material."""
    trusted = () if authorities is None else _certificates(authorities)
    known = None if peer_key is None else _public_key(peer_key)
    if key is None:
        return SignatureFiles(authorities=trusted, peer_key=known)
    private = _private_key(key)
    own = private.public_key().public_bytes(*_SPKI)
    chain = () if certificate is None else _certificates(certificate)
    if certificate is not None and chain[0].public_key().public_bytes(*_SPKI) != own:
        why = f"is not the key of the first certificate in {certificate[0]}"
        raise ConfigError.single(key[0], "", why)
    if peer_key is not None and known == own:
        hint = "it must be the peer's, made there: `openssl pkey -in KEY -pubout`"
        raise ConfigError.single(peer_key[0], "", f"is our own key, that of {key[0]}", hint)
    return SignatureFiles(private, chain, trusted, known)


def _public_key(named: Named) -> bytes:
    file, text = named
    try:
        key = load_pem_public_key(text.encode())
    except MALFORMED as error:
        hint = "PEM begins with -----BEGIN PUBLIC KEY-----, as `openssl pkey -pubout` prints it"
        raise ConfigError.single(file, "", "holds no public key", hint) from error
    _check_kind(file, key, PublicKey)
    return key.public_bytes(*_SPKI)


def _certificates(named: Named) -> tuple[x509.Certificate, ...]:
    file, text = named
    try:
        return tuple(x509.load_pem_x509_certificates(text.encode()))
    except MALFORMED as error:
        hint = "PEM begins with -----BEGIN CERTIFICATE-----"
        raise ConfigError.single(file, "", "holds no certificates", hint) from error


def _private_key(named: Named) -> PrivateKey:
    file, text = named
    try:
        key = load_pem_private_key(text.encode(), None)
    except TypeError as error:
        hint = f"decrypt it: openssl pkey -in {file} -out FILE"
        raise ConfigError.single(file, "", "is encrypted, and nobody can type", hint) from error
    except MALFORMED as error:
        hint = "PEM begins with -----BEGIN PRIVATE KEY-----"
        raise ConfigError.single(file, "", "holds no private key", hint) from error
    _check_kind(file, key, PrivateKey)
    assert isinstance(key, PrivateKey)
    return key


def _check_kind(file: str, key: object, kinds: UnionType) -> None:
    if not isinstance(key, kinds):
        why = "is a key of a kind that IKE does not sign with"
        raise ConfigError.single(file, "", why, "RSA, ECDSA, Ed25519 or Ed448")
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey) and key.key_size < SMALLEST_RSA:
        why = f"has {key.key_size} bits, {SMALLEST_RSA} at least are needed"
        raise ConfigError.single(file, "", why)


def parse_revocation_list(file: str, octets: bytes) -> x509.CertificateRevocationList:
    """One list, PEM or DER, of a kind that can be judged (RFC 5280, 5.2); else ConfigError."""
    count = octets.count(_PEM_LIST)
    if count > 1:
        why = f"holds {count} certificate revocation lists"
        raise ConfigError.single(file, "", why, "each needs a file of its own")
    try:
        found = x509.load_pem_x509_crl(octets) if count else x509.load_der_x509_crl(octets)
        unusable = _why_unusable(found)
    except MALFORMED as error:
        hint = f"PEM begins with {_PEM_LIST.decode()}"
        why = "holds no certificate revocation list"
        raise ConfigError.single(file, "", why, hint) from error
    if unusable is not None:
        raise ConfigError.single(file, "", unusable, "a complete list of one issuer is needed")
    return found


def check_ocsp_response(file: str, octets: bytes, certificate: x509.Certificate) -> None:
    """ConfigError unless it is a responder's answer about a certificate; its dates are no matter.

    Whether the peer believes it is for the peer to say.
    """
    try:
        found = ocsp.load_der_ocsp_response(octets)
        if found.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            why = f"is no answer: the responder says {found.response_status.name}"
            raise ConfigError.single(file, "", why, "fetch it anew")
        numbers = {one.serial_number for one in found.responses}
    except MALFORMED as error:
        hint = "DER, as `openssl ocsp -respout` writes it"
        raise ConfigError.single(file, "", "holds no OCSP response", hint) from error
    if certificate.serial_number not in numbers:
        who = certificate.subject.rfc4514_string()
        raise ConfigError.single(file, "", f"is not about our certificate, {who}", "fetch it anew")


def check_issuer(
    file: str, one: x509.CertificateRevocationList, authorities: Iterable[x509.Certificate]
) -> None:
    """ConfigError if a list claims an authority's name and is not signed by it.

    Those of authorities below have to wait until the peer shows their certificates.
    """
    issuers = [authority for authority in authorities if authority.subject == one.issuer]
    if issuers and not any(_has_signed(authority, one) for authority in issuers):
        why = f"is not signed by the authority that it names, {one.issuer.rfc4514_string()}"
        raise ConfigError.single(file, "", why, "fetch it anew")


def _has_signed(authority: x509.Certificate, one: x509.CertificateRevocationList) -> bool:
    try:
        return one.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (TypeError, *MALFORMED):
        return False


def _why_unusable(one: x509.CertificateRevocationList) -> str | None:
    algorithm = one.signature_hash_algorithm
    if algorithm is not None and algorithm.name not in _SIGNED_WITH:
        return f"is signed with {algorithm.name}, which nobody should believe"
    for extension in one.extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            return "is a delta list: it says only what has changed"
        if isinstance(value, x509.IssuingDistributionPoint):
            if value.indirect_crl:
                return "is an indirect list: it speaks for other issuers"
        elif extension.critical and not isinstance(value, _JUDGED):
            return f"has critical extension {extension.oid.dotted_string}, which is unknown"
    return None
