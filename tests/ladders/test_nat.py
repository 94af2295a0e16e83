"""A NAT before a, which begins: b is told of a's mapping, and follows when it changes."""

from dataclasses import replace

import pytest

from plutino.ike.exchanges import auth, create_child, informational, sa_init
from plutino.ike.exchanges.child_offer import AgreedChild, ChildOffer, take_answer
from plutino.ike.message.message import Message
from plutino.ike.numbers import PayloadType
from plutino.ike.path import Path, SocketAddress
from plutino.ike.payloads.traffic_selector import TsPayload
from plutino.ike.session import Session
from plutino.ike_process.child_sas import child_sa
from plutino.model.policy import IpAddress, Mode
from tests.support.ike_network import A, B, IkePair, child, peer
from tests.support.nat_ladder import OTHER, OUTSIDE, Nat, behind_a_nat

CHECK = "a> INFORMATIONAL {N(NAT_DETECTION_SOURCE_IP),N(NAT_DETECTION_DESTINATION_IP)}"


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


def in_transport_mode(monkeypatch: pytest.MonkeyPatch) -> tuple[IkePair, list[str]]:
    """a is inside; and the addresses of every answer, in the order in which they came."""
    pair = IkePair(
        a=peer("a", children=(child(mode=Mode.TRANSPORT),)),
        b=peer("b", children=(child(mode=Mode.TRANSPORT),), remotes=()),
    )
    nat = Nat(pair)
    said: list[str] = []

    def told(session: Session, offered: ChildOffer, message: Message) -> AgreedChild:
        for kind in (PayloadType.TS_I, PayloadType.TS_R):
            payload = message.of_type(kind)
            assert isinstance(payload, TsPayload)
            said.extend(str(one.first) for one in payload.known)
        return take_answer(session, offered, message)

    for module in (auth, create_child):
        monkeypatch.setattr(module, "take_answer", told)
    pair.start()
    assert pair.run(10, nat.is_seen), pair.trace
    return pair, said


def ends(pair: IkePair, side: str) -> list[str]:
    (active,) = pair.current(side)
    assert active.child.mode is Mode.TRANSPORT
    return [str(one.first) for one in (*active.child.local, *active.child.remote)]


def test_transport_mode_is_for_the_addresses_that_each_end_sees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And each is answered in its own words, whoever begins (RFC 7296, 2.23.1)."""
    pair, said = in_transport_mode(monkeypatch)
    inside, outside = str(A), str(OUTSIDE)
    for side, begins in (("a", inside), ("b", outside), ("a", inside)):
        assert ends(pair, "a") == [inside, str(B)]
        assert ends(pair, "b") == [str(B), outside]
        words = [begins, str(B)] if side == "a" else [str(B), begins]
        assert said[-2:] == words
        endpoint = pair.b if side == "a" else pair.a
        (before,) = pair.current("a")
        endpoint.rekey_child(before.child.spi_out, pair.now)
        pair.run(5)
        assert pair.current("a")[0].child is not before.child


def test_transport_mode_goes_with_the_address_that_a_nat_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair, _ = in_transport_mode(monkeypatch)
    (at_b,) = pair.current("b")
    path = Path(at_b.path.local, SocketAddress(OTHER, 1024))
    found = child_sa(replace(at_b, path=path))
    assert [str(one) for one in found.remote_ts] == [f"{OTHER}/32"]
    assert [str(one) for one in found.local_ts] == [f"{B}/32"]


def test_without_a_nat_the_addresses_are_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names other addresses than those it has gets no CHILD_SA for them."""
    monkeypatch.setattr(sa_init, "nat_detection", lambda *_: bytes(20))
    transport = (child(mode=Mode.TRANSPORT),)
    pair = IkePair(a=peer("a", children=transport), b=peer("b", children=transport, remotes=()))
    Nat(pair)
    pair.start()
    pair.run(5)
    assert "TS_UNACCEPTABLE" in str(pair.events["a"])
    assert not pair.a.child_sas()
    assert not pair.b.child_sas()
