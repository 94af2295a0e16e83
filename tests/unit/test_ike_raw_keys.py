"""AUTH by public keys that both ends know beforehand (RFC 7670)."""

from datetime import UTC, datetime
from functools import cache

import pytest

from plutino.ike.auth.credentials import CertificateData
from plutino.ike.auth.identity import Identity
from plutino.ike.auth.raw_keys import RAW_PUBLIC_KEY, LocalRawKey, RemoteRawKey
from plutino.ike.auth.signature import sign
from plutino.ike.errors import AuthenticationFailedError
from plutino.model.private_key import PrivateKey
from tests.support.ike_network import IkePair, peer
from tests.support.pki import KEYS

OCTETS = b"what AUTH covers"
PARIS, BERLIN = Identity.fqdn("a"), Identity.fqdn("b")


@cache
def key(kind: str, name: str) -> PrivateKey:
    del name
    return KEYS[kind]()


def judge(*certificates: CertificateData, identity: Identity = PARIS, signer: str = "a") -> None:
    local = LocalRawKey.of(PARIS, key("ecdsa", "a"))
    auth = sign(key("ecdsa", signer), OCTETS, frozenset({2}))
    remote = RemoteRawKey(PARIS, local.public)
    date = datetime(2026, 1, 1, tzinfo=UTC)
    remote.verify(auth, OCTETS, identity, certificates, prf=lambda *_: b"", date=date)


def test_the_configured_key_is_taken_whatever_comes_with_it() -> None:
    own = LocalRawKey.of(PARIS, key("ecdsa", "a"))
    (sent,) = own.certificates(())
    assert sent.encoding == RAW_PUBLIC_KEY
    judge()
    judge(sent)
    judge(CertificateData(4, b"a certificate that nobody asked for"), sent)


def test_another_key_is_refused() -> None:
    other = LocalRawKey.of(PARIS, key("ecdsa", "b"))
    with pytest.raises(AuthenticationFailedError, match="signature"):
        judge(signer="b")
    with pytest.raises(AuthenticationFailedError, match="not the configured one"):
        judge(*other.certificates(()))
    with pytest.raises(AuthenticationFailedError, match="not the configured one"):
        judge(*other.certificates(()), signer="b")
    with pytest.raises(AuthenticationFailedError, match="another identity"):
        judge(identity=BERLIN)


@pytest.mark.parametrize("kind", list(KEYS))
@pytest.mark.parametrize("sends", [True, False])
def test_two_endpoints_know_each_other_by_their_keys(kind: str, *, sends: bool) -> None:
    a, b = (LocalRawKey.of(one, key(kind, one.data.decode())) for one in (PARIS, BERLIN))
    pair = IkePair(
        a=peer(
            "a",
            local_credential=a,
            remote_credential=RemoteRawKey(BERLIN, b.public),
            send_certificates=sends,
        ),
        b=peer(
            "b",
            local_credential=b,
            remote_credential=RemoteRawKey(PARIS, a.public),
            send_certificates=sends,
        ),
    )
    pair.establish()
    assert ("CERT" in pair.trace[2]) == sends
    assert "CERTREQ" not in pair.trace[2]


def test_a_key_that_is_not_the_configured_one_fails_as_any_does() -> None:
    a, b = (LocalRawKey.of(one, key("ecdsa", one.data.decode())) for one in (PARIS, BERLIN))
    known = RemoteRawKey(BERLIN, b.public)
    stranger = RemoteRawKey(PARIS, LocalRawKey.of(PARIS, key("ecdsa", "c")).public)
    pair = IkePair(
        a=peer("a", local_credential=a, remote_credential=known),
        b=peer("b", local_credential=b, remote_credential=stranger),
    )
    pair.start()
    pair.run(5)
    assert not pair.is_up()
    assert "AUTHENTICATION_FAILED" in " ".join(map(str, pair.events["a"]))
    assert "configured" in " ".join(map(str, pair.events["b"]))
    assert "configured" not in " ".join(map(str, pair.events["a"]))
