"""Where the peer is by now, and how it learns where we are (RFC 7296, 2.23; RFC 4555)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plutino.ike.exchanges.mobike import UpdateAddresses
from plutino.ike.path import Path, SocketAddress
from plutino.ike.state import SessionState
from plutino.model.policy import IpAddress

if TYPE_CHECKING:
    from plutino.ike.session import Session


def follow_request(session: Session, path: Path) -> None:
    """A peer behind a NAT is where its newest request comes from (RFC 7296, 2.23).

    With MOBIKE it says itself when it moves (RFC 4555, 3.5).
    """
    if session.state is SessionState.AUTHENTICATING:
        session.path = path  # the initiator has changed to port 4500
        return
    abilities = session.abilities
    moved = path.remote != session.path.remote and not abilities.nat_here
    if moved and abilities.nat_there and not abilities.mobike:
        session.move(path)


def follow_mapping(session: Session, remote: SocketAddress) -> None:
    """ESP in UDP comes from elsewhere: the NAT before the peer has given it another mapping.

    With MOBIKE only a port is taken from that: a packet could be late, and come by a path that the
    peer has left.
    """
    abilities = session.abilities
    is_near = not abilities.mobike or remote.address == session.path.remote.address
    if abilities.nat_there and not abilities.nat_here and is_near:
        session.move(Path(session.path.local, remote))


def change_path(session: Session, ends: tuple[IpAddress, IpAddress], now: float) -> None:
    """We go by other addresses, ours first; the peer is told, after what it still has to answer.

    That is sent again at once, and by the new path (RFC 4555, 3.5). Only with ``may_move``, and
    with a peer that has MOBIKE.
    """
    (here, there), (local, remote) = ends, session.path
    session.move(Path(SocketAddress(here, local.port), SocketAddress(there, remote.port)))
    for one in session.window.waiting.values():
        one.due = now
    if not any(isinstance(one, UpdateAddresses) for one in session.queue):
        session.enqueue(UpdateAddresses(), now, first=True)
