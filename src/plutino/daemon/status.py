"""Compares what should be with what is, for people: the status report."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Final

from plutino.apply.observe import observe
from plutino.config.files import LoadedGateway
from plutino.config.numbers import tunnel_if_id
from plutino.config.tunnel import Tunnel
from plutino.control.report import (
    DropReport,
    EngineReport,
    IkeReport,
    SaReport,
    State,
    StatusReport,
    TunnelReport,
)
from plutino.daemon.group_status import group_reports
from plutino.daemon.health_store import load_ways
from plutino.daemon.ike_status import NO_IKE, IkeState
from plutino.daemon.passes import (
    compile_desired,
    missing_namespaces,
    open_routes,
    socket_kinds,
    system_of,
)
from plutino.dataplane.choice import PlaneChoice, current_choice, open_plane
from plutino.dataplane.plane import ManagedPlane
from plutino.dataplane.runtime import RuntimePaths
from plutino.desired.guard import COMMENT
from plutino.desired.sas import selectors_in_force, tunnel_reqid
from plutino.desired.state import TunnelPlan
from plutino.model.algorithms import algorithm_names
from plutino.model.child_sa import ChildSa
from plutino.model.drop_reason import XFRM_STAT
from plutino.model.errors import PlaneError
from plutino.model.interface import Interface
from plutino.model.link import Address, Route
from plutino.model.netfilter import NetfilterTable
from plutino.model.numbers import IfId
from plutino.model.policy import Policy, PolicyDefaults
from plutino.model.rule import Rule
from plutino.model.sa import SaDirection, SaUse, SecurityAssociation
from plutino.model.sysctl import Sysctl
from plutino.netlink.route_clients import RouteClients
from plutino.plan.diff import ConflictError, diff
from plutino.plan.step import Step

GUARD_DROPS: Final = "GuardDrop"
_MEANINGS: Final = {
    **XFRM_STAT,
    GUARD_DROPS: "a packet of a tunnel's prefix would have left, or came in, by another way",
}


def build_report(
    loaded: LoadedGateway,
    runtime: RuntimePaths,
    *,
    daemon_pid: int | None = None,
    problems: tuple[str, ...] = (),
    unanswered: frozenset[str] | None = None,
    ike: IkeState = NO_IKE,
) -> StatusReport:
    """The status of one instance, with or without engine and daemon. Changes nothing.

    ``unanswered`` are the keys of probes that nobody has answered, None where nobody asks.
    """
    instance = loaded.gateway.instance
    with open_routes(runtime, loaded.gateway) as routes:
        choice = current_choice(instance, runtime, routes)
        if choice is None:
            choice = PlaneChoice(loaded.gateway.data_plane, "nothing runs")
        else:
            reqids = [tunnel_reqid(instance, name) for name in loaded.gateway.tunnels]
            # An engine that ends while it is asked is an engine that does not run.
            with suppress(PlaneError):
                plane = open_plane(
                    choice, instance, runtime, routes=routes, start=False, reqids=reqids
                )
                if plane is not None:
                    with closing(plane):
                        return _build(
                            loaded,
                            runtime,
                            plane,
                            routes,
                            choice,
                            daemon_pid=daemon_pid,
                            problems=problems,
                            unanswered=unanswered,
                            ike=ike,
                        )
        return _build(
            loaded,
            runtime,
            None,
            routes,
            choice,
            daemon_pid=daemon_pid,
            problems=problems,
            unanswered=unanswered,
            ike=ike,
        )


def _build(
    loaded: LoadedGateway,
    runtime: RuntimePaths,
    plane: ManagedPlane | None,
    routes: RouteClients,
    choice: PlaneChoice,
    *,
    daemon_pid: int | None,
    problems: tuple[str, ...],
    unanswered: frozenset[str] | None,
    ike: IkeState,
) -> StatusReport:
    desired = compile_desired(loaded, routes, {}, load_ways(runtime.health), ike.children)
    system = system_of(desired.instance, runtime, routes)
    observed = observe(desired.instance, plane, system, desired.sysctls)
    try:
        steps = diff(desired, observed)
    except ConflictError as error:
        steps = ()
        problems = (*problems, str(error))
    problems = tuple(dict.fromkeys((*problems, *missing_namespaces(loaded.gateway, routes))))
    if plane is not None:
        problems = (*problems, *_missing_sockets(plane, loaded))
    sas = {} if plane is None else {sa.identity: (sa, use) for sa, use in plane.list_sas()}
    mtus = {(link.namespace, link.name): link.mtu for link in observed.links}
    interfaces = {one.name: one for one in desired.interfaces}
    counters = {} if plane is None else plane.link_stats(desired.interfaces)
    concerns = _concerns(steps)
    tunnels = []
    for plan in desired.tunnels:
        present = [sas[sa.identity] for sa in plan.sas if sa.identity in sas]
        missing = tuple(steps[place].describe() for place in sorted(_places(plan, concerns)))
        state = State.UP if not missing else State.DEGRADED if present else State.DOWN
        by_ike = loaded.gateway.tunnels[plan.name].ike is not None
        if by_ike and daemon_pid is None:
            # The daemon alone knows what they are for, and goes on with them.
            reqid = tunnel_reqid(desired.instance, plan.name)
            present, missing = [pair for pair in sas.values() if pair[0].reqid == reqid], ()
            state = State.DEGRADED if _has_outbound(sa for sa, _ in present) else State.DOWN
        elif by_ike and not _has_outbound(plan.sas):
            state = State.DOWN  # IKE has not made any yet
        interface = interfaces.get(plan.interface)
        tunnels.append(
            _tunnel(
                plan,
                loaded.gateway.tunnels[plan.name],
                state=state,
                missing=missing,
                sas=tuple(_sa(sa, use) for sa, use in present),
                link={
                    name: count for name, count in counters.get(plan.interface, {}).items() if count
                },
                mtu=0 if interface is None else mtus.get((interface.namespace, interface.name), 0),
                if_id=tunnel_if_id(loaded.gateway, plan.name),
                ike=ike.report_of(loaded.gateway, plan.name),
                children=ike.children.get(plan.name, ()),
            )
        )
    stat = dict({} if plane is None else plane.xfrm_stat())
    stat[GUARD_DROPS] = system.netfilter.dropped(COMMENT)
    return StatusReport(
        instance=desired.instance,
        state=_overall([tunnel.state for tunnel in tunnels], problems),
        plane=choice.plane,
        plane_reason=choice.why,
        engine=None if plane is None else _engine(plane),
        daemon_pid=daemon_pid,
        problems=problems,
        tunnels=tuple(tunnels),
        groups=tuple(group_reports(desired.groups, observed.routes, unanswered)),
        drops=tuple(
            DropReport(name, count, _MEANINGS.get(name, ""))
            for name, count in stat.items()
            if count
        ),
    )


def _has_outbound(sas: Iterable[SecurityAssociation]) -> bool:
    return any(sa.direction is SaDirection.OUT for sa in sas)


def _missing_sockets(plane: ManagedPlane, loaded: LoadedGateway) -> list[str]:
    return [
        f"no {kind.words} is open: nothing is received by tunnels that need it"
        for kind in sorted(plane.missing_sockets(socket_kinds(loaded.gateway)))
    ]


def _engine(plane: ManagedPlane) -> EngineReport | None:
    info, losses = plane.engine_info(), plane.losses()
    if info is None:
        return None
    return EngineReport(
        pid=info.pid,
        version=info.version,
        crypto=info.crypto,
        lost_notifications=losses.notifications,
        missed_drops=losses.drops,
    )


def _overall(states: list[State], problems: tuple[str, ...]) -> State:
    if all(state is State.DOWN for state in states):
        return State.DOWN
    if problems or any(state is not State.UP for state in states):
        return State.DEGRADED
    return State.UP


def _tunnel(
    plan: TunnelPlan,
    tunnel: Tunnel,
    *,
    state: State,
    missing: tuple[str, ...],
    sas: tuple[SaReport, ...],
    link: dict[str, int],
    mtu: int,
    if_id: IfId,
    ike: IkeReport | None,
    children: Sequence[ChildSa],
) -> TunnelReport:
    pairs = selectors_in_force(tunnel, plan.paths.active, children)
    return TunnelReport(
        name=plan.name,
        state=state,
        interface=plan.interface,
        if_id=int(if_id),
        mtu=mtu,
        local=str(plan.paths.active.local or "none"),
        remote=_remote(plan, tunnel),
        uplink=plan.paths.active.uplink,
        standby=sum(1 for one in plan.paths.every if one != plan.paths.active and one.usable),
        encapsulation=tunnel.encapsulation,
        missing=missing,
        sas=sas,
        link=link,
        ike=ike,
        selectors=tuple(f"{ours} - {theirs}" for ours, theirs in pairs),
    )


def _remote(plan: TunnelPlan, tunnel: Tunnel) -> str:
    remote = plan.paths.active.remote
    return tunnel.remote_as_written if remote.is_unspecified else str(remote)


def _concerns(steps: Sequence[Step]) -> Mapping[object, list[int]]:
    """The places of steps by what a tunnel has of their objects: interface, prefix, identity."""
    found: dict[object, list[int]] = defaultdict(list)
    for place, step in enumerate(steps):
        for one in _marks_of(step):
            found[one].append(place)
    return found


def _marks_of(step: Step) -> tuple[object, ...]:
    match step.subject:
        case Interface(name=name):
            return (name,)
        case Address(interface):
            return (interface,)
        case Route() as route:
            return (*route.interfaces, route.destination)
        case Policy() as policy:
            return (policy.identity,)
        case SecurityAssociation() as sa:
            return (sa.identity,)
        case PolicyDefaults() | Rule() | NetfilterTable() | Sysctl():
            return ()


def _places(plan: TunnelPlan, concerns: Mapping[object, list[int]]) -> set[int]:
    """Of the steps that a tunnel waits for."""
    own = (
        plan.interface,
        *(one.destination for one in plan.routes),
        *(one.identity for one in plan.policies),
        *(one.identity for one in plan.sas),
    )
    return {place for one in own for place in concerns.get(one, ())}


def _sa(sa: SecurityAssociation, use: SaUse) -> SaReport:
    is_out = sa.direction is SaDirection.OUT
    return SaReport(
        direction=sa.direction.name.lower(),
        spi=str(sa.spi),
        algorithm=algorithm_names(sa.keys),
        octets=use.octets,
        packets=use.packets,
        sequence=sa.replay.oseq if is_out else sa.replay.seq,
        added=use.added,
        first_used=use.first_used,
        replay_window=sa.replay.window,
        replay_drops=use.replay_drops + use.replay_window_drops,
        integrity_failures=use.integrity_failures,
    )
