"""Further addresses of a peer, for when nothing comes from the one in use (RFC 4555, 3.4 and 3.5).

Who began the IKE SA repeats a request there, too, once it was repeated in vain. What answers from
there has to prove next that it receives there (COOKIE2), and only then does ESP follow: a peer that
is authentic gains no way to have others flooded. Only of a peer that the file has by its name:
where the file has addresses, nobody else adds to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from plutino.ike.message.message import Message
from plutino.ike.moves import change_path
from plutino.ike.numbers import NotifyType
from plutino.ike.path import Path, SocketAddress
from plutino.model.policy import IpAddress
from plutino.model.sa import NAT_T_PORT

if TYPE_CHECKING:
    from plutino.ike.session import Session

TRIED_AFTER: Final = 3
"""Repetitions of a request that were in vain."""
MOST: Final = 8
"""Addresses of a peer that are noted."""
_SIZES: Final[Mapping[int, int]] = {
    NotifyType.ADDITIONAL_IP4_ADDRESS: 4,
    NotifyType.ADDITIONAL_IP6_ADDRESS: 16,
}


def note_addresses(session: Session, message: Message) -> None:
    """What an authentic peer says of itself takes the place of what it said before."""
    found: list[IpAddress] = []
    said = False
    for notify in message.notifies:
        size = _SIZES.get(notify.type)
        said |= size is not None or notify.type == NotifyType.NO_ADDITIONAL_ADDRESSES
        if size is not None and len(notify.data) == size:
            found.append(ip_address(notify.data))
    if said and session.abilities.mobike:
        every = (session.path.remote.address, *filter(_is_of_a_host, found))
        session.peer_addresses = tuple(dict.fromkeys(every))[:MOST]


def other_ways(session: Session) -> Iterator[Path]:
    """Where a request is tried besides, each with our address as it is.

    Nowhere as long as the peer has to prove itself: COOKIE2 goes to that address alone.
    """
    abilities = session.abilities
    is_free = not session.peer.remotes and session.may_move and session.is_established
    is_proved = session.unproved_from is None
    if not is_free or not is_proved or not abilities.mobike or abilities.nat_there:
        return
    here, there = session.path
    for address in session.peer_addresses:
        if address != there.address and address.version == here.address.version:
            yield Path(here, SocketAddress(address, NAT_T_PORT))


def follow_answer(session: Session, tries: int, path: Path, now: float) -> None:
    """An authentic answer has come from an address that was tried: IKE goes there.

    After fewer ``tries`` nobody was asked there, and somebody else may have sent it from there.
    """
    is_elsewhere = tries >= TRIED_AFTER and path.remote != session.path.remote
    if is_elsewhere and path in other_ways(session):
        session.unproved_from = session.unproved_from or session.path
        change_path(session, path.ends, now)


def _is_of_a_host(address: IpAddress) -> bool:
    return not (address.is_multicast or address.is_unspecified or address.is_loopback)
