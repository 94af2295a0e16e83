"""Several tunnels to one peer whose keys come by one IKE SA."""

import signal
from ipaddress import ip_address

import pytest

from plutino.control.report import State, TunnelReport
from plutino.lab.demo import BERLIN, OUTER, PARIS
from plutino.lab.hosts import Host
from plutino.lab.traffic import ping
from tests.support.ike_lab import ike_pair, until_it_passes
from tests.support.lab import Pair
from tests.support.until import until

pytestmark = pytest.mark.root

LAB = {PARIS: "10.77.0.0", BERLIN: "10.77.0.1"}


def add_second(host: Host, peer: str) -> None:
    """Another tunnel to the same peer; the first one is for everything, this one fits better."""
    here, there = LAB[host.name], LAB[peer]
    text = f"""{host.file.read_text()}
[tunnels.lab]
interface = "ipsec2"
local = "{OUTER[4][host.name]}"
remote = "{OUTER[4][peer]}"
addresses = ["{here}/31"]
local-ts = ["{here}/32"]
remote-ts = ["{there}/32"]
ike.ike-sa-of = "{peer}"
"""
    host.file.write_text(text)


def tunnels(host: Host) -> dict[str, TunnelReport]:
    report = host.status()
    return {} if report is None else {one.name: one for one in report.tunnels}


def spis(host: Host, name: str) -> set[str]:
    return {sa.spi for sa in tunnels(host)[name].sas}


def ike_spis(host: Host) -> set[str]:
    return {one.ike.initiator_spi for one in tunnels(host).values() if one.ike is not None}


def lab_passes(pair: Pair) -> bool:
    return ping(pair.paris.namespace, ip_address(LAB[BERLIN]), count=1)[0] == 1


def test_each_has_its_own_keys_by_one_ike_sa(plane: str) -> None:
    own = "rekey-after = 10\nrekey-jitter = 0.5"
    with ike_pair(plane, paris=own, start=False) as pair:
        add_second(pair.paris, BERLIN)
        add_second(pair.berlin, PARIS)
        for host in (pair.paris, pair.berlin):
            host.start_daemon()
        until_it_passes(pair)
        until(lambda: lab_passes(pair), "the second one passes")
        until(
            lambda: all(one.state is State.UP for one in tunnels(pair.paris).values()),
            "nothing is left to do",
        )
        assert len(ike_spis(pair.paris)) == 1
        assert ike_spis(pair.paris) == ike_spis(pair.berlin)
        for name in (BERLIN, "lab"):  # of two that both ends began at once one goes
            until(lambda name=name: len(spis(pair.paris, name)) == 2, "each has two SAs")  # type: ignore[misc]
        first, second = spis(pair.paris, BERLIN), spis(pair.paris, "lab")
        assert not first & second
        # One gets new keys, the other one stays; then a new daemon goes on with both.
        until(lambda: not spis(pair.paris, BERLIN) & first, "the first one was rekeyed", seconds=20)
        assert spis(pair.paris, "lab") == second
        assert pair.paris.daemon is not None
        pair.paris.daemon.send_signal(signal.SIGKILL)
        pair.paris.daemon.wait(20)
        pair.paris.start_daemon()
        pair.paris.wait_until_up()
        assert spis(pair.paris, "lab") == second
        assert lab_passes(pair)
        pair.assert_nothing_in_clear()
