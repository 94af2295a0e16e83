"""One pass: read what is, compile what should be, apply it. `apply` does one, the daemon many."""

import fcntl
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Final

from plutino.apply.applier import apply_state
from plutino.apply.observe import observe
from plutino.apply.rest import rest_unserved
from plutino.apply.system import System
from plutino.config.files import LoadedGateway
from plutino.config.gateway import Gateway
from plutino.daemon.findings import (
    find_problems,
    lost_paths,
    settings_in_force,
    strict_reverse_paths,
)
from plutino.daemon.health_store import load_ways
from plutino.daemon.marks import find_mark_clashes
from plutino.daemon.sequence_store import add_sequences, load_sequences, save_sequences
from plutino.dataplane.choice import (
    PlaneChoice,
    choose,
    current_choice,
    open_plane,
    settle_choice,
)
from plutino.dataplane.engine_process import engine_running
from plutino.dataplane.held_sockets import holder_running
from plutino.dataplane.journal import Journal
from plutino.dataplane.link_settings import has_ipv6
from plutino.dataplane.plane import DataPlane, ManagedPlane
from plutino.dataplane.runtime import RuntimePaths
from plutino.dataplane.sysctls import SysctlClient
from plutino.dataplane.underlay import SocketKind
from plutino.desired.compile import compile_gateway
from plutino.desired.demands import demands_of
from plutino.desired.paths import choose_paths
from plutino.desired.sas import is_ours, tunnel_reqid
from plutino.desired.sequences import SaIdentity, Sequences, reservations, reserve, without_gone
from plutino.desired.state import DesiredState, ObservedState, Surroundings
from plutino.model.child_sa import ChildSa
from plutino.model.errors import ConfigError, PlaneError, PlutinoError
from plutino.model.group import describe_group
from plutino.model.interface import InterfaceAddress
from plutino.model.link import MAIN_TABLE
from plutino.model.netfilter import table_name
from plutino.model.path import TunnelPaths
from plutino.model.policy import IpAddress
from plutino.model.probe import Probe, Ways
from plutino.model.sa import Encapsulation, SecurityAssociation
from plutino.netfilter.client import NetfilterClient
from plutino.netlink.route_clients import RouteClients
from plutino.plan.diff import diff
from plutino.plan.step import Step

NO_NETFILTER: Final = (
    "there is no nft, or no nftables in the kernel: TCP's segments are not held to the MTU, and "
    "with 0.0.0.0/0 in a tunnel the host answers connections from outside through it"
)

_NO_ROOM: Final = "make room, or mend the folder, and try again"
NO_EXEMPTION: Final = "nat-exempt does nothing without nft: others may translate what leaves"


Children = Mapping[str, tuple[ChildSa, ...]]
NO_CHILDREN: Final[Children] = {}
"""By tunnel name."""


@dataclass(frozen=True, slots=True)
class PassResult:
    """What a pass did, what is not as it should be although packets flow, and IKE's ways."""

    steps: tuple[Step, ...]
    choice: PlaneChoice
    problems: tuple[str, ...] = ()
    probes: tuple[Probe, ...] = ()
    ways: Mapping[str, TunnelPaths] = field(default_factory=dict)


def plan_pass(
    loaded: LoadedGateway, runtime: RuntimePaths, children: Children | None = None
) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """The steps that a pass would do, and problems in words. Changes nothing and starts nothing.

    ``children`` and errors are those of ``run_pass``.
    """
    with open_routes(runtime, loaded.gateway) as routes:
        sequences = load_sequences(runtime.sequences)
        ways = load_ways(runtime.health)
        desired = compile_desired(loaded, routes, sequences, ways, children or NO_CHILDREN)
        if children is None:
            _refuse_orphans(loaded.gateway, desired, runtime, routes)
        plane = _find_plane(loaded.gateway, desired, runtime, routes)
        try:
            system = system_of(desired.instance, runtime, routes)
            there = observe(desired.instance, plane, system, desired.sysctls)
            if not _serves(there):
                _refuse_findings(loaded, desired, routes)
            return diff(desired, there), find_problems(loaded, desired, routes)
        finally:
            if plane is not None:
                plane.close()


