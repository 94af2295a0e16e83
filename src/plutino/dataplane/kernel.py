"""The kernel as data plane: links of kind ``xfrm``, and its own SAs and policies.

All instances of a network namespace share one SAD and SPD. An SA or policy belongs to this
instance if its reqid is one that this instance has used, or if its if_id is that of a link with
this instance's tag.
"""

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

from plutino.dataplane.engine_messages import EngineInfo, EngineLosses
from plutino.dataplane.held_sockets import HeldSockets
from plutino.dataplane.journal import Journals
from plutino.dataplane.link_settings import forgo_routers
from plutino.dataplane.moved_sa import delete_and_tell, with_numbers
from plutino.dataplane.older_kernels import for_older_kernels, without_outbound_window
from plutino.dataplane.own_links import OwnLinks
from plutino.dataplane.plane import tag_links
from plutino.dataplane.runtime import RuntimePaths
from plutino.dataplane.underlay import UDP_KINDS, SocketKind
from plutino.model.errors import BatchRefusedError, KernelError, PlaneError
from plutino.model.interface import Interface
from plutino.model.link import Link, Route, link_alias
from plutino.model.policy import Default, Policy, PolicyDefaults
from plutino.model.sa import SaUse, SecurityAssociation
from plutino.netlink.route.links import KIND_XFRM, KINDS_VTI
from plutino.netlink.route_client import RouteClient
from plutino.netlink.route_clients import RouteClients, delete_interfaces
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.netlink.xfrm.constants import Group
from plutino.netlink.xfrm_client import XfrmClient

XFRM_STAT: Final = Path("/proc/thread-self/net/xfrm_stat")
"""Of the calling thread's network namespace."""


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
        self._alias = link_alias(instance)
        self._socket = socket
        self._xfrm = XfrmClient(socket)
        self._routes = routes
        self._reqids, self._links = journals.reqids, journals.links
        self._former = journals.defaults
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
        """The links; rtnetlink tells the if_id of XFRM interfaces itself.

        One that we made and had no time to tag is ours, and not attached yet.
        """
        return tuple(
            replace(link, alias=self._alias)
            if link.alias is None and _link_word(link) in self._links.words
            else replace(link, attached=link.kind in (KIND_XFRM, *KINDS_VTI))
            for link in links
        )

    def create_links(self, interfaces: Sequence[Interface]) -> None:
        """RTM_NEWLINK of kind ``xfrm`` or ``vti``; EEXIST if a name or an if_id is taken."""
        # A link gets its tag after it was made, by another request.
        words = [_word(one.name, one.if_id) for one in interfaces]
        self._links.note(words)
        refused: Mapping[int, KernelError] = {}
        try:
            self._routes.home.create_interfaces(interfaces)
        except BatchRefusedError as error:
            refused = {
                place: _with_hint(why, _link_hint(interfaces[place], why))
                for place, why in error.refused.items()
            }
        made = [one for place, one in enumerate(interfaces) if place not in refused]
        self._complete(made)
        self._links.forget(words)
        if refused:
            raise BatchRefusedError(refused)

    def _complete(self, interfaces: Sequence[Interface]) -> None:
        """Put new links where they belong, and make them ours, or take them away again."""
        try:
            for one in interfaces:
                if one.namespace is not None:
                    target = self._routes.descriptor(one.namespace)
                    self._routes.home.set_link(one.name, namespace=target)
                if one.vrf is not None:
                    self._routes[one.namespace].set_link(one.name, master=one.vrf)
            forgo_routers(self._routes, interfaces)
            self._routes.each(interfaces, self._tag)
        except (KernelError, PlaneError):
            for namespace in {None, *(one.namespace for one in interfaces)}:
                with suppress(KernelError, PlaneError):
                    delete_interfaces(self._routes[namespace], interfaces)
            raise

    def _tag(self, client: RouteClient, interfaces: Sequence[Interface]) -> None:
        tag_links(client, [one.name for one in interfaces], link_alias(self.instance))

    def attach_link(self, interface: Interface) -> None:
        """Another MTU, VRF, if_id, key or end for a link of ours; what else differs is new."""
        link = self._find_own(interface.name)
        step = f"serve link {interface.name}"
        if link is None:
            raise KernelError(step, errno.ENODEV, f"no link {interface.name} of ours")
        here = self._routes[link.namespace]
        word = _link_word(link)
        if word in self._links.words:
            here.delete_link(link.name)  # it was never completed
            self._links.forget([word])
            self.create_links([interface])
            return
        if self._is_another(link, interface):
            here.delete_link(link.name)
            self.create_links([interface])
            return
        if link.namespace != interface.namespace:
            here.set_link(link.name, namespace=self._routes.descriptor(interface.namespace))
            here = self._routes[interface.namespace]
            forgo_routers(self._routes, [interface])
            self._tag(here, [interface])
        if link.mtu != interface.mtu:
            here.set_link(interface.name, mtu=interface.mtu)
        if not link.multicast:
            here.set_link(interface.name, multicast=True)
        if (link.master is None) != (interface.vrf is None) or interface.vrf is not None:
            here.set_link(interface.name, master=interface.vrf or "")
        try:
            if interface.vti is None and (link.if_id or 0) != interface.if_id:
                here.set_xfrm_if_id(link, interface.if_id)
            elif interface.vti is not None and link.vti != interface.vti:
                here.set_vti_ends(link, interface.vti, interface.mtu)
        except KernelError as error:
            raise _with_hint(error, _link_hint(interface, error)) from error

    def _find_own(self, name: str) -> Link | None:
        """Our link of that name, in whatever namespace."""
        found = self.bind_links(self._routes.find_links(name))
        return next((one for one in found if one.alias == self._alias), None)

    def _is_another(self, link: Link, interface: Interface) -> bool:
        """Whether the kernel cannot make the one of the other."""
        if interface.vti is not None:
            return link.vti is None or link.vti.family != interface.vti.family
        underlying = None
        if interface.link is not None:
            found = self._routes.home.find_link(interface.link)
            underlying = None if found is None else found.index
        return (
            link.kind != KIND_XFRM
            or link.external != interface.external
            or link.underlying != underlying
        )

    def delete_links(self, interfaces: Sequence[Interface]) -> None:
        """RTM_DELLINK."""
        self._routes.each(interfaces, delete_interfaces)

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
                place: _with_hint(why, _sa_hint(sas[place], why))
                for place, why in error.refused.items()
                if not self._addfor_older_kernels(sas[place], why)
            }
            if refused:
                raise BatchRefusedError(refused) from error

    def _addfor_older_kernels(self, sa: SecurityAssociation, why: KernelError) -> bool:
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
        own, reqids = self._own_links(), self._own_reqids()
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
        own, reqids = self._own_links(), self._own_reqids()
        return tuple(
            policy
            for policy in self._xfrm.list_policies()
            if own.use_policy(policy)
            or any(template.reqid in reqids for template in policy.templates)
        )

    def policy_defaults(self) -> PolicyDefaults | None:
        """XFRM_MSG_GETDEFAULT; None where the kernel has none."""
        try:
            return self._xfrm.get_default()
        except KernelError:
            return None

    def former_defaults(self) -> PolicyDefaults | None:
        """What was there before ours, from the journal; None if ours are not set."""
        words = {word for word in self._former.words if word}
        return parse_defaults(words.pop()) if len(words) == 1 else None

    def set_policy_defaults(self, defaults: PolicyDefaults) -> None:
        """XFRM_MSG_SETDEFAULT, after what is there was written down."""
        before = self.former_defaults()
        if before is None:
            self._former.note([encode_defaults(self._xfrm.get_default())])
        self._xfrm.set_default(defaults)
        if defaults == before:
            self._former.forget(list(self._former.words))

    def _note(self, policies: Sequence[Policy]) -> None:
        self._reqids.note(str(int(one.reqid)) for policy in policies for one in policy.templates)

    def _own_reqids(self) -> frozenset[int]:
        return self._configured | {int(word) for word in self._reqids.words if word.isdigit()}

    def _own_links(self) -> OwnLinks:
        return OwnLinks.among(self.bind_links(self._routes.list_links()), self._alias)

    # --- counters

    def xfrm_stat(self) -> Mapping[str, int]:
        """``/proc/net/xfrm_stat``, of the whole namespace; empty if the kernel keeps none."""
        try:
            return parse_xfrm_stat(XFRM_STAT.read_text())
        except OSError:
            return {}

    def link_stats(self, interfaces: Iterable[Interface]) -> Mapping[str, Mapping[str, int]]:
        """IFLA_STATS64."""
        return {one.name: self._routes[one.namespace].link_stats(one.name) for one in interfaces}


