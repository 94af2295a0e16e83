"""SET_WINDOW_SIZE: how many requests an end takes at once (RFC 7296, 2.3).

Said in IKE_AUTH. An IKE SA that replaces another has a window of one (2.18) until the end that has
made it says it again; the answer says that of the other end.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType, NotifyType
from plutino.ike.payloads.generic import Payload
from plutino.ike.payloads.notify import NotifyPayload

if TYPE_CHECKING:
    from plutino.ike.session import Session

_SIZE = struct.Struct("!I")


@dataclass(slots=True)
class SetWindow:
    """Tells the peer of our window in an IKE SA that has replaced another, and asks for its own."""

    exchange_type: ClassVar = ExchangeType.INFORMATIONAL

    def request(self, session: Session, now: float) -> Sequence[Payload] | None:
        """N(SET_WINDOW_SIZE)."""
        del now
        return own_window(session) if session.is_established else None

    def response(self, session: Session, message: Message, now: float) -> None:
        """The peer knows."""


def own_window(session: Session) -> list[NotifyPayload]:
    """We take so many from now on; nothing is said of one."""
    size = session.peer.window
    session.responses.size = size
    return [NotifyPayload(NotifyType.SET_WINDOW_SIZE, _SIZE.pack(size))] if size > 1 else []


def answer_window(session: Session, message: Message) -> list[NotifyPayload]:
    """Ours, where the peer tells its own in a request."""
    is_told = message.notify(NotifyType.SET_WINDOW_SIZE) is not None
    return own_window(session) if is_told else []


def follow_window(session: Session, message: Message) -> None:
    """The peer takes so many: we send no more, and no more than are configured here."""
    told = message.notify(NotifyType.SET_WINDOW_SIZE)
    if told is not None and len(told.data) == _SIZE.size and session.is_established:
        (size,) = _SIZE.unpack(told.data)
        session.window.size = max(1, min(size, session.peer.window))
