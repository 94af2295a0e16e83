"""A gateway's configuration to everything that should exist. Pure."""

from collections.abc import Mapping
from typing import Final

from plutino.config.gateway import Gateway
from plutino.config.numbers import tunnel_numbers
from plutino.config.static_keys import StaticKeys
from plutino.desired.child_sas import compile_children, expected_sas, paths_in_use
from plutino.desired.device_checks import check_devices
from plutino.desired.groups import compile_group_probes, compile_groups
from plutino.desired.guard import check_guard
from plutino.desired.interfaces import compile_interfaces
from plutino.desired.link_local import compile_link_locals
from plutino.desired.netfilter import compile_netfilter
from plutino.desired.paths import choose_paths, compile_probes
from plutino.desired.routes import compile_routes, compile_twins
from plutino.desired.rules import compile_rules, covers_a_peer
from plutino.desired.sas import compile_policies, compile_sas, tunnel_reqid
from plutino.desired.sequences import Sequences
from plutino.desired.state import DesiredState, Surroundings, TunnelPlan
from plutino.desired.sysctls import compile_sysctls
from plutino.desired.uplinks import (
    compile_source_rules,
    compile_uplink_routes,
    compile_uplink_rules,
)
from plutino.model.errors import ConfigError
from plutino.model.link import Address
from plutino.model.path import TunnelPaths
from plutino.model.policy import Default, PolicyDefaults

_NO_SURROUNDINGS: Final = Surroundings()


def compile_gateway(
    gateway: Gateway,
    keys: Mapping[str, StaticKeys],
    *,
    surroundings: Surroundings = _NO_SURROUNDINGS,
    sequences: Sequences,
) -> DesiredState:
    """Links, addresses, policies, SAs and routes of a gateway.

    ``keys`` are by tunnel name, those of standby SAs by ``standby_keys``. Raises ConfigError if two
    tunnels' reqids are the same number, or a device that the configuration names is not there.
    """
    check_devices(gateway, surroundings)
    wanted = {name: choose_paths(gateway, name, surroundings) for name in gateway.tunnels}
    paths = {
        name: paths_in_use(one, surroundings.children.get(name, ())) for name, one in wanted.items()
    }
    plans = []
    for name in gateway.tunnels:
        plans.append(
            _compile_tunnel(
                gateway, name, paths[name], keys, sequences=sequences, surroundings=surroundings
            )
        )
    _check_reqids(plans)
    served = {
        name: tunnel
        for name, tunnel in gateway.tunnels.items()
        if gateway.options(tunnel.interface).namespace not in surroundings.missing
    }
    covering = {
        network
        for name, tunnel in served.items()
        for network in gateway.prefixes(name)
        if covers_a_peer(gateway, tunnel, network)
    }
    addresses = {
        Address(tunnel.interface, address, gateway.options(tunnel.interface).namespace): None
        for tunnel in served.values()
        for address in tunnel.addresses
    } | dict.fromkeys(compile_link_locals(gateway, surroundings))
    interfaces = tuple(
        one
        for one in compile_interfaces(
            gateway, keys, paths, surroundings, {plan.name: plan.sas for plan in plans}
        )
        if one.namespace not in surroundings.missing
    )
    groups = tuple(compile_groups(gateway, {plan.name: plan for plan in plans}, surroundings))
    rules = [*compile_uplink_rules(gateway), *compile_rules(gateway, covering)]
    after = max((one.priority for one in rules), default=0) + 1
    rules += compile_source_rules(gateway, after, surroundings)
    return DesiredState(
        instance=gateway.instance,
        interfaces=interfaces,
        addresses=tuple(addresses),
        policies=tuple(policy for plan in plans for policy in plan.policies),
        sas=tuple(sa for plan in plans for sa in plan.sas),
        routes=(
            *compile_twins(gateway, served, surroundings),
            *compile_uplink_routes(gateway, surroundings),
            *(route for plan in plans if plan.name in served for route in plan.routes),
            *(route for group in groups for route in group.routes),
        ),
        tunnels=tuple(plans),
        defaults=_defaults(gateway),
        rules=tuple(rules),
        sysctls=tuple(compile_sysctls(gateway, surroundings)),
        probes=(*compile_probes(gateway, wanted), *compile_group_probes(gateway, surroundings)),
        groups=groups,
        ways={name: wanted[name] for name, one in gateway.tunnels.items() if one.ike is not None},
        findings=tuple(check_guard(gateway, surroundings)),
        netfilter=compile_netfilter(gateway, interfaces, rules, surroundings)
        if surroundings.netfilter
        else None,
    )


def _compile_tunnel(
    gateway: Gateway,
    name: str,
    paths: TunnelPaths,
    keys: Mapping[str, StaticKeys],
    *,
    sequences: Sequences,
    surroundings: Surroundings,
) -> TunnelPlan:
    tunnel = gateway.tunnels[name]
    numbers = tunnel_numbers(gateway, name)
    reqid = tunnel_reqid(gateway.instance, name)
    children = surroundings.children.get(name, ())
    if tunnel.ike is None:
        sas = compile_sas(
            tunnel, paths, keys, numbers, reqid, surroundings=surroundings, sequences=sequences
        )
    else:
        sas = compile_children(
            tunnel, paths.active, children, numbers, reqid=reqid, sequences=sequences
        )
    return TunnelPlan(
        name=name,
        interface=tunnel.interface,
        reqid=reqid,
        paths=paths,
        policies=tuple(compile_policies(tunnel, paths, numbers, reqid, children)),
        sas=tuple(sas),
        routes=tuple(compile_routes(gateway, name, paths.active.local, surroundings)),
        expected=expected_sas(tunnel, paths.active, numbers, reqid),
    )


def _defaults(gateway: Gateway) -> PolicyDefaults | None:
    options = gateway.policy_default
    if options is None:
        return None
    verdicts = (options.input, options.forward, options.output)
    return PolicyDefaults(*(Default[one.upper()] if one else Default.UNSPEC for one in verdicts))


def _check_reqids(plans: list[TunnelPlan]) -> None:
    seen: dict[int, str] = {}
    for plan in plans:
        other = seen.setdefault(plan.reqid, plan.name)
        if other != plan.name:
            why = f"its reqid is that of tunnel '{other}' by chance"
            raise ConfigError.single("", f"tunnels.{plan.name}", why, "rename one of them")
