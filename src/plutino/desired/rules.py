"""Routes that cover a peer's own address, and the rules that keep outer packets out of them. Pure.

Such routes (0.0.0.0/0, or /32 to /32) stand in a table of their own, and what bears one of our
output marks does not look there. For each prefix length of theirs two rules are needed:

```
13400: from all lookup main suppress_prefixlength 0      what main knows better than by length 0
13401: from all fwmark 0/0xffff lookup 134340            what bears none of our marks
```
Main's own routes of that length are never touched, and longer ones win.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    return network.prefixlen == 0 or _Peers.of(gateway.tunnels).any_within(network)


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


@dataclass(frozen=True, slots=True)
class _Peers:
    """The outer addresses of all peers in order, by IP version; versions of those anywhere."""

    addresses: Mapping[int, Sequence[int]]
    anywhere: frozenset[int]

    @classmethod
    def of(cls, tunnels: Mapping[str, Tunnel]) -> "_Peers":
        """Sorted once for all prefixes of a pass: each with each would be too many."""
        global _last  # noqa: PLW0603 -- a table of one place
        found = _last
        if found[0] is not tunnels:
            found = _last = tunnels, cls._sorted(tunnels.values())
        return found[1]

    @classmethod
    def _sorted(cls, tunnels: Iterable[Tunnel]) -> "_Peers":
        addresses: dict[int, set[int]] = {4: set(), 6: set()}
        anywhere = set()
        for tunnel in tunnels:
            for remote in tunnel.peers:
                addresses[remote.version].add(int(remote))
                if tunnel.is_roaming:
                    anywhere.add(remote.version)
        return cls({key: sorted(some) for key, some in addresses.items()}, frozenset(anywhere))

    def any_within(self, network: IpNetwork) -> bool:
        if network.version in self.anywhere:
            return True
        ordered = self.addresses[network.version]
        place = bisect_left(ordered, int(network.network_address))
        return place < len(ordered) and ordered[place] <= int(network.broadcast_address)


_last: tuple[Mapping[str, Tunnel], _Peers] = ({}, _Peers({}, frozenset()))
"""The tunnels of the gateway that was asked about last, and its peers."""
