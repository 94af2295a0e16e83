"""Certificates and private keys out of PEM texts, with words for what is wrong. Pure."""

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from plutino.model.errors import ConfigError
from plutino.model.private_key import SMALLEST_RSA, PrivateKey

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
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    certified = chain[0].public_key()
    if private.public_key().public_bytes(*form) != certified.public_bytes(*form):
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
    if not isinstance(key, PrivateKey):
        why = "is a key of a kind that IKE does not sign with"
        raise ConfigError.single(file, "", why, "RSA, ECDSA, Ed25519 or Ed448")
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < SMALLEST_RSA:
        why = f"has {key.key_size} bits, {SMALLEST_RSA} at least are needed"
        raise ConfigError.single(file, "", why)
    return key
