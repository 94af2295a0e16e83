"""CREATE_CHILD_SA for a new CHILD_SA or in the place of another (RFC 7296, 1.3.1, 1.3.3, 2.8).

With additional key exchanges (RFC 9370, 2.2.4) the CHILD_SA is made after the last of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

from plutino.ike.child import Child, ChildInput, ChildState
from plutino.ike.config import ChildConfig
from plutino.ike.crypto.key_exchange import KeyExchange
from plutino.ike.crypto.keymat import SharedSecrets
from plutino.ike.errors import (
    ChildSaNotFoundError,
    InvalidKeError,
    InvalidSyntaxError,
    NoAdditionalSasError,
    PeerError,
    TemporaryFailureError,
)
from plutino.ike.events import ChildrenChanged
from plutino.ike.exchanges.child_offer import (
    AgreedChild,
    ChildOffer,
    Nonces,
    answer_offer,
    config_for,
    expect_esp,
    make_offer,
    note_other_pairs,
    refusal_of,
    take_answer,
)
from plutino.ike.exchanges.delete import DeleteChild, DeleteUnusable
from plutino.ike.exchanges.followup import FollowupKe, additional_methods
from plutino.ike.exchanges.key_exchange import NONCE_SIZE, finish, respond, start
from plutino.ike.half_made import HalfMade
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

MOST_CHILDREN: Final = 16
"""CHILD_SAs for each that is configured, with those that are half made or not yet deleted."""


@dataclass(slots=True)
class CreateChild:
    """Our request. ``collision`` is what the peer made in the same time for the same purpose.

    ``rival`` is what it has begun to make so. ``following`` says that we have the response, and
    more key exchanges are under way.
    """

    exchange_type: ClassVar = ExchangeType.CREATE_CHILD_SA
    config: ChildConfig
    replaces: Child | None = None
    method: int | None = None
    nonce: bytes = b""
    offer: ChildOffer | None = None
    started: KeyExchange | None = field(default=None, repr=False)
    nonces: Nonces = (b"", b"")
    shared: bytes = field(default=b"", repr=False)
    agreed: AgreedChild | None = None
    following: bool = False
    rival: HalfMade | None = None
    collision: Child | None = None
    deleted: set[bytes] = field(default_factory=set)
    """SPIs that the peer deleted while its response was on its way."""

    def request(self, session: Session, now: float) -> Sequence[Payload] | None:
        """[N(REKEY_SA)], [N(mode)], SA, Ni, [KEi], TSi, TSr; None if there is nothing to do."""
        del now
        if not session.is_established:
            return None
        begun = session.half_made.about(self.replaces or self.config)
        if begun is not None:  # the peer is at it
            self._again(session, retry_at(begun.expires_at, session.surroundings.random))
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
        expect_esp(session, self.offer)
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
        """The new CHILD_SA, its next key exchange, or what to do without it."""
        if message.error is not None:
            self.refused(session, message.error, now)
            return
        assert self.offer is not None
        following: FollowupKe | None = None
        try:
            self._take_key_exchange(message)
            self.agreed = take_answer(session, self.offer, message)
            methods = additional_methods(self.agreed.chosen)
            if methods:
                following = FollowupKe.after(self, methods, message)
        except PeerError:
            self.failed(session, now)
            session.enqueue(DeleteUnusable(self.offer.spi), now)
            raise
        if following is None:
            self.complete(session, b"", now)
        elif self._has_lost():
            # nothing has been made yet, so there is nothing to delete
            self._failed(session, retry_at(now, session.surroundings.random))
        else:
            self.following = True
            session.enqueue(following, now, first=True)

    def complete(self, session: Session, additional: bytes, now: float) -> None:
        """All key exchanges are done."""
        assert self.agreed is not None
        secrets = SharedSecrets(self.shared, additional)
        try:
            child = self.agreed.make(session, secrets, self.nonces, now)
        except PeerError:
            self.failed(session, now)
            session.enqueue(DeleteUnusable(self.agreed.spi), now)
            raise
        self._install(session, child, now)

    def failed(self, session: Session, now: float) -> None:
        """Another try later."""
        self._failed(session, now + session.pause(self.config.name))

    def _has_lost(self) -> bool:
        """Whether the lowest of the four nonces is one of ours (RFC 9370, 2.2.4)."""
        rival = self.collision or self.rival
        return rival is not None and min(self.nonces) < rival.lowest_nonce

    def _take_key_exchange(self, message: Message) -> None:
        nonce, ke = message.first(NoncePayload), message.first(KePayload)
        sa = message.first(SaPayload)
        if nonce is None or sa is None or not sa.proposals:
            raise InvalidSyntaxError("SA or nonce is missing")
        self.nonces = self.nonce, nonce.nonce
        chosen = {one.id for one in sa.proposals[0].of_type(TransformType.KE)} - {0}
        if not chosen:
            return
        if (
            self.started is None
            or ke is None
            or chosen != {self.method}
            or ke.method != self.method
        ):
            raise InvalidSyntaxError("KE and the chosen method differ")
        self.shared = finish(self.started, ke)

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

    def refused(self, session: Session, error: NotifyPayload, now: float) -> None:
        """What to do without the CHILD_SA; PeerError where the log should have it."""
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
        assert self.offer is not None
        raise PeerError(refusal_of(error, self.offer))

    def _failed(self, session: Session, again: float) -> None:
        """Another try later, and not before what the peer has begun has had its time."""
        if self.rival is not None:
            again = max(again, retry_at(self.rival.expires_at, session.surroundings.random))
        if self.replaces is not None and self.replaces.state is ChildState.REKEYING:
            replaced = self.collision is not None and self.collision.is_current
            self.replaces.advance(ChildInput.REPLACE if replaced else ChildInput.REKEY_FAILED)
        self._again(session, again)

    def _again(self, session: Session, at: float) -> None:
        """When to try once more, be it to rekey or to create."""
        if self.replaces is not None:
            self.replaces.rekey_at = at
        elif self.config.name in session.wanted:
            session.wanted[self.config.name] = at


@dataclass(slots=True, eq=False, kw_only=True)
class HalfMadeChild(HalfMade):
    """The responder's side, until the peer has gone through all key exchanges."""

    agreed: AgreedChild
    old: Child | None
    shared: bytes = field(repr=False)
    nonces: Nonces

    def complete(self, session: Session, now: float) -> None:
        """The new child receives at once.

        PeerError where the one that it was to replace has gone meanwhile.
        """
        old = self.old
        if old is not None:
            _check_replaceable(old)
        secrets = SharedSecrets(self.shared, self.secrets)
        child = self.agreed.make(session, secrets, self.nonces, now)
        session.children.append(child)
        for one in _for_the_same(session, child.config, old):
            one.collision = child
        if old is not None:
            child.outbound, child.outbound_at = False, now + OUTBOUND_AFTER
            if old.state is ChildState.INSTALLED:
                old.advance(ChildInput.REPLACE)
        else:
            session.children.prefer(child)
        why = "the peer made a CHILD_SA" if old is None else "the peer rekeyed a CHILD_SA"
        session.tell(ChildrenChanged(session.peer.name, why))


