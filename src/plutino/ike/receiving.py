"""What an IKE SA receives: datagrams, put together and ordered, to the exchanges that take them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from plutino.ike.auth.ocsp import StatusWantedError
from plutino.ike.crypto.encryption import NotAuthenticError
from plutino.ike.errors import PeerError
from plutino.ike.events import Refused
from plutino.ike.exchanges.answers import answer
from plutino.ike.exchanges.delete import deletes_ike
from plutino.ike.exchanges.exchange import Exchange
from plutino.ike.exchanges.intermediate import cover, cover_own, mix
from plutino.ike.exchanges.rekey_ike import hand_over
from plutino.ike.exchanges.window_size import follow_window
from plutino.ike.held import Held
from plutino.ike.message.header import Header
from plutino.ike.message.message import Message
from plutino.ike.message.protection import Opened, open_message
from plutino.ike.message.rules import check_rules, checked
from plutino.ike.moves import follow_request
from plutino.ike.numbers import ExchangeType, NotifyType
from plutino.ike.other_ways import follow_answer
from plutino.ike.path import Path
from plutino.ike.payloads.generic import Payload
from plutino.ike.payloads.notify import NotifyPayload
from plutino.ike.sending import header_of, seal, send
from plutino.ike.state import SessionState
from plutino.model.errors import WireError

if TYPE_CHECKING:
    from plutino.ike.session import Session


def receive(session: Session, header: Header, datagram: bytes, path: Path, now: float) -> bool:
    """A datagram that bears our SPI; False where it is not authentic and leaves no trace."""
    if session.is_closed or header.is_from_initiator == session.is_initiator:
        return False
    waiting = session.window.waiting.get(header.message_id) if header.is_response else None
    if header.is_response and waiting is None:
        return False
    if header.exchange_type == ExchangeType.IKE_SA_INIT:
        is_awaited = waiting is not None and session.keys is None
        _receive_clear(session, header, datagram, path, now)
        return is_awaited
    if session.keys is None:
        return False
    try:
        opened = open_message(header, memoryview(datagram), session.keys.cipher_in)
    except (NotAuthenticError, WireError):
        return False
    if waiting is not None:
        whole = waiting.reassembly.add(opened)
        if whole is not None:
            session.schedule.heard(now)
            del session.window.waiting[header.message_id]
            cover(session, header, (whole.first_payload, whole.chain))
            follow_answer(session, waiting.tries, path, now)
            _take_response(session, header, whole, waiting.exchange, now)
    else:
        _take_piece(session, header, opened, path, now)
    session.pump(now)
    return True


def _receive_clear(
    session: Session, header: Header, datagram: bytes, path: Path, now: float
) -> None:
    """The response of IKE_SA_INIT; anybody may have sent it, so errors are not believed."""
    waiting = session.window.waiting.get(header.message_id)
    if not header.is_response or waiting is None or session.keys is not None:
        return
    try:
        message = Message.parse_clear(header, memoryview(datagram))
        check_rules(message)
        waiting.exchange.response(session, message, now)
    except (WireError, PeerError) as error:
        session.tell(Refused(session.peer.name, f"IKE_SA_INIT of {path.remote}: {error}"))
        return
    session.schedule.heard(now)
    if session.window.waiting.get(header.message_id) is waiting:
        del session.window.waiting[header.message_id]  # else it was sent anew
    session.pump(now)


def _take_response(
    session: Session, header: Header, opened: Opened, exchange: Exchange, now: float
) -> None:
    try:
        message = checked(header, opened)
    except PeerError as error:  # no exchange has a use for it
        session.tell(Refused(session.peer.name, f"{header.exchange_name}: {error.reason}"))
        session.fail(error, now)
        return
    if session.established_at is not None and message.notify(NotifyType.INVALID_SYNTAX):
        session.close("the peer found our request malformed, which ends it there as well", now)
        return
    try:
        exchange.response(session, message, now)
        follow_window(session, message)
    except StatusWantedError as wanted:
        again = partial(_take_response, session, header, opened, exchange)
        session.held = Held(wanted.questions, again, exchange)
    except PeerError as error:
        session.tell(Refused(session.peer.name, f"{header.exchange_name}: {error.reason}"))
        if error.fatal:
            session.fail(error, now)


def _take_piece(session: Session, header: Header, opened: Opened, path: Path, now: float) -> None:
    """A request, or a fragment of one: an answer that was given is given again.

    The responder may be done before we know who it is: its requests wait to come again.
    """
    is_early = session.is_initiator and session.state is SessionState.AUTHENTICATING
    if is_early or session.held is not None:
        return
    given = session.responses.answer_to(header.message_id)
    if given is not None:
        if opened.number == 1:
            send(session, given, path, now)
        return
    session.responses.add(header, opened, path)
    while not session.is_closed and (request := session.responses.take_next()) is not None:
        session.schedule.heard(now)
        session.window.ask_anew(now)
        _take_request(session, request.header, request.opened, request.path, now)


def _take_request(session: Session, header: Header, opened: Opened, path: Path, now: float) -> None:
    failure: PeerError | None = None
    payloads: Sequence[Payload]
    try:
        message = checked(header, opened)
        cover(session, header, (opened.first_payload, opened.chain))
        follow_request(session, path)
        if session.predecessor is not None and not deletes_ike(message):
            # It uses this IKE SA, which has won over our own request to replace the old one.
            hand_over(session.predecessor, session, now)
        payloads = answer(session, message, path, now)
        follow_window(session, message)
    except StatusWantedError as wanted:
        session.held = Held(wanted.questions, partial(_take_request, session, header, opened, path))
        return
    except PeerError as error:
        failure, reason = error, f"{header.exchange_name}: {error.reason}"
        if not error.fatal:
            session.tell(Refused(session.peer.name, reason))
        payloads = (NotifyPayload(error.notify, error.data),)
    reply = header_of(session, header.exchange_type, header.message_id, response=True)
    message = Message(reply, tuple(payloads))
    cover_own(session, message)
    datagrams = seal(session, message)
    session.responses.answered(header.message_id, datagrams)
    send(session, datagrams, path, now)
    if session.pending_secret is not None:
        secret, session.pending_secret = session.pending_secret, None
        mix(session, secret)
    if failure is not None and failure.fatal:
        session.close(reason, now)
    elif session.ends_with is not None:
        session.close(session.ends_with, now)
