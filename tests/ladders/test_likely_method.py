"""Rekeys begin with the key exchange method that the peer has taken before."""

from plutino.ike.payloads.proposal import Transform
from plutino.ike.proposals import Suite, likely_method
from tests.support.ike_network import IKE_GCM, IkePair, child, peer

IKE_BOTH: Suite = (*IKE_GCM, Transform(4, 19))
IKE_OTHER: Suite = (*IKE_GCM[:-1], Transform(4, 19))
ESP_BOTH: Suite = (Transform(1, 20, 128), Transform(4, 31), Transform(4, 19), Transform(5, 0))
ESP_OTHER: Suite = (Transform(1, 20, 128), Transform(4, 19), Transform(5, 0))


def pair_of(ike: Suite, esp: Suite) -> IkePair:
    """a would take 31 first, and 19; b has these."""
    own = peer("a", suites=(IKE_BOTH,), children=(child(suites=(ESP_BOTH,)),))
    pair = IkePair(a=own, b=peer("b", suites=(ike,), children=(child(suites=(esp,)),)))
    pair.establish()
    return pair


def refusals(pair: IkePair) -> int:
    return sum("INVALID_KE" in rung for rung in pair.trace)


def rekey_child(pair: IkePair) -> None:
    (old,) = pair.current("a")
    pair.a.rekey_child(old.child.spi_in, pair.now)
    assert pair.run(60, lambda: pair.is_up() and pair.current("a")[0].child is not old.child)


def test_a_child_begins_with_that_of_the_ike_sa() -> None:
    pair = pair_of(IKE_OTHER, ESP_OTHER)
    assert refusals(pair) == 1
    rekey_child(pair)
    assert refusals(pair) == 1


def test_a_child_begins_with_that_of_the_child_before() -> None:
    pair = pair_of(IKE_GCM, ESP_OTHER)
    rekey_child(pair)
    assert refusals(pair) == 1
    rekey_child(pair)
    assert refusals(pair) == 1


def test_an_ike_sa_begins_with_that_of_the_one_before() -> None:
    pair = pair_of(IKE_OTHER, ESP_BOTH)
    before = set(pair.a.sessions)
    pair.a.rekey_ike("b", pair.now)
    assert pair.run(60, lambda: pair.is_up() and not before & set(pair.a.sessions))
    assert refusals(pair) == 1


def test_none_is_not_preferred_because_it_was_before() -> None:
    optional = ((Transform(4, 31), Transform(4, 0)),)
    assert likely_method(optional, (0,)) == 31
    assert likely_method(optional, (19, 31)) == 31
    assert likely_method((), (31,)) == 0
