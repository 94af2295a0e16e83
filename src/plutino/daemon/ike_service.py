"""The edge of IKE: sockets, clock, randomness and the data plane around the sans-IO core.

What the core wants to send waits until the CHILD_SAs that it tells of are in force: a responder
receives by a new one before the peer hears of it.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from plutino.config.files import LoadedGateway
from plutino.daemon.ike_peers import Ways, child_sas, fingerprints_of, peers_of
from plutino.daemon.ike_sockets import IkeSockets
from plutino.daemon.ike_status import IkeState, report_ike
from plutino.daemon.ike_store import IkeStore
from plutino.daemon.key_log import KeyLog
from plutino.dataplane.engine_messages import EngineIke
from plutino.dataplane.mappings import NewMapping
from plutino.dataplane.runtime import RuntimePaths
from plutino.desired.sas import tunnel_reqid
from plutino.ike.endpoint import Endpoint
from plutino.ike.events import (
    ChildrenChanged,
    Event,
    IkeClosed,
    IkeEstablished,
    PathChanged,
    Refused,
)
from plutino.ike.path import Datagram, Path, SocketAddress
from plutino.ike.saved import SavedStateError
from plutino.model.child_sa import ChildSa
from plutino.model.errors import PlutinoError
from plutino.model.path import TunnelPaths

Log = Callable[[str], None]
_INSTALLS: Final = (ChildrenChanged, PathChanged)
_PATIENCE: Final = 1.0
"""Seconds that the end which began an IKE SA has to move it off a lost path."""
_QUIET: Final = 10.0
"""Seconds between lines about refused handshakes of whoever it may be."""
_FAREWELL: Final = 1.0
"""Seconds for peers to answer that they let go, too."""


class IkeService:
    """Keys for the tunnels of a gateway; ``install`` makes the plane as ``children`` say."""

    def __init__(
        self,
        loaded: LoadedGateway,
        runtime: RuntimePaths,
        install: Callable[[], Awaitable[object]],
        log: Log,
        key_log: KeyLog | None = None,
    ) -> None:
        self._loaded = loaded
        self._install = install
        self._log = log
        self._ways = Ways({})
        self._leaving: asyncio.TimerHandle | None = None
        self._is_started = False
        self._begun: set[str] = set()
        self._sockets = IkeSockets(runtime, self._receive)
        self._endpoint = Endpoint(
            peers_of(loaded),
            random=os.urandom,
            date=_date,
            note_keys=None if key_log is None else key_log.note,
        )
        self._store = IkeStore(runtime, fingerprints_of(loaded), log)
        self._failures: dict[str, str] = {}
        self._quiet_until, self._untold = 0.0, 0
        self._held: list[Datagram] = []
        self._wake = asyncio.Event()
        self._gone = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._adopt()

    def _adopt(self) -> None:
        """Goes on with what another daemon has saved; what it wants to say waits for sockets."""
        for name, spi, saved in self._store.load():
            try:
                self._endpoint.adopt(saved, time.monotonic())
            except SavedStateError as error:
                self._log(f"tunnel '{name}': its saved IKE SA cannot be used: {error}")
                self._store.keep({(name, spi): None})
        self._store.keep(self._endpoint.states_to_save())

    def children(self) -> dict[str, tuple[ChildSa, ...]]:
        """All CHILD_SAs as they have to be in force now, by tunnel name."""
        return child_sas(self._endpoint.child_sas())

    def state(self) -> IkeState:
        """For `status`."""
        reports = report_ike(self._endpoint, self._failures, time.monotonic())
        return IkeState(self.children(), reports)

    def start(self, *, on_kernel: bool) -> None:
        """Opens the sockets and begins what is to begin by itself."""
        self.open_sockets(on_kernel=on_kernel)
        self._task = asyncio.create_task(self._install_and_send())
        self._is_started = True
        self._begin()

    def go_by(self, paths: Mapping[str, TunnelPaths]) -> None:
        """The paths as they are now: IKE SAs move to the best ones, and those to come use them.

        A peer whose IKE SA is on a lost path has a moment to move it by itself.
        """
        self._ways = Ways(paths)
        if self._is_started:
            self._begin()
            self._take_best(patient=True)
            if self._leaving is None and any(map(self._ways.lost, paths)):
                loop = asyncio.get_running_loop()
                self._leaving = loop.call_later(_PATIENCE, self._leave_lost)

    def _leave_lost(self) -> None:
        self._leaving = None
        self._take_best(patient=False)

    def _take_best(self, *, patient: bool) -> None:
        now = time.monotonic()
        for name in self._endpoint.peers:
            path = self._ways.first(name)
            if path is not None:
                lost = frozenset() if patient else self._ways.lost(name)
                self._endpoint.go_by(name, path, lost, now)
        self._after()

    def open_sockets(self, *, on_kernel: bool) -> None:
        """Has what the gateway needs; again where the holder is another."""
        tunnels = self._loaded.gateway.tunnels.values()
        versions = {tunnel.remote.version for tunnel in tunnels if tunnel.ike is not None}
        self._sockets.open(sorted(versions), on_kernel=on_kernel)

    def let_go_of_held(self) -> None:
        """Closes what the holder of sockets gave, since it has ended."""
        self._sockets.let_go_of_held()

    def reload(self, loaded: LoadedGateway) -> None:
        """Other peers from now on; those that are as they were go on without a break."""
        now = time.monotonic()
        before, after = self._endpoint.peers, {one.name: one for one in peers_of(loaded)}
        for name, peer in before.items():
            if after.get(name) != peer:
                self._endpoint.let_down(name, now)
        self._endpoint.set_peers(after.values())
        self._store.set_fingerprints(fingerprints_of(loaded))
        self._loaded = loaded
        self._begun &= {name for name, peer in after.items() if before.get(name) == peer}
        self._begin()

    def hear_engine(self, message: EngineIke) -> None:
        """What came to the engine's port 4500."""
        self._sockets.hear_engine(message)

    def acquire(self, reqid: int) -> None:
        """A packet wants an SA of the policies with that reqid."""
        gateway = self._loaded.gateway
        for name, tunnel in gateway.tunnels.items():
            on_traffic = tunnel.ike is not None and tunnel.ike.start != "listen"
            path = self._ways.first(name)
            if on_traffic and path and tunnel_reqid(gateway.instance, name) == reqid:
                self._endpoint.acquire(name, name, path, time.monotonic())
                self._after()

    def follow_mapping(self, mapping: NewMapping) -> None:
        """ESP of a peer behind a NAT comes from elsewhere by now."""
        spi = mapping.spi.to_bytes(4, "big")
        remote = SocketAddress(mapping.address, mapping.port)
        self._endpoint.follow_mapping(spi, remote, time.monotonic())
        self._after()

    async def leave(self) -> None:
        """Tells all peers that it is over, and gives them a moment to answer."""
        now = time.monotonic()
        for name in self._endpoint.peers:
            self._endpoint.let_down(name, now)
        self._endpoint.set_peers(())  # they would come back at once
        self._gone.clear()
        self._after()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), _FAREWELL)

    def close(self) -> None:
        """Stops without a word to the peers: the tunnels stay up."""
        for timer in (self._timer, self._leaving):
            if timer is not None:
                timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._sockets.close()

    def _begin(self) -> None:
        """Begins what is to begin by itself and has not yet, where there is an address for it."""
        now = time.monotonic()
        for name, tunnel in self._loaded.gateway.tunnels.items():
            wanted = tunnel.ike is not None and tunnel.ike.start == "now"
            path = self._ways.first(name)
            if wanted and path is not None and name not in self._begun:
                self._begun.add(name)
                self._endpoint.keep_up(name, path, [name], now)
        self._after()

    def _receive(self, payload: bytes, path: Path) -> None:
        self._endpoint.receive(payload, path, time.monotonic())
        self._after()

    def _after(self) -> None:
        """Takes what the core has to say, and sets the alarm for what is due next.

        What is said is kept first: a daemon that is killed then is followed by one that knows.
        """
        self._store.keep(self._endpoint.states_to_save())
        datagrams = self._endpoint.datagrams_to_send()
        events = self._endpoint.next_events()
        for event in events:
            self._tell(event)
        if any(isinstance(event, _INSTALLS) for event in events):
            self._held += datagrams
            self._wake.set()
        else:
            self._send(datagrams)
        if not self._endpoint.sessions:
            self._gone.set()
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._endpoint.next_timer()
        if due is not None:
            delay = max(due - time.monotonic(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._endpoint.handle_timer(time.monotonic())
        self._after()

    async def _install_and_send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting = len(self._held)
            try:
                await self._install()
            except PlutinoError as error:
                self._log(f"error: {error}")
            ready, self._held = self._held[:waiting], self._held[waiting:]
            self._send(ready)
            if self._held:
                self._wake.set()

    def _send(self, datagrams: list[Datagram]) -> None:
        for one in datagrams:
            # A network that refuses it now may take it when it is sent again.
            with suppress(OSError, PlutinoError):
                self._sockets.send(one, self._ways.mark_of(one.path))

    def _tell(self, event: Event) -> None:
        match event:
            case IkeEstablished(peer=peer, replaces=None):
                self._failures.pop(peer, None)
                self._log(f"tunnel '{peer}': the IKE SA is up")
            case IkeClosed(peer=peer, reason=reason, has_successor=False):
                self._failures[peer] = reason
                self._log(f"tunnel '{peer}': the IKE SA has ended: {reason}")
            case Refused(peer="", reason=reason):
                self._tell_of_stranger(reason)
            case Refused(peer=peer, reason=reason):
                self._failures[peer] = reason
                self._log(f"tunnel '{peer}': {reason}")

    def _tell_of_stranger(self, reason: str) -> None:
        """Anybody can cause these, and nobody shall fill the log with them."""
        now = time.monotonic()
        if now < self._quiet_until:
            self._untold += 1
            return
        more = f" (and {self._untold} others since the last time)" if self._untold else ""
        self._log(f"{reason}{more}")
        self._quiet_until, self._untold = now + _QUIET, 0


def _date() -> datetime:
    return datetime.now(UTC)
