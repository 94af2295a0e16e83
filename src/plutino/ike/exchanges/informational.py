"""INFORMATIONAL requests of the peer (RFC 7296, 1.4): deletes, liveness, addresses, windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plutino.ike.doubts import replace_unknown
from plutino.ike.exchanges.delete import answer_deletes, deletes_ike
from plutino.ike.exchanges.mobike import answer_addresses
from plutino.ike.exchanges.window_size import answer_window
from plutino.ike.message.message import Message
from plutino.ike.numbers import NotifyType
from plutino.ike.other_ways import note_addresses
from plutino.ike.path import Path
from plutino.ike.payloads.generic import Payload

if TYPE_CHECKING:
    from plutino.ike.session import Session

_FATAL: Final = frozenset(
    {
        NotifyType.AUTHENTICATION_FAILED,
        NotifyType.INVALID_SYNTAX,
        NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD,
    }
)
"""What an initiator says that has not taken our response; nothing else ends the IKE SA (2.21.2)."""


def answer_informational(
    session: Session, message: Message, path: Path, now: float
) -> list[Payload]:
    """What the request asks for, in one response; the end of the IKE SA is answered by nothing."""
    fatal = next((one for one in message.notifies if one.type in _FATAL), None)
    if fatal is not None:
        session.ends_with = f"the peer refuses our response: {fatal.name}"
        return []
    if deletes_ike(message):
        session.ends_with = "the peer deleted the IKE SA"
        return []
    note_addresses(session, message)
    replace_unknown(session, message, now)
    return [
        *answer_addresses(session, message, path, now),
        *answer_window(session, message),
        *answer_deletes(session, message, now),
    ]
