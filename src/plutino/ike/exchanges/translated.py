"""Selectors of transport mode whose addresses a NAT has changed (RFC 7296, 2.23.1).

Each end names the two addresses as it sees them itself. Who receives them goes on with those that
the IKE SA has here instead, and answers with what was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from plutino.ike.payloads.traffic_selector import TrafficSelector
from plutino.model.policy import IpAddress

if TYPE_CHECKING:
    from plutino.ike.session import Session

Sides = tuple[tuple[TrafficSelector, ...], tuple[TrafficSelector, ...]]
"""Ours and the peer's."""


def as_seen_here(session: Session, sides: Sides) -> Sides:
    """With the addresses of the IKE SA for the ends that a NAT is before."""
    abilities, path = session.abilities, session.path
    ends = (
        (abilities.nat_here, path.local.address),
        (abilities.nat_there, path.remote.address),
    )
    local, remote = (
        _with_address(side, end) if behind_nat and _is_one_host(side) else side
        for side, (behind_nat, end) in zip(sides, ends, strict=True)
    )
    return local, remote


def as_seen_there(sides: Sides, offered: Sides) -> Sides:
    """What came of ``as_seen_here`` with the addresses that the peer has ``offered``."""
    local, remote = (
        _with_address(side, theirs[0].first) if _is_one_host(theirs) else side
        for side, theirs in zip(sides, offered, strict=True)
    )
    return local, remote


def _is_one_host(side: Sequence[TrafficSelector]) -> bool:
    return len({end for one in side for end in (one.first, one.last)}) == 1


def _with_address(side: Sequence[TrafficSelector], end: IpAddress) -> tuple[TrafficSelector, ...]:
    return tuple(replace(one, first=end, last=end) for one in side)
