"""INFORMATIONAL that deletes (RFC 7296, 1.4.1) or asks whether the peer lives (2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plutino.ike.child import Child, ChildInput, ChildState
from plutino.ike.events import ChildrenChanged
from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType, Protocol
from plutino.ike.payloads.generic import Payload
from plutino.ike.payloads.notify import DeletePayload
from plutino.ike.schedule import STRAGGLERS_FOR
from plutino.ike.state import SessionInput, SessionState

if TYPE_CHECKING:
    from plutino.ike.session import Session


@dataclass(slots=True)
class DeleteChild:
    """Ends one CHILD_SA; the peer's half goes with ours."""

    exchange_type: ClassVar = ExchangeType.INFORMATIONAL
    child: Child

    def request(self, session: Session, now: float) -> Sequence[Payload] | None:
        """D(ESP, our inbound SPI); None if it has gone already."""
        del now, session
        if self.child.state not in {
            ChildState.INSTALLED,
            ChildState.REKEYING,
            ChildState.REPLACED,
        }:
            return None
        self.child.advance(ChildInput.DELETE)
        return [DeletePayload.of_children([self.child.spi_in])]

    def response(self, session: Session, message: Message, now: float) -> None:
        """Gone, whatever the peer answers (RFC 7296, 1.4.1)."""
        del message
        if self.child.state is ChildState.DELETING:
            bury(session, self.child, now)


@dataclass(slots=True)
class DeleteUnusable:
    """Ends a CHILD_SA that the peer has made in another way than was asked for (RFC 7296, 1.3.1).

    It never was one here; ``spi_in`` is the SPI that we had offered.
    """

    exchange_type: ClassVar = ExchangeType.INFORMATIONAL
    spi_in: bytes

    def request(self, session: Session, now: float) -> Sequence[Payload] | None:
        """D(ESP, the offered SPI)."""
        del now
        return [DeletePayload.of_children([self.spi_in])] if session.is_established else None

    def response(self, session: Session, message: Message, now: float) -> None:
        """The peer has let go of it."""


@dataclass(slots=True)
class DeleteIke:
    """Ends the IKE SA, and with it the children it still has."""

    exchange_type: ClassVar = ExchangeType.INFORMATIONAL
    reason: str

    def request(self, session: Session, now: float) -> Sequence[Payload] | None:
        """D(IKE)."""
        del now
        if session.state not in {SessionState.ESTABLISHED, SessionState.REPLACED}:
            return None
        session.advance(SessionInput.DELETE)
        return [DeletePayload(Protocol.IKE)]

    def response(self, session: Session, message: Message, now: float) -> None:
        """It is closed on both sides."""
        del message
        session.close(self.reason, now)


@dataclass(slots=True)
class Liveness:
    """An empty request: any authentic response proves that the peer lives."""

    exchange_type: ClassVar = ExchangeType.INFORMATIONAL

    def request(self, session: Session, now: float) -> Sequence[Payload] | None:
        """Nothing at all."""
        del now
        return [] if session.is_established else None

    def response(self, session: Session, message: Message, now: float) -> None:
        """The session has noted that it heard something."""


def answer_deletes(session: Session, message: Message, now: float) -> list[Payload]:
    """Our halves of the children that the peer deletes (RFC 7296, 1.4.1 and 2.25.1).

    A child that we delete at the same time is left out of the answer.
    """
    ours: list[bytes] = []
    for payload in message.all(DeletePayload):
        if payload.protocol != Protocol.ESP:
            continue
        for spi in payload.spis:
            child = session.children.by_outbound(spi)
            if child is None:
                session.note_unknown(spi)
            elif child.state is not ChildState.DELETING:
                ours.append(child.spi_in)
                bury(session, child, now)
    return [DeletePayload.of_children(ours)] if ours else []


def deletes_ike(message: Message) -> bool:
    """Whether the peer ends the IKE SA."""
    return any(one.protocol == Protocol.IKE for one in message.all(DeletePayload))


def bury(session: Session, child: Child, now: float) -> None:
    """A child that is deleted on both sides: one that was replaced takes stragglers for a while."""
    if child.replaced and child.state is not ChildState.REKEYING:
        child.advance(ChildInput.SUPERSEDED)
        child.straggling_until = now + STRAGGLERS_FOR
    else:
        child.advance(ChildInput.GONE)
    session.children.prefer_newest(child.config.name)
    session.tell(ChildrenChanged(session.peer.name, "a CHILD_SA was deleted"))
