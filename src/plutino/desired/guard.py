"""``guard = "strict"``: what belongs into a tunnel leaves by nothing else, whatever routes say.

Unreachable twins hold as long as they are in the routing table. These chains hold when somebody
flushes that too: packets to a tunnel's prefixes leave by an interface of ours or not at all, and
none that claims to be from there comes in by another one. Longer prefixes have the word, as in
routing. Pure.

```
oifname { "lo", "ipsec1" } accept
ip daddr { 10.2.0.0/16 } counter drop              a prefix that no peer is in
ip daddr { 198.51.100.2/32 } goto guard_outside    one that a peer is in: ESP and IKE pass
ip daddr { 192.0.2.0/24 } accept                   what devices connect to, which 0.0.0.0/0 is not
ip daddr { 0.0.0.0/0 } goto guard_outside          meant to take
```
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from itertools import groupby
from typing import Final

from plutino.config.gateway import Gateway
from plutino.config.values import IpNetwork
from plutino.desired.routes import guarded_networks
from plutino.desired.rules import covers_a_peer
from plutino.desired.state import Surroundings
from plutino.model.errors import Problem
from plutino.model.interface import Interface
from plutino.model.policy import is_within

COMMENT: Final = "plutino guard"
"""By it the drops are found and counted."""
_DROP: Final = f'counter drop comment "{COMMENT}"'
_FAMILY: Final = {4: "ip", 6: "ip6"}
_PRIORITY: Final = "filter + 200"
"""Late: no chain of others but those for connection tracking gives a packet another way then."""
_NEIGHBOURS: Final = (
    "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert, "
    "nd-redirect } ip6 hoplimit 255 accept"
)
"""A neighbour is asked whether it is still there by its own address (RFC 4861, 7.3)."""
_ERRORS: Final = (
    "icmp type { destination-unreachable, time-exceeded, parameter-problem } accept",
    "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } "
    "accept",
)
"""Of outer packets: path MTU needs them."""


class _Verdict(IntEnum):
    """Of several for the same prefix the first has the word."""

    DROP = 0
    OUTSIDE = 1
    ACCEPT = 2


@dataclass(frozen=True, slots=True)
class _Entry:
    """What happens to packets to, or from, a network."""

    network: IpNetwork
    verdict: _Verdict

    @property
    def rank(self) -> tuple[int, int, _Verdict]:
        """Longer prefixes first, as in routing."""
        return self.network.version, -self.network.prefixlen, self.verdict


def compile_guard(
    gateway: Gateway, interfaces: Iterable[Interface], surroundings: Surroundings
) -> Iterator[str]:
    """The chains of the guard, for what is in the gateway's own namespace."""
    firm, yielding = _prefixes(gateway)
    if gateway.guard != "strict" or not firm | yielding:
        return
    names = ", ".join(['"lo"', *(f'"{one.name}"' for one in interfaces)])
    connected = dict.fromkeys(
        one for _, one in _connected(gateway, surroundings) if _holder(one, firm) is None
    )
    # Anybody may come from what yields, and is answered there.
    sources = [
        *(_Entry(*one) for one in firm.items()),
        *(_Entry(one, _Verdict.ACCEPT) for one in gateway.outside),
    ]
    guarded = [
        *sources,
        *(_Entry(*one) for one in yielding.items()),
        *(_Entry(one, _Verdict.ACCEPT) for one in connected),
    ]
    outward = [
        f"oifname {{ {names} }} accept",
        *_rows(guarded, "daddr", "goto guard_outside"),
    ]
    verdicts = {one.verdict for one in guarded}
    yield _chain("guard_output", outward, hook="output")
    yield _chain(
        "guard_forward",
        [f"iifname != {{ {names} }} jump guard_sources", *outward],
        hook="forward",
    )
    yield _chain(
        "guard_input",
        [
            f"iifname {{ {names} }} accept",
            *_rows(sources, "saddr", "goto guard_inside"),
        ],
        hook="input",
    )
    yield _chain("guard_sources", list(_rows(sources, "saddr", _DROP, accept="return")))
    if _Verdict.OUTSIDE in verdicts:
        yield _chain("guard_outside", [*_outside(gateway), _DROP])
        yield _chain("guard_inside", [*_inside(), _DROP])


