"""Makes what should exist exist: observe, diff, act, observe again; undo everything on failure."""

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Final, TypeVar

from plutino.apply.observe import observe
from plutino.apply.system import System
from plutino.dataplane.plane import DataPlane
from plutino.desired.state import DesiredState
from plutino.model.errors import BatchRefusedError, KernelError, PlaneError, PlutinoError
from plutino.model.interface import Interface
from plutino.model.link import Address, Route
from plutino.model.netfilter import NetfilterTable
from plutino.model.policy import Policy, PolicyDefaults
from plutino.model.rule import Rule
from plutino.model.sa import SecurityAssociation
from plutino.model.sysctl import Sysctl
from plutino.netlink.route_client import RouteClient
from plutino.plan.diff import diff, may_update
from plutino.plan.step import Step, StepAction

_Value = TypeVar("_Value")
_GONE: Final = (errno.EADDRNOTAVAIL, errno.ENODEV, errno.ESRCH)
"""What was to be taken back went with something else, as IPv6 addresses do with a link set down."""
_ROUNDS = 3
"""Others may change things while we do: so often it is tried to end where we want."""


class ApplyError(PlutinoError):
    """A step was refused, or what was made did not stay; what was done is undone."""

    def __init__(self, why: str, hint: str | None, left: tuple[str, ...]) -> None:
        undone = "all steps before it were undone"
        if left:
            undone = f"and these could not be undone: {'; '.join(left)}"
        super().__init__(f"{why}; {undone}")
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Outcome:
    """The steps that were done; none if all was as it should be."""

    steps: tuple[Step, ...]


def apply_state(
    desired: DesiredState,
    plane: DataPlane,
    system: System,
    planned: tuple[Step, ...] | None = None,
) -> Outcome:
    """Bring the system to ``desired`` and verify it; ``planned`` are the steps if they are known.

    Raises ConflictError before anything is changed, ApplyError after everything was undone.
    """
    done: list[Step] = []
    for _ in range(_ROUNDS):
        steps, planned = planned, None
        if steps is None:
            steps = diff(desired, observe(desired.instance, plane, system, desired.sysctls))
        if not steps:
            return Outcome(tuple(done))
        for run in runs(steps):
            try:
                execute(run, plane, system)
            except (KernelError, PlaneError) as error:
                done += _done_of(run, error)
                hint = error.hint or _hint(_first_refused(run, error), error)
                raise ApplyError(str(error), hint, undo(done, plane, system)) from error
            done += run
    steps = diff(desired, observe(desired.instance, plane, system, desired.sysctls))
    if not steps:
        return Outcome(tuple(done))
    missing = "; ".join(step.describe() for step in steps)
    hint = "another program changes the same objects: see `ip monitor`"
    why = f"after {_ROUNDS} rounds this is still to be done: {missing}"
    raise ApplyError(why, hint, undo(done, plane, system))


def undo(done: Sequence[Step], plane: DataPlane, system: System) -> tuple[str, ...]:
    """Take steps back, the last first. Gives what could not be undone, in words."""
    left: list[str] = []
    inverses = [inverse for step in reversed(done) if (inverse := step.inverse()) is not None]
    for run in runs(inverses):
        try:
            execute(run, plane, system)
        except BatchRefusedError as error:
            left += [
                f"{run[place].describe()}: {why}"
                for place, why in error.refused.items()
                if run[place].action is not StepAction.DELETE or why.errno not in _GONE
            ]
        except (KernelError, PlaneError) as error:
            left += [f"{step.describe()}: {error}" for step in run]
    return tuple(left)


