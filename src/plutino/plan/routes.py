"""The steps for routes into tunnels, so that one that moves leaves no moment without a way. Pure.

A route of the same prefix, table and metric is replaced in its place. One that changes its metric,
as those of groups do, stands at the new one before it goes from the old.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from plutino.model.link import Address, Route
from plutino.plan.step import Step, StepAction


@dataclass(frozen=True, slots=True)
class RouteSteps:
    """What goes first, what comes or is replaced, and what goes after that."""

    before: tuple[Step, ...]
    made: tuple[Step, ...]
    after: tuple[Step, ...]


def route_steps(
    wanted: tuple[Route, ...],
    there: tuple[Route, ...],
    *,
    bared: frozenset[str],
    addresses: Iterable[Step],
) -> RouteSteps:
    """The steps; ``bared`` are interfaces that lose their routes in this plan.

    ``addresses`` are its steps for addresses: with the last one of its IP version the kernel takes
    the routes of an interface too.
    """
    unsteady = bared | {
        step.subject.interface
        for step in addresses
        if step.action is StepAction.DELETE and isinstance(step.subject, Address)
    }
    by_place: dict[object, list[Route]] = defaultdict(list)
    for route in there:
        by_place[_place(route)].append(route)
    made, kept = [], set()
    for route in wanted:
        found = by_place[_place(route)]
        if route in found:
            kept.add(route)
            continue
        former = next((one for one in found if _may_replace(one, route, unsteady)), None)
        if former is None:
            made.append(Step(StepAction.CREATE, route, "it is missing"))
        else:
            kept.add(former)
            made.append(Step(StepAction.UPDATE, route, "it differs", former))
    prefixes = {_prefix(route) for route in wanted}
    taken = {_place(route) for route in wanted}
    before: list[Step] = []
    after: list[Step] = []
    for route in there:
        if route in kept:
            continue
        moves = _prefix(route) in prefixes and _place(route) not in taken
        late = moves and not unsteady & set(route.interfaces)
        (after if late else before).append(Step(StepAction.DELETE, route, "it is not wanted"))
    return RouteSteps(tuple(before), tuple(made), tuple(after))


def _prefix(route: Route) -> tuple[object, ...]:
    return route.destination, route.table, route.namespace


def _place(route: Route) -> tuple[object, ...]:
    return *_prefix(route), route.metric


def _may_replace(former: Route, route: Route, unsteady: frozenset[str]) -> bool:
    """Routes into an external link have an if_id that the plane keeps beside them."""
    touched = {*former.interfaces, *route.interfaces}
    return former.if_id is None and route.if_id is None and not unsteady & touched
