"""Narrowing of traffic selectors (RFC 7296, 2.9)."""

from collections.abc import Sequence
from ipaddress import summarize_address_range

from plutino.ike.payloads.traffic_selector import TrafficSelector
from plutino.model.policy import IpNetwork


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


def networks_of(selector: TrafficSelector) -> tuple[IpNetwork, ...]:
    """The prefixes that make up its range of addresses, as policies take them."""
    return tuple(summarize_address_range(selector.first, selector.last))


def _contains(wide: TrafficSelector, one: TrafficSelector) -> bool:
    return intersection(wide, one) == one
