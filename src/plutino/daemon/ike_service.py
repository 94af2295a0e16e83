"""The edge of IKE: clock, sockets and the data plane around the process that speaks it.

What IKE wants to send waits until the CHILD_SAs that it tells of are in force: a responder receives
by a new one before the peer hears of it. The IKE process may end at any time; another one goes on
with what was kept, as after a restart of the daemon.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

from plutino.config.files import LoadedGateway
from plutino.config.gateway import Gateway
from plutino.daemon.ike_children import IkeChildren
from plutino.daemon.ike_initiation import IkeInitiation
from plutino.daemon.ike_installer import IkeInstaller, Install
from plutino.daemon.ike_notice_log import IkeNoticeLog
from plutino.daemon.ike_peers import (
    Ways,
    fingerprints_of,
    ocsp_policy,
    peer_name,
    peers_of,
)
from plutino.daemon.ike_sockets import IkeSockets
from plutino.daemon.ike_status import IkeState, report_ike
from plutino.daemon.ike_store import IkeStore
from plutino.daemon.ike_worker import IkeWorker
from plutino.daemon.key_log import KeyLog
from plutino.daemon.ocsp_client import OcspClient
from plutino.daemon.sa_use import SaUses, inbound_sas
from plutino.dataplane.mappings import NewMapping
from plutino.dataplane.runtime import RuntimePaths
from plutino.ike.auth.ocsp import StatusQuestion
from plutino.ike.config import PeerConfig
from plutino.ike.path import Datagram, SocketAddress
from plutino.ike_process.commands import (
    Adopt,
    Command,
    FollowMapping,
    LetDown,
    Rekey,
    SetPeers,
    TakeAnswer,
)
from plutino.ike_process.outcome import IkeSaState, OcspQuery, Outcome
from plutino.model.child_sa import ChildSa
from plutino.model.errors import KernelError, PlaneError
from plutino.model.path import TunnelPaths

Log = Callable[[str], None]
_FAREWELL: Final = 1.0
"""Seconds for peers to answer that they let go, too."""
_FIRST_BACK_OFF: Final = 0.1
_LONGEST_BACK_OFF: Final = 10.0
"""Seconds until another IKE process is started, doubled each time that one ends soon."""
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
        install: Install,
        log: Log,
        key_log: KeyLog | None = None,
    ) -> None:
        self._gateway = loaded.gateway
        self._log = log
        self._key_log = key_log
        self._peers: dict[str, PeerConfig] = {one.name: one for one in peers_of(loaded)}
        self._on_kernel = False
        self._is_started = False
        self._says_farewell = False
        note_keys = key_log is not None
        self._worker = IkeWorker(runtime, self._hear, self._hear_end, note_keys=note_keys)
        self._sockets = IkeSockets(runtime, self._worker)
        self._responders = OcspClient(self._take_answer, log)
        self._store = IkeStore(runtime, fingerprints_of(loaded), log)
        self._children = IkeChildren(loaded.gateway, log)
        self._installer = IkeInstaller(self._children, install, self._send, log)
        self._initiation = IkeInitiation(loaded.gateway, self._peers, self._worker.tell)
        self._notices = IkeNoticeLog(log)
        self._uses = SaUses(runtime, self._worker.tell)
        self._ike_sas: dict[str, IkeSaState | None] = {}
        self._gone = asyncio.Event()
        self._restarts: set[asyncio.Task[None]] = set()
        self._worker_since, self._back_off = 0.0, _FIRST_BACK_OFF

    async def take_up(self) -> None:
        """Starts the IKE process, which goes on with what another daemon, or process, has saved.

        What it wants to say then waits for ``start``. Raises PlaneError if it cannot be started,
        KernelError if it would have no port.
        """
        if not self._is_started:
            self._sockets.check(self._versions())
        self._worker_since = time.monotonic()
        self._children.expect_all()
        self._ike_sas.clear()
        commands: list[Command] = [SetPeers(tuple(self._peers.values()))]
        commands += [Adopt(*one) for one in self._store.load()]
        await self._worker.start(commands)
        self._children.forget_untold()
        if self._is_started:
            self._sockets.give_all()
            self._initiation.begin_anew()
            self._installer.wake()

    def children(self, gateway: Gateway) -> dict[str, tuple[ChildSa, ...]]:
        """All CHILD_SAs as they have to be in force now, by tunnel name; for any thread.

        ``gateway`` may be newer than what they were made for: those that it does not allow are not
        among them.
        """
        return self._children.in_force(gateway)

    def children_of(self, tunnels: Iterable[str]) -> dict[str, tuple[ChildSa, ...]]:
        """Those of these tunnels alone; for any thread."""
        return self._children.of(tunnels)

    def state(self) -> IkeState:
        """For `status`."""
        now = time.monotonic()
        keyed, failures = self._children.peers(), self._notices.failures
        peers = report_ike(self._peers.values(), self._ike_sas, keyed, failures, now)
        gateway = self._gateway
        names = ((name, peer_name(gateway, name)) for name in gateway.tunnels)
        reports = {name: peers[peer] for name, peer in names if peer in peers}
        return IkeState(self.children(gateway), reports)

    def start(self, *, on_kernel: bool) -> None:
        """Opens the sockets and begins what is to begin by itself."""
        self.open_sockets(on_kernel=on_kernel)
        self._installer.start()
        self._is_started = True
        self._initiation.begin()

    def go_by(self, paths: Mapping[str, TunnelPaths]) -> None:
        """The paths as they are now: IKE SAs move to the best ones, and those to come use them.

        A peer whose IKE SA is on a lost path has a moment to move it by itself.
        """
        before, self._initiation.ways = self._ways.versions, Ways(paths)
        if self._is_started:
            if not self._ways.versions <= before:
                self.open_sockets(on_kernel=self._on_kernel)
            self._initiation.follow_ways()

    def open_sockets(self, *, on_kernel: bool) -> None:
        """Has what the gateway needs; again where the holder is another."""
        self._on_kernel = self._uses.on_kernel = on_kernel
        self._sockets.open(self._versions(), on_kernel=on_kernel)

    def _versions(self) -> list[int]:
        """The IP versions of peers, as far as they are known."""
        tunnels = self._gateway.tunnels.values()
        versions = {one.remote.version for one in tunnels if one.ike and one.outer_version}
        return sorted(versions | self._ways.versions)

    def follow_plane(self) -> None:
        """The engine may be another than before: what comes to it is to come here again."""
        if self._is_started:
            self.open_sockets(on_kernel=self._on_kernel)

    def let_go_of_held(self) -> None:
        """Closes what the holder of sockets gave, since it has ended."""
        self._sockets.let_go_of_held()

    def reload(self, loaded: LoadedGateway) -> None:
        """Other peers from now on; those that are as they were go on without a break."""
        self._gateway = loaded.gateway
        self._peers = {one.name: one for one in peers_of(loaded)}
        self._worker.tell(SetPeers(tuple(self._peers.values())))
        self._store.set_fingerprints(fingerprints_of(loaded))
        self._children.set_gateway(loaded.gateway)
        self._initiation.set_peers(loaded.gateway, self._peers)

    def acquire(self, reqid: int) -> None:
        """A packet wants an SA of the policies with that reqid."""
        self._initiation.acquire(reqid)

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
        for task in self._restarts:
            task.cancel()
        self._initiation.close()
        self._installer.close()
        self._responders.close()
        self._uses.close()
        self._worker.close()
        self._sockets.close()

    @property
    def _ways(self) -> Ways:
        return self._initiation.ways

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
        self._children.take(outcome.children)
        self._ike_sas |= outcome.ike_sas
        for peer in outcome.ike_sas:
            self._initiation.note_changed(peer)
        for notice in outcome.notices:
            if not notice.peer or notice.peer in self._peers:
                self._notices.tell(notice)
        self._uses.want(inbound_sas(self._gateway, self._children.of_peer, outcome.unheard))
        for query in outcome.questions:
            self._ask_responder(query)
        for awaited in outcome.awaited:
            if awaited.peer in self._peers:
                self._installer.expect_esp(awaited, self._ways.mark_of(awaited.path))
        if self._key_log is not None:
            for line in outcome.key_lines:
                self._key_log.note(line)
        if not self._is_started:
            self._installer.hold(outcome.datagrams)
        elif outcome.children and not self._says_farewell:
            self._installer.hold(outcome.datagrams)
            self._installer.wake()
        else:
            self._installer.send(outcome.datagrams)
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

    def _hear_end(self, how: str) -> None:
        if not self._says_farewell:
            task = asyncio.get_running_loop().create_task(self._start_again(how))
            self._restarts.add(task)
            task.add_done_callback(self._restarts.discard)

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
            except (PlaneError, KernelError) as error:
                self._log(f"error: {error}")
            else:
                return

    def _send(self, datagrams: Iterable[Datagram]) -> None:
        self._sockets.send((one, self._ways.mark_of(one.path)) for one in datagrams)
