"""Which CHILD_SA is sent by while one takes the place of another (RFC 7296, 2.8)."""

from collections.abc import Iterable
from random import Random

import pytest

from plutino.ike.config import Lifetimes
from plutino.ike.errors import (
    NoAdditionalSasError,
    NoProposalChosenError,
    PeerError,
    TemporaryFailureError,
)
from plutino.ike.exchanges import answers
from plutino.ike.message.header import Header
from plutino.ike.numbers import ExchangeType
from plutino.ike.path import Datagram
from plutino.ike.proposals import Suite
from plutino.ike.schedule import due_at
from tests.support.ike_network import IKE_GCM, IKE_SERIES, IkePair, child, peer


def sending(pair: IkePair, side: str) -> list[bytes]:
    """The inbound SPIs, at the other end, of what a side sends by."""
    children = pair.endpoints[side].child_sas()
    return [one.child.spi_out for one in children if one.outbound]


def receiving(pair: IkePair, side: str) -> set[bytes]:
    return {one.child.spi_in for one in pair.endpoints[side].child_sas()}


def test_a_lost_answer_loses_no_packet() -> None:
    """b sends by the old one until it is certain that a has the new one."""
    pair = IkePair(a=peer("a"), b=peer("b"))
    pair.establish()
    (old,) = pair.current("a")
    mended = pair.now + 6

    def lose_answers(name: str, datagram: Datagram) -> Iterable[Datagram]:
        return () if name == "b" and pair.now < mended else (datagram,)

    pair.hook = lose_answers
    pair.a.rekey_child(old.child.spi_in, pair.now)
    for _ in range(120):
        pair.run(0.1)
        for here, there in (("a", "b"), ("b", "a")):
            (spi,) = sending(pair, here)
            assert spi in receiving(pair, there), pair.trace
    (new,) = pair.current("a")
    assert new.child.spi_in != old.child.spi_in
    assert sending(pair, "b") == [new.child.spi_in]


def test_a_peer_that_does_not_delete_the_old_one() -> None:
    """After a while b sends by the new one all the same."""
    pair = IkePair(a=peer("a"), b=peer("b"))
    pair.establish()
    (old,) = pair.current("a")
    said: list[Datagram] = []

    def lose_deletes(name: str, datagram: Datagram) -> Iterable[Datagram]:
        if name == "a":
            said.append(datagram)
        return () if name == "a" and len(said) > 1 else (datagram,)

    pair.hook = lose_deletes
    pair.a.rekey_child(old.child.spi_in, pair.now)
    pair.run(29)
    assert sending(pair, "b") == [old.child.spi_in]
    pair.run(2)
    assert sending(pair, "b") == [one.child.spi_in for one in pair.current("a")]


