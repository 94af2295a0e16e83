"""After a pass that failed: interfaces that nothing can leave by do not look as if it could."""

from contextlib import suppress

from plutino.apply.applier import execute, runs
from plutino.apply.observe import observe
from plutino.apply.system import System
from plutino.dataplane.plane import DataPlane
from plutino.desired.state import DesiredState
from plutino.model.errors import KernelError, PlaneError
from plutino.plan.rest import rest_steps
from plutino.plan.step import Step


def rest_unserved(desired: DesiredState, plane: DataPlane, system: System) -> tuple[Step, ...]:
    """Let interfaces without SAs rest, so that routing daemons leave them. Gives what was done.

    Raises nothing: what has failed before is what matters.
    """
    done: list[Step] = []
    with suppress(KernelError, PlaneError):
        for run in runs(tuple(rest_steps(desired, observe(desired.instance, plane, system)))):
            execute(run, plane, system)
            done += run
    return tuple(done)
