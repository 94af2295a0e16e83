"""What `status` tells of groups of tunnels."""

from collections.abc import Iterable, Iterator, Sequence

from plutino.control.report import GroupMemberReport, GroupReport, Health
from plutino.model.group import GroupMember, GroupPlan
from plutino.model.link import Route


def group_reports(
    groups: Iterable[GroupPlan], there: Sequence[Route], unanswered: frozenset[str] | None
) -> Iterator[GroupReport]:
    """Each group; who is active is told by the routes that are ``there``.

    ``unanswered`` are probes that nobody has answered, None where nobody asks.
    """
    for group in groups:
        used = _used(group, there)
        members = tuple(
            GroupMemberReport(one.tunnel, one.interface in used, _health(one, unanswered))
            for one in group.members
        )
        yield GroupReport(group.name, group.mode, members)


def _used(group: GroupPlan, there: Sequence[Route]) -> frozenset[str]:
    """The interfaces that the group's prefixes lead into now, each by its best route."""
    places = {(one.destination, one.table, one.namespace) for one in group.routes}
    best: dict[object, Route] = {}
    for route in sorted(there, key=lambda one: one.metric):
        place = (route.destination, route.table, route.namespace)
        if place in places and route.interfaces:
            best.setdefault(place, route)
    return frozenset(name for route in best.values() for name in route.interfaces)


def _health(member: GroupMember, unanswered: frozenset[str] | None) -> Health:
    if unanswered is not None and member.probe in unanswered:
        return Health.UNANSWERED
    if member.lost:
        return Health.LOST
    watched = unanswered is not None and member.probe is not None
    return Health.OK if watched else Health.UNWATCHED
