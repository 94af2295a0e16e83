"""What a peer says in clear of an IKE SA of ours: that it does not know it (RFC 7296, 2.4, 2.21.4).

It may have lost all that it had, or somebody else says so. So it ends nothing, and has us ask: by a
request of the IKE SA, or, where one was repeated already and has no answer, by another handshake.
That costs no packet, and the old IKE SA goes when the new one is up. Who is only faster than the
peer with an answer gets nothing by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plutino.ike.events import ReauthenticationDue
from plutino.ike.exchanges.delete import Liveness
from plutino.ike.message.header import Header
from plutino.ike.message.message import Message
from plutino.ike.numbers import NotifyType, PayloadType
from plutino.ike.path import Path
from plutino.model.errors import WireError

if TYPE_CHECKING:
    from plutino.ike.session import Session

DOUBTED_FOR: Final = 60.0
"""Seconds in which an IKE SA is doubted once, whoever says what."""


def heed(session: Session, header: Header, datagram: bytes, path: Path, now: float) -> bool:
    """Whether an answer that nothing protects has us ask; ``header`` is its own."""
    doubted = session.schedule.doubted_at
    if not session.is_established or (doubted is not None and now < doubted + DOUBTED_FOR):
        return False
    waiting = session.window.waiting.values()
    if waiting and not (session.wanted and any(one.tries for one in waiting)):
        return False
    if path.remote.address != session.path.remote.address or not _says_unknown(header, datagram):
        return False
    session.schedule.doubted_at = now
    if waiting:
        session.tell(ReauthenticationDue(session.peer.name, session.initiator_spi))
    else:
        session.enqueue(Liveness(), now)
    return True


def _says_unknown(header: Header, datagram: bytes) -> bool:
    if header.next_payload != PayloadType.NOTIFY or not header.is_response:
        return False
    try:
        message = Message.parse_clear(header, memoryview(datagram))
    except WireError:
        return False
    return message.notify(NotifyType.INVALID_IKE_SPI) is not None
