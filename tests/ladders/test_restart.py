"""A process that is killed and another that goes on with what was saved, on virtual time."""

from dataclasses import replace

import pytest

from plutino.ike.endpoint import Endpoint
from plutino.ike.exchanges.delete import Liveness
from plutino.ike.message.header import Header
from plutino.ike.saved import SavedStateError
from tests.support.ike_network import IkePair, child, peer


def inits(pair: IkePair) -> int:
    """Handshakes that were begun."""
    return sum("IKE_SA_INIT" in line and "reply" not in line for line in pair.trace)


@pytest.mark.parametrize("side", ["a", "b"])
def test_it_goes_on_without_a_new_handshake(side: str) -> None:
    pair = IkePair()
    pair.establish()
    keys = {one.child.keys.inbound.reveal() for one in pair.current(side)}
    new = pair.restart(side)
    assert {one.child.keys.inbound.reveal() for one in pair.current(side)} == keys
    (spi,) = [one.child.spi_in for one in pair.current(side)]
    new.rekey_child(spi, pair.now)
    assert pair.run(5, lambda: pair.is_settled() and pair.current(side)[0].child.spi_in != spi)
    new.rekey_ike("b" if side == "a" else "a", pair.now)
    before = set(new.sessions)
    assert pair.run(5, lambda: pair.is_settled() and set(new.sessions) != before)
    pair.restart(side)
    assert pair.run(5, pair.is_settled)
    assert inits(pair) == 1


def test_a_request_that_came_before_is_answered_as_before() -> None:
    """The answer was saved, sent and lost; the peer asks again."""
    pair = IkePair()
    pair.establish()
    (spi,) = [one.child.spi_in for one in pair.current("a")]
    pair.hook = lambda name, datagram: () if name == "b" else (datagram,)
    pair.a.rekey_child(spi, pair.now)
    pair.run(0.1)
    theirs = {one.child.spi_in for one in pair.current("b")}
    pair.hook = None
    pair.restart("b")
    assert pair.run(10, lambda: pair.is_settled() and pair.current("a")[0].child.spi_in != spi)
    assert {one.child.spi_in for one in pair.current("b")} == theirs
    assert inits(pair) == 1


def test_who_was_about_to_replace_something_starts_anew() -> None:
    pair = IkePair()
    pair.establish()
    (spi,) = [one.child.spi_in for one in pair.current("a")]
    pair.blocked = True
    pair.a.rekey_child(spi, pair.now)
    pair.run(0.1)
    pair.blocked = False
    pair.restart("a")
    assert pair.run(10, pair.is_settled)
    assert inits(pair) == 2
    assert len(pair.b.sessions) == 1  # by INITIAL_CONTACT


def test_a_liveness_check_is_taken_up_with_its_number() -> None:
    pair = IkePair(a=peer("a", liveness_after=20.0))
    pair.establish()
    pair.blocked = True
    pair.run(22)
    pair.blocked = False
    new = pair.restart("a")
    assert [len(one.window.waiting) for one in new.sessions.values()] == [1]
    assert pair.run(10, pair.is_settled)
    assert inits(pair) == 1


@pytest.mark.parametrize("away", [40, 65])
def test_who_was_away_for_long_is_asked_again_when_it_speaks(away: float) -> None:
    """A daemon of ten thousand tunnels takes its time; its peers have repeated themselves in vain.

    The last time is 41 s after the first, and after 71 s a peer is given up.
    """
    pair = IkePair(a=peer("a", liveness_after=30.0), b=peer("b", liveness_after=30.0))
    pair.establish()
    kept = set(pair.a.sessions)
    pair.blocked = True
    pair.run(30 + away)
    pair.blocked = False
    pair.restart("b")
    assert pair.run(60, lambda: not any(one.window.waiting for one in pair.a.sessions.values()))
    pair.run(60)
    assert set(pair.a.sessions) == kept
    assert inits(pair) == 1


def test_a_request_has_all_its_tries_after_a_restart() -> None:
    """Nobody listened meanwhile."""
    pair = IkePair(a=peer("a", liveness_after=30.0), b=peer("b", liveness_after=None))
    pair.establish()
    kept = set(pair.a.sessions)
    pair.blocked = True
    pair.run(30 + 45)
    pair.now += 3600
    pair.blocked = False
    pair.restart("a")
    assert pair.run(10, pair.is_settled)
    assert set(pair.a.sessions) == kept
    assert inits(pair) == 1


def test_who_speaks_and_never_answers_is_given_up() -> None:
    """RFC 7296, 2.4."""
    pair = IkePair(a=peer("a", liveness_after=5.0), b=peer("b", liveness_after=None))
    pair.establish()
    (ours,) = pair.a.sessions.values()
    (theirs,) = pair.b.sessions.values()
    pair.hook = lambda name, one: (
        (one,) if name == "a" or not Header.parse(memoryview(one.payload)).is_response else ()
    )
    for _ in range(60):
        theirs.enqueue(Liveness(), pair.now)
        theirs.pump(pair.now)
        pair.run(5)
    assert ours.is_closed


def test_no_iv_comes_twice() -> None:
    pair = IkePair(a=peer("a", liveness_after=1.0))
    pair.establish()
    for _ in range(5):
        pair.run(10)
        pair.restart("a")
    sealed = [one.payload for one in pair.sent if one.payload[18] != 34 and one.path.local.port]
    ours = [one[32:40] for one in sealed if one[19] & 0x08]
    requests = {one for one in sealed if one[19] & 0x08}
    assert len(set(ours)) == len(requests) > 40


def test_what_is_lost_meanwhile_is_noticed() -> None:
    """The other end has gone away for good while nobody was there."""
    pair = IkePair(a=peer("a", liveness_after=30.0), b=peer("b", liveness_after=None))
    pair.establish()
    (lost,) = pair.a.sessions
    pair.blocked = True
    pair.endpoints["b"] = Endpoint(
        pair.b.peers.values(), random=pair.random.randbytes, date=pair._date
    )
    pair.now += 3600
    pair.restart("a")
    pair.blocked = False
    assert pair.run(120, lambda: lost not in pair.a.sessions and pair.is_up())


def test_another_version_and_other_peers_are_refused() -> None:
    pair = IkePair()
    pair.establish()
    (octets,) = pair.saved["a"].values()
    other = octets.replace(b'"version":1', b'"version":2')
    config = pair.a.peers["b"]
    for saved, known, why in (
        (other, config, "another version"),
        (octets, replace(config, name="c"), "KeyError"),
        (octets, replace(config, children=(child("another"),)), "KeyError"),
    ):
        endpoint = Endpoint([known], random=pair.random.randbytes, date=pair._date)
        with pytest.raises(SavedStateError, match=why):
            endpoint.adopt(saved, pair.now)
        assert not endpoint.sessions
