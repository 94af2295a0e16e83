"""The strict guard and hosts behind a gateway: what they send, and what claims to come to them."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from plutino.lab.demo import BERLIN, OUTER, PARIS
from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.traffic import ping
from plutino.netlink.route_client import RouteClient
from tests.support.lab import Pair, running_pair
from tests.support.multihomed_lab import NO_DAD, run
from tests.support.until import until

pytestmark = pytest.mark.root

HERE = {4: ("10.1.0.1", "10.1.0.9"), 6: ("2001:db8:1::1", "2001:db8:1::9")}
"""Paris and the host behind it."""
THERE = {4: "10.2.0.7", 6: "2001:db8:2::7"}
"""Behind Berlin."""
LENGTH = {4: 24, 6: 64}


@contextmanager
def with_a_host_behind(plane: str, guard: str) -> Iterator[tuple[Pair, NetworkNamespace]]:
    with running_pair(plane=plane, start=False) as pair, NetworkNamespace.create() as host:
        paris, berlin = pair.paris.namespace, pair.berlin.namespace
        for space in (paris, host):
            run(space, NO_DAD)
        with paris.entered(), RouteClient() as routes:
            routes.create_veth("lan", "eth0", peer_namespace=host.fileno())
        for space, device, place in ((paris, "lan", 0), (host, "eth0", 1)):
            run(space, f"ip link set {device} up", "ip link set lo up")
            for version, addresses in HERE.items():
                where = f"{addresses[place]}/{LENGTH[version]}"
                run(space, f"ip address add {where} dev {device}" + " nodad" * (version == 6))
        for version, (gateway, _) in HERE.items():
            run(host, f"ip -{version} route add default via {gateway}")
            run(paris, f"ip -{version} route add default via {OUTER[version][BERLIN]} dev wire")
            run(berlin, f"ip address add {THERE[version]} dev lo")
        run(paris, "sysctl -qw net.ipv4.ip_forward=1", "sysctl -qw net.ipv6.conf.all.forwarding=1")
        pair.paris.file.write_text(f'guard = "{guard}"\n{pair.paris.file.read_text()}')
        for one in (pair.paris, pair.berlin):
            one.start_daemon()
        for one in (pair.paris, pair.berlin):
            one.wait_until_up()
        yield pair, host


def flush_everything(pair: Pair) -> None:
    """Nobody is there to heal it, and every route but ours is there again."""
    assert pair.paris.daemon is not None
    pair.paris.daemon.kill()
    pair.paris.daemon.wait()
    here = pair.paris.namespace
    for version in (4, 6):
        run(
            here,
            f"ip -{version} route flush proto 134",
            f"ip -{version} route flush dev ipsec1",
        )


@pytest.mark.parametrize(("guard", "leaks"), [("on", True), ("strict", False)])
def test_what_hosts_behind_send(plane: str, guard: str, leaks: bool) -> None:
    with with_a_host_behind(plane, guard) as (pair, host):
        for address in THERE.values():
            assert ping(host, ip_address(address))[0] == 3
        pair.tap.catch_up()
        assert pair.tap.marked == 0
        flush_everything(pair)
        for address in THERE.values():
            ping(host, ip_address(address), timeout=0.2)
        pair.tap.catch_up()
        assert (pair.tap.marked > 0) is leaks


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("guard", "passes"), [("on", True), ("strict", False)])
def test_what_claims_to_come_from_behind_the_tunnel(
    plane: str, guard: str, passes: bool, version: int
) -> None:
    """Berlin sends it in clear, over the wire."""
    with with_a_host_behind(plane, guard) as (pair, host):
        address = HERE[version][1]
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        run(
            pair.berlin.namespace,
            f"ip -{version} rule add to {address} lookup 99 priority 9",
            f"ip -{version} route add default via {OUTER[version][PARIS]} table 99",
        )
        with host.entered():
            hearer = socket.socket(family, socket.SOCK_DGRAM)
            hearer.bind((address, 7))
        with pair.berlin.namespace.entered():
            sender = socket.socket(family, socket.SOCK_DGRAM)
            sender.bind((THERE[version], 0))
        with hearer, sender:
            hearer.settimeout(5 if passes else 0.1)
            sender.sendto(b"from behind", (address, 7))
            if passes:
                assert hearer.recv(64) == b"from behind"
            else:
                until(lambda: pair.drops(pair.paris).get("GuardDrop") == 1, "it is counted")
                with pytest.raises(TimeoutError):
                    hearer.recv(64)
