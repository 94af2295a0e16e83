"""One IKE SA: takes datagrams and time, gives datagrams, events and CHILD_SAs (RFC 7296).

The flow: ``receive`` opens a datagram, orders it by its message id, checks it against the rules and
hands it to the exchange that answers it, or to the one that waits for it. ``handle_timer`` repeats
requests and starts what is due. Exchanges are in ``plutino.ike.exchanges``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TypeVar

from plutino.ike import duties
from plutino.ike.abilities import Abilities
from plutino.ike.auth.ocsp import StatusWantedError
from plutino.ike.auth.octets import IntermediateOctets
from plutino.ike.child import ChildInput
from plutino.ike.children import Children
from plutino.ike.config import ChildConfig, PeerConfig
from plutino.ike.crypto.encryption import NotAuthenticError
from plutino.ike.errors import PeerError
from plutino.ike.events import ChildrenChanged, Event, IkeClosed, PathChanged, Refused
from plutino.ike.exchanges.answers import answer
from plutino.ike.exchanges.auth import Auth
from plutino.ike.exchanges.create_child import CreateChild
from plutino.ike.exchanges.delete import DeleteIke, deletes_ike
from plutino.ike.exchanges.exchange import Exchange
from plutino.ike.exchanges.followup import FollowupKe
from plutino.ike.exchanges.intermediate import Intermediate, cover, cover_own, mix
from plutino.ike.exchanges.key_exchange import NONCE_SIZE
from plutino.ike.exchanges.rekey_ike import RekeyIke, hand_over
from plutino.ike.exchanges.sa_init import InitRecord, SaInit
from plutino.ike.exchanges.window_size import follow_window
from plutino.ike.half_made import HalfMades
from plutino.ike.held import Held
from plutino.ike.keys import SessionKeys
from plutino.ike.message.header import NO_SPI, Header
from plutino.ike.message.message import Message
from plutino.ike.message.protection import Opened, open_message, seal_fragments
from plutino.ike.message.rules import check_rules, checked
from plutino.ike.moves import follow_request
from plutino.ike.numbers import ExchangeType, Flag, NotifyType, Protocol
from plutino.ike.ordering import take_next
from plutino.ike.path import Datagram, Path
from plutino.ike.payloads.generic import Payload
from plutino.ike.payloads.notify import DeletePayload, NotifyPayload
from plutino.ike.proposals import methods_of
from plutino.ike.schedule import Schedule, back_off
from plutino.ike.state import SessionInput, SessionState, following
from plutino.ike.surroundings import Surroundings
from plutino.ike.window import LAST_ID, RequestWindow, ResponseWindow
from plutino.model.errors import WireError

FIRST_PAUSE = 2.0
LONGEST_PAUSE = 120.0
"""Seconds between attempts at a child that the peer refuses: doubled each time."""
MAX_DATAGRAM = 65000
"""Bytes of a message that is not cut into fragments."""

_Kind = TypeVar("_Kind")


class Session:
    """An IKE SA with its children.

    ``peer`` is known from the start to the initiator; to the responder it is a guess among the
    ``candidates`` of the path until the peer has proved its identity.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        path: Path,
        candidates: Sequence[PeerConfig],
        *,
        is_initiator: bool,
        now: float,
    ) -> None:
        self.surroundings = surroundings
        self.path = path
        self.candidates = tuple(candidates)
        self.peer = self.candidates[0]
        self.is_initiator = is_initiator
        self.may_move = is_initiator  # MOBIKE is for who began the first of those that follow
        self.initiator_spi = surroundings.new_ike_spi() if is_initiator else NO_SPI
        self.responder_spi = NO_SPI
        self.state = SessionState.INITIATING
        self.created = self.began = now  # the first of those that replace each other
        self.replaces_older = False
        self.established_at: float | None = None
        self.abilities = Abilities()
        self.schedule = Schedule(last_heard=now, last_sent=now)
        self.keys: SessionKeys | None = None
        self.window: RequestWindow[Exchange] = RequestWindow(self.peer.retransmission)
        self.responses = ResponseWindow()
        self.half_made = HalfMades()
        self.queue: deque[Exchange] = deque()
        self.children = Children()
        self.successor: Session | None = None
        self.predecessor: Session | None = None
        self.record = InitRecord()
        self.held: Held | None = None
        self.intermediate = IntermediateOctets()
        self.additional: list[tuple[int, int]] = []
        self.pending_secret: bytes | None = None
        self.first_child: ChildConfig | None = None
        self.first_port = path.remote.port
        self.seen_as: bytes | None = None
        self.initial_contact = False
        self.ends_with: str | None = None
        self.wanted: dict[str, float] = {}
        self.attempts: dict[str, int] = {}
        self.outgoing: list[Datagram] = []
        self.events: list[Event] = []
        self.affected: list[Session] = []

    @property
    def spi(self) -> bytes:
        """Our own SPI, by which the peer's messages find this IKE SA."""
        return self.initiator_spi if self.is_initiator else self.responder_spi

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""
        return self.state is SessionState.CLOSED

    @property
    def is_established(self) -> bool:
        """Whether it is up, and neither replaced nor about to go."""
        return self.state is SessionState.ESTABLISHED

    @property
    def session_keys(self) -> SessionKeys:
        """The keys, where there must be some."""
        assert self.keys is not None
        return self.keys

    @property
    def rekeying(self) -> RekeyIke | None:
        """Our own request to replace this IKE SA, while it is under way."""
        return next(iter(self.underway(RekeyIke)), None)

    def advance(self, event: SessionInput) -> None:
        """The only writer of ``state``."""
        self.state = following(self.state, event)

    def set_keys(self, keys: SessionKeys) -> None:
        """Keys, or other ones after one more key exchange."""
        self.keys = keys
        if self.surroundings.note_keys is not None:
            self.surroundings.note_keys(keys)

    # Beginnings ---------------------------------------------------------------------------------

    def initiate(self, first_child: ChildConfig | None, now: float) -> None:
        """Sends IKE_SA_INIT; the first child comes with IKE_AUTH."""
        self.first_child = first_child
        nonce = self.surroundings.random(NONCE_SIZE)
        self.enqueue(SaInit(methods_of(self.peer.suites)[0], nonce), now)

    def proceed(self, now: float) -> None:
        """The next step of the initiator: one more key exchange, or the proof of identity."""
        if self.additional:
            self.enqueue(Intermediate(self.additional[0][1]), now, first=True)
        else:
            self.enqueue(Auth(self.first_child), now, first=True)

    def pause(self, name: str) -> float:
        """Seconds until the next attempt at a child; longer each time (no restart storms)."""
        count = self.attempts.get(name, 0)
        self.attempts[name] = count + 1
        return back_off(count, (FIRST_PAUSE, LONGEST_PAUSE), self.surroundings.random)

    def note_unknown(self, spi: bytes) -> None:
        """The peer deletes a child that we may be about to hear of."""
        for one in self.underway(CreateChild):
            one.deleted.add(spi)

    def schedule_missing(self, now: float) -> None:
        """Children that are wanted and not there are asked for at once."""
        for name, time in self.children.missing(self.wanted).items():
            self.wanted[name] = min(time, now)

    # Requests of ours ---------------------------------------------------------------------------

    def enqueue(self, exchange: Exchange, now: float, *, first: bool = False) -> None:
        """Sends a request as soon as the window lets it; ``first`` before those that wait."""
        if first:
            self.queue.appendleft(exchange)
        else:
            self.queue.append(exchange)
        self.pump(now)

    def pump(self, now: float) -> None:
        """Sends what waits and may go."""
        while not self.is_closed and (exchange := take_next(self)) is not None:
            if self.window.next_id > LAST_ID:
                self.close("its message ids are used up", now)
                return
            try:
                payloads = exchange.request(self, now)
            except PeerError as error:
                self.close(error.reason, now)
                return
            if payloads is not None:
                header = self._header(exchange.exchange_type, self.window.next_id)
                message = Message(header, tuple(payloads))
                cover_own(self, message)
                datagrams = self._encode(message)
                if exchange.exchange_type is ExchangeType.IKE_SA_INIT:
                    self.record.request = datagrams[0]  # AUTH covers it
                self.window.send(exchange, datagrams, now)
                self._send(datagrams, self.path, now)

    def underway(self, kind: type[_Kind]) -> list[_Kind]:
        """Our requests of a kind whose response, or that of a key exchange after, is to come."""
        begun = [one.exchange for one in (*self.window.waiting.values(), self.held) if one]
        queued = [one for one in (*begun, *self.queue) if isinstance(one, FollowupKe)]
        return [one for one in (*begun, *(of.series for of in queued)) if isinstance(one, kind)]

    def ahead(self, kind: type[_Kind]) -> list[_Kind]:
        """Our requests of a kind that are under way or wait for their turn."""
        return self.underway(kind) + [one for one in self.queue if isinstance(one, kind)]

    def makes(self, name: str) -> bool:
        """Whether a CHILD_SA of this configuration is on its way, by a request of ours."""
        return any(one.config.name == name for one in self.ahead(CreateChild))

    # Datagrams ----------------------------------------------------------------------------------

    def receive(self, header: Header, datagram: bytes, path: Path, now: float) -> bool:
        """A datagram that bears our SPI; False where it is not authentic and leaves no trace."""
        if self.is_closed or header.is_from_initiator == self.is_initiator:
            return False
        waiting = self.window.waiting.get(header.message_id) if header.is_response else None
        if header.is_response and waiting is None:
            return False
        if header.exchange_type == ExchangeType.IKE_SA_INIT:
            is_awaited = waiting is not None and self.keys is None
            self._receive_clear(header, datagram, path, now)
            return is_awaited
        if self.keys is None:
            return False
        try:
            opened = open_message(header, memoryview(datagram), self.keys.cipher_in)
        except (NotAuthenticError, WireError):
            return False
        if waiting is not None:
            whole = waiting.reassembly.add(opened)
            if whole is not None:
                self.schedule.heard(now)
                del self.window.waiting[header.message_id]
                cover(self, header, (whole.first_payload, whole.chain))
                self._take_response(header, whole, waiting.exchange, now)
        else:
            self._take_piece(header, opened, path, now)
        self.pump(now)
        return True

    def _receive_clear(self, header: Header, datagram: bytes, path: Path, now: float) -> None:
        """The response of IKE_SA_INIT; anybody may have sent it, so errors are not believed."""
        waiting = self.window.waiting.get(header.message_id)
        if not header.is_response or waiting is None or self.keys is not None:
            return
        try:
            message = Message.parse_clear(header, memoryview(datagram))
            check_rules(message)
            waiting.exchange.response(self, message, now)
        except (WireError, PeerError) as error:
            self.tell(Refused(self.peer.name, f"IKE_SA_INIT of {path.remote}: {error}"))
            return
        self.schedule.heard(now)
        if self.window.waiting.get(header.message_id) is waiting:
            del self.window.waiting[header.message_id]  # else it was sent anew
        self.pump(now)

    def _take_response(
        self, header: Header, opened: Opened, exchange: Exchange, now: float
    ) -> None:
        try:
            message = checked(header, opened)
        except PeerError as error:  # no exchange has a use for it
            self.tell(Refused(self.peer.name, f"{header.exchange_name}: {error.reason}"))
            self.fail(error, now)
            return
        if self.established_at is not None and message.notify(NotifyType.INVALID_SYNTAX):
            self.close("the peer found our request malformed, which ends it there as well", now)
            return
        try:
            exchange.response(self, message, now)
            follow_window(self, message)
        except StatusWantedError as wanted:
            again = partial(self._take_response, header, opened, exchange)
            self.held = Held(wanted.questions, again, exchange)
        except PeerError as error:
            self.tell(Refused(self.peer.name, f"{header.exchange_name}: {error.reason}"))
            if error.fatal:
                self.fail(error, now)

    def _take_piece(self, header: Header, opened: Opened, path: Path, now: float) -> None:
        """A request, or a fragment of one: an answer that was given is given again.

        The responder may be done before we know who it is: its requests wait to come again.
        """
        is_early = self.is_initiator and self.state is SessionState.AUTHENTICATING
        if is_early or self.held is not None:
            return
        given = self.responses.answer_to(header.message_id)
        if given is not None:
            if opened.number == 1:
                self._send(given, path, now)
            return
        self.responses.add(header, opened, path)
        while not self.is_closed and (request := self.responses.take_next()) is not None:
            self.schedule.heard(now)
            self.window.ask_anew(now)
            self._take_request(request.header, request.opened, request.path, now)

    def _take_request(self, header: Header, opened: Opened, path: Path, now: float) -> None:
        failure: PeerError | None = None
        payloads: Sequence[Payload]
        try:
            message = checked(header, opened)
            cover(self, header, (opened.first_payload, opened.chain))
            follow_request(self, path)
            if self.predecessor is not None and not deletes_ike(message):
                # It uses this IKE SA, which has won over our own request to replace the old one.
                hand_over(self.predecessor, self, now)
            payloads = answer(self, message, path, now)
            follow_window(self, message)
        except StatusWantedError as wanted:
            self.held = Held(wanted.questions, partial(self._take_request, header, opened, path))
            return
        except PeerError as error:
            failure, reason = error, f"{header.exchange_name}: {error.reason}"
            if not error.fatal:
                self.tell(Refused(self.peer.name, reason))
            payloads = (NotifyPayload(error.notify, error.data),)
        reply = self._header(header.exchange_type, header.message_id, response=True)
        message = Message(reply, tuple(payloads))
        cover_own(self, message)
        datagrams = self._encode(message)
        self.responses.answered(header.message_id, datagrams)
        self._send(datagrams, path, now)
        if self.pending_secret is not None:
            secret, self.pending_secret = self.pending_secret, None
            mix(self, secret)
        if failure is not None and failure.fatal:
            self.close(reason, now)
        elif self.ends_with is not None:
            self.close(self.ends_with, now)

    def move(self, path: Path) -> None:
        """The IKE SA and its children go by another path from now on."""
        if path != self.path:
            self.path = path
            self.tell(PathChanged(self.peer.name, self.initiator_spi))
            self.tell(ChildrenChanged(self.peer.name, "the path has changed"))

    # Time ---------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """When ``handle_timer`` wants to be called."""
        return duties.next_timer(self)

    def handle_timer(self, now: float) -> None:
        """Does what is due."""
        if self.is_closed:
            return
        again, unanswered = self.window.repeat(now)
        if unanswered is not None:
            asked = unanswered.exchange.exchange_type.name
            self.close(f"the peer does not answer {asked} at {self.path.remote}", now)
            return
        for one in again:
            self._send(one.payloads, self.path, now)
        duties.do_due(self, now)
        self.pump(now)

    # Ends ---------------------------------------------------------------------------------------

    def fail(self, error: PeerError, now: float) -> None:
        """A response was not acceptable: the IKE SA ends, and the peer is told once.

        By a delete, with a notify as long as it has not proved who it is (RFC 7296, 2.21): not all
        let go by that alone.
        """
        if (
            self.established_at is not None and not self.window.is_open
        ):  # one more request may not go yet
            self.enqueue(DeleteIke(error.reason), now, first=True)
            return
        if self.keys is not None and not self.additional:  # else no INFORMATIONAL may come yet
            header = self._header(ExchangeType.INFORMATIONAL, self.window.next_id)
            is_up = self.established_at is not None
            why = () if is_up else (NotifyPayload(error.notify, error.data),)
            told = Message(header, (*why, DeletePayload(Protocol.IKE)))
            self._send(self._encode(told), self.path, now)
        self.close(error.reason, now)

    def close(self, reason: str, now: float) -> None:
        """The IKE SA has ended, and its children with it."""
        if self.is_closed:
            return
        rekeying = self.rekeying
        rival = None if rekeying is None else rekeying.collision
        if rival is not None and not rival.is_closed and self.is_established:
            hand_over(self, rival, now)
        self.advance(SessionInput.CLOSE)
        had_children = any(child.is_usable for child in self.children)
        for child in self.children:
            if child.is_usable:
                child.advance(ChildInput.GONE)
        self.queue.clear()
        self.window.waiting.clear()
        self.half_made.clear()
        if had_children:
            self.tell(ChildrenChanged(self.peer.name, reason))
        spis = self.initiator_spi, self.responder_spi
        self.tell(IkeClosed(self.peer.name, *spis, reason, self.successor is not None))

    def tell(self, event: Event) -> None:
        """One more event for the daemon."""
        self.events.append(event)

    # The wire -----------------------------------------------------------------------------------

    def _header(self, exchange: int, message_id: int, *, response: bool = False) -> Header:
        flags = int(Flag.INITIATOR) * self.is_initiator + int(Flag.RESPONSE) * response
        return Header(self.initiator_spi, self.responder_spi, 0, exchange, flags, message_id)

    def _encode(self, message: Message) -> list[bytes]:
        if message.header.exchange_type == ExchangeType.IKE_SA_INIT:
            return [message.encode_clear()]
        assert self.keys is not None
        limit = self.peer.fragment_size if self.abilities.fragmentation else None
        size = self._room(limit) if limit is not None else MAX_DATAGRAM
        return seal_fragments(message, self.keys.cipher_out, self.surroundings.random, size)

    def _room(self, packet: int) -> int:
        """Bytes of a datagram in an IP packet of a size: without IP, UDP and non-ESP marker."""
        return packet - (20 if self.path.local.address.version == 4 else 40) - 8 - 4

    def _send(self, payloads: Sequence[bytes], path: Path, now: float) -> None:
        if path == self.path:
            self.schedule.last_sent = now  # what goes elsewhere keeps no mapping of a NAT
        self.outgoing.extend(Datagram(path, one) for one in payloads)
