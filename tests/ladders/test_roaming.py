"""Peers that are known by who they are: the address is only where a handshake begins."""

from ipaddress import ip_address

from plutino.ike.auth.credentials import RemotePresharedKey
from plutino.ike.auth.identity import Identity
from plutino.ike.path import first_path
from plutino.model.secret import Secret
from tests.support.ike_network import A2, A, B, IkePair, peer

NOBODY = ip_address("198.51.100.99")


def destinations(pair: IkePair) -> list[object]:
    return [one.path.remote.address for one in pair.sent if one.path.local.address == A]


def test_what_is_on_its_way_ends_when_the_peer_is_elsewhere_and_begins_there_at_once() -> None:
    pair = IkePair(a=peer("a", remotes=()))
    pair.a.keep_up("b", first_path(A, NOBODY), ("net",), pair.now)
    pair.run(0.5)
    pair.a.go_by("b", first_path(A, NOBODY), (), pair.now)
    pair.run(0.1)
    assert destinations(pair) == [NOBODY], "the same path again is no news"
    pair.a.go_by("b", first_path(A, B), (), pair.now)
    assert pair.run(0.3, pair.is_up)
    pair.run(100)
    assert destinations(pair).count(NOBODY) == 1


def test_a_pause_between_attempts_ends_too() -> None:
    pair = IkePair(a=peer("a", remotes=()))
    other = RemotePresharedKey(Identity.fqdn("a"), Secret(b"another key"))
    pair.add("c", NOBODY, [peer("b", local=NOBODY, remote_credential=other)])
    pair.a.keep_up("b", first_path(A, NOBODY), ("net",), pair.now)
    pair.run(300)
    assert not pair.a.sessions_of("b"), "refused each time, so that it waits"
    pair.a.go_by("b", first_path(A, B), (), pair.now)
    assert pair.run(0.3, pair.is_up)


def test_an_ike_sa_that_is_up_stays_where_it_is() -> None:
    """The name leads elsewhere, but the peer that proves who it is answers here."""
    for side in "ab":
        pair = IkePair(a=peer("a", remotes=()), b=peer("b", remotes=()))
        pair.start(side)
        assert pair.run(60, pair.is_up)
        sent = len(pair.sent)
        there = {"a": first_path(A, NOBODY), "b": first_path(B, A2)}[side]
        other = "b" if side == "a" else "a"
        pair.endpoints[side].go_by(other, there, (), pair.now)
        pair.run(20)
        assert len(pair.sent) == sent
        assert pair.is_up()
