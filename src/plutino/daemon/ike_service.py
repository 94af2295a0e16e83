"""The edge of IKE: clock, sockets and the data plane around the process that speaks it.

What IKE wants to send waits until the CHILD_SAs that it tells of are in force: a responder receives
by a new one before the peer hears of it. The IKE process may end at any time; another one goes on
with what was kept, as after a restart of the daemon.
"""

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from typing import Final

from plutino.config.files import LoadedGateway
from plutino.config.gateway import Gateway
from plutino.daemon.early_esp import EarlyEsp
from plutino.daemon.ike_outbox import Outbox
from plutino.daemon.ike_peers import (
    Ways,
    fingerprints_of,
    may_have,
    ocsp_policy,
    peer_name,
    peers_of,
    starts_now,
)
from plutino.daemon.ike_sockets import IkeSockets
from plutino.daemon.ike_status import IkeState, report_ike
from plutino.daemon.ike_store import IkeStore
from plutino.daemon.ike_worker import IkeWorker
from plutino.daemon.key_log import KeyLog
from plutino.daemon.ocsp_client import OcspClient
from plutino.daemon.peer_spis import PeerSpis
from plutino.daemon.sa_use import SaUses, inbound_sas
from plutino.daemon.same_ends import SameEnds
from plutino.daemon.stranger_log import StrangerLog
from plutino.dataplane.mappings import NewMapping
from plutino.dataplane.runtime import RuntimePaths
from plutino.desired.sas import tunnel_reqid
from plutino.ike.auth.ocsp import StatusQuestion
from plutino.ike.config import PeerConfig
from plutino.ike.path import Datagram, SocketAddress
from plutino.ike_process.commands import (
    Acquire,
    Adopt,
    Command,
    FollowMapping,
    GoBy,
    KeepUp,
    LetDown,
    Rekey,
    SetOwnAddresses,
    SetPeers,
    TakeAnswer,
)
from plutino.ike_process.outcome import IkeSaState, Notice, NoticeKind, OcspQuery, Outcome
from plutino.model.child_sa import ChildSa
from plutino.model.errors import PlaneError, PlutinoError
from plutino.model.path import TunnelPaths

Log = Callable[[str], None]
_PATIENCE: Final = 1.0
"""Seconds that the end which began an IKE SA has to move it off a lost path."""
_FAREWELL: Final = 1.0
"""Seconds for peers to answer that they let go, too."""
_FIRST_BACK_OFF: Final = 0.1
_LONGEST_BACK_OFF: Final = 10.0
"""Seconds until another IKE process is started, doubled each time that one ends soon."""
_GATHER: Final = 0.02
"""Seconds to wait for more CHILD_SAs where they follow each other: many cost little more than one.
"""
_SOON: Final = 60.0


