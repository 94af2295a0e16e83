"""The Protocol that both data planes satisfy: the kernel, and the engine in user space.

Links, addresses and routes are the kernel's on both; a plane differs in what a link of ours is and
in who understands the XFRM messages.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from plutino.dataplane.engine_messages import EngineInfo, EngineLosses
from plutino.dataplane.underlay import SocketKind
from plutino.model.errors import BatchRefusedError
from plutino.model.interface import Interface
from plutino.model.link import Link, Route
from plutino.model.policy import Policy, PolicyDefaults
from plutino.model.sa import SaUse, SecurityAssociation
from plutino.netlink.route.links import LinkChange
from plutino.netlink.route_client import RouteClient


class DataPlane(Protocol):
    """Everything that ``apply`` and ``status`` ask of a data plane.

    Every method raises KernelError with errno and extack on refusal, and PlaneError if the plane
    itself cannot be reached. Those of many objects raise BatchRefusedError, which names the refused
    by their place; the others are done.
    """

    @property
    def name(self) -> str:
        """``kernel`` or ``userspace``."""
        ...

    @property
    def instance(self) -> str:
        """The tag that links of ours bear as ifalias, ``plutino:<instance>``."""
        ...

    def bind_links(self, links: tuple[Link, ...]) -> tuple[Link, ...]:
        """The links as rtnetlink shows them, completed with ``if_id`` and ``attached``."""
        ...

    def create_links(self, interfaces: Sequence[Interface]) -> None:
        """Make links, tagged with ifalias, down, with their MTU, bound to their if_id."""
        ...

    def attach_link(self, interface: Interface) -> None:
        """Serve an existing link of ours again, or with another if_id or MTU."""
        ...

    def delete_links(self, interfaces: Sequence[Interface]) -> None:
        """Take links of ours away; those that are not there are no error."""
        ...

    def bind_routes(self, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        """Routes into links of ours as rtnetlink shows them, completed with ``if_id``.

        After ``bind_links``, which finds out what links there are.
        """
        ...

    def add_routes(self, routes: Sequence[Route]) -> None:
        """Make routes; those into an external link carry an if_id."""
        ...

    def update_route(self, route: Route) -> None:
        """Put a route, which is not into an external link, in the place of another."""
        ...

    def delete_routes(self, routes: Sequence[Route]) -> None:
        """Take routes away."""
        ...

    def add_sas(self, sas: Sequence[SecurityAssociation]) -> None:
        """XFRM_MSG_NEWSA."""
        ...

    def update_sa(self, sa: SecurityAssociation) -> None:
        """XFRM_MSG_UPDSA: replace an SA of the same identity."""
        ...

    def move_sa(self, before: SecurityAssociation, after: SecurityAssociation) -> None:
        """Replace an SA by one of the same key, which goes on with its numbers.

        Nothing is sent or accepted under that key in between.
        """
        ...

    def delete_sas(self, sas: Sequence[SecurityAssociation]) -> None:
        """XFRM_MSG_DELSA."""
        ...

    def list_sas(self) -> tuple[tuple[SecurityAssociation, SaUse], ...]:
        """Dump of all SAs with their counters and replay state."""
        ...

    def add_policies(self, policies: Sequence[Policy]) -> None:
        """XFRM_MSG_NEWPOLICY."""
        ...

    def update_policy(self, policy: Policy) -> None:
        """XFRM_MSG_UPDPOLICY."""
        ...

    def delete_policies(self, policies: Sequence[Policy]) -> None:
        """XFRM_MSG_DELPOLICY."""
        ...

    def list_policies(self) -> tuple[Policy, ...]:
        """Dump of all policies."""
        ...

    def policy_defaults(self) -> PolicyDefaults | None:
        """What happens to packets that fit no policy; None where the plane cannot tell."""
        ...

    def former_defaults(self) -> PolicyDefaults | None:
        """What there was before ``set_policy_defaults``; None if nothing was set."""
        ...

    def set_policy_defaults(self, defaults: PolicyDefaults) -> None:
        """XFRM_MSG_SETDEFAULT; with what there was before, the matter is closed."""
        ...

    def xfrm_stat(self) -> Mapping[str, int]:
        """Drops by the names of ``/proc/net/xfrm_stat``."""
        ...

    def link_stats(self, interfaces: Iterable[Interface]) -> Mapping[str, Mapping[str, int]]:
        """Counters of ``struct rtnl_link_stats64`` by name; none of a link that is gone."""
        ...

    def close(self) -> None:
        """Let go of the connection; what is installed stays and goes on."""
        ...


def tag_links(client: RouteClient, names: Sequence[str], alias: str) -> None:
    """Make new links ours: a link that bears the alias is complete. Raises BatchRefusedError.

    With it goes IPv6's own address, so that nothing of the kernel's enters the tunnel uninvited,
    and multicast comes, which XFRM interfaces and VTIs lack and routing protocols need. Where there
    is no IPv6, the rest is set.
    """
    indexes = list(client.indexes_of(names).values())
    try:
        complete = LinkChange(alias=alias, multicast=True, no_link_local=True)
        client.set_links(dict.fromkeys(indexes, complete))
    except BatchRefusedError as error:
        refused = [indexes[place] for place in error.refused]
        client.set_links(dict.fromkeys(refused, LinkChange(alias=alias, multicast=True)))


class ManagedPlane(DataPlane, Protocol):
    """A plane with its beginning and its end, as passes and commands handle it."""

    def engine_info(self) -> EngineInfo | None:
        """The engine that stands behind it; None for the kernel."""
        ...

    def losses(self) -> EngineLosses:
        """What the engine had to tell and nobody got; nothing for the kernel."""
        ...

    def ensure_sockets(self, kinds: Iterable[SocketKind]) -> None:
        """Open the underlay sockets that are lacking."""
        ...

    def release_sockets(self, kinds: Iterable[SocketKind]) -> None:
        """Let go of underlay sockets but those, where holding them would be in others' way."""
        ...

    def missing_sockets(self, kinds: Iterable[SocketKind]) -> frozenset[SocketKind]:
        """Those of them that are lacking."""
        ...

    def objects_left(self) -> int:
        """Objects of others that would be lost by ``shutdown``, or of ours."""
        ...

    def shutdown(self) -> None:
        """End what stands behind the plane, if that can end."""
        ...
