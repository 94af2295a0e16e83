"""iproute2 and plutino's codec by way of a kernel: what one makes, the other reads as it was meant.

``test_iproute2_apply.py`` does the same to whole gateways.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from plutino.model.algorithms import ESP_SUITES
from plutino.model.interface import Interface
from plutino.model.link import Route, RouteType
from plutino.model.numbers import IfId, Mark, ReqId, Spi
from plutino.model.policy import (
    Action,
    Default,
    Direction,
    Mode,
    Policy,
    PolicyDefaults,
    Selector,
    Template,
)
from plutino.model.sa import (
    Lifetime,
    ReplayState,
    SaDirection,
    SecurityAssociation,
    UdpEncapsulation,
)
from plutino.model.secret import Secret
from plutino.netlink.route_client import RouteClient
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.netlink.xfrm_client import XfrmClient
from tests.support.iproute2 import (
    blocks,
    defaults_text,
    ip,
    policy_command,
    policy_text,
    sa_command,
    sa_text,
)
from tests.support.namespace import fresh_namespace

pytestmark = pytest.mark.guest

KEYMAT = bytes(range(1, 255))
V4, V6 = ip_network("10.1.0.1/32"), ip_network("2001:db8:1::1/128")
PEER_V4, PEER_V6 = ip_network("10.2.0.1/32"), ip_network("2001:db8:2::1/128")


def keys_of(name: str) -> Any:
    suite = ESP_SUITES[name]
    return suite.keys(Secret(KEYMAT[: suite.keymat_size]))


SA = SecurityAssociation(
    spi=Spi(0xC0000001),
    source=ip_address("192.0.2.1"),
    destination=ip_address("198.51.100.2"),
    reqid=ReqId(0x70000007),
    if_id=IfId(5),
    keys=keys_of("aes256gcm16"),
    direction=SaDirection.IN,
    replay=ReplayState(window=64),
)
OVER_V6 = replace(SA, source=ip_address("2001:db8::1"), destination=ip_address("2001:db8::2"))
OUTBOUND = replace(SA, direction=SaDirection.OUT, replay=ReplayState())
SAS = {
    **{name: replace(SA, keys=keys_of(name)) for name in ESP_SUITES},
    "over IPv6": OVER_V6,
    "transport": replace(SA, mode=Mode.TRANSPORT),
    "transport over IPv6": replace(OVER_V6, mode=Mode.TRANSPORT),
    "BEET 4 in 4": replace(SA, mode=Mode.BEET, selector=Selector(V4, PEER_V4)),
    "BEET 6 in 4": replace(SA, mode=Mode.BEET, selector=Selector(V6, PEER_V6)),
    "BEET 4 in 6": replace(OVER_V6, mode=Mode.BEET, selector=Selector(V4, PEER_V4)),
    "BEET 6 in 6": replace(OVER_V6, mode=Mode.BEET, selector=Selector(V6, PEER_V6)),
    "tunnel with selector": replace(
        SA, selector=Selector(ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16"), 17)
    ),
    "UDP": replace(SA, encapsulation=UdpEncapsulation()),
    "UDP, other ports": replace(SA, encapsulation=UdpEncapsulation(4500, 1024)),
    "UDP over IPv6": replace(OVER_V6, encapsulation=UdpEncapsulation()),
    "mark": replace(SA, mark=Mark(0x10, 0xFF)),
    "mark, all bits": replace(SA, mark=Mark(0xFFFFFFFE)),
    "output mark": replace(SA, output_mark=Mark(0x1234)),
    "output mark with mask": replace(SA, output_mark=Mark(0xFF0000, 0xFF0000)),
    "both marks": replace(SA, mark=Mark(1), output_mark=Mark(0x20, 0xF0)),
    "no if_id": replace(SA, if_id=IfId(0)),
    "largest if_id": replace(SA, if_id=IfId(0xFFFFFFFF)),
    **{f"window of {one}": replace(SA, replay=ReplayState(window=one)) for one in (1, 33, 4096)},
    "window without ESN": replace(SA, esn=False, replay=ReplayState(window=128)),
    "numbers beyond 32 bits": replace(SA, replay=ReplayState(seq=(2 << 32) + 9, window=64)),
    "lifetimes": replace(SA, lifetime=Lifetime(1 << 40, (1 << 40) + 1, 10, 20, 3600, 7200)),
    "hard lifetime alone": replace(SA, lifetime=Lifetime(hard_packets=1 << 33)),
}
OURS_ALONE = {
    "outbound": OUTBOUND,
    "outbound that has sent": replace(OUTBOUND, replay=ReplayState(oseq=1 << 32)),
    "outbound without ESN": replace(OUTBOUND, esn=False),
    "NAT keepalive": replace(OUTBOUND, encapsulation=UdpEncapsulation(), nat_keepalive=20),
}
"""What this iproute2 has no words for."""

TEMPLATE = Template(SA.source, SA.destination, SA.reqid)
POLICY = Policy(
    direction=Direction.OUT,
    selector=Selector(ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16")),
    if_id=IfId(5),
    templates=(TEMPLATE,),
    priority=1000,
)
POLICIES = {
    **{f"dir {one.name.lower()}": replace(POLICY, direction=one) for one in Direction},
    "everything": replace(
        POLICY, selector=Selector(ip_network("0.0.0.0/0"), ip_network("0.0.0.0/0"))
    ),
    "IPv6": replace(POLICY, selector=Selector(V6, PEER_V6)),
    "everything of IPv6": replace(
        POLICY, selector=Selector(ip_network("::/0"), ip_network("::/0"))
    ),
    "over IPv6": replace(
        POLICY, templates=(Template(OVER_V6.source, OVER_V6.destination, SA.reqid),)
    ),
    "mark": replace(POLICY, mark=Mark(0x10, 0xF0)),
    "mark, all bits": replace(POLICY, mark=Mark(0x10)),
    "no if_id": replace(POLICY, if_id=IfId(0)),
    "largest if_id": replace(POLICY, if_id=IfId(0xFFFFFFFF), priority=0),
    "block": replace(POLICY, action=Action.BLOCK, templates=()),
    "no template": replace(POLICY, templates=()),
    "transport": replace(POLICY, templates=(replace(TEMPLATE, mode=Mode.TRANSPORT),)),
    "BEET": replace(POLICY, templates=(replace(TEMPLATE, mode=Mode.BEET),)),
    "SPI": replace(POLICY, templates=(replace(TEMPLATE, spi=SA.spi),)),
    "optional": replace(
        POLICY, direction=Direction.IN, templates=(replace(TEMPLATE, optional=True),)
    ),
    "nested": replace(
        POLICY,
        templates=(
            replace(TEMPLATE, reqid=ReqId(1)),
            replace(TEMPLATE, reqid=ReqId(2), mode=Mode.TRANSPORT),
        ),
    ),
    "one port": replace(
        POLICY,
        selector=replace(
            POLICY.selector, protocol=6, destination_port=443, destination_port_mask=0xFFFF
        ),
    ),
    "both ports": replace(
        POLICY,
        selector=Selector(
            V4,
            PEER_V4,
            protocol=17,
            source_port=1701,
            source_port_mask=0xFFFF,
            destination_port=1702,
            destination_port_mask=0xFFFF,
        ),
    ),
}


@pytest.fixture
def xfrm() -> Iterator[XfrmClient]:
    """Of an empty namespace, which the test is in."""
    with fresh_namespace(), NetlinkSocket.kernel(NETLINK_XFRM) as socket:
        yield XfrmClient(socket)


@pytest.fixture
def routes() -> Iterator[RouteClient]:
    """Of an empty namespace, which the test is in, but for its loopback device."""
    with fresh_namespace(), RouteClient() as client:
        yield client


@pytest.mark.parametrize("name", [*SAS, *OURS_ALONE])
def test_ip_shows_our_sa(xfrm: XfrmClient, name: str) -> None:
    sa = (SAS | OURS_ALONE)[name]
    xfrm.add_sa(sa)
    assert blocks(ip("-s -d xfrm state")) == [sa_text(sa)]
    assert blocks(ip("-d xfrm state")) == [sa_text(sa, statistics=False)]
    assert [one for one, _use in xfrm.list_sas()] == [sa]
    xfrm.delete_sa(sa)
    assert ip("xfrm state") == ""


@pytest.mark.parametrize("name", SAS)
def test_an_sa_of_ip_is_read(xfrm: XfrmClient, name: str) -> None:
    sa = SAS[name]
    ip(sa_command(sa))
    assert [one for one, _use in xfrm.list_sas()] == [sa]
    xfrm.delete_sa(sa)
    assert ip("xfrm state") == ""


def test_a_bitmap_is_where_the_kernel_looks_for_it(xfrm: XfrmClient) -> None:
    """Number n has bit (n - 1) mod window; iproute2 prints the last word first."""
    seen = ReplayState(seq=70, window=64, bitmap=0b101)  # 70 and 68
    xfrm.add_sa(replace(SA, replay=seen))
    (text,) = blocks(ip("xfrm state"))
    assert "replay_window 64, bitmap-length 2\n00000000 00000028\n" in text
    ((read, _use),) = xfrm.list_sas()
    assert read.replay == seen


@pytest.mark.parametrize("name", POLICIES)
def test_ip_shows_our_policy(xfrm: XfrmClient, name: str) -> None:
    policy = POLICIES[name]
    xfrm.add_policy(policy)
    assert blocks(ip("-s -d xfrm policy")) == [policy_text(policy)]
    assert blocks(ip("-d xfrm policy")) == [policy_text(policy, statistics=False)]
    assert xfrm.list_policies() == (policy,)
    xfrm.delete_policy(policy)
    assert ip("xfrm policy") == ""


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_of_ip_is_read(xfrm: XfrmClient, name: str) -> None:
    policy = POLICIES[name]
    ip(policy_command(policy))
    assert xfrm.list_policies() == (policy,)
    xfrm.delete_policy(policy)
    assert ip("xfrm policy") == ""


def test_policy_defaults(xfrm: XfrmClient) -> None:
    wanted = PolicyDefaults(Default.BLOCK, Default.ACCEPT, Default.BLOCK)
    xfrm.set_default(wanted)
    assert blocks(ip("xfrm policy getdefault")) == [defaults_text(wanted)]
    ip("xfrm policy setdefault in accept fwd block")
    left = PolicyDefaults(Default.ACCEPT, Default.BLOCK, Default.BLOCK)
    assert xfrm.get_default() == left


LINKS = {
    "plain": (Interface("ipsec1", IfId(1), 1400), "if_id 0x1", {"if_id": "0x1"}),
    "largest if_id": (
        Interface("ipsec1", IfId(0xFFFFFFFF), 1280),
        "if_id 0xffffffff",
        {"if_id": "0xffffffff"},
    ),
    "on a device": (
        Interface("ipsec1", IfId(1), 1400, link="under"),
        "dev under if_id 1",
        {"if_id": "0x1"},
    ),
    "external": (
        Interface("ipsec1", IfId(0), 1400, external=True),
        "external",
        {"external": True},
    ),
}


@pytest.mark.parametrize("name", LINKS)
def test_links(routes: RouteClient, name: str) -> None:
    interface, words, data = LINKS[name]
    ip("link add under type dummy")
    routes.create_interfaces([interface])
    (shown,) = json.loads(ip("-d -j link show ipsec1"))
    assert shown["linkinfo"] == {"info_kind": "xfrm", "info_data": data}
    assert shown["mtu"] == interface.mtu
    assert shown["link"] == interface.link
    ours = routes.find_link("ipsec1")
    routes.delete_link("ipsec1")
    ip(f"link add ipsec1 mtu {interface.mtu} type xfrm {words}")
    theirs = routes.find_link("ipsec1")
    assert ours is not None
    assert theirs is not None
    assert replace(theirs, index=ours.index) == ours
    assert ours.external is interface.external
    assert (ours.if_id or 0) == interface.if_id
    under = routes.find_link("under")
    assert under is not None
    assert ours.underlying == (under.index if interface.link else None)


def test_the_master_and_table_of_a_vrf_are_read(routes: RouteClient) -> None:
    ip("link add red type vrf table 100")
    ip("link add ipsec1 type xfrm if_id 1")
    ip("link set ipsec1 master red alias plutino:other")
    red, ours = routes.find_link("red"), routes.find_link("ipsec1")
    assert red is not None
    assert ours is not None
    assert (red.kind, red.table) == ("vrf", 100)
    assert (ours.master, ours.alias) == (red.index, "plutino:other")


NETWORKS = ("10.2.0.0/16", "2001:db8:2::/48")


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("if_id", [None, 7, 0xFFFFFFFF])
def test_routes_into_an_interface(routes: RouteClient, network: str, if_id: int | None) -> None:
    kind = "if_id 1" if if_id is None else "external"
    ip(f"link add ipsec1 type xfrm {kind}")
    ip("link set ipsec1 up")
    route = Route(
        ip_network(network),
        "ipsec1",
        table=100,
        metric=50,
        if_id=None if if_id is None else IfId(if_id),
    )
    version = route.destination.version
    routes.add_route(route)
    (shown,) = json.loads(ip(f"-{version} -d -j route show table 100"))
    assert (shown["dst"], shown["dev"], shown["metric"]) == (network, "ipsec1", 50)
    assert (shown["protocol"], shown["type"]) == ("134", "unicast")
    assert shown.get("encap") == (None if if_id is None else "xfrm")
    assert shown.get("if_id") == if_id
    routes.delete_route(route)
    assert ip(f"-{version} -j route show table 100").strip() in ("", "[]", "[ ]")
    # iproute2 6.1.0 swallows the word after those of an encapsulation.
    encap = "" if if_id is None else f" encap xfrm if_id {if_id}"
    scope = " scope link" if version == 4 else ""
    ip(f"-{version} route add {network} dev ipsec1 table 100 metric 50 proto 134{scope}{encap}")
    assert [one for one in routes.list_routes(protocol=134) if one.table == 100] == [route]
    routes.delete_route(route)


@pytest.mark.parametrize("network", NETWORKS)
def test_unreachable_routes(routes: RouteClient, network: str) -> None:
    route = Route(ip_network(network), None, RouteType.UNREACHABLE, metric=0xFFFF1234)
    version = route.destination.version
    routes.add_route(route)
    (shown,) = json.loads(ip(f"-{version} -d -j route show proto 134 table main"))
    assert (shown["type"], shown["dst"], shown["metric"]) == ("unreachable", network, 0xFFFF1234)
    routes.delete_route(route)
    ip(f"-{version} route add unreachable {network} metric {0xFFFF1234} proto 134")
    assert routes.list_routes(protocol=134) == (route,)
    routes.delete_route(route)
