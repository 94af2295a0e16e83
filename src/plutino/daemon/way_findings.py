"""Why packets for a tunnel never come to it: routes, rules and policies of somebody else.

In words, for ``doctor``, where a gateway serves already: before, there are no routes of ours.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import Final

from plutino.config.gateway import Gateway
from plutino.model.errors import KernelError, PlaneError
from plutino.model.link import MAIN_TABLE, Route
from plutino.model.numbers import IfId
from plutino.model.policy import Action, IpAddress, IpNetwork, is_within
from plutino.netlink.route_clients import RouteClients
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.netlink.xfrm_client import XfrmClient

_CONNECTED: Final = 2
"""RTPROT_KERNEL: the networks of this host's own devices."""
_LOOPBACK: Final = "lo"
_FEW: Final = 16
"""So many longer routes of others are looked at for each network."""


def ways_of_others(gateway: Gateway, routes: RouteClients) -> tuple[str, ...]:
    """Networks of tunnels whose packets take another way, in words."""
    return tuple(dict.fromkeys(_ways_of_others(gateway, routes)))


def _ways_of_others(gateway: Gateway, routes: RouteClients) -> Iterator[str]:
    ours = {tunnel.interface for tunnel in gateway.tunnels.values()}
    main: dict[str | None, tuple[Route, ...]] = {}
    for name, tunnel in gateway.tunnels.items():
        options = gateway.options(tunnel.interface)
        if options.vrf is not None or options.namespace in routes.missing:
            continue  # who is in a VRF asks its table, which this lookup does not
        client = routes[options.namespace]
        if options.namespace not in main:
            main[options.namespace] = client.list_routes()
        for network in gateway.prefixes(name):
            if network.prefixlen == 0:
                continue  # longer routes than a default route are what one has
            for target in _targets(network, main[options.namespace], ours):
                found = client.path_mtu(target)
                if found is None or found[0] not in {*ours, _LOOPBACK}:
                    yield _told(name, tunnel.interface, network, target, found)


def _targets(network: IpNetwork, routes: tuple[Route, ...], ours: set[str]) -> Iterator[IpAddress]:
    """An address of the network, and one of each part of it that others have a route for."""
    within = [
        one
        for one in routes
        if one.table == MAIN_TABLE and is_within(one.destination, network) and one.interfaces
    ]
    first = _an_address(network)
    own_networks = [one.destination for one in within if one.protocol == _CONNECTED]
    if not any(first in one for one in own_networks):
        yield first
    foreign = [
        one.destination
        for one in within
        if one.protocol != _CONNECTED and not ours & set(one.interfaces)
    ]
    yield from map(_an_address, foreign[:_FEW])


def _an_address(network: IpNetwork) -> IpAddress:
    return network[0] if network.num_addresses == 1 else network[1]


def _told(
    name: str,
    interface: str,
    network: IpNetwork,
    target: IpAddress,
    found: tuple[str, int] | None,
) -> str:
    way = "find no way" if found is None else f"leave by {found[0]}"
    return (
        f"{network} of tunnel '{name}': packets to {target} {way} and not by {interface}: a rule "
        f"or a longer route of somebody else has the word; see `ip route get {target}`, `ip rule`"
    )


def blocking_policies() -> tuple[str, ...]:
    """Policies of the kernel that drop packets before they come to an interface, in words."""
    try:
        with closing(NetlinkSocket.kernel(NETLINK_XFRM)) as socket:
            found = XfrmClient(socket).list_policies()
    except (KernelError, PlaneError):
        return ()  # without XFRM there are none
    return tuple(
        f"an XFRM policy of somebody else drops packets: dir {one.direction.name.lower()} "
        f"{one.selector} priority {one.priority}; see `ip xfrm policy`"
        for one in found
        if one.action is Action.BLOCK and one.if_id == IfId(0)
    )
