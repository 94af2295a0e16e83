"""plutino with strongSwan and a NAT between: whoever is behind it, and when its ports change."""

import re
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from plutino.lab.demo import BERLIN, INNER, PARIS
from plutino.lab.hosts import Host
from plutino.lab.peers.packages import Peer
from plutino.lab.traffic import ping
from plutino.lab.wire import FrameKind
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.fault_stream import Stream, state_of
from tests.support.nat_network import INSIDE
from tests.support.strongswan_lab import PLANE, TS, Mixed, mixed_pair, swanctl_conf
from tests.support.until import until

NAMES = 'local-id = "paris.example"\nremote-id = "berlin.example"'


def conf(inside: str, *, connection: str = "", child: str = "", ts: tuple[str, str] = TS) -> str:
    """strongSwan's connection, where one of the two is behind the NAT."""
    text = swanctl_conf(4, ts=ts, connection=connection, child=child)
    text = text.replace("id = 192.0.2.2\n", "id = berlin.example\n")
    text = text.replace("id = 192.0.2.1\n", "id = paris.example\n")
    return text.replace("192.0.2.2", INSIDE) if inside == BERLIN else text


def begin(lab: Mixed) -> None:
    """Who is inside begins; nothing is asked to pass before Paris has its interface."""
    if lab.nat.inside is lab.berlin:
        until(lambda: state_of(lab.paris) is not None, "plutino listens")
        lab.swanctl("--initiate", "--child", "net")
    lab.paris.wait_until_up()
    until_it_passes(lab, lab.nat.public)
    until_it_passes(lab, lab.nat.inside)


def until_it_passes(lab: Mixed, host: Host) -> None:
    """What the host asks of the other is answered, by both versions, in UDP alone."""
    other = BERLIN if host is lab.paris else PARIS

    def passes() -> bool:
        targets = map(ip_address, INNER[other])
        return all(ping(host.namespace, one, count=1, timeout=0.3)[0] for one in targets)

    try:
        until(passes, "packets pass")
    except AssertionError as error:
        words = f"{error}\n{lab.paris.last_words()}\n{lab.strongswan.log()[-6000:]}"
        raise AssertionError(words) from None
    lab.assert_nothing_in_clear()
    kinds = lab.nat.kinds()
    assert FrameKind.ESP_IN_UDP in kinds
    assert FrameKind.ESP not in kinds


EITHER = [(PARIS, "yes"), (BERLIN, "no")]
if EXHAUSTIVE:
    EITHER += [(PARIS, "no"), (BERLIN, "yes")]


def checks(lab: Mixed) -> int:
    """How often strongSwan was told what it looks like from outside."""
    return len(re.findall(r"INFORMATIONAL response \d+ \[ N\(NATD", lab.strongswan.log()))


@pytest.mark.parametrize(("inside", "mobike"), EITHER)
def test_new_ports_are_found_by_ike(strongswan: Peer, inside: str, mobike: str) -> None:
    """Who is inside asks whether the other lives, and so the other finds it."""
    ours = f"{NAMES}\nmobike = {'true' if mobike == 'yes' else 'false'}\n"
    ours += "liveness-after = 1" if inside == PARIS else 'start = "listen"'
    theirs = f"mobike = {mobike}"
    if inside == BERLIN:
        theirs += "\n  dpd_delay = 1s"
    with mixed_pair(
        strongswan, PLANE, conf(inside, connection=theirs), inside=inside, paris=ours
    ) as lab:
        begin(lab)
        before = lab.ike_sas()
        for _ in range(2 if EXHAUSTIVE else 1):
            if (inside, mobike) == (BERLIN, "yes"):
                until(lambda: checks(lab) > 0, "strongSwan knows what it looks like")
            lab.nat.give_other_ports()
            until_it_passes(lab, lab.nat.public)
            assert lab.nat.ports()
        assert lab.ike_sas() == before


@pytest.mark.parametrize("mobike", ["yes", "no"] if EXHAUSTIVE else ["yes"])
def test_new_ports_are_found_by_esp(strongswan: Peer, mobike: str) -> None:
    """IKE says nothing for a long time, and strongSwan's packets come by another port."""
    ours = f'{NAMES}\nmobike = {"true" if mobike == "yes" else "false"}\nstart = "listen"'
    theirs = conf(BERLIN, connection=f"mobike = {mobike}")
    with mixed_pair(strongswan, PLANE, theirs, inside=BERLIN, paris=ours) as lab:
        begin(lab)
        before = lab.ike_sas(), lab.spis()
        said = checks(lab)
        lab.nat.give_other_ports()
        until_it_passes(lab, lab.berlin)
        until_it_passes(lab, lab.paris)
        assert (lab.ike_sas(), lab.spis()) == before
        assert checks(lab) == said


