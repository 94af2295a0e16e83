"""One IKE SA: takes datagrams and time, gives datagrams, events and CHILD_SAs (RFC 7296).

The flow: ``receive`` opens a datagram, orders it by its message id, checks it against the rules and
hands it to the exchange that answers it, or to the one that waits for it (``receiving``).
``handle_timer`` repeats requests and starts what is due (``duties``). What goes out is made in
``sending``. Exchanges are in ``plutino.ike.exchanges``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TypeVar

from plutino.ike import duties
from plutino.ike.abilities import Abilities
from plutino.ike.auth.octets import IntermediateOctets
from plutino.ike.child import ChildInput
from plutino.ike.children import Children
from plutino.ike.config import ChildConfig, PeerConfig
from plutino.ike.errors import PeerError
from plutino.ike.events import ChildrenChanged, Event, IkeClosed, PathChanged
from plutino.ike.exchanges.auth import Auth
from plutino.ike.exchanges.create_child import CreateChild
from plutino.ike.exchanges.delete import DeleteIke
from plutino.ike.exchanges.exchange import Exchange
from plutino.ike.exchanges.followup import FollowupKe
from plutino.ike.exchanges.intermediate import Intermediate, cover_own
from plutino.ike.exchanges.key_exchange import NONCE_SIZE
from plutino.ike.exchanges.rekey_ike import RekeyIke, hand_over
from plutino.ike.exchanges.sa_init import InitRecord, SaInit
from plutino.ike.half_made import HalfMades
from plutino.ike.held import Held
from plutino.ike.keys import SessionKeys
from plutino.ike.message.header import NO_SPI, Header
from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType, Protocol
from plutino.ike.ordering import take_next
from plutino.ike.other_ways import TRIED_AFTER, other_ways
from plutino.ike.path import Datagram, Path
from plutino.ike.payloads.notify import DeletePayload, NotifyPayload
from plutino.ike.proposals import methods_of
from plutino.ike.receiving import receive
from plutino.ike.schedule import Schedule, back_off
from plutino.ike.sending import header_of, seal, send
from plutino.ike.state import SessionInput, SessionState, following
from plutino.ike.surroundings import Surroundings
from plutino.ike.window import LAST_ID, RequestWindow, ResponseWindow
from plutino.model.policy import IpAddress

FIRST_PAUSE = 2.0
LONGEST_PAUSE = 120.0
"""Seconds between attempts at a child that the peer refuses: doubled each time."""
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
        self.peer_addresses: tuple[IpAddress, ...] = ()
        self.unproved_from: Path | None = None  # where ESP goes until the peer has proved itself
        self.seen_as: bytes | None = None
        self.use_until: float | None = None  # the data plane was asked whether ESP came
        self.hinted_at: float | None = None  # of a CHILD_SA that the peer may lack
        self.lacked_at: dict[str, float] = {}  # when it said so itself
        self.told_addresses: tuple[IpAddress, ...] | None = None
        self.told_at: float | None = None  # when the peer hears of others
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
                header = header_of(self, exchange.exchange_type, self.window.next_id)
                message = Message(header, tuple(payloads))
                cover_own(self, message)
                datagrams = seal(self, message)
                if exchange.exchange_type is ExchangeType.IKE_SA_INIT:
                    self.record.request = datagrams[0]  # AUTH covers it
                self.window.send(exchange, datagrams, now)
                send(self, datagrams, self.path, now)

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
        return receive(self, header, datagram, path, now)

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
            ways = other_ways(self) if one.tries >= TRIED_AFTER else ()
            for path in (self.path, *ways):
                send(self, one.payloads, path, now)
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
            header = header_of(self, ExchangeType.INFORMATIONAL, self.window.next_id)
            is_up = self.established_at is not None
            why = () if is_up else (NotifyPayload(error.notify, error.data),)
            told = Message(header, (*why, DeletePayload(Protocol.IKE)))
            send(self, seal(self, told), self.path, now)
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
