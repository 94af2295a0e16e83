"""The user-space plane: TUN links, and the engine that stands behind them."""

import errno
import os
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import Final, Self

from plutino.dataplane.engine_client import MOST_DESCRIPTORS, EngineClient
from plutino.dataplane.engine_messages import EngineDevice, EngineInfo, EngineLosses, NewDevice
from plutino.dataplane.engine_process import start_engine
from plutino.dataplane.link_settings import forgo_routers, settle_link
from plutino.dataplane.moved_sa import delete_and_tell, with_numbers
from plutino.dataplane.plane import tag_links
from plutino.dataplane.runtime import RuntimePaths
from plutino.dataplane.tun import check_open_files, open_queues
from plutino.dataplane.underlay import SocketKind, open_socket
from plutino.model.errors import BatchRefusedError, KernelError, PlaneError
from plutino.model.interface import Interface
from plutino.model.link import Link, Namespace, Route, link_alias
from plutino.model.numbers import IfId
from plutino.model.policy import Default, Policy, PolicyDefaults
from plutino.model.sa import SaUse, SecurityAssociation
from plutino.netlink.route.links import LinkChange
from plutino.netlink.route_client import RouteClient
from plutino.netlink.route_clients import RouteClients, delete_interfaces
from plutino.netlink.xfrm.constants import Group
from plutino.netlink.xfrm_client import XfrmClient

_NEW_ENGINE: Final = PolicyDefaults(Default.ACCEPT, Default.ACCEPT, Default.ACCEPT)


