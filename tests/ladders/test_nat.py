"""A NAT before a, which begins: b is told of a's mapping, and follows when it changes."""

from collections.abc import Iterable
from ipaddress import ip_address

import pytest

from plutino.ike.exchanges import informational
from plutino.ike.path import Datagram, Path, SocketAddress
from plutino.model.policy import IpAddress
from tests.support.ike_network import A, IkePair, peer

OUTSIDE, OTHER = ip_address("203.0.113.9"), ip_address("203.0.113.10")

CHECK = "a> INFORMATIONAL {N(NAT_DETECTION_SOURCE_IP),N(NAT_DETECTION_DESTINATION_IP)}"


class Nat:
    """What translates; ``at`` is the mapping of the moment, and nothing comes in by another."""

    def __init__(self, pair: IkePair) -> None:
        self.at = SocketAddress(OUTSIDE, 1024)
        self.is_seen = lambda: bool(pair.current("a")) and bool(pair.current("b"))
        pair.hook = self.translate
        pair.addresses[OUTSIDE] = pair.addresses[OTHER] = "nobody"

    def translate(self, name: str, datagram: Datagram) -> Iterable[Datagram]:
        path = datagram.path
        if name == "a":
            path = Path(self.at, path.remote)
        elif path.remote == self.at:
            inside = 4500 if path.local.port == 4500 else 500
            path = Path(path.local, SocketAddress(A, inside))
        else:
            return ()
        return (Datagram(path, datagram.payload),)


def behind_a_nat(mobike: bool, liveness_after: float | None = 30.0) -> tuple[IkePair, Nat]:
    """Both up."""
    pair = IkePair(
        a=peer("a", mobike=mobike, liveness_after=liveness_after),
        b=peer("b", mobike=mobike, remotes=()),
    )
    nat = Nat(pair)
    pair.start()
    assert pair.run(10, nat.is_seen), pair.trace
    return pair, nat


def where(pair: IkePair) -> set[SocketAddress]:
    """Where b has a."""
    return {one.path.remote for one in pair.b.child_sas()}


@pytest.mark.parametrize("mobike", [False, True])
def test_it_is_found_and_its_changes_followed(mobike: bool) -> None:
    """By the next request; with MOBIKE by the next liveness check, which finds the change."""
    pair, nat = behind_a_nat(mobike)
    (at_a,), (at_b,) = pair.current("a"), pair.current("b")
    assert at_a.udp
    assert at_b.udp
    assert where(pair) == {nat.at}
    pair.run(45)
    assert "a> keepalive" in pair.trace
    nat.at = SocketAddress(OUTSIDE, 2048)
    pair.run(45)
    assert where(pair) == {nat.at}
    pair.run(20)
    assert pair.agree()


def test_with_mobike_the_mapping_is_known_from_the_start() -> None:
    """So that a change before the first silence is found, too, and one after a rekey."""
    pair, nat = behind_a_nat(mobike=True)
    pair.run(5)
    assert CHECK in pair.trace
    nat.at = SocketAddress(OUTSIDE, 2048)
    pair.run(31)
    assert where(pair) == {nat.at}
    pair.a.rekey_ike("b", pair.now)
    pair.run(5)
    nat.at = SocketAddress(OUTSIDE, 4096)
    pair.run(31)
    assert where(pair) == {nat.at}


def test_a_peer_that_tells_nothing_is_not_asked_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(informational, "answer_addresses", lambda *_: [])
    pair, _nat = behind_a_nat(mobike=True)
    pair.run(95)
    assert pair.trace.count(CHECK) == 4, pair.trace


@pytest.mark.parametrize(
    ("mobike", "address", "follows"),
    [(False, OUTSIDE, True), (False, OTHER, True), (True, OUTSIDE, True), (True, OTHER, False)],
)
def test_esp_from_another_port_is_followed(mobike: bool, address: IpAddress, follows: bool) -> None:
    """With MOBIKE a peer says itself that it has moved; late ESP must not take it back."""
    pair, nat = behind_a_nat(mobike, None)
    before, there = nat.at, SocketAddress(address, 2048)
    (child,) = pair.current("b")
    pair.b.follow_mapping(child.child.spi_in, there, pair.now)
    assert where(pair) == {there if follows else before}
    pair.a.follow_mapping(pair.current("a")[0].child.spi_in, there, pair.now)
    assert {one.path.remote.port for one in pair.a.child_sas()} == {4500}  # it is behind the NAT


def test_without_a_nat_nobody_follows() -> None:
    pair = IkePair()
    pair.establish()
    (child,) = pair.current("b")
    pair.b.follow_mapping(child.child.spi_in, SocketAddress(A, 2048), pair.now)
    assert where(pair) == {SocketAddress(A, 4500)}


def test_with_mobike_a_request_alone_moves_nothing() -> None:
    """RFC 4555, 3.8: the answer goes back, and nothing else."""
    pair, nat = behind_a_nat(mobike=True, liveness_after=None)
    before, nat.at = nat.at, SocketAddress(OUTSIDE, 2048)
    old = pair.current("a")[0].child.spi_in
    pair.a.rekey_child(old, pair.now)
    pair.run(0.5)
    assert pair.current("a")[0].child.spi_in != old
    assert where(pair) == {before}


def test_who_is_behind_a_nat_follows_nobody() -> None:
    """RFC 7296, 2.23: one packet could break it off."""
    pair, nat = behind_a_nat(mobike=False, liveness_after=None)
    (session,) = pair.b.sessions.values()
    session.abilities.nat_here = True
    before, nat.at = nat.at, SocketAddress(OUTSIDE, 2048)
    pair.a.rekey_child(pair.current("a")[0].child.spi_in, pair.now)
    pair.run(0.5)
    assert where(pair) == {before}
