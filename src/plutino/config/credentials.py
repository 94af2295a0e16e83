"""Certificates and private keys out of PEM texts, with words for what is wrong. Pure."""

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from plutino.model.errors import ConfigError

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)
_KINDS = (
    rsa.RSAPrivateKey,
    ec.EllipticCurvePrivateKey,
    ed25519.Ed25519PrivateKey,
    ed448.Ed448PrivateKey,
)
_SMALLEST_RSA = 2048
Named = tuple[str, str]
"""A file's name and its text."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Our key with its chain, the leaf first, and the authorities that may vouch for the peer."""

    key: PrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...] = field(repr=False)
    authorities: tuple[x509.Certificate, ...] = field(repr=False)


def parse_certificates(certificate: Named, key: Named, *, authorities: Named) -> CertificateFiles:
    """ConfigError names the file; no word of it shows key material."""
    chain = _certificates(certificate)
    private = _private_key(key)
    if _public(private.public_key()) != _public(chain[0].public_key()):
        why = f"is not the key of the first certificate in {certificate[0]}"
        raise ConfigError.single(key[0], "", why)
    return CertificateFiles(private, chain, _certificates(authorities))


def _certificates(named: Named) -> tuple[x509.Certificate, ...]:
    file, text = named
    try:
        return tuple(x509.load_pem_x509_certificates(text.encode()))
    except ValueError as error:
        hint = "PEM begins with -----BEGIN CERTIFICATE-----"
        raise ConfigError.single(file, "", "holds no certificates", hint) from error


def _private_key(named: Named) -> PrivateKey:
    file, text = named
    try:
        key = load_pem_private_key(text.encode(), None)
    except TypeError as error:
        hint = f"decrypt it: openssl pkey -in {file} -out FILE"
        raise ConfigError.single(file, "", "is encrypted, and nobody can type", hint) from error
    except ValueError as error:
        hint = "PEM begins with -----BEGIN PRIVATE KEY-----"
        raise ConfigError.single(file, "", "holds no private key", hint) from error
    if not isinstance(key, _KINDS):
        why = "is a key of a kind that IKE does not sign with"
        raise ConfigError.single(file, "", why, "RSA, ECDSA, Ed25519 or Ed448")
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < _SMALLEST_RSA:
        why = f"has {key.key_size} bits, {_SMALLEST_RSA} at least are needed"
        raise ConfigError.single(file, "", why)
    return key


def _public(key: object) -> bytes:
    encode = getattr(key, "public_bytes")  # noqa: B009 - every kind of key has it
    octets: bytes = encode(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return octets
