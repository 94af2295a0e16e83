"""The way in from outside stays open while everything goes into the tunnel."""

import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface

import pytest

from plutino.lab.demo import BERLIN
from plutino.lab.hosts import Host
from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.traffic import ping
from plutino.model.link import Address
from plutino.netlink.route_client import RouteClient
from tests.support.covering_routes import ELSEWHERE, route
from tests.support.ip_command import ip
from tests.support.lab import Pair, running_pair

pytestmark = pytest.mark.root

OFFICE = "172.16.0.9"
DOOR = "203.0.113.65"
"""Paris's address on its second uplink."""


@pytest.fixture
def office() -> Iterator[NetworkNamespace]:
    with NetworkNamespace.create() as namespace:
        yield namespace


@pytest.fixture
def pair(plane: str, office: NetworkNamespace) -> Iterator[Pair]:
    """Paris has a default route by a second uplink, and the office is far behind it."""
    with running_pair(plane=plane, start=False) as pair:
        with pair.paris.namespace.entered(), RouteClient() as routes:
            routes.create_veth("door", "door", peer_namespace=office.fileno())
            routes.set_link("door", up=True)
            routes.add_address(Address("door", ip_interface(f"{DOOR}/26")))
        with office.entered(), RouteClient() as routes:
            routes.set_link("door", up=True)
            routes.add_address(Address("door", ip_interface("203.0.113.66/26")))
            routes.add_address(Address("lo", ip_interface(f"{OFFICE}/32")))
        ip(pair.paris, "route add default via 203.0.113.66 dev door")
        for address in ELSEWHERE.values():
            ip(pair.berlin, f"address add {address} dev lo")
        route(pair.paris, '"0.0.0.0/0"')
        route(pair.berlin, '"10.255.0.0/31"')
        for host in (pair.paris, pair.berlin):
            host.start_daemon()
        for host in (pair.paris, pair.berlin):
            host.wait_until_up()
        yield pair
        pair.assert_nothing_in_clear()


def connects(office: NetworkNamespace, host: Host) -> bool:
    """Whether a connection from the office to the host's outer address comes about."""
    with host.namespace.entered():
        listener = socket.create_server((DOOR, 22))
    with office.entered():
        caller = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with listener, caller:
        caller.settimeout(3)
        caller.bind((OFFICE, 0))
        try:
            caller.connect((DOOR, 22))
        except OSError:
            return False
        return True


def test_who_comes_from_outside_is_answered_outside(pair: Pair, office: NetworkNamespace) -> None:
    assert ping(pair.paris.namespace, ip_address(ELSEWHERE[4]))[0] == 3
    assert connects(office, pair.paris)
    assert ping(office, ip_address(DOOR))[0] == 3
    assert ping(pair.paris.namespace, ip_address(OFFICE), count=1, timeout=0.5)[0] == 0


def nft(host: Host, command: str) -> str:
    with host.namespace.entered():
        done = subprocess.run(
            ["nft", *command.split()], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_table_is_ours_alone_and_goes_with_us(pair: Pair, office: NetworkNamespace) -> None:
    nft(pair.paris, "add table inet others")
    assert pair.paris.plutino("apply", pair.paris.file).stdout == "nothing to do\n"
    nft(pair.paris, "flush chain inet plutino_default outgoing")
    assert pair.paris.plutino("apply", pair.paris.file).returncode == 0
    assert "ct direction reply" in nft(pair.paris, "list chain inet plutino_default outgoing")
    assert connects(office, pair.paris)
    assert pair.paris.plutino("down").returncode == 0
    assert nft(pair.paris, "list tables") == "table inet others\n"


def largest_segment(pair: Pair) -> int:
    """What a connection from behind Paris to Berlin's side may send at once."""
    with pair.berlin.namespace.entered():
        listener = socket.create_server((ELSEWHERE[4], 80))
    with NetworkNamespace.create() as inside:
        with pair.paris.namespace.entered(), RouteClient() as routes:
            routes.create_veth("lan", "lan", peer_namespace=inside.fileno())
            routes.set_link("lan", up=True)
            routes.add_address(Address("lan", ip_interface("10.1.0.1/24")))
        with inside.entered(), RouteClient() as routes:
            routes.set_link("lan", up=True)
            routes.add_address(Address("lan", ip_interface("10.1.0.2/24")))
            subprocess.run(["ip", "route", "add", "default", "via", "10.1.0.1"], check=True)
            caller = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with pair.paris.namespace.entered():
            subprocess.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
        with listener, caller:
            caller.settimeout(5)
            caller.connect((ELSEWHERE[4], 80))
            return caller.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)


def test_segments_of_tcp_fit_the_tunnel(plane: str) -> None:
    with running_pair(plane=plane, start=False) as pair:
        ip(pair.berlin, f"address add {ELSEWHERE[4]} dev lo")
        route(pair.paris, '"0.0.0.0/0"')
        route(pair.berlin, '"10.1.0.0/16"')
        for host in (pair.paris, pair.berlin):
            host.start_daemon()
        for host in (pair.paris, pair.berlin):
            host.wait_until_up()
        report = pair.paris.status()
        assert report is not None
        mtu = next(one.mtu for one in report.tunnels if one.name == BERLIN)
        # Berlin's own segments are bound by its device, those of the hosts behind it by the rule.
        assert largest_segment(pair) <= mtu - 40
