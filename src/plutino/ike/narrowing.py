"""Narrowing of traffic selectors (RFC 7296, 2.9)."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import summarize_address_range
from itertools import chain, islice
from typing import Final

from plutino.ike.payloads.traffic_selector import TrafficSelector
from plutino.model.policy import IpNetwork
from plutino.model.traffic import NetworkSelector, count_pairs

_MOST_WORDS: Final = 4
"""Selectors of a side in a log: who offers them chooses their number."""
MOST: Final = 256
"""Selectors of a side, or as many as both ends have together: a peer that offers more parts than
these gets the first ones. Each is compared with each."""


def narrow(
    offered: Sequence[TrafficSelector], allowed: Sequence[TrafficSelector]
) -> tuple[TrafficSelector, ...]:
    """What both sides want, without what a wider selector contains; empty if nothing is left."""
    most = max(MOST, len(offered) + len(allowed))
    unique = list(islice(dict.fromkeys(common(offered, allowed)), most))
    return tuple(
        one
        for one in unique
        if not any(_contains(other, one) for other in unique if other is not one)
    )


def common(
    offered: Iterable[TrafficSelector], allowed: Sequence[TrafficSelector]
) -> Iterator[TrafficSelector]:
    """What each selector of one has in common with each of the other."""
    return (one for a in offered for b in allowed if (one := intersection(a, b)) is not None)


def meeting(
    local: Sequence[TrafficSelector], remote: Sequence[TrafficSelector]
) -> tuple[tuple[TrafficSelector, ...], tuple[TrafficSelector, ...]]:
    """Both sides without what has no counterpart: another IP version, another protocol."""

    def counterparts(
        side: Sequence[TrafficSelector], other: Sequence[TrafficSelector]
    ) -> tuple[TrafficSelector, ...]:
        kinds = {(one.version, one.protocol): one for one in other}.values()
        return tuple(a for a in side if any(_meet(a, b) for b in kinds))

    return counterparts(local, remote), counterparts(remote, local)


def is_subset(narrowed: Sequence[TrafficSelector], offered: Sequence[TrafficSelector]) -> bool:
    """Whether each selector lies within one of those offered, as a response's must."""
    return all(any(_contains(wide, one) for wide in offered) for one in narrowed)


def intersection(a: TrafficSelector, b: TrafficSelector) -> TrafficSelector | None:
    """The packets that both select, or None."""
    if not _meet(a, b):
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


def selector_of_side(side: NetworkSelector) -> TrafficSelector:
    """The selector of what is configured for one side."""
    first, last = side.network.network_address, side.network.broadcast_address
    return TrafficSelector(first, last, side.protocol, side.first_port, side.last_port)


@lru_cache(1 << 10)
def prefixes_of(selector: TrafficSelector) -> tuple[NetworkSelector, ...]:
    """The selectors of prefixes that make up its range of addresses, as planning takes them."""
    ports = selector.first_port, selector.last_port
    return tuple(
        NetworkSelector(network, selector.protocol, *ports)
        for network in summarize_address_range(selector.first, selector.last)
    )


def words_of(local: Sequence[TrafficSelector], remote: Sequence[TrafficSelector]) -> str:
    """Both sides in the words of a gateway file, for the log; of many the first ones."""
    return " - ".join(_side_words(one) for one in (local, remote))


def _side_words(selectors: Sequence[TrafficSelector]) -> str:
    words = [_words(one) for one in selectors[:_MOST_WORDS]]
    if len(selectors) > _MOST_WORDS:
        words.append("...")
    return ", ".join(words) or "none"


def _words(selector: TrafficSelector) -> str:
    prefixes = prefixes_of(selector)
    return str(prefixes[0]) if len(prefixes) == 1 else str(selector)


def count_of(
    local: Sequence[TrafficSelector], remote: Sequence[TrafficSelector], most: int | None = None
) -> int:
    """How many pairs of prefixes of addresses and ports selectors make, at most.

    Nobody counts further where one side has more than ``most`` by itself.
    """
    ours, theirs = (chain.from_iterable(map(prefixes_of, one)) for one in (local, remote))
    return count_pairs(ours, theirs, most)


def _meet(a: TrafficSelector, b: TrafficSelector) -> bool:
    return a.version == b.version and (not a.protocol or not b.protocol or a.protocol == b.protocol)


def _contains(wide: TrafficSelector, one: TrafficSelector) -> bool:
    """Whether each packet of one is of the other; one without any (OPAQUE) is of none."""
    return (
        wide.protocol in (0, one.protocol)
        and wide.first_port <= one.first_port <= one.last_port <= wide.last_port
        and wide.version == one.version
        and int(wide.first) <= int(one.first) <= int(one.last) <= int(wide.last)
    )