def check_guard(gateway: Gateway, surroundings: Surroundings) -> Iterator[Problem]:
    """Networks that devices connect to and that the guard would cut off, each with the cure."""
    if gateway.guard != "strict":
        return
    firm, _ = _prefixes(gateway)
    for device, network in _connected(gateway, surroundings):
        longest = _holder(network, firm)
        if longest is None:
            continue
        named = [one for one in gateway.outside if is_within(network, one)]
        if not any(one.prefixlen > longest.prefixlen for one in named):
            why = f"{device} connects to {network}, which is within {longest} of a tunnel"
            hint = f'add "{network}" if it is to be reached in clear; the strict guard drops it'
            yield Problem("", None, "outside", why, hint)


def _prefixes(
    gateway: Gateway,
) -> tuple[dict[IpNetwork, _Verdict], dict[IpNetwork, _Verdict]]:
    """Those of tunnels, and whether outer packets are in them as well.

    First those that hold whatever is connected; then those that hold what nothing else is for: the
    default route, and ``protected``, where networks of this side may be in.
    """
    firm: dict[IpNetwork, _Verdict] = {}
    yielding: dict[IpNetwork, _Verdict] = {}
    is_here = False
    for name, tunnel in gateway.tunnels.items():
        options = gateway.options(tunnel.interface)
        if options.namespace is not None or options.vrf is not None:
            continue  # elsewhere the same prefix may be another network
        is_here = True
        for network in guarded_networks(gateway, name):
            covers = covers_a_peer(gateway, tunnel, network)
            several = firm if network.prefixlen else yielding
            several[network] = _Verdict.OUTSIDE if covers else _Verdict.DROP
    if is_here:
        for network in gateway.protected:
            if network not in firm:
                yielding.setdefault(network, _Verdict.OUTSIDE)
    return firm, yielding


def _holder(network: IpNetwork, firm: Mapping[IpNetwork, _Verdict]) -> IpNetwork | None:
    """The longest prefix that a network is within; asked by hashes, since there may be many."""
    for length in range(network.prefixlen, 0, -1):
        one = network.supernet(new_prefix=length)
        if one in firm:
            return one
    return None


def _connected(gateway: Gateway, surroundings: Surroundings) -> Iterator[tuple[str, IpNetwork]]:
    """The networks of devices that are not ours, but for those of single links."""
    ours = {tunnel.interface for tunnel in gateway.tunnels.values()}
    for device, several in surroundings.addresses.items():
        if device not in ours:
            for one in several:
                if one.network.num_addresses > 1 and not one.is_link_local and device != "lo":
                    yield device, one.network


def _rows(
    entries: Iterable[_Entry], end: str, covering: str, accept: str = "accept"
) -> Iterator[str]:
    """One rule for what follows one another and ends alike."""
    verdicts = {_Verdict.DROP: _DROP, _Verdict.OUTSIDE: covering, _Verdict.ACCEPT: accept}
    ranked = sorted(entries, key=lambda one: one.rank)
    for (version, verdict), group in groupby(
        ranked, lambda one: (one.network.version, one.verdict)
    ):
        networks = ", ".join(map(str, _apart(one.network for one in group)))
        yield f"{_FAMILY[version]} {end} {{ {networks} }} {verdicts[verdict]}"


def _apart(networks: Iterable[IpNetwork]) -> Iterable[IpNetwork]:
    """None within another: nft takes no overlapping intervals. All are of one IP version."""
    several = list(networks)
    v4 = [one for one in several if isinstance(one, IPv4Network)]
    return (
        collapse_addresses(v4)
        if v4
        else collapse_addresses(one for one in several if isinstance(one, IPv6Network))
    )


def _outside(gateway: Gateway) -> Iterator[str]:
    """What may leave although it is for a prefix that a peer is in."""
    mask = f"{gateway.mark_mask:#x}"
    yield "fib daddr type { local, broadcast, multicast, anycast } accept"
    yield "ip6 daddr fe80::/10 accept"
    yield _NEIGHBOURS
    # Answers to who came from outside, and probes.
    yield f"meta mark and {mask} == {mask} accept"
    yield f"meta mark and {mask} != 0 meta l4proto esp accept"
    yield f"meta mark and {mask} != 0 udp sport {{ 500, 4500 }} accept"


def _inside() -> Iterator[str]:
    """What may come from a prefix that a peer is in."""
    yield "meta l4proto esp accept"
    yield "udp dport { 500, 4500 } accept"
    yield _NEIGHBOURS
    yield from _ERRORS


def _chain(name: str, rows: Iterable[str], hook: str | None = None) -> str:
    lines = [f"    {row}" for row in rows]
    if hook is not None:
        lines.insert(0, f"    type filter hook {hook} priority {_PRIORITY}; policy accept;")
    return "\n".join([f"  chain {name} {{", *lines, "  }"])
