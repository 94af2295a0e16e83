"""What exists of ours, in the kernel and in the data plane."""

from collections.abc import Sequence

from plutino.apply.system import System
from plutino.dataplane.plane import DataPlane
from plutino.desired.instance import twin_metric
from plutino.desired.rules import is_our_rule
from plutino.desired.sas import is_ours
from plutino.desired.state import ObservedState
from plutino.desired.uplinks import uplink_metric
from plutino.model.link import RTPROT_PLUTINO, RouteType, link_alias
from plutino.model.sysctl import Sysctl


def observe(
    instance: str, plane: DataPlane | None, system: System, sysctls: Sequence[Sysctl] = ()
) -> ObservedState:
    """All links; addresses, routes, policies and SAs of one instance.

    ``sysctls`` are the settings that are wanted. Without a plane nothing is served, and there are
    no policies and no SAs.
    """
    links = system.routes.list_links()
    if plane is not None:
        links = plane.bind_links(links)
    tag = link_alias(instance)
    ours = {(link.namespace, link.name) for link in links if link.alias == tag}
    twin = twin_metric(instance)
    found = tuple(
        route
        for route in system.routes.list_routes(protocol=RTPROT_PLUTINO)
        if any((route.namespace, name) in ours for name in route.interfaces)
        or (route.route_type is RouteType.UNREACHABLE and route.metric == twin)
        or route.metric == uplink_metric(instance)
    )
    return ObservedState(
        links=links,
        addresses=tuple(
            address
            for address in system.routes.list_addresses()
            if (address.namespace, address.interface) in ours
        ),
        routes=found if plane is None else plane.bind_routes(found),
        rules=tuple(
            rule
            for rule in system.routes.home.list_rules(protocol=RTPROT_PLUTINO)
            if is_our_rule(rule, instance)
        ),
        netfilter=system.netfilter.observe(),
        sysctls=system.sysctls.observe(sysctls),
        former_sysctls=system.sysctls.former(),
        policies=()
        if plane is None
        else tuple(
            policy
            for policy in plane.list_policies()
            if any(is_ours(template.reqid) for template in policy.templates)
        ),
        sas=() if plane is None else tuple(sa for sa, _ in plane.list_sas() if is_ours(sa.reqid)),
        defaults=None if plane is None else plane.policy_defaults(),
        former_defaults=None if plane is None else plane.former_defaults(),
    )
