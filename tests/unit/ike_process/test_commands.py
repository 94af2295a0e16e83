"""Peers reach the IKE process with their keys and certificates, which nothing else can pickle."""

import pickle
from ipaddress import ip_address

import pytest

from plutino.ike.auth.certificates import LocalCertificate, TrustedAuthorities
from plutino.ike.auth.credentials import LocalPresharedKey, RemotePresharedKey
from plutino.ike.auth.identity import Identity
from plutino.ike.auth.ocsp import StatusQuestion
from plutino.ike.auth.raw_keys import LocalRawKey, RemoteRawKey
from plutino.ike.auth.revocation import OcspPolicy, Revocation
from plutino.ike.auth.signature import verify
from plutino.ike.config import PeerConfig
from plutino.ike.path import first_path
from plutino.ike_process.commands import (
    Adopt,
    Ask,
    Command,
    GoBy,
    KeepUp,
    SetPeers,
    TakeAnswer,
    decode_commands,
    encode_commands,
)
from plutino.model.secret import Secret
from tests.support.pki import issue, revoke

NAME = Identity.fqdn("paris.example")
KEY = LocalPresharedKey(NAME, Secret(b"correct horse"))
HERE, THERE = ip_address("192.0.2.1"), ip_address("192.0.2.2")


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ecdsa384", "ed25519"])
def test_peers_arrive_as_they_are(kind: str) -> None:
    root = issue("root", authority=True)
    leaf = issue("paris", root, kind=kind, dns="paris.example")
    own = LocalCertificate(NAME, leaf.key, (leaf.certificate, root.certificate), b"response")
    revocation = Revocation((revoke(root, leaf),), strict=True, ocsp=OcspPolicy(strict=True))
    trusted = TrustedAuthorities(None, (root.certificate,), revocation)
    assert trusted.authorities  # which is kept then
    shared = PeerConfig("one", (), KEY, RemotePresharedKey(NAME, KEY.key), remotes=(THERE,))
    certified = PeerConfig("two", (), own, trusted)
    raw = PeerConfig("three", (), LocalRawKey.of(NAME, leaf.key), RemoteRawKey(NAME, b"a key"))
    (arrived,) = decode_commands(encode_commands([SetPeers((shared, certified, raw))]))
    assert isinstance(arrived, SetPeers)
    assert arrived.peers == (shared, certified, raw)
    assert arrived.peers[1].local_credential.certificates({14})[-1].data == b"response"
    octets = b"what is signed"
    for credential in (one.local_credential for one in arrived.peers[1:]):
        auth = credential.authenticate(octets, frozenset({2, 3, 5}), lambda *_: b"")
        verify(leaf.certificate.public_key(), auth, octets)  # type: ignore[arg-type]


def test_the_others_arrive_as_they_are() -> None:
    path = first_path(HERE, THERE)
    commands: list[Command] = [
        Adopt("one", b"12345678", b"saved"),
        KeepUp("one", path, ("one",)),
        GoBy("one", path, frozenset({(HERE, THERE)})),
        TakeAnswer(StatusQuestion("http://ocsp.example/", b"asked"), b"answered"),
        Ask(5),
    ]
    assert decode_commands(encode_commands(commands)) == commands


def test_nothing_else_pickles_a_secret() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
