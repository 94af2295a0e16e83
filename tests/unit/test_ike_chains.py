"""Chains over authorities of every kind of key; those on Edwards curves are judged by ourselves."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from plutino.ike.auth import chains
from plutino.ike.auth.chains import build_chain
from plutino.ike.auth.revocation import OcspPolicy, Revocation
from plutino.ike.errors import AuthenticationFailedError
from tests.support.pki import KEYS, OCSP_SIGNING, Certified, issue, respond, revoke

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PAST = NOW - timedelta(days=1)


def build(
    leaf: Certified, *others: Certified, trusted: Sequence[Certified], date: datetime = NOW
) -> list[x509.Certificate]:
    sent, known = ([one.certificate for one in several] for several in (others, trusted))
    return build_chain(leaf.certificate, sent, known, date)


@pytest.mark.parametrize("kind", list(KEYS))
@pytest.mark.parametrize("authority", list(KEYS))
def test_an_authority_of_any_kind_vouches_for_any_key(kind: str, authority: str) -> None:
    root = issue("root", authority=True, kind=authority)
    leaf = issue("paris", root, kind=kind)
    assert build(leaf, trusted=[root]) == [leaf.certificate, root.certificate]


@pytest.mark.parametrize("below", ["ed25519", "ed448", "ecdsa", "rsa"])
@pytest.mark.parametrize("above", ["ed25519", "ed448", "ecdsa"])
def test_over_others(above: str, below: str) -> None:
    """Whatever else the peer sends, and in whatever order."""
    root = issue("root", authority=True, kind=above)
    upper = issue("upper", root, authority=True, kind=below, path_length=1)
    lower = issue("lower", upper, authority=True, kind=above, path_length=0)
    leaf = issue("paris", lower)
    expected = [one.certificate for one in (leaf, lower, upper, root)]
    stranger = issue("upper", authority=True, kind="ed25519")
    assert build(leaf, upper, stranger, lower, root, trusted=[stranger, root]) == expected


def unknown() -> tuple[x509.ExtensionType, bool]:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True


def signs() -> tuple[x509.ExtensionType, bool]:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**dict.fromkeys(names, False), key_cert_sign=True), True


def server() -> tuple[x509.ExtensionType, bool]:
    return x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda root: issue("below", root), "is no authority"),
        (lambda root: issue("below", root, extensions=(signs(),)), "is no authority"),
        (lambda root: issue("below", root, authority=True, end=PAST), "out of date"),
        (lambda root: issue("below", root, authority=True, kind="weak"), "not allowed"),
        (
            lambda root: issue("below", root, authority=True, signs_certificates=False),
            "is no authority",
        ),
        (lambda root: issue("below", root, authority=True, extensions=(unknown(),)), "1.2.3.4"),
        (
            lambda root: issue("below", root, authority=True, extensions=(OCSP_SIGNING,)),
            "no authority for certificates of IKE",
        ),
        (
            lambda _: issue(
                "below", issue("root", authority=True, kind="ed25519"), authority=True
            ),
            "not signed by its issuer",
        ),
        (
            lambda _: issue("below", issue("other", authority=True), authority=True),
            "is not there",
        ),
    ],
    ids=[
        "leaf", "leaf that signs", "out of date", "weak", "usage", "critical",
        "purpose", "another of its name", "another",
    ],
)  # fmt: skip
def test_what_is_no_chain_is_refused(make: Callable[[Certified], Certified], why: str) -> None:
    root = issue("root", authority=True, kind="ed25519")
    good = issue("below", root, authority=True, extensions=(server(),))
    build(issue("paris", good), good, trusted=[root])
    below = make(root)
    with pytest.raises(AuthenticationFailedError, match=why):
        build(issue("paris", below), below, trusted=[root])


@pytest.mark.parametrize("kind", ["ed25519", "ed448"])
def test_lists_and_responders_of_such_an_authority(kind: str) -> None:
    root = issue("root", authority=True, kind=kind)
    leaf = issue("paris", root)
    chain = build(leaf, trusted=[root])
    Revocation((revoke(root),), strict=True).check(chain, NOW)
    Revocation(ocsp=OcspPolicy(strict=True)).check(chain, NOW, [respond(leaf, root)])
    with pytest.raises(AuthenticationFailedError, match="is revoked"):
        Revocation((revoke(root, leaf),)).check(chain, NOW)
    other = issue("root", authority=True, kind=kind)
    with pytest.raises(AuthenticationFailedError, match="no certificate revocation list"):
        Revocation((revoke(other),), strict=True).check(chain, NOW)


def test_no_more_authorities_than_one_above_allows() -> None:
    root = issue("root", authority=True, kind="ed25519", path_length=0)
    build(issue("paris", root), trusted=[root])
    below = issue("below", root, authority=True, kind="ed25519")
    with pytest.raises(AuthenticationFailedError, match="so many authorities below"):
        build(issue("paris", below), below, trusted=[root])


def test_dates_and_signatures_of_leaf_and_root() -> None:
    root = issue("root", authority=True, kind="ed25519")
    leaf = issue("paris", root, end=PAST)
    with pytest.raises(AuthenticationFailedError, match="CN=paris is out of date"):
        build(leaf, trusted=[root])
    build(leaf, trusted=[root], date=PAST - timedelta(days=1))
    old = issue("root", authority=True, kind="ed25519", end=PAST)
    with pytest.raises(AuthenticationFailedError, match="CN=root is out of date"):
        build(issue("paris", old), trusted=[old])
    below = issue("below", root, authority=True, kind="ecdsa")
    weak = issue("paris", below, signed_with=hashes.SHA224())
    with pytest.raises(AuthenticationFailedError, match="not allowed"):
        build(weak, below, trusted=[root])
    forged = Certified(leaf.key, issue("paris", issue("root", kind="ed25519")).certificate)
    with pytest.raises(AuthenticationFailedError, match="not signed by its issuer"):
        build(forged, trusted=[root])


def test_a_certificate_beside_the_chain_brings_it_no_other_judge() -> None:
    """A chain that the library finds too long stays so, whatever else the peer sends."""
    root = issue("root", authority=True)
    chain = [root]
    for number in range(10):
        chain.append(issue(f"below {number}", chain[-1], authority=True))
    leaf = issue("paris", chain[-1])
    beside = issue("beside", authority=True, kind="ed25519")
    for others in (chain[1:], [*chain[1:], beside]):
        with pytest.raises(AuthenticationFailedError, match="no chain"):
            build(leaf, *others, trusted=[root])


def test_certificates_in_a_circle_end() -> None:
    """Each issued by the next, with the last by the first."""
    keys = [issue(f"ring {number}", authority=True, kind="ed25519") for number in range(3)]
    ring = [
        Certified(one.key, issue_again(one, keys[number - 1])) for number, one in enumerate(keys)
    ]
    root = issue("root", authority=True, kind="ed25519")
    with pytest.raises(AuthenticationFailedError, match="is not there"):
        build(issue("paris", ring[0]), *ring, trusted=[root])


def issue_again(one: Certified, issuer: Certified) -> x509.Certificate:
    """The same subject and key, by another issuer."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(one.certificate.subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(one.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(one.certificate.not_valid_before_utc)
        .not_valid_after(one.certificate.not_valid_after_utc)
    )
    for extension in one.certificate.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(issuer.key, None)


