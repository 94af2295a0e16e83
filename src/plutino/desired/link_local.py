"""A stable link-local address for each interface, so that routing protocols run over it. Pure.

The kernel would make one from nothing, another at each creation. OSPFv3, RIPng and Babel talk from
it, and neighbours know each other by it, so it has to outlive the interface, and the address that
an uplink happens to have. Both ends differ, since each is made from the other's outer address.
"""

import hashlib
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from typing import Final

from plutino.config.gateway import Gateway
from plutino.desired.state import Surroundings
from plutino.model.link import Address
from plutino.model.policy import is_within

LINK_LOCAL: Final = IPv6Network("fe80::/10")
_PREFIX: Final = int(IPv6Address("fe80::"))
_LENGTH: Final = 64


def compile_link_locals(gateway: Gateway, surroundings: Surroundings) -> Iterator[Address]:
    """One for each interface that can carry it and has none in ``addresses``."""
    sharing: dict[str, list[str]] = {}
    for name, tunnel in gateway.tunnels.items():
        sharing.setdefault(tunnel.interface, []).append(name)
    for interface, names in sharing.items():
        options = gateway.options(interface)
        place = options.namespace
        if place in surroundings.missing or place in surroundings.without_ipv6:
            continue
        if isinstance(options.link_local, IPv6Address):
            yield Address(interface, IPv6Interface((options.link_local, _LENGTH)), place)
        elif options.link_local and _carries(gateway, names):
            seed = (gateway.instance, interface, *(_end(gateway, name) for name in names))
            yield Address(interface, stable_address(seed), place)


def stable_address(seed: tuple[str, ...]) -> IPv6Interface:
    """Of fe80::/64, the same for the same words (as RFC 7217 has it)."""
    digest = hashlib.sha256("\0".join(seed).encode()).digest()
    return IPv6Interface((_PREFIX | int.from_bytes(digest[:8], "big"), _LENGTH))


def _end(gateway: Gateway, name: str) -> str:
    """Our end as the file has it: what it says of the other end is another thing there."""
    tunnel = gateway.tunnels[name]
    return f"{tunnel.local} {tunnel.remote_as_written}"


def _carries(gateway: Gateway, names: list[str]) -> bool:
    tunnels = [gateway.tunnels[name] for name in names]
    options = gateway.options(tunnels[0].interface)
    if options.external or len(tunnels) > 1:
        return False
    (tunnel,) = tunnels
    if tunnel.mode != "tunnel" or any(
        one.version == 6 and one.ip.is_link_local for one in tunnel.addresses
    ):
        return False
    return all(
        not selectors
        or any(one.is_whole and is_within(LINK_LOCAL, one.network) for one in selectors)
        for selectors in (tunnel.local_ts, tunnel.remote_ts)
    )
