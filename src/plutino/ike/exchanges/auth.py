"""IKE_AUTH (RFC 7296, 1.2 and 2.15): both ends prove who they are, and the first child comes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Final, NoReturn

from plutino.ike.auth.credentials import CertificateData
from plutino.ike.auth.identity import Identity
from plutino.ike.auth.ocsp import StatusWantedError
from plutino.ike.auth.octets import signed_octets
from plutino.ike.config import ChildConfig, PeerConfig
from plutino.ike.crypto.keymat import SharedSecrets
from plutino.ike.errors import AuthenticationFailedError, InvalidSyntaxError, PeerError
from plutino.ike.events import ChildrenChanged, IkeEstablished, Refused
from plutino.ike.exchanges.certificates import (
    certificate_requests,
    certificates,
    note_requests,
)
from plutino.ike.exchanges.child_offer import (
    ChildOffer,
    answer_offer,
    expect_esp,
    make_offer,
    note_what_is_left,
    refusal_of,
    take_answer,
)
from plutino.ike.exchanges.delete import DeleteUnusable
from plutino.ike.exchanges.mobike import check_no_nats
from plutino.ike.exchanges.own_addresses import first_addresses
from plutino.ike.exchanges.window_size import own_window
from plutino.ike.keys import SessionKeys
from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType, NotifyType, PayloadType
from plutino.ike.other_ways import note_addresses
from plutino.ike.payloads.generic import Payload
from plutino.ike.payloads.identification import AuthPayload, CertPayload, IdPayload
from plutino.ike.payloads.notify import NotifyPayload
from plutino.ike.payloads.proposal import SaPayload
from plutino.ike.proposals import allows
from plutino.ike.schedule import due_at
from plutino.ike.state import SessionInput

if TYPE_CHECKING:
    from plutino.ike.session import Session


_MOST_TOLD = 4
"""Identities that the log names where none is meant."""
_Proof = tuple[tuple[int, bytes], list[CertificateData]]
"""AUTH's method and data, and what came in CERT."""

FEW_HANDSHAKES: Final = 8
"""Of ours at a time, for each of which ESP is expected before it is done. In a start of thousands a
socket for each would cost much, and no traffic depends on them yet."""


@dataclass(slots=True)
class Auth:
    """Our proof, the peer's, and the first CHILD_SA, unless there is to be none (RFC 6023)."""

    exchange_type: ClassVar = ExchangeType.IKE_AUTH
    child: ChildConfig | None
    offer: ChildOffer | None = None
    keys: SessionKeys | None = field(default=None, repr=False)

    def request(self, session: Session, now: float) -> Sequence[Payload]:
        """IDi, CERT, CERTREQ, IDr, AUTH, what we want, SA, TSi, TSr."""
        peer = session.peer
        own = session.session_keys
        self.keys = own
        ppk: list[Payload] = []
        if peer.ppk is not None and session.abilities.ppk:
            self.keys = own.with_ppk(peer.ppk.key.reveal())
            ppk.append(NotifyPayload(NotifyType.PPK_IDENTITY, b"\2" + peer.ppk.identity))
            if not peer.ppk.required:
                _, data = prove(session, own, session.window.next_id)
                ppk.append(NotifyPayload(NotifyType.NO_PPK_AUTH, data))
        elif peer.ppk is not None and peer.ppk.required:
            raise AuthenticationFailedError("the peer has no post-quantum pre-shared key")
        payloads: list[Payload] = [own_id(session), *certificates(session)]
        payloads += certificate_requests([peer])
        expected = peer.remote_credential.identity
        if expected is not None:
            payloads.append(IdPayload(PayloadType.ID_R, expected.id_type, expected.data))
        payloads.append(AuthPayload(*prove(session, self.keys, session.window.next_id)))
        if not session.surroundings.has_other_session(peer.name, session.spi):
            payloads.append(NotifyPayload(NotifyType.INITIAL_CONTACT))
        if peer.mobike:
            payloads.append(NotifyPayload(NotifyType.MOBIKE_SUPPORTED))
            payloads += first_addresses(session)
        payloads += own_window(session)
        payloads += ppk
        if self.child is not None:
            self.offer = make_offer(session, self.child, with_key_exchange=False)
            payloads += self.offer.payloads()
            if session.replaces_older or session.surroundings.initiating() <= FEW_HANDSHAKES:
                expect_esp(session, self.offer)
        del now
        return payloads

    def response(self, session: Session, message: Message, now: float) -> None:
        """The IKE SA is up once the peer's AUTH is right; the child may fail alone."""
        assert self.keys is not None
        auth = message.first(AuthPayload)
        if auth is None:
            error = message.error
            why = "no AUTH" if error is None else error.name
            session.close(f"the peer refuses: {why}", now)
            return
        peer = session.peer
        keys = self.keys
        if peer.ppk is not None and message.notify(NotifyType.PPK_IDENTITY) is None:
            if peer.ppk.required:
                raise AuthenticationFailedError("the peer does not use the post-quantum key")
            keys = session.session_keys
        verify(session, keys, peer, message, session.window.next_id - 1)
        session.set_keys(keys)
        session.abilities.mobike = (
            peer.mobike and message.notify(NotifyType.MOBIKE_SUPPORTED) is not None
        )
        note_addresses(session, message)
        establish(session, now)
        if self.offer is not None:
            _first_child(session, self.offer, message, now)