def encode_defaults(defaults: PolicyDefaults) -> str:
    """Policy defaults in one line of a journal."""
    return " ".join(
        one.name.lower() for one in (defaults.inbound, defaults.forward, defaults.outbound)
    )


def parse_defaults(line: str) -> PolicyDefaults | None:
    """From a line of a journal; None if it is damaged."""
    words = line.split()
    try:
        verdicts = [Default[word.upper()] for word in words]
    except KeyError:
        return None
    return PolicyDefaults(*verdicts) if len(verdicts) == 3 else None


def _word(name: str, if_id: int) -> str:
    """A link in the journal."""
    return f"{name} {int(if_id)}"


def _link_word(link: Link) -> str:
    return _word(link.name, link.if_id or 0)


def parse_xfrm_stat(text: str) -> Mapping[str, int]:
    """Names and numbers of ``/proc/net/xfrm_stat``; other lines are left out."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def kernel_release() -> str:
    """As ``uname -r`` has it."""
    return os.uname().release


def _with_hint(error: KernelError, hint: str | None) -> KernelError:
    return KernelError(error.step, error.errno, error.extack, hint)


def _link_hint(interface: Interface, error: KernelError) -> str | None:
    if error.errno == errno.EEXIST and interface.vti is not None:
        return (
            "another VTI has the same ends, whatever its keys (see `ip -d link show type vti` and "
            "`type vti6`): remove it, or use an XFRM interface (`plutino import vti`)"
        )
    if error.errno == errno.EEXIST:
        return (
            f"another XFRM interface has if_id {int(interface.if_id)} (see `ip -d link show type "
            "xfrm`): remove it, or give the tunnel an `if-id` of its own"
        )
    if error.errno in (errno.EOPNOTSUPP, errno.ENODEV):
        kind = "XFRM interfaces" if interface.vti is None else "VTIs"
        return f"this kernel has no {kind}; `plutino doctor` tells what it has"
    return None


def _sa_hint(sa: SecurityAssociation, error: KernelError) -> str | None:
    if error.errno in (errno.EPROTONOSUPPORT, errno.ENOENT, errno.ENOSYS):
        return "this kernel cannot do that; `plutino doctor` tells what it can"
    if error.errno == errno.EEXIST:
        return "an SA of others has that address and SPI: see `ip xfrm state`"
    if error.errno == errno.EINVAL and sa.offload is not None:
        return "the device takes no such SA over: remove `offload`, or choose another mode of it"
    return None
