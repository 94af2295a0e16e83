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
        self._packed = {
            tuple(None if one is None else one.packed for one in ends) for ends in self._peers
        }

    def has_any(self, here: bytes, there: bytes) -> bool:
        """Whether ``at`` has somebody for these addresses, of 4 or 16 octets each."""
        packed = self._packed
        return (
            (here, there) in packed
            or (None, there) in packed
            or (here, None) in packed
            or (None, None) in packed
        )

    def at(self, path: Path) -> list[PeerConfig]:
        """Those that are configured for both addresses before those for any."""
        here, there = path.local.address, path.remote.address
        keys = (here, there), (None, there), (here, None), (None, None)
        return [peer for key in keys for peer in self._peers.get(key, ())]
