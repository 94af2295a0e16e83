"""Links, addresses and routes against the kernel, with ``ip -j`` as a second reader."""

import errno
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from plutino.dataplane.plane import tag_links
from plutino.model.errors import BatchRefusedError, KernelError
from plutino.model.link import Address, NextHop, Route, RouteType
from plutino.netlink.route_client import RouteClient
from plutino.netlink.route_events import route_event_socket
from tests.support.namespace import fresh_namespace

pytestmark = pytest.mark.root


@pytest.fixture
def client() -> Iterator[RouteClient]:
    """In an empty namespace with one pair of links, left and right."""
    with fresh_namespace(), RouteClient() as one:
        one.create_veth("left", "right")
        one.set_link("left", up=True)
        one.set_link("right", up=True)
        one.set_link("lo", up=True)
        yield one


def ip(*arguments: str) -> list[dict[str, Any]]:
    """What ``ip -j`` shows."""
    done = subprocess.run(["ip", "-j", *arguments], check=True, capture_output=True)
    found: list[dict[str, Any]] = json.loads(done.stdout or b"[]")
    return found


def test_a_link_is_changed_as_told(client: RouteClient) -> None:
    client.set_link("left", mtu=1400, alias="plutino:test", up=False)
    (shown,) = ip("-d", "link", "show", "left")
    assert (shown["mtu"], shown["ifalias"], "UP" in shown["flags"]) == (1400, "plutino:test", False)
    link = client.find_link("left")
    assert link is not None
    assert (link.mtu, link.alias, link.up, link.kind) == (1400, "plutino:test", False, "veth")
    assert client.find_link("nobody") is None


@pytest.mark.parametrize("pairs", [1, 40])
def test_only_new_links_become_ours_however_many_they_are(client: RouteClient, pairs: int) -> None:
    """Whatever bears the tag and is not asked for is deleted later."""
    for number in range(pairs):
        client.create_veth(f"new{number}", f"end{number}")
    names = [f"{end}{number}" for number in range(pairs) for end in ("new", "end")]
    tag_links(client, names, "plutino:test")
    tagged = {link.name for link in client.list_links() if link.alias is not None}
    assert tagged == {*names}
    assert client.indexes_of([*names, "nobody"]).keys() == {*names}


def test_links_rest_and_run_again_by_their_names(client: RouteClient) -> None:
    """One that is not there is told, and keeps no other from it."""

    def states() -> list[str]:
        return [ip("link", "show", name)[0]["operstate"] for name in ("left", "right")]

    for dormant, state in ((True, "DORMANT"), (False, "UP")):
        with pytest.raises(BatchRefusedError) as refused:
            client.set_links_dormant(["left", "nobody", "right"], dormant=dormant)
        assert {place: why.errno for place, why in refused.value.refused.items()} == {
            1: errno.ENODEV
        }
        assert states() == [state, state]
    client.set_links_up(["left"], up=False)
    assert states()[0] == "DOWN"


def test_addresses_of_both_families(client: RouteClient) -> None:
    for text in ("10.255.0.0/31", "fd00:1::1/64"):
        address = Address("left", ip_interface(text))
        client.add_address(address)
        assert address in client.list_addresses()
        shown = [one["local"] for one in ip("address", "show", "left")[0]["addr_info"]]
        assert text.split("/")[0] in shown
        with pytest.raises(KernelError) as refused:
            client.add_address(address)
        assert refused.value.errno == errno.EEXIST
        client.delete_address(address)
        assert address not in client.list_addresses()


@pytest.mark.parametrize("prefix", ["10.2.0.0/16", "0.0.0.0/0", "2001:db8:2::/48", "::/0"])
def test_a_route_and_its_unreachable_twin(client: RouteClient, prefix: str) -> None:
    network = ip_network(prefix)
    route = Route(network, "left", metric=50)
    twin = Route(network, None, RouteType.UNREACHABLE, metric=0xFFFF1234)
    client.add_routes([twin, route])
    assert set(client.list_routes(protocol=134)) == {route, twin}
    shown = ip("-d", f"-{network.version}", "route", "show", "proto", "134")
    assert {(one.get("type"), one["metric"]) for one in shown} == {
        ("unicast", 50),
        ("unreachable", 0xFFFF1234),
    }
    client.delete_route(route)
    assert client.list_routes(protocol=134) == (twin,)
    with pytest.raises(KernelError) as refused:
        client.delete_route(route)
    assert refused.value.errno == errno.ESRCH
    client.delete_route(twin)
    assert client.list_routes(protocol=134) == ()


