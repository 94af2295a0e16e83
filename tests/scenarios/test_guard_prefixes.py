"""The strict guard where a tunnel's prefix holds the peer, or a network of the host's own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from plutino.lab.demo import BERLIN, OUTER, PARIS
from plutino.lab.traffic import ping
from tests.support.lab import Pair, running_pair
from tests.support.multihomed_lab import run

pytestmark = pytest.mark.root

LONGEST = {4: 32, 6: 128}


def write(pair: Pair, host: str, routes: str, top: str = "") -> None:
    gateway = pair.paris if host == PARIS else pair.berlin
    text = re.sub(r"^routes = .*$", f"routes = [{routes}]", gateway.file.read_text(), flags=re.M)
    gateway.file.write_text(f'guard = "strict"\n{top}{text}')


@contextmanager
def to_each_other(plane: str, version: int) -> Iterator[Pair]:
    """Both peers' own addresses are in the tunnel, and on the same network."""
    with running_pair(version, plane=plane, start=False) as pair:
        for name, peer in ((PARIS, BERLIN), (BERLIN, PARIS)):
            write(pair, name, f'"{OUTER[version][peer]}/{LONGEST[version]}"')
        for host in (pair.paris, pair.berlin):
            host.start_daemon()
        for host in (pair.paris, pair.berlin):
            host.wait_until_up()
        yield pair


def stop(pair: Pair) -> None:
    for host in (pair.paris, pair.berlin):
        assert host.daemon is not None
        host.daemon.kill()
        host.daemon.wait()


@pytest.mark.parametrize("version", [4, 6])
def test_the_peer_is_reached_by_the_tunnel_or_not_at_all(plane: str, version: int) -> None:
    with to_each_other(plane, version) as pair:
        here, peer = pair.paris.namespace, ip_address(OUTER[version][BERLIN])
        assert ping(here, peer)[0] == 3
        # Neighbours are asked again by their own address, which is in the tunnel.
        for address in OUTER[version].values():
            pair.tap.catch_up()
            run(here, "ip neighbour flush dev wire")
            run(pair.berlin.namespace, "ip neighbour flush dev wire")
            assert ping(here, peer)[0] == 3, address
        stop(pair)
        run(here, f"ip -{version} rule flush", f"ip -{version} rule add lookup main")
        assert ping(here, peer, timeout=0.2)[0] == 0
        pair.assert_nothing_in_clear()


@pytest.mark.parametrize("version", [4, 6])
def test_nothing_of_the_peer_is_taken_in_clear(plane: str, version: int) -> None:
    """Berlin has lost its rules and its guard; Paris neither hears it nor answers."""
    with to_each_other(plane, version) as pair:
        stop(pair)
        there = pair.berlin.namespace
        run(
            there,
            "nft flush ruleset",
            f"ip -{version} rule flush",
            f"ip -{version} rule add lookup main",
        )
        assert ping(there, ip_address(OUTER[version][PARIS]), timeout=0.2)[0] == 0
        report = pair.paris.status()
        shown = pair.paris.plutino("status", pair.paris.file).stdout
        assert report is None
        assert "3 x GuardDrop" in shown, shown


def test_a_network_of_ones_own_within_a_prefix_has_to_be_named(plane: str) -> None:
    """10.0.0.0/8 is in the tunnel, and 10.9.0.0/24 is the network behind Paris."""
    with running_pair(plane=plane, start=False) as pair:
        here, there = pair.paris.namespace, pair.berlin.namespace
        run(here, "ip address add 10.9.0.1/24 dev wire")
        run(there, "ip address add 10.9.0.2/24 dev wire", "ip address add 10.2.0.7 dev lo")
        before = run(here, "ip link") + run(here, "nft list ruleset")
        write(pair, PARIS, '"10.0.0.0/8"')
        for command in ("plan", "apply"):
            done = pair.paris.plutino(command, pair.paris.file)
            assert done.returncode == 2, done.stdout
            assert "outside: wire connects to 10.9.0.0/24, which is within 10.0.0.0/8" in (
                done.stderr
            )
            assert 'hint: add "10.9.0.0/24"' in done.stderr
        assert run(here, "ip link") + run(here, "nft list ruleset") == before
        pair.paris.file.write_text(f'outside = ["10.9.0.0/24"]\n{pair.paris.file.read_text()}')
        for host in (pair.paris, pair.berlin):
            host.start_daemon()
        for host in (pair.paris, pair.berlin):
            host.wait_until_up()
        assert ping(here, ip_address("10.9.0.2"))[0] == 3
        assert ping(there, ip_address("10.9.0.1"))[0] == 3
        pair.tap.catch_up()
        before_tunnel = pair.tap.marked
        assert before_tunnel > 0
        assert ping(here, ip_address("10.2.0.7"))[0] == 3
        # One that comes later is told, and stays cut off.
        run(here, "ip address add 10.8.0.1/24 dev wire")
        run(there, "ip address add 10.8.0.2/24 dev wire")
        assert ping(here, ip_address("10.8.0.2"), timeout=0.2)[0] == 0
        pair.tap.catch_up()
        assert pair.tap.marked == before_tunnel
        done = pair.paris.plutino("apply", pair.paris.file)
        assert done.returncode == 3
        assert "outside: wire connects to 10.8.0.0/24" in done.stdout + done.stderr
