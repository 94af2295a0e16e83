"""Where peers are whose address the file does not say: put in before anything is planned. Pure.

Planning sees addresses alone. A peer that IKE has not met, and whose name has not been resolved, is
at the unspecified address: its tunnel has interface, addresses, routes and guard, so that nothing
leaves in clear, but neither SAs nor policies.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from plutino.config.gateway import Gateway
from plutino.config.tunnel import Tunnel
from plutino.desired.child_sas import sending_child
from plutino.model.child_sa import ChildSa
from plutino.model.policy import IpAddress

Resolved = Mapping[tuple[str, int | None], IpAddress]
"""The addresses of host names, by name and the IP version that was asked for, None for either."""
NOT_RESOLVED: Final[Resolved] = {}


def with_remotes(
    gateway: Gateway, children: Mapping[str, Sequence[ChildSa]], resolved: Resolved = NOT_RESOLVED
) -> Gateway:
    """The gateway with each roaming peer where its CHILD_SA is, or else where its name leads."""
    found = {
        name: tunnel.at(address)
        for name, tunnel in gateway.tunnels.items()
        if tunnel.is_roaming
        and (address := _remote(tunnel, _children(name, tunnel, children), resolved)) is not None
    }
    return gateway.model_copy(update={"tunnels": gateway.tunnels | found}) if found else gateway


def _children(
    name: str, tunnel: Tunnel, children: Mapping[str, Sequence[ChildSa]]
) -> Sequence[ChildSa]:
    """Its own, or else those of the tunnel at which its IKE SA stands."""
    shared = None if tunnel.ike is None else tunnel.ike.ike_sa_of
    return children.get(name, ()) or children.get(shared or name, ())


def _remote(tunnel: Tunnel, children: Sequence[ChildSa], resolved: Resolved) -> IpAddress | None:
    child = sending_child(children) or next(iter(children), None)
    if child is not None:
        return child.remote
    question = tunnel.name_question
    address = None if question is None else resolved.get(question)
    return None if address == tunnel.local else address  # a name that leads to ourselves
