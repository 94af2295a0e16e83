"""CREATE_CHILD_SA that replaces the IKE SA itself (RFC 7296, 1.3.2, 2.8, 2.18 and 2.25.2).

With additional key exchanges (RFC 9370, 2.2.4) the new IKE SA is made after the last of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from plutino.ike.children import Children
from plutino.ike.crypto.key_exchange import KeyExchange
from plutino.ike.crypto.keymat import Exchanged, SharedSecrets, rekeyed_keys
from plutino.ike.errors import (
    InvalidKeError,
    InvalidSyntaxError,
    NoProposalChosenError,
    PeerError,
    TemporaryFailureError,
)
from plutino.ike.events import IkeEstablished, ReauthenticationDue
from plutino.ike.exchanges.create_child import CreateChild
from plutino.ike.exchanges.delete import DeleteChild, DeleteIke, DeleteUnusable
from plutino.ike.exchanges.followup import FollowupKe, additional_methods
from plutino.ike.exchanges.key_exchange import NONCE_SIZE, finish, respond, sa_ke_nonce, start
from plutino.ike.exchanges.mobike import UpdateAddresses
from plutino.ike.exchanges.own_addresses import TellAddresses, plan_to_tell
from plutino.ike.exchanges.window_size import SetWindow
from plutino.ike.half_made import HalfMade
from plutino.ike.keys import IkeSuite, SessionKeys
from plutino.ike.message.header import SPI_SIZE
from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType, NotifyType, Protocol, TransformType
from plutino.ike.payloads.generic import NoncePayload, Payload
from plutino.ike.payloads.key_exchange import KePayload
from plutino.ike.payloads.notify import NotifyPayload
from plutino.ike.payloads.proposal import SaPayload
from plutino.ike.proposals import (
    Chosen,
    check_answer,
    choose,
    likely_method,
    methods_of,
    offer,
    refusal_words,
)
from plutino.ike.schedule import REPLACED_FOR, due_at, retry_at
from plutino.ike.state import SessionInput

if TYPE_CHECKING:
    from plutino.ike.session import Session

_PAUSE_AFTER_REFUSAL = 30.0


@dataclass(slots=True)
class RekeyIke:
    """Our request. ``collision`` is the IKE SA that the peer's own request made meanwhile.

    ``rival`` is one that it has begun to make so. ``following`` says that we have the response, and
    more key exchanges are under way.
    """

    exchange_type: ClassVar = ExchangeType.CREATE_CHILD_SA
    method: int | None = None
    spi: bytes = b""
    nonce: bytes = b""
    started: KeyExchange | None = field(default=None, repr=False)
    shared: bytes = field(default=b"", repr=False)
    exchanged: Exchanged | None = None
    chosen: Chosen | None = None
    following: bool = False
    rival: HalfMade | None = None
    collision: Session | None = None

    def request(self, session: Session, now: float) -> Sequence[Payload] | None:
        """SA with our new SPI, Ni, KEi."""
        del now
        if not session.is_established:
            return None
        suites = session.peer.suites
        random = session.surroundings.random
        self.spi = session.surroundings.new_ike_spi()
        self.nonce = random(NONCE_SIZE)
        before = session.session_keys.suite.method
        self.method = self.method or likely_method(suites, (before,))
        self.started, ke = start(self.method, random)
        return [offer(Protocol.IKE, self.spi, suites), NoncePayload(self.nonce), ke]

    def response(self, session: Session, message: Message, now: float) -> None:
        """The new IKE SA, its next key exchange, or what to do without it."""
        if message.error is not None:
            self.refused(session, message.error, now)
            return
        following: FollowupKe | None = None
        try:
            self.chosen, self.exchanged = self._agreed(session, message)
            methods = additional_methods(self.chosen)
            if methods:
                following = FollowupKe.after(self, methods, message)
        except PeerError:
            self.failed(session, now)
            raise
        if following is None:
            self.complete(session, b"", now)
        elif self._has_lost():
            # nothing has been made yet, so there is nothing to delete
            self._failed(session, retry_at(now, session.surroundings.random), now)
        else:
            self.following = True
            session.enqueue(following, now, first=True)

    def complete(self, session: Session, additional: bytes, now: float) -> None:
        """The new IKE SA takes the children, unless the peer's own one does."""
        assert self.chosen is not None
        assert self.exchanged is not None
        shared = SharedSecrets(self.shared, additional)
        new = _make(session, self.chosen, shared, self.exchanged, is_initiator=True, now=now)
        session.affected.append(new)
        rival = self.collision
        if rival is not None and not rival.is_closed:
            if new.session_keys.lowest_nonce < rival.session_keys.lowest_nonce:
                hand_over(session, rival, now)
                session.schedule.expires_at = now + REPLACED_FOR
                new.enqueue(DeleteIke("the peer's new IKE SA stays"), now)
                return
            rival.schedule.expires_at = now + REPLACED_FOR
            session.affected.append(rival)
        hand_over(session, new, now)
        session.enqueue(DeleteIke("replaced by a new IKE SA"), now, first=True)

    def failed(self, session: Session, now: float) -> None:
        """Another try later."""
        self._failed(session, now + _PAUSE_AFTER_REFUSAL, now)

    def _has_lost(self) -> bool:
        """Whether the lowest of the four nonces is one of ours (RFC 9370, 2.2.4)."""
        assert self.exchanged is not None
        others = [self.rival.lowest_nonce] if self.rival is not None else []
        if self.collision is not None and not self.collision.is_closed:
            others.append(self.collision.session_keys.lowest_nonce)
        own = min(self.exchanged.initiator_nonce, self.exchanged.responder_nonce)
        return any(own < other for other in others)

    def _agreed(self, session: Session, message: Message) -> tuple[Chosen, Exchanged]:
        sa, ke, nonce = sa_ke_nonce(message)
        chosen = check_answer(sa, session.peer.suites, Protocol.IKE, SPI_SIZE)
        if not ke.method == chosen.id_of(TransformType.KE) == self.method:
            raise NoProposalChosenError("KE and the chosen method differ")
        if chosen.spi == bytes(SPI_SIZE):
            raise InvalidSyntaxError("the new IKE SA's SPI is zero")
        assert self.started is not None
        self.shared = finish(self.started, ke)
        return chosen, Exchanged(self.nonce, nonce.nonce, self.spi, chosen.spi)

    def refused(self, session: Session, error: NotifyPayload, now: float) -> None:
        """What to do without the new IKE SA; PeerError where the log should have it."""
        if error.type == NotifyType.INVALID_KE_PAYLOAD:
            wanted = int.from_bytes(error.data, "big")
            if wanted in methods_of(session.peer.suites) and wanted != self.method:
                session.enqueue(RekeyIke(wanted), now, first=True)
                return
        if error.type == NotifyType.TEMPORARY_FAILURE:
            self._failed(session, retry_at(now, session.surroundings.random), now)
            return
        self.failed(session, now)
        if error.type == NotifyType.NO_PROPOSAL_CHOSEN and session.is_established:
            # as of one that has IKE_INTERMEDIATE and no IKE_FOLLOWUP_KE
            session.tell(ReauthenticationDue(session.peer.name, session.initiator_spi))
        why = refusal_words(error, session.peer.suites)
        raise PeerError(f"the peer refuses to rekey the IKE SA: {why}")

    def _failed(self, session: Session, again: float, now: float) -> None:
        """Another try later, and not before what the peer has begun has had its time."""
        if self.rival is not None:
            again = max(again, retry_at(self.rival.expires_at, session.surroundings.random))
        if self.collision is not None and not self.collision.is_closed:
            hand_over(session, self.collision, now)
            session.schedule.expires_at = now + REPLACED_FOR
        else:
            session.schedule.rekey_at = again


