"""OCSP: which responses are believed, who is refused, and when a responder has to be asked."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from plutino.ike.auth.certificates import LocalCertificate, TrustedAuthorities
from plutino.ike.auth.credentials import CertificateData
from plutino.ike.auth.identity import parse_identity
from plutino.ike.auth.ocsp import (
    KEPT_FOR,
    OCSP_CONTENT,
    RECENT,
    StatusAnswer,
    StatusQuestion,
    StatusWantedError,
    question_about,
    read_status,
    with_nonce,
)
from plutino.ike.auth.revocation import OcspPolicy, Revocation
from plutino.ike.errors import AuthenticationFailedError
from plutino.model.x509_errors import MALFORMED
from tests.support.pki import OCSP_SIGNING, Certified, answered_at, issue, respond, revoke

NOW = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
MINUTE = timedelta(minutes=1)
PARIS = parse_identity("paris.example")
URL = "http://ocsp.example/"
GOOD, REVOKED, UNKNOWN = (
    ocsp.OCSPCertStatus.GOOD,
    ocsp.OCSPCertStatus.REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN,
)
STRICT, IF_PRESENT = OcspPolicy(strict=True), OcspPolicy()
ELSEWHERE = OcspPolicy(strict=True, url="http://192.0.2.9:2560/")


@cache
def root() -> Certified:
    return issue("root", authority=True)


@cache
def paris() -> Certified:
    """Its certificate names no responder."""
    return issue("paris", root(), dns="paris.example")


@cache
def pointing() -> Certified:
    """Its certificate names one."""
    return issue("paris", root(), dns="paris.example", extensions=(answered_at(URL),))


@cache
def responder(kind: str = "ecdsa") -> Certified:
    return issue("responder", root(), kind=kind, extensions=(OCSP_SIGNING,))


def by_responder(one: Certified, status: ocsp.OCSPCertStatus = GOOD, **changes: object) -> bytes:
    """Signed by a responder of root's, whose certificate is in the response."""
    return respond(paris(), root(), status, signer=one, certificates=(one,), **changes)  # type: ignore[arg-type]


def judge(
    *offered: bytes,
    policy: OcspPolicy | None = STRICT,
    one: Certified | None = None,
    above: Sequence[Certified] = (),
    answers: dict[StatusQuestion, StatusAnswer] | None = None,
    lists: tuple[x509.CertificateRevocationList, ...] = (),
) -> None:
    """A peer's proof, with these responses beside its certificate."""
    leaf = one or paris()
    local = LocalCertificate(PARIS, leaf.key, (leaf.certificate, *(x.certificate for x in above)))
    auth = local.authenticate(b"octets", frozenset({2, 3}), lambda *_: b"")
    remote = TrustedAuthorities(PARIS, (root().certificate,), Revocation(lists, ocsp=policy))
    sent = [CertificateData(OCSP_CONTENT, octets) for octets in offered]
    remote.verify(
        auth,
        b"octets",
        PARIS,
        [*local.certificates(()), *sent],
        prf=lambda *_: b"",
        date=NOW,
        answers=answers or {},
    )


@pytest.mark.parametrize(
    "response",
    [
        lambda: respond(paris(), root()),
        lambda: respond(paris(), root(), by_key=True),
        lambda: respond(paris(), root(), algorithm=hashes.SHA256()),
        lambda: respond(paris(), root(), begin=NOW - MINUTE, end=None),
        lambda: respond(paris(), root(), begin=NOW + MINUTE, end=NOW + YEAR),
        lambda: respond(paris(), root(), end=NOW - MINUTE),
        lambda: by_responder(responder()),
        lambda: by_responder(responder("rsa"), by_key=True),
        lambda: by_responder(responder("ed25519")),
        lambda: by_responder(issue("root", root(), extensions=(OCSP_SIGNING,))),
    ],
    ids=[
        "by name", "by key", "SHA-256", "no next update", "clock behind", "clock ahead",
        "delegate", "RSA by key", "Ed25519", "delegate of its issuer's name",
    ],
)  # fmt: skip
def test_a_response_of_the_issuer_or_of_its_responder_is_believed(
    response: Callable[[], bytes],
) -> None:
    judge(response())


def stranger() -> Certified:
    """Another authority of the same name."""
    return issue("root", authority=True)


def critical() -> tuple[x509.ExtensionType, bool]:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.5.5"), b""), True


