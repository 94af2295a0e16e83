"""Routes that cover a peer's own address, and the rules that keep outer packets out of them. Pure.

Such routes (0.0.0.0/0, or /32 to /32) stand in a table of their own, and what bears one of our
output marks does not look there. For each prefix length of theirs two rules are needed:

```
13400: from all lookup main suppress_prefixlength 0      what main knows better than by length 0
13401: from all fwmark 0/0xffff lookup 134340            what bears none of our marks
```
Main's own routes of that length are never touched, and longer ones win.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

from plutino.config.gateway import DEFAULT_INSTANCE, Gateway
from plutino.config.tunnel import Tunnel
from plutino.config.values import IpNetwork
from plutino.model.link import MAIN_TABLE, RTPROT_PLUTINO
from plutino.model.numbers import Mark
from plutino.model.rule import Rule

DEFAULT_TABLE: Final = 134340
"""Pluto's number among the minor planets."""
DEFAULT_PRIORITY: Final = 13400
PRIORITIES: Final = 134
"""Two for each prefix length of IPv6, and some to spare: so many belong to an instance."""
_TABLES: Final = 1 << 16
_RANGES: Final = 130
"""Of priorities, below that of main (32766)."""


def own_table(gateway: Gateway) -> int:
    """The routing table of an instance for routes that cover a peer."""
    if gateway.table is not None:
        return gateway.table
    return DEFAULT_TABLE + _number(gateway.instance, _TABLES)


def lowest_priority(instance: str) -> int:
    """The first priority of an instance's rules."""
    return DEFAULT_PRIORITY + PRIORITIES * _number(instance, _RANGES)


def is_our_rule(rule: Rule, instance: str) -> bool:
    """Whether a rule is an instance's: by its protocol and its priority."""
    first = lowest_priority(instance)
    return rule.protocol == RTPROT_PLUTINO and first <= rule.priority < first + PRIORITIES


def _number(instance: str, size: int) -> int:
    """0 for the default instance, another for every other."""
    if instance == DEFAULT_INSTANCE:
        return 0
    digest = hashlib.sha256(instance.encode()).digest()
    return 1 + int.from_bytes(digest[:4], "big") % (size - 1)


def covers_a_peer(gateway: Gateway, tunnel: Tunnel, network: IpNetwork) -> bool:
    """Whether a route of the tunnel would catch outer packets of any tunnel, or stands for all.

    In another namespace or a VRF no outer packet passes. A default route belongs apart even where
    all peers are of the other IP version: in main it would compete with main's own.
    """
    options = gateway.options(tunnel.interface)
    if options.namespace is not None or options.vrf is not None:
        return False
    return network.prefixlen == 0 or any(
        other.remote.version == network.version and other.remote in network
        for other in gateway.tunnels.values()
    )


def compile_rules(gateway: Gateway, networks: Iterable[IpNetwork]) -> Iterator[Rule]:
    """The rules for routes to ``networks`` in the instance's own table."""
    lengths: dict[int, set[int]] = {4: set(), 6: set()}
    for network in networks:
        lengths[network.version].add(network.prefixlen)
    for version, longest in ((4, 32), (6, 128)):
        levels = sorted(lengths[version], reverse=True)
        for number, length in enumerate(levels):
            priority = lowest_priority(gateway.instance) + 2 * number
            if length < longest:
                yield Rule(version, priority, MAIN_TABLE, suppress_prefix_length=length)
            yield Rule(
                version,
                priority + 1,
                own_table(gateway),
                mark=Mark(0, gateway.mark_mask),
                suppress_prefix_length=None if number == len(levels) - 1 else length - 1,
            )