@pytest.mark.parametrize("prefix", ["10.2.0.0/16", "0.0.0.0/0", "2001:db8:2::/48", "::/0"])
def test_a_route_of_several_ways_is_made_replaced_and_deleted(
    client: RouteClient, prefix: str
) -> None:
    client.create_veth("other", "end")
    client.set_link("other", up=True)
    network = ip_network(prefix)
    gateway = ip_address("fe80::7") if network.version == 6 else None
    both = Route(
        network,
        None,
        metric=50,
        nexthops=(NextHop("left", gateway), NextHop("other", gateway, weight=3)),
    )
    client.add_routes([both])
    assert client.list_routes(protocol=134) == (both,)
    (shown,) = ip(f"-{network.version}", "route", "show", "proto", "134")
    assert [(one["dev"], one["weight"]) for one in shown["nexthops"]] == [("left", 1), ("other", 3)]
    alone = Route(network, "other", metric=50, gateway=gateway)
    equal = replace(both, nexthops=tuple(replace(one, weight=1) for one in both.nexthops))
    for one in (alone, both, equal, alone):
        client.replace_routes([one])
        assert client.list_routes(protocol=134) == (one,)
    with pytest.raises(KernelError):
        client.add_route(both)
    client.replace_routes([both])
    client.delete_routes([both])
    assert client.list_routes(protocol=134) == ()


def test_a_way_that_is_not_there_is_named(client: RouteClient) -> None:
    lacking = Route(ip_network("10.2.0.0/16"), None, nexthops=(NextHop("left"), NextHop("nobody")))
    with pytest.raises(BatchRefusedError, match="nobody"):
        client.add_routes([lacking])


def test_only_the_exact_route_is_deleted(client: RouteClient) -> None:
    theirs = Route(ip_network("10.2.0.0/16"), "left", metric=10, protocol=4)
    client.add_route(theirs)
    with pytest.raises(KernelError):
        client.delete_route(Route(ip_network("10.2.0.0/16"), "left", metric=20))
    with pytest.raises(KernelError):
        client.delete_route(Route(ip_network("10.2.0.0/16"), "right", metric=10, protocol=4))
    assert theirs in client.list_routes()


def test_the_mtu_of_a_path(client: RouteClient) -> None:
    client.add_address(Address("left", ip_interface("192.0.2.1/24")))
    client.set_link("left", mtu=1450)
    peer = ip_address("192.0.2.2")
    assert client.path_mtu(peer) == ("left", 1450)
    assert client.path_mtu(peer, ip_address("192.0.2.1")) == ("left", 1450)
    assert client.path_mtu(peer, ip_address("192.0.2.99")) == ("left", 1450)
    assert client.path_mtu(ip_address("203.0.113.1")) is None
    command = ["ip", "route", "add", "203.0.113.0/24", "dev", "left", "mtu", "1300"]
    subprocess.run(command, check=True)
    assert client.path_mtu(ip_address("203.0.113.1")) == ("left", 1300)


def test_which_addresses_are_this_machines_own(client: RouteClient) -> None:
    client.add_address(Address("left", ip_interface("192.0.2.1/24")))
    client.add_address(Address("lo", ip_interface("2001:db8::1/64")))  # there it is at once
    own = ["192.0.2.1", "2001:db8::1", "127.0.0.1", "127.9.9.9", "::1", "192.0.2.255"]
    others = ["192.0.2.2", "2001:db8::2", "203.0.113.1", "2001:db8:1::1"]
    found = [one for one in own + others if client.is_of_this_machine(ip_address(one))]
    assert found == own
    rule = "ip rule add fwmark 7 lookup 77"
    for command in (rule, "ip route add local 203.0.113.1 dev lo table 77"):
        subprocess.run(command.split(), check=True)
    assert not client.is_of_this_machine(ip_address("203.0.113.1"))
    assert client.is_of_this_machine(ip_address("203.0.113.1"), 7)


def test_events_tell_of_a_route(client: RouteClient) -> None:
    with route_event_socket() as events:
        client.add_route(Route(ip_network("10.2.0.0/16"), "left", metric=50))
        assert events.receive(5)


def test_of_many_routes_the_refused_are_told_by_their_places(client: RouteClient) -> None:
    routes = [Route(ip_network(f"10.{n}.0.0/16"), "left", metric=50) for n in range(5)]
    routes[1] = replace(routes[1], interface="nobody")
    client.add_route(routes[3])
    with pytest.raises(BatchRefusedError) as error:
        client.add_routes(routes)
    told = {place: (why.step, why.errno) for place, why in error.value.refused.items()}
    assert told == {
        1: ("add route 10.1.0.0/16 dev nobody metric 50", errno.ENODEV),
        3: ("add route 10.3.0.0/16 dev left metric 50", errno.EEXIST),
    }


def test_a_link_that_is_not_there_is_named(client: RouteClient) -> None:
    attempts: tuple[Callable[[], None], ...] = (
        lambda: client.delete_link("nobody"),
        lambda: client.set_link("nobody", up=True),
        lambda: client.add_routes([Route(ip_network("10.0.0.0/8"), "nobody")]),
    )
    for attempt in attempts:
        with pytest.raises(KernelError, match="nobody") as refused:
            attempt()
        assert refused.value.errno == errno.ENODEV
