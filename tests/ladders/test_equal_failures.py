"""No IKE_AUTH that fails tells which identities are configured, also not by the clock.

What is counted is the work: the primitives of cryptography that the gateway calls for a request.
"""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

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
from plutino.ike.config import PeerConfig, PostquantumKey
from plutino.ike.events import Refused
from plutino.ike.message.header import Header
from plutino.ike.numbers import ExchangeType
from plutino.ike.path import Datagram, Path
from plutino.model.private_key import PrivateKey
from plutino.model.secret import Secret
from tests.support.ike_network import KEY, B, IkePair, peer
from tests.support.pki import KEYS, Certified, issue

WRONG = Secret(b"a key that only a stranger knows")
PRIMITIVES = ("finalize", "verify", "compare_digest")
GATEWAY = LocalPresharedKey(Identity.fqdn("b"), KEY)

Held = tuple[IkePair, Datagram]
Work = tuple[Counter[str], list[int], int]
"""The primitives that were called, the sizes of the answers, and the lines of the log."""


@cache
def key(kind: str, name: str) -> PrivateKey:
    del name
    return KEYS[kind]()


@cache
def authority(name: str) -> Certified:
    return issue(name, authority=True)


def raw(identity: str, kind: str, name: str, *, shown: bool) -> LocalRawKey:
    own = LocalRawKey.of(Identity.fqdn(identity), key(kind, name))
    return own if shown else replace(own, public=b"")


def certified(identity: str, issuer: str, dns: str) -> LocalCertificate:
    own = issue(dns, authority(issuer), dns=dns)
    return LocalCertificate(Identity.fqdn(identity), own.key, (own.certificate,))


def remote(identity: str, kind: str) -> RemoteCredential:
    name = Identity.fqdn(identity)
    if kind == "psk":
        return RemotePresharedKey(name, KEY)
    if kind == "certificate":
        return TrustedAuthorities(name, (authority("ours").certificate,))
    return RemoteRawKey(name, LocalRawKey.of(name, key(kind, identity)).public)


def gateway(**kinds: str) -> list[PeerConfig]:
    """Peers of these names, each known by a credential of such a kind, all at one address."""
    return [
        replace(
            peer("b", fragment_size=None, local_credential=GATEWAY),
            name=name,
            remote_credential=remote(name, kind),
        )
        for name, kind in kinds.items()
    ]


def request_of(peers: list[PeerConfig], stranger: LocalCredential, **options: Any) -> Held:
    """A gateway with these peers, and what a stranger asks it in IKE_AUTH."""
    shown = not isinstance(stranger, LocalRawKey) or stranger.public != b""
    values = {"fragment_size": None, "send_certificates": shown} | options
    pair = IkePair(a=peer("a", local_credential=stranger, **values))
    pair.add("b", B, peers)
    held: list[Datagram] = []

    def hold(name: str, datagram: Datagram) -> list[Datagram]:
        if name != "a" or datagram.payload[18] != ExchangeType.IKE_AUTH:
            return [datagram]
        held.append(datagram)
        return []

    pair.hook = hold
    pair.start()
    pair.run(0.5)
    assert len(held) == 1, pair.trace
    return pair, held[0]


def work(request: Held) -> Work:
    """What b does with it."""
    pair, asked = request
    calls: Counter[str] = Counter()

    def note(_: object, event: str, what: Any) -> None:
        if event == "c_call" and what.__name__ in PRIMITIVES:
            calls[what.__qualname__] += 1

    back = Path(asked.path.remote, asked.path.local)
    sys.setprofile(note)
    try:
        pair.b.receive(asked.payload, back, pair.now)
    finally:
        sys.setprofile(None)
    assert not pair.b.sessions, "nobody got in"
    said = [one for one in pair.b.next_events() if isinstance(one, Refused)]
    answers = pair.b.datagrams_to_send()
    assert all(Header.parse(memoryview(one.payload)).is_response for one in answers)
    return calls, [len(one.payload) for one in answers], len(said)


