"""Who is at the other end of each interface, as a routing daemon has to know. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from plutino.config.gateway import Gateway
from plutino.config.values import IpAddress, IpInterface, IpNetwork


@dataclass(frozen=True, slots=True)
class RoutingOptions:
    """What a gateway file does not hold.

    ``own_as`` None leaves BGP out, ``area`` None OSPF. ``peer_as`` is by tunnel; a peer without one
    has any other number than ours. ``announced`` are networks of this side, ``vrf_tables`` the
    routing tables of VRFs by name.
    """

    own_as: int | None = None
    peer_as: Mapping[str, int] = field(default_factory=dict)
    area: str | None = None
    announced: tuple[IpNetwork, ...] = ()
    bfd: bool = True
    babel: bool = False
    vrf_tables: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The other end of a tunnel: ``address`` and our own, of one IP version."""

    tunnel: str
    interface: str
    ours: IpAddress
    address: IpAddress


def routed_interfaces(gateway: Gateway) -> list[str]:
    """Interfaces of the gateway's own namespace, each once, in the file's order."""
    names = (tunnel.interface for tunnel in gateway.tunnels.values())
    return [one for one in dict.fromkeys(names) if gateway.options(one).namespace is None]


def vrfs(gateway: Gateway) -> list[str | None]:
    """The VRFs that interfaces are in, each once; None is none, and comes first if it is used."""
    used = dict.fromkeys(gateway.options(one).vrf for one in routed_interfaces(gateway))
    return sorted(used, key=lambda name: name is not None)


def interfaces_in(gateway: Gateway, vrf: str | None) -> list[str]:
    """Those of ``routed_interfaces`` that are in a VRF, or in none."""
    return [one for one in routed_interfaces(gateway) if gateway.options(one).vrf == vrf]


def neighbours(gateway: Gateway, vrf: str | None) -> Iterator[Neighbour]:
    """Those that follow from ``addresses``: in a network of two, the other is the peer."""
    routed = interfaces_in(gateway, vrf)
    for name, tunnel in gateway.tunnels.items():
        if tunnel.interface not in routed:
            continue
        for one in tunnel.addresses:
            if (peer := other_end(one)) is not None:
                yield Neighbour(name, tunnel.interface, one.ip, peer)


def other_end(address: IpInterface) -> IpAddress | None:
    """The other address of a /31, /127 or /30; None where the network has more."""
    network = address.network
    hosts: list[IpAddress] = []
    if network.num_addresses == 2:
        hosts = list(network)
    elif isinstance(network, IPv4Network) and network.num_addresses == 4:
        hosts = list(network.hosts())
    others = [one for one in hosts if one != address.ip]
    return others[0] if len(hosts) == 2 and len(others) == 1 else None


def without_neighbour(gateway: Gateway, vrf: str | None) -> list[str]:
    """Tunnels whose peer's inner address does not follow from ``addresses``."""
    known = {one.tunnel for one in neighbours(gateway, vrf)}
    routed = interfaces_in(gateway, vrf)
    return [
        name
        for name, tunnel in gateway.tunnels.items()
        if name not in known and tunnel.interface in routed
    ]


def router_id(gateway: Gateway) -> IPv4Address:
    """An IPv4 address of this gateway, the first that is there; 192.0.2.1 where all are IPv6."""
    candidates: list[IpAddress] = []
    for tunnel in gateway.tunnels.values():
        candidates += [one.ip for one in tunnel.addresses]
        candidates.append(tunnel.local)
    for address in candidates:
        if isinstance(address, IPv4Address) and not address.is_unspecified:
            return address
    return IPv4Address("192.0.2.1")


def of_version(networks: tuple[IpNetwork, ...], version: int) -> list[IpNetwork]:
    """Those of one IP version."""
    kind = IPv4Network if version == 4 else IPv6Network
    return [one for one in networks if isinstance(one, kind)]