def usage(**changes: bool) -> tuple[x509.ExtensionType, bool]:
    """A key usage with nothing but these."""
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**(dict.fromkeys(names, False) | changes)), True


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (lambda: b"", "there is none"),
        (lambda: b"\x30\x03\x0a\x01", "error parsing"),
        (
            lambda: ocsp.OCSPResponseBuilder.build_unsuccessful(
                ocsp.OCSPResponseStatus.TRY_LATER
            ).public_bytes(Encoding.DER),
            "TRY_LATER",
        ),
        (lambda: respond(pointing(), root()), "about another certificate"),
        (lambda: respond(paris(), stranger(), signer=root()), "about another certificate"),
        (lambda: respond(paris(), root(), UNKNOWN), "does not know it"),
        (lambda: respond(paris(), root(), end=NOW - YEAR / 12), "out of date"),
        (lambda: respond(paris(), root(), begin=NOW - 6 * MINUTE, end=None), "out of date"),
        (lambda: respond(paris(), root(), begin=NOW + 6 * MINUTE, end=NOW + YEAR), "the future"),
        (lambda: respond(paris(), root(), signer=stranger()), "signed neither"),
        (lambda: respond(paris(), root(), signer=issue("root", root())), "signed neither"),
        (lambda: respond(paris(), root(), signer=responder()), "signed neither"),
        (lambda: respond(paris(), root(), extensions=(critical(),)), "critical extension"),
        (lambda: respond(paris(), root(), signed_with=hashes.SHA224()), "signed with sha224"),
        (
            lambda: by_responder(
                issue("other", root(), extensions=(OCSP_SIGNING,), signed_with=hashes.SHA224())
            ),
            "certificate is signed with sha224",
        ),
        (
            lambda: by_responder(issue("other", root(), kind="weak", extensions=(OCSP_SIGNING,))),
            "has 1024 bits",
        ),
        (lambda: by_responder(issue("other", root())), "is not for OCSP"),
        (lambda: by_responder(paris()), "is not for OCSP"),
        (
            lambda: by_responder(issue("other", stranger(), extensions=(OCSP_SIGNING,))),
            "is not the issuer's",
        ),
        (
            lambda: by_responder(
                issue("other", root(), end=NOW - YEAR / 12, extensions=(OCSP_SIGNING,))
            ),
            "responder's certificate is out of date",
        ),
        (
            lambda: by_responder(
                issue("other", root(), extensions=(OCSP_SIGNING, usage(key_agreement=True)))
            ),
            "no digitalSignature",
        ),
        (
            lambda: by_responder(issue("other", root(), extensions=(OCSP_SIGNING, critical()))),
            "unknown critical",
        ),
    ],
)
def test_another_is_not_and_strictly_nobody_without(
    response: Callable[[], bytes], why: str
) -> None:
    judge(response(), policy=IF_PRESENT)
    with pytest.raises(AuthenticationFailedError, match=f"CN=paris is good: .*{why}"):
        judge(response())


def test_a_responder_is_no_authority_for_others_certificates() -> None:
    """One of an authority below has no say about what root has issued, and the reverse."""
    below = issue("below", root(), authority=True)
    leaf = issue("paris", below, dns="paris.example")
    own = issue("responder", below, extensions=(OCSP_SIGNING,))
    upper = respond(below, root())
    judge(respond(leaf, below), upper, one=leaf, above=[below])
    good = respond(leaf, below, signer=own, certificates=(own,))
    judge(good, upper, one=leaf, above=[below])
    about_below = respond(below, root(), signer=own, certificates=(own,))
    with pytest.raises(AuthenticationFailedError, match=r"CN=below is good: .* not the issuer's"):
        judge(good, about_below, one=leaf, above=[below])
    about_leaf = respond(leaf, below, signer=responder(), certificates=(responder(),))
    with pytest.raises(AuthenticationFailedError, match="CN=paris is good"):
        judge(about_leaf, upper, one=leaf, above=[below])


def test_a_responder_that_is_revoked_is_not_believed() -> None:
    judge(by_responder(responder()), lists=(revoke(root()),))
    with pytest.raises(AuthenticationFailedError, match="CN=responder is revoked"):
        judge(by_responder(responder()), lists=(revoke(root(), responder(), end=NOW - MINUTE),))