@dataclass(slots=True, eq=False, kw_only=True)
class HalfMadeIke(HalfMade):
    """The responder's side, until the peer has gone through all key exchanges."""

    chosen: Chosen
    shared: bytes = field(repr=False)
    exchanged: Exchanged

    def complete(self, session: Session, now: float) -> None:
        """The new IKE SA has the children, unless our own request may still win."""
        _check_idle(session)
        shared = SharedSecrets(self.shared, self.secrets)
        new = _make(session, self.chosen, shared, self.exchanged, is_initiator=False, now=now)
        session.affected.append(new)
        underway = session.rekeying
        if underway is not None:
            underway.collision = new
            new.predecessor = session
        else:
            hand_over(session, new, now)
            session.schedule.expires_at = now + REPLACED_FOR


def answer_rekey_ike(session: Session, message: Message, now: float) -> list[Payload]:
    """The responder's side; TemporaryFailureError while a child of ours is in motion.

    With additional key exchanges the new IKE SA is made after the last of them.
    """
    _check_idle(session)
    underway = session.rekeying
    if underway is not None and underway.following:
        raise TemporaryFailureError(
            "our own request for the same is in its follow-up key exchanges"
        )
    sa, nonce, ke = message.first(SaPayload), message.first(NoncePayload), message.first(KePayload)
    if sa is None or nonce is None:
        raise InvalidSyntaxError("SA or nonce is missing")
    sent = None if ke is None else ke.method
    chosen = choose(sa, session.peer.suites, Protocol.IKE, ke_sent=sent)
    method = chosen.id_of(TransformType.KE)
    if ke is None or ke.method != method:
        raise InvalidKeError(method)
    if len(chosen.spi) != SPI_SIZE or chosen.spi == bytes(SPI_SIZE):
        raise InvalidSyntaxError(f"SPI {chosen.spi.hex()} for a new IKE SA")
    random = session.surroundings.random
    own, shared = respond(ke, random)
    spi, own_nonce = session.surroundings.new_ike_spi(), random(NONCE_SIZE)
    begun = HalfMadeIke(
        purpose=None,
        lowest_nonce=min(nonce.nonce, own_nonce),
        methods=additional_methods(chosen),
        chosen=chosen,
        shared=shared,
        exchanged=Exchanged(nonce.nonce, own_nonce, chosen.spi, spi),
    )
    link: list[Payload] = []
    if begun.methods:
        if underway is not None:
            underway.rival = begun
        link = [session.half_made.expect(begun, random, now)]
    else:
        begun.complete(session, now)
    return [chosen.answer(spi), NoncePayload(own_nonce), own, *link]