def run_pass(
    loaded: LoadedGateway, runtime: RuntimePaths, children: Children | None = None
) -> PassResult:
    """Make everything so, with the CHILD_SAs that IKE has made; None where no daemon knows them.

    Raises PlutinoError after whatever was begun is undone.

    The engine, or the holder of sockets for the kernel, is started if it does not run, and ended
    again if the pass fails on a new one.
    """
    gateway = loaded.gateway
    with pass_lock(runtime), open_routes(runtime, gateway) as routes:
        sequences = load_sequences(runtime.sequences)
        was_running = engine_running(runtime) or holder_running(runtime)
        noted = PlaneChoice.read(runtime)
        ways = load_ways(runtime.health)
        desired = compile_desired(loaded, routes, sequences, ways, children or NO_CHILDREN)
        if children is None:
            _refuse_orphans(gateway, desired, runtime, routes)
        choice = settle_choice(
            gateway.data_plane, gateway.instance, runtime, routes, demands_of(gateway, desired)
        )
        if noted != choice:
            choice.write(runtime)
        plane = None
        try:
            plane = _open(choice, gateway, runtime, routes, start=True)
            assert plane is not None, "a plane that is started is there"
            problems = _reserve(runtime, plane, desired, sequences, _tunnels_by_ike(gateway).keys())
            # A conflict is found before anything is opened or made.
            system = system_of(desired.instance, runtime, routes)
            there = observe(desired.instance, plane, system, desired.sysctls)
            steps = diff(desired, there)
            if not _serves(there):
                _refuse_findings(loaded, desired, routes)
            kinds = socket_kinds(gateway)
            plane.ensure_sockets(kinds)
            Journal.read(runtime.namespaces).note(namespace_names(gateway))
            outcome = apply_state(desired, plane, system, steps)
            plane.release_sockets(kinds)
            problems += find_problems(loaded, desired, routes)
            problems += missing_namespaces(gateway, routes)
            if not NetfilterClient.is_there():
                # The strict guard was refused before.
                problems += (NO_NETFILTER,)
                problems += (NO_EXEMPTION,) if gateway.nat_exempt else ()
            problems += strict_reverse_paths(gateway, routes)
            problems += settings_in_force(gateway, choice, routes)
            problems += lost_paths(desired)
            problems += tuple(filter(None, map(describe_group, desired.groups)))
            return PassResult(outcome.steps, choice, problems, desired.probes, desired.ways)
        except PlutinoError:
            if plane is not None:
                rest_unserved(desired, plane, system_of(desired.instance, runtime, routes))
            if plane is not None and not was_running:
                with suppress(PlutinoError):
                    plane.shutdown()
            if noted is None:
                runtime.plane_choice.unlink(missing_ok=True)
            raise
        finally:
            if plane is not None:
                plane.close()


def _serves(there: ObservedState) -> bool:
    return bool(there.sas or there.policies or there.routes or there.addresses)


def _refuse_findings(loaded: LoadedGateway, desired: DesiredState, routes: RouteClients) -> None:
    """Raises ConfigError for what speaks against installing a gateway for the first time."""
    clashes, _ = find_mark_clashes(loaded.gateway, desired, routes)
    if found := (*desired.findings, *clashes):
        raise ConfigError(found).in_file(str(loaded.path))


def _find_plane(
    gateway: Gateway, desired: DesiredState, runtime: RuntimePaths, routes: RouteClients
) -> ManagedPlane | None:
    """The plane that serves a gateway, or would serve it and runs anyway. Starts nothing."""
    choice = current_choice(gateway.instance, runtime, routes)
    if choice is None:
        choice = choose(gateway.data_plane, demands_of(gateway, desired))
    return _open(choice, gateway, runtime, routes, start=False)


def _open(
    choice: PlaneChoice,
    gateway: Gateway,
    runtime: RuntimePaths,
    routes: RouteClients,
    *,
    start: bool,
) -> ManagedPlane | None:
    reqids = [tunnel_reqid(gateway.instance, name) for name in gateway.tunnels]
    return open_plane(choice, gateway.instance, runtime, routes=routes, start=start, reqids=reqids)


def missing_namespaces(gateway: Gateway, routes: RouteClients) -> tuple[str, ...]:
    """Words about each namespace of the file that is not there."""
    return tuple(
        f"there is no network namespace {name}: what belongs there waits for it"
        for name in sorted(routes.missing & namespace_names(gateway))
    )


