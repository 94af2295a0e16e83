"""Whether a chain is revoked by the lists that the gateway file names (RFC 5280, 5 and 6.3).

Lists that no rule here can judge (delta, indirect, unknown critical extensions) are refused when
the file is read; what is left is whose list it is, which certificates it is about, and its dates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import TypeVar

from cryptography import x509

from plutino.ike.errors import AuthenticationFailedError
from plutino.model.x509_errors import MALFORMED

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Revocation:
    """Lists of any issuers; ``strict``: without a current list of its issuer nobody is believed."""

    lists: tuple[x509.CertificateRevocationList, ...] = field(default=(), repr=False)
    strict: bool = False

    def check(self, chain: Sequence[x509.Certificate], date: datetime) -> None:
        """AuthenticationFailedError if a certificate of a chain, the leaf first, is revoked.

        The last one is trusted as it is. Of several lists of an issuer the newest decides; one
        that is out of date still revokes what is on it.
        """
        for certificate, issuer in pairwise(chain if self.lists or self.strict else ()):
            try:
                found = self._list_about(certificate, issuer, date)
                who = certificate.subject.rfc4514_string()
            except MALFORMED as error:
                raise AuthenticationFailedError(f"a certificate of the chain: {error}") from error
            if found is None:
                if self.strict:
                    words = f"no certificate revocation list is about {who}"
                    raise AuthenticationFailedError(words)
                continue
            entry = found.get_revoked_certificate_by_serial_number(certificate.serial_number)
            if entry is not None:
                raise AuthenticationFailedError(f"the certificate of {who} is revoked")
            if self.strict and (found.next_update_utc is None or found.next_update_utc < date):
                words = f"the certificate revocation list about {who} is out of date"
                raise AuthenticationFailedError(words)

    def _list_about(
        self, certificate: x509.Certificate, issuer: x509.Certificate, date: datetime
    ) -> x509.CertificateRevocationList | None:
        """The newest list of an issuer whose scope a certificate is in."""
        begun = [one for one in self.lists if one.last_update_utc <= date]
        for one in sorted(begun, key=lambda one: one.last_update_utc, reverse=True):
            if (
                one.issuer == issuer.subject
                and _is_about(one, certificate)
                and is_signed_by(one, issuer)
            ):
                return one
        return None


def is_signed_by(one: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Whether the issuer's key has signed the list, and may do so (RFC 5280, 6.3.3 (f), (g))."""
    usage = _extension(issuer.extensions, x509.KeyUsage)
    if usage is not None and not usage.crl_sign:
        return False
    try:
        return one.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (TypeError, *MALFORMED):
        return False  # a key of a kind that signs no lists


def _is_about(one: x509.CertificateRevocationList, certificate: x509.Certificate) -> bool:
    """RFC 5280, 6.3.3 (b) (2): a list may be about a part of the issuer's certificates."""
    scope = _extension(one.extensions, x509.IssuingDistributionPoint)
    if scope is None:
        return True
    basic = _extension(certificate.extensions, x509.BasicConstraints)
    is_authority = basic is not None and basic.ca
    if scope.only_contains_attribute_certs or scope.only_some_reasons:
        return False
    if scope.only_contains_ca_certs and not is_authority:
        return False
    if scope.only_contains_user_certs and is_authority:
        return False
    if scope.relative_name is not None:
        return False
    return scope.full_name is None or bool(set(scope.full_name) & _distribution(certificate))


def _distribution(certificate: x509.Certificate) -> set[x509.GeneralName]:
    """Where the issuer says that the list about a certificate is."""
    points = _extension(certificate.extensions, x509.CRLDistributionPoints) or ()
    return {name for point in points for name in point.full_name or ()}


def _extension(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    return next((one.value for one in extensions if isinstance(one.value, kind)), None)
