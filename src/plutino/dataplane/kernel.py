"""The kernel as data plane: links of kind ``xfrm``, and its own SAs and policies.

All instances of a network namespace share one SAD and SPD. An SA or policy belongs to this
instance if its reqid is one that this instance has used, or if its if_id is that of a link with
this instance's tag.
"""

import errno
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Self

from plutino.dataplane.engine_messages import EngineInfo, EngineLosses
from plutino.dataplane.held_sockets import HeldSockets
from plutino.dataplane.journal import Journals
from plutino.dataplane.kernel_defaults import KernelDefaults
from plutino.dataplane.kernel_hints import sa_hint, with_hint
from plutino.dataplane.kernel_links import KernelLinks
from plutino.dataplane.moved_sa import delete_and_tell, with_numbers
from plutino.dataplane.older_kernels import for_older_kernels, without_outbound_window
from plutino.dataplane.runtime import RuntimePaths
from plutino.dataplane.underlay import UDP_KINDS, SocketKind
from plutino.dataplane.xfrm_stat import read_xfrm_stat
from plutino.model.errors import BatchRefusedError, KernelError, PlaneError
from plutino.model.interface import Interface
from plutino.model.link import Link, Route
from plutino.model.policy import Policy, PolicyDefaults
from plutino.model.sa import SaUse, SecurityAssociation
from plutino.netlink.route_clients import RouteClients
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.netlink.xfrm.constants import Group
from plutino.netlink.xfrm_client import XfrmClient


