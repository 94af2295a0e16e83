"""Routes that cover a peer's own address, and the rules that keep outer packets out of them. Pure.

Such routes (0.0.0.0/0, or /32 to /32) stand in a table of their own, and what bears one of our
output marks does not look there. For each prefix length of theirs two rules are needed:

```
13400: from all lookup main suppress_prefixlength 0      what main knows better than by length 0
13401: from all fwmark 0/0xffff lookup 134340            what bears none of our marks
```
Main's own routes of that length are never touched, and longer ones win.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from plutino.config.gateway import Gateway
from plutino.config.tunnel import Tunnel
from plutino.config.values import IpNetwork
from plutino.desired.instance import PRIORITIES, instance_number, lowest_priority
from plutino.model.link import MAIN_TABLE, RTPROT_PLUTINO
from plutino.model.numbers import Mark
from plutino.model.rule import Rule

DEFAULT_TABLE: Final = 134340
"""Pluto's number among the minor planets."""
_TABLES: Final = 1 << 16


def own_table(gateway: Gateway) -> int:
    """The routing table of an instance for routes that cover a peer."""
    if gateway.table is not None:
        return gateway.table
    return DEFAULT_TABLE + instance_number(gateway.instance, _TABLES)


def is_our_rule(rule: Rule, instance: str) -> bool:
    """Whether a rule is an instance's: by its protocol and its priority."""
    first = lowest_priority(instance)
    return rule.protocol == RTPROT_PLUTINO and first <= rule.priority < first + PRIORITIES


def covers_a_peer(gateway: Gateway, tunnel: Tunnel, network: IpNetwork) -> bool:
    """Whether a route of the tunnel would catch outer packets of any tunnel, or stands for all.

    In another namespace or a VRF no outer packet passes. A default route belongs apart even where
    all peers are of the other IP version: in main it would compete with main's own. A peer that
    may be anywhere may be in any network, and its first packet has to be answered outside.
    """
    options = gateway.options(tunnel.interface)
    if options.namespace is not None or options.vrf is not None:
        return False
    return network.prefixlen == 0 or any(
        remote.version == network.version and (other.is_roaming or remote in network)
        for other in gateway.tunnels.values()
        for remote in other.peers
    )


def compile_rules(gateway: Gateway, networks: Iterable[IpNetwork]) -> Iterator[Rule]:
    """The rules for routes to ``networks`` in the instance's own table, after those of uplinks."""
    first = lowest_priority(gateway.instance) + len(gateway.uplinks)
    lengths: dict[int, set[int]] = {4: set(), 6: set()}
    for network in networks:
        lengths[network.version].add(network.prefixlen)
    for version, longest in ((4, 32), (6, 128)):
        levels = sorted(lengths[version], reverse=True)
        for number, length in enumerate(levels):
            priority = first + 2 * number
            if length < longest:
                yield Rule(version, priority, MAIN_TABLE, suppress_prefix_length=length)
            yield Rule(
                version,
                priority + 1,
                own_table(gateway),
                mark=Mark(0, gateway.mark_mask),
                suppress_prefix_length=None if number == len(levels) - 1 else length - 1,
            )
