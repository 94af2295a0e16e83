"""Which exchange answers which request, and in which state (RFC 7296, 1.2 to 1.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from plutino.ike.errors import InvalidSyntaxError
from plutino.ike.exchanges.auth import answer_auth
from plutino.ike.exchanges.create_child import answer_create_child
from plutino.ike.exchanges.followup import answer_followup
from plutino.ike.exchanges.informational import answer_informational
from plutino.ike.exchanges.intermediate import answer_intermediate
from plutino.ike.exchanges.rekey_ike import answer_rekey_ike
from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType, Protocol
from plutino.ike.path import Path
from plutino.ike.payloads.generic import Payload
from plutino.ike.payloads.proposal import SaPayload
from plutino.ike.state import SessionState

if TYPE_CHECKING:
    from plutino.ike.session import Session


def answer(session: Session, message: Message, path: Path, now: float) -> Sequence[Payload]:
    """The payloads of the response; PeerError for a refusal."""
    kind = message.header.exchange_type
    if session.state is SessionState.AUTHENTICATING:
        return _before_auth(session, message, now)
    if kind == ExchangeType.CREATE_CHILD_SA:
        if _is_for_ike(message):
            return answer_rekey_ike(session, message, now)
        return answer_create_child(session, message, now)
    if kind == ExchangeType.IKE_FOLLOWUP_KE:
        return answer_followup(session, message, now)
    if kind == ExchangeType.INFORMATIONAL:
        return answer_informational(session, message, path, now)
    raise InvalidSyntaxError(f"{message.header.exchange_name} in an IKE SA that is up")


def _before_auth(session: Session, message: Message, now: float) -> Sequence[Payload]:
    kind = message.header.exchange_type
    if kind == ExchangeType.IKE_AUTH and not session.additional:
        return answer_auth(session, message, now)
    if kind == ExchangeType.IKE_INTERMEDIATE:
        payloads, session.pending_secret = answer_intermediate(session, message)
        return payloads
    raise InvalidSyntaxError(f"{message.header.exchange_name} before IKE_AUTH")


def _is_for_ike(message: Message) -> bool:
    sa = message.first(SaPayload)
    return sa is not None and any(one.protocol == Protocol.IKE for one in sa.proposals)
