"""What an IKE SA sends: messages sealed and cut to size, on a path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from plutino.ike.message.header import Header
from plutino.ike.message.message import Message
from plutino.ike.message.protection import seal_fragments
from plutino.ike.numbers import ExchangeType, Flag
from plutino.ike.path import Datagram, Path

if TYPE_CHECKING:
    from plutino.ike.session import Session

MAX_DATAGRAM: Final = 65000
"""Bytes of a message that is not cut into fragments."""


def header_of(
    session: Session, exchange: int, message_id: int, *, response: bool = False
) -> Header:
    """That of a message of ours."""
    flags = int(Flag.INITIATOR) * session.is_initiator + int(Flag.RESPONSE) * response
    return Header(session.initiator_spi, session.responder_spi, 0, exchange, flags, message_id)


def seal(session: Session, message: Message) -> list[bytes]:
    """Its datagrams: one of IKE_SA_INIT, which is in clear, or fragments of what the peer takes."""
    if message.header.exchange_type == ExchangeType.IKE_SA_INIT:
        return [message.encode_clear()]
    limit = session.peer.fragment_size if session.abilities.fragmentation else None
    size = _room(session, limit) if limit is not None else MAX_DATAGRAM
    cipher = session.session_keys.cipher_out
    return seal_fragments(message, cipher, session.surroundings.random, size)


def send(session: Session, payloads: Sequence[bytes], path: Path, now: float) -> None:
    """From now on they are among what goes out."""
    if path == session.path:
        session.schedule.last_sent = now  # what goes elsewhere keeps no mapping of a NAT
    session.outgoing.extend(Datagram(path, one) for one in payloads)


def _room(session: Session, packet: int) -> int:
    """Bytes of a datagram in an IP packet of a size: without IP, UDP and non-ESP marker."""
    return packet - (20 if session.path.local.address.version == 4 else 40) - 8 - 4
