"""The use cases of the README, pasted as they are."""

from ipaddress import ip_address

import pytest

from plutino.lab.traffic import ping
from tests.support.multihomed_lab import multihomed_lab, run
from tests.support.readme_examples import (
    EAST,
    WEST,
    assert_only_esp,
    example,
    put,
    share_keys,
    west_and_east,
)
from tests.support.until import until

pytestmark = pytest.mark.root


def test_the_peers_own_address_is_inside(plane: str) -> None:
    with west_and_east(example("The peer's own address"), plane) as (west, east, tap):
        assert ping(west.namespace, ip_address(EAST))[0] == 3
        assert ping(east.namespace, ip_address(WEST))[0] == 3
        assert_only_esp(tap, 12)
        shown = run(west.namespace, f"ip route get {EAST}")
        assert f"dev ipsec0 table 134340 src {WEST}" in shown


def test_two_providers(plane: str) -> None:
    with multihomed_lab(plane) as lab:
        for name in ("west-east.keys", "west-east-2.keys"):
            share_keys(lab.paris, lab.berlin, name)
        put(lab.paris, example("Two providers"), plane)
        lab.write(
            lab.berlin,
            '[tunnels.west]\ninterface = "ipsec1"\nlocal = "198.51.100.2"\n'
            'remote = "192.0.2.1"\naddresses = ["10.255.0.1/31"]\n'
            'static.key-file = "west-east.keys"\n'
            '[[tunnels.west.standby]]\nremote = "203.0.113.1"\nkey-file = "west-east-2.keys"\n',
        )
        lab.start()
        there = ip_address("10.255.0.1")
        assert ping(lab.paris.namespace, there)[0] == 3
        lab.blackhole("isp1")
        until(lambda: ping(lab.paris.namespace, there, count=1, timeout=0.5)[0] == 1, "it passes")
        assert lab.esp("isp2") >= 2
        lab.assert_nothing_in_clear()
