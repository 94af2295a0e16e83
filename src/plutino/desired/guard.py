"""``guard = "strict"``: what belongs into a tunnel leaves by nothing else, whatever routes say.

Unreachable twins hold as long as they are in the routing table. These chains hold when somebody
flushes that too: packets to a tunnel's prefixes leave by an interface of ours or not at all, and
none that claims to be from there comes in by another one. Pure.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Final

from plutino.config.gateway import Gateway
from plutino.config.values import IpNetwork
from plutino.desired.routes import guarded_networks
from plutino.desired.rules import covers_a_peer
from plutino.desired.state import Surroundings
from plutino.model.interface import Interface

COMMENT: Final = "plutino guard"
"""By it the drops are found and counted."""
_FAMILY: Final = {4: "ip", 6: "ip6"}
_LINK_LOCAL: Final = "ip6 daddr fe80::/10 accept"


def compile_guard(
    gateway: Gateway, interfaces: Iterable[Interface], surroundings: Surroundings
) -> Iterator[str]:
    """The chains of the guard, for what is in the gateway's own namespace."""
    names = ", ".join(f'"{one.name}"' for one in interfaces)
    plain, covering = _prefixes(gateway)
    if gateway.guard != "strict" or not plain + covering:
        return
    drop = f'counter drop comment "{COMMENT}"'
    outward = [f'oifname {{ "lo", {names} }} accept']
    outward += [f"{_daddr(networks)} {drop}" for networks in _by_version(plain)]
    if covering:
        outward += [*_outside(gateway, surroundings)]
        outward += [f"{_daddr(networks)} {drop}" for networks in _by_version(covering)]
    for chain, hook, rows in (
        ("guard_output", "output", outward),
        ("guard_forward", "forward", [*_spoofed(plain, names, drop), *outward]),
        ("guard_input", "input", [*_spoofed(plain, names, drop)]),
    ):
        if rows:
            text = "\n".join(f"    {row}" for row in rows)
            yield f"""\
  chain {chain} {{
    type filter hook {hook} priority filter + 10; policy accept;
{text}
  }}"""


def _prefixes(gateway: Gateway) -> tuple[list[IpNetwork], list[IpNetwork]]:
    """Those of tunnels, and among them those that outer packets are in as well."""
    plain: list[IpNetwork] = []
    covering: list[IpNetwork] = []
    is_here = False
    for name, tunnel in gateway.tunnels.items():
        options = gateway.options(tunnel.interface)
        if options.namespace is not None or options.vrf is not None:
            continue  # elsewhere the same prefix may be another network
        is_here = True
        for network in guarded_networks(gateway, name):
            (covering if covers_a_peer(gateway, tunnel, network) else plain).append(network)
    if is_here:
        # Networks of this side may be in them, as main's longer prefixes are in a default route.
        covering += gateway.protected
    return plain, covering


def _outside(gateway: Gateway, surroundings: Surroundings) -> Iterator[str]:
    """What may leave although a route that covers a peer is for it too."""
    mask = f"{gateway.mark_mask:#x}"
    yield "fib daddr type { local, broadcast, multicast, anycast } accept"
    yield _LINK_LOCAL
    # Answers to who came from outside, and probes.
    yield f"meta mark and {mask} == {mask} accept"
    yield f"meta mark and {mask} != 0 meta l4proto esp accept"
    yield f"meta mark and {mask} != 0 udp sport {{ 500, 4500 }} accept"
    ours = {tunnel.interface for tunnel in gateway.tunnels.values()}
    connected = [
        one.network
        for device, several in surroundings.addresses.items()
        if device not in ours
        for one in several
        if one.network.num_addresses > 1
    ]
    for networks in _by_version([*connected, *gateway.outside]):
        yield f"{_daddr(networks)} accept"


def _spoofed(plain: list[IpNetwork], names: str, drop: str) -> Iterator[str]:
    """What claims to be from a tunnel's prefix and came by something else."""
    for networks in _by_version(plain):
        yield f'iifname != {{ "lo", {names} }} {_saddr(networks)} {drop}'


def _by_version(networks: Iterable[IpNetwork]) -> Iterator[list[IpNetwork]]:
    """None within another: nft takes no overlapping intervals."""
    several = list(networks)
    v4 = [one for one in several if isinstance(one, IPv4Network)]
    v6 = [one for one in several if isinstance(one, IPv6Network)]
    if v4:
        yield list(collapse_addresses(v4))
    if v6:
        yield list(collapse_addresses(v6))


def _daddr(networks: list[IpNetwork]) -> str:
    return f"{_FAMILY[networks[0].version]} daddr {{ {', '.join(map(str, networks))} }}"


def _saddr(networks: list[IpNetwork]) -> str:
    return f"{_FAMILY[networks[0].version]} saddr {{ {', '.join(map(str, networks))} }}"