def test_an_authority_with_a_new_key_has_two_certificates_of_its_name() -> None:
    """The new one may be issued by the old one (RFC 4210, 4.4), and be sent in any order."""
    old = issue("root", authority=True, kind="ed25519")
    new = issue("root", old, authority=True, kind="ed25519")
    leaf = issue("paris", new)
    expected = [one.certificate for one in (leaf, new, old)]
    assert build(leaf, new, trusted=[old]) == expected
    assert build(leaf, old, new, trusted=[old]) == expected


def test_few_signatures_are_verified_whatever_a_peer_sends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fifteen authorities of one name, each of which might have issued each other one."""
    root = issue("root", authority=True, kind="ed25519")
    several = [issue("root", authority=True, kind="ed25519")]
    for _ in range(14):
        several.append(issue("root", several[-1], authority=True, kind="ed25519"))
    verified = []
    check = chains._check_issued

    def counted(one: x509.Certificate, issuer: x509.Certificate) -> None:
        verified.append(one)
        check(one, issuer)

    monkeypatch.setattr(chains, "_check_issued", counted)
    with pytest.raises(AuthenticationFailedError, match="32 signatures"):
        build(issue("paris", several[-1]), *several, trusted=[root])
    assert len(verified) == chains.MOST_SIGNATURES
