"""Which of our requests may go beside those that wait for their responses (RFC 7296, 2.3, 2.25).

A window above one lets several be under way. What ends or replaces the IKE SA goes alone; two about
the same CHILD_SA, and two changes of address, go one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plutino.ike.exchanges.create_child import CreateChild
from plutino.ike.exchanges.delete import DeleteChild, DeleteIke, DeleteUnusable
from plutino.ike.exchanges.exchange import Exchange
from plutino.ike.exchanges.followup import FollowupKe
from plutino.ike.exchanges.mobike import UpdateAddresses
from plutino.ike.exchanges.rekey_ike import RekeyIke

if TYPE_CHECKING:
    from plutino.ike.session import Session


def take_next(session: Session) -> Exchange | None:
    """The request that goes now, out of the queue; None if none may."""
    if not session.window.is_open:
        return None
    for place, exchange in enumerate(session.queue):
        if _may_go(session, exchange):
            del session.queue[place]
            return exchange
        if _goes_alone(exchange) and not _waits_for_peer(session, exchange):
            return None  # what overtakes it would keep the window from becoming empty
    return None


def _may_go(session: Session, exchange: Exchange) -> bool:
    waiting = [one.exchange for one in session.window.waiting.values()]
    if any(map(_goes_alone, waiting)) or (waiting and _goes_alone(exchange)):
        return False
    if _waits_for_peer(session, exchange):
        return False
    if isinstance(exchange, UpdateAddresses):  # RFC 4555, 3.5
        return not any(isinstance(one, UpdateAddresses) for one in waiting)
    if isinstance(exchange, CreateChild):
        made = session.underway(CreateChild)
        return all(one.config.name != exchange.config.name for one in made)
    if isinstance(exchange, DeleteChild):
        return all(one.replaces is not exchange.child for one in session.underway(CreateChild))
    return True


def _goes_alone(exchange: Exchange) -> bool:
    of = exchange.series if isinstance(exchange, FollowupKe) else exchange
    return isinstance(of, RekeyIke | DeleteIke)


def _waits_for_peer(session: Session, exchange: Exchange) -> bool:
    """The peer is about to replace the IKE SA: what it would refuse goes by the new one."""
    if not isinstance(exchange, CreateChild | DeleteChild | DeleteUnusable | RekeyIke):
        return False
    return session.half_made.about(None) is not None
