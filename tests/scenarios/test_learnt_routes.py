"""Routes that a daemon learns go when it loses the peer: then packets must not go in clear."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from plutino.lab.demo import BERLIN, OUTER
from plutino.lab.traffic import ping
from tests.support.fault_stream import Stream
from tests.support.lab import Pair, running_pair
from tests.support.multihomed_lab import run
from tests.support.until import until

pytestmark = pytest.mark.root

LEARNT = {4: "10.3.0.0/16", 6: "2001:db8:3::/48"}
"""Behind Berlin; no gateway file names it."""
BEHIND = {4: "10.3.0.7", 6: "2001:db8:3::7"}
PROTECTED = {4: ("10.3.0.0/16", "10.0.0.0/8"), 6: ("2001:db8:3::/48", "2001:db8::/33")}
"""As long as what is learnt, and shorter."""


@contextmanager
def learning(plane: str, top: str) -> Iterator[Pair]:
    """Both ends are up, and Paris has a default route by which everything could leave."""
    with running_pair(plane=plane, start=False) as pair:
        run(
            pair.paris.namespace,
            f"ip route add default via {OUTER[4][BERLIN]} dev wire",
            f"ip -6 route add default via {OUTER[6][BERLIN]} dev wire",
        )
        for address in BEHIND.values():
            run(pair.berlin.namespace, f"ip address add {address} dev lo")
        text = re.sub(r"^routes = .*$", "", pair.paris.file.read_text(), flags=re.M)
        pair.paris.file.write_text(f"{top}\n{text}")
        for host in (pair.paris, pair.berlin):
            host.start_daemon()
        for host in (pair.paris, pair.berlin):
            host.wait_until_up()
        yield pair


def learnt(pair: Pair, version: int, verb: str) -> None:
    """As zebra and BIRD do it, with their usual metric."""
    run(
        pair.paris.namespace,
        f"ip -{version} route {verb} {LEARNT[version]} dev ipsec1 proto bgp metric 20",
    )


@pytest.mark.parametrize(
    ("version", "length", "guard"),
    [(4, 0, "on"), (4, 1, "strict"), (6, 0, "strict"), (6, 1, "on")],
)
def test_a_protected_network_is_refused_while_no_route_is_known(
    plane: str, version: int, length: int, guard: str
) -> None:
    top = f'guard = "{guard}"\nprotected = ["{PROTECTED[version][length]}"]'
    with learning(plane, top) as pair:
        learnt(pair, version, "add")
        with Stream(pair, BEHIND[version]) as stream:
            learnt(pair, version, "del")
            refused = stream.refused
            until(lambda: stream.refused > refused + 20, "the sender is told that there is no way")
            learnt(pair, version, "add")
            stream.until_it_passes()
            run(pair.paris.namespace, "ip link del ipsec1")
            until(lambda: "ipsec1" in run(pair.paris.namespace, "ip -br link"), "it is back")
            until(lambda: stream.refused > refused + 40, "the route is not back by itself")
        pair.tap.catch_up()
        assert pair.tap.marked == 0, "in clear"
        assert pair.paris.plutino("down").returncode == 0
        shown = run(pair.paris.namespace, f"ip -{version} route show type unreachable")
        assert "unreachable" not in shown


def test_without_it_packets_follow_the_default_route(plane: str) -> None:
    """What users have to know: what is not named to plutino is not guarded by it."""
    with learning(plane, "") as pair:
        learnt(pair, 4, "add")
        assert ping(pair.paris.namespace, ip_address(BEHIND[4]))[0] == 3
        learnt(pair, 4, "del")
        ping(pair.paris.namespace, ip_address(BEHIND[4]), count=1)
        pair.tap.catch_up()
        assert pair.tap.marked > 0
