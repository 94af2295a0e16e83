"""Which IKE SAs are begun from here, and by which paths they and others go."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from plutino.config.gateway import Gateway
from plutino.daemon.ike_peers import Ways, peer_name, starts_now
from plutino.desired.sas import tunnel_reqid
from plutino.ike.config import PeerConfig
from plutino.ike_process.commands import Acquire, Command, GoBy, KeepUp, SetOwnAddresses

_PATIENCE: Final = 1.0
"""Seconds that the end which began an IKE SA has to move it off a lost path."""


class IkeInitiation:
    """What the process has been told of each peer; ``tell`` passes commands to it."""

    def __init__(
        self,
        gateway: Gateway,
        peers: Mapping[str, PeerConfig],
        tell: Callable[..., None],
    ) -> None:
        self.ways = Ways({})
        self._gateway = gateway
        self._peers = peers
        self._tell = tell
        self._begun: set[str] = set()
        self._aims: dict[str, GoBy] = {}
        self._told_addresses: frozenset[SetOwnAddresses] = frozenset()
        self._reqids: dict[int, list[str]] = {}
        self._leaving: asyncio.TimerHandle | None = None

    def set_peers(self, gateway: Gateway, peers: Mapping[str, PeerConfig]) -> None:
        """Other peers from now on; those that are as they were are not begun again."""
        before, self._peers, self._gateway = self._peers, peers, gateway
        self._reqids.clear()
        self._aims.clear()
        self._begun &= {name for name, peer in peers.items() if before.get(name) == peer}
        self.begin()

    def begin_anew(self) -> None:
        """The process is another one, which has been told nothing."""
        self._begun.clear()
        self._aims.clear()
        self._told_addresses = frozenset()
        self.begin()
        self._take_best(patient=True)

    def follow_ways(self) -> None:
        """They have changed: IKE SAs move to the best ones.

        A peer whose IKE SA is on a lost path has a moment to move it by itself.
        """
        self.begin()
        self._take_best(patient=True)
        if self._leaving is None and self.ways.is_any_lost:
            loop = asyncio.get_running_loop()
            self._leaving = loop.call_later(_PATIENCE, self._leave_lost)

    def begin(self) -> None:
        """Begins what is to begin by itself and has not yet, where there is an address for it."""
        self._tell_addresses()
        tunnels = self._gateway.tunnels
        commands: list[Command] = []
        for name, peer in self._peers.items():
            if name in self._begun:
                continue
            wanted = tuple(one.name for one in peer.children if starts_now(tunnels[one.name]))
            path = self.ways.first(name)
            if wanted and path is not None:
                self._begun.add(name)
                commands.append(KeepUp(name, path, wanted))
        self._tell(*commands)

    def _tell_addresses(self) -> None:
        """What is news of them; who has no further ones any more is told of none."""
        before, now = self._told_addresses, set(self.ways.own_addresses(self._peers))
        gone = {one.peer for one in before} - {one.peer for one in now}
        now |= {SetOwnAddresses(name, ()) for name in gone if name in self._peers}
        self._tell(*(now - before))
        self._told_addresses = frozenset(now)

    def acquire(self, reqid: int) -> None:
        """A packet wants an SA of the policies with that reqid."""
        gateway = self._gateway
        if not self._reqids:
            for name, tunnel in gateway.tunnels.items():
                if tunnel.ike is not None and tunnel.ike.start != "listen":
                    own = tunnel_reqid(gateway.instance, name)
                    self._reqids.setdefault(own, []).append(name)
        for name in self._reqids.get(reqid, ()):
            peer, path = peer_name(gateway, name), self.ways.first(name)
            if peer is not None and path is not None:
                self._tell(Acquire(peer, name, path))

    def note_changed(self, peer: str) -> None:
        """Its IKE SAs have changed, so that it is told of its path again."""
        self._aims.pop(peer, None)

    def close(self) -> None:
        """Waits for no peer any more."""
        if self._leaving is not None:
            self._leaving.cancel()

    def _leave_lost(self) -> None:
        self._leaving = None
        self._take_best(patient=False)

    def _take_best(self, *, patient: bool) -> None:
        """Told to the process where it is news, or where its IKE SAs have changed since."""
        paths = ((name, self.ways.first(name)) for name in self._peers)
        wanted = {
            name: GoBy(name, path, frozenset() if patient else self.ways.lost(name))
            for name, path in paths
            if path is not None
        }
        self._tell(*(one for name, one in wanted.items() if self._aims.get(name) != one))
        self._aims = wanted
