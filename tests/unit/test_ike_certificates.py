"""AUTH by certificates: what is right is taken, and each thing that is wrong is refused."""

from datetime import UTC, datetime
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from plutino.ike.auth.certificates import LocalCertificate, TrustedAuthorities
from plutino.ike.auth.credentials import CertificateData
from plutino.ike.auth.identity import Identity, parse_identity
from plutino.ike.auth.signature import sign, verify
from plutino.ike.errors import AuthenticationFailedError
from plutino.model.private_key import PrivateKey
from tests.support.ike_network import IkePair, peer
from tests.support.pki import KEYS, Certified, issue

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OCTETS = b"what AUTH covers"
HASHES = frozenset({2, 3, 4, 5})
PARIS = parse_identity("paris.example")


def prf(key: bytes, data: bytes) -> bytes:
    raise AssertionError("a signature needs no PRF")


@cache
def root() -> Certified:
    return issue("root", authority=True)


@cache
def below() -> Certified:
    return issue("below", root(), authority=True)


def leaf(**changes: object) -> Certified:
    values: dict[str, object] = {"dns": "paris.example"} | changes
    return issue("paris", below(), **values)  # type: ignore[arg-type]


def judge(
    one: Certified,
    *others: Certified,
    identity: Identity = PARIS,
    date: datetime = NOW,
    trusted: Certified | None = None,
) -> None:
    local = LocalCertificate(identity, one.key, (one.certificate, *(o.certificate for o in others)))
    auth = local.authenticate(OCTETS, HASHES, prf)
    remote = TrustedAuthorities(identity, ((trusted or root()).certificate,))
    remote.verify(auth, OCTETS, identity, local.certificates(()), prf=prf, date=date)


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ecdsa384"])
def test_a_chain_over_one_authority_to_another_is_taken(kind: str) -> None:
    judge(leaf(kind=kind), below())
    judge(leaf(kind=kind), issue("stray", authority=True), below())


def test_the_identity_is_a_name_an_address_or_the_subject() -> None:
    judge(leaf(address="192.0.2.1"), below(), identity=parse_identity("192.0.2.1"))
    one = leaf()
    judge(one, below(), identity=Identity(9, one.certificate.subject.public_bytes()))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: (leaf(dns="berlin.example"), below()), "not one of paris.example"),
        (lambda: (leaf(dns=None), below()), "not one of paris.example"),
        (lambda: (leaf(),), "no chain"),
        (lambda: (leaf(end=datetime(2025, 6, 1, tzinfo=UTC)), below()), "no chain"),
        (lambda: (issue("x", dns="paris.example"),), "no chain"),
        (lambda: (leaf(authority=True), below()), "that of an authority"),
        (
            lambda: (
                leaf(
                    extensions=((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),)
                ),
                below(),
            ),
            "extended key usage",
        ),
        (
            lambda: (
                leaf(
                    extensions=(
                        (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\5\0"), True),
                    )
                ),
                below(),
            ),
            "1.2.3.4",
        ),
    ],
)
def test_what_is_wrong_with_a_certificate_is_found(made: object, why: str) -> None:
    assert callable(made)
    with pytest.raises(AuthenticationFailedError, match=why):
        judge(*made())


def test_an_authority_that_is_not_trusted_is_not() -> None:
    with pytest.raises(AuthenticationFailedError, match="no chain"):
        judge(leaf(), below(), trusted=issue("other", authority=True))


@pytest.mark.parametrize("kind", list(KEYS))
@pytest.mark.parametrize("hashes", [HASHES, frozenset({4}), None])
def test_signatures(kind: str, hashes: frozenset[int] | None) -> None:
    key = KEYS[kind]()
    try:
        auth = sign(key, OCTETS, hashes)
    except AuthenticationFailedError:
        assert hashes is None or kind in {"ed25519", "ed448"}  # nothing both can do
        return
    verify(key.public_key(), auth, OCTETS)
    with pytest.raises(AuthenticationFailedError):
        verify(key.public_key(), auth, OCTETS + b"!")
    with pytest.raises(AuthenticationFailedError):
        verify(KEYS[kind]().public_key(), auth, OCTETS)


@given(st.integers(0, 255), st.binary(max_size=80))
def test_any_bytes_as_signature_are_refused(method: int, data: bytes) -> None:
    for kind in ("ecdsa", "rsa"):
        with pytest.raises(AuthenticationFailedError):
            verify(_key(kind).public_key(), (method, data), OCTETS)


@cache
def _key(kind: str) -> PrivateKey:
    return KEYS[kind]()


@given(st.binary(max_size=80))
def test_any_bytes_as_certificate_are_refused(data: bytes) -> None:
    remote = TrustedAuthorities(PARIS, (root().certificate,))
    given_ = [
        CertificateData(4, data),
        CertificateData(4, root().certificate.public_bytes(Encoding.DER)),
    ]
    with pytest.raises(AuthenticationFailedError):
        remote.verify((14, b""), OCTETS, PARIS, given_, prf=prf, date=NOW)


def test_what_the_library_calls_no_value_is_refused_all_the_same() -> None:
    """An unknown version and names of odd kinds: a peer can send them before it proves anything."""
    odd_name = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\2\xa3\0")
    odd = leaf(dns=None, extensions=((odd_name, False),))
    with pytest.raises(AuthenticationFailedError):
        judge(odd, below())
    octets = leaf().certificate.public_bytes(Encoding.DER)
    assert octets.count(b"\xa0\3\2\1\2") == 1
    ninth = octets.replace(b"\xa0\3\2\1\2", b"\xa0\3\2\1\x09")
    remote = TrustedAuthorities(PARIS, (root().certificate,))
    for given_ in ([ninth], [octets, ninth]):
        certificates = [CertificateData(4, one) for one in given_]
        with pytest.raises(AuthenticationFailedError, match="cannot be read"):
            remote.verify((14, b""), OCTETS, PARIS, certificates, prf=prf, date=NOW)


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_two_endpoints_prove_themselves_by_certificates(kind: str) -> None:
    """One by a certificate, the other by one of another kind of key."""
    a, b = leaf(dns="a", kind=kind), leaf(dns="b", kind="ecdsa384")
    trusted = (root().certificate,)

    def credentials(own: Certified, here: str, there: str) -> dict[str, object]:
        chain = own.certificate, below().certificate
        return {
            "local_credential": LocalCertificate(Identity.fqdn(here), own.key, chain),
            "remote_credential": TrustedAuthorities(Identity.fqdn(there), trusted),
        }

    pair = IkePair(a=peer("a", **credentials(a, "a", "b")), b=peer("b", **credentials(b, "b", "a")))
    pair.establish()
    assert any("CERTREQ" in rung or "1/" in rung for rung in pair.trace)


def test_a_signature_is_by_what_the_peer_says_to_know() -> None:
    """RFC 7427, 4: by a hash of its list; without a list by the methods of RFC 4754, or not."""
    ecdsa, rsa, edwards = (KEYS[kind]() for kind in ("ecdsa", "rsa", "ed25519"))
    with_sha384 = bytes.fromhex("2a8648ce3d040303")
    method, data = sign(ecdsa, b"octets", frozenset({3}))
    assert (method, with_sha384 in data[: 1 + data[0]]) == (14, True)
    assert sign(ecdsa, b"octets", None)[0] == 9
    for key, hashes in ((rsa, None), (edwards, None), (rsa, frozenset({1})), (edwards, {2, 3})):
        with pytest.raises(AuthenticationFailedError, match="the peer"):
            sign(key, b"octets", None if hashes is None else frozenset(hashes))
