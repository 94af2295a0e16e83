"""Whom a path may belong to, before anybody has said who it is."""

from collections.abc import Iterable

from plutino.ike.config import PeerConfig
from plutino.ike.path import Path
from plutino.model.policy import IpAddress


class PeersByAddress:
    """Peers of a gateway by the addresses that they are configured for, None for any."""

    def __init__(self, peers: Iterable[PeerConfig]) -> None:
        self._peers: dict[tuple[IpAddress | None, IpAddress | None], list[PeerConfig]] = {}
        for peer in peers:
            for remote in peer.remotes or (None,):
                self._peers.setdefault((peer.local, remote), []).append(peer)

    def at(self, path: Path) -> list[PeerConfig]:
        """Those that are configured for both addresses before those for any."""
        here, there = path.local.address, path.remote.address
        keys = (here, there), (None, there), (here, None), (None, None)
        return [peer for key in keys for peer in self._peers.get(key, ())]
