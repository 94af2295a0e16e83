"""What has to change so that what exists becomes what should exist. Pure.

The order leaves no moment in which a packet for a tunnel could leave in clear: unreachable twins
come first and go last; routes into an interface come only when its policies and SAs are there.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from plutino.desired.state import DesiredState, ObservedState
from plutino.model.errors import PlutinoError
from plutino.model.interface import Interface
from plutino.model.link import Link, Route, RouteType, link_alias
from plutino.model.numbers import IfId
from plutino.model.sa import ReplayState, SecurityAssociation
from plutino.plan.step import Step, StepAction, Subject

_Value = TypeVar("_Value", bound=Subject)


class ConflictError(PlutinoError):
    """Something of others stands where ours belongs; it is left alone."""

    def __init__(self, why: str, hint: str) -> None:
        super().__init__(why)
        self.hint = hint


def diff(desired: DesiredState, observed: ObservedState) -> tuple[Step, ...]:
    """The steps in their order; none if all is as it should be.

    Raises ConflictError if a link of a wanted name is not ours.
    """
    twins, routes = _split(desired.routes)
    old_twins, old_routes = _split(observed.routes)
    tag = link_alias(desired.instance)
    ours = {link.name: link for link in observed.links if link.alias == tag}
    links = tuple(_link_steps(desired, observed, ours))
    gone = ours.keys() - {one.name for one in desired.interfaces}
    replaced, sas = _sa_steps(desired.sas, observed.sas)
    policies = tuple(
        _keyed_steps(desired.policies, observed.policies, lambda policy: policy.identity)
    )
    addresses = tuple(_set_steps(desired.addresses, observed.addresses))
    route_steps = tuple(_set_steps(routes, old_routes))
    twin_steps = tuple(_set_steps(twins, old_twins))
    return (
        *_only(twin_steps, StepAction.CREATE),
        *_only(links, StepAction.CREATE, StepAction.UPDATE),
        *_only(route_steps, StepAction.DELETE),
        *_only(policies, StepAction.CREATE, StepAction.UPDATE),
        *replaced,
        *_only(sas, StepAction.CREATE, StepAction.UPDATE),
        *_only(addresses, StepAction.DELETE),
        *_only(addresses, StepAction.CREATE),
        *_only(links, StepAction.UP),
        *_only(route_steps, StepAction.CREATE),
        *_removal([ours[name] for name in sorted(gone)]),
        *_only(sas, StepAction.DELETE),
        *_only(policies, StepAction.DELETE),
        *_only(twin_steps, StepAction.DELETE),
    )


def _only(steps: tuple[Step, ...], *actions: StepAction) -> Iterator[Step]:
    return (step for step in steps if step.action in actions)


def _split(routes: tuple[Route, ...]) -> tuple[tuple[Route, ...], tuple[Route, ...]]:
    twins = tuple(route for route in routes if route.route_type is RouteType.UNREACHABLE)
    return twins, tuple(route for route in routes if route.route_type is RouteType.UNICAST)


def _link_steps(
    desired: DesiredState, observed: ObservedState, ours: dict[str, Link]
) -> Iterator[Step]:
    by_name = {link.name: link for link in observed.links}
    for interface in desired.interfaces:
        link = ours.get(interface.name)
        if link is None:
            if (other := by_name.get(interface.name)) is not None:
                raise _conflict(interface, other)
            yield Step(StepAction.CREATE, interface, "it is missing")
            yield Step(StepAction.UP, interface, "it is new")
            continue
        if why := _link_differs(interface, link):
            yield Step(StepAction.UPDATE, interface, why, _as_interface(link))
        if not link.up:
            yield Step(StepAction.UP, interface, "it is down")


def _link_differs(interface: Interface, link: Link) -> str | None:
    if not link.attached:
        return "the data plane does not serve it"
    if link.if_id != interface.if_id:
        return f"its if_id is {link.if_id}"
    if link.mtu != interface.mtu:
        return f"its mtu is {link.mtu}"
    return None


def _as_interface(link: Link) -> Interface | None:
    return None if link.if_id is None else Interface(link.name, link.if_id, link.mtu)


def _conflict(interface: Interface, link: Link) -> ConflictError:
    kind = link.kind or "unknown"
    owner = link.alias or "none"
    return ConflictError(
        f"a link {link.name} exists (kind {kind}, alias {owner}) and is not ours",
        hint=f"remove it, or give the tunnel another `interface` than {interface.name}",
    )


def _removal(links: Sequence[Link]) -> Iterator[Step]:
    """Down first: taken back, a link is up before its addresses and routes return."""
    # Where nothing serves it, only its name matters for taking it away.
    interfaces = {
        link.name: _as_interface(link) or Interface(link.name, IfId(0), link.mtu) for link in links
    }
    for link in links:
        if link.up:
            yield Step(StepAction.DOWN, interfaces[link.name], "no tunnel uses it")
    for interface in interfaces.values():
        yield Step(StepAction.DELETE, interface, "no tunnel uses it")


def _set_steps(wanted: tuple[_Value, ...], there: tuple[_Value, ...]) -> Iterator[Step]:
    old = set(there)
    new = set(wanted)
    for one in there:
        if one not in new:
            yield Step(StepAction.DELETE, one, "it is not wanted")
    for one in wanted:
        if one not in old:
            yield Step(StepAction.CREATE, one, "it is missing")


def _same(value: _Value) -> _Value:
    return value


def _sa_steps(
    wanted: tuple[SecurityAssociation, ...], there: tuple[SecurityAssociation, ...]
) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """The steps for SAs, and what comes before them: the removal of those that are made anew.

    XFRM_MSG_UPDSA changes little of an SA that has its keys (``xfrm_state_update``).
    """
    replaced, steps = [], []
    for step in _keyed_steps(wanted, there, lambda sa: sa.identity, _settled):
        before, after = step.previous, step.subject
        if (
            isinstance(before, SecurityAssociation)
            and isinstance(after, SecurityAssociation)
            and not _may_update(before, after)
        ):
            replaced.append(Step(StepAction.DELETE, before, step.why))
            step = Step(StepAction.CREATE, after, step.why)  # noqa: PLW2901
        steps.append(step)
    return tuple(replaced), tuple(steps)


def _may_update(before: SecurityAssociation, after: SecurityAssociation) -> bool:
    """Whether only output mark, ports or if_id differ, and none of them is taken away."""
    taken_over = replace(
        _settled(before),
        output_mark=after.output_mark,
        encapsulation=after.encapsulation,
        if_id=after.if_id,
    )
    return (
        taken_over == _settled(after)
        and (before.encapsulation is None) == (after.encapsulation is None)
        and (after.output_mark is not None or before.output_mark is None)
        and after.if_id != 0
    )


def _keyed_steps(
    wanted: tuple[_Value, ...],
    there: tuple[_Value, ...],
    identity: Callable[[_Value], object],
    settled: Callable[[_Value], _Value] = _same,
) -> Iterator[Step]:
    old = {identity(one): one for one in there}
    new = {identity(one) for one in wanted}
    for one in wanted:
        before = old.get(identity(one))
        if before is None:
            yield Step(StepAction.CREATE, one, "it is missing")
        elif before != one and settled(before) != settled(one):
            yield Step(StepAction.UPDATE, one, "it differs", before)
    for one in there:
        if identity(one) not in new:
            yield Step(StepAction.DELETE, one, "it is not wanted")


def _settled(sa: SecurityAssociation) -> SecurityAssociation:
    """Without what runs: numbers sent and seen are no difference."""
    return replace(sa, replay=ReplayState(window=sa.replay.window))