def keepalive(text: str) -> str:
    """The gateway file with one after a second."""
    return text.replace("mode =", "nat-keepalive = 1\nmode =")


def test_the_mapping_is_kept(strongswan: Peer) -> None:
    """Keepalives of the ESP's, and those of strongSwan, which are nothing to plutino."""
    with mixed_pair(
        strongswan,
        PLANE,
        conf(PARIS),
        inside=PARIS,
        paris=NAMES,
        encapsulation="udp",
        edit=keepalive,
    ) as lab:
        begin(lab)
        lab.nat.frames.clear()
        until(lambda: FrameKind.KEEPALIVE in lab.nat.kinds(), "a keepalive")
        until_it_passes(lab, lab.nat.public)


if EXHAUSTIVE:  # it takes its time

    @pytest.mark.parametrize("inside", [PARIS, BERLIN])
    def test_ike_keeps_the_mapping(strongswan: Peer, inside: str) -> None:
        """By itself, after twenty seconds of silence at plutino's end."""
        ours = NAMES if inside == PARIS else f'{NAMES}\nstart = "listen"'
        with mixed_pair(
            strongswan, PLANE, conf(inside), inside=inside, paris=ours, options="keep_alive = 2s"
        ) as lab:
            begin(lab)
            lab.nat.frames.clear()
            until(lambda: FrameKind.KEEPALIVE in lab.nat.kinds(), "a keepalive", seconds=30)
            until_it_passes(lab, lab.nat.public)


if PLANE == "kernel":  # charon's own ESP has no transport mode

    @pytest.mark.parametrize("inside", [PARIS, BERLIN])
    def test_transport_mode_of_the_engine(strongswan: Peer, inside: str) -> None:
        """Of whom one is inside; TCP's checksums are those of other addresses (RFC 3948, 3.1.2)."""
        theirs = conf(inside, child="mode = transport", ts=("dynamic", "dynamic"))
        theirs = re.sub(r"if_id_\w+ = \d+\n", "", theirs)
        ours = NAMES if inside == PARIS else f'{NAMES}\nstart = "listen"'
        with mixed_pair(
            strongswan,
            "userspace",
            theirs,
            inside=inside,
            paris=ours,
            mode="transport",
            in_kernel=True,
        ) as lab:
            if inside == BERLIN:
                until(lambda: state_of(lab.paris) is not None, "plutino listens")
                lab.swanctl("--initiate", "--child", "net")
            lab.paris.wait_until_up()

            def assert_passes() -> None:
                lab.nat.assert_reaches_public()
                assert "TRANSPORT" in lab.swanctl("--list-sas")

            assert_passes()
            before = lab.spis()
            lab.swanctl("--rekey", "--child", "net")
            until(lambda: lab.renewed(before), "a new CHILD_SA")
            assert_passes()
            lab.assert_nothing_in_clear()
            assert FrameKind.ESP not in lab.nat.kinds()


def test_rekeys_behind_the_nat_lose_nothing(strongswan: Peer) -> None:
    """strongSwan replaces CHILD_SA and IKE SA; the port stays."""
    with ExitStack() as stack:
        lab = stack.enter_context(
            mixed_pair(strongswan, PLANE, conf(PARIS), inside=PARIS, paris=NAMES)
        )
        begin(lab)
        there = stack.enter_context(Stream(lab, interval=0.005))
        back = stack.enter_context(Stream(lab, INNER[PARIS][0], back=True, interval=0.005))
        first = there.sent, back.sent
        ports = lab.nat.ports()
        children, ikes = lab.spis(), lab.ike_sas()
        lab.swanctl("--rekey", "--child", "net")
        until(lambda: not lab.spis() & children, "a new CHILD_SA")
        lab.swanctl("--rekey", "--ike", "paris")
        until(lambda: len(lab.ike_sas()) == 1 and lab.ike_sas() != ikes, "a new IKE SA")
        for stream, mark in zip((there, back), first, strict=True):
            assert not {one for one in stream.lost() if one >= mark}
        assert lab.nat.ports() == ports
        lab.assert_nothing_in_clear()