def namespace_names(gateway: Gateway) -> set[str]:
    """The network namespaces that a gateway's interfaces belong to, besides its own."""
    used = {tunnel.interface for tunnel in gateway.tunnels.values()}
    names = (gateway.options(interface).namespace for interface in used)
    return {name for name in names if name is not None}


def system_of(instance: str, runtime: RuntimePaths, routes: RouteClients) -> System:
    """All that a pass may look at and change besides the data plane."""
    return System(
        routes,
        NetfilterClient(table_name(instance), runtime.netfilter),
        SysctlClient(routes, Journal.read(runtime.sysctls)),
    )


def open_routes(runtime: RuntimePaths, gateway: Gateway | None = None) -> RouteClients:
    """rtnetlink of all namespaces where an instance has something, or shall have."""
    names = set() if gateway is None else namespace_names(gateway)
    return RouteClients(names | Journal.read(runtime.namespaces).words)


def compile_desired(
    loaded: LoadedGateway,
    routes: RouteClients,
    sequences: Sequences,
    ways: Ways,
    children: Children = NO_CHILDREN,
) -> DesiredState:
    """What should exist, on the paths that there are now; ``ways`` are those that are lost."""
    surroundings = replace(_surroundings(loaded.gateway, routes, ways), children=children)
    if loaded.gateway.guard == "strict" and not surroundings.netfilter:
        why = "needs nftables, and there is no nft, or none in the kernel"
        hint = 'apt-get install nftables, or set guard = "on"'
        raise ConfigError.single(str(loaded.path), "guard", why, hint)
    try:
        return compile_gateway(
            loaded.gateway, loaded.keys, surroundings=surroundings, sequences=sequences
        )
    except ConfigError as error:
        raise error.in_file(str(loaded.path)) from None


def _surroundings(gateway: Gateway, routes: RouteClients, ways: Ways) -> Surroundings:
    links = {(link.namespace, link.name): link for link in routes.list_links()}
    addresses: dict[str, tuple[InterfaceAddress, ...]] = {}
    gateways: dict[tuple[str, int], IpAddress] = {}
    for one in routes.home.list_addresses():
        addresses[one.interface] = (*addresses.get(one.interface, ()), one.address)
    if gateway.uplinks:
        for route in routes.home.list_routes():
            is_default = route.destination.prefixlen == 0 and route.table == MAIN_TABLE
            if is_default and route.gateway is not None and route.interface is not None:
                key = (route.interface, route.destination.version)
                gateways.setdefault(key, route.gateway)
    found = Surroundings(
        links=links,
        missing=routes.missing,
        netfilter=NetfilterClient.is_there(),
        without_ipv6=frozenset(
            one
            for one in {None, *namespace_names(gateway)} - routes.missing
            if not routes.inside(one, has_ipv6)
        ),
        addresses=addresses,
        gateways=gateways,
        ways=ways,
    )
    return replace(found, path_mtu=dict(_path_mtus(gateway, routes, found)))


def _path_mtus(
    gateway: Gateway, routes: RouteClients, surroundings: Surroundings
) -> Iterator[tuple[str, int]]:
    links = {one.index: one for one in surroundings.links.values() if one.namespace is None}
    for name, tunnel in gateway.tunnels.items():
        path = choose_paths(gateway, name, surroundings).active
        if path.remote.is_unspecified:
            continue
        mark = path.set_mark.value
        found = routes.home.path_mtu(path.remote, path.local, mark, links=links)
        if path.uplink is not None:
            # Before its table is there, the way may still be another.
            device = gateway.uplinks[path.uplink].interface
            link = surroundings.links.get((None, device))
            if link is not None and (found is None or found[0] != device):
                found = (device, link.mtu)
        if found is not None and found[0] != tunnel.interface:
            yield name, found[1]


def socket_kinds(gateway: Gateway) -> set[SocketKind]:
    """The underlay sockets that a gateway's tunnels need; IKE finds NATs and needs both."""
    return {
        SocketKind.of(encapsulation, tunnel.remote.version)
        for tunnel in gateway.tunnels.values()
        for encapsulation in Encapsulation
        if tunnel.ike is not None or encapsulation == tunnel.encapsulation
    }