@pytest.mark.parametrize("suite", [IKE_GCM, IKE_SERIES])
def test_a_peer_that_refuses_to_rekey_the_ike_sa(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one is made from the start, and takes its place."""

    def refuse(*_: object) -> None:
        raise NoProposalChosenError("no additional key exchange")

    monkeypatch.setattr(answers, "answer_rekey_ike", refuse)
    pair = IkePair(a=peer("a", suites=(suite,)), b=peer("b", suites=(suite,)))
    pair.establish()
    old = set(pair.a.sessions)
    pair.a.rekey_ike("b", pair.now)
    for _ in range(100):
        pair.run(0.1)
        for here, there in (("a", "b"), ("b", "a")):
            assert set(sending(pair, here)) <= receiving(pair, there), pair.trace
    assert pair.is_up()
    assert not old & set(pair.a.sessions)


def refusing(monkeypatch: pytest.MonkeyPatch, what: str, error: type[PeerError]) -> IkePair:
    """a has keys for 100 s, and nobody answers one kind of rekey."""

    def refuse(*_: object) -> None:
        raise error("never")

    monkeypatch.setattr(answers, what, refuse)
    lifetimes = Lifetimes(100.0)
    own = peer("a", lifetimes=lifetimes, children=(child(lifetimes=lifetimes),))
    pair = IkePair(a=own, b=peer("b"))
    pair.establish()
    return pair


@pytest.mark.parametrize("what", ["answer_create_child", "answer_rekey_ike"])
@pytest.mark.parametrize("error", [NoAdditionalSasError, TemporaryFailureError])
def test_keys_do_not_outlive_their_time_because_the_peer_wants_no_others(
    monkeypatch: pytest.MonkeyPatch, what: str, error: type[PeerError]
) -> None:
    """RFC 7296, 2.8: another IKE SA is made, and then the old one closed with its CHILD_SAs."""
    pair = refusing(monkeypatch, what, error)
    for _ in range(600):
        pair.run(1)
        for session in pair.a.sessions.values():
            assert pair.now - session.created < 300
            assert all(pair.now - one.created < 300 for one in session.children)
        assert pair.current("a")
    assert sum("IKE_SA_INIT" in rung for rung in pair.trace) >= 6
    assert "no new keys" not in str(pair.events["a"])


@pytest.mark.parametrize("what", ["answer_create_child", "answer_rekey_ike"])
def test_they_end_where_the_peer_wants_no_other_ike_sa_either(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    pair = refusing(monkeypatch, what, TemporaryFailureError)

    def created() -> list[float]:
        sessions = pair.a.sessions.values()
        if what == "answer_rekey_ike":
            return [one.created for one in sessions]
        return [child.created for one in sessions for child in one.children]

    def lose_first(_name: str, datagram: Datagram) -> tuple[Datagram, ...]:
        exchange = Header.parse(memoryview(datagram.payload)).exchange_type
        return () if exchange == ExchangeType.IKE_SA_INIT else (datagram,)

    pair.hook = lose_first
    pair.run(230)
    first = min(created())
    assert pair.now - first > 229
    pair.run(70)
    assert first not in created()
    assert "no new keys" in str(pair.events["a"])


def test_rekeys_of_many_do_not_come_at_once() -> None:
    """RFC 7296, 2.8.1: jittered, and never later than configured."""
    random = Random(1).randbytes
    times = {due_at(Lifetimes(1000.0, 0.1), 0.0, random) for _ in range(100)}
    assert len(times) > 90
    assert all(one is not None and 900 <= one <= 1000 for one in times)


@pytest.mark.parametrize("seed", range(6))
def test_of_two_that_came_about_at_once_that_with_the_lowest_nonce_goes(seed: int) -> None:
    """RFC 7296, 2.8.1 and 2.8.2: as other implementations see it, too."""
    pair = IkePair(seed)
    pair.establish()
    old = pair.current("a")[0].child.spi_in
    pair.a.rekey_child(old, pair.now)
    pair.b.rekey_child(pair.current("b")[0].child.spi_in, pair.now)
    pair.run(0.025)
    made = [one.child for one in pair.a.child_sas() if one.child.spi_in != old]
    assert len(made) == 2
    assert pair.run(10, pair.is_settled)
    (left,) = pair.current("a")
    assert left.child is max(made, key=lambda one: one.lowest_nonce)

    before = set(pair.a.sessions)
    pair.a.rekey_ike("b", pair.now)
    pair.b.rekey_ike("a", pair.now)
    pair.run(0.025)
    new = [one for spi, one in pair.a.sessions.items() if spi not in before]
    assert len(new) == 2
    assert pair.run(10, pair.is_settled)
    (stays,) = pair.a.sessions.values()
    assert stays is max(new, key=lambda one: one.session_keys.lowest_nonce)


@pytest.mark.parametrize("seed", range(4))
def test_a_peer_that_loses_all_after_both_have_replaced_the_ike_sa(seed: int) -> None:
    """What was replaced waits for a delete that will never come, and keeps nobody from beginning.

    b, which knows of nobody, begins nothing.
    """
    pair = IkePair(seed, a=peer("a", liveness_after=20.0), b=peer("b", liveness_after=20.0))
    pair.establish()
    pair.a.rekey_ike("b", pair.now)
    pair.b.rekey_ike("a", pair.now)
    pair.run(0.015)
    pair.hook = lambda name, datagram: () if name == "b" else (datagram,)
    pair.run(0.01)  # b's delete is lost
    pair.hook = None
    pair.saved["b"].clear()
    pair.restart("b")
    assert pair.run(120, pair.is_up), pair.trace
    pair.run(300)
    assert pair.is_settled()
