"""Narrowing of traffic selectors (RFC 7296, 2.9)."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import summarize_address_range
from itertools import product
from typing import Final

from plutino.ike.payloads.traffic_selector import ANY_PORT, TrafficSelector
from plutino.model.policy import IpNetwork, Selector

_ICMP: Final = {1, 58}


def narrow(
    offered: Sequence[TrafficSelector], allowed: Sequence[TrafficSelector]
) -> tuple[TrafficSelector, ...]:
    """What both sides want, without what a wider selector contains; empty if nothing is left."""
    met = [one for a in offered for b in allowed if (one := intersection(a, b)) is not None]
    unique = list(dict.fromkeys(met))
    return tuple(
        one for one in unique if not any(_contains(other, one) for other in unique if other != one)
    )


def is_subset(narrowed: Sequence[TrafficSelector], offered: Sequence[TrafficSelector]) -> bool:
    """Whether each selector lies within one of those offered, as a response's must."""
    return all(any(_contains(wide, one) for wide in offered) for one in narrowed)


def intersection(a: TrafficSelector, b: TrafficSelector) -> TrafficSelector | None:
    """The packets that both select, or None."""
    if a.version != b.version or (a.protocol and b.protocol and a.protocol != b.protocol):
        return None
    first, last = max(a.first, b.first, key=int), min(a.last, b.last, key=int)
    first_port = max(a.first_port, b.first_port)
    last_port = min(a.last_port, b.last_port)
    if int(first) > int(last) or first_port > last_port:
        return None
    return TrafficSelector(first, last, a.protocol or b.protocol, first_port, last_port)


def selector_of(network: IpNetwork, protocol: int = 0, port: int | None = None) -> TrafficSelector:
    """The selector of a prefix; protocol 0 and port None are any."""
    first, last = network.network_address, network.broadcast_address
    if port is None:
        return TrafficSelector(first, last, protocol)
    return TrafficSelector(first, last, protocol, port, port)


def selector_of_addresses(selector: TrafficSelector) -> TrafficSelector:
    """All protocols and ports of the same addresses."""
    return TrafficSelector(selector.first, selector.last)


@lru_cache(1 << 10)
def networks_of(selector: TrafficSelector) -> tuple[IpNetwork, ...]:
    """The prefixes that make up its range of addresses, as policies take them."""
    return tuple(summarize_address_range(selector.first, selector.last))


def packets_of(
    local: Sequence[TrafficSelector], remote: Sequence[TrafficSelector]
) -> Iterator[Selector]:
    """The packets from us to the peer that both sides select, as policies take them.

    Ranges of ports become prefixes. None of those that are told apart by types of ICMP: both planes
    could, but no peer was seen that asks for it.
    """
    for ours, theirs in product(local, remote):
        if ours.version != theirs.version:
            continue
        if ours.protocol and theirs.protocol and ours.protocol != theirs.protocol:
            continue
        protocol = ours.protocol or theirs.protocol
        has_ports = not (_has_any_port(ours) and _has_any_port(theirs))
        if has_ports and protocol in _ICMP:
            continue
        ports = product(*(list(_port_prefixes(one)) for one in (ours, theirs)))
        networks = product(networks_of(ours), networks_of(theirs))
        for (here, there), ((source, source_mask), (target, target_mask)) in product(
            networks, list(ports)
        ):
            yield Selector(here, there, protocol, source, source_mask, target, target_mask)


def count_of(local: Sequence[TrafficSelector], remote: Sequence[TrafficSelector]) -> int:
    """How many pairs of prefixes of addresses and ports selectors make, at most."""

    def parts(selectors: Sequence[TrafficSelector]) -> int:
        return sum(len(networks_of(one)) * len(list(_port_prefixes(one))) for one in selectors)

    return parts(local) * parts(remote)


def _has_any_port(selector: TrafficSelector) -> bool:
    return (selector.first_port, selector.last_port) == (0, ANY_PORT)


def _port_prefixes(selector: TrafficSelector) -> Iterator[tuple[int, int]]:
    """Ports with their masks that make up a range."""
    first, last = selector.first_port, selector.last_port
    while first <= last:
        size = first & -first or ANY_PORT + 1
        while first + size - 1 > last:
            size //= 2
        yield first, ANY_PORT + 1 - size
        first += size


def _contains(wide: TrafficSelector, one: TrafficSelector) -> bool:
    return intersection(wide, one) == one
