"""CHILD_SAs of transport mode of one interface, which are for the packets of their ends. Pure.

Where a peer is a NAT chooses, or the peer itself (MOBIKE), so that two may be at one address, or
say so. Two tunnels of an interface cannot have the same policies: who has them first keeps them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product

from plutino.config.gateway import Gateway
from plutino.config.numbers import tunnel_if_id
from plutino.model.child_sa import ChildSa
from plutino.model.policy import Mode

ChildrenOf = Callable[[Iterable[str]], Mapping[str, Sequence[ChildSa]]]
"""Those in force of some tunnels, by name."""


class SameEnds:
    """The tunnels of transport mode of a gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._by_interface: dict[str, list[str]] = defaultdict(list)
        for name, tunnel in gateway.tunnels.items():
            if tunnel.mode == "transport":
                self._by_interface[tunnel.interface].append(name)

    def taken_by(self, child: ChildSa, children_of: ChildrenOf) -> str | None:
        """The other tunnel that packets of a CHILD_SA are of already, if there is one."""
        if child.mode is not Mode.TRANSPORT:
            return None
        tunnels = self._gateway.tunnels
        several = self._by_interface[tunnels[child.tunnel].interface]
        if_id = tunnel_if_id(self._gateway, child.tunnel)
        for name, others in children_of(one for one in several if one != child.tunnel).items():
            at_ends = (one for one in others if one.mode is Mode.TRANSPORT)
            is_beside = tunnel_if_id(self._gateway, name) == if_id
            if is_beside and any(_share(child, one) for one in at_ends):
                return name
        return None


def _share(one: ChildSa, other: ChildSa) -> bool:
    sides = (one.local_ts, other.local_ts), (one.remote_ts, other.remote_ts)
    return all(
        any(a.of_any_type.overlaps(b.of_any_type) for a, b in product(*several))
        for several in sides
    )
