"""How the IKE SAs of a gateway begin and end, and what a change of one means to the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from plutino.ike.attempts import Attempts, Wanted
from plutino.ike.config import PeerConfig
from plutino.ike.events import (
    ChildrenChanged,
    Event,
    IkeClosed,
    IkeEstablished,
    ReauthenticationDue,
    Refused,
)
from plutino.ike.exchanges.delete import DeleteIke
from plutino.ike.half_open import HalfOpen
from plutino.ike.keys import SessionKeys
from plutino.ike.message.header import NO_SPI, Header
from plutino.ike.ocsp_queries import OcspQueries
from plutino.ike.path import Datagram, Path
from plutino.ike.peers import Peers
from plutino.ike.registry import Registry, heir, may_be_known, waits_for_children
from plutino.ike.rivals import Rivals
from plutino.ike.saved import save
from plutino.ike.session import Session
from plutino.ike.spis import Spis
from plutino.ike.state import SessionState
from plutino.ike.surroundings import Surroundings
from plutino.ike.timers import Timers
from plutino.model.policy import IpAddress

MOST_AT_ONCE = 64
"""IKE SAs of ours that are on their way at a time."""


class Sessions:
    """All IKE SAs. Whoever has had one do something calls ``changed``, which hears it out."""

    def __init__(
        self,
        peers: Iterable[PeerConfig],
        random: Callable[[int], bytes],
        date: Callable[[], datetime],
        note_keys: Callable[[SessionKeys], None] | None,
    ) -> None:
        self.peers = Peers(peers)
        self.registry = Registry()
        self.attempts = Attempts(random)
        self.ocsp = OcspQueries(random)
        self.half_open = HalfOpen(random)
        self.timers = Timers()
        self.own_addresses: dict[str, tuple[IpAddress, ...]] = {}
        self.spis = Spis(random, self.registry.by_spi)
        self.surroundings = Surroundings(
            random,
            date,
            self._peers_at,
            self.spis.new_ike,
            self.spis.new_child,
            self._has_other,
            self.ocsp.answers,
            note_keys,
            self.own_addresses.get,
            lambda: self.registry.initiating,
        )
        self._rivals = Rivals()
        self._outgoing: list[Datagram] = []
        self._events: list[Event] = []
        self._touched: dict[bytes, Session] = {}

    def of(self, peer: str) -> list[Session]:
        """The IKE SAs of a peer that have not ended, the oldest first."""
        return [one for one in self.registry.of(peer) if not one.is_closed]

    @property
    def may_begin(self) -> bool:
        """Whether not too many of ours are on their way."""
        return self.registry.initiating < MOST_AT_ONCE

    def receive_first(self, header: Header, datagram: bytes, path: Path, now: float) -> None:
        """An IKE_SA_INIT request, from anybody; what makes no sense is dropped."""
        if header.is_response or header.responder_spi != NO_SPI or header.message_id != 0:
            return
        reply, session, refusal = self.half_open.answer(
            self.surroundings, header, datagram, path, now
        )
        if reply is not None:
            self._outgoing.append(Datagram(path, reply))
        if refusal is not None:
            self._events.append(Refused("", f"IKE_SA_INIT of {path.remote}: {refusal}"))
        if session is not None:
            self.add(session, now)

    def delete(self, session: Session, reason: str, now: float) -> None:
        """Deletes an IKE SA with its children, or gives up one that is not up.

        One that was replaced goes by itself; what is meant then is its successor.
        """
        session = heir(session)
        if session.state in {SessionState.INITIATING, SessionState.AUTHENTICATING}:
            session.close(reason, now)
        else:
            session.enqueue(DeleteIke(reason), now, first=True)
        self.changed(session, now)

    def start_due(self, now: float) -> None:
        """Begins with the peers that are to be up, so many at a time."""
        while self.may_begin:
            taken = self.attempts.take(now)
            if taken is None:
                return
            self._initiate(*taken, now)

    def _initiate(self, name: str, wanted: Wanted, now: float) -> Session:
        peer = self.peers.by_name[name]
        session = Session(self.surroundings, wanted.path, (peer,), is_initiator=True, now=now)
        session.wanted = dict.fromkeys(wanted.children, now)
        first = peer.child(wanted.children[0]) if wanted.children and not peer.childless else None
        self._note(session)
        session.initiate(first, now)
        self.changed(session, now)
        return session

    def add(self, session: Session, now: float) -> None:
        """One that the peer has begun, or that was saved, or that replaces another."""
        self._note(session)
        self.changed(session, now)

    def _note(self, session: Session) -> None:
        for name in filter(self.attempts.get, self.registry.note(session)):
            self.attempts.note(name, is_down=not self.registry.is_alive(name))

    def changed(self, session: Session, now: float) -> None:
        """Takes what a session has to tell, with what follows for the others."""
        self._outgoing += session.outgoing
        session.outgoing.clear()
        events, session.events = session.events, []
        affected, session.affected = session.affected, []
        for one in affected:
            self.add(one, now)
        self._events += events
        for event in events:
            self._follow(session, event, now)
        self.ocsp.note(session, now)
        self._touched[session.spi] = session
        self._note(session)
        self.timers.plan(session)

    def _follow(self, session: Session, event: Event, now: float) -> None:
        if isinstance(event, IkeEstablished):
            self.half_open.done(session.spi, proved=True)
            if event.replaces is None:
                self.want(session, now)
                if not waits_for_children(session):
                    self._settle(session, now)
        elif isinstance(event, ChildrenChanged):
            is_due = session.replaces_older and session.is_established
            if is_due and not waits_for_children(session):
                self._settle(session, now)
        elif isinstance(event, IkeClosed):
            self.half_open.done(session.spi, proved=False)
            self._rivals.forget(session)
            if session.established_at is not None:
                self.attempts.had_success(session.peer.name, now)
        elif isinstance(event, ReauthenticationDue):
            self.reauthenticate(session, session.path, now)

    def want(self, session: Session, now: float) -> None:
        """Children that are to be up are wanted of the IKE SA that is up."""
        wanted = self.attempts.get(session.peer.name)
        if wanted is not None and session.is_established:
            session.wanted = dict.fromkeys(wanted.children, now) | session.wanted
            if not session.replaces_older:
                session.schedule_missing(now)
            self.timers.plan(session)

    def reauthenticate(self, old: Session, path: Path, now: float) -> None:
        """A new IKE SA from the start; the old one goes once the new one has its children."""
        if any(one.replaces_older for one in self.of(old.peer.name)):
            return
        names = tuple(dict.fromkeys(child.config.name for child in old.children))
        new = self._initiate(old.peer.name, Wanted(path, names), now)
        new.replaces_older = True

    def _settle(self, session: Session, now: float) -> None:
        """No duplicates: of those that are in each other's way some go."""
        others = [one for one in self.of(session.peer.name) if one is not session]
        for ending in self._rivals.settle(session, others):
            if ending.is_told:
                self.delete(ending.session, ending.reason, now)
            else:
                ending.session.close(ending.reason, now)
                self.changed(ending.session, now)

    def _has_other(self, peer: str, spi: bytes) -> bool:
        """Whether another IKE SA is between the same identities, of whichever tunnel."""
        every = (one for name in self.peers.namesakes(peer) for one in self.of(name))
        return any(one.spi != spi and may_be_known(one, peer) for one in every)

    def _peers_at(self, path: Path) -> Sequence[PeerConfig]:
        return self.peers.at(path)  # which is another with the peers

    # What has come of it ------------------------------------------------------------------------

    def send(self, datagram: Datagram) -> None:
        """One that is of no IKE SA."""
        self._outgoing.append(datagram)

    def take_outgoing(self) -> list[Datagram]:
        """What has to be sent, once."""
        datagrams, self._outgoing = self._outgoing, []
        return datagrams

    def take_events(self) -> list[Event]:
        """What has happened, once."""
        events, self._events = self._events, []
        return events

    def take_states(self) -> dict[tuple[str, bytes], bytes | None]:
        """What has to be kept of those that have changed, by peer and SPI, once; None: nothing."""
        touched, self._touched = self._touched, {}
        return {(one.peer.name, spi): save(one) for spi, one in touched.items()}
