"""The IKE SAs of an endpoint, by SPI and by peer, so that ten thousand of them cost no search."""

from collections.abc import Iterator

from plutino.ike.child import Child
from plutino.ike.exchanges.auth import Auth
from plutino.ike.message.header import NO_SPI, Header
from plutino.ike.session import Session
from plutino.ike.state import SessionState

_GOING = {SessionState.DELETING, SessionState.REPLACED}
_ON_THEIR_WAY = {SessionState.INITIATING, SessionState.AUTHENTICATING}


class Registry:
    """``note`` is called whenever a session may have changed: its peer, its state, its end."""

    def __init__(self) -> None:
        self.by_spi: dict[bytes, Session] = {}
        self._by_peer: dict[str, dict[bytes, Session]] = {}
        self._peer_of: dict[bytes, str] = {}
        self._initiating: set[bytes] = set()

    @property
    def initiating(self) -> int:
        """How many of ours are on their way."""
        return len(self._initiating)

    def note(self, session: Session) -> set[str]:
        """Files a session anew; the peers that this is of interest to."""
        spi, name = session.spi, session.peer.name
        before = self._peer_of.get(spi)
        if before is not None and (before != name or session.is_closed):
            self._by_peer[before].pop(spi, None)
            if not self._by_peer[before]:
                del self._by_peer[before]
        if session.is_closed:
            self.by_spi.pop(spi, None)
            self._peer_of.pop(spi, None)
        else:
            self.by_spi[spi] = session
            self._by_peer.setdefault(name, {})[spi] = session
            self._peer_of[spi] = name
        if session.is_initiator and session.state in _ON_THEIR_WAY:
            self._initiating.add(spi)
        else:
            self._initiating.discard(spi)
        return {name} if before is None else {before, name}

    def find(self, header: Header) -> Session | None:
        """Whom a message is for, by our SPI and the peer's."""
        spi = header.responder_spi if header.is_from_initiator else header.initiator_spi
        session = self.by_spi.get(spi)
        if session is None:
            return None
        other = header.initiator_spi if header.is_from_initiator else header.responder_spi
        known = session.initiator_spi if header.is_from_initiator else session.responder_spi
        return session if known in {other, NO_SPI} else None

    def having(self, spi: bytes) -> list[tuple[Session, Child]]:
        """The CHILD_SAs that an SA of the data plane, of either direction, is of."""
        pairs = ((session, child) for session in self for child in session.children)
        return [(one, child) for one, child in pairs if spi in {child.spi_in, child.spi_out}]

    def of(self, peer: str) -> list[Session]:
        """The IKE SAs of a peer, the oldest first."""
        return list(self._by_peer.get(peer, {}).values())

    def is_alive(self, peer: str) -> bool:
        """Whether one of them is there to stay, or on its way."""
        states = (one.state for one in self._by_peer.get(peer, {}).values() if not one.is_closed)
        return any(one not in _GOING for one in states)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self.by_spi.values()))


def heir(session: Session) -> Session:
    """The IKE SA that has the children now."""
    while session.successor is not None:
        session = session.successor
    return session


def is_older(other: Session, session: Session) -> bool:
    """Whether it was up before the other even began: INITIAL_CONTACT speaks of such alone."""
    return other.established_at is not None and other.established_at < session.created


def may_be_known(session: Session, peer: str) -> bool:
    """Whether the other end may have it: INITIAL_CONTACT would end it there."""
    if session.peer.name == peer:
        return session.is_established
    return session.established_at is not None or bool(session.underway(Auth))


def waits_for_children(session: Session) -> bool:
    """Whether it was begun childless, and those that it replaces have the children (RFC 6023)."""
    return (
        session.replaces_older
        and session.first_child is None
        and bool(session.children.missing(session.wanted))
    )
