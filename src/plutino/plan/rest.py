"""What to let rest when what should exist cannot be made. Pure.

The plan wakes an interface after its SAs are there: one that rests does so until a pass succeeds.
"""

from collections.abc import Iterator

from plutino.desired.state import DesiredState, ObservedState
from plutino.model.link import link_alias
from plutino.model.sa import SaDirection
from plutino.plan.step import Step, StepAction


def rest_steps(desired: DesiredState, observed: ObservedState) -> Iterator[Step]:
    """A step for each interface of ours that runs and has no outbound SA of any of its tunnels."""
    tag = link_alias(desired.instance)
    running = {
        (link.namespace, link.name)
        for link in observed.links
        if link.alias == tag and link.up and not link.dormant
    }
    there = {sa.identity for sa in observed.sas}
    served = {
        plan.interface
        for plan in desired.tunnels
        for sa in plan.sas
        if sa.direction is SaDirection.OUT and sa.identity in there
    }
    for interface in desired.interfaces:
        if (interface.namespace, interface.name) in running and interface.name not in served:
            yield Step(StepAction.REST, interface, "it has no SA")
