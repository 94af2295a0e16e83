"""One CHILD_SA for each SPI of a peer's address: a data plane knows an SA by these alone.

RFC 4301, 4.1. Two peers behind one NAT, or one peer by two IKE SAs, may choose the same.
"""

from collections.abc import Callable, Iterable

from plutino.model.child_sa import ChildSa
from plutino.model.numbers import Spi
from plutino.model.policy import IpAddress


class PeerSpis:
    """First come, first served; ``log`` is told who goes without."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._owners: dict[tuple[IpAddress, Spi], tuple[str, Spi]] = {}

    def allot(
        self, peer: str, before: Iterable[ChildSa], now: Iterable[ChildSa]
    ) -> tuple[ChildSa, ...]:
        """Of a peer's CHILD_SAs in the place of others those that have their SPI to themselves."""
        for one in before:
            if self._owners.get((one.remote, one.spi_out)) == (peer, one.spi_in):
                del self._owners[one.remote, one.spi_out]
        return tuple(one for one in now if self._has(peer, one))

    def _has(self, peer: str, child: ChildSa) -> bool:
        key, mine = (child.remote, child.spi_out), (peer, child.spi_in)
        owner = self._owners.setdefault(key, mine)
        if owner != mine:
            why = f"{child.remote} has SPI {child.spi_out:#x} for tunnel '{owner[0]}' already"
            self._log(f"error: no CHILD_SA for tunnel '{child.tunnel}': {why}")
        return owner == mine
