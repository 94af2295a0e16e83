"""Protocols and ports of both ends: what is left of them is one CHILD_SA for all of it, or none."""

from dataclasses import replace
from ipaddress import ip_network

from plutino.ike.config import Lifetimes
from plutino.ike.narrowing import selector_of
from plutino.ike.payloads.traffic_selector import TrafficSelector
from tests.support.ike_network import ANY, IkePair, child, peer

TCP, UDP = 6, 17
FOREVER = Lifetimes(None)
PARIS, BERLIN = ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16")


def ports(first: int, last: int, protocol: int = TCP) -> TrafficSelector:
    """Of Berlin."""
    return replace(selector_of(BERLIN, protocol), first_port=first, last_port=last)


def pair_of(
    ours: tuple[TrafficSelector, ...],
    theirs: tuple[TrafficSelector, ...],
    lifetimes: Lifetimes = FOREVER,
) -> IkePair:
    """Paris has these for Berlin, and Berlin those for itself."""
    paris = (selector_of(PARIS),)
    return IkePair(
        a=peer("a", children=(child(local=paris, remote=ours, lifetimes=lifetimes),)),
        b=peer("b", children=(child(local=theirs, remote=paris),)),
    )


def test_ports_of_both_ends_are_narrowed_to_what_they_have_in_common() -> None:
    pair = pair_of((ports(1, 500), ports(1, 53, UDP)), (ports(400, 600), ports(53, 53, UDP)))
    pair.establish()
    wanted = (ports(400, 500), ports(53, 53, UDP))
    assert pair.current("a")[0].child.remote == wanted
    assert pair.current("b")[0].child.local == wanted


def test_a_rekey_has_the_same_packets() -> None:
    pair = pair_of((ports(1, 500),), (ports(400, 600),), lifetimes=Lifetimes(60.0, 0.0))
    pair.establish()
    (first,) = pair.current("a")
    pair.run(70)
    (second,) = pair.current("a")
    assert second.child is not first.child
    assert second.child.remote == first.child.remote == (ports(400, 500),)


def test_a_protocol_without_a_counterpart_is_left_out() -> None:
    """Of a's UDP nothing is left at Berlin's end, and so none at Paris's own."""
    paris = (selector_of(PARIS, TCP), selector_of(PARIS, UDP))
    pair = IkePair(
        a=peer("a", children=(child(local=paris, remote=(selector_of(BERLIN),)),)),
        b=peer("b", children=(child(local=(ports(443, 443),), remote=ANY),)),
    )
    pair.establish()
    for side in "ab":
        (active,) = pair.current(side)
        ends = (active.child.local, active.child.remote)
        assert ends[:: 1 if side == "a" else -1] == (paris[:1], (ports(443, 443),))


def test_two_protocols_that_do_not_meet_make_no_child() -> None:
    """Each side alone would have something left, and no packet would fit both."""
    paris = (selector_of(PARIS, TCP),)
    pair = IkePair(
        a=peer("a", children=(child(local=paris, remote=(selector_of(BERLIN),)),)),
        b=peer("b", children=(child(local=(ports(53, 53, UDP),), remote=ANY),)),
    )
    pair.start()
    pair.run(5)
    assert "TS_UNACCEPTABLE" in str(pair.events["a"])
    assert not pair.a.child_sas()
    assert not pair.b.child_sas()
