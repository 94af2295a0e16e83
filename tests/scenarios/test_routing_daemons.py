"""FRR and BIRD over tunnels: BGP with BFD and OSPF between three gateways in a row."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address

import pytest

from plutino.lab.traffic import ping
from tests.support.chain_lab import AS, SITES, Chain, announced, chain, inner
from tests.support.guest import skip_loudly
from tests.support.multihomed_lab import run
from tests.support.routing_daemons import Bird, Frr, why_no_routing_daemons
from tests.support.until import until

pytestmark = pytest.mark.root

PROGRAM = {"paris": "frr", "berlin": "bird", "rome": "frr"}


@pytest.fixture
def net(plane: str) -> Iterator[Chain]:
    if (why := why_no_routing_daemons()) is not None:
        skip_loudly(why)
    with chain(plane) as made:
        yield made


def exported(net: Chain, site: str, program: str, *options: str) -> str:
    """What `plutino export` writes for a site."""
    host = net.sites[site]
    announce = [word for one in announced(site) for word in ("--announce", one)]
    done = host.plutino("export", program, host.file, *announce, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def start(net: Chain, *options: str, more: str = "", programs: Mapping[str, str] = PROGRAM) -> None:
    """The daemons of all sites with what was exported, and ``more`` for FRR; BGP by default."""
    for site in SITES:
        chosen = options or ("--as", str(AS[site]))
        text = exported(net, site, programs[site], *chosen)
        net.daemons[site] = (
            Frr(net.sites[site], text + more)
            if programs[site] == "frr"
            else Bird(net.sites[site], text)
        )


def reaches(net: Chain, version: int, count: int = 1) -> bool:
    """Whether a packet comes from behind Paris to behind Rome and back."""
    source, target = (ip_address(inner(site, version)) for site in ("paris", "rome"))
    here = net.sites["paris"].namespace
    return ping(here, target, count=count, timeout=0.5, source=source)[0] == count


def converged(net: Chain) -> None:
    until(lambda: reaches(net, 4) and reaches(net, 6), "both IP versions are routed", seconds=60)


def sessions(net: Chain) -> dict[str, bool]:
    """All BGP sessions, by site and peer."""
    return {
        f"{site} {peer}": up
        for site, daemon in net.daemons.items()
        for peer, up in daemon.established().items()
    }


def bfd_sessions(net: Chain) -> dict[str, bool]:
    """All BFD sessions, by site and peer."""
    return {
        f"{site} {peer}": up
        for site, daemon in net.daemons.items()
        for peer, up in daemon.bfd().items()
    }


def all_up(net: Chain) -> bool:
    """Each BGP session and the BFD session beside it: four tunnel ends, two versions."""
    bgp, bfd = sessions(net), bfd_sessions(net)
    return len(bgp) == len(bfd) == 8 and all(bgp.values()) and all(bfd.values())


def rekey(net: Chain) -> None:
    for pair in ("berlin-paris", "berlin-rome"):
        net.share_keys(pair)
    for host in net.sites.values():
        assert host.daemon is not None
        host.daemon.send_signal(signal.SIGHUP)


def kill_daemon(net: Chain) -> None:
    host = net.sites["berlin"]
    assert host.daemon is not None
    host.daemon.kill()
    host.daemon.wait()
    host.start_daemon()
    host.wait_until_up()


def kill_engine(net: Chain) -> None:
    report = net.sites["berlin"].status()
    assert report is not None
    if report.engine is not None:
        os.kill(report.engine.pid, signal.SIGKILL)


def change_uplink(net: Chain) -> None:
    net.blackhole("p1")
    until(
        lambda: (
            (report := net.sites["paris"].status()) is not None and report.tunnels[0].uplink == "p2"
        ),
        "the other uplink carries it",
    )


@pytest.mark.parametrize(
    "event", [rekey, kill_daemon, change_uplink, kill_engine], ids=lambda one: one.__name__
)
def test_bgp_goes_on(net: Chain, event: Callable[[Chain], None]) -> None:
    start(net)
    until(lambda: all_up(net), "all are up", seconds=60)
    converged(net)
    event(net)
    until(
        lambda: all(sessions(net).values()) and reaches(net, 4) and reaches(net, 6),
        "all sessions are up and packets pass",
        seconds=60,
    )
    net.assert_nothing_in_clear()


def test_bfd_tells_bgp_at_once_that_a_peer_is_gone(net: Chain) -> None:
    """Rome's BFD falls silent, while its BGP would be believed for another three minutes."""
    start(net)
    until(lambda: all_up(net), "all are up", seconds=60)
    rome = net.daemons["rome"]
    assert isinstance(rome, Frr)
    rome.signal("bfdd", signal.SIGSTOP)
    try:
        berlin = net.daemons["berlin"]
        until(
            lambda: not any(berlin.established()[peer] for peer in ("10.255.0.3", "fd00:ff::3")),
            "Berlin has ended its sessions with Rome",
        )
        assert all(berlin.established()[peer] for peer in ("10.255.0.0", "fd00:ff::"))
    finally:
        rome.signal("bfdd", signal.SIGCONT)
    until(lambda: all_up(net), "all are up again", seconds=60)


def test_babel_learns_and_sees_a_tunnel_rest(net: Chain) -> None:
    start(net, "--babel", programs=dict.fromkeys(SITES, "bird"))
    converged(net)
    here = net.sites["paris"].namespace
    for link in ("p1", "p2"):
        net.blackhole(link)
    until(
        # Babel holds the name of what it has lost for a while, as unreachable.
        lambda: "ipsec1" not in run(here, f"ip route show {inner('rome', 4)}"),
        "routes by way of the tunnel are gone",
    )
    net.assert_nothing_in_clear()


OSPF_OF_LOOPBACK = """\
interface lo
 ipv6 ospf6 area 0.0.0.0
 ipv6 ospf6 passive
exit
"""


def test_ospf_learns_and_sees_a_tunnel_rest(net: Chain) -> None:
    """Version 2 learns Berlin's network, version 3 also Rome's by way of Berlin."""
    start(net, "--area", "0", more=OSPF_OF_LOOPBACK)
    here = net.sites["paris"].namespace
    berlin = inner("berlin", 4)

    def learnt() -> bool:
        return ping(here, ip_address(berlin), count=1, timeout=0.5)[0] == 1 and reaches(net, 6)

    until(learnt, "both versions have learnt", seconds=60)
    for link in ("p1", "p2"):
        net.blackhole(link)
    until(
        lambda: berlin not in run(here, "ip route show"),
        "routes by way of the tunnel are gone at once, not after the dead interval",
        seconds=20,
    )
    net.mend("p2")
    until(learnt, "they are back", seconds=60)
    net.assert_nothing_in_clear()
