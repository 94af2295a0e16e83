"""IKE_INTERMEDIATE with one more key exchange each (RFC 9242, RFC 9370)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from plutino.ike.crypto.key_exchange import KeyExchange
from plutino.ike.crypto.keymat import intermediate_keys
from plutino.ike.errors import InvalidSyntaxError
from plutino.ike.exchanges.key_exchange import finish, respond, start
from plutino.ike.keys import SessionKeys
from plutino.ike.message.chain import encode_chain
from plutino.ike.message.header import Header
from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType, PayloadType
from plutino.ike.payloads.generic import Payload
from plutino.ike.payloads.key_exchange import KePayload

if TYPE_CHECKING:
    from plutino.ike.session import Session


@dataclass(slots=True)
class Intermediate:
    """Our part: the keys change once the response is there."""

    exchange_type: ClassVar = ExchangeType.IKE_INTERMEDIATE
    method: int
    started: KeyExchange | None = field(default=None, repr=False)

    def request(self, session: Session, now: float) -> Sequence[Payload]:
        """KEi(n)."""
        del now
        self.started, ke = start(self.method, session.surroundings.random)
        return [ke]

    def response(self, session: Session, message: Message, now: float) -> None:
        """The keys after KEr(n)."""
        ke = message.first(KePayload)
        if message.error is not None or ke is None or ke.method != self.method:
            raise InvalidSyntaxError("IKE_INTERMEDIATE without the key exchange that was asked for")
        assert self.started is not None
        shared = finish(self.started, ke)
        session.additional.pop(0)
        mix(session, shared)
        session.proceed(now)


def answer_intermediate(session: Session, message: Message) -> tuple[list[Payload], bytes]:
    """KEr(n), and the secret that changes the keys once the response is sealed.

    InvalidSyntaxError unless it is the next key exchange that was agreed upon.
    """
    ke = message.first(KePayload)
    if ke is None or not session.additional or session.additional[0][1] != ke.method:
        raise InvalidSyntaxError("IKE_INTERMEDIATE without the key exchange that is next")
    own, shared = respond(ke, session.surroundings.random)
    session.additional.pop(0)
    return [own], shared


def mix(session: Session, shared: bytes) -> None:
    """New keys of the IKE SA from the old SK_d and one more secret."""
    old = session.session_keys
    keys = intermediate_keys(old.prf, old.suite.sizes, old.keys, shared, old.exchanged)
    session.set_keys(
        SessionKeys.of(old.suite, keys, old.exchanged, is_initiator=session.is_initiator)
    )


def cover_own(session: Session, message: Message) -> None:
    """As ``cover``, for what we are about to send."""
    if message.header.exchange_type == ExchangeType.IKE_INTERMEDIATE:
        cover(session, message.header, encode_chain(message.payloads))


def cover(session: Session, header: Header, chain: tuple[int, bytes]) -> None:
    """AUTH will cover what IKE_INTERMEDIATE said (RFC 9242, 3.3.2)."""
    if header.exchange_type != ExchangeType.IKE_INTERMEDIATE or session.keys is None:
        return
    first, plaintext = chain
    associated = replace(header, next_payload=PayloadType.SK).encode() + bytes((first, 0, 0, 0))
    keys = session.keys.keys
    key = keys.pi if header.is_from_initiator else keys.pr
    session.intermediate = session.intermediate.with_message(
        session.keys.prf.compute, key, associated, plaintext, is_request=not header.is_response
    )
