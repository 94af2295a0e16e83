"""ESP as a sign of life: what came by the CHILD_SAs of an IKE SA counts (RFC 7296, 2.4).

Only the data plane knows of it. So it is asked when IKE was silent for too long, and just then, of
the children of that IKE SA alone; if it has no answer in time, the peer is asked as ever. It counts
what had passed authentication and replay protection, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from plutino.ike.events import UseWanted

if TYPE_CHECKING:
    from plutino.ike.session import Session

ANSWER_WITHIN: Final = 1.0
"""Seconds that the data plane has to tell."""


class ChildUse(NamedTuple):
    """Packets that an inbound SA has accepted, and seconds since the last one; None: unknown."""

    spi_in: bytes
    packets: int
    idle: float | None


def want_use(session: Session, now: float) -> bool:
    """Asks the data plane, unless it was asked already or there is nothing that it could know."""
    if session.use_until is not None or not any(one.is_usable for one in session.children):
        session.use_until = None
        return False
    session.use_until = now + ANSWER_WITHIN
    session.tell(UseWanted(session.peer.name))
    return True


def note_use(session: Session, uses: Iterable[ChildUse], now: float) -> None:
    """What the data plane has told.

    That packets came is told by their number. When they came is told by the wall clock, which may
    have been set: it is believed for the time since the last look alone.
    """
    told = {one.spi_in: one for one in uses}
    for child in session.children:
        use = told.get(child.spi_in)
        if use is None:
            continue
        if use.packets not in {0, child.packets}:  # fewer, where the SA began anew
            came = child.looked_at if use.idle is None else now - use.idle
            session.schedule.heard(min(max(came, child.looked_at), now))
        child.packets, child.looked_at = use.packets, now
    after = session.peer.liveness_after
    if session.use_until is not None and after is not None:
        is_silent = session.schedule.last_heard + after <= now
        session.use_until = now if is_silent else None  # the peer itself is asked then