class IkeService:
    """Keys for the tunnels of a gateway.

    ``install`` makes the plane as ``children`` say; it is told of which tunnels they are others,
    and may tell, from any thread, when the SAs are in force.
    """

    def __init__(
        self,
        loaded: LoadedGateway,
        runtime: RuntimePaths,
        install: Callable[[frozenset[str], Callable[[], None]], Awaitable[object]],
        log: Log,
        key_log: KeyLog | None = None,
    ) -> None:
        self._loaded = loaded
        self._install = install
        self._log = log
        self._key_log = key_log
        self._peers: dict[str, PeerConfig] = {one.name: one for one in peers_of(loaded)}
        self._ways = Ways({})
        self._leaving: asyncio.TimerHandle | None = None
        self._on_kernel = False
        self._is_started = False
        self._says_farewell = False
        self._begun: set[str] = set()
        note_keys = key_log is not None
        self._worker = IkeWorker(runtime, self._hear, self._hear_end, note_keys=note_keys)
        self._sockets = IkeSockets(runtime, self._worker)
        self._responders = OcspClient(self._take_answer, log)
        self._store = IkeStore(runtime, fingerprints_of(loaded), log)
        self._children: dict[str, tuple[ChildSa, ...]] = {}
        self._peer_spis = PeerSpis(log)
        self._told: set[str] = set()
        self._changed: set[str] = set()
        self._aims: dict[str, GoBy] = {}
        self._told_addresses: frozenset[SetOwnAddresses] = frozenset()
        self._reqids: dict[int, list[str]] = {}
        self._same_ends = SameEnds(loaded.gateway)
        self._ike_sas: dict[str, IkeSaState | None] = {}
        self._failures: dict[str, str] = {}
        self._strangers = StrangerLog(log)
        self._early = EarlyEsp()
        self._uses = SaUses(runtime, self._worker.tell)
        self._outbox = Outbox()
        self._wake = asyncio.Event()
        self._gone = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._worker_since, self._back_off = 0.0, _FIRST_BACK_OFF

    async def take_up(self) -> None:
        """Starts the IKE process, which goes on with what another daemon, or process, has saved.

        What it wants to say then waits for ``start``. Raises PlaneError if it cannot be started.
        """
        self._worker_since = time.monotonic()
        self._told = set()
        self._ike_sas.clear()
        self._aims.clear()
        self._told_addresses = frozenset()
        commands: list[Command] = [SetPeers(tuple(self._peers.values()))]
        commands += [Adopt(*one) for one in self._store.load()]
        await self._worker.start(commands)
        for name in self._children.keys() - self._told:
            gone = self._children.pop(name)
            self._peer_spis.allot(name, gone, ())
            self._changed |= {one.tunnel for one in gone}
        if self._is_started:
            self._sockets.give_all()
            self._begun.clear()
            self._begin()
            self._take_best(patient=True)
            self._wake.set()

    def children(self, gateway: Gateway) -> dict[str, tuple[ChildSa, ...]]:
        """All CHILD_SAs as they have to be in force now, by tunnel name.

        ``gateway`` may be newer than what they were made for: those that it does not allow are not
        among them.
        """
        found: dict[str, tuple[ChildSa, ...]] = {}
        # A copy in one step, since passes ask from another thread.
        for peer, several in self._children.copy().items():
            for one in several:
                if may_have(gateway, peer, one):
                    found[one.tunnel] = (*found.get(one.tunnel, ()), one)
        return found

    def children_of(self, tunnels: Iterable[str]) -> dict[str, tuple[ChildSa, ...]]:
        """Those of these tunnels alone; for any thread."""
        gateway = self._loaded.gateway
        found = {}
        for tunnel in tunnels:
            peer = peer_name(gateway, tunnel) if tunnel in gateway.tunnels else None
            several = () if peer is None else self._children.get(peer, ())
            found[tunnel] = tuple(one for one in several if one.tunnel == tunnel)
        return found

    def state(self) -> IkeState:
        """For `status`."""
        now = time.monotonic()
        keyed = {peer for peer, children in self._children.items() if children}
        peers = report_ike(self._peers.values(), self._ike_sas, keyed, self._failures, now)
        gateway = self._loaded.gateway
        names = ((name, peer_name(gateway, name)) for name in gateway.tunnels)
        reports = {name: peers[peer] for name, peer in names if peer in peers}
        return IkeState(self.children(gateway), reports)

    def start(self, *, on_kernel: bool) -> None:
        """Opens the sockets and begins what is to begin by itself."""
        self.open_sockets(on_kernel=on_kernel)
        self._run(self._install_and_send())
        self._is_started = True
        if self._outbox:
            self._wake.set()
        self._begin()

    def go_by(self, paths: Mapping[str, TunnelPaths]) -> None:
        """The paths as they are now: IKE SAs move to the best ones, and those to come use them.

        A peer whose IKE SA is on a lost path has a moment to move it by itself.
        """
        before, self._ways = self._ways.versions, Ways(paths)
        if self._is_started:
            if not self._ways.versions <= before:
                self.open_sockets(on_kernel=self._on_kernel)
            self._begin()
            self._take_best(patient=True)
            if self._leaving is None and any(map(self._ways.lost, paths)):
                loop = asyncio.get_running_loop()
                self._leaving = loop.call_later(_PATIENCE, self._leave_lost)

    def _leave_lost(self) -> None:
        self._leaving = None
        self._take_best(patient=False)

    def _take_best(self, *, patient: bool) -> None:
        """Told to the process where it is news, or where its IKE SAs have changed since."""
        paths = ((name, self._ways.first(name)) for name in self._peers)
        wanted = {
            name: GoBy(name, path, frozenset() if patient else self._ways.lost(name))
            for name, path in paths
            if path is not None
        }
        self._worker.tell(*(one for name, one in wanted.items() if self._aims.get(name) != one))
        self._aims = wanted

    def open_sockets(self, *, on_kernel: bool) -> None:
        """Has what the gateway needs; again where the holder is another."""
        self._on_kernel = self._uses.on_kernel = on_kernel
        tunnels = self._loaded.gateway.tunnels.values()
        versions = {one.remote.version for one in tunnels if one.ike and one.outer_version}
        self._sockets.open(sorted(versions | self._ways.versions), on_kernel=on_kernel)

    def follow_plane(self) -> None:
        """The engine may be another than before: what comes to it is to come here again."""
        if self._is_started:
            self.open_sockets(on_kernel=self._on_kernel)

    def let_go_of_held(self) -> None:
        """Closes what the holder of sockets gave, since it has ended."""
        self._sockets.let_go_of_held()

    def reload(self, loaded: LoadedGateway) -> None:
        """Other peers from now on; those that are as they were go on without a break."""
        before, self._peers = self._peers, {one.name: one for one in peers_of(loaded)}
        self._worker.tell(SetPeers(tuple(self._peers.values())))
        self._store.set_fingerprints(fingerprints_of(loaded))
        self._loaded = loaded
        self._reqids.clear()
        self._same_ends = SameEnds(loaded.gateway)
        self._aims.clear()
        self._begun &= {name for name, peer in self._peers.items() if before.get(name) == peer}
        self._begin()

    def acquire(self, reqid: int) -> None:
        """A packet wants an SA of the policies with that reqid."""
        gateway = self._loaded.gateway
        if not self._reqids:
            for name, tunnel in gateway.tunnels.items():
                if tunnel.ike is not None and tunnel.ike.start != "listen":
                    own = tunnel_reqid(gateway.instance, name)
                    self._reqids.setdefault(own, []).append(name)
        for name in self._reqids.get(reqid, ()):
            peer, path = peer_name(gateway, name), self._ways.first(name)
            if peer is not None and path is not None:
                self._worker.tell(Acquire(peer, name, path))

    def rekey(self, spi: int) -> None:
        """An SA has reached a limit of packets or octets."""
        self._worker.tell(Rekey(spi.to_bytes(4, "big")))

    def follow_mapping(self, mapping: NewMapping) -> None:
        """ESP of a peer behind a NAT comes from elsewhere by now."""
        spi = mapping.spi.to_bytes(4, "big")
        remote = SocketAddress(mapping.address, mapping.port)
        self._worker.tell(FollowMapping(spi, remote))

    async def leave(self) -> None:
        """Tells all peers that it is over, and gives them a moment to answer."""
        self._says_farewell = True
        self._worker.tell(*map(LetDown, self._peers), SetPeers(()))  # or they would come back
        with suppress(TimeoutError, PlaneError):
            async with asyncio.timeout(_FAREWELL):
                await self._worker.ask()
                await self._gone.wait()

    def close(self) -> None:
        """Stops without a word to the peers: the tunnels stay up."""
        if self._leaving is not None:
            self._leaving.cancel()
        for task in self._tasks:
            task.cancel()
        self._responders.close()
        self._early.close()
        self._uses.close()
        self._worker.close()
        self._sockets.close()

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _begin(self) -> None:
        """Begins what is to begin by itself and has not yet, where there is an address for it."""
        addresses = frozenset(self._ways.own_addresses(self._peers))
        self._worker.tell(*(addresses - self._told_addresses))
        self._told_addresses = addresses
        tunnels = self._loaded.gateway.tunnels
        commands = []
        for name, peer in self._peers.items():
            if name in self._begun:
                continue
            wanted = tuple(one.name for one in peer.children if starts_now(tunnels[one.name]))
            path = self._ways.first(name)
            if wanted and path is not None:
                self._begun.add(name)
                commands.append(KeepUp(name, path, wanted))
        self._worker.tell(*commands)

    def _hear(self, outcome: Outcome) -> None:
        """Keeps what is to be kept, has it installed, and sends only then.

        A daemon that is killed at any point of this is followed by one that knows of it.
        """
        self._store.keep(
            {
                (one.peer, one.spi): one.octets
                for one in outcome.saved
                if one.octets is None or one.peer in self._peers
            }
        )
        for peer, several in outcome.children.items():
            before = self._children.get(peer, ())
            allowed = [one for one in several if self._may_have(peer, one)]
            self._children[peer] = self._peer_spis.allot(peer, before, allowed)
            self._changed |= {one.tunnel for one in {*before} ^ {*self._children[peer]}}
        self._told |= outcome.children.keys()
        self._ike_sas |= outcome.ike_sas
        for peer in outcome.ike_sas:
            self._aims.pop(peer, None)
        for notice in outcome.notices:
            self._tell(notice)
        self._uses.want(inbound_sas(self._loaded.gateway, self._children, outcome.unheard))
        for query in outcome.questions:
            self._ask_responder(query)
        for awaited in outcome.awaited:
            if awaited.peer in self._peers:
                self._early.expect(awaited, self._ways.mark_of(awaited.path))
        if self._key_log is not None:
            for line in outcome.key_lines:
                self._key_log.note(line)
        if not self._is_started:
            self._outbox.hold(outcome.datagrams)
        elif outcome.children and not self._says_farewell:
            self._outbox.hold(outcome.datagrams)
            self._wake.set()
        else:
            self._send(self._outbox.free(outcome.datagrams))
        if not outcome.open and self._says_farewell:
            self._gone.set()

    def _ask_responder(self, query: OcspQuery) -> None:
        """If the file allows it, whatever has become of the process that asks for it."""
        question = StatusQuestion(query.url, query.request)
        peer = self._peers.get(query.peer)
        policy = None if peer is None else ocsp_policy(peer, query.url)
        if policy is None:
            self._log(f"error: IKE wants to ask {query.url!a}: tunnel '{query.peer}' does not")
            self._take_answer(question, b"")
            return
        outside = self._ways.outside(query.peer)
        self._responders.ask(question, outside, anywhere=policy.url is not None)

    def _take_answer(self, question: StatusQuestion, response: bytes) -> None:
        self._worker.tell(TakeAnswer(question, response))

    def _may_have(self, peer: str, child: ChildSa) -> bool:
        """Whether the file allows it, whatever has become of the process that asks for it."""
        if may_have(self._loaded.gateway, peer, child):
            other = self._same_ends.taken_by(child, self.children_of)
            if other is None:
                return True
            why = f"tunnel '{other}' has {child.remote} on the same interface"
            self._log(f"error: no CHILD_SA for tunnel '{child.tunnel}': {why}")
            return False
        self._log(f"error: IKE wants a CHILD_SA that tunnel '{peer}' does not allow: it has none")
        return False

    def _hear_end(self, how: str) -> None:
        if not self._says_farewell:
            self._run(self._start_again(how))

    async def _start_again(self, how: str) -> None:
        """The CHILD_SAs stay in force meanwhile."""
        self._log(f"the IKE process has ended ({how}): another one goes on")
        if time.monotonic() - self._worker_since > _SOON:
            self._back_off = _FIRST_BACK_OFF
        while True:
            await asyncio.sleep(self._back_off)
            self._back_off = min(2 * self._back_off, _LONGEST_BACK_OFF)
            try:
                await self.take_up()
            except PlaneError as error:
                self._log(f"error: {error}")
            else:
                return

    async def _install_and_send(self) -> None:
        installed_at = 0.0
        while True:
            await self._wake.wait()
            if time.monotonic() - installed_at < _GATHER:
                await asyncio.sleep(_GATHER)
            self._wake.clear()
            waiting = len(self._outbox)
            changed, self._changed = self._changed, set()
            several = self.children_of(changed).values()
            early = self._early.take([one.spi_in for child in several for one in child])
            try:
                await self._install(frozenset(changed), early.deliver)
            except PlutinoError as error:
                self._log(f"error: {error}")
            except Exception as error:  # a fault of ours: the next ones are installed all the same
                at = traceback.extract_tb(error.__traceback__)[-1]
                self._log(f"error: {type(error).__name__} in {at.name}, line {at.lineno}")
            installed_at = time.monotonic()
            early.deliver()
            self._send(self._outbox.release(waiting))
            if self._outbox:
                self._wake.set()

    def _send(self, datagrams: Iterable[Datagram]) -> None:
        self._sockets.send((one, self._ways.mark_of(one.path)) for one in datagrams)

    def _tell(self, notice: Notice) -> None:
        peer = notice.peer
        reason = notice.reason if notice.reason.isprintable() else ascii(notice.reason)
        if not peer:
            self._strangers.tell(reason)
        if peer not in self._peers:
            return
        match notice.kind:
            case NoticeKind.UP:
                self._failures.pop(peer, None)
                self._log(f"tunnel '{peer}': the IKE SA is up")
            case NoticeKind.ENDED:
                self._failures[peer] = reason
                self._log(f"tunnel '{peer}': the IKE SA has ended: {reason}")
            case NoticeKind.REFUSED:
                self._failures[peer] = reason
                self._log(f"tunnel '{peer}': {reason}")
            case NoticeKind.NOT_ADOPTED:
                self._log(f"tunnel '{peer}': its saved IKE SA cannot be used: {reason}")
