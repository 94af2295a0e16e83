"""IKE SAs with one peer that are in each other's way, and which of them goes.

Both ends may begin at once, a peer may start anew, and an IKE SA is authenticated anew by making
another (RFC 7296, 2.4, 2.8.2): in the end there is one, the same at both ends.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from plutino.ike.exchanges.auth import Auth
from plutino.ike.registry import heir, is_older
from plutino.ike.session import Session
from plutino.ike.state import SessionState

_BOTH_BEGAN: Final = "redundant: both ends began at once"


class Ending(NamedTuple):
    """One that has to go; ``is_told``: by a delete, which the peer answers."""

    session: Session
    reason: str
    is_told: bool


class Rivals:
    """Of two that both ends began at once, the one with the lowest nonce goes.

    Where ours has shown itself to the peer already, that is decided when it is up as well.
    """

    def __init__(self) -> None:
        self._contests: dict[bytes, Session] = {}

    def forget(self, session: Session) -> None:
        """It has ended."""
        self._contests.pop(session.spi, None)

    def settle(self, session: Session, others: Sequence[Session]) -> Iterator[Ending]:
        """Those that go now that ``session`` is up; ``others`` are the peer's other IKE SAs.

        Each has to be ended before the next is asked for.
        """
        if session.replaces_older:
            session.replaces_older = False
            for other in others:
                if other.is_established:
                    yield _replaced(other, session)
            return
        for other in others:
            if session.initial_contact and is_older(other, session):
                yield Ending(other, "the peer has started anew", is_told=False)
            elif other.is_initiator and not other.replaces_older:
                yield from self._contest(session, other)
        rival = self._contests.pop(session.spi, None)
        rival = None if rival is None else heir(rival)
        if rival is not None and rival.is_established and session.is_established:
            yield Ending(_lowest(session, rival), _BOTH_BEGAN, is_told=True)

    def _contest(self, session: Session, own: Session) -> Iterator[Ending]:
        """The peer's IKE SA is up while ours is on its way."""
        if own.state is SessionState.INITIATING or (
            own.state is SessionState.AUTHENTICATING and not own.underway(Auth)
        ):
            yield Ending(own, "the peer was first", is_told=False)
        elif own.state is SessionState.AUTHENTICATING:
            self._contests[own.spi] = session


def _replaced(other: Session, session: Session) -> Ending:
    """One that began before goes; of two that began at once, as both ends know, one."""
    if other.began < session.began:
        return Ending(other, "authenticated anew", is_told=True)
    return Ending(_lowest(session, other), _BOTH_BEGAN, is_told=True)


def _lowest(one: Session, other: Session) -> Session:
    return min(one, other, key=lambda each: each.session_keys.lowest_nonce)
