"""What a peer says not to know: an IKE SA of ours, or a CHILD_SA (RFC 7296, 1.5, 2.4, 2.21.4).

It may have lost all that it had, or somebody else says so. So it ends nothing, and has us ask: by a
request of the IKE SA, or, where one was repeated already and has no answer, by another handshake.
That costs no packet, and the old IKE SA goes when the new one is up. Who is only faster than the
peer with an answer gets nothing by it.

INVALID_SPI in clear has us ask as well. Within the IKE SA the peer itself says that it lacks an SA
that we send by: that CHILD_SA is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from plutino.ike.allowance import Allowance
from plutino.ike.child import Child
from plutino.ike.events import ReauthenticationDue
from plutino.ike.exchanges.create_child import CreateChild
from plutino.ike.exchanges.delete import Liveness
from plutino.ike.message.header import Header
from plutino.ike.message.message import Message
from plutino.ike.numbers import MAJOR_VERSION, ExchangeType, Flag, NotifyType, PayloadType
from plutino.ike.path import Path
from plutino.model.errors import WireError

if TYPE_CHECKING:
    from plutino.ike.session import Session

HINTS_PER_SECOND: Final = 2.0
"""That are looked at, whoever they come from."""
_HINT_SIZE: Final = Header.FIXED.size + 4 + 4 + 4
_HINT_TYPE: Final = slice(34, 36)
"""A header, a notify payload with four octets of SPI, be it in the field for that or as data."""
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


class Hints:
    """INVALID_SPI in clear, from anybody; ``having`` finds the CHILD_SAs that an SPI is of.

    Few are looked at, since that is a search among all of them.
    """

    def __init__(self, having: Callable[[bytes], Sequence[tuple[Session, Child]]]) -> None:
        self._having = having
        self._allowance = Allowance.of(HINTS_PER_SECOND)

    def heeded(self, datagram: bytes, path: Path, now: float) -> list[Session]:
        """The IKE SAs of the sender's address that are asked because of it."""
        spi = _unknown_spi(datagram)
        if spi is None or not self._allowance.take(now):
            return []
        asked = []
        for session, child in self._having(spi):
            is_the_peers = path.remote.address == session.path.remote.address
            if child.spi_out == spi and child.is_current and is_the_peers:
                asked += [session] if _may_doubt(session, now) else []
        for session in asked:
            session.hinted_at = now
            session.enqueue(Liveness(), now)
        return asked


def replace_unknown(session: Session, message: Message, now: float) -> None:
    """A CHILD_SA that the peer says to lack gets new keys, each once a minute (RFC 7296, 1.5).

    It may have gone at the peer's data plane alone; what is about to go is let go anyway.
    """
    for notify in message.notifies:
        if notify.type == NotifyType.INVALID_SPI:
            child = session.children.by_outbound(notify.data or notify.spi)
            if child is None or not child.is_current or not session.is_established:
                continue
            name = child.config.name
            before = session.lacked_at.get(name)
            if before is None or before + DOUBTED_FOR <= now:
                session.lacked_at[name] = now
                if not session.makes(name):
                    session.enqueue(CreateChild(child.config, child), now)


def _may_doubt(session: Session, now: float) -> bool:
    """Whether nothing has been asked for long enough, and nothing is asked now."""
    is_asked = bool(session.window.waiting)
    return session.is_established and not is_asked and not _was_hinted(session, now)


def _was_hinted(session: Session, now: float) -> bool:
    return session.hinted_at is not None and now < session.hinted_at + DOUBTED_FOR


def _unknown_spi(datagram: bytes) -> bytes | None:
    """That of a one-way INVALID_SPI; its IKE SPIs mean nothing, and may be zero (1.5)."""
    if len(datagram) != _HINT_SIZE or datagram[16] != PayloadType.NOTIFY:
        return None
    *_, version, exchange, flags, _number, length = Header.FIXED.unpack_from(datagram)
    is_one_way = exchange == ExchangeType.INFORMATIONAL and not flags & Flag.RESPONSE
    kind = int.from_bytes(datagram[_HINT_TYPE], "big")
    if version >> 4 != MAJOR_VERSION or not is_one_way or length != len(datagram):
        return None
    return datagram[-4:] if kind == NotifyType.INVALID_SPI else None


def _says_unknown(header: Header, datagram: bytes) -> bool:
    if header.next_payload != PayloadType.NOTIFY or not header.is_response:
        return False
    try:
        message = Message.parse_clear(header, memoryview(datagram))
    except WireError:
        return False
    return message.notify(NotifyType.INVALID_IKE_SPI) is not None