def runs(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    """Steps in a row that are done at once: the same to objects of one kind."""
    for (_kind, action), run in groupby(steps, lambda step: (type(step.subject), step.action)):
        if action is StepAction.UPDATE:
            yield from ((step,) for step in run)
        else:
            yield tuple(run)


def _first_refused(run: Sequence[Step], error: KernelError | PlaneError) -> Step:
    return run[min(error.refused) if isinstance(error, BatchRefusedError) else 0]


def _done_of(run: Sequence[Step], error: KernelError | PlaneError) -> list[Step]:
    if not isinstance(error, BatchRefusedError):
        return []
    return [step for place, step in enumerate(run) if place not in error.refused]


def execute(run: Sequence[Step], plane: DataPlane, system: System) -> None:
    """Do the steps of a run. Raises KernelError or PlaneError if one is refused."""
    if isinstance(run[0].subject, Policy | SecurityAssociation | PolicyDefaults):
        _execute_transforms(run, plane)
        return
    action = run[0].action
    match run[0].subject:
        case Interface():
            _execute_links(action, subjects(run, Interface), plane, system)
        case Address():
            act = _pick(action, system.routes.add_addresses, system.routes.delete_addresses)
            act(subjects(run, Address))
        case Route():
            act_on_routes = _pick(action, plane.add_routes, plane.delete_routes, plane.update_route)
            act_on_routes(subjects(run, Route))
        case Rule():
            act_on_rules = _pick(
                action, system.routes.home.add_rules, system.routes.home.delete_rules
            )
            act_on_rules(subjects(run, Rule))
        case NetfilterTable():
            for table in subjects(run, NetfilterTable):
                if action is StepAction.DELETE:
                    system.netfilter.delete()
                else:
                    system.netfilter.replace(table)
        case Sysctl():
            for sysctl in subjects(run, Sysctl):
                system.sysctls.set(sysctl)


def _execute_transforms(run: Sequence[Step], plane: DataPlane) -> None:
    action = run[0].action
    match run[0].subject:
        case Policy():
            act_on_policies = _pick(
                action, plane.add_policies, plane.delete_policies, plane.update_policy
            )
            act_on_policies(subjects(run, Policy))
        case SecurityAssociation():
            _execute_sas(run, plane)
        case PolicyDefaults():
            for defaults in subjects(run, PolicyDefaults):
                plane.set_policy_defaults(defaults)


def _execute_sas(run: Sequence[Step], plane: DataPlane) -> None:
    action, before = run[0].action, run[0].previous
    sas = subjects(run, SecurityAssociation)
    if isinstance(before, SecurityAssociation) and not may_update(before, *sas):
        plane.move_sa(before, *sas)
        return
    _pick(action, plane.add_sas, plane.delete_sas, plane.update_sa)(sas)


def subjects(run: Sequence[Step], kind: type[_Value]) -> list[_Value]:
    """What the steps of a run are about."""
    return [step.subject for step in run if isinstance(step.subject, kind)]


def _pick(
    action: StepAction,
    create: Callable[[Sequence[_Value]], None],
    delete: Callable[[Sequence[_Value]], None],
    update: Callable[[_Value], None] | None = None,
) -> Callable[[Sequence[_Value]], None]:
    if action is StepAction.CREATE:
        return create
    if action is StepAction.DELETE:
        return delete
    assert update is not None, f"{action} has no meaning here"
    return lambda values: update(*values)


def _execute_links(
    action: StepAction, interfaces: Sequence[Interface], plane: DataPlane, system: System
) -> None:
    match action:
        case StepAction.CREATE:
            plane.create_links(interfaces)
        case StepAction.UPDATE:
            plane.attach_link(*interfaces)
        case StepAction.DELETE:
            plane.delete_links(interfaces)
        case StepAction.UP:
            system.routes.each(interfaces, partial(_set_up, up=True))
        case StepAction.DOWN:
            system.routes.each(interfaces, partial(_set_up, up=False))
        case StepAction.REST:
            system.routes.each(interfaces, partial(_set_dormant, dormant=True))
        case StepAction.WAKE:
            system.routes.each(interfaces, partial(_set_dormant, dormant=False))


def _set_up(client: RouteClient, interfaces: Sequence[Interface], *, up: bool) -> None:
    client.set_links_up([one.name for one in interfaces], up=up)


def _set_dormant(client: RouteClient, interfaces: Sequence[Interface], *, dormant: bool) -> None:
    client.set_links_dormant([one.name for one in interfaces], dormant=dormant)


def _hint(step: Step, error: KernelError | PlaneError) -> str | None:
    if not isinstance(error, KernelError):
        return None
    if error.errno == errno.EEXIST and isinstance(step.subject, Route):
        return "a route of others has the same prefix and metric: see `ip route show`"
    if error.errno in (errno.EPERM, errno.EACCES):
        return "run as root, or with CAP_NET_ADMIN and CAP_NET_RAW"
    return None