class UserspacePlane:
    """``DataPlane`` over the engine of one instance."""

    name = "userspace"

    def __init__(self, instance: str, client: EngineClient, routes: RouteClients) -> None:
        self.instance = instance
        self._client = client
        self._routes = routes
        self._count = 0
        self._external: str | None = None
        self._xfrm = XfrmClient(client.socket)

    @classmethod
    def connect(
        cls, instance: str, runtime: RuntimePaths, *, routes: RouteClients, start: bool
    ) -> Self:
        """Reach the engine, which is started if ``start`` says so. Raises PlaneError.

        ``routes`` stay the caller's.
        """
        if start:
            start_engine(runtime)
        return cls(instance, EngineClient(runtime.engine_socket), routes)

    def close(self) -> None:
        """Close the connection; the engine goes on."""
        self._client.close()

    # --- the engine itself

    def engine_info(self) -> EngineInfo:
        """Who answers."""
        return self._client.info()

    def losses(self) -> EngineLosses:
        """What the engine had to tell and nobody got."""
        return self._client.losses()

    def ensure_sockets(self, kinds: Iterable[SocketKind]) -> None:
        """Open the underlay sockets that the engine lacks and hand them over."""
        there = self._client.list_sockets()
        for kind in sorted(set(kinds) - set(there)):
            with open_socket(kind) as opened:
                self._client.new_socket(kind, opened.fileno())

    def release_sockets(self, kinds: Iterable[SocketKind]) -> None:
        """The engine keeps what it has until it ends."""

    def missing_sockets(self, kinds: Iterable[SocketKind]) -> frozenset[SocketKind]:
        """Those that the engine lacks."""
        return frozenset(kinds) - {SocketKind(kind) for kind in self._client.list_sockets()}

    def objects_left(self) -> int:
        """Devices, SAs and policies that the engine holds, whoever made them.

        A device whose link has gone, as with its namespace, is nobody's any more.
        """
        policies = self._xfrm.spd_info()
        return (
            sum(one.attached for one in self._client.list_devices())
            + self._xfrm.sad_info().count
            + policies.incnt
            + policies.outcnt
            + policies.fwdcnt
        )

    def shutdown(self) -> None:
        """End the engine."""
        self._client.shutdown()

    # --- links

    def bind_links(self, links: tuple[Link, ...]) -> tuple[Link, ...]:
        """The links, completed with what the engine serves of them."""
        devices = {one.name: one for one in self._client.list_devices()}
        self._external = next((one.name for one in devices.values() if one.if_id is None), None)
        alias = link_alias(self.instance)
        self._count = sum(one.alias == alias for one in links)
        return tuple(_completed(one, devices.get(one.name)) for one in links)

    def create_links(self, interfaces: Sequence[Interface]) -> None:
        """Make TUNs, down, and hand them to the engine. EEXIST if a link has such a name.

        A batch is what one datagram to the engine may bring; where one of it fails, none of it and
        none after it is made. PlaneError where the engine may not open so many.
        """
        self._count = max(self._count, len(interfaces))
        check_open_files(self._client.info().pid, len(interfaces), self._count)
        names = {name for _index, name in socket.if_nameindex()}
        for first in range(0, len(interfaces), MOST_DESCRIPTORS):
            try:
                batch = interfaces[first : first + MOST_DESCRIPTORS]
                self._create_batch(batch, names)
            except KernelError as error:
                places = range(first, len(interfaces))
                raise BatchRefusedError(dict.fromkeys(places, error)) from error

    def _create_batch(self, batch: Sequence[Interface], names: Collection[str]) -> None:
        for one in batch:
            if one.name in names:
                step = f"create link {one.name}"
                raise KernelError(step, errno.EEXIST, f"a link {one.name} is there already")
        devices: list[NewDevice] = []
        try:
            for one in batch:
                queues = open_queues(one.name, self._count)
                index = socket.if_nametoindex(one.name)
                devices.append(NewDevice(one.name, _device_if_id(one), index, one.mtu, queues))
            self._routes.home.set_links(
                {one.ifindex: LinkChange(up=False, mtu=one.mtu) for one in devices}
            )
            self._client.new_devices(devices)
            self._complete(batch)
        except (KernelError, PlaneError):
            with suppress(KernelError, PlaneError):
                self._client.delete_devices([device.name for device in devices])
            for namespace in {None, *(one.namespace for one in batch)}:
                with suppress(KernelError, PlaneError):
                    delete_interfaces(self._routes[namespace], batch[: len(devices)])
            raise
        finally:
            for descriptor in chain.from_iterable(device.descriptors for device in devices):
                os.close(descriptor)

    def _complete(self, interfaces: Sequence[Interface]) -> None:
        """Put new links where they belong, and make them ours."""
        for one in interfaces:
            if one.namespace is not None:
                self._move(one.name, None, one)
            if one.vrf is not None:
                self._routes[one.namespace].set_link(one.name, master=one.vrf)
        forgo_routers(self._routes, interfaces)
        self._routes.each(interfaces, self._tag)

    def _move(self, name: str, source: Namespace, interface: Interface) -> None:
        """Move a TUN to its namespace, where it may get another index, which the engine is told."""
        target = self._routes.descriptor(interface.namespace)
        self._routes[source].set_link(name, namespace=target)
        moved = self._routes[interface.namespace].find_link(name)
        if moved is None:
            raise KernelError(f"move link {name}", errno.ENODEV, "the link vanished")
        self._client.new_device(name, _device_if_id(interface), moved.index, interface.mtu)

    def _tag(self, client: RouteClient, interfaces: Sequence[Interface]) -> None:
        # The kernel would keep 256 queues for each TUN that is up, 3 MB, and a TUN uses none.
        names = [one.name for one in interfaces]
        with suppress(KernelError):
            client.forgo_queues([*client.indexes_of(names).values()])
        tag_links(client, names, link_alias(self.instance))

    def attach_link(self, interface: Interface) -> None:
        """Serve a link of ours again, with its if_id, MTU, VRF, and in its namespace."""
        link = self._find_own(interface.name)
        step = f"serve link {interface.name}"
        if link is None:
            raise KernelError(step, errno.ENODEV, f"no link {interface.name} of ours")
        bound = _completed(link, self._client.find_device(link.name))
        if not bound.attached or bound.external != interface.external:
            with suppress(BatchRefusedError):
                self._client.delete_devices([interface.name])
            if link.namespace is not None:
                # A TUN is opened by its name, which only works where it is.
                self._routes[link.namespace].delete_link(link.name)
                self.create_links([interface])
                return
            descriptors = open_queues(interface.name, self._count)
            try:
                self._serve(interface, descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
        if link.namespace != interface.namespace:
            self._move(link.name, link.namespace, interface)
            forgo_routers(self._routes, [interface])
            self._tag(self._routes[interface.namespace], [interface])
        here = self._routes[interface.namespace]
        settle_link(here, link, interface)
        served = here.find_link(interface.name)
        if served is not None:
            if_id = _device_if_id(interface)
            self._client.new_device(interface.name, if_id, served.index, interface.mtu)

    def _find_own(self, name: str) -> Link | None:
        """Our link of that name, in whatever namespace."""
        alias = link_alias(self.instance)
        found = self._routes.find_links(name)
        return next((one for one in found if one.alias == alias), None)

    def delete_links(self, interfaces: Sequence[Interface]) -> None:
        """Take links from the engine and from the kernel."""
        try:
            self._client.delete_devices([one.name for one in interfaces])
        except BatchRefusedError as error:
            if any(why.errno != errno.ENODEV for why in error.refused.values()):
                raise
        self._routes.each(interfaces, delete_interfaces)

    def _serve(self, interface: Interface, descriptors: list[int]) -> None:
        link = self._routes.home.find_link(interface.name)
        if link is None:
            raise KernelError(f"serve link {interface.name}", errno.ENODEV, "the link vanished")
        self._client.new_device(
            interface.name, _device_if_id(interface), link.index, interface.mtu, descriptors
        )

    # --- routes into links

    def bind_routes(self, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        """The routes, with the if_id that the engine gives to packets out of the external link."""
        if self._external is None:
            return routes
        if_ids = self._client.list_maps()
        return tuple(
            replace(route, if_id=if_ids.get(route.destination))
            if route.interface == self._external
            else route
            for route in routes
        )

    def add_routes(self, routes: Sequence[Route]) -> None:
        """RTM_NEWROUTE, after the engine knows the if_id of those into the external link."""
        for route in routes:
            if route.if_id is not None:
                with suppress(KernelError):  # of a route that others have taken away
                    self._client.delete_map(route.destination)
                self._client.new_map(route.destination, route.if_id)
        self._routes.add_routes([replace(route, if_id=None) for route in routes])

    def update_route(self, route: Route) -> None:
        """RTM_NEWROUTE in the place of one of the same prefix, table and metric."""
        self._routes.replace_routes([route])

    def delete_routes(self, routes: Sequence[Route]) -> None:
        """RTM_DELROUTE, and the engine forgets the if_id."""
        self._routes.delete_routes([replace(route, if_id=None) for route in routes])
        for route in routes:
            if route.if_id is not None:
                self._client.delete_map(route.destination)

    # --- SAs and policies

    def add_sas(self, sas: Sequence[SecurityAssociation]) -> None:
        """XFRM_MSG_NEWSA."""
        self._xfrm.add_sas(sas)

    def update_sa(self, sa: SecurityAssociation) -> None:
        """XFRM_MSG_UPDSA."""
        self._xfrm.update_sa(sa)

    def move_sa(self, before: SecurityAssociation, after: SecurityAssociation) -> None:
        """XFRM_MSG_DELSA, which tells the last numbers, then XFRM_MSG_NEWSA with them."""
        with self._client.open_events(Group.SA.bit) as events:
            last = delete_and_tell(self._xfrm, events, before)
        self.add_sas([with_numbers(after, last)])

    def delete_sas(self, sas: Sequence[SecurityAssociation]) -> None:
        """XFRM_MSG_DELSA."""
        self._xfrm.delete_sas(sas)

    def list_sas(self) -> tuple[tuple[SecurityAssociation, SaUse], ...]:
        """Dump of all SAs with their counters and replay state."""
        return self._xfrm.list_sas()

    def add_policies(self, policies: Sequence[Policy]) -> None:
        """XFRM_MSG_NEWPOLICY."""
        self._xfrm.add_policies(policies)

    def update_policy(self, policy: Policy) -> None:
        """XFRM_MSG_UPDPOLICY."""
        self._xfrm.update_policy(policy)

    def delete_policies(self, policies: Sequence[Policy]) -> None:
        """XFRM_MSG_DELPOLICY; what acquires for them have left goes, too."""
        self._xfrm.delete_policies(policies)

    def list_policies(self) -> tuple[Policy, ...]:
        """Dump of all policies."""
        return self._xfrm.list_policies()

    def policy_defaults(self) -> PolicyDefaults | None:
        """XFRM_MSG_GETDEFAULT."""
        return self._xfrm.get_default()

    def former_defaults(self) -> PolicyDefaults | None:
        """A new engine accepts: nobody else sets it otherwise."""
        return None if self._xfrm.get_default() == _NEW_ENGINE else _NEW_ENGINE

    def set_policy_defaults(self, defaults: PolicyDefaults) -> None:
        """XFRM_MSG_SETDEFAULT."""
        self._xfrm.set_default(defaults)

    # --- counters

    def xfrm_stat(self) -> Mapping[str, int]:
        """Drops by the names of ``/proc/net/xfrm_stat``."""
        return self._client.stat()

    def link_stats(self, interfaces: Iterable[Interface]) -> Mapping[str, Mapping[str, int]]:
        """The engine's counters of links: what it sealed, opened and dropped."""
        names = {one.name for one in interfaces}
        return {one.name: one.stats for one in self._client.list_devices() if one.name in names}


def _completed(link: Link, device: EngineDevice | None) -> Link:
    """With what the engine serves of it."""
    if device is None or device.ifindex != link.index:
        return link
    is_external = device.if_id is None
    return replace(link, if_id=device.if_id, attached=device.attached, external=is_external)


def _device_if_id(interface: Interface) -> IfId | None:
    return None if interface.external else interface.if_id
