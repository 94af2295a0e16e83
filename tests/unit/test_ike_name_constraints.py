"""Name constraints of authorities on Edwards curves (RFC 5280, 4.2.1.10 and 6.1.3)."""

from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from plutino.ike.auth import name_constraints
from plutino.ike.auth.chains import build_chain
from plutino.ike.errors import AuthenticationFailedError
from tests.support.pki import Certified, issue, name

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Names = list[x509.GeneralName]


def dns(text: str) -> x509.GeneralName:
    return x509.DNSName(text)


def mail(text: str) -> x509.GeneralName:
    return x509.RFC822Name._init_without_validation(text)


def net(text: str) -> x509.GeneralName:
    return x509.IPAddress(ip_network(text))


def at(text: str) -> x509.GeneralName:
    return x509.IPAddress(ip_address(text))


def directory(*words: str) -> x509.GeneralName:
    kinds = NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME
    pairs = zip(kinds, words, strict=False)
    return x509.DirectoryName(x509.Name([x509.NameAttribute(*one) for one in pairs]))


def limits(
    permitted: Names | None, excluded: Names | None = None, *, critical: bool = True
) -> tuple[x509.ExtensionType, bool]:
    return x509.NameConstraints(permitted, excluded), critical


def bearing(*names: x509.GeneralName) -> tuple[x509.ExtensionType, bool]:
    return x509.SubjectAlternativeName(names), False


def judge(leaf: Certified, *others: Certified, root: Certified) -> None:
    sent = [one.certificate for one in others]
    build_chain(leaf.certificate, sent, [root.certificate], NOW)


CASES = [
    # constraint, a name within, a name beside
    (dns("example"), dns("paris.example"), dns("paris.example.evil")),
    (dns("example"), dns("EXAMPLE"), dns("badexample")),
    (dns(".example"), dns("paris.example"), dns("other")),
    (dns("paris.example"), dns("a.paris.Example."), dns("xparis.example")),
    (dns("example"), dns("*.example"), dns("*.org")),
    (mail("root@paris.example"), mail("root@PARIS.example"), mail("toor@paris.example")),
    (mail("paris.example"), mail("anybody@paris.example"), mail("a@b.paris.example")),
    (mail(".example"), mail("a@paris.example"), mail("a@example")),
    (net("192.0.2.0/24"), at("192.0.2.255"), at("192.0.3.0")),
    (net("2001:db8::/32"), at("2001:db8::1"), at("2001:db9::")),
    (directory("CH", "Example"), directory("CH", "Example", "x"), directory("CH", "Other", "x")),
    (directory("CH", "Example"), directory("CH", "Example"), directory("CH")),
]


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize(("constraint", "within", "beside"), CASES, ids=lambda one: str(one.value))
def test_what_is_permitted_and_what_is_excluded(
    constraint: x509.GeneralName,
    within: x509.GeneralName,
    beside: x509.GeneralName,
    critical: bool,
) -> None:
    own: Names = (
        [x509.DirectoryName(name("paris"))] if constraint.value.__class__ is x509.Name else []
    )
    for permitted, excluded, good, bad in (
        ([constraint, *own], None, within, beside),
        (None, [constraint], beside, within),
    ):
        extension = limits(permitted, excluded, critical=critical)
        root = issue("root", authority=True, kind="ed25519", extensions=(extension,))
        judge(issue("paris", root, extensions=(bearing(good),)), root=root)
        leaf = issue("paris", root, extensions=(bearing(good, bad),))
        with pytest.raises(AuthenticationFailedError, match="CN=root may not certify"):
            judge(leaf, root=root)


@pytest.mark.parametrize(
    ("excluded", "evading"),
    [
        (dns("evil.example"), dns("*.example")),
        (dns("evil.example"), dns("EVIL.example.")),
        (mail("root@paris.example"), mail("ROOT@paris.example.")),
        (mail("paris.example"), mail("paris.example")),
        (mail("paris.example"), mail("a@b@c")),
        (directory("CH", "Evil"), directory("CH", "eVIL", "x")),
    ],
    ids=lambda one: str(one.value),
)
def test_no_spelling_evades_an_exclusion(
    excluded: x509.GeneralName, evading: x509.GeneralName
) -> None:
    extension = limits(None, [excluded])
    root = issue("root", authority=True, kind="ed25519", extensions=(extension,))
    with pytest.raises(AuthenticationFailedError, match="may not certify"):
        judge(issue("paris", root, extensions=(bearing(evading),)), root=root)


def test_each_authority_above_counts_and_the_names_of_those_between() -> None:
    root = issue("root", authority=True, kind="ed448", extensions=(limits([dns("example")]),))
    wider = (limits([dns("example"), dns("org")]), bearing(dns("ca.example")))
    below = issue("below", root, authority=True, extensions=wider)
    good = issue("paris", below, dns="paris.example")
    judge(good, below, root=root)
    with pytest.raises(AuthenticationFailedError, match="CN=root may not certify"):
        judge(issue("paris", below, dns="paris.org"), below, root=root)
    outside = issue("below", root, authority=True, extensions=(bearing(dns("ca.org")),))
    with pytest.raises(AuthenticationFailedError, match="CN=root may not certify"):
        judge(issue("paris", outside, dns="paris.example"), outside, root=root)


def test_the_subject_counts_and_e_mail_in_it() -> None:
    extension = limits([x509.DirectoryName(name("paris"))])
    root = issue("root", authority=True, kind="ed25519", extensions=(extension,))
    judge(issue("paris", root), root=root)
    with pytest.raises(AuthenticationFailedError, match="may not certify"):
        judge(issue("rome", root), root=root)


def test_a_certificate_of_the_authority_itself_for_another_key_is_left_out() -> None:
    """But not a leaf of its name."""
    extension = limits([x509.DirectoryName(name("paris"))])
    root = issue("root", authority=True, kind="ed25519", extensions=(extension,))
    again = issue("root", root, authority=True, kind="ed25519")
    judge(issue("paris", again), again, root=root)
    with pytest.raises(AuthenticationFailedError, match="may not certify"):
        judge(issue("root", root), root=root)


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize(
    "form",
    [
        x509.UniformResourceIdentifier("https://example"),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
        x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\5\0"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_constraints_of_other_forms_are_refused(form: x509.GeneralName, critical: bool) -> None:
    extension = limits([form], critical=critical)
    root = issue("root", authority=True, kind="ed25519", extensions=(extension,))
    with pytest.raises(AuthenticationFailedError, match="not judged"):
        judge(issue("paris", root), root=root)


def test_many_names_by_many_constraints_make_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    many: Names = [dns(f"n{n}.example") for n in range(200)]
    root = issue("root", authority=True, kind="ed25519", extensions=(limits(None, many),))
    with pytest.raises(AuthenticationFailedError, match="more names than are judged"):
        judge(issue("paris", root, extensions=(bearing(*many),)), root=root)
    # Of authorities that nobody has vouched for, none is looked at.
    monkeypatch.setattr(name_constraints, "MOST_COMPARISONS", -1)
    forged = issue("below", issue("root", authority=True, kind="ed25519"), authority=True,
                   extensions=(limits(None, many),))  # fmt: skip
    with pytest.raises(AuthenticationFailedError, match="not signed by its issuer"):
        judge(issue("paris", forged), forged, root=root)
