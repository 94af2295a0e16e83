"""A gateway's configuration to everything that should exist. Pure."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import Final

from plutino.config.gateway import Gateway, Tunnel
from plutino.config.numbers import TunnelNumbers, tunnel_numbers
from plutino.config.static_keys import StaticKeys
from plutino.config.values import IpNetwork
from plutino.desired.interfaces import compile_interfaces
from plutino.desired.netfilter import compile_netfilter
from plutino.desired.rules import compile_rules, covers_a_peer, own_table
from plutino.desired.sequences import SavedSequence, Sequences, starting_replay
from plutino.desired.state import DesiredState, Surroundings, TunnelPlan
from plutino.model.errors import ConfigError, Problem
from plutino.model.link import MAIN_TABLE, Address, Namespace, Route, RouteType
from plutino.model.numbers import ReqId
from plutino.model.policy import (
    Default,
    Direction,
    Mode,
    Policy,
    PolicyDefaults,
    Selector,
    Template,
)
from plutino.model.sa import (
    Offload,
    OffloadMode,
    SaDirection,
    SecurityAssociation,
    UdpEncapsulation,
)

ROUTE_METRIC: Final = 50
"""Explicit, because IPv6 turns 0 into 1024."""
TWIN_METRIC: Final = 0xFFFF0000
"""Unreachable twins lose against every other route; the low half tells instances apart."""
REQID_RANGE: Final = 0x70000000
_REQID_BITS: Final = 28
POLICY_PRIORITY: Final = 1000
EVERYTHING: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))

_NO_SURROUNDINGS: Final = Surroundings()


def compile_gateway(
    gateway: Gateway,
    keys: Mapping[str, StaticKeys],
    *,
    surroundings: Surroundings = _NO_SURROUNDINGS,
    sequences: Sequences,
) -> DesiredState:
    """Links, addresses, policies, SAs and routes of a gateway.

    ``keys`` are by tunnel name. Raises ConfigError if two tunnels' reqids are the same number, or
    a device that the configuration names is not there.
    """
    _check_devices(gateway, surroundings)
    plans = []
    for name in gateway.tunnels:
        plans.append(_compile_tunnel(gateway, name, keys[name], sequences, surroundings))
    _check_reqids(plans)
    metric = twin_metric(gateway.instance)
    served = {
        name: tunnel
        for name, tunnel in gateway.tunnels.items()
        if gateway.options(tunnel.interface).namespace not in surroundings.missing
    }
    twins = {
        Route(
            network,
            None,
            RouteType.UNREACHABLE,
            table=_table(gateway, tunnel, network, surroundings),
            metric=metric,
            namespace=gateway.options(tunnel.interface).namespace,
        ): None
        for tunnel in served.values()
        for network in _guarded(tunnel)
    }
    covering = {
        network
        for tunnel in served.values()
        for network in tunnel.routes
        if covers_a_peer(gateway, tunnel, network)
    }
    addresses = {
        Address(tunnel.interface, address, gateway.options(tunnel.interface).namespace): None
        for tunnel in served.values()
        for address in tunnel.addresses
    }
    interfaces = tuple(
        one
        for one in compile_interfaces(gateway, keys, surroundings.path_mtu)
        if one.namespace not in surroundings.missing
    )
    rules = tuple(compile_rules(gateway, covering))
    return DesiredState(
        instance=gateway.instance,
        interfaces=interfaces,
        addresses=tuple(addresses),
        policies=tuple(policy for plan in plans for policy in plan.policies),
        sas=tuple(sa for plan in plans for sa in plan.sas),
        routes=(
            *twins,
            *(route for plan in plans if plan.name in served for route in plan.routes),
        ),
        tunnels=tuple(plans),
        defaults=_defaults(gateway),
        rules=rules,
        netfilter=compile_netfilter(gateway, interfaces, rules) if surroundings.netfilter else None,
    )


def twin_metric(instance: str) -> int:
    """The metric of an instance's unreachable routes, by which they are known as its own."""
    digest = hashlib.sha256(instance.encode()).digest()
    return TWIN_METRIC | int.from_bytes(digest[:2], "big")


