"""Who is asked through a tunnel of a group, and from which address. Pure."""

from collections.abc import Iterator

from plutino.config.gateway import Gateway
from plutino.config.group import Group
from plutino.config.tunnel import Tunnel
from plutino.config.values import IpAddress

_BITS_OF_TWO = (1, 2)
"""Host bits of a network of two hosts: /31 and /127 (RFC 3021, RFC 6164), /30 and /126."""


def probe_targets(gateway: Gateway, group: Group, name: str) -> tuple[IpAddress, ...]:
    """As the file says, or the peer's inner addresses of the first IP version that has one."""
    options = group.probe
    if given := options.tunnel_targets.get(name, options.targets):
        return given
    peers = tuple(inner_peers(gateway.tunnels[name]))
    return tuple(one for one in peers if one.version == peers[0].version)


def inner_peers(tunnel: Tunnel) -> Iterator[IpAddress]:
    """The other end of each network that has room for two hosts."""
    for address in tunnel.addresses:
        network = address.network
        bits = network.max_prefixlen - network.prefixlen
        if bits not in _BITS_OF_TWO:
            continue
        hosts = [network[0], network[1]] if bits == 1 else [network[1], network[2]]
        if address.ip in hosts:
            yield next(one for one in hosts if one != address.ip)


def inner_address(tunnel: Tunnel, target: IpAddress) -> IpAddress | None:
    """Our address towards a target: of its network, or else the first of its IP version."""
    ours = [one for one in tunnel.addresses if one.version == target.version]
    near = [one for one in ours if target in one.network]
    return next((one.ip for one in (*near, *ours)), None)
