"""CREATE_CHILD_SA for a new CHILD_SA or in the place of another (RFC 7296, 1.3.1, 1.3.3, 2.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from plutino.ike.child import Child, ChildInput, ChildState
from plutino.ike.config import ChildConfig
from plutino.ike.crypto.key_exchange import KeyExchange
from plutino.ike.errors import (
    ChildSaNotFoundError,
    InvalidKeError,
    InvalidSyntaxError,
    PeerError,
    TemporaryFailureError,
)
from plutino.ike.events import ChildrenChanged
from plutino.ike.exchanges.child_offer import (
    ChildOffer,
    answer_offer,
    config_for,
    make_offer,
    take_answer,
)
from plutino.ike.exchanges.delete import DeleteChild, DeleteUnusable
from plutino.ike.exchanges.key_exchange import NONCE_SIZE, finish, respond, start
from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType, NotifyType, Protocol, TransformType
from plutino.ike.payloads.generic import NoncePayload, Payload
from plutino.ike.payloads.key_exchange import KePayload
from plutino.ike.payloads.notify import NotifyPayload
from plutino.ike.payloads.proposal import SaPayload
from plutino.ike.proposals import Chosen, choose, likely_method, methods_of
from plutino.ike.schedule import OUTBOUND_AFTER, retry_at

if TYPE_CHECKING:
    from plutino.ike.session import Session


@dataclass(slots=True)
class CreateChild:
    """Our request. ``collision`` is what the peer made in the same time for the same purpose."""

    exchange_type: ClassVar = ExchangeType.CREATE_CHILD_SA
    config: ChildConfig
    replaces: Child | None = None
    method: int | None = None
    nonce: bytes = b""
    offer: ChildOffer | None = None
    started: KeyExchange | None = field(default=None, repr=False)
    collision: Child | None = None
    deleted: set[bytes] = field(default_factory=set)
    """SPIs that the peer deleted while its response was on its way."""

    def request(self, session: Session, now: float) -> Sequence[Payload] | None:
        """[N(REKEY_SA)], [N(mode)], SA, Ni, [KEi], TSi, TSr; None if there is nothing to do."""
        del now
        if not session.is_established:
            return None
        rekey: list[Payload] = []
        if self.replaces is not None:
            if self.replaces.state is not ChildState.INSTALLED:
                return None
            self.replaces.advance(ChildInput.REKEY)
            spi = self.replaces.spi_in
            rekey.append(NotifyPayload(NotifyType.REKEY_SA, b"", Protocol.ESP, spi))
        elif session.children.current(self.config.name) is not None:
            return None
        random = session.surroundings.random
        self.offer = make_offer(session, self.config, with_key_exchange=True)
        self.nonce = random(NONCE_SIZE)
        ke: list[Payload] = []
        if self.method is None:
            replaced = () if self.replaces is None else (self.replaces.chosen,)
            before = [one.id_of(TransformType.KE) for one in replaced]
            before.append(session.session_keys.suite.method)
            self.method = likely_method(self.config.suites, before)
        if self.method:
            self.started, own = start(self.method, random)
            ke.append(own)
        middle: list[Payload] = [self.offer.sa(), NoncePayload(self.nonce), *ke]
        return [*rekey, *self.offer.mode(), *middle, *self.offer.selectors()]

    def response(self, session: Session, message: Message, now: float) -> None:
        """The new CHILD_SA, or what to do without it."""
        if message.error is not None:
            self._refused(session, message.error, now)
            return
        assert self.offer is not None
        try:
            child = take_answer(session, self.offer, message, self._material(message), now)
        except PeerError:
            self._failed(session, now + session.pause(self.config.name))
            session.enqueue(DeleteUnusable(self.offer.spi), now)
            raise
        self._install(session, child, now)

    def _material(self, message: Message) -> tuple[bytes, tuple[bytes, bytes]]:
        nonce, ke = message.first(NoncePayload), message.first(KePayload)
        sa = message.first(SaPayload)
        if nonce is None or sa is None or not sa.proposals:
            raise InvalidSyntaxError("SA or nonce is missing")
        nonces = self.nonce, nonce.nonce
        chosen = {one.id for one in sa.proposals[0].of_type(TransformType.KE)} - {0}
        if not chosen:
            return b"", nonces
        if (
            self.started is None
            or ke is None
            or chosen != {self.method}
            or ke.method != self.method
        ):
            raise InvalidSyntaxError("KE and the chosen method differ")
        return finish(self.started, ke), nonces

    def _install(self, session: Session, child: Child, now: float) -> None:
        """One of two that came about at once is redundant: it has the lowest nonce of all four."""
        if child.spi_out in self.deleted:
            self._failed(session, retry_at(now, session.surroundings.random))
            if self.replaces is not None and self.replaces.is_known_to_peer:
                session.enqueue(DeleteChild(self.replaces), now)
            return
        rival = self.collision
        old = self.replaces
        newest = session.children.current(self.config.name)
        # the peer, which had our answer first, saw no rival and has rekeyed its own since
        is_late = rival is not None and old is None and newest not in {rival, None}
        session.children.append(child)
        session.attempts.pop(self.config.name, None)
        if is_late or (rival is not None and child.lowest_nonce < rival.lowest_nonce):
            # so it is also if the peer has rekeyed or deleted its own in the meantime
            if old is not None and old.state is ChildState.REKEYING:
                old.advance(ChildInput.REPLACE)
            child.outbound = False
            session.enqueue(DeleteChild(child), now)
            session.tell(ChildrenChanged(session.peer.name, "the peer's CHILD_SA stays"))
            return
        if rival is not None and rival.is_current:
            rival.advance(ChildInput.REPLACE)
            if old is None:  # it may be that the peer had our answer first, and saw no rival
                session.enqueue(DeleteChild(rival), now)
        session.children.prefer(child)
        if old is not None and old.state is ChildState.REKEYING:
            old.advance(ChildInput.REPLACE)
            session.enqueue(DeleteChild(old), now)
        why = "a new CHILD_SA is up" if old is None else "a CHILD_SA was rekeyed"
        session.tell(ChildrenChanged(session.peer.name, why))

    def _refused(self, session: Session, error: NotifyPayload, now: float) -> None:
        again = retry_at(now, session.surroundings.random)
        if error.type == NotifyType.INVALID_KE_PAYLOAD:
            wanted = int.from_bytes(error.data, "big")
            self._failed(session, again)
            if wanted in methods_of(self.config.suites) and wanted != self.method:
                retry = CreateChild(self.config, self.replaces, wanted)
                session.enqueue(retry, now, first=True)
                return
        elif error.type == NotifyType.TEMPORARY_FAILURE:
            self._failed(session, again)
            return
        elif error.type == NotifyType.CHILD_SA_NOT_FOUND:
            if self.replaces is not None and self.replaces.is_usable:
                self.replaces.advance(ChildInput.GONE)
                session.children.prefer_newest(self.config.name)
                session.tell(ChildrenChanged(session.peer.name, "the peer lost a CHILD_SA"))
            return
        else:
            self._failed(session, now + session.pause(self.config.name))
        raise PeerError(f"the peer refuses a CHILD_SA: {error.name}")

    def _failed(self, session: Session, again: float) -> None:
        """Another try later, be it to rekey or to create."""
        if self.replaces is not None:
            if self.replaces.state is ChildState.REKEYING:
                replaced = self.collision is not None and self.collision.is_current
                self.replaces.advance(ChildInput.REPLACE if replaced else ChildInput.REKEY_FAILED)
                self.replaces.rekey_at = again
        elif self.config.name in session.wanted:
            session.wanted[self.config.name] = again


def answer_create_child(session: Session, message: Message, now: float) -> list[Payload]:
    """The responder's side: PeerError for a refusal, else the new child receives at once."""
    if not session.is_established or session.rekeying is not None:
        raise TemporaryFailureError("the IKE SA is being replaced or deleted")
    notify = message.notify(NotifyType.REKEY_SA)
    old = None if notify is None else _to_replace(session, notify)
    config = config_for(session, message) if old is None else old.config
    chosen, ke = _agree(message, config)
    nonce = message.first(NoncePayload)
    if nonce is None:
        raise InvalidSyntaxError("the nonce is missing")
    random = session.surroundings.random
    own_nonce, shared, reply = random(NONCE_SIZE), b"", []
    if ke is not None:
        own, shared = respond(ke, random)
        reply = [own]
    material = shared, (nonce.nonce, own_nonce)
    child, (*mode, sa, initiator, responder) = answer_offer(
        session, message, config, material, now, chosen=chosen
    )
    session.children.append(child)
    _note_collision(session, child, old)
    if old is not None:
        child.outbound, child.outbound_at = False, now + OUTBOUND_AFTER
        if old.state is ChildState.INSTALLED:
            old.advance(ChildInput.REPLACE)
    else:
        session.children.prefer(child)
    why = "the peer made a CHILD_SA" if old is None else "the peer rekeyed a CHILD_SA"
    session.tell(ChildrenChanged(session.peer.name, why))
    return [*mode, sa, NoncePayload(own_nonce), *reply, initiator, responder]


