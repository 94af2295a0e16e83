"""One side of a tunnel's traffic, and the packets between two, as policies take them."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plutino.model.traffic import EVERYTHING, NetworkSelector, packets_between, port_prefixes

OURS, THEIRS = ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16")
ALL = NetworkSelector(THEIRS)
TCP, UDP, ICMP = 6, 17, 1


@given(
    st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(sorted),
    st.lists(st.integers(0, 65535), max_size=20),
)
def test_ports_become_prefixes_that_make_up_the_range(ends: list[int], ports: list[int]) -> None:
    first, last = ends
    found = list(packets_between(NetworkSelector(OURS, TCP, first, last), ALL))
    assert {(one.protocol, one.destination_port_mask) for one in found} == {(TCP, 0)}
    for port in (*ports, first, last, max(first - 1, 0), min(last + 1, 65535)):
        hits = [one for one in found if not (port ^ one.source_port) & one.source_port_mask]
        assert len(hits) == (first <= port <= last)


def test_no_range_makes_more_than_thirty_prefixes() -> None:
    assert len(list(port_prefixes(1, 65534))) == 30
    assert not list(port_prefixes(65535, 0)), "OPAQUE has no port"


@pytest.mark.parametrize(
    ("ours", "theirs", "packets"),
    [
        ((), (), ["10.1.0.0/16 -> 10.2.0.0/16"]),
        ((TCP,), (), ["10.1.0.0/16 -> 10.2.0.0/16 protocol 6"]),
        ((), (47,), ["10.1.0.0/16 -> 10.2.0.0/16 protocol 47"]),
        (
            (TCP, 443, 443),
            (TCP, 80, 80),
            ["10.1.0.0/16 port 0x1bb/0xffff -> 10.2.0.0/16 port 0x50/0xffff protocol 6"],
        ),
        ((TCP,), (UDP,), []),
        (
            (ICMP, 0x800, 0x8FF),
            (ICMP, 0, 0xFF),
            ["10.1.0.0/16 port 0x8/0xffff -> 10.2.0.0/16 protocol 1"],
        ),
        (
            (ICMP, 0x304, 0x304),
            (),
            ["10.1.0.0/16 port 0x3/0xffff -> 10.2.0.0/16 port 0x4/0xffff protocol 1"],
        ),
        (
            (ICMP, 0x800, 0x9FF),
            (),
            ["10.1.0.0/16 port 0x8/0xfffe -> 10.2.0.0/16 protocol 1"],
        ),
        ((), (ICMP, 0x800, 0x8FF), ["10.1.0.0/16 -> 10.2.0.0/16 protocol 1"]),
        ((ICMP, 0x801, 0x900), (), []),
        ((ICMP, 65535, 0), (), []),
        ((TCP, 65535, 0), (), []),
    ],
)
def test_packets_are_those_of_both_sides(
    ours: tuple[int, ...], theirs: tuple[int, ...], packets: list[str]
) -> None:
    """A type of ICMP is that of what the source sends, with its code."""
    found = packets_between(NetworkSelector(OURS, *ours), NetworkSelector(THEIRS, *theirs))
    assert [str(one) for one in found] == packets


def test_versions_do_not_meet() -> None:
    v4, v6 = EVERYTHING
    assert list(packets_between(v4, v6)) == []
    assert not v4.overlaps(v6)
    assert not v4.is_within(v6)


WEB = NetworkSelector(OURS, TCP, 400, 500)


@pytest.mark.parametrize(
    ("one", "overlaps", "is_within"),
    [
        (WEB, True, True),
        (NetworkSelector(OURS, TCP, 500, 600), True, False),
        (NetworkSelector(OURS, TCP, 501, 600), False, False),
        (NetworkSelector(OURS, UDP, 400, 500), False, False),
        (NetworkSelector(OURS), True, False),
        (NetworkSelector(ip_network("10.1.2.0/24"), TCP, 443, 443), True, True),
        (NetworkSelector(ip_network("10.0.0.0/8"), TCP, 443, 443), True, False),
        (NetworkSelector(THEIRS, TCP, 443, 443), False, False),
    ],
)
def test_selectors_of_one_side_overlap_by_packets(
    one: NetworkSelector, *, overlaps: bool, is_within: bool
) -> None:
    assert WEB.overlaps(one) == one.overlaps(WEB) == overlaps
    assert one.is_within(WEB) == is_within


def test_a_packet_is_of_it() -> None:
    assert WEB.has(ip_address("10.1.0.9"), TCP, 443)
    assert not WEB.has(ip_address("10.1.0.9"), TCP, 501)
    assert not WEB.has(ip_address("10.1.0.9"), TCP), "some port will not do"
    assert not WEB.has(ip_address("10.1.0.9"), UDP, 443)
    assert not WEB.has(ip_address("10.2.0.9"), TCP, 443)
    assert NetworkSelector(OURS).has(ip_address("10.1.0.9"), TCP)
