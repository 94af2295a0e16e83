"""IKE_SA_INIT (RFC 7296, 1.2, 2.6, 2.7 and 2.23): proposals, keys, what each end can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from plutino.ike.config import ChildConfig, PeerConfig
from plutino.ike.crypto.key_exchange import KeyExchange
from plutino.ike.crypto.keymat import Exchanged, first_keys
from plutino.ike.errors import InvalidKeError, InvalidSyntaxError, NoProposalChosenError, PeerError
from plutino.ike.exchanges.certificates import certificate_requests, note_requests
from plutino.ike.exchanges.key_exchange import NONCE_SIZE, sa_ke_nonce, start
from plutino.ike.exchanges.key_exchange import respond as respond_ke
from plutino.ike.keys import IkeSuite, SessionKeys
from plutino.ike.message.header import NO_SPI, Header
from plutino.ike.message.message import Message
from plutino.ike.numbers import (
    ExchangeType,
    Flag,
    NotifyType,
    PayloadType,
    Protocol,
    TransformType,
)
from plutino.ike.path import Path, SocketAddress, nat_detection
from plutino.ike.payloads.generic import NoncePayload, OpaquePayload, Payload
from plutino.ike.payloads.key_exchange import KePayload
from plutino.ike.payloads.notify import NotifyPayload
from plutino.ike.payloads.proposal import SaPayload
from plutino.ike.proposals import (
    Chosen,
    Suite,
    allows,
    check_answer,
    choose,
    methods_of,
    offer,
    refusal_words,
    without_additional,
)
from plutino.ike.state import SessionInput
from plutino.model.policy import Mode
from plutino.model.sa import NAT_T_PORT

if TYPE_CHECKING:
    from plutino.ike.session import Session

SIGNATURE_HASHES = (2, 3, 4, 5)
"""SHA2-256, 384, 512, and identity for Ed25519 and Ed448 (RFC 7427, 7; RFC 8420, 2)."""
_MAX_RESTARTS = 4
_STRONGSWAN = bytes.fromhex("882fe56d6fd20dbc2251613b2ebe5beb")
"""Its vendor id: MD5 of its name."""


@dataclass(slots=True)
class InitRecord:
    """What both ends keep of the exchange until AUTH has covered it."""

    request: bytes = field(default=b"", repr=False)
    response: bytes = field(default=b"", repr=False)
    initiator_nonce: bytes = b""
    responder_nonce: bytes = b""


@dataclass(slots=True)
class SaInit:
    """Our first request; it starts over with a cookie, or another key exchange method."""

    exchange_type: ClassVar = ExchangeType.IKE_SA_INIT
    method: int
    nonce: bytes
    cookie: bytes | None = None
    restarts: int = 0
    started: KeyExchange | None = field(default=None, repr=False)

    def request(self, session: Session, now: float) -> Sequence[Payload]:
        """[N(COOKIE)], SA, KE, Ni and what we can do."""
        del now
        if self.started is None:
            self.started, _ = start(self.method, session.surroundings.random)
        session.record.initiator_nonce = self.nonce
        cookie = [] if self.cookie is None else [NotifyPayload(NotifyType.COOKIE, self.cookie)]
        return [
            *cookie,
            offer(Protocol.IKE, b"", session.peer.suites),
            KePayload(self.method, self.started.public),
            NoncePayload(self.nonce),
            *detection(session, session.path),
            *abilities_of(session.peer),
            *_use_ppk([session.peer]),
            *vendor_ids([session.peer]),
        ]

    def response(self, session: Session, message: Message, now: float) -> None:
        """Keys for both directions, or another try.

        PeerError if the answer fits nothing that was asked: anybody can send one, so it is no
        reason to give up.
        """
        cookie = message.notify(NotifyType.COOKIE)
        wanted = message.notify(NotifyType.INVALID_KE_PAYLOAD)
        if cookie is not None or wanted is not None:
            self._again(session, cookie, wanted, now)
            return
        if message.error is not None:
            raise PeerError(
                f"the peer refuses: {refusal_words(message.error, session.peer.suites)}"
            )
        sa, ke, nonce = sa_ke_nonce(message)
        if message.header.responder_spi == NO_SPI:
            raise InvalidSyntaxError("the responder's SPI is zero")
        chosen = check_answer(sa, session.peer.suites, Protocol.IKE, 0)
        if not ke.method == chosen.id_of(TransformType.KE) == self.method:
            raise NoProposalChosenError("KE and the chosen method differ")
        if chosen.additional_key_exchanges and not _has_intermediate(message):
            why = "the peer chose more key exchanges and has no IKE_INTERMEDIATE for them"
            raise NoProposalChosenError(why)
        assert self.started is not None
        try:
            shared = self.started.finish(ke.data)
        except ValueError as error:
            raise PeerError(f"KE of the peer: {error}") from error
        session.responder_spi = message.header.responder_spi
        session.record.response = message.octets
        session.record.responder_nonce = nonce.nonce
        _learn(session, message, session.path)
        note_requests(session, message)
        session.set_keys(_keys_after(session, IkeSuite.of(chosen), shared))
        session.additional = list(chosen.additional_key_exchanges)
        session.advance(SessionInput.KEYS)
        _float(session)
        if session.first_child is None and not session.abilities.childless:
            session.first_child = _wanted_child(session)
        session.proceed(now)

    def _again(
        self,
        session: Session,
        cookie: NotifyPayload | None,
        wanted: NotifyPayload | None,
        now: float,
    ) -> None:
        """The same SPI, nonce and id 0, with what the peer asks for (RFC 7296, 2.6 and 2.7)."""
        self.restarts += 1
        if self.restarts > _MAX_RESTARTS:
            raise PeerError("the peer asks for ever another first message")
        if cookie is not None:
            if not 1 <= len(cookie.data) <= 64:
                raise InvalidSyntaxError(f"cookie of {len(cookie.data)} bytes")
            self.cookie = cookie.data
        elif wanted is not None:
            method = int.from_bytes(wanted.data, "big")
            if method == self.method or method not in methods_of(session.peer.suites):
                raise PeerError(f"the peer wants key exchange method {method}, not configured here")
            self.method, self.started = method, None
        session.window.restart()
        session.enqueue(self, now, first=True)


def respond(session: Session, message: Message, now: float) -> bytes:
    """The response to a first request, by a session that is new; PeerError for a refusal.

    Which peer it is shows by its identity later: any candidate of the path may agree.
    """
    sa, ke, nonce = sa_ke_nonce(message)
    if not _has_intermediate(message):
        sa = without_additional(sa)
    peer, chosen = _agree(session.candidates, sa, ke.method)
    if chosen.id_of(TransformType.KE) != ke.method:
        raise InvalidKeError(chosen.id_of(TransformType.KE))
    suite = IkeSuite.of(chosen)
    random = session.surroundings.random
    own, shared = respond_ke(ke, random)
    session.peer = peer
    session.initiator_spi = message.header.initiator_spi
    session.responder_spi = session.surroundings.new_ike_spi()
    record = session.record
    record.request = message.octets
    record.initiator_nonce, record.responder_nonce = nonce.nonce, random(NONCE_SIZE)
    _learn(session, message, session.path)
    payloads: list[Payload] = [
        chosen.answer(b""),
        own,
        NoncePayload(record.responder_nonce),
        *detection(session, session.path),
        *abilities_of(peer),
        *(_use_ppk(session.candidates) if session.abilities.ppk else ()),
        NotifyPayload(NotifyType.CHILDLESS_IKEV2_SUPPORTED),
        *certificate_requests(session.candidates),
        *vendor_ids(session.candidates),
    ]
    spis = session.initiator_spi, session.responder_spi
    header = Header(*spis, 0, ExchangeType.IKE_SA_INIT, Flag.RESPONSE, 0)
    record.response = Message(header, tuple(payloads)).encode_clear()
    session.set_keys(_keys_after(session, suite, shared))
    session.additional = list(chosen.additional_key_exchanges)
    session.responses.answered(0, [record.response])
    session.window.next_id = 0
    session.advance(SessionInput.KEYS)
    del now
    return record.response


def _keys_after(session: Session, suite: IkeSuite, shared: bytes) -> SessionKeys:
    """The keys that both ends have once they know nonces and SPIs."""
    record = session.record
    nonces = record.initiator_nonce, record.responder_nonce
    exchanged = Exchanged(*nonces, session.initiator_spi, session.responder_spi)
    keys = first_keys(suite.prf, suite.sizes, shared, exchanged)
    return SessionKeys.of(suite, keys, exchanged, is_initiator=session.is_initiator)


def abilities_of(peer: PeerConfig) -> list[NotifyPayload]:
    """What we can do and want, as notifies of both first messages."""
    hashes = b"".join(one.to_bytes(2, "big") for one in SIGNATURE_HASHES)
    notifies = [NotifyPayload(NotifyType.SIGNATURE_HASH_ALGORITHMS, hashes)]
    if peer.fragment_size is not None:
        notifies.append(NotifyPayload(NotifyType.FRAGMENTATION_SUPPORTED))
    if any(one.type > TransformType.ESN for suite in peer.suites for one in suite):
        notifies.append(NotifyPayload(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED))
    return notifies


def _has_intermediate(message: Message) -> bool:
    """Whether the peer can do what further key exchanges need (RFC 9242, 3.1)."""
    return message.notify(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED) is not None


def _use_ppk(peers: Sequence[PeerConfig]) -> list[NotifyPayload]:
    """Which of them it is shows by its identity later (RFC 8784, 3)."""
    return [NotifyPayload(NotifyType.USE_PPK)] if any(one.ppk for one in peers) else []


def vendor_ids(peers: Sequence[PeerConfig]) -> list[OpaquePayload]:
    """strongSwan reads its notify for BEET only of those that know its extensions."""
    wants_beet = any(child.mode is Mode.BEET for peer in peers for child in peer.children)
    return (
        [OpaquePayload(PayloadType.VENDOR_ID, critical=False, body=_STRONGSWAN)]
        if wants_beet
        else []
    )


def _agree(candidates: Sequence[PeerConfig], sa: SaPayload, ke: int) -> tuple[PeerConfig, Chosen]:
    """What most of them are allowed; the one that it turns out to be must be (IKE_AUTH)."""
    kinds: dict[int, list[PeerConfig]] = {}
    known: list[tuple[Suite, ...]] = []
    for peer in candidates:
        if peer.suites not in known:  # few are, and they share their parts
            known.append(peer.suites)
        kinds.setdefault(known.index(peer.suites), []).append(peer)
    refusal: PeerError = NoProposalChosenError("nobody is configured for this path")
    found: list[tuple[int, PeerConfig, Chosen]] = []
    for several in kinds.values():
        try:
            chosen = choose(sa, several[0].suites, Protocol.IKE, ke_sent=ke)
        except NoProposalChosenError as error:
            refusal = error
            continue
        transforms = tuple(chosen.transforms.values())
        fitting = [len(one) for one in kinds.values() if allows(one[0].suites, transforms)]
        found.append((sum(fitting), several[0], chosen))
    if not found:
        raise refusal
    _, peer, chosen = max(found, key=lambda one: one[0])
    return peer, chosen


def detection(session: Session, path: Path) -> list[NotifyPayload]:
    """The hashes by which the peer sees a NAT; a wrong source makes it see one (forced UDP)."""
    spis = session.initiator_spi, session.responder_spi
    source = nat_detection(*spis, path.local)
    if session.peer.force_encapsulation:
        source = nat_detection(*spis, SocketAddress(path.local.address, 0))
    there = nat_detection(*spis, path.remote)
    return [
        NotifyPayload(NotifyType.NAT_DETECTION_SOURCE_IP, source),
        NotifyPayload(NotifyType.NAT_DETECTION_DESTINATION_IP, there),
    ]


def detect_nat(session: Session, message: Message, path: Path) -> bool:
    """Notes which end a NAT is before; False if the peer does not detect NATs."""
    header = message.header
    spis = header.initiator_spi, header.responder_spi
    sources = {n.data for n in message.notifies if n.type == NotifyType.NAT_DETECTION_SOURCE_IP}
    there = message.notify(NotifyType.NAT_DETECTION_DESTINATION_IP)
    if not sources or there is None:
        return False
    session.abilities.nat_there = nat_detection(*spis, path.remote) not in sources
    session.abilities.nat_here = nat_detection(*spis, path.local) != there.data
    return True


def _learn(session: Session, message: Message, path: Path) -> None:
    abilities = session.abilities
    types = {one.type for one in message.notifies}
    abilities.detects_nat = detect_nat(session, message, path)
    abilities.fragmentation = NotifyType.FRAGMENTATION_SUPPORTED in types
    abilities.ppk = NotifyType.USE_PPK in types
    abilities.childless = NotifyType.CHILDLESS_IKEV2_SUPPORTED in types
    hashes = message.notify(NotifyType.SIGNATURE_HASH_ALGORITHMS)
    if hashes is not None:
        data = hashes.data
        pairs = (data[at : at + 2] for at in range(0, len(data) - 1, 2))
        abilities.signature_hashes = frozenset(int.from_bytes(one, "big") for one in pairs)


def _wanted_child(session: Session) -> ChildConfig | None:
    """What IKE_AUTH asks for where the responder knows no IKE SA without (RFC 6023, 3)."""
    name = next(iter(session.wanted), None)
    return None if name is None else session.peer.child(name)


def _float(session: Session) -> None:
    """Port 4500 where a NAT is, or where the peer may move (RFC 7296, 2.23; RFC 4555, 3.3)."""
    wanted = session.abilities.has_nat or session.peer.force_encapsulation or session.peer.mobike
    if session.abilities.detects_nat and wanted:
        local, remote = session.path
        here = SocketAddress(local.address, NAT_T_PORT)
        # a port that was chosen by hand stays
        port = NAT_T_PORT if remote.port == session.first_port else remote.port
        session.path = Path(here, SocketAddress(remote.address, port))
