"""The CHILD_SAs that the IKE process tells of, as far as they are to be in force."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from plutino.config.gateway import Gateway
from plutino.daemon.ike_peers import may_have, peer_name
from plutino.daemon.peer_spis import PeerSpis
from plutino.daemon.same_ends import SameEnds
from plutino.model.child_sa import ChildSa


class IkeChildren:
    """By peer, whatever has become of the process: only such as the file allows.

    ``log`` is told of those that go without. Other threads may ask ``in_force``, ``of``
    and ``peers``.
    """

    def __init__(self, gateway: Gateway, log: Callable[[str], None]) -> None:
        self._log = log
        self._by_peer: dict[str, tuple[ChildSa, ...]] = {}
        self._told: set[str] = set()
        self._changed: set[str] = set()
        self._peer_spis = PeerSpis(log)
        self.set_gateway(gateway)

    def set_gateway(self, gateway: Gateway) -> None:
        """The file by which those to come are judged."""
        self._gateway = gateway
        self._same_ends = SameEnds(gateway)

    def expect_all(self) -> None:
        """Another process tells of all that it has, from the start."""
        self._told = set()

    def forget_untold(self) -> None:
        """That was all: what it has not told of is gone."""
        for name in self._by_peer.keys() - self._told:
            gone = self._by_peer.pop(name)
            self._peer_spis.allot(name, gone, ())
            self._changed |= {one.tunnel for one in gone}

    def take(self, told: Mapping[str, Sequence[ChildSa]]) -> None:
        """All that these peers have by now."""
        for peer, several in told.items():
            before = self._by_peer.get(peer, ())
            allowed = [one for one in several if self._is_allowed(peer, one)]
            self._by_peer[peer] = self._peer_spis.allot(peer, before, allowed)
            self._changed |= {one.tunnel for one in {*before} ^ {*self._by_peer[peer]}}
        self._told |= told.keys()

    def take_changed(self) -> frozenset[str]:
        """The tunnels that have had others until this was asked before."""
        changed, self._changed = self._changed, set()
        return frozenset(changed)

    def in_force(self, gateway: Gateway) -> dict[str, tuple[ChildSa, ...]]:
        """All, by tunnel name.

        ``gateway`` may be newer than what they were made for: those that it does not allow are not
        among them.
        """
        found: dict[str, tuple[ChildSa, ...]] = {}
        # A copy in one step, since passes ask from another thread.
        for peer, several in self._by_peer.copy().items():
            for one in several:
                if may_have(gateway, peer, one):
                    found[one.tunnel] = (*found.get(one.tunnel, ()), one)
        return found

    def of(self, tunnels: Iterable[str]) -> dict[str, tuple[ChildSa, ...]]:
        """Those of these tunnels alone."""
        gateway = self._gateway
        found = {}
        for tunnel in tunnels:
            peer = peer_name(gateway, tunnel) if tunnel in gateway.tunnels else None
            several = () if peer is None else self._by_peer.get(peer, ())
            found[tunnel] = tuple(one for one in several if one.tunnel == tunnel)
        return found

    def of_peer(self, peer: str) -> tuple[ChildSa, ...]:
        """Those of one peer."""
        return self._by_peer.get(peer, ())

    def peers(self) -> set[str]:
        """Who has any."""
        return {peer for peer, children in self._by_peer.copy().items() if children}

    def _is_allowed(self, peer: str, child: ChildSa) -> bool:
        if may_have(self._gateway, peer, child):
            other = self._same_ends.taken_by(child, self.of)
            if other is None:
                return True
            why = f"tunnel '{other}' has {child.remote} on the same interface"
            self._log(f"error: no CHILD_SA for tunnel '{child.tunnel}': {why}")
            return False
        self._log(f"error: IKE wants a CHILD_SA that tunnel '{peer}' does not allow: it has none")
        return False
