"""plutino with libreswan: `leftprotoport`, and a connection for each pair of networks."""

from ipaddress import ip_address

import pytest

from plutino.control.report import State
from plutino.lab.demo import BERLIN, INNER, PARIS
from plutino.lab.hosts import WIRE
from plutino.lab.peers.packages import Peer
from plutino.lab.traffic import ping
from tests.support.libreswan_lab import Mixed, address_interface, connection, mixed_pair
from tests.support.multihomed_lab import run
from tests.support.tcp import connects
from tests.support.until import until

OURS, THEIRS = f"{INNER[PARIS][0]}/32", f"{INNER[BERLIN][0]}/32"


def selecting(text: str) -> str:
    """The gateway file for TCP to some ports of Berlin."""
    kept = [one for one in text.splitlines() if not one.startswith("routes =")]
    at = kept.index(f"[tunnels.{BERLIN}]") + 1
    own = f'local-ts = ["{OURS}[tcp]"]\nremote-ts = ["{THEIRS}[tcp/5000-5003]"]'
    return "\n".join((*kept[:at], own, *kept[at:], ""))


def web_passes(lab: Mixed) -> bool:
    if not lab.is_up() or not lab.children():
        return False
    address_interface(lab.berlin, lab.interface)
    return connects(lab.paris, lab.berlin, 5001)


@pytest.mark.parametrize("who", ["now", "listen"])
def test_ports_are_narrowed_with_libreswan(libreswan: Peer, who: str) -> None:
    """As the one that answers it wants to be asked for just its own, without ``narrowing``."""
    lines = "pfs=no\nnarrowing=yes\nleftprotoport=tcp/5001\nrightprotoport=tcp"
    section = connection(ts=(THEIRS, OURS), lines=lines)
    with mixed_pair(libreswan, section, paris=f'start = "{who}"', edit=selecting) as lab:
        if who == "listen":
            lab.whack("--name", "paris", "--initiate", "--asynchronous")
        until(lambda: web_passes(lab), "port 5001 passes", seconds=60)
        assert [connects(lab.paris, lab.berlin, one) for one in (5000, 5002)] == [False, False]
        before = lab.children()
        lab.rekey_child()
        until(lambda: lab.child_renewed(before), "a new CHILD_SA")
        until(lambda: web_passes(lab), "port 5001 passes")
        lab.assert_nothing_in_clear()


SITES = {PARIS: "10.1.0.1", BERLIN: "10.2.0.1"}


def per_pair(text: str) -> str:
    """The gateway file for two networks of each side, with a CHILD_SA for each pair."""
    kept = [one for one in text.splitlines() if not one.startswith("routes =")]
    at = kept.index(f"[tunnels.{BERLIN}]") + 1
    ours, theirs = (f'"{INNER[name][0]}/32", "{SITES[name]}/32"' for name in (PARIS, BERLIN))
    own = f"local-ts = [{ours}]\nremote-ts = [{theirs}]\nroutes = [{theirs}]"
    return "\n".join((*kept[:at], own, *kept[at:], 'child-sas = "per-pair"', ""))


@pytest.mark.parametrize("who", ["now", "listen"])
def test_each_pair_of_networks_has_a_child_sa(libreswan: Peer, who: str) -> None:
    """libreswan has a connection for each pair of its subnets, and takes just that."""
    theirs, ours = (f"{{{INNER[name][0]}/32,{SITES[name]}/32}}" for name in (BERLIN, PARIS))
    section = connection(ts=(theirs, ours)).replace("subnet=", "subnets=")
    with mixed_pair(
        libreswan, section, paris=f'start = "{who}"', interface="lo", edit=per_pair
    ) as lab:
        for host in (lab.paris, lab.berlin):
            run(host.namespace, f"ip address add {SITES[host.name]}/32 dev lo")
        run(lab.berlin.namespace, f"ip route add {SITES[PARIS]}/32 dev {WIRE}")
        if who == "listen":
            lab.whack("--name", "paris", "--initiate", "--asynchronous")
        until(lambda: len(lab.children()) == 4, "a CHILD_SA for each pair", seconds=60)
        until(lab.is_up, "plutino has them, too")
        assert len(lab.ike_sas()) == 1
        address_interface(lab.berlin, lab.interface)
        for source in (INNER[PARIS][0], SITES[PARIS]):
            for target in (INNER[BERLIN][0], SITES[BERLIN]):
                ends = ip_address(target), ip_address(source)
                answered = ping(lab.paris.namespace, ends[0], count=3, source=ends[1])[0]
                assert answered == 3, ends
        lab.assert_nothing_in_clear()
        report = lab.paris.status()
        assert report is not None
        assert [one.name for one in report.tunnels] == [
            "berlin",
            "berlin#2",
            "berlin#3",
            "berlin#4",
        ]
        assert {one.state for one in report.tunnels} == {State.UP}
