"""CHILD_SAs as the data plane has to have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plutino.ike.child import Child
from plutino.ike.config import PeerConfig
from plutino.ike.path import Path

if TYPE_CHECKING:
    from plutino.ike.session import Session


@dataclass(frozen=True, slots=True)
class ActiveChild:
    """A CHILD_SA with its path, as the data plane has to have it."""

    peer: PeerConfig
    path: Path
    udp: bool
    child: Child
    outbound: bool


def active_children(sessions: Sequence[Session]) -> list[ActiveChild]:
    """Of one peer's IKE SAs; of those of one configuration the newest preferred sends."""
    pairs = [(one, child) for one in sessions for child in one.children]
    usable = [(one, child) for one, child in pairs if child.is_usable]
    sending: dict[str, Child] = {}
    for _, child in usable:
        best = sending.get(child.config.name)
        if child.outbound and (best is None or child.created >= best.created):
            sending[child.config.name] = child
    found: list[ActiveChild] = []
    for session, child in usable:
        outbound = sending.get(child.config.name) is child
        path = session.unproved_from or session.path
        found.append(ActiveChild(session.peer, path, is_in_udp(session), child, outbound))
    return found


def is_in_udp(session: Session) -> bool:
    """Whether ESP of an IKE SA's children goes in UDP (RFC 7296, 2.23)."""
    return session.abilities.has_nat or session.peer.force_encapsulation
