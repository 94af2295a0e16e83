"""Protocols and ports of both ends: what is left of them is one CHILD_SA for all of it, or none."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from plutino.ike.config import ChildConfig, Lifetimes
from plutino.ike.errors import PeerError
from plutino.ike.exchanges import auth, create_child
from plutino.ike.narrowing import selector_of
from plutino.ike.numbers import NotifyType
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
    offered = f"{PARIS}[tcp]", str(BERLIN)
    assert f"TS_UNACCEPTABLE, of {' - '.join(offered)}" in str(pair.events["a"])
    assert f"offered {' - '.join(reversed(offered))}; " in str(pair.events["b"])
    assert f"allowed {BERLIN}[udp/53] - 0.0.0.0/0, ::/0" in str(pair.events["b"])
    assert not pair.a.child_sas()
    assert not pair.b.child_sas()


LAB = ip_network("10.3.0.0/16")
BOTH = (selector_of(BERLIN), selector_of(LAB))


def by_pairs() -> tuple[ChildConfig, ...]:
    """Of b, which has a CHILD_SA for each of its networks."""
    return (child("first", local=BOTH[:1]), child("second", local=BOTH[1:]))


def test_who_has_a_child_for_each_pair_says_that_there_are_more() -> None:
    """RFC 7296, 2.9: and who asked for all of them at once tells its log what would help."""
    pair = IkePair(a=peer("a", children=(child(remote=BOTH),)), b=peer("b", children=by_pairs()))
    pair.establish()
    (answer,) = (one for one in pair.trace if one.startswith("b> IKE_AUTH"))
    assert "N(ADDITIONAL_TS_POSSIBLE)" in answer
    assert pair.current("a")[0].child.remote == BOTH[:1]
    assert 'child-sas = "per-pair"' in str(pair.events["a"])


def test_children_for_each_pair_cover_them_all_and_say_nothing() -> None:
    children = (child("first", remote=BOTH[:1]), child("second", remote=BOTH[1:]))
    pair = IkePair(a=peer("a", children=children), b=peer("b", children=by_pairs()))
    pair.start(children=("first", "second"))
    assert pair.run(10, lambda: len(pair.current("a")) == 2)
    assert {one.child.remote for one in pair.current("a")} == {BOTH[:1], BOTH[1:]}
    assert "ADDITIONAL_TS_POSSIBLE" not in str(pair.trace)
    assert len(pair.a.sessions) == 1
    assert pair.agree()


def test_a_later_child_says_that_there_are_more_too() -> None:
    """Which the first one could not, as it had its own counterpart."""
    lab = child("lab", remote=BOTH[1:])
    children = (child("all", remote=BOTH, local=(selector_of(PARIS),)), lab)
    pair = IkePair(a=peer("a", children=children), b=peer("b", children=by_pairs()))
    pair.start(children=("lab", "all"))
    assert pair.run(10, lambda: len(pair.current("a")) == 2)
    said = [one for one in pair.trace if one.startswith("b> ") and "SA," in one]
    assert ["N(ADDITIONAL_TS_POSSIBLE)" in one for one in said if "TSi" in one] == [False, True]


def test_who_has_one_child_for_what_the_peer_has_several_tells_its_log() -> None:
    children = (child("first", remote=BOTH[:1]), child("second", remote=BOTH[1:]))
    pair = IkePair(a=peer("a", children=children), b=peer("b", children=(child(local=BOTH),)))
    pair.start(children=("first", "second"))
    assert pair.run(10, lambda: len(pair.current("a")) == 2)
    assert "the peer has several CHILD_SAs" in str(pair.events["b"])
    quiet = IkePair()
    quiet.establish()
    assert "several" not in str(quiet.events["b"])


def test_single_pair_required_says_what_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    class SinglePairRequiredError(PeerError):
        notify = NotifyType.SINGLE_PAIR_REQUIRED

    def refuse(*_arguments: object, **_more: object) -> None:
        raise SinglePairRequiredError("one pair in a CHILD_SA")

    for module in (auth, create_child):
        monkeypatch.setattr(module, "answer_offer", refuse)
    pair = IkePair(a=peer("a", children=(child(remote=BOTH),)))
    pair.start()
    pair.run(3)
    assert "SINGLE_PAIR_REQUIRED" in str(pair.events["a"])
    assert 'child-sas = "per-pair"' in str(pair.events["a"])
