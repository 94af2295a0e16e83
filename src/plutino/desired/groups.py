"""The routes of groups of tunnels, by which tunnels are lost. Pure.

A group of `a` and `b` as active and standby has a route for each, and a lost one moves behind all
others, from where it can still be probed:

```
10.2.0.0/16 dev ipsec1 metric 50         10.2.0.0/16 dev ipsec2 metric 51
10.2.0.0/16 dev ipsec2 metric 51         10.2.0.0/16 dev ipsec1 metric 1050      `a` is lost
```
With ECMP there is one route over all that are not lost. Where all are lost nothing better is known,
and they are used as if none were. The unreachable twin of a prefix stands behind all of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Final

from plutino.config.gateway import Gateway
from plutino.config.group import Group
from plutino.config.probe_targets import inner_address, probe_targets
from plutino.config.values import IpNetwork
from plutino.desired.routes import ROUTE_METRIC, route_source, route_table
from plutino.desired.state import Surroundings, TunnelPlan
from plutino.model.group import GroupMember, GroupPlan
from plutino.model.link import NextHop, Route
from plutino.model.probe import Probe

LOST_METRIC: Final = 1000
"""What a lost tunnel's routes have more than others."""
ANY_GATEWAY: Final = ip_address("fe80::13:4340")
"""IPv6's multipath routes need gateways (``ip6_route_multipath_add()``), which no one asks for on a
link without neighbours; it is nobody's address."""


def compile_groups(
    gateway: Gateway, plans: Mapping[str, TunnelPlan], surroundings: Surroundings
) -> Iterator[GroupPlan]:
    """Every group as things are; one whose network namespace is missing has no routes."""
    for name, group in gateway.groups.items():
        members = _members(gateway, group, plans, surroundings)
        first = gateway.options(members[0].interface)
        routes = (
            ()
            if first.namespace in surroundings.missing
            else tuple(
                route
                for network in group.routes
                for route in _ranked(
                    group,
                    members,
                    [_route(gateway, plans[one.tunnel], network, surroundings) for one in members],
                )
            )
        )
        yield GroupPlan(name, group.mode, members, routes)


def tunnel_probe(name: str) -> str:
    """The key of the probe inside of a tunnel."""
    return f"tunnel {name}"


def compile_group_probes(gateway: Gateway, surroundings: Surroundings) -> Iterator[Probe]:
    """What has to be asked inside of the tunnels of groups, whichever carries traffic."""
    for group in gateway.groups.values():
        options = group.probe
        if options.kind == "none":
            continue
        for name in group.tunnels:
            tunnel = gateway.tunnels[name]
            namespace = gateway.options(tunnel.interface).namespace
            if namespace in surroundings.missing:
                continue
            targets = probe_targets(gateway, group, name)
            yield Probe(
                key=tunnel_probe(name),
                destinations=targets,
                source=inner_address(tunnel, targets[0]),
                mark=0 if tunnel.mark_out is None else tunnel.mark_out.value,
                interface=tunnel.interface,
                namespace=namespace,
                port=options.port,
                interval=options.interval,
                lost_after=options.lost_after,
                back_after=options.back_after,
                silence_is_loss=True,
            )


def _members(
    gateway: Gateway, group: Group, plans: Mapping[str, TunnelPlan], surroundings: Surroundings
) -> tuple[GroupMember, ...]:
    members = []
    for name in group.tunnels:
        plan = plans[name]
        probe = None if group.probe.kind == "none" else tunnel_probe(name)
        lost = plan.paths.lost or not plan.sas or probe in surroundings.ways.lost
        members.append(GroupMember(name, plan.interface, probe, lost, active=False))
    usable = [one.tunnel for one in members if not one.lost] or list(group.tunnels)
    carrying = usable if group.mode == "ecmp" else usable[:1]
    return tuple(replace(one, active=one.tunnel in carrying) for one in members)


def _route(
    gateway: Gateway, plan: TunnelPlan, network: IpNetwork, surroundings: Surroundings
) -> Route:
    tunnel = gateway.tunnels[plan.name]
    local = plan.paths.active.local
    return Route(
        network,
        plan.interface,
        table=route_table(gateway, tunnel, network, surroundings),
        namespace=gateway.options(plan.interface).namespace,
        source=route_source(gateway, tunnel, network, local, surroundings),
    )


def _ranked(group: Group, members: tuple[GroupMember, ...], routes: list[Route]) -> Iterator[Route]:
    """The ``routes`` of one network, one for each member, with their metrics."""
    all_lost = all(one.lost for one in members)
    together = []
    for rank, (one, route) in enumerate(zip(members, routes, strict=True)):
        behind = LOST_METRIC if one.lost and not all_lost else 0
        if group.mode == "ecmp" and one.active:
            together.append(replace(route, metric=ROUTE_METRIC))
        else:
            yield replace(route, metric=ROUTE_METRIC + rank + behind)
    if together:
        yield _spread(
            together, {one.interface: group.weights.get(one.tunnel, 1) for one in members}
        )


def _spread(routes: list[Route], weights: Mapping[str, int]) -> Route:
    """One route for all of these."""
    first = routes[0]
    gateway = ANY_GATEWAY if first.destination.version == 6 else None
    if len(routes) == 1:
        return replace(first, gateway=gateway)
    interfaces = sorted(name for route in routes for name in route.interfaces)
    hops = tuple(NextHop(name, gateway, weights[name]) for name in interfaces)
    return replace(first, interface=None, nexthops=hops)
