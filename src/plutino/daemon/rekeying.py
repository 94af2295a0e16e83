"""Other CHILD_SAs into the data plane, without a pass over the whole gateway.

IKE's answers wait for it, so it must not cost time for tunnels that stay as they are. What it
leaves out, such as the MTU, is for the next pass.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from plutino.apply.applier import execute, runs
from plutino.config.gateway import Gateway
from plutino.daemon.passes import Children, pass_lock, reserve_on_disk, system_of
from plutino.daemon.sequence_store import load_sequences
from plutino.dataplane.choice import PlaneChoice, open_plane
from plutino.dataplane.runtime import RuntimePaths
from plutino.desired.keying import compile_rekeying
from plutino.desired.sas import tunnel_reqid
from plutino.model.child_sa import ChildSa
from plutino.model.link import Namespace
from plutino.model.path import TunnelPaths
from plutino.model.sa import SecurityAssociation
from plutino.netlink.route_clients import RouteClients
from plutino.plan.diff import diff
from plutino.plan.step import Step, StepAction


@dataclass(frozen=True, slots=True)
class Settled:
    """What the last pass has made, with the CHILD_SAs that have been installed since.

    ``stay`` are the paths of policies of those that are nowhere by now.
    """

    gateway: Gateway
    choice: PlaneChoice
    ways: Mapping[str, TunnelPaths]
    children: dict[str, tuple[ChildSa, ...]]
    stay: dict[str, TunnelPaths] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Installed:
    """What came of it: all, but for what takes a pass; and whether a tunnel sends no more."""

    is_all: bool
    has_ended: bool


def install_children(
    settled: Settled, runtime: RuntimePaths, changed: Children, in_force: Callable[[], None]
) -> Installed:
    """Install those of some tunnels, and tell ``in_force`` at once when new SAs are.

    Raises PlutinoError where a step is refused; what was done is for a pass to find.
    """
    with pass_lock(runtime):  # others write the sequence numbers with it
        return _install(settled, runtime, changed, in_force)


def _install(
    settled: Settled, runtime: RuntimePaths, changed: Children, in_force: Callable[[], None]
) -> Installed:
    gateway = settled.gateway
    sequences = load_sequences(runtime.sequences)
    rekeying = compile_rekeying(
        gateway, settled.ways, settled.children, changed, sequences, stay=settled.stay
    )
    done = {name: several for name, several in changed.items() if name not in rekeying.left}
    nothing = Installed(is_all=False, has_ended=False)
    if not done:
        return nothing
    asleep: dict[Namespace, list[str]] = defaultdict(list)
    for name in rekeying.woken:
        interface = gateway.tunnels[name].interface
        asleep[gateway.options(interface).namespace].append(interface)
    with RouteClients(one for one in asleep if one is not None) as routes:
        if routes.missing:
            return nothing
        plane = open_plane(
            settled.choice,
            gateway.instance,
            runtime,
            routes=routes,
            start=False,
            reqids=[tunnel_reqid(gateway.instance, name) for name in done],
        )
        if plane is None:
            return nothing
        with closing(plane):
            reserve_on_disk(runtime, sequences, rekeying.wanted.sas)
            system = system_of(gateway.instance, runtime, routes)
            for run in runs(diff(rekeying.wanted, rekeying.there)):
                execute(run, plane, system)
                if run[0].action is StepAction.CREATE and _is_sa(run[0]):
                    in_force()
            for namespace, interfaces in asleep.items():
                routes[namespace].set_links_dormant([*dict.fromkeys(interfaces)], dormant=False)
    settled.children.update(done)
    for name in done:
        settled.stay.pop(name, None)
    settled.stay.update(rekeying.stay)
    return Installed(is_all=not rekeying.left, has_ended=bool(rekeying.ended))


def follows_from_children(step: Step) -> bool:
    """Whether IKE is the reason: SAs come and go, and interfaces wake and rest with them."""
    return step.action in {StepAction.REST, StepAction.WAKE} or _is_sa(step)


def _is_sa(step: Step) -> bool:
    return isinstance(step.subject, SecurityAssociation)