def _check_idle(session: Session) -> None:
    """TemporaryFailureError unless all children stay as they are for the moment."""
    if not session.is_established:
        raise TemporaryFailureError("the IKE SA is being deleted or is replaced")
    if session.underway(CreateChild):
        raise TemporaryFailureError("a CHILD_SA is being made")
    if session.underway(DeleteChild):
        raise TemporaryFailureError("a CHILD_SA is being deleted")


def hand_over(old: Session, new: Session, now: float) -> None:
    """Children and what waits go to the new IKE SA (RFC 7296, 2.8)."""
    new.predecessor = None
    if old.successor is not None or old.is_closed:
        return
    while new.successor is not None:
        new = new.successor
    old.advance(SessionInput.REPLACE)
    old.successor = new
    old.affected.append(new)
    new.children = old.children
    old.children = Children()
    old.half_made.clear()
    new.wanted = old.wanted
    new.move(old.path)
    new.peer_addresses, new.unproved_from = old.peer_addresses, old.unproved_from
    if old.told_at is not None or old.ahead(TellAddresses):
        new.told_addresses = None  # as the old one is left unheard
        plan_to_tell(new, now)
    if new.may_move and old.ahead(UpdateAddresses):
        new.queue.append(UpdateAddresses())  # the peer may have left the old one unheard
    if new.is_initiator and new.peer.window > 1:
        new.queue.append(SetWindow())
    kinds = CreateChild | DeleteChild | DeleteUnusable | DeleteIke
    moved = [one for one in old.queue if isinstance(one, kinds)]
    old.queue.clear()
    new.queue.extend(moved)
    new.pump(now)


def _make(
    session: Session,
    chosen: Chosen,
    shared: SharedSecrets,
    exchanged: Exchanged,
    *,
    is_initiator: bool,
    now: float,
) -> Session:
    suite = IkeSuite.of(chosen)
    old = session.session_keys
    keys = rekeyed_keys(suite.prf, suite.sizes, (old.prf, old.keys), shared, exchanged)
    made = SessionKeys.of(suite, keys, exchanged, is_initiator=is_initiator)
    return _between_the_same(session, made, now)


def _between_the_same(old: Session, keys: SessionKeys, now: float) -> Session:
    """An IKE SA between the same ends that is up at once, with other keys and SPIs."""
    surroundings, peer = old.surroundings, old.peer
    kind = type(old)
    new = kind(surroundings, old.path, old.candidates, is_initiator=keys.is_initiator, now=now)
    new.peer = peer
    new.may_move = old.may_move
    new.told_addresses = old.told_addresses
    new.began = old.began
    new.initiator_spi = keys.exchanged.initiator_spi
    new.responder_spi = keys.exchanged.responder_spi
    new.abilities = replace(old.abilities)
    new.set_keys(keys)
    new.advance(SessionInput.KEYS)
    new.advance(SessionInput.AUTHENTICATED)
    new.established_at = now
    new.schedule.rekey_at = due_at(peer.lifetimes, now, surroundings.random)
    new.schedule.reauthenticate_at = old.schedule.reauthenticate_at
    spis = new.initiator_spi, new.responder_spi
    new.tell(IkeEstablished(peer.name, *spis, replaces=old.initiator_spi))
    return new
