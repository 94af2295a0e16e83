"""Takes everything of an instance away, with or without its engine."""

from collections.abc import Sequence

from plutino.apply.applier import ApplyError, execute, runs, subjects
from plutino.apply.observe import observe
from plutino.apply.system import System
from plutino.dataplane.plane import DataPlane
from plutino.desired.state import DesiredState
from plutino.model.errors import BatchRefusedError, KernelError
from plutino.model.interface import Interface
from plutino.model.link import Address, Route
from plutino.model.netfilter import NetfilterTable
from plutino.model.rule import Rule
from plutino.model.sysctl import Sysctl
from plutino.netlink.route_clients import delete_interfaces
from plutino.plan.diff import diff
from plutino.plan.step import Step, StepAction


def plan_removal(instance: str, plane: DataPlane | None, system: System) -> tuple[Step, ...]:
    """The steps that leave nothing of the instance: routes first, unreachable twins last."""
    return diff(DesiredState(instance), observe(instance, plane, system))


def remove_all(instance: str, plane: DataPlane | None, system: System) -> tuple[Step, ...]:
    """Remove what bears our tag, and nothing else. Gives the steps that were done.

    Raises ApplyError, after all other steps were done, if one is refused.
    """
    steps = plan_removal(instance, plane, system)
    refused: list[str] = []
    for run in runs(steps):
        try:
            if plane is None:
                _execute_without_plane(run, system)
            else:
                execute(run, plane, system)
        except BatchRefusedError as error:
            refused += map(str, error.refused.values())
        except KernelError as error:
            refused.append(str(error))
    if refused:
        raise ApplyError("could not be removed", None, tuple(refused))
    return steps


def _execute_without_plane(run: Sequence[Step], system: System) -> None:
    """Links, addresses and routes are the kernel's; SAs and policies died with the engine."""
    match run[0].subject:
        case Interface():
            if run[0].action is StepAction.DELETE:  # which takes it down too
                system.routes.each(subjects(run, Interface), delete_interfaces)
        case Address():
            system.routes.delete_addresses(subjects(run, Address))
        case NetfilterTable():
            system.netfilter.delete()
        case Rule():
            system.routes.home.delete_rules(subjects(run, Rule))
        case Route():
            system.routes.delete_routes(subjects(run, Route))
        case Sysctl():
            for sysctl in subjects(run, Sysctl):
                system.sysctls.set(sysctl)
        case _:
            raise AssertionError("without a plane none is observed")