MIXED = {"first": "psk", "second": "ed25519", "third": "certificate", "fourth": "ecdsa"}
STRANGERS: dict[str, Callable[[str], LocalCredential]] = {
    "psk": lambda name: LocalPresharedKey(Identity.fqdn(name), WRONG),
    "ed25519": lambda name: raw(name, "ed25519", "wrong", shown=False),
    "ecdsa": lambda name: raw(name, "ecdsa", "wrong", shown=False),
    "rsa": lambda name: raw(name, "rsa", "wrong", shown=False),
    "key of another": lambda name: replace(
        raw(name, "ed25519", "second", shown=True), key=key("ed25519", "wrong")
    ),
    "own key": lambda name: raw(name, "ed25519", "wrong", shown=True),
    "its own certificate": lambda name: certified(name, "theirs", name),
    "certificate of another": lambda name: certified(name, "ours", "someone"),
}
DECISIVE = {
    "psk": "compare_digest",
    "ed25519": "Ed25519PublicKey.verify",
    "ecdsa": "ECPublicKey.verify",
    "certificate": "ClientVerifier.verify",
}


@pytest.mark.parametrize("kind", DECISIVE)
def test_an_unknown_identity_costs_what_a_wrong_proof_costs(kind: str) -> None:
    """Where all peers of an address are known by the same kind of credential."""
    proof = "its own certificate" if kind == "certificate" else kind
    peers = gateway(first=kind, second=kind)
    known = work(request_of(peers, STRANGERS[proof]("first")))
    assert known[0][DECISIVE[kind]] == 1, known
    assert work(request_of(peers, STRANGERS[proof]("second"))) == known
    assert work(request_of(peers, STRANGERS[proof]("nobody"))) == known


@pytest.mark.parametrize("proof", STRANGERS)
def test_the_proof_alone_decides_what_is_computed(proof: str) -> None:
    """Whatever credential the identity that it comes with has, if any."""
    peers = gateway(**MIXED)
    found = {name: work(request_of(peers, STRANGERS[proof](name))) for name in (*MIXED, "nobody")}
    assert all(one == found["nobody"] for one in found.values()), found


@pytest.mark.parametrize("offers", [True, False])
def test_nor_does_a_post_quantum_key_that_is_wanted(*, offers: bool) -> None:
    ppk = PostquantumKey(b"ours", Secret(b"a post-quantum key of thirty-two!"))
    peers = [replace(one, ppk=ppk) for one in gateway(first="psk", second="psk")]
    own = replace(ppk, key=WRONG, required=False) if offers else None
    found = [
        work(request_of(peers, LocalPresharedKey(Identity.fqdn(name), WRONG), ppk=own))
        for name in ("first", "second", "nobody")
    ]
    assert found[0][0]["compare_digest"] == 1
    assert found[0] == found[1] == found[2]


def test_nor_does_a_suite_that_the_peer_is_not_allowed() -> None:
    peers = gateway(first="psk", second="psk")
    strict = replace(peers[0], suites=(peers[0].suites[0][:-1],))
    known = work(request_of([strict, peers[1]], STRANGERS["psk"]("first")))
    assert known[0]["compare_digest"] == 1
    assert work(request_of([strict, peers[1]], STRANGERS["psk"]("nobody"))) == known


def test_the_key_of_another_lets_nobody_in() -> None:
    """Whoever proves to be one of the peers is none of another identity by that."""
    peers = gateway(**MIXED)
    for stranger in (
        LocalPresharedKey(Identity.fqdn("nobody"), KEY),
        raw("nobody", "ed25519", "second", shown=False),
        certified("nobody", "ours", "nobody"),
        LocalPresharedKey(Identity.fqdn("second"), KEY),
        raw("fourth", "ed25519", "second", shown=True),
    ):
        work(request_of(peers, stranger))
    pair, _ = request_of(peers, LocalPresharedKey(Identity.fqdn("first"), KEY))
    pair.hook = None
    assert pair.run(10, lambda: bool(pair.b.child_sas())), pair.trace
