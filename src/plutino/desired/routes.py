"""The routes into tunnels, and the unreachable twin of each. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from plutino.config.gateway import Gateway
from plutino.config.numbers import tunnel_numbers
from plutino.config.tunnel import Tunnel
from plutino.config.values import IpAddress, IpNetwork
from plutino.desired.instance import twin_metric
from plutino.desired.rules import covers_a_peer, own_table
from plutino.desired.state import Surroundings
from plutino.model.link import MAIN_TABLE, Route, RouteType

ROUTE_METRIC: Final = 50
"""Explicit, because IPv6 turns 0 into 1024."""


def compile_routes(
    gateway: Gateway, name: str, local: IpAddress | None, surroundings: Surroundings
) -> Iterator[Route]:
    """The routes of one tunnel, whose outer packets come from ``local``."""
    tunnel = gateway.tunnels[name]
    options = gateway.options(tunnel.interface)
    for network in tunnel.routes:
        yield Route(
            network,
            tunnel.interface,
            table=route_table(gateway, tunnel, network, surroundings),
            metric=ROUTE_METRIC,
            if_id=tunnel_numbers(gateway, name).if_id if options.external else None,
            namespace=options.namespace,
            source=route_source(gateway, tunnel, network, local, surroundings),
        )


def route_source(
    gateway: Gateway,
    tunnel: Tunnel,
    network: IpNetwork,
    local: IpAddress | None,
    surroundings: Surroundings,
) -> IpAddress | None:
    """Our outer address, where a route covers the peer's and the interface has none of its own."""
    if not covers_a_peer(gateway, tunnel, network) or local is None:
        return None
    if local.version != network.version:
        return None
    if any(one.version == network.version for one in tunnel.addresses):
        return None
    there = (one.ip for several in surroundings.addresses.values() for one in several)
    return local if local in there else None


def compile_twins(
    gateway: Gateway, served: Mapping[str, Tunnel], surroundings: Surroundings
) -> Iterator[Route]:
    """An unreachable route for every prefix of the ``served`` tunnels, each once."""
    twins = {
        Route(
            network,
            None,
            RouteType.UNREACHABLE,
            table=_table_of_twin(gateway, name, network, surroundings),
            metric=twin_metric(gateway.instance),
            namespace=gateway.options(tunnel.interface).namespace,
        ): None
        for name, tunnel in served.items()
        for network in guarded_networks(gateway, name)
    }
    yield from twins | dict.fromkeys(_protected(gateway, served, surroundings))


def _protected(
    gateway: Gateway, served: Mapping[str, Tunnel], surroundings: Surroundings
) -> Iterator[Route]:
    """The same for ``protected``, wherever there are interfaces: daemons bring the routes."""
    for network in gateway.protected:
        for tunnel in served.values():
            yield Route(
                network,
                None,
                RouteType.UNREACHABLE,
                table=_table_of_interface(gateway, tunnel, surroundings),
                metric=twin_metric(gateway.instance),
                namespace=gateway.options(tunnel.interface).namespace,
            )


def route_table(
    gateway: Gateway, tunnel: Tunnel, network: IpNetwork, surroundings: Surroundings
) -> int:
    """The routing table of a route: that of its interface's VRF, our own, or main."""
    if covers_a_peer(gateway, tunnel, network):
        return own_table(gateway)
    return _table_of_interface(gateway, tunnel, surroundings)


def _table_of_twin(
    gateway: Gateway, name: str, network: IpNetwork, surroundings: Surroundings
) -> int:
    """That of its route, which the kernel has put into main where an address has brought it.

    Our own table would be asked first, and what is unreachable there ends the search.
    """
    tunnel = gateway.tunnels[name]
    if network.prefixlen and network not in gateway.prefixes(name):
        return _table_of_interface(gateway, tunnel, surroundings)
    return route_table(gateway, tunnel, network, surroundings)


def _table_of_interface(gateway: Gateway, tunnel: Tunnel, surroundings: Surroundings) -> int:
    options = gateway.options(tunnel.interface)
    if options.vrf is None or options.namespace in surroundings.missing:
        return MAIN_TABLE
    return surroundings.links[options.namespace, options.vrf].table or MAIN_TABLE


def guarded_networks(gateway: Gateway, name: str) -> Iterator[IpNetwork]:
    """Prefixes that must not leave in clear: routes, and what the addresses connect to.

    When the interface goes, its connected routes go too, and the default route would take over.
    """
    yield from gateway.prefixes(name)
    for address in gateway.tunnels[name].addresses:
        if address.network.num_addresses > 1:
            yield address.network