def tunnel_reqid(instance: str, tunnel: str) -> ReqId:
    """A stable reqid in a range of our own."""
    digest = hashlib.sha256(f"{instance}\0{tunnel}".encode()).digest()
    return ReqId(REQID_RANGE | int.from_bytes(digest[:4], "big") >> (32 - _REQID_BITS))


def is_ours(reqid: int) -> bool:
    """Whether a reqid is of plutino's range."""
    return reqid >> _REQID_BITS == REQID_RANGE >> _REQID_BITS


def _compile_tunnel(
    gateway: Gateway,
    name: str,
    keys: StaticKeys,
    sequences: Sequences,
    surroundings: Surroundings,
) -> TunnelPlan:
    tunnel = gateway.tunnels[name]
    numbers = tunnel_numbers(gateway, name)
    reqid = tunnel_reqid(gateway.instance, name)
    options = gateway.options(tunnel.interface)
    return TunnelPlan(
        name=name,
        interface=tunnel.interface,
        reqid=reqid,
        policies=tuple(_policies(tunnel, numbers, reqid)),
        sas=tuple(
            _numbered(sa, tunnel, sequences)
            for sa in _sas(tunnel, keys, numbers, reqid, surroundings)
        ),
        routes=tuple(
            Route(
                network,
                tunnel.interface,
                table=_table(gateway, tunnel, network, surroundings),
                metric=ROUTE_METRIC,
                if_id=numbers.if_id if options.external else None,
                namespace=options.namespace,
            )
            for network in tunnel.routes
        ),
    )


def traffic_selectors(tunnel: Tunnel) -> Iterator[tuple[IpNetwork, IpNetwork]]:
    """Pairs of networks, ours and the peer's, of one family each."""
    if tunnel.mode == "transport":
        yield ip_network(tunnel.local), ip_network(tunnel.remote)
        return
    for local in tunnel.local_ts or EVERYTHING:
        for remote in tunnel.remote_ts or EVERYTHING:
            if local.version == remote.version:
                yield local, remote


def _policies(tunnel: Tunnel, numbers: TunnelNumbers, reqid: ReqId) -> Iterator[Policy]:
    mode = Mode[tunnel.mode.upper()]
    outward = Template(tunnel.local, tunnel.remote, reqid, mode)
    inward = Template(tunnel.remote, tunnel.local, reqid, mode)
    for local, remote in traffic_selectors(tunnel):
        for direction, selector, template, mark in (
            (Direction.OUT, Selector(local, remote), outward, numbers.mark_out),
            (Direction.IN, Selector(remote, local), inward, numbers.mark_in),
            (Direction.FWD, Selector(remote, local), inward, numbers.mark_in),
        ):
            yield Policy(
                direction, selector, numbers.if_id, (template,), POLICY_PRIORITY, mark=mark
            )


def _sas(
    tunnel: Tunnel,
    keys: StaticKeys,
    numbers: TunnelNumbers,
    reqid: ReqId,
    surroundings: Surroundings,
) -> Iterator[SecurityAssociation]:
    udp = UdpEncapsulation() if tunnel.encapsulation == "udp" else None
    (pair, *_) = traffic_selectors(tunnel)
    outward = SecurityAssociation(
        spi=keys.outbound.spi,
        source=tunnel.local,
        destination=tunnel.remote,
        reqid=reqid,
        if_id=numbers.if_id,
        keys=keys.suite.keys(keys.outbound.keymat),
        direction=SaDirection.OUT,
        mode=Mode[tunnel.mode.upper()],
        output_mark=numbers.set_mark_out,
        encapsulation=udp,
        mark=numbers.mark_out,
        selector=Selector(*pair) if tunnel.mode == "beet" else None,
        offload=_offload(tunnel, SaDirection.OUT, surroundings),
        nat_keepalive=tunnel.nat_keepalive,
    )
    inward = replace(
        outward,
        spi=keys.inbound.spi,
        source=tunnel.remote,
        destination=tunnel.local,
        keys=keys.suite.keys(keys.inbound.keymat),
        direction=SaDirection.IN,
        # The kernel puts it on the decrypted packet, where rules of others see it.
        output_mark=numbers.set_mark_in,
        mark=numbers.mark_in,
        selector=Selector(pair[1], pair[0]) if tunnel.mode == "beet" else None,
        offload=_offload(tunnel, SaDirection.IN, surroundings),
        nat_keepalive=0,
    )
    yield inward
    yield outward


