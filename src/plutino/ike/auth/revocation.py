"""Whether a chain is revoked: by lists that the gateway file names, or by what responders say.

Lists (RFC 5280, 5 and 6.3) that no rule here can judge (delta, indirect, unknown critical
extensions) are refused when the file is read; what is left is whose list it is, which certificates
it is about, and its dates. Responders (RFC 6960) are believed by ``ocsp``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import TypeVar

from cryptography import x509
from cryptography.x509.ocsp import OCSPCertStatus

from plutino.ike.auth.ocsp import (
    NO_ANSWERS,
    Answers,
    CertificateStatus,
    StatusAnswer,
    StatusQuestion,
    StatusWantedError,
    question_about,
    read_status,
)
from plutino.ike.errors import AuthenticationFailedError
from plutino.model.x509_errors import MALFORMED

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class OcspPolicy:
    """Responders are asked: at ``url``, or where each certificate says.

    ``strict``: a certificate that none says to be good needs a current list that it is not on.
    """

    strict: bool = False
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Revocation:
    """Lists of any issuers; ``strict``: without a current list of its issuer nobody is believed.

    ``ocsp`` None: nobody is asked, and what peers send of it is not looked at.
    """

    lists: tuple[x509.CertificateRevocationList, ...] = field(default=(), repr=False)
    strict: bool = False
    ocsp: OcspPolicy | None = None

    def check(
        self,
        chain: Sequence[x509.Certificate],
        date: datetime,
        offered: Sequence[bytes] = (),
        answers: Answers = NO_ANSWERS,
    ) -> None:
        """AuthenticationFailedError if a certificate of a chain, the leaf first, is revoked.

        The last one is trusted as it is. Of several lists or responses the newest decides; one
        that is out of date still revokes. ``offered`` are responses that came from the peer,
        ``answers`` those of responders. Raises StatusWantedError where one has to be asked yet.
        """
        wanted: list[StatusQuestion] = []
        is_needed = self.lists or self.strict or self.ocsp is not None
        for certificate, issuer in pairwise(chain if is_needed else ()):
            try:
                is_listed = self._check_lists(certificate, issuer, date)
                if self.ocsp is None:
                    continue
                question = question_about(certificate, issuer, self.ocsp.url)
                answer = None if question is None else answers.get(question)
                is_kept = answer is not None and answer.is_kept(date)
                responses = [StatusAnswer(one, date) for one in offered]
                if answer is not None and is_kept:
                    responses.append(answer)
                why = self._why_not_good(certificate, issuer, responses, date)
                if why is None:
                    continue
                if question is not None and (answer is None or not answer.is_recent(date)):
                    wanted.append(question)
                elif self.ocsp.strict and not is_listed:
                    who = certificate.subject.rfc4514_string()
                    why = "it names no responder" if question is None and not offered else why
                    words = f"no OCSP response says that the certificate of {who} is good: {why}"
                    raise AuthenticationFailedError(words)
            except MALFORMED as error:
                raise AuthenticationFailedError(f"a certificate of the chain: {error}") from error
        if wanted:
            raise StatusWantedError(tuple(wanted))

    def _check_lists(
        self, certificate: x509.Certificate, issuer: x509.Certificate, date: datetime
    ) -> bool:
        """Whether a current list is about a certificate, which is not on it."""
        found = self._list_about(certificate, issuer, date)
        who = certificate.subject.rfc4514_string()
        if found is None:
            if self.strict:
                words = f"no certificate revocation list is about {who}"
                raise AuthenticationFailedError(words)
            return False
        entry = found.get_revoked_certificate_by_serial_number(certificate.serial_number)
        if entry is not None:
            raise AuthenticationFailedError(f"the certificate of {who} is revoked")
        is_current = found.next_update_utc is not None and found.next_update_utc >= date
        if self.strict and not is_current:
            words = f"the certificate revocation list about {who} is out of date"
            raise AuthenticationFailedError(words)
        return is_current

    def _why_not_good(
        self,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        responses: Sequence[StatusAnswer],
        date: datetime,
    ) -> str | None:
        """None if the newest response that can be believed says that a certificate is good."""
        why = "there is none"
        believed: list[CertificateStatus] = []
        for one in responses:
            if not one.response:
                continue
            try:
                found = read_status(one.response, certificate, issuer, date, one.nonce)
                if found.delegate is not None:
                    self._check_lists(found.delegate, issuer, date)
            except AuthenticationFailedError as error:
                why = f"of the responder, {error.reason}"
            except MALFORMED as error:
                why = str(error)
            else:
                believed.append(found)
        if not believed:
            return why
        newest = max(believed, key=lambda one: (one.this_update, _is_revoked(one)))
        if _is_revoked(newest):
            who = certificate.subject.rfc4514_string()
            raise AuthenticationFailedError(f"the certificate of {who} is revoked (OCSP)")
        if newest.status is OCSPCertStatus.UNKNOWN:
            return "the responder does not know it"
        return None if newest.is_current(date) else "the response is out of date"

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


def _is_revoked(one: CertificateStatus) -> bool:
    return one.status is OCSPCertStatus.REVOKED


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
