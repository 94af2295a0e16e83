"""Chains from a peer's certificate to an authority that is trusted (RFC 5280, 6).

``cryptography`` builds and checks them by the Web's rules, which know no authority with a key on an
Edwards curve (RFC 8410). Chains over such are checked here, by fewer rules and stricter ones:
what is critical and not judged is refused.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from plutino.ike.auth.name_constraints import check_names
from plutino.ike.errors import AuthenticationFailedError
from plutino.model.private_key import SMALLEST_RSA
from plutino.model.x509_errors import MALFORMED

USAGES: Final = {
    ObjectIdentifier("1.3.6.1.5.5.7.3.17"),  # id-kp-ipsecIKE
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.CLIENT_AUTH,
}
"""Of extended key usages a certificate for IKE has one of these, if any (RFC 4945, 5.1.3.12)."""
_EDWARDS: Final = ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
_CURVES: Final = ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1
_SIGNED_WITH: Final = {"sha256", "sha384", "sha512"}
MOST_SIGNATURES: Final = 32
"""To find a chain."""


def build_chain(
    leaf: x509.Certificate,
    others: Sequence[x509.Certificate],
    trusted: Sequence[x509.Certificate],
    date: datetime,
) -> list[x509.Certificate]:
    """From the leaf to one that is trusted; AuthenticationFailedError if there is none."""
    # What the Web's rules demand of a leaf, such as a DNS name, is not what IKE demands.
    builder = verification.PolicyBuilder().store(verification.Store(list(trusted))).time(date)
    builder = builder.extension_policies(
        ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
        ee_policy=verification.ExtensionPolicy.permit_all(),
    )
    try:
        return builder.build_client_verifier().verify(leaf, list(others)).chain
    except (verification.VerificationError, *MALFORMED) as error:
        why = str(error)
    try:
        if any(map(_is_edwards, (*others, *trusted))):
            return _Walk(others, trusted, date).up_from(leaf)
    except MALFORMED as error:
        why = str(error)
    raise AuthenticationFailedError(f"no chain to an authority we trust: {why}")


def _is_edwards(one: x509.Certificate) -> bool:
    return isinstance(one.public_key(), _EDWARDS)


class _Walk:
    """Over an Edwards curve at least once: of all other chains the library has judged.

    An authority that has got another key may have two certificates of its name, one issued by the
    other. Whatever a peer sends, few signatures are verified.
    """

    def __init__(
        self,
        others: Sequence[x509.Certificate],
        trusted: Sequence[x509.Certificate],
        date: datetime,
    ) -> None:
        self._trusted = trusted
        self._left = [*trusted, *others]
        self._date = date
        self._verified = 0
        self._why = "an issuer's certificate is not there, or not to be believed"

    def up_from(self, leaf: x509.Certificate) -> list[x509.Certificate]:
        """The chain; ValueError with what was wrong last."""
        _check_dates(leaf, self._date)
        chain = self._extend([leaf])
        if chain is None:
            raise ValueError(self._why)
        return chain

    def _extend(self, chain: list[x509.Certificate]) -> list[x509.Certificate] | None:
        for issuer in [one for one in self._left if one.subject == chain[-1].issuer]:
            if issuer not in self._left:
                continue
            try:
                _check_authority(issuer, len(chain) - 1)
                _check_dates(issuer, self._date)
                self._check_issued(chain[-1], issuer)
            except MALFORMED as error:
                self._why = str(error)
                continue
            self._left.remove(issuer)  # from here on it is in no other chain
            longer = [*chain, issuer]
            if issuer not in self._trusted:
                found = self._extend(longer)
                if found is not None:
                    return found
            elif any(map(_is_edwards, longer[1:])) and self._may_certify(longer):
                return longer
        return None

    def _may_certify(self, chain: list[x509.Certificate]) -> bool:
        """By the name constraints of a chain whose signatures are right."""
        try:
            check_names(chain)
        except MALFORMED as error:
            self._why = str(error)
            return False
        return True

    def _check_issued(self, one: x509.Certificate, issuer: x509.Certificate) -> None:
        if self._verified >= MOST_SIGNATURES:
            raise ValueError(f"more than {MOST_SIGNATURES} signatures would have to be verified")
        self._verified += 1
        _check_issued(one, issuer)


def _check_dates(one: x509.Certificate, date: datetime) -> None:
    if not one.not_valid_before_utc <= date <= one.not_valid_after_utc:
        raise ValueError(f"the certificate of {one.subject.rfc4514_string()} is out of date")


def _check_issued(one: x509.Certificate, issuer: x509.Certificate) -> None:
    who = one.subject.rfc4514_string()
    algorithm, key = one.signature_hash_algorithm, issuer.public_key()
    is_strong = (
        isinstance(key, _EDWARDS)
        or (isinstance(key, rsa.RSAPublicKey) and key.key_size >= SMALLEST_RSA)
        or (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES))
    )
    if not is_strong or (algorithm is not None and algorithm.name not in _SIGNED_WITH):
        raise ValueError(f"the certificate of {who} is signed by an algorithm that is not allowed")
    try:
        one.verify_directly_issued_by(issuer)
    except (TypeError, InvalidSignature) as error:
        raise ValueError(f"the certificate of {who} is not signed by its issuer") from error


def _check_authority(one: x509.Certificate, below: int) -> None:
    """Whether it may issue certificates, with ``below`` other authorities between (4.2.1.9)."""
    who = one.subject.rfc4514_string()
    basic: x509.BasicConstraints | None = None
    usage: x509.KeyUsage | None = None
    for extension in one.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints):
            basic = value
        elif isinstance(value, x509.KeyUsage):
            usage = value
        elif isinstance(value, x509.ExtendedKeyUsage):
            if not USAGES & set(value):
                raise ValueError(f"{who} is no authority for certificates of IKE")
        elif extension.critical and not isinstance(value, x509.NameConstraints):
            number = extension.oid.dotted_string
            raise ValueError(f"{who} has extension {number}, which is not judged with such keys")
    if basic is None or not basic.ca or usage is None or not usage.key_cert_sign:
        raise ValueError(f"{who} is no authority")
    if basic.path_length is not None and below > basic.path_length:
        raise ValueError(f"{who} may not have so many authorities below it")
