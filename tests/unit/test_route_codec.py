"""Routes of several ways to octets and back, and what is cut short."""

import struct
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plutino.model.errors import WireError
from plutino.model.link import NextHop, Route
from plutino.netlink.route.messages import encode_route, parse_route
from plutino.netlink.route.nexthops import encode_nexthops, parse_nexthops

INDEXES = {f"ipsec{number}": 10 + number for number in range(4)}
NAMES = {index: name for name, index in INDEXES.items()}


@st.composite
def multipath_routes(draw: st.DrawFn) -> Route:
    version = draw(st.sampled_from((4, 6)))
    gateways = ("192.0.2.1", None) if version == 4 else ("fe80::1", None)
    names = sorted(draw(st.lists(st.sampled_from(sorted(INDEXES)), unique=True, min_size=2)))
    nexthops = tuple(
        NextHop(
            name,
            ip_address(found) if (found := draw(st.sampled_from(gateways))) else None,
            draw(st.integers(1, 256)),
        )
        for name in names
    )
    prefix = draw(st.sampled_from(("10.2.0.0/16", "0.0.0.0/0") if version == 4 else ("fd00::/8",)))
    return Route(ip_network(prefix), None, metric=50, table=1000, nexthops=nexthops)


@given(multipath_routes())
def test_encoded_it_is_parsed_to_the_same(route: Route) -> None:
    assert parse_route(encode_route(route, INDEXES), NAMES) == route


def test_the_octets_are_those_of_the_kernel() -> None:
    """``struct rtnexthop``: length, flags, hops (weight less one), index; RTA_GATEWAY is 5."""
    hops = (NextHop("ipsec1", None, 2), NextHop("ipsec2", ip_address("192.0.2.1")))
    assert encode_nexthops(hops, INDEXES) == (
        struct.pack("=HBBi", 8, 0, 1, 11)
        + struct.pack("=HBBi", 16, 4, 0, 12)
        + struct.pack("=HH", 8, 5)
        + bytes([192, 0, 2, 1])
    )


def test_every_truncation_is_refused() -> None:
    hops = (NextHop("ipsec1", ip_address("fe80::1")), NextHop("ipsec2", ip_address("fe80::2")))
    octets = encode_nexthops(hops, INDEXES)
    assert parse_nexthops(octets, NAMES) == hops
    whole = {0, len(octets) // 2, len(octets)}
    for length in set(range(len(octets))) - whole:
        with pytest.raises(WireError):
            parse_nexthops(octets[:length], NAMES)


def test_their_order_says_nothing_and_one_that_is_gone_is_shown_by_its_index() -> None:
    hops = (NextHop("ipsec2"), NextHop("ipsec1"))
    assert parse_nexthops(encode_nexthops(hops, INDEXES), NAMES) == hops[::-1]
    found = parse_nexthops(encode_nexthops(hops, INDEXES), {11: "ipsec1"})
    assert [one.interface for one in found] == ["#12", "ipsec1"]
