"""plutino with libreswan and a NAT between: whoever is behind it, and when its ports change."""

from functools import partial

import pytest

from plutino.lab.demo import BERLIN, INNER, OUTER, PARIS
from plutino.lab.peers.packages import LIBRESWAN, Peer
from plutino.lab.wire import FrameKind
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.fault_stream import Stream
from tests.support.libreswan_lab import BY_NAME, NAMES, Mixed, connection, mixed_pair
from tests.support.multihomed_lab import run
from tests.support.nat_network import GATEWAY, INSIDE
from tests.support.until import until


def behind(inside: str, lines: str = "") -> str:
    """libreswan's connection, where one of the two is behind the NAT.

    Without the next hop libreswan would look for Paris on the link.
    """
    text = connection(auth=BY_NAME, lines=f"pfs=no\n{lines}")
    if inside == BERLIN:
        return text.replace(f"left={OUTER[4][BERLIN]}", f"left={INSIDE}\n    leftnexthop={GATEWAY}")
    return text


def begin(lab: Mixed) -> None:
    """Who is inside begins; all of ESP is in UDP."""
    if lab.nat.inside is lab.berlin:
        lab.whack("--name", "paris", "--initiate")
    lab.until_it_passes()
    kinds = lab.nat.kinds()
    assert FrameKind.ESP_IN_UDP in kinds
    assert FrameKind.ESP not in kinds


def test_new_ports_of_ours(libreswan: Peer) -> None:
    """4.10 follows with IKE, and with ESP by the next CHILD_SA; 5 only by a new handshake."""
    ours = f"{NAMES}liveness-after = 1\nretransmit-after = 0.2\nretransmit-tries = 2"
    with mixed_pair(libreswan, behind(PARIS), paris=ours, inside=PARIS) as lab:
        begin(lab)
        before = lab.ike_sas()
        lab.nat.give_other_ports()
        if libreswan is LIBRESWAN:
            until(lambda: bool(lab.nat.ports()), "Paris asks whether Berlin lives")
            lab.rekey_child()
        until(lab.passes, "packets pass")
        assert lab.nat.ports()
        assert (lab.ike_sas() == before) == (libreswan is LIBRESWAN)
        lab.tap.catch_up()
        assert lab.tap.marked == 0  # an SA that is given up is no leak: the wire has ICMP errors


def test_new_ports_of_libreswan_are_found(libreswan: Peer) -> None:
    """By its liveness checks, without MOBIKE."""
    ours = f'{NAMES}start = "listen"'
    with mixed_pair(libreswan, behind(BERLIN, "dpddelay=1"), paris=ours, inside=BERLIN) as lab:
        begin(lab)
        before = lab.ike_sas(), lab.children()
        for _ in range(2 if EXHAUSTIVE else 1):
            lab.nat.give_other_ports()
            lab.until_it_passes()
            assert lab.nat.ports()
        assert (lab.ike_sas(), lab.children()) == before


@pytest.mark.parametrize("mobike", ["yes", "no"] if EXHAUSTIVE else ["yes"])
def test_new_ports_are_found_by_esp(libreswan: Peer, mobike: str) -> None:
    """IKE says nothing, and libreswan's packets come by another port."""
    ours = f'{NAMES}start = "listen"'
    theirs = behind(BERLIN, f"mobike={mobike}")
    with mixed_pair(libreswan, theirs, paris=ours, inside=BERLIN) as lab:
        begin(lab)
        with Stream(lab, INNER[PARIS][0], back=True, interval=0.02) as back:
            lab.nat.give_other_ports()
            back.until_it_passes()
            lab.until_it_passes()


@pytest.mark.parametrize("inside", [PARIS, BERLIN] if EXHAUSTIVE else [PARIS])
def test_rekeys_behind_the_nat_lose_nothing(libreswan: Peer, inside: str) -> None:
    """libreswan replaces CHILD_SA and IKE SA; the port stays."""
    ours = NAMES if inside == PARIS else f'{NAMES}start = "listen"'
    with mixed_pair(libreswan, behind(inside), paris=ours, inside=inside) as lab:
        begin(lab)
        with (
            Stream(lab, interval=0.005) as there,
            Stream(lab, INNER[PARIS][0], back=True, interval=0.005) as back,
        ):
            first = there.sent, back.sent
            ports = lab.nat.ports()
            children, ikes = lab.children(), lab.ike_sas()
            lab.rekey_child()
            until(partial(lab.child_renewed, children), "a new CHILD_SA")
            lab.rekey_ike()
            until(partial(lab.ike_renewed, ikes), "a new IKE SA")
            for stream, mark in zip((there, back), first, strict=True):
                assert not {one for one in stream.lost() if one >= mark}
        assert lab.nat.ports() == ports
        lab.assert_nothing_in_clear()


if EXHAUSTIVE:  # the mode, and the NAT, are looked at with strongSwan as well

    def test_transport_mode_of_the_engine(libreswan: Peer) -> None:
        """libreswan is inside; TCP's checksums are those of other addresses (RFC 3948, 3.1.2).

        Where we are, it refuses our selectors, which are of the address that it does not see.
        """
        lines = behind(BERLIN, "type=transport").splitlines(keepends=True)
        skipped = "subnet=", "ipsec-interface"
        theirs = "".join(one for one in lines if not any(word in one for word in skipped))
        ours = f'{NAMES}start = "listen"'
        with mixed_pair(
            libreswan, theirs, paris=ours, inside=BERLIN, plane="userspace", mode="transport"
        ) as lab:
            until(lambda: "ready: " in lab.paris.last_words(), "plutino listens")
            lab.whack("--name", "paris", "--initiate")
            lab.paris.wait_until_up()
            lab.nat.assert_reaches_public()
            assert "mode transport" in run(lab.berlin.namespace, "ip xfrm state")
            before = lab.children()
            lab.rekey_child()
            until(partial(lab.child_renewed, before), "a new CHILD_SA")
            lab.nat.assert_reaches_public()
            lab.assert_nothing_in_clear()
            assert FrameKind.ESP not in lab.nat.kinds()
