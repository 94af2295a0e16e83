"""A group of tunnels to one site as it stands: who carries its traffic, and who is lost."""

from dataclasses import dataclass

from plutino.model.link import Route


@dataclass(frozen=True, slots=True)
class GroupMember:
    """One tunnel. ``probe`` is the key of what judges it, None if nothing does.

    ``active`` tells that it carries traffic: also where it is lost, as long as all are.
    """

    tunnel: str
    interface: str
    probe: str | None
    lost: bool
    active: bool


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """The members, the best first, and the routes into them."""

    name: str
    mode: str
    members: tuple[GroupMember, ...]
    routes: tuple[Route, ...]


def describe_group(group: GroupPlan) -> str | None:
    """What is wrong with it, in words; None if all is well."""
    lost = [f"'{one.tunnel}'" for one in group.members if one.lost]
    active = [f"'{one.tunnel}'" for one in group.members if one.active]
    if not lost:
        return None
    if len(lost) == len(group.members):
        return f"group '{group.name}': all tunnels are lost, {', '.join(lost)}"
    carry = "carries" if len(active) == 1 else "carry"
    words = f"{'tunnel' if len(lost) == 1 else 'tunnels'} {', '.join(lost)}"
    verb = "is" if len(lost) == 1 else "are"
    return f"group '{group.name}': {words} {verb} lost, {', '.join(active)} {carry} its traffic"
