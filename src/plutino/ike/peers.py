"""Who may connect: by name, by the addresses of a path before anybody has said who it is, and by
identities.
"""

from collections.abc import Iterable

from plutino.ike.config import PeerConfig
from plutino.ike.path import Path
from plutino.model.policy import IpAddress


class Peers:
    """The peers of a gateway; where an address of theirs is None, any is meant."""

    def __init__(self, peers: Iterable[PeerConfig]) -> None:
        self.by_name = {peer.name: peer for peer in peers}
        self._by_ends: dict[tuple[IpAddress | None, IpAddress | None], list[PeerConfig]] = {}
        self._by_identities: dict[object, list[str]] = {}
        for peer in self.by_name.values():
            self._by_identities.setdefault(peer.identities, []).append(peer.name)
            for remote in peer.remotes or (None,):
                self._by_ends.setdefault((peer.local, remote), []).append(peer)
        self._packed = {
            tuple(None if one is None else one.packed for one in ends) for ends in self._by_ends
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
        return [peer for key in keys for peer in self._by_ends.get(key, ())]

    def namesakes(self, name: str) -> list[str]:
        """All between the same identities, itself among them; itself alone if it is gone."""
        peer = self.by_name.get(name)
        return [name] if peer is None else self._by_identities[peer.identities]