class KernelPlane:
    """``ManagedPlane`` over the kernel of the current network namespace."""

    name = "kernel"

    def __init__(
        self,
        instance: str,
        socket: NetlinkSocket,
        routes: RouteClients,
        journals: Journals,
        *,
        reqids: Iterable[int] = (),
        sockets: HeldSockets | None = None,
    ) -> None:
        self.instance = instance
        self._socket = socket
        self._xfrm = XfrmClient(socket)
        self._routes = routes
        self._links = KernelLinks(instance, routes, journals.links)
        self._defaults = KernelDefaults(self._xfrm, journals.defaults)
        self._reqids = journals.reqids
        self._configured = frozenset(reqids)
        self._sockets = sockets or HeldSockets(RuntimePaths.of(instance).holder_socket)

    @classmethod
    def connect(
        cls,
        instance: str,
        runtime: RuntimePaths,
        *,
        routes: RouteClients,
        reqids: Iterable[int] = (),
    ) -> Self:
        """Open the kernel's sockets. ``reqids`` are those of the configuration.

        ``routes`` stay the caller's. Raises PlaneError if the kernel has no XFRM.
        """
        journals = Journals.read(runtime)
        sockets = HeldSockets(runtime.holder_socket)
        socket = NetlinkSocket.kernel(NETLINK_XFRM)
        return cls(instance, socket, routes, journals, reqids=reqids, sockets=sockets)

    def close(self) -> None:
        """Close the connection; what is installed stays."""
        self._socket.close()

    # --- the plane itself

    def engine_info(self) -> EngineInfo | None:
        """There is none."""
        return None

    def losses(self) -> EngineLosses:
        """None: there is no engine that could lose anything."""
        return EngineLosses(0, 0)

    def ensure_sockets(self, kinds: Iterable[SocketKind]) -> None:
        """Have the sockets for ESP in UDP held; raw ESP needs none."""
        self._sockets.ensure(kinds)

    def release_sockets(self, kinds: Iterable[SocketKind]) -> None:
        """Close all others."""
        self._sockets.release(kinds)

    def missing_sockets(self, kinds: Iterable[SocketKind]) -> frozenset[SocketKind]:
        """Those for ESP in UDP that nothing is known to hold."""
        wanted = UDP_KINDS & set(kinds)
        if wanted:
            with suppress(PlaneError):
                return wanted - self._sockets.kinds()
        return wanted

    def objects_left(self) -> int:
        """None that would keep the plane: the kernel goes on anyway."""
        return 0

    def shutdown(self) -> None:
        """End the process that holds the sockets."""
        self._sockets.end()

    # --- links

    def bind_links(self, links: tuple[Link, ...]) -> tuple[Link, ...]:
        """The links; rtnetlink tells the if_id of XFRM interfaces itself."""
        return self._links.bind(links)

    def create_links(self, interfaces: Sequence[Interface]) -> None:
        """RTM_NEWLINK of kind ``xfrm`` or ``vti``."""
        self._links.create(interfaces)

    def attach_link(self, interface: Interface) -> None:
        """RTM_SETLINK, or a new one where the kernel cannot make the one of the other."""
        self._links.attach(interface)

    def delete_links(self, interfaces: Sequence[Interface]) -> None:
        """RTM_DELLINK."""
        self._links.delete(interfaces)

    # --- routes into links

    def add_routes(self, routes: Sequence[Route]) -> None:
        """RTM_NEWROUTE, with the if_id where the link is external."""
        self._routes.add_routes(routes)

    def update_route(self, route: Route) -> None:
        """RTM_NEWROUTE in the place of one of the same prefix, table and metric."""
        self._routes.replace_routes([route])

    def delete_routes(self, routes: Sequence[Route]) -> None:
        """RTM_DELROUTE."""
        self._routes.delete_routes(routes)

    def bind_routes(self, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        """The routes: the kernel's own tell the if_id themselves."""
        return routes

    # --- SAs and policies

    def add_sas(self, sas: Sequence[SecurityAssociation]) -> None:
        """XFRM_MSG_NEWSA, in the form that older kernels want where this one refuses."""
        self._reqids.note(str(int(sa.reqid)) for sa in sas)
        try:
            self._xfrm.add_sas(sas)
        except BatchRefusedError as error:
            refused = {
                place: with_hint(why, sa_hint(sas[place], why))
                for place, why in error.refused.items()
                if not self._add_for_older_kernels(sas[place], why)
            }
            if refused:
                raise BatchRefusedError(refused) from error

    def _add_for_older_kernels(self, sa: SecurityAssociation, why: KernelError) -> bool:
        older = for_older_kernels(sa)
        if why.errno != errno.EINVAL or older is None:
            return False
        try:
            self._xfrm.add_sa(older)
        except KernelError:
            return False
        return True

    def update_sa(self, sa: SecurityAssociation) -> None:
        """XFRM_MSG_UPDSA."""
        self._reqids.note([str(int(sa.reqid))])
        try:
            self._xfrm.update_sa(sa)
        except KernelError as error:
            older = for_older_kernels(sa)
            if error.errno != errno.EINVAL or older is None:
                raise
            try:
                self._xfrm.update_sa(older)
            except KernelError:
                raise error from None

    def move_sa(self, before: SecurityAssociation, after: SecurityAssociation) -> None:
        """XFRM_MSG_DELSA, which tells the last numbers, then XFRM_MSG_NEWSA with them."""
        with NetlinkSocket.kernel(NETLINK_XFRM, groups=Group.SA.bit) as events:
            last = delete_and_tell(self._xfrm, events, before)
        self.add_sas([with_numbers(after, last)])

    def delete_sas(self, sas: Sequence[SecurityAssociation]) -> None:
        """XFRM_MSG_DELSA."""
        self._xfrm.delete_sas(sas)

    def list_sas(self) -> tuple[tuple[SecurityAssociation, SaUse], ...]:
        """SAs of this instance with their counters and replay state."""
        own, reqids = self._links.own(), self._own_reqids()
        return tuple(
            (without_outbound_window(sa), use)
            for sa, use in self._xfrm.list_sas()
            if sa.reqid in reqids or own.use_sa(sa)
        )

    def add_policies(self, policies: Sequence[Policy]) -> None:
        """XFRM_MSG_NEWPOLICY."""
        self._note(policies)
        self._xfrm.add_policies(policies)

    def update_policy(self, policy: Policy) -> None:
        """XFRM_MSG_UPDPOLICY."""
        self._note([policy])
        self._xfrm.update_policy(policy)

    def delete_policies(self, policies: Sequence[Policy]) -> None:
        """XFRM_MSG_DELPOLICY; what acquires for them have left goes, too."""
        self._xfrm.delete_policies(policies)

    def list_policies(self) -> tuple[Policy, ...]:
        """Policies of this instance."""
        own, reqids = self._links.own(), self._own_reqids()
        return tuple(
            policy
            for policy in self._xfrm.list_policies()
            if own.use_policy(policy)
            or any(template.reqid in reqids for template in policy.templates)
        )

    def policy_defaults(self) -> PolicyDefaults | None:
        """XFRM_MSG_GETDEFAULT; None where the kernel has none."""
        return self._defaults.now()

    def former_defaults(self) -> PolicyDefaults | None:
        """What was there before ours, from the journal; None if ours are not set."""
        return self._defaults.former()

    def set_policy_defaults(self, defaults: PolicyDefaults) -> None:
        """XFRM_MSG_SETDEFAULT, after what is there was written down."""
        self._defaults.set(defaults)

    def _note(self, policies: Sequence[Policy]) -> None:
        self._reqids.note(str(int(one.reqid)) for policy in policies for one in policy.templates)

    def _own_reqids(self) -> frozenset[int]:
        return self._configured | {int(word) for word in self._reqids.words if word.isdigit()}

    # --- counters

    def xfrm_stat(self) -> Mapping[str, int]:
        """``/proc/net/xfrm_stat``, of the whole namespace; empty if the kernel keeps none."""
        return read_xfrm_stat()

    def link_stats(self, interfaces: Iterable[Interface]) -> Mapping[str, Mapping[str, int]]:
        """IFLA_STATS64."""
        return {one.name: self._routes[one.namespace].link_stats(one.name) for one in interfaces}
