"""All IKE SAs of a gateway: who gets a datagram, who starts anew, which CHILD_SAs there are.

The daemon calls ``receive`` and ``handle_timer``, then takes ``datagrams_to_send`` and
``next_events``, keeps ``states_to_save``, installs what ``child_sas`` lists, and only then sends: a
responder receives by a new CHILD_SA before the peer hears of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime

from plutino.ike.active_child import ActiveChild, active_children
from plutino.ike.attempts import Attempts, Wanted
from plutino.ike.auth.ocsp import StatusQuestion
from plutino.ike.config import PeerConfig
from plutino.ike.doubts import Hints, heed
from plutino.ike.esp_use import ChildUse, note_use
from plutino.ike.events import (
    ChildrenChanged,
    Event,
    IkeClosed,
    IkeEstablished,
    ReauthenticationDue,
    Refused,
)
from plutino.ike.exchanges.auth import Auth
from plutino.ike.exchanges.create_child import CreateChild
from plutino.ike.exchanges.delete import DeleteChild, DeleteIke
from plutino.ike.exchanges.own_addresses import plan_to_tell
from plutino.ike.exchanges.rekey_ike import RekeyIke
from plutino.ike.half_open import HalfOpen
from plutino.ike.held import resume
from plutino.ike.keys import SessionKeys
from plutino.ike.message.header import NO_SPI, Header
from plutino.ike.moves import change_path, follow_mapping
from plutino.ike.numbers import MAJOR_VERSION, ExchangeType
from plutino.ike.ocsp_queries import OcspQueries
from plutino.ike.path import Datagram, Path, SocketAddress
from plutino.ike.peers_by_address import PeersByAddress
from plutino.ike.registry import Registry, heir, is_older, may_be_known, waits_for_children
from plutino.ike.saved import restore, save
from plutino.ike.session import Session
from plutino.ike.spis import Spis
from plutino.ike.state import SessionState
from plutino.ike.strangers import Strangers
from plutino.ike.surroundings import Surroundings
from plutino.ike.timers import Timers
from plutino.ike.turns import Turn, turn_of
from plutino.model.errors import WireError
from plutino.model.policy import IpAddress

MOST_AT_ONCE = 64
"""IKE SAs of ours that are on their way at a time."""


class Endpoint:
    """The IKE side of a gateway. ``random`` gives unpredictable bytes, ``date`` the wall clock."""

    def __init__(
        self,
        peers: Iterable[PeerConfig],
        *,
        random: Callable[[int], bytes],
        date: Callable[[], datetime],
        note_keys: Callable[[SessionKeys], None] | None = None,
    ) -> None:
        self.set_peers(peers)
        self.random = random
        self._registry = Registry()
        self._own_addresses: dict[str, tuple[IpAddress, ...]] = {}
        self._attempts = Attempts(random)
        self._ocsp = OcspQueries(random)
        self._spis = Spis(random, self._registry.by_spi)
        self._surroundings = Surroundings(
            random,
            date,
            lambda path: self._by_address.at(path),  # noqa: PLW0108 -- another with other peers
            self._spis.new_ike,
            self._spis.new_child,
            self._has_other,
            self._ocsp.answers,
            note_keys,
            self._own_addresses.get,
        )
        self._half_open = HalfOpen(random)
        self._strangers = Strangers()
        self._hints = Hints(self._registry.having)
        self._contests: dict[bytes, Session] = {}
        self._outgoing: list[Datagram] = []
        self._events: list[Event] = []
        self._timers = Timers()
        self._touched: dict[bytes, Session] = {}

    @property
    def sessions(self) -> dict[bytes, Session]:
        """All IKE SAs by our own SPI."""
        return self._registry.by_spi

    def set_peers(self, peers: Iterable[PeerConfig]) -> None:
        """Who may connect from now on; IKE SAs of others have to be let down before."""
        self.peers = {peer.name: peer for peer in peers}
        self._by_address = PeersByAddress(self.peers.values())
        self._by_identities: dict[object, list[str]] = {}
        for peer in self.peers.values():
            self._by_identities.setdefault(peer.identities, []).append(peer.name)

    # Inputs -------------------------------------------------------------------------------------

    def turn_of(self, datagram: bytes, ends: tuple[bytes, bytes], now: float) -> Turn:
        """When ``receive`` should get it; ``ends`` are our address and the sender's, packed."""
        return turn_of(
            datagram, ends, now,
            spis=self._registry.by_spi, peers=self._by_address,
            half_open=self._half_open, strangers=self._strangers,
        )  # fmt: skip

    def receive(self, datagram: bytes, path: Path, now: float) -> None:
        """One datagram, from anybody; what makes no sense is dropped."""
        for doubted in self._hints.heeded(datagram, path, now):
            self._after(doubted, now)
        try:
            header = Header.parse(memoryview(datagram))
        except WireError:
            return
        is_ours = header.major_version == MAJOR_VERSION
        session = self._registry.find(header) if is_ours else None
        if session is not None:
            made = session.receive(header, datagram, path, now)
            if made or heed(session, header, datagram, path, now):
                self._after(session, now)
        elif is_ours and header.exchange_type == ExchangeType.IKE_SA_INIT:
            self._receive_first(header, datagram, path, now)
        elif (reply := self._strangers.answer(header, now)) is not None:
            self._outgoing.append(Datagram(path, reply))
        self._start_due(now)

    def keep_up(self, peer: str, path: Path, children: Sequence[str], now: float) -> None:
        """From now on the peer is connected by itself, with these children; KeyError if unknown."""
        for name in children:
            self.peers[peer].child(name)
        self._attempts.want(peer, Wanted(path, tuple(children), next_attempt=now))
        self._attempts.note(peer, is_down=not self._registry.is_alive(peer))
        for session in self.sessions_of(peer):
            self._want(session, now)
        self._start_due(now)

    def adopt(self, octets: bytes, now: float) -> None:
        """Goes on with an IKE SA that another process saved.

        Raises SavedStateError if that is not possible.
        """
        session = restore(octets, self.peers, self._surroundings, now)
        for child in session.children:
            self._spis.note_child(child.spi_in)
        self._add(session, now)
        session.pump(now)
        self._after(session, now)

    def let_down(self, peer: str, now: float) -> None:
        """The peer is no longer kept up, and its IKE SAs are deleted."""
        self._attempts.drop(peer)
        for session in self.sessions_of(peer):
            self.delete(session, "by request", now)

    def delete(self, session: Session, reason: str, now: float) -> None:
        """Deletes an IKE SA with its children, or gives up one that is not up.

        One that was replaced goes by itself; what is meant then is its successor.
        """
        session = heir(session)
        if session.state in {SessionState.INITIATING, SessionState.AUTHENTICATING}:
            session.close(reason, now)
        else:
            session.enqueue(DeleteIke(reason), now, first=True)
        self._after(session, now)

    def go_by(
        self, peer: str, path: Path, lost: Collection[tuple[IpAddress, IpAddress]], now: float
    ) -> None:
        """The way that a peer is to be reached by from now on; KeyError if it is unknown.

        ``lost`` are the pairs of our address and the peer's that carry nothing. An IKE SA of ours
        moves with its children (MOBIKE). One that cannot is made anew, and then the old one goes;
        one that the peer has begun and that is not on a lost path is the peer's to move. That of
        a peer without ``remotes`` stays, since the address is only where to begin.
        """
        self._attempts.aim(peer, path, now)
        sessions = self.sessions_of(peer)
        if any(one.is_established and one.path.ends == path.ends for one in sessions):
            return
        for session in sessions:
            self._leave_path(session, path, is_lost=session.path.ends in lost, now=now)
        self._start_due(now)

    def _leave_path(self, session: Session, path: Path, *, is_lost: bool, now: float) -> None:
        if session.state in {SessionState.INITIATING, SessionState.AUTHENTICATING}:
            is_elsewhere = not session.peer.remotes and session.path.ends != path.ends
            if session.is_initiator and (is_lost or is_elsewhere):
                session.close("the peer is elsewhere" if is_elsewhere else "its path is lost", now)
                self._attempts.had_success(session.peer.name, now)  # nobody has refused it
                self._after(session, now)
        elif not session.is_established or not session.peer.remotes:
            return
        elif session.may_move and session.abilities.mobike:
            change_path(session, path.ends, now)
            self._after(session, now)
        elif session.may_move or is_lost:
            ours = [one for one in self.sessions_of(session.peer.name) if one.is_initiator]
            if all(one.established_at is not None for one in ours):
                self._reauthenticate(session, path, now)

    def set_own_addresses(self, peer: str, addresses: tuple[IpAddress, ...], now: float) -> None:
        """Ours that a peer may use, the best first; it hears of others by MOBIKE."""
        self._own_addresses[peer] = addresses
        for session in self.sessions_of(peer):
            plan_to_tell(session, now)
            self._timers.plan(session)

    def acquire(self, peer: str, child: str, path: Path, now: float) -> None:
        """Traffic wants a child that is not there."""
        wanted = self._attempts.get(peer)
        children = (child,) if wanted is None else (*dict.fromkeys((*wanted.children, child)),)
        self.keep_up(peer, path if wanted is None else wanted.path, children, now)

    def rekey_child(self, spi: bytes, now: float) -> None:
        """An SA of the data plane, of either direction, has reached a soft limit."""
        for session, child in self._registry.having(spi):
            if child.is_current and not session.makes(child.config.name):
                session.enqueue(CreateChild(child.config, child), now)
                self._after(session, now)

    def rekey_ike(self, peer: str, now: float) -> None:
        """Replaces the IKE SAs of a peer, but for one that may be redundant yet."""
        for session in filter(lambda one: one.is_established, self.sessions_of(peer)):
            if session.predecessor is None and not session.ahead(RekeyIke):
                session.enqueue(RekeyIke(), now)
                self._after(session, now)

    def delete_child(self, spi_in: bytes, now: float) -> None:
        """Ends one CHILD_SA."""
        for session, child in self._registry.having(spi_in):
            if child.is_current:
                session.wanted.pop(child.config.name, None)
                session.enqueue(DeleteChild(child), now)
                self._after(session, now)

    def follow_mapping(self, spi_in: bytes, remote: SocketAddress, now: float) -> None:
        """Authentic ESP in UDP by one of our inbound SAs comes from elsewhere."""
        for session, _ in self._registry.having(spi_in):
            follow_mapping(session, remote)
            self._after(session, now)

    def note_use(self, peer: str, uses: Sequence[ChildUse], now: float) -> None:
        """What the data plane knows of a peer's CHILD_SAs, where ``UseWanted`` has asked for it."""
        for session in self.sessions_of(peer):
            note_use(session, uses, now)
            self._timers.plan(session)

    def take_answer(self, question: StatusQuestion, response: bytes, now: float) -> None:
        """What an OCSP responder has answered (DER); empty where nothing came."""
        for session in self._ocsp.take(question, response, self._surroundings.date()):
            resume(session, now)
            self._after(session, now)
        self._start_due(now)

    def handle_timer(self, now: float) -> None:
        """Does all that is due."""
        for question in self._ocsp.overdue(now):
            self.take_answer(question, b"", now)
        while (session := self._timers.take(now)) is not None:
            session.handle_timer(now)
            self._after(session, now)
        self._start_due(now)

    # Outputs ------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """When ``handle_timer`` wants to be called."""
        times = [self._timers.next_due(), self._ocsp.next_due()]
        if self._registry.initiating < MOST_AT_ONCE:
            times.append(self._attempts.next_due())
        return min((one for one in times if one is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """What has to be sent, once."""
        datagrams, self._outgoing = self._outgoing, []
        return datagrams

    def questions_to_ask(self) -> list[tuple[str, StatusQuestion]]:
        """What OCSP responders have to be asked, and about which peer, once."""
        return self._ocsp.to_ask()

    def states_to_save(self) -> dict[tuple[str, bytes], bytes | None]:
        """What has to be kept before anything is sent, by peer and SPI, once; None: nothing."""
        touched, self._touched = self._touched, {}
        return {(one.peer.name, spi): save(one) for spi, one in touched.items()}

    def next_events(self) -> list[Event]:
        """What has happened, once."""
        events, self._events = self._events, []
        return events

    def child_sas(self) -> list[ActiveChild]:
        """All CHILD_SAs that receive; of those of one configuration the newest preferred sends."""
        return [one for name in self.peers for one in self.child_sas_of(name)]

    def child_sas_of(self, peer: str) -> list[ActiveChild]:
        """The CHILD_SAs of one peer; none if it is unknown."""
        return active_children(self.sessions_of(peer)) if peer in self.peers else []

    def sessions_of(self, peer: str) -> list[Session]:
        """The IKE SAs of a peer that have not ended, the oldest first."""
        return [one for one in self._registry.of(peer) if not one.is_closed]

    # Inside ---------------------------------------------------------------------------------------

    def _receive_first(self, header: Header, datagram: bytes, path: Path, now: float) -> None:
        if header.is_response or header.responder_spi != NO_SPI or header.message_id != 0:
            return
        answered = self._half_open.answer(self._surroundings, header, datagram, path, now)
        reply, session, refusal = answered
        if reply is not None:
            self._outgoing.append(Datagram(path, reply))
        if refusal is not None:
            self._events.append(Refused("", f"IKE_SA_INIT of {path.remote}: {refusal}"))
        if session is not None:
            self._add(session, now)

    def _start_due(self, now: float) -> None:
        while self._registry.initiating < MOST_AT_ONCE:
            taken = self._attempts.take(now)
            if taken is None:
                return
            self._initiate(*taken, now)

    def _initiate(self, name: str, wanted: Wanted, now: float) -> Session:
        peer = self.peers[name]
        session = Session(self._surroundings, wanted.path, (peer,), is_initiator=True, now=now)
        session.wanted = dict.fromkeys(wanted.children, now)
        first = peer.child(wanted.children[0]) if wanted.children and not peer.childless else None
        self._note(session)
        session.initiate(first, now)
        self._after(session, now)
        return session

    def _add(self, session: Session, now: float) -> None:
        self._note(session)
        self._after(session, now)

    def _note(self, session: Session) -> None:
        for name in filter(self._attempts.get, self._registry.note(session)):
            self._attempts.note(name, is_down=not self._registry.is_alive(name))

    def _after(self, session: Session, now: float) -> None:
        """Takes what a session has to tell, with what follows for the others."""
        self._outgoing += session.outgoing
        session.outgoing.clear()
        events, session.events = session.events, []
        affected, session.affected = session.affected, []
        for one in affected:
            self._add(one, now)
        self._events += events
        for event in events:
            self._follow(session, event, now)
        self._ocsp.note(session, now)
        self._touched[session.spi] = session
        self._note(session)
        self._timers.plan(session)

    def _follow(self, session: Session, event: Event, now: float) -> None:
        if isinstance(event, IkeEstablished):
            self._half_open.done(session.spi, proved=True)
            if event.replaces is None:
                self._want(session, now)
                if not waits_for_children(session):
                    self._settle(session, now)
        elif isinstance(event, ChildrenChanged):
            is_due = session.replaces_older and session.is_established
            if is_due and not waits_for_children(session):
                self._settle(session, now)
        elif isinstance(event, IkeClosed):
            self._half_open.done(session.spi, proved=False)
            self._contests.pop(session.spi, None)
            if session.established_at is not None:
                self._attempts.had_success(session.peer.name, now)
        elif isinstance(event, ReauthenticationDue):
            self._reauthenticate(session, session.path, now)

    def _want(self, session: Session, now: float) -> None:
        """Children that are to be up are wanted of the IKE SA that is up."""
        wanted = self._attempts.get(session.peer.name)
        if wanted is not None and session.is_established:
            session.wanted = dict.fromkeys(wanted.children, now) | session.wanted
            if not session.replaces_older:
                session.schedule_missing(now)
            self._timers.plan(session)

    def _reauthenticate(self, old: Session, path: Path, now: float) -> None:
        """A new IKE SA from the start; the old one goes once the new one has its children."""
        if any(one.replaces_older for one in self.sessions_of(old.peer.name)):
            return
        names = tuple(dict.fromkeys(child.config.name for child in old.children))
        new = self._initiate(old.peer.name, Wanted(path, names), now)
        new.replaces_older = True

    def _settle(self, session: Session, now: float) -> None:
        """No duplicates: of two IKE SAs that began at once the one with the lowest nonce goes."""
        if session.replaces_older:
            session.replaces_older = False
            for other in self.sessions_of(session.peer.name):
                if other is not session and other.is_established:
                    self._replace(other, session, now)
            return
        for other in [one for one in self.sessions_of(session.peer.name) if one is not session]:
            if session.initial_contact and is_older(other, session):
                other.close("the peer has started anew", now)
                self._after(other, now)
            elif other.is_initiator and not other.replaces_older:
                self._contest(session, other, now)
        rival = heir(self._contests.pop(session.spi, session))
        if rival is not session and rival.is_established and session.is_established:
            redundant = min(session, rival, key=lambda one: one.session_keys.lowest_nonce)
            self.delete(redundant, "redundant: both ends began at once", now)

    def _replace(self, other: Session, session: Session, now: float) -> None:
        """An IKE SA that began before goes; of two that began at once, as both ends know, one."""
        if other.began < session.began:
            self.delete(other, "authenticated anew", now)
        else:
            redundant = min(session, other, key=lambda one: one.session_keys.lowest_nonce)
            self.delete(redundant, "redundant: both ends began at once", now)

    def _contest(self, session: Session, own: Session, now: float) -> None:
        """The peer's IKE SA is up while ours is on its way."""
        if own.state is SessionState.INITIATING or (
            own.state is SessionState.AUTHENTICATING and not own.underway(Auth)
        ):
            own.close("the peer was first", now)
            self._after(own, now)
        elif own.state is SessionState.AUTHENTICATING:
            self._contests[own.spi] = session

    def _has_other(self, peer: str, spi: bytes) -> bool:
        """Whether another IKE SA is between the same identities, of whichever tunnel."""
        known = self.peers.get(peer)
        names = [peer] if known is None else self._by_identities[known.identities]
        every = (one for name in names for one in self.sessions_of(name) if one.spi != spi)
        return any(may_be_known(one, peer) for one in every)
