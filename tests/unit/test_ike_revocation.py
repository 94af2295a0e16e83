"""Revocation lists: who is on one is refused, and strictly, who is on none that is current."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import pytest
from cryptography import x509

from plutino.ike.auth.certificates import LocalCertificate, TrustedAuthorities
from plutino.ike.auth.identity import Identity, parse_identity
from plutino.ike.auth.revocation import Revocation, is_signed_by
from plutino.ike.errors import AuthenticationFailedError
from tests.support.ike_network import IkePair, peer
from tests.support.pki import Certified, issue, revoke

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LAST_YEAR = datetime(2025, 6, 1, tzinfo=UTC)
NEXT_YEAR = datetime(2027, 1, 1, tzinfo=UTC)
PARIS = parse_identity("paris.example")
SCOPE: dict[str, object] = {
    "full_name": None,
    "relative_name": None,
    "only_contains_user_certs": False,
    "only_contains_ca_certs": False,
    "only_some_reasons": None,
    "indirect_crl": False,
    "only_contains_attribute_certs": False,
}
List = x509.CertificateRevocationList


@cache
def root() -> Certified:
    return issue("root", authority=True)


@cache
def below() -> Certified:
    return issue("below", root(), authority=True)


@cache
def leaf() -> Certified:
    return issue("paris", below(), dns="paris.example")


@cache
def listed_at(url: str) -> Certified:
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
    extension = x509.CRLDistributionPoints([point])
    return issue("paris", below(), dns="paris.example", extensions=((extension, False),))


def judge(*lists: List, strict: bool = False, one: Certified | None = None) -> None:
    """A leaf with its chain over one authority to another."""
    paris = one or leaf()
    local = LocalCertificate(PARIS, paris.key, (paris.certificate, below().certificate))
    auth = local.authenticate(b"octets", frozenset({2, 3}), lambda *_: b"")
    remote = TrustedAuthorities(PARIS, (root().certificate,), Revocation(lists, strict))
    certificates = local.certificates(())
    remote.verify(auth, b"octets", PARIS, certificates, prf=lambda *_: b"", date=NOW)


def partial_list(**changes: object) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    return ((x509.IssuingDistributionPoint(**(SCOPE | changes)), True),)  # type: ignore[arg-type]


def test_who_is_on_no_list_is_taken() -> None:
    judge()
    judge(revoke(below()), revoke(root()), strict=True)
    judge(revoke(below(), issue("berlin", below())), revoke(root()), strict=True)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    "lists",
    [
        lambda: (revoke(below(), leaf()), revoke(root())),
        lambda: (revoke(below()), revoke(root(), below())),
        lambda: (revoke(below(), leaf(), end=LAST_YEAR), revoke(root())),
        lambda: (revoke(below(), begin=LAST_YEAR.replace(year=2024)), revoke(below(), leaf())),
    ],
    ids=["leaf", "authority below", "list out of date", "newer list"],
)
def test_who_is_on_the_list_of_its_issuer_is_refused(lists: object, *, strict: bool) -> None:
    assert callable(lists)
    with pytest.raises(AuthenticationFailedError, match="is revoked"):
        judge(*lists(), strict=strict)


@pytest.mark.parametrize(
    ("lists", "why"),
    [
        (lambda: (revoke(below()),), "no certificate revocation list is about CN=below"),
        (lambda: (revoke(root()),), "no certificate revocation list is about CN=paris"),
        (lambda: (revoke(below(), end=LAST_YEAR), revoke(root())), "CN=paris is out of date"),
        (lambda: (revoke(below(), begin=NEXT_YEAR), revoke(root())), "about CN=paris"),
        (lambda: (revoke(below(), signer=root()), revoke(root())), "about CN=paris"),
    ],
    ids=["of root", "of below", "out of date", "not yet", "signed by another"],
)
def test_strictly_each_certificate_needs_a_current_list(lists: object, why: str) -> None:
    assert callable(lists)
    judge(*lists())
    with pytest.raises(AuthenticationFailedError, match=why):
        judge(*lists(), strict=True)


def test_a_list_that_the_issuer_has_not_signed_revokes_nobody() -> None:
    judge(revoke(below(), leaf(), signer=root()))
    judge(revoke(root(), leaf()))  # of another issuer
    judge(revoke(root(), leaf(), signer=below()))  # in another issuer's name
    stranger = issue("below", authority=True)  # one of the same name
    judge(revoke(stranger, leaf()))


def test_the_newest_list_decides() -> None:
    """Who was held and is so no more (certificateHold) connects again."""
    judge(revoke(below(), leaf()), revoke(below(), begin=LAST_YEAR), revoke(root()), strict=True)


def test_a_list_is_about_what_it_says() -> None:
    users = revoke(below(), extensions=partial_list(only_contains_user_certs=True))
    authorities = revoke(root(), extensions=partial_list(only_contains_ca_certs=True))
    judge(users, authorities, strict=True)
    wrong = revoke(below(), leaf(), extensions=partial_list(only_contains_ca_certs=True))
    judge(wrong, revoke(root()))
    for other in (
        partial_list(only_contains_ca_certs=True),
        partial_list(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise})),
        partial_list(only_contains_attribute_certs=True),
    ):
        with pytest.raises(AuthenticationFailedError, match="no certificate revocation list"):
            judge(revoke(below(), extensions=other), revoke(root()), strict=True)
    users = revoke(root(), extensions=partial_list(only_contains_user_certs=True))
    with pytest.raises(AuthenticationFailedError, match="list is about CN=below"):
        judge(revoke(below()), users, strict=True)


def test_an_authority_may_be_one_that_signs_no_lists() -> None:
    """RFC 5280, 6.3.3 (f)."""
    silent = issue("silent", authority=True, signs_lists=False)
    assert not is_signed_by(revoke(silent), silent.certificate)
    assert is_signed_by(revoke(root()), root().certificate)


def test_a_part_of_a_list_is_about_the_certificates_that_name_it() -> None:
    one = listed_at("http://pki.example/1.crl")
    parts = {
        number: revoke(
            below(),
            one,
            extensions=partial_list(
                full_name=[x509.UniformResourceIdentifier(f"http://pki.example/{number}.crl")]
            ),
        )
        for number in (1, 2)
    }
    judge(parts[2], one=one)
    with pytest.raises(AuthenticationFailedError, match="is revoked"):
        judge(parts[1], parts[2], one=one)


def test_a_revoked_peer_learns_no_more_than_any() -> None:
    """The ladder: AUTHENTICATION_FAILED, and the reason in our own log alone."""

    def pair(revocation: Revocation) -> IkePair:
        b = LocalCertificate(Identity.fqdn("b"), other.key, (other.certificate,))
        trusted = TrustedAuthorities(Identity.fqdn("b"), (root().certificate,), revocation)
        a = LocalCertificate(Identity.fqdn("a"), own.key, (own.certificate,))
        back = TrustedAuthorities(Identity.fqdn("a"), (root().certificate,))
        known = peer("a", local_credential=a, remote_credential=trusted)
        return IkePair(a=known, b=replace(peer("b"), local_credential=b, remote_credential=back))

    own, other = issue("a", root(), dns="a"), issue("b", root(), dns="b")
    pair(Revocation((revoke(root()),), strict=True)).establish()
    refused = pair(Revocation((revoke(root(), other),)))
    refused.start("b")
    refused.run(5)
    assert not refused.is_up()
    told = " ".join(map(str, refused.events["a"]))
    assert "the certificate of CN=b is revoked" in told
    assert "revoked" not in " ".join(map(str, refused.events["b"]))
    assert "AUTHENTICATION_FAILED" in " ".join(map(str, refused.events["b"]))