def answer_create_child(session: Session, message: Message, now: float) -> list[Payload]:
    """The responder's side: PeerError for a refusal, else the new child receives at once.

    With additional key exchanges it is made after the last of them.
    """
    if not session.is_established or session.rekeying is not None:
        raise TemporaryFailureError("the IKE SA is being replaced or deleted")
    known = sum(one.is_known_to_peer for one in session.children) + len(session.half_made.links)
    if known >= MOST_CHILDREN * len(session.peer.children):
        raise NoAdditionalSasError(f"there are {known} CHILD_SAs already")
    notify = message.notify(NotifyType.REKEY_SA)
    old = None if notify is None else _to_replace(session, notify)
    config = config_for(session, message) if old is None else old.config
    ours = _for_the_same(session, config, old)
    if any(one.following for one in ours):
        raise TemporaryFailureError(
            "our own request for the same is in its follow-up key exchanges"
        )
    chosen, ke = _agree(message, config)
    nonce = message.first(NoncePayload)
    if nonce is None:
        raise InvalidSyntaxError("the nonce is missing")
    random = session.surroundings.random
    own_nonce, shared, reply = random(NONCE_SIZE), b"", []
    if ke is not None:
        own, shared = respond(ke, random)
        reply = [own]
    agreed, (*mode, sa, initiator, responder) = answer_offer(
        session, message, config, chosen=chosen
    )
    if old is None:
        note_other_pairs(session, agreed)
    begun = HalfMadeChild(
        purpose=old or config,
        lowest_nonce=min(nonce.nonce, own_nonce),
        methods=additional_methods(chosen),
        agreed=agreed,
        old=old,
        shared=shared,
        nonces=(nonce.nonce, own_nonce),
    )
    link: list[Payload] = []
    if begun.methods:
        for one in ours:
            one.rival = begun
        link = [session.half_made.expect(begun, random, now)]
    else:
        begun.complete(session, now)
    return [*mode, sa, NoncePayload(own_nonce), *reply, *link, initiator, responder]


def _to_replace(session: Session, notify: NotifyPayload) -> Child:
    """The child whose inbound SPI at the peer the notify bears (RFC 7296, 1.3.3 and 2.25.1)."""
    for child in session.children:
        if child.spi_out == notify.spi and child.is_known_to_peer:
            _check_replaceable(child)
            return child
    if session.underway(CreateChild):
        raise TemporaryFailureError("it may be the one whose response is on its way")
    raise ChildSaNotFoundError("there is no such CHILD_SA to rekey")


def _check_replaceable(child: Child) -> None:
    if child.state in {ChildState.DELETING, ChildState.REPLACED}:
        raise TemporaryFailureError("that CHILD_SA is replaced or about to go")
    if not child.is_known_to_peer:
        raise ChildSaNotFoundError("that CHILD_SA is gone")


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


def _for_the_same(session: Session, config: ChildConfig, old: Child | None) -> list[CreateChild]:
    """Our own requests for what the peer makes as well."""
    return [
        one
        for one in session.underway(CreateChild)
        if one.replaces is old and (old is not None or one.config.name == config.name)
    ]
