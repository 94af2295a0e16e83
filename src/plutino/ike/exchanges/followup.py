"""IKE_FOLLOWUP_KE: the key exchanges after the one of CREATE_CHILD_SA (RFC 9370, 2.2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from plutino.ike.crypto.key_exchange import KeyExchange
from plutino.ike.errors import (
    InvalidSyntaxError,
    PeerError,
    StateNotFoundError,
    TemporaryFailureError,
)
from plutino.ike.exchanges.delete import DeleteIke
from plutino.ike.exchanges.key_exchange import finish, respond, start
from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType, NotifyType
from plutino.ike.payloads.generic import Payload
from plutino.ike.payloads.key_exchange import KePayload
from plutino.ike.payloads.notify import NotifyPayload
from plutino.ike.proposals import Chosen

if TYPE_CHECKING:
    from plutino.ike.session import Session


class Series(Protocol):
    """The exchange of ours that needs more key exchanges before its SA is made."""

    def complete(self, session: Session, additional: bytes, now: float) -> None:
        """All are done; ``additional`` is SK(1) | ... | SK(n)."""

    def failed(self, session: Session, now: float) -> None:
        """The whole series has failed."""

    def refused(self, session: Session, error: NotifyPayload, now: float) -> None:
        """As ``failed``, since the peer says so; PeerError for the log."""


@dataclass(slots=True)
class FollowupKe:
    """One of our requests of a series. ``link`` is what the peer knows the series by."""

    exchange_type: ClassVar = ExchangeType.IKE_FOLLOWUP_KE
    series: Series
    methods: tuple[int, ...]
    link: NotifyPayload
    secrets: bytes = field(default=b"", repr=False)
    started: KeyExchange | None = field(default=None, repr=False)

    @classmethod
    def after(
        cls, series: Series, methods: tuple[int, ...], message: Message, secrets: bytes = b""
    ) -> FollowupKe:
        """The next request after a response; PeerError if that does not link them."""
        link = message.notify(NotifyType.ADDITIONAL_KEY_EXCHANGE)
        if link is None:
            raise PeerError("ADDITIONAL_KEY_EXCHANGE is missing")
        return cls(series, methods, link, secrets)

    def request(self, session: Session, now: float) -> Sequence[Payload] | None:
        """KEi(n), N(ADDITIONAL_KEY_EXCHANGE); None where the IKE SA is about to go."""
        del now
        if not session.is_established or session.ahead(DeleteIke):
            return None
        self.started, ke = start(self.methods[0], session.surroundings.random)
        return [ke, NotifyPayload(NotifyType.ADDITIONAL_KEY_EXCHANGE, self.link.data)]

    def response(self, session: Session, message: Message, now: float) -> None:
        """The next key exchange, or the SA that all of them were for."""
        if message.error is not None:
            self.series.refused(session, message.error, now)
            return
        assert self.started is not None
        rest = self.methods[1:]
        try:
            ke = message.first(KePayload)
            if ke is None or ke.method != self.methods[0]:
                raise InvalidSyntaxError("IKE_FOLLOWUP_KE without the key exchange that is next")
            secrets = self.secrets + finish(self.started, ke)
            following = FollowupKe.after(self.series, rest, message, secrets) if rest else None
        except PeerError:
            self.series.failed(session, now)
            raise
        if following is None:
            self.series.complete(session, secrets, now)
        else:
            session.enqueue(following, now, first=True)


def additional_methods(chosen: Chosen) -> tuple[int, ...]:
    """What a series has to go through, in this order."""
    return tuple(method for _, method in chosen.additional_key_exchanges)


def answer_followup(session: Session, message: Message, now: float) -> list[Payload]:
    """The responder's side: KEr(n), and the link to the next, or the SA is there.

    StateNotFoundError if nothing is known of the series any more, TemporaryFailureError if the IKE
    SA is about to go.
    """
    link = message.notify(NotifyType.ADDITIONAL_KEY_EXCHANGE)
    one = None if link is None else session.half_made.take(link.data)
    if one is None:
        raise StateNotFoundError("a key exchange that follows nothing known")
    if not session.is_established:
        raise TemporaryFailureError("the IKE SA is being deleted")
    ke = message.first(KePayload)
    if ke is None or ke.method != one.methods[0]:
        raise InvalidSyntaxError("IKE_FOLLOWUP_KE without the key exchange that is next")
    random = session.surroundings.random
    own, shared = respond(ke, random)
    one.secrets += shared
    one.methods = one.methods[1:]
    if one.methods:
        return [own, session.half_made.expect(one, random, now)]
    one.complete(session, now)
    return [own]
