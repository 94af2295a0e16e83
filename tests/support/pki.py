"""A small public key infrastructure for tests: an authority, one below it, and leaves."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from plutino.model.private_key import PrivateKey

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
END = datetime(2035, 1, 1, tzinfo=UTC)
KEYS: dict[str, Callable[[], PrivateKey]] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@dataclass(frozen=True)
class Certified:
    """A key with its certificate."""

    key: PrivateKey
    certificate: x509.Certificate

    @property
    def key_pem(self) -> bytes:
        """PKCS#8."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def public_pem(self) -> bytes:
        """SubjectPublicKeyInfo."""
        form = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(*form)

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def issue(
    subject: str,
    issuer: Certified | None = None,
    *,
    kind: str = "ecdsa",
    authority: bool = False,
    dns: str | None = None,
    address: str | None = None,
    end: datetime = END,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    signs_lists: bool = True,
) -> Certified:
    """A certificate of ``issuer``, or of itself."""
    key = KEYS[kind]()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(subject) if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(min(end, END - timedelta(days=1)))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    above = key if issuer is None else issuer.key
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key())
    builder = builder.add_extension(identifier, False)
    if authority:
        usage = dict.fromkeys(
            (
                "digital_signature", "content_commitment", "key_encipherment",
                "data_encipherment", "key_agreement", "encipher_only", "decipher_only",
            ),
            False,
        )  # fmt: skip
        signing = x509.KeyUsage(key_cert_sign=True, crl_sign=signs_lists, **usage)
        builder = builder.add_extension(signing, critical=True)
    names: list[x509.GeneralName] = []
    if dns is not None:
        names.append(x509.DNSName(dns))
    if address is not None:
        names.append(x509.IPAddress(ip_address(address)))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    algorithm = None if isinstance(above, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Certified(key, builder.sign(above, algorithm))


def long_chain(root: Certified) -> list[Certified]:
    """Three authorities, each below the one before."""
    chain = [root]
    for subject in ("first", "second", "third"):
        chain.append(issue(subject, chain[-1], kind="rsa", authority=True))
    return chain[1:]


def revoke(
    issuer: Certified,
    *revoked: Certified,
    begin: datetime = BEGIN,
    end: datetime = END,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    signer: Certified | None = None,
) -> x509.CertificateRevocationList:
    """A list of an authority, signed by it or by another."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(begin)
        .next_update(end)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(BEGIN).build())
    key = (signer or issuer).key
    assert not isinstance(key, ed448.Ed448PrivateKey)
    return builder.sign(key, hashes.SHA256())