@pytest.mark.parametrize("policy", [STRICT, IF_PRESENT])
@pytest.mark.parametrize(
    "responses",
    [
        lambda: [respond(paris(), root(), REVOKED)],
        lambda: [respond(paris(), root(), REVOKED, end=NOW - YEAR / 12)],
        lambda: [by_responder(responder(), REVOKED)],
        lambda: [respond(paris(), root(), begin=NOW - YEAR / 12), *_newer(REVOKED)],
    ],
    ids=["by issuer", "out of date", "by delegate", "newer"],
)
def test_who_is_revoked_is_refused(
    responses: Callable[[], list[bytes]], policy: OcspPolicy
) -> None:
    with pytest.raises(AuthenticationFailedError, match=r"CN=paris is revoked \(OCSP\)"):
        judge(*responses(), policy=policy, lists=(revoke(root()),))
    judge(*responses(), policy=None)  # nobody looks at it


def _newer(status: ocsp.OCSPCertStatus) -> list[bytes]:
    return [respond(paris(), root(), status, begin=NOW - MINUTE)]


def test_the_newest_response_decides() -> None:
    judge(respond(paris(), root(), REVOKED, begin=NOW - YEAR / 12), *_newer(GOOD))
    for pair in ((GOOD, REVOKED), (REVOKED, GOOD)):
        same_age = [respond(paris(), root(), status) for status in pair]
        with pytest.raises(AuthenticationFailedError, match="is revoked"):
            judge(*same_age)


def test_whatever_octets_come_they_are_refused_in_order() -> None:
    """Each byte changed once, of a response with a certificate in it; and cut at each place."""
    octets = by_responder(responder())
    for place in range(len(octets)):
        changed = octets[:place] + bytes((octets[place] ^ 0x15,)) + octets[place + 1 :]
        for response in (changed, octets[:place]):
            with suppress(*MALFORMED):
                read_status(response, paris().certificate, root().certificate, NOW)


def test_any_authority_of_the_chain_may_be_revoked() -> None:
    below = issue("below", root(), authority=True)
    leaf = issue("paris", below, dns="paris.example")
    with pytest.raises(AuthenticationFailedError, match="CN=below is revoked"):
        judge(respond(leaf, below), respond(below, root(), REVOKED), one=leaf, above=[below])
    with pytest.raises(AuthenticationFailedError, match=r"CN=below is good: .*no responder"):
        judge(one=leaf, above=[below], lists=(revoke(below),))
    judge(respond(leaf, below), one=leaf, above=[below], lists=(revoke(root()),))


def test_a_current_list_will_do_where_no_responder_answers() -> None:
    judge(lists=(revoke(root()),))
    with pytest.raises(AuthenticationFailedError, match="names no responder"):
        judge(lists=(revoke(root(), end=NOW - MINUTE),))
    with pytest.raises(AuthenticationFailedError, match="of CN=paris is revoked"):
        judge(respond(paris(), root()), lists=(revoke(root(), paris()),))


@pytest.mark.parametrize("policy", [STRICT, IF_PRESENT])
def test_the_responder_that_the_certificate_names_is_asked(policy: OcspPolicy) -> None:
    question = asked(policy)
    assert question.url == URL
    request = ocsp.load_der_ocsp_request(question.request)
    assert request.serial_number == pointing().certificate.serial_number
    good = StatusAnswer(respond(pointing(), root()), NOW - KEPT_FOR / 2)
    judge(one=pointing(), policy=policy, answers={question: good})
    bad = StatusAnswer(respond(pointing(), root(), REVOKED), NOW)
    with pytest.raises(AuthenticationFailedError, match="is revoked"):
        judge(one=pointing(), policy=policy, answers={question: bad})
    judge(respond(pointing(), root()), one=pointing(), policy=policy)  # it need not be asked


def asked(policy: OcspPolicy, one: Certified | None = None) -> StatusQuestion:
    with pytest.raises(StatusWantedError) as wanted:
        judge(one=one or pointing(), policy=policy)
    (question,) = wanted.value.questions
    return question


@pytest.mark.parametrize(
    "response",
    [
        lambda: b"",
        lambda: respond(pointing(), root(), end=NOW - YEAR / 12),
        lambda: respond(paris(), root()),
    ],
    ids=["none", "out of date", "about another"],
)
def test_who_gave_no_answer_of_use_is_asked_again_after_a_while(
    response: Callable[[], bytes],
) -> None:
    question = asked(STRICT)
    for policy, age in ((STRICT, RECENT), (IF_PRESENT, RECENT), (STRICT, -MINUTE)):
        old = {question: StatusAnswer(response(), NOW - age)}
        with pytest.raises(StatusWantedError):
            judge(one=pointing(), policy=policy, answers=old)
    recent = {question: StatusAnswer(response(), NOW - RECENT / 2)}
    judge(one=pointing(), policy=IF_PRESENT, answers=recent)
    with pytest.raises(AuthenticationFailedError, match="CN=paris is good"):
        judge(one=pointing(), answers=recent)