def _first_child(session: Session, offer: ChildOffer, message: Message, now: float) -> None:
    """The IKE SA stays where its first child is refused (RFC 7296, 1.2 and 2.21.2)."""
    try:
        if message.error is not None:
            raise PeerError(refusal_of(message.error, offer))
        keys = session.session_keys
        nonces = keys.exchanged.initiator_nonce, keys.exchanged.responder_nonce
        agreed = take_answer(session, offer, message)
        session.children.append(agreed.make(session, SharedSecrets(), nonces, now))
        session.tell(ChildrenChanged(session.peer.name, "the first CHILD_SA is up"))
        note_what_is_left(session, agreed, message)
    except PeerError as error:
        session.tell(Refused(session.peer.name, error.reason))
        if message.error is None:
            session.enqueue(DeleteUnusable(offer.spi), now)


def answer_auth(session: Session, message: Message, now: float) -> list[Payload]:
    """The responder's side; AuthenticationFailedError without a hint of what was wrong."""
    peer, keys, ppk = _judge(session, message)
    check_no_nats(message, session.path)
    session.set_keys(keys)
    session.abilities.mobike = (
        peer.mobike and message.notify(NotifyType.MOBIKE_SUPPORTED) is not None
    )
    note_addresses(session, message)
    note_requests(session, message)
    payloads: list[Payload] = [own_id(session), *certificates(session)]
    payloads.append(AuthPayload(*prove(session, keys, message.header.message_id)))
    payloads += ppk
    payloads += own_window(session)
    if session.abilities.mobike:
        payloads.append(NotifyPayload(NotifyType.MOBIKE_SUPPORTED))
        payloads += first_addresses(session)
    session.initial_contact = message.notify(NotifyType.INITIAL_CONTACT) is not None
    establish(session, now)
    if message.first(SaPayload) is not None:
        payloads += _answer_first_child(session, message, now)
    return payloads


def _judge(session: Session, message: Message) -> tuple[PeerConfig, SessionKeys, list[Payload]]:
    """Who it is, once that is proved; the keys, and the answer about a post-quantum one.

    What is computed on the way to a failure depends on the proof that came, and not on the
    identity that it came with: else the clock would tell strangers which identities there are.
    """
    identity = _identity(message.of_type(PayloadType.ID_I))
    wanted = message.of_type(PayloadType.ID_R)
    done: Hashable = None
    try:
        peer = _candidate(session, identity, None if wanted is None else _identity(wanted))
        session.peer = peer
        keys, ppk = _responder_keys(session, peer, message)
        proof = _proof(message)
        done = None if proof is None else peer.remote_credential.judges_by(*proof)
        if proof is not None and done is None:
            _refuse(peer, identity, proof, session.surroundings.date())
        verify(session, keys, peer, message, message.header.message_id)
    except AuthenticationFailedError:
        _judge_in_vain(session, identity, message, done)
        raise
    return peer, keys, ppk


def _judge_in_vain(session: Session, identity: Identity, message: Message, done: Hashable) -> None:
    """By one credential of each kind that peers of this path have a use for such a proof with."""
    proof = _proof(message)
    if proof is None:
        return
    credentials = ((one, one.remote_credential.judges_by(*proof)) for one in session.candidates)
    kinds = {kind: one for one, kind in credentials if kind not in {None, done}}
    for other in kinds.values():
        stand_in = replace(other, remote_credential=other.remote_credential.standing_in(identity))
        keys = session.session_keys
        with suppress(AuthenticationFailedError):
            keys, _ = _responder_keys(session, other, message)
        with suppress(AuthenticationFailedError, StatusWantedError):
            verify(session, keys, stand_in, message, message.header.message_id)


def _refuse(peer: PeerConfig, identity: Identity, proof: _Proof, date: datetime) -> NoReturn:
    """AuthenticationFailedError with the reason for which the credential looks at no such proof."""
    auth, given = proof
    peer.remote_credential.verify(auth, b"", identity, given, prf=lambda *_: b"", date=date)
    raise AuthenticationFailedError(f"AUTH method {auth[0]} is none of this peer's")


def _proof(message: Message) -> _Proof | None:
    auth = message.first(AuthPayload)
    return None if auth is None else ((auth.method, auth.data), _certificates(message))


def _certificates(message: Message) -> list[CertificateData]:
    return [CertificateData(one.encoding, one.data) for one in message.all(CertPayload)]


def _answer_first_child(session: Session, message: Message, now: float) -> list[Payload]:
    keys = session.session_keys
    nonces = keys.exchanged.initiator_nonce, keys.exchanged.responder_nonce
    try:
        agreed, payloads = answer_offer(session, message, None)
        child = agreed.make(session, SharedSecrets(), nonces, now)
    except PeerError as error:
        if error.fatal:
            raise
        session.tell(Refused(session.peer.name, error.reason))
        return [NotifyPayload(error.notify, error.data)]
    session.children.append(child)
    session.tell(ChildrenChanged(session.peer.name, "the first CHILD_SA is up"))
    return payloads


