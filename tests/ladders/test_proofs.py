"""Each end proves itself by a method of its own (RFC 7296, 2.15)."""

from dataclasses import replace
from functools import cache
from itertools import permutations

import pytest

from plutino.ike.auth.certificates import LocalCertificate, TrustedAuthorities
from plutino.ike.auth.credentials import (
    LocalCredential,
    LocalPresharedKey,
    RemoteCredential,
    RemotePresharedKey,
)
from plutino.ike.auth.identity import Identity
from plutino.ike.auth.raw_keys import LocalRawKey, RemoteRawKey
from plutino.ike.config import PostquantumKey
from plutino.model.secret import Secret
from tests.support.ike_network import B, IkePair, peer
from tests.support.pki import Certified, issue

KINDS = ("shared key", "certificate", "public key")
PPK = Secret(b"a post-quantum key that both ends have")


@cache
def root() -> Certified:
    return issue("root", authority=True)


@cache
def own(side: str) -> Certified:
    return issue(side, root(), dns=side)


def shared(side: str) -> Secret:
    return Secret(f"a key by which {side} alone proves itself".encode())


def ours(kind: str, side: str) -> LocalCredential:
    identity = Identity.fqdn(side)
    if kind == "shared key":
        return LocalPresharedKey(identity, shared(side))
    if kind == "public key":
        return LocalRawKey.of(identity, own(side).key)
    return LocalCertificate(identity, own(side).key, (own(side).certificate,))


def the_peers(kind: str, side: str) -> RemoteCredential:
    identity = Identity.fqdn(side)
    if kind == "shared key":
        return RemotePresharedKey(identity, shared(side))
    if kind == "public key":
        return RemoteRawKey(identity, LocalRawKey.of(identity, own(side).key).public)
    return TrustedAuthorities(identity, (root().certificate,))


def pair_by(a: str, b: str, **changes: object) -> IkePair:
    """a proves itself by one kind, and b by another."""
    return IkePair(
        a=peer("a", local_credential=ours(a, "a"), remote_credential=the_peers(b, "b"), **changes),
        b=peer("b", local_credential=ours(b, "b"), remote_credential=the_peers(a, "a"), **changes),
    )


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize(("a", "b"), list(permutations(KINDS, 2)))
def test_each_end_proves_itself_by_another_kind(a: str, b: str, side: str) -> None:
    pair = pair_by(a, b)
    pair.start(side)
    assert pair.run(5, pair.is_up), pair.trace
    requests = [one for one in pair.trace if "CERTREQ" in one]
    of_the_peer = {"a": b, "b": a}
    assert bool(requests) == ("certificate" in (a, b)), requests
    assert all(of_the_peer[one[0]] == "certificate" for one in requests)


def test_two_shared_keys_one_for_each_direction() -> None:
    pair = pair_by("shared key", "shared key")
    pair.establish()


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(("a", "b"), [("shared key", "certificate"), ("public key", "shared key")])
def test_a_post_quantum_key_goes_with_either(a: str, b: str, *, required: bool) -> None:
    """One that is not required has a second proof of the same kind along (RFC 8784, 3)."""
    key = PostquantumKey(b"name", PPK, required=required)
    pair_by(a, b, ppk=key).establish()
    if not required:
        other = pair_by(a, b, ppk=key)
        other.add("b", B, [replace(pair_by(a, b).b.peers["a"], ppk=replace(key, identity=b"c"))])
        other.establish()


@pytest.mark.parametrize("kind", ["certificate", "public key"])
@pytest.mark.parametrize("side", ["a", "b"])
def test_the_key_of_one_end_is_no_proof_of_the_other(kind: str, side: str) -> None:
    """Whoever knows the shared key of b cannot be a by it, though AUTH would be right."""
    key = shared("b")
    impostor = peer(
        "a",
        local_credential=LocalPresharedKey(Identity.fqdn("a"), key),
        remote_credential=RemotePresharedKey(Identity.fqdn("b"), key),
    )
    pair = IkePair(
        a=impostor,
        b=peer(
            "b",
            local_credential=LocalPresharedKey(Identity.fqdn("b"), key),
            remote_credential=the_peers(kind, "a"),
        ),
    )
    pair.start(side)
    pair.run(5)
    assert not pair.is_up()
    assert not pair.b.child_sas()
    words = " ".join(map(str, pair.events["b"]))
    assert "AUTH method 2" in words or "certificates came" in words, words