def test_an_answer_serves_no_longer_than_an_hour() -> None:
    old = {asked(STRICT): StatusAnswer(respond(pointing(), root()), NOW - KEPT_FOR)}
    with pytest.raises(StatusWantedError):
        judge(one=pointing(), answers=old)


NONCE = bytes(range(32))


@pytest.mark.parametrize(
    ("nonce", "is_critical", "believed"),
    [(NONCE, False, True), (NONCE, True, True), (None, False, True), (NONCE[1:], False, False)],
    ids=["the same", "critical", "none", "another"],
)
def test_an_answer_repeats_our_nonce_or_has_none(
    nonce: bytes | None, is_critical: bool, believed: bool
) -> None:
    """RFC 6960, 4.4.1; what a peer brings along was made for whoever asked for it."""
    extensions = () if nonce is None else ((x509.OCSPNonce(nonce), is_critical),)
    response = respond(pointing(), root(), extensions=extensions)
    question = asked(STRICT)
    answers = {question: StatusAnswer(response, NOW, NONCE)}
    if believed:
        judge(one=pointing(), answers=answers)
    else:
        with pytest.raises(AuthenticationFailedError, match="the nonce of another request"):
            judge(one=pointing(), answers=answers)
    judge(response, one=pointing())


def test_a_nonce_changes_nothing_else_of_a_question() -> None:
    question = asked(STRICT)
    sent = with_nonce(question, NONCE)
    assert sent.url == question.url
    before, after = (ocsp.load_der_ocsp_request(one.request) for one in (question, sent))
    for key in ("issuer_name_hash", "issuer_key_hash", "serial_number"):
        assert getattr(before, key) == getattr(after, key)
    (extension,) = after.extensions
    assert (extension.value, extension.critical) == (x509.OCSPNonce(NONCE), False)


def test_the_file_may_name_another_responder() -> None:
    assert asked(ELSEWHERE).url == ELSEWHERE.url
    assert asked(ELSEWHERE, paris()).url == ELSEWHERE.url


@pytest.mark.parametrize(
    "url", ["https://ocsp.example/", "ldap://ocsp.example/", "http://a/\r\nX: y", "http://a b/"]
)
def test_what_is_no_plain_http_is_not_asked(url: str) -> None:
    one = issue("paris", root(), dns="paris.example", extensions=(answered_at(url),))
    assert question_about(one.certificate, root().certificate, None) is None
    judge(one=one, policy=IF_PRESENT)


def test_where_the_issuers_certificate_is_answers_nothing() -> None:
    place = x509.UniformResourceIdentifier("http://ca.example/ca.cer")
    access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, place)
    named = (x509.AuthorityInformationAccess([access]), False)
    one = issue("paris", root(), dns="paris.example", extensions=(named,))
    judge(one=one, policy=IF_PRESENT)


def test_nobody_is_asked_about_a_peer_that_proves_nothing() -> None:
    """A certificate of another authority, or without its key, makes us fetch nothing."""
    other = stranger()
    foreign = issue("paris", other, dns="paris.example", extensions=(answered_at(URL),))
    with pytest.raises(AuthenticationFailedError, match="no chain"):
        judge(one=foreign)
    stolen = Certified(paris().key, pointing().certificate)
    with pytest.raises(AuthenticationFailedError):
        judge(one=stolen)


def test_our_own_response_goes_to_who_asks_for_it() -> None:
    one = paris()
    own = LocalCertificate(PARIS, one.key, (one.certificate,), b"a response")
    assert [each.encoding for each in own.certificates({4})] == [4]
    assert own.certificates({4, OCSP_CONTENT})[-1] == (OCSP_CONTENT, b"a response")
    assert own == LocalCertificate(PARIS, one.key, (one.certificate,), b"another")
    none = LocalCertificate(PARIS, one.key, (one.certificate,))
    assert [each.encoding for each in none.certificates({OCSP_CONTENT})] == [4]
