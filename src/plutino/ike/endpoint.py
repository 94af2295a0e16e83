"""All IKE SAs of a gateway: who gets a datagram, who starts anew, which CHILD_SAs there are.

The daemon calls ``receive`` and ``handle_timer``, then takes ``datagrams_to_send`` and
``next_events``, keeps ``states_to_save``, installs what ``child_sas`` lists, and only then sends: a
responder receives by a new CHILD_SA before the peer hears of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime

from plutino.ike.active_child import ActiveChild, active_children
from plutino.ike.attempts import Wanted
from plutino.ike.auth.ocsp import StatusQuestion
from plutino.ike.config import PeerConfig
from plutino.ike.doubts import Hints, heed
from plutino.ike.esp_use import ChildUse, note_use
from plutino.ike.events import (
    Event,
)
from plutino.ike.exchanges.create_child import CreateChild
from plutino.ike.exchanges.delete import DeleteChild
from plutino.ike.exchanges.own_addresses import plan_to_tell
from plutino.ike.exchanges.rekey_ike import RekeyIke
from plutino.ike.held import resume
from plutino.ike.keys import SessionKeys
from plutino.ike.message.header import Header
from plutino.ike.moves import change_path, follow_mapping
from plutino.ike.numbers import MAJOR_VERSION, ExchangeType
from plutino.ike.path import Datagram, Path, SocketAddress
from plutino.ike.peers import Peers
from plutino.ike.saved import restore
from plutino.ike.session import Session
from plutino.ike.sessions import Sessions
from plutino.ike.state import SessionState
from plutino.ike.strangers import Strangers
from plutino.ike.turns import Turn, turn_of
from plutino.model.errors import WireError
from plutino.model.policy import IpAddress


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
        self._sas = Sessions(peers, random, date, note_keys)
        self._strangers = Strangers()
        self._hints = Hints(self._sas.registry.having)

    @property
    def sessions(self) -> dict[bytes, Session]:
        """All IKE SAs by our own SPI."""
        return self._sas.registry.by_spi

    @property
    def peers(self) -> dict[str, PeerConfig]:
        """Who may connect, by name."""
        return self._sas.peers.by_name

    def set_peers(self, peers: Iterable[PeerConfig]) -> None:
        """Who may connect from now on; IKE SAs of others have to be let down before."""
        self._sas.peers = Peers(peers)
        for name in self._sas.own_addresses.keys() - self.peers.keys():
            del self._sas.own_addresses[name]

    # Inputs -------------------------------------------------------------------------------------

    def turn_of(self, datagram: bytes, ends: tuple[bytes, bytes], now: float) -> Turn:
        """When ``receive`` should get it; ``ends`` are our address and the sender's, packed."""
        return turn_of(
            datagram, ends, now,
            spis=self._sas.registry.by_spi, peers=self._sas.peers,
            half_open=self._sas.half_open, strangers=self._strangers,
        )  # fmt: skip

    def receive(self, datagram: bytes, path: Path, now: float) -> None:
        """One datagram, from anybody; what makes no sense is dropped."""
        for doubted in self._hints.heeded(datagram, path, now):
            self._sas.changed(doubted, now)
        try:
            header = Header.parse(memoryview(datagram))
        except WireError:
            return
        is_ours = header.major_version == MAJOR_VERSION
        session = self._sas.registry.find(header) if is_ours else None
        if session is not None:
            made = session.receive(header, datagram, path, now)
            if made or heed(session, header, datagram, path, now):
                self._sas.changed(session, now)
        elif is_ours and header.exchange_type == ExchangeType.IKE_SA_INIT:
            self._sas.receive_first(header, datagram, path, now)
        elif (reply := self._strangers.answer(header, now)) is not None:
            self._sas.send(Datagram(path, reply))
        self._sas.start_due(now)

    def keep_up(self, peer: str, path: Path, children: Sequence[str], now: float) -> None:
        """From now on the peer is connected by itself, with these children; KeyError if unknown."""
        for name in children:
            self.peers[peer].child(name)
        self._sas.attempts.want(peer, Wanted(path, tuple(children), next_attempt=now))
        self._sas.attempts.note(peer, is_down=not self._sas.registry.is_alive(peer))
        for session in self.sessions_of(peer):
            self._sas.want(session, now)
        self._sas.start_due(now)

    def adopt(self, octets: bytes, now: float) -> None:
        """Goes on with an IKE SA that another process saved.

        Raises SavedStateError if that is not possible.
        """
        session = restore(octets, self.peers, self._sas.surroundings, now)
        for child in session.children:
            self._sas.spis.note_child(child.spi_in)
        self._sas.add(session, now)
        session.pump(now)
        self._sas.changed(session, now)

    def let_down(self, peer: str, now: float) -> None:
        """The peer is no longer kept up, and its IKE SAs are deleted."""
        self._sas.attempts.drop(peer)
        for session in self.sessions_of(peer):
            self.delete(session, "by request", now)

    def delete(self, session: Session, reason: str, now: float) -> None:
        """Deletes an IKE SA with its children, or gives up one that is not up."""
        self._sas.delete(session, reason, now)

    def go_by(
        self, peer: str, path: Path, lost: Collection[tuple[IpAddress, IpAddress]], now: float
    ) -> None:
        """The way that a peer is to be reached by from now on; KeyError if it is unknown.

        ``lost`` are the pairs of our address and the peer's that carry nothing. An IKE SA of ours
        moves with its children (MOBIKE). One that cannot is made anew, and then the old one goes;
        one that the peer has begun and that is not on a lost path is the peer's to move. That of
        a peer without ``remotes`` stays, since the address is only where to begin.
        """
        self._sas.attempts.aim(peer, path, now)
        sessions = self.sessions_of(peer)
        if any(one.is_established and one.path.ends == path.ends for one in sessions):
            return
        for session in sessions:
            self._leave_path(session, path, is_lost=session.path.ends in lost, now=now)
        self._sas.start_due(now)

    def _leave_path(self, session: Session, path: Path, *, is_lost: bool, now: float) -> None:
        if session.state in {SessionState.INITIATING, SessionState.AUTHENTICATING}:
            is_elsewhere = not session.peer.remotes and session.path.ends != path.ends
            if session.is_initiator and (is_lost or is_elsewhere):
                session.close("the peer is elsewhere" if is_elsewhere else "its path is lost", now)
                self._sas.attempts.had_success(session.peer.name, now)  # nobody has refused it
                self._sas.changed(session, now)
        elif not session.is_established or not session.peer.remotes:
            return
        elif session.may_move and session.abilities.mobike:
            change_path(session, path.ends, now)
            self._sas.changed(session, now)
        elif session.may_move or is_lost:
            ours = [one for one in self.sessions_of(session.peer.name) if one.is_initiator]
            if all(one.established_at is not None for one in ours):
                self._sas.reauthenticate(session, path, now)

    def set_own_addresses(self, peer: str, addresses: tuple[IpAddress, ...], now: float) -> None:
        """Ours that a peer may use, the best first; it hears of others by MOBIKE."""
        self._sas.own_addresses[peer] = addresses
        for session in self.sessions_of(peer):
            plan_to_tell(session, now)
            self._sas.timers.plan(session)

    def acquire(self, peer: str, child: str, path: Path, now: float) -> None:
        """Traffic wants a child that is not there."""
        wanted = self._sas.attempts.get(peer)
        children = (child,) if wanted is None else (*dict.fromkeys((*wanted.children, child)),)
        self.keep_up(peer, path if wanted is None else wanted.path, children, now)

    def rekey_child(self, spi: bytes, now: float) -> None:
        """An SA of the data plane, of either direction, has reached a soft limit."""
        for session, child in self._sas.registry.having(spi):
            if child.is_current and not session.makes(child.config.name):
                session.enqueue(CreateChild(child.config, child), now)
                self._sas.changed(session, now)

    def rekey_ike(self, peer: str, now: float) -> None:
        """Replaces the IKE SAs of a peer, but for one that may be redundant yet."""
        for session in self.sessions_of(peer):
            is_new = session.predecessor is not None
            if session.is_established and not is_new and not session.ahead(RekeyIke):
                session.enqueue(RekeyIke(), now)
                self._sas.changed(session, now)

    def delete_child(self, spi_in: bytes, now: float) -> None:
        """Ends one CHILD_SA."""
        for session, child in self._sas.registry.having(spi_in):
            if child.is_current:
                session.wanted.pop(child.config.name, None)
                session.enqueue(DeleteChild(child), now)
                self._sas.changed(session, now)

    def follow_mapping(self, spi_in: bytes, remote: SocketAddress, now: float) -> None:
        """Authentic ESP in UDP by one of our inbound SAs comes from elsewhere."""
        for session, _ in self._sas.registry.having(spi_in):
            follow_mapping(session, remote)
            self._sas.changed(session, now)

    def note_use(self, peer: str, uses: Sequence[ChildUse], now: float) -> None:
        """What the data plane knows of a peer's CHILD_SAs, where ``UseWanted`` has asked for it."""
        for session in self.sessions_of(peer):
            note_use(session, uses, now)
            self._sas.timers.plan(session)

    def take_answer(self, question: StatusQuestion, response: bytes, now: float) -> None:
        """What an OCSP responder has answered (DER); empty where nothing came."""
        for session in self._sas.ocsp.take(question, response, self._sas.surroundings.date()):
            resume(session, now)
            self._sas.changed(session, now)
        self._sas.start_due(now)

    def handle_timer(self, now: float) -> None:
        """Does all that is due."""
        for question in self._sas.ocsp.overdue(now):
            self.take_answer(question, b"", now)
        while (session := self._sas.timers.take(now)) is not None:
            session.handle_timer(now)
            self._sas.changed(session, now)
        self._sas.start_due(now)

    # Outputs ------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """When ``handle_timer`` wants to be called."""
        times = [self._sas.timers.next_due(), self._sas.ocsp.next_due()]
        if self._sas.may_begin:
            times.append(self._sas.attempts.next_due())
        return min((one for one in times if one is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """What has to be sent, once."""
        return self._sas.take_outgoing()

    def questions_to_ask(self) -> list[tuple[str, StatusQuestion]]:
        """What OCSP responders have to be asked, and about which peer, once."""
        return self._sas.ocsp.to_ask()

    def states_to_save(self) -> dict[tuple[str, bytes], bytes | None]:
        """What has to be kept before anything is sent, by peer and SPI, once; None: nothing."""
        return self._sas.take_states()

    def next_events(self) -> list[Event]:
        """What has happened, once."""
        return self._sas.take_events()

    def child_sas(self) -> list[ActiveChild]:
        """All CHILD_SAs that receive; of those of one configuration the newest preferred sends."""
        return [one for name in self.peers for one in self.child_sas_of(name)]

    def child_sas_of(self, peer: str) -> list[ActiveChild]:
        """The CHILD_SAs of one peer; none if it is unknown."""
        return active_children(self.sessions_of(peer)) if peer in self.peers else []

    def sessions_of(self, peer: str) -> list[Session]:
        """The IKE SAs of a peer that have not ended, the oldest first."""
        return self._sas.of(peer)