def _to_replace(session: Session, notify: NotifyPayload) -> Child:
    """The child whose inbound SPI at the peer the notify bears (RFC 7296, 1.3.3 and 2.25.1)."""
    for child in session.children:
        if child.spi_out == notify.spi and child.is_known_to_peer:
            if child.state in {ChildState.DELETING, ChildState.REPLACED}:
                raise TemporaryFailureError("that CHILD_SA is replaced or about to go")
            return child
    if session.underway(CreateChild) is not None:
        raise TemporaryFailureError("it may be the one whose response is on its way")
    raise ChildSaNotFoundError("there is no such CHILD_SA to rekey")


def _agree(message: Message, config: ChildConfig) -> tuple[Chosen, KePayload | None]:
    sa, ke = message.first(SaPayload), message.first(KePayload)
    if sa is None:
        raise InvalidSyntaxError("SA is missing")
    sent = None if ke is None else ke.method
    chosen = choose(sa, config.suites, Protocol.ESP, ke_sent=sent)
    method = chosen.id_of(TransformType.KE)
    if method == 0:
        return chosen, None
    if ke is None or ke.method != method:
        raise InvalidKeError(method)
    return chosen, ke


def _note_collision(session: Session, child: Child, old: Child | None) -> None:
    """Tells our own request that the peer did the same in the meantime."""
    underway = session.underway(CreateChild)
    if not isinstance(underway, CreateChild) or underway.replaces is not old:
        return
    if old is not None or underway.config.name == child.config.name:
        underway.collision = child
