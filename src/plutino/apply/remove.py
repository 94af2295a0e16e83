"""Takes everything of an instance away, with or without its engine."""

from plutino.apply.applier import ApplyError, execute
from plutino.apply.observe import observe
from plutino.dataplane.plane import DataPlane
from plutino.desired.state import DesiredState
from plutino.model.errors import KernelError
from plutino.model.interface import Interface
from plutino.model.link import Address, Route
from plutino.netlink.route_client import RouteClient
from plutino.plan.diff import diff
from plutino.plan.step import Step, StepAction


def plan_removal(instance: str, plane: DataPlane | None, routes: RouteClient) -> tuple[Step, ...]:
    """The steps that leave nothing of the instance: routes first, unreachable twins last."""
    return diff(DesiredState(instance), observe(instance, plane, routes))


def remove_all(instance: str, plane: DataPlane | None, routes: RouteClient) -> tuple[Step, ...]:
    """Remove what bears our tag, and nothing else. Gives the steps that were done.

    Raises ApplyError, after all other steps were done, if one is refused.
    """
    steps = plan_removal(instance, plane, routes)
    refused = []
    for step in steps:
        try:
            if plane is None:
                _execute_without_plane(step, routes)
            else:
                execute(step, plane, routes)
        except KernelError as error:
            refused.append(str(error))
    if refused:
        raise ApplyError("could not be removed", None, tuple(refused))
    return steps


def _execute_without_plane(step: Step, routes: RouteClient) -> None:
    """Links, addresses and routes are the kernel's; SAs and policies died with the engine."""
    match step.subject:
        case Interface(name):
            if step.action is StepAction.DELETE:  # which takes it down too
                routes.delete_link(name)
        case Address():
            routes.delete_address(step.subject)
        case Route():
            routes.delete_route(step.subject)
        case _:
            raise AssertionError("without a plane none is observed")