def _responder_keys(
    session: Session, peer: PeerConfig, message: Message
) -> tuple[SessionKeys, list[Payload]]:
    """Keys with or without a post-quantum one (RFC 8784, 3), and the answer to its notify."""
    keys = session.session_keys
    asked = message.notify(NotifyType.PPK_IDENTITY)
    if peer.ppk is None:
        return keys, []
    if asked is not None and asked.data == b"\2" + peer.ppk.identity:
        return keys.with_ppk(peer.ppk.key.reveal()), [NotifyPayload(NotifyType.PPK_IDENTITY)]
    if peer.ppk.required:
        raise AuthenticationFailedError("the peer does not know the post-quantum key")
    return keys, []


def establish(session: Session, now: float) -> None:
    """Both have proved who they are."""
    session.advance(SessionInput.AUTHENTICATED)
    session.established_at = now
    peer, random = session.peer, session.surroundings.random
    session.schedule.rekey_at = due_at(peer.lifetimes, now, random)
    session.schedule.expires_at = None
    if peer.reauthenticate_after is not None and session.is_initiator:
        session.schedule.reauthenticate_at = now + peer.reauthenticate_after
    session.tell(IkeEstablished(peer.name, session.initiator_spi, session.responder_spi))


def own_id(session: Session) -> IdPayload:
    """IDi or IDr of ours."""
    identity = session.peer.local_credential.identity
    number = PayloadType.ID_I if session.is_initiator else PayloadType.ID_R
    return IdPayload(number, identity.id_type, identity.data)


def prove(session: Session, keys: SessionKeys, auth_id: int) -> tuple[int, bytes]:
    """Our AUTH; ``auth_id`` is the message id of the first IKE_AUTH."""
    record = session.record
    if session.is_initiator:
        message, nonce, key = record.request, record.responder_nonce, keys.keys.pi
    else:
        message, nonce, key = record.response, record.initiator_nonce, keys.keys.pr
    maced = keys.prf.compute(key, own_id(session).encode())
    octets = signed_octets(message, nonce, maced, session.intermediate.covered(auth_id))
    hashes = session.abilities.signature_hashes
    return session.peer.local_credential.authenticate(octets, hashes, keys.prf.compute)


def verify(
    session: Session, keys: SessionKeys, peer: PeerConfig, message: Message, auth_id: int
) -> None:
    """AuthenticationFailedError unless the peer's AUTH proves its identity."""
    record = session.record
    if session.is_initiator:
        signed, nonce, key = record.response, record.initiator_nonce, keys.keys.pr
        found = message.of_type(PayloadType.ID_R)
    else:
        signed, nonce, key = record.request, record.responder_nonce, keys.keys.pi
        found = message.of_type(PayloadType.ID_I)
    auth = message.first(AuthPayload)
    if not isinstance(found, IdPayload) or auth is None:
        raise AuthenticationFailedError("ID or AUTH is missing")
    data = auth.data
    no_ppk = message.notify(NotifyType.NO_PPK_AUTH)
    uses_ppk = keys is not session.session_keys
    if no_ppk is not None and not uses_ppk:
        data = no_ppk.data
    maced = keys.prf.compute(key, found.encode())
    octets = signed_octets(signed, nonce, maced, session.intermediate.covered(auth_id))
    peer.remote_credential.verify(
        (auth.method, data),
        octets,
        Identity(found.id_type, found.data),
        _certificates(message),
        prf=keys.prf.compute,
        date=session.surroundings.date(),
        answers=session.surroundings.answers,
    )


def _candidate(session: Session, identity: Identity, wanted: Identity | None) -> PeerConfig:
    """The peer that is meant, by its identity and by the one it wants of us.

    It must be allowed what was agreed upon before anybody knew who it is (RFC 7296, 3.3.4).
    """
    named = [
        peer
        for peer in session.candidates
        if peer.remote_credential.accepts(identity)
        and (wanted is None or peer.local_credential.identity == wanted)
    ]
    if not named:
        raise AuthenticationFailedError(_nobody(session.candidates, identity, wanted))
    transforms = session.session_keys.suite.transforms
    for peer in named:
        if allows(peer.suites, transforms):
            return peer
    raise AuthenticationFailedError(f"the chosen proposal is not allowed with {identity}")


def _nobody(candidates: Sequence[PeerConfig], identity: Identity, wanted: Identity | None) -> str:
    """Why none of the peers of a path is meant; of many the first ones."""
    if any(one.remote_credential.accepts(identity) for one in candidates):
        return f"{identity} asks for {wanted}, which is not our identity"
    known = ", ".join(str(one.remote_credential.identity) for one in candidates[:_MOST_TOLD])
    more = ", ..." if len(candidates) > _MOST_TOLD else ""
    return f"nobody of identity {identity} is configured for this path, but {known}{more}"


def _identity(payload: Payload | None) -> Identity:
    if not isinstance(payload, IdPayload):
        raise InvalidSyntaxError("ID is missing")
    return Identity(payload.id_type, payload.data)