def save_running(instance: str, runtime: RuntimePaths) -> tuple[str, ...]:
    """Bring the numbers on disk up to what the plane has used, with the ``pass_lock``.

    Gives problems, in words.
    """
    with open_routes(runtime) as routes:
        choice = current_choice(instance, runtime, routes)
        plane = (
            None
            if choice is None
            else open_plane(choice, instance, runtime, routes=routes, start=False)
        )
        if plane is None:
            raise PlaneError(f"no data plane serves instance '{instance}'")
        with closing(plane):
            running = tuple(sa for sa, _ in plane.list_sas() if is_ours(sa.reqid))
    saved = load_sequences(runtime.sequences)
    wanted = reserve(saved, running)
    return () if wanted == saved else _save(runtime, wanted)


def _reserve(
    runtime: RuntimePaths,
    plane: DataPlane,
    desired: DesiredState,
    saved: Sequences,
    by_ike: Collection[int],
) -> tuple[str, ...]:
    """Reserve numbers on disk before an SA may use them.

    Raises PlaneError if the disk refuses and an SA would have to be installed anew; SAs that run
    already go on, and the problem is told.
    """
    there: dict[SaIdentity, SecurityAssociation]
    there = {sa.identity: sa for sa, _ in plane.list_sas()}
    kept = without_gone(saved, {sa.identity for sa in desired.sas})
    wanted = reserve(kept, tuple(_as_running(sa, there) for sa in desired.sas), by_ike)
    if wanted == saved:
        return ()
    problems = _save(runtime, wanted)
    if problems and any(sa.identity not in there for sa in desired.sas):
        raise PlaneError(problems[0], hint=_NO_ROOM)
    return problems


def reserve_on_disk(
    runtime: RuntimePaths, saved: Sequences, made: Collection[SecurityAssociation]
) -> None:
    """Reserve numbers for SAs of IKE beside what is ``saved``. PlaneError if the disk refuses."""
    added = reservations(saved, made, frozenset(sa.reqid for sa in made))
    if not added:
        return
    try:
        add_sequences(runtime.sequences, added)
    except OSError as error:
        raise PlaneError(_refused(runtime, error), hint=_NO_ROOM) from error


def _refuse_orphans(
    gateway: Gateway, desired: DesiredState, runtime: RuntimePaths, routes: RouteClients
) -> None:
    """Raises PlaneError where IKE's SAs carry packets and their daemon does not run.

    What they are for the daemon alone knows, which goes on with them: they are not to be removed.
    """
    by_ike = _tunnels_by_ike(gateway)
    plane = _find_plane(gateway, desired, runtime, routes) if by_ike else None
    if plane is None:
        return
    with closing(plane):
        orphan = next((by_ike[sa.reqid] for sa, _ in plane.list_sas() if sa.reqid in by_ike), None)
    if orphan is not None:
        raise PlaneError(
            f"tunnel '{orphan}' has SAs by IKE, and the daemon that made them does not run",
            hint="start it, and it goes on with them: `plutino run FILE`, or `systemctl start "
            "plutino@NAME`; or take all away first: `plutino down`",
        )


def _tunnels_by_ike(gateway: Gateway) -> dict[int, str]:
    """By the reqid of their SAs."""
    return {
        tunnel_reqid(gateway.instance, name): name
        for name, tunnel in gateway.tunnels.items()
        if tunnel.ike is not None
    }


def _as_running(
    sa: SecurityAssociation, there: Mapping[SaIdentity, SecurityAssociation]
) -> SecurityAssociation:
    running = there.get(sa.identity)
    return sa if running is None else replace(sa, replay=running.replay)


def _save(runtime: RuntimePaths, sequences: Sequences) -> tuple[str, ...]:
    try:
        save_sequences(runtime.sequences, sequences)
    except OSError as error:
        return (_refused(runtime, error),)
    return ()


def _refused(runtime: RuntimePaths, error: OSError) -> str:
    return f"sequence numbers cannot be saved in {runtime.sequences}: {error.strerror}"


@contextmanager
def pass_lock(runtime: RuntimePaths) -> Iterator[None]:
    """One pass at a time, whoever does it."""
    runtime.create()
    lock = os.open(runtime.pass_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
