"""One external interface for several tunnels: each packet's if_id comes from its route."""

import os
import re
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.lab.demo import BERLIN, INNER, OUTER, PARIS
from plutino.lab.hosts import Host
from plutino.lab.traffic import ping
from plutino.netlink.route_client import RouteClient
from tests.support.lab import Pair, running_pair

pytestmark = pytest.mark.root

SECOND = {PARIS: "10.255.1.0", BERLIN: "10.255.1.1"}


def add_second_tunnel(host: Host, peer: str, interface: str, routes: str) -> None:
    """Between the same hosts, by other keys."""
    host.file.write_text(
        f'''{host.file.read_text()}
[tunnels.second]
interface = "{interface}"
local = "{OUTER[4][host.name]}"
remote = "{OUTER[4][peer]}"
addresses = ["{SECOND[host.name]}/32"]
routes = ["{SECOND[peer]}/32"]
{routes}
static = {{ key-file = "second.keys" }}
'''
    )


@pytest.fixture(scope="module")
def shared(plane: str) -> Iterator[Pair]:
    with running_pair(plane=plane, start=False) as pair:
        for host, keys in zip((pair.paris, pair.berlin), generate_pair(os.urandom), strict=True):
            key_file = host.folder / "second.keys"
            key_file.touch(mode=0o600)
            key_file.write_text(encode_keys(keys, used_at=host.name, peer="second"))
        add_second_tunnel(pair.paris, BERLIN, "ipsec0", "if-id = 77")
        add_second_tunnel(pair.berlin, PARIS, "ipsec2", "")
        text = pair.paris.file.read_text().replace('"ipsec1"', '"ipsec0"')
        # The addresses of an external interface need a route with an if_id, as any other.
        text = re.sub(
            r"addresses = .*\n(routes = \[)",
            rf'addresses = ["{INNER[PARIS][0]}/32", "{INNER[PARIS][1]}/128"]\n'
            rf'\1"{INNER[BERLIN][0]}/32", "{INNER[BERLIN][1]}/128", ',
            text,
            count=1,
        )
        pair.paris.file.write_text(f"{text}\n[interfaces.ipsec0]\nexternal = true\n")
        for host in (pair.paris, pair.berlin):
            host.start_daemon()
        for host in (pair.paris, pair.berlin):
            host.wait_until_up()
        yield pair


def sent(pair: Pair) -> dict[str, int]:
    """Packets that Paris has sent, by tunnel."""
    report = pair.paris.status()
    assert report is not None
    return {
        tunnel.name: sum(sa.packets for sa in tunnel.sas if sa.direction == "out")
        for tunnel in report.tunnels
    }


@pytest.mark.parametrize(
    ("target", "tunnel"),
    [(INNER[BERLIN][0], BERLIN), (INNER[BERLIN][1], BERLIN), (SECOND[BERLIN], "second")],
)
def test_each_route_leads_into_its_tunnel(shared: Pair, target: str, tunnel: str) -> None:
    before = sent(shared)
    assert ping(shared.paris.namespace, ip_address(target))[0] == 3
    after = sent(shared)
    assert {name: after[name] - before[name] for name in after} == {
        **dict.fromkeys(before, 0),
        tunnel: 3,
    }
    shared.assert_nothing_in_clear()


def test_it_is_one_interface_and_a_second_apply_does_nothing(shared: Pair) -> None:
    with shared.paris.namespace.entered(), RouteClient() as routes:
        assert {link.name for link in routes.list_links()} == {"lo", "wire", "ipsec0"}
    report = shared.paris.status()
    assert report is not None
    assert {tunnel.name: tunnel.if_id for tunnel in report.tunnels}["second"] == 77
    assert shared.paris.plutino("apply", shared.paris.file).stdout == "nothing to do\n"


def test_a_route_that_is_taken_away_is_back_with_its_if_id(shared: Pair) -> None:
    with shared.paris.namespace.entered(), RouteClient() as routes:
        ours = [one for one in routes.list_routes(protocol=134) if one.interface == "ipsec0"]
        routes.delete_routes(
            [one for one in ours if str(one.destination) == f"{SECOND[BERLIN]}/32"]
        )
    done = shared.paris.plutino("apply", shared.paris.file)
    assert done.returncode == 0, done.stderr
    assert ping(shared.paris.namespace, ip_address(SECOND[BERLIN]))[0] == 3
