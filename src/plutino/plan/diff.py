"""What has to change so that what exists becomes what should exist. Pure.

The order leaves no moment in which a packet for a tunnel could leave in clear: unreachable twins
come first and go last; routes into an interface come only when its policies and SAs are there.
Those that move are in ``routes``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import eq
from typing import TypeVar

from plutino.desired.state import DesiredState, ObservedState
from plutino.desired.uplinks import is_uplink_route
from plutino.model.errors import PlutinoError
from plutino.model.interface import Interface
from plutino.model.link import Address, Link, Namespace, Route, RouteType, link_alias
from plutino.model.numbers import IfId
from plutino.model.policy import PolicyDefaults
from plutino.model.sa import SecurityAssociation
from plutino.model.subject import Subject
from plutino.plan.routes import route_steps
from plutino.plan.step import Step, StepAction

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
    twins, uplinks, routes = _split(desired.routes)
    old_twins, old_uplinks, old_routes = _split(observed.routes)
    tag = link_alias(desired.instance)
    ours = {link.name: link for link in observed.links if link.alias == tag}
    links = tuple(_link_steps(desired, observed, ours))
    gone = ours.keys() - {one.name for one in desired.interfaces}
    replaced, sas = _sa_steps(desired.sas, observed.sas)
    policies = tuple(
        _keyed_steps(desired.policies, observed.policies, lambda policy: policy.identity)
    )
    addresses = tuple(_set_steps(desired.addresses, observed.addresses))
    twin_steps = tuple(_set_steps(twins, old_twins))
    uplink_steps = tuple(_set_steps(uplinks, old_uplinks))
    defaults = tuple(_default_steps(desired, observed))
    rules = tuple(_set_steps(desired.rules, observed.rules))
    netfilter = tuple(
        _keyed_steps(_some(desired.netfilter), _some(observed.netfilter), lambda one: one.name)
    )
    new = frozenset(step.subject for step in links if step.action is StepAction.CREATE)
    in_the_way = _in_the_way(links, [ours[name] for name in sorted(gone)])
    sysctls = tuple(_sysctl_steps(desired, observed))
    bared = _bared(links) | {link.name for link in in_the_way}
    ways = route_steps(routes, old_routes, bared=bared, addresses=addresses)
    return (
        *_only(twin_steps, StepAction.CREATE),
        *uplink_steps,
        *_only(netfilter, StepAction.CREATE, StepAction.UPDATE),
        *_only(rules, StepAction.CREATE),
        *_of(ways.before, bared),
        *_of(addresses, bared),
        *(step for step in links if step.action is StepAction.REST and step.subject not in new),
        *_only(links, StepAction.DOWN),
        *_removal(in_the_way, observed),
        *_only(links, StepAction.CREATE, StepAction.UPDATE),
        *_only(ways.before, StepAction.DELETE, without=bared),
        *_only(policies, StepAction.CREATE, StepAction.UPDATE),
        *replaced,
        *_only(sas, StepAction.CREATE, StepAction.UPDATE),
        *(() if desired.defaults is None else defaults),
        *_only(addresses, StepAction.DELETE, without=bared),
        *_only(addresses, StepAction.CREATE),
        *(step for step in links if step.action is StepAction.REST and step.subject in new),
        *_only(links, StepAction.UP),
        *_only(links, StepAction.WAKE),
        *sysctls,
        *ways.made,
        *ways.after,
        *_removal([ours[name] for name in sorted(gone) if name not in bared], observed),
        *_only(sas, StepAction.DELETE),
        *_only(policies, StepAction.DELETE),
        *(defaults if desired.defaults is None else ()),
        *_only(rules, StepAction.DELETE),
        *_only(netfilter, StepAction.DELETE),
        *_only(twin_steps, StepAction.DELETE),
    )


def _only(
    steps: tuple[Step, ...], *actions: StepAction, without: frozenset[str] = frozenset()
) -> Iterator[Step]:
    return (
        step
        for step in steps
        if step.action in actions and not without & set(_interfaces(step.subject))
    )


def _of(steps: tuple[Step, ...], interfaces: frozenset[str]) -> Iterator[Step]:
    """The removals of what is on these interfaces."""
    return (
        step
        for step in steps
        if step.action is StepAction.DELETE and interfaces & set(_interfaces(step.subject))
    )


def _interfaces(subject: Subject) -> tuple[str, ...]:
    if isinstance(subject, Address):
        return (subject.interface,)
    return subject.interfaces if isinstance(subject, Route) else ()


def _bared(links: tuple[Step, ...]) -> frozenset[str]:
    """Interfaces that lose their addresses and routes by what changes of them."""
    return frozenset(
        step.subject.name
        for step in links
        if step.action is StepAction.UPDATE
        and isinstance(step.subject, Interface)
        and isinstance(step.previous, Interface)
        and _is_bared(step.subject, step.previous)
    )


def _in_the_way(steps: tuple[Step, ...], gone: Sequence[Link]) -> list[Link]:
    """Links of ours that hold the if_id of a new one, such as one that others gave another name."""
    wanted = {
        step.subject.if_id
        for step in steps
        if step.action is StepAction.CREATE and isinstance(step.subject, Interface)
    }
    return [link for link in gone if (link.if_id or IfId(0)) in wanted and link.vti is None]


def _is_bared(wanted: Interface, there: Interface) -> bool:
    """Whether it is moved, put into another table, or made anew."""

    def place(one: Interface) -> tuple[object, ...]:
        return one.namespace, one.vrf, one.link, one.external, one.vti

    return place(wanted) != place(there)


def _split(routes: tuple[Route, ...]) -> tuple[tuple[Route, ...], ...]:
    """Unreachable twins, routes in the tables of uplinks, and routes into tunnels."""
    twins = tuple(route for route in routes if route.route_type is RouteType.UNREACHABLE)
    ways = [route for route in routes if route.route_type is RouteType.UNICAST]
    uplinks = tuple(route for route in ways if is_uplink_route(route))
    return twins, uplinks, tuple(route for route in ways if not is_uplink_route(route))


def _link_steps(
    desired: DesiredState, observed: ObservedState, ours: dict[str, Link]
) -> Iterator[Step]:
    by_name = {(link.namespace, link.name): link for link in observed.links}
    names = _names(observed)
    for interface in desired.interfaces:
        link = ours.get(interface.name)
        other = by_name.get((interface.namespace, interface.name))
        if other is not None and other != link:
            raise _conflict(interface, other)
        if link is None:
            yield Step(StepAction.CREATE, interface, "it is missing")
            yield Step(StepAction.UP, interface, "it is new")
            if interface.dormant:
                yield Step(StepAction.REST, interface, "it has no usable path")
            continue
        there = _as_interface(link, names)
        if why := _link_differs(interface, there):
            yield Step(StepAction.UPDATE, interface, why, there)
        if there is not None and _is_bared(interface, there):
            if link.up:
                yield Step(StepAction.DOWN, there, "it will change")
            yield Step(StepAction.UP, interface, "it has changed")
        elif not link.up:
            yield Step(StepAction.UP, interface, "it is down")
        if interface.dormant and not link.dormant:
            yield Step(StepAction.REST, interface, "it has no usable path")
        elif link.dormant and not interface.dormant:
            yield Step(StepAction.WAKE, interface, "it has a usable path")


def _link_differs(interface: Interface, there: Interface | None) -> str | None:
    if there is None:
        return "the data plane does not serve it"
    for what, wanted, found in (
        ("if_id", int(interface.if_id), int(there.if_id)),
        ("mtu", interface.mtu, there.mtu),
        ("link", interface.link, there.link),
        ("vrf", interface.vrf, there.vrf),
        ("namespace", interface.namespace, there.namespace),
    ):
        if wanted != found:
            return f"its {what} is {found or 'none'}"
    if not there.multicast:
        return "its multicast is off"
    if interface.external != there.external:
        return "it is external" if there.external else "it is not external"
    if interface.vti != there.vti:
        return "it is no VTI" if there.vti is None else "its VTI has other keys or ends"
    return None


_Names = Mapping[tuple[Namespace, int], str]
"""Of links, by namespace and index."""


def _names(observed: ObservedState) -> _Names:
    return {(link.namespace, link.index): link.name for link in observed.links}


def _as_interface(link: Link, names: _Names) -> Interface | None:
    """The link as it could be asked for; None if nothing serves it."""
    if not link.attached:
        return None
    return Interface(
        link.name,
        link.if_id or IfId(0),
        link.mtu,
        link=_name(None, link.underlying, names),
        external=link.external,
        vrf=_name(link.namespace, link.master, names),
        vti=link.vti,
        namespace=link.namespace,
        multicast=link.multicast,
    )


def _name(namespace: Namespace, index: int | None, names: _Names) -> str | None:
    """The name of a device, or its index where it is gone."""
    return None if index is None else names.get((namespace, index), f"#{index}")


def _conflict(interface: Interface, link: Link) -> ConflictError:
    kind = link.kind or "unknown"
    owner = link.alias or "none"
    return ConflictError(
        f"a link {link.name} exists (kind {kind}, alias {owner}) and is not ours",
        hint=f"remove it, or give the tunnel another `interface` than {interface.name}",
    )


def _removal(links: Sequence[Link], observed: ObservedState) -> Iterator[Step]:
    """Down first: taken back, a link is up before its addresses and routes return.

    One that rests does so no more once it is down: taken back, it rests before it is up.
    """
    # Where nothing serves it, only its name matters for taking it away.
    names = _names(observed)
    interfaces = {
        link.name: _as_interface(link, names)
        or Interface(link.name, IfId(0), link.mtu, namespace=link.namespace)
        for link in links
    }
    for link in links:
        if link.up:
            yield Step(StepAction.DOWN, interfaces[link.name], "no tunnel uses it")
    for link in links:
        if link.dormant:
            yield Step(StepAction.WAKE, interfaces[link.name], "no tunnel uses it")
    for interface in interfaces.values():
        yield Step(StepAction.DELETE, interface, "no tunnel uses it")


def _default_steps(desired: DesiredState, observed: ObservedState) -> Iterator[Step]:
    """Ours where the configuration says so, else what was there before ours."""
    before = observed.defaults
    former = observed.former_defaults or before
    if desired.defaults is None:
        if observed.former_defaults is not None and observed.former_defaults != before:
            yield Step(StepAction.UPDATE, observed.former_defaults, "as it was before", before)
        return
    wanted = desired.defaults if former is None else _filled(desired.defaults, former)
    if wanted != before:
        yield Step(StepAction.UPDATE, wanted, "it differs", before)


def _sysctl_steps(desired: DesiredState, observed: ObservedState) -> Iterator[Step]:
    """Ours where the configuration says so, else what was there before."""
    now = {one.key: one for one in observed.sysctls}
    wanted = {one.key: one for one in desired.sysctls}
    for one in desired.sysctls:
        if now.get(one.key) != one:
            yield Step(StepAction.UPDATE, one, "it differs", now.get(one.key))
    for one in observed.former_sysctls:
        if one.key not in wanted:
            yield Step(StepAction.UPDATE, one, "as it was before", now.get(one.key))


def _filled(defaults: PolicyDefaults, former: PolicyDefaults) -> PolicyDefaults:
    return PolicyDefaults(
        defaults.inbound or former.inbound,
        defaults.forward or former.forward,
        defaults.outbound or former.outbound,
    )


def _set_steps(wanted: tuple[_Value, ...], there: tuple[_Value, ...]) -> Iterator[Step]:
    old = set(there)
    new = set(wanted)
    for one in there:
        if one not in new:
            yield Step(StepAction.DELETE, one, "it is not wanted")
    for one in wanted:
        if one not in old:
            yield Step(StepAction.CREATE, one, "it is missing")


def _some(value: _Value | None) -> tuple[_Value, ...]:
    return () if value is None else (value,)


def _sa_steps(
    wanted: tuple[SecurityAssociation, ...], there: tuple[SecurityAssociation, ...]
) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """The steps for SAs, and what comes before them: the removal of those that are made anew.

    XFRM_MSG_UPDSA changes little of an SA that has its keys (``xfrm_state_update``). One of the
    same keys and SPI moves, with its numbers: under a key none may come twice.
    """
    replaced, steps = [], []
    found = tuple(_keyed_steps(wanted, there, lambda sa: sa.identity, _is_same))
    moved = _moved(found, wanted, there)
    for step in found:
        before, after = step.previous, step.subject
        if step.action is StepAction.DELETE and after in moved.values():
            continue
        if isinstance(after, SecurityAssociation) and after in moved:
            why = "it moves" if _ends(after) != _ends(moved[after]) else "it differs"
            steps.append(Step(StepAction.UPDATE, after, why, moved[after]))
            continue
        if (
            isinstance(before, SecurityAssociation)
            and isinstance(after, SecurityAssociation)
            and not may_update(before, after)
        ):
            replaced.append(Step(StepAction.DELETE, before, step.why))
            step = Step(StepAction.CREATE, after, step.why)  # noqa: PLW2901
        steps.append(step)
    return tuple(replaced), tuple(steps)


def _moved(
    steps: Sequence[Step],
    wanted: tuple[SecurityAssociation, ...],
    there: tuple[SecurityAssociation, ...],
) -> Mapping[SecurityAssociation, SecurityAssociation]:
    """What is made anew, and the SA that it was until then."""
    changed = [
        step.subject
        for step in steps
        if isinstance(step.subject, SecurityAssociation) and step.action is not StepAction.DELETE
    ]
    if not changed:
        return {}
    identities = {sa.identity for sa in wanted}
    by_key = {(sa.spi, sa.direction, sa.keys): sa for sa in there}
    moved = {}
    for sa in changed:
        before = by_key.get((sa.spi, sa.direction, sa.keys))
        if before is None or may_update(before, sa):
            continue
        if before.identity == sa.identity or before.identity not in identities:
            moved[sa] = before
    return moved


def _ends(sa: SecurityAssociation) -> tuple[object, object]:
    return sa.source, sa.destination


def may_update(before: SecurityAssociation, after: SecurityAssociation) -> bool:
    """Whether only output mark, ports or if_id differ, and none of them is taken away."""
    taken_over = replace(
        before,
        output_mark=after.output_mark,
        encapsulation=after.encapsulation,
        if_id=after.if_id,
    )
    return (
        _is_same(taken_over, after)
        and (before.encapsulation is None) == (after.encapsulation is None)
        and (after.output_mark is not None or before.output_mark is None)
        and after.if_id != 0
    )


def _keyed_steps(
    wanted: tuple[_Value, ...],
    there: tuple[_Value, ...],
    identity: Callable[[_Value], object],
    is_same: Callable[[_Value, _Value], bool] = eq,
) -> Iterator[Step]:
    old = {identity(one): one for one in there}
    new = {identity(one) for one in wanted}
    for one in wanted:
        before = old.get(identity(one))
        if before is None:
            yield Step(StepAction.CREATE, one, "it is missing")
        elif not is_same(before, one):
            yield Step(StepAction.UPDATE, one, "it differs", before)
    for one in there:
        if identity(one) not in new:
            yield Step(StepAction.DELETE, one, "it is not wanted")


def _is_same(before: SecurityAssociation, after: SecurityAssociation) -> bool:
    """But for what runs: numbers sent and seen are no difference."""
    if before.replay.window != after.replay.window:
        return False
    return replace(before, replay=after.replay) == after
