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
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from plutino.model.private_key import PrivateKey

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
END = datetime(2035, 1, 1, tzinfo=UTC)
KEYS: dict[str, Callable[[], PrivateKey]] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ecdsa521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
}
"""Of all kinds that are good for IKE."""
_MORE_KEYS: dict[str, Callable[[], PrivateKey]] = {
    "weak": lambda: rsa.generate_private_key(65537, 1024)
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
    signs_certificates: bool = True,
    path_length: int | None = None,
    signed_with: hashes.SHA224 | None = None,
) -> Certified:
    """A certificate of ``issuer``, or of itself."""
    key = (KEYS | _MORE_KEYS)[kind]()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(subject) if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(min(end, END - timedelta(days=1)))
        .add_extension(x509.BasicConstraints(authority, path_length), critical=True)
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
        signing = x509.KeyUsage(key_cert_sign=signs_certificates, crl_sign=signs_lists, **usage)
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
    algorithm = signed_with or _algorithm_of(above)
    return Certified(key, builder.sign(above, algorithm))


def _algorithm_of(key: PrivateKey) -> hashes.SHA256 | None:
    edwards = ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
    return None if isinstance(key, edwards) else hashes.SHA256()


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
    return builder.sign(key, _algorithm_of(key))


OCSP_SIGNING = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False)
"""Makes a certificate that of a responder."""


def answered_at(url: str) -> tuple[x509.ExtensionType, bool]:
    """What names the responder of a certificate."""
    place = x509.UniformResourceIdentifier(url)
    access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)
    return x509.AuthorityInformationAccess([access]), False


def respond(
    about: Certified,
    issuer: Certified,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    *,
    signer: Certified | None = None,
    begin: datetime = BEGIN,
    end: datetime | None = END,
    certificates: tuple[Certified, ...] = (),
    algorithm: hashes.HashAlgorithm | None = None,
    by_key: bool = False,
    signed_with: hashes.SHA224 | None = None,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
) -> bytes:
    """A responder's answer (DER) of the issuer, or of another ``signer``."""
    signer = signer or issuer
    is_revoked = status is ocsp.OCSPCertStatus.REVOKED
    encoding = ocsp.OCSPResponderEncoding.HASH if by_key else ocsp.OCSPResponderEncoding.NAME
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=about.certificate,
            issuer=issuer.certificate,
            algorithm=algorithm or hashes.SHA1(),
            cert_status=status,
            this_update=begin,
            next_update=end,
            revocation_time=begin if is_revoked else None,
            revocation_reason=None,
        )
        .responder_id(encoding, signer.certificate)
    )
    if certificates:
        builder = builder.certificates([one.certificate for one in certificates])
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    kind = signed_with or _algorithm_of(signer.key)
    return builder.sign(signer.key, kind).public_bytes(Encoding.DER)
