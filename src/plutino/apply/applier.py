"""Makes what should exist exist: observe, diff, act, observe again; undo everything on failure."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from plutino.apply.observe import observe
from plutino.dataplane.plane import DataPlane
from plutino.desired.state import DesiredState
from plutino.model.errors import KernelError, PlaneError, PlutinoError
from plutino.model.interface import Interface
from plutino.model.link import Address, Route
from plutino.model.policy import Policy
from plutino.model.sa import SecurityAssociation
from plutino.netlink.route_client import RouteClient
from plutino.plan.diff import diff
from plutino.plan.step import Step, StepAction

_Value = TypeVar("_Value")
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


def apply_state(desired: DesiredState, plane: DataPlane, routes: RouteClient) -> Outcome:
    """Bring the system to ``desired`` and verify it.

    Raises ConflictError before anything is changed, ApplyError after everything was undone.
    """
    done: list[Step] = []
    for _ in range(_ROUNDS):
        steps = diff(desired, observe(desired.instance, plane, routes))
        if not steps:
            return Outcome(tuple(done))
        for step in steps:
            try:
                execute(step, plane, routes)
            except (KernelError, PlaneError) as error:
                hint = error.hint or _hint(step, error)
                raise ApplyError(str(error), hint, undo(done, plane, routes)) from error
            done.append(step)
    steps = diff(desired, observe(desired.instance, plane, routes))
    if not steps:
        return Outcome(tuple(done))
    missing = "; ".join(step.describe() for step in steps)
    hint = "another program changes the same objects: see `ip monitor`"
    why = f"after {_ROUNDS} rounds this is still to be done: {missing}"
    raise ApplyError(why, hint, undo(done, plane, routes))


def undo(done: list[Step], plane: DataPlane, routes: RouteClient) -> tuple[str, ...]:
    """Take steps back, the last first. Gives what could not be undone, in words."""
    left = []
    for step in reversed(done):
        inverse = step.inverse()
        if inverse is None:
            continue
        try:
            execute(inverse, plane, routes)
        except (KernelError, PlaneError) as error:
            left.append(f"{step.describe()}: {error}")
    return tuple(left)


def execute(step: Step, plane: DataPlane, routes: RouteClient) -> None:
    """Do one step. Raises KernelError or PlaneError if it is refused."""
    match step.subject:
        case Interface():
            _execute_link(step.action, step.subject, plane, routes)
        case Address():
            _pick(step, routes.add_address, routes.delete_address)(step.subject)
        case Route():
            _pick(step, routes.add_route, routes.delete_route)(step.subject)
        case Policy():
            _pick(step, plane.add_policy, plane.delete_policy, plane.update_policy)(step.subject)
        case SecurityAssociation():
            _pick(step, plane.add_sa, plane.delete_sa, plane.update_sa)(step.subject)


def _pick(
    step: Step,
    create: Callable[[_Value], None],
    delete: Callable[[_Value], None],
    update: Callable[[_Value], None] | None = None,
) -> Callable[[_Value], None]:
    if step.action is StepAction.CREATE:
        return create
    if step.action is StepAction.DELETE:
        return delete
    assert update is not None, f"{step.describe()} has no meaning"
    return update


def _execute_link(
    action: StepAction, interface: Interface, plane: DataPlane, routes: RouteClient
) -> None:
    match action:
        case StepAction.CREATE:
            plane.create_link(interface)
        case StepAction.UPDATE:
            plane.attach_link(interface)
        case StepAction.DELETE:
            plane.delete_link(interface.name)
        case StepAction.UP:
            routes.set_link(interface.name, up=True)
        case StepAction.DOWN:
            routes.set_link(interface.name, up=False)


def _hint(step: Step, error: KernelError | PlaneError) -> str | None:
    if not isinstance(error, KernelError):
        return None
    if error.errno == errno.EEXIST and isinstance(step.subject, Route):
        return "a route of others has the same prefix and metric: see `ip route show`"
    if error.errno in (errno.EPERM, errno.EACCES):
        return "run as root, or with CAP_NET_ADMIN and CAP_NET_RAW"
    return None