def _numbered(sa: SecurityAssociation, tunnel: Tunnel, sequences: Sequences) -> SecurityAssociation:
    saved = sequences.get(sa.identity, SavedSequence())
    return replace(sa, replay=starting_replay(saved, sa.direction, tunnel.replay_window))


def _offload(tunnel: Tunnel, direction: SaDirection, surroundings: Surroundings) -> Offload | None:
    options = tunnel.offload
    if options is None or (direction is SaDirection.IN and options.directions == "out"):
        return None
    return Offload(surroundings.links[None, options.device].index, OffloadMode(options.mode))


def _table(gateway: Gateway, tunnel: Tunnel, network: IpNetwork, surroundings: Surroundings) -> int:
    """The routing table of a route: that of its interface's VRF, our own, or main."""
    options = gateway.options(tunnel.interface)
    if covers_a_peer(gateway, tunnel, network):
        return own_table(gateway)
    if options.vrf is None or options.namespace in surroundings.missing:
        return MAIN_TABLE
    return surroundings.links[options.namespace, options.vrf].table or MAIN_TABLE


def _defaults(gateway: Gateway) -> PolicyDefaults | None:
    options = gateway.policy_default
    if options is None:
        return None
    verdicts = (options.input, options.forward, options.output)
    return PolicyDefaults(*(Default[one.upper()] if one else Default.UNSPEC for one in verdicts))


def _guarded(tunnel: Tunnel) -> Iterator[IpNetwork]:
    """Prefixes that must not leave in clear: routes, and what the addresses connect to.

    When the interface goes, its connected routes go too, and the default route would take over.
    """
    yield from tunnel.routes
    for address in tunnel.addresses:
        if address.network.num_addresses > 1:
            yield address.network


def _check_devices(gateway: Gateway, surroundings: Surroundings) -> None:
    problems = []
    wanted: list[tuple[str, Namespace, str | None, str]] = []
    for name, options in gateway.interfaces.items():
        wanted.append((f"interfaces.{name}.link", None, options.link, ""))
        if options.namespace not in surroundings.missing:
            wanted.append((f"interfaces.{name}.vrf", options.namespace, options.vrf, "vrf"))
    for name, tunnel in gateway.tunnels.items():
        device = tunnel.offload.device if tunnel.offload is not None else None
        wanted.append((f"tunnels.{name}.offload.device", None, device, ""))
    for key, namespace, device, kind in wanted:
        link = None if device is None else surroundings.links.get((namespace, device))
        if device is not None and link is None:
            where = "" if namespace is None else f" in network namespace {namespace}"
            why = f"there is no device {device}{where}"
            problems.append(Problem("", None, key, why, "see `ip link`"))
        elif link is not None and kind and link.kind != kind:
            why = f"{device} is no {kind} device, but of kind {link.kind}"
            problems.append(Problem("", None, key, why, "see `ip link show type vrf`"))
    if problems:
        raise ConfigError(problems)


def _check_reqids(plans: list[TunnelPlan]) -> None:
    seen: dict[int, str] = {}
    for plan in plans:
        other = seen.setdefault(plan.reqid, plan.name)
        if other != plan.name:
            why = f"its reqid is that of tunnel '{other}' by chance"
            raise ConfigError.single("", f"tunnels.{plan.name}", why, "rename one of them")
