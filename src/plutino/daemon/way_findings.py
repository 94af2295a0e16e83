"""Why packets for a tunnel never come to it: routes, rules and policies of somebody else.

In words, for ``doctor``, where a gateway serves already: before, there are no routes of ours.
"""

from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_network
from typing import Final

from plutino.config.gateway import Gateway
from plutino.model.errors import KernelError, PlaneError
from plutino.model.link import MAIN_TABLE, Route
from plutino.model.numbers import IfId
from plutino.model.policy import Action, Direction, IpAddress, IpNetwork, Policy, is_within
from plutino.netlink.route_clients import RouteClients
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.netlink.xfrm_client import XfrmClient

_CONNECTED: Final = 2
"""RTPROT_KERNEL: the networks of this host's own devices."""
_LOOPBACK: Final = "lo"
_ANY: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_FEW: Final = 16
"""So many longer routes of others are looked at for each network."""


def ways_of_others(
    gateway: Gateway, routes: RouteClients
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Networks of tunnels whose packets take another way, and parts of them, in words.

    That a part has a way of its own may be what its owner wants: a network of this side within a
    route that covers it.
    """
    ways: dict[str, bool] = {}
    for words, is_part in _ways_of_others(gateway, routes):
        ways.setdefault(words, is_part)
    return (
        tuple(words for words, is_part in ways.items() if not is_part),
        tuple(words for words, is_part in ways.items() if is_part),
    )


def _ways_of_others(gateway: Gateway, routes: RouteClients) -> Iterator[tuple[str, bool]]:
    """In words; and whether it is about a part."""
    ours = {tunnel.interface for tunnel in gateway.tunnels.values()}
    every: dict[str | None, tuple[Route, ...]] = {}
    for name, tunnel in gateway.tunnels.items():
        options = gateway.options(tunnel.interface)
        if options.vrf is not None or options.namespace in routes.missing:
            continue  # who is in a VRF asks its table, which this lookup does not
        client = routes[options.namespace]
        if options.namespace not in every:
            listed = client.list_routes()
            every[options.namespace] = tuple(one for one in listed if one.interfaces)
        for network in gateway.prefixes(name):
            if network.prefixlen == 0:
                continue  # longer routes than a default route are what one has
            within = [
                one for one in every[options.namespace] if is_within(one.destination, network)
            ]
            if not any(one.destination == network and ours & {*one.interfaces} for one in within):
                continue  # ours is not there, which is no way of others: `status` has it
            within = [one for one in within if one.table == MAIN_TABLE]
            first = _an_address(network)
            is_own = any(first in one.destination for one in within if one.protocol == _CONNECTED)
            # A part that its owner has closed off takes no other way.
            found = client.path_mtu(first) or client.path_mtu(network[-1])
            if not is_own and (found is None or found[0] not in {*ours, _LOOPBACK}):
                yield _told(name, tunnel.interface, network, first, found), False
                continue
            for part in _foreign(within, ours)[:_FEW]:
                found = client.path_mtu(_an_address(part))
                if found is not None and found[0] not in {*ours, _LOOPBACK}:
                    yield _told_of_part(name, network, part, found[0]), True


def _foreign(within: list[Route], ours: set[str]) -> list[IpNetwork]:
    return [
        one.destination
        for one in within
        if one.protocol != _CONNECTED and not ours & set(one.interfaces)
    ]


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


def _told_of_part(name: str, network: IpNetwork, part: IpNetwork, device: str) -> str:
    return (
        f"{part}, a part of {network} of tunnel '{name}', has a longer route of somebody else and "
        f"leaves by {device}: right for a network of this side, see `ip route get {part[0]}`"
    )


def blocking_policies(gateway: Gateway) -> tuple[str, ...]:
    """Policies of the kernel that drop packets before they come to an interface, in words.

    Those alone that may be about packets of tunnels, or about IKE.
    """
    try:
        with closing(NetlinkSocket.kernel(NETLINK_XFRM)) as socket:
            found = XfrmClient(socket).list_policies()
    except (KernelError, PlaneError):
        return ()  # without XFRM there are none
    networks: set[IpNetwork] = set()
    for name, tunnel in gateway.tunnels.items():
        networks.update(gateway.prefixes(name) or _ANY)  # a routing daemon may have others
        networks.update(ip_network(one) for one in tunnel.peers if not one.is_unspecified)
    return tuple(
        f"an XFRM policy of somebody else drops packets: dir {one.direction.name.lower()} "
        f"{one.selector} priority {one.priority}; see `ip xfrm policy`"
        for one in found
        if one.action is Action.BLOCK
        and one.if_id == IfId(0)
        and (one.mark is None or one.mark.value == 0)  # else for packets that others mark
        and any(_concerns(one, network) for network in networks)
    )


def _concerns(policy: Policy, network: IpNetwork) -> bool:
    """Whether it is about some of what goes to a network, or comes from there."""
    ends = {
        Direction.OUT: (policy.selector.destination,),
        Direction.IN: (policy.selector.source,),
        Direction.FWD: (policy.selector.source, policy.selector.destination),
    }[policy.direction]
    return any(is_within(network, end) or is_within(end, network) for end in ends)
