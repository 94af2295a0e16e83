"""What an exchange of ours is: an object that makes the request and takes the response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType
from plutino.ike.payloads.generic import Payload

if TYPE_CHECKING:
    from plutino.ike.session import Session


class Exchange(Protocol):
    """One request of ours with its response."""

    exchange_type: ClassVar[ExchangeType]

    def request(self, session: Session, now: float) -> Sequence[Payload] | None:
        """The payloads to send; None if the exchange has become pointless."""

    def response(self, session: Session, message: Message, now: float) -> None:
        """What follows from the response.

        PeerError if it is not acceptable: a fatal one ends the IKE SA.
        """
