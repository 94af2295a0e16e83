"""The user-space plane: TUN links, and the engine that stands behind them."""

import errno
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import Self

from plutino.dataplane.engine_client import MOST_DESCRIPTORS, EngineClient
from plutino.dataplane.engine_messages import EngineInfo, EngineLosses, NewDevice
from plutino.dataplane.engine_process import start_engine
from plutino.dataplane.runtime import RuntimePaths
from plutino.dataplane.tun import open_queues
from plutino.dataplane.underlay import SocketKind, open_socket
from plutino.model.errors import BatchRefusedError, KernelError, PlaneError
from plutino.model.interface import Interface
from plutino.model.link import Link, link_alias
from plutino.model.policy import Policy
from plutino.model.sa import SaUse, SecurityAssociation
from plutino.netlink.route.messages import LinkChange
from plutino.netlink.route_client import RouteClient
from plutino.netlink.xfrm_client import XfrmClient


class UserspacePlane:
    """``DataPlane`` over the engine of one instance."""

    name = "userspace"

    def __init__(self, instance: str, client: EngineClient, routes: RouteClient) -> None:
        self.instance = instance
        self._client = client
        self._routes = routes
        self._xfrm = XfrmClient(client.socket)

    @classmethod
    def connect(cls, instance: str, runtime: RuntimePaths, *, start: bool) -> Self:
        """Reach the engine, which is started if ``start`` says so. Raises PlaneError."""
        if start:
            start_engine(runtime)
        client = EngineClient(runtime.engine_socket)
        try:
            return cls(instance, client, RouteClient())
        except PlaneError:
            client.close()
            raise

    def close(self) -> None:
        """Close both connections; the engine goes on."""
        self._client.close()
        self._routes.close()

    # --- the engine itself

    def engine_info(self) -> EngineInfo:
        """Who answers."""
        return self._client.info()

    def losses(self) -> EngineLosses:
        """What the engine had to tell and nobody got."""
        return self._client.losses()

    def socket_errors(self) -> Mapping[int, int]:
        """Errors of each underlay socket, by ``SocketKind``."""
        return self._client.list_sockets()

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
        """Devices, SAs and policies that the engine holds, whoever made them."""
        policies = self._xfrm.spd_info()
        return (
            len(self._client.list_devices())
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

        def complete(link: Link) -> Link:
            device = devices.get(link.name)
            if device is None or device.ifindex != link.index:
                return link
            return replace(link, if_id=device.if_id, attached=device.attached)

        return tuple(map(complete, links))

    def create_links(self, interfaces: Sequence[Interface]) -> None:
        """Make TUNs, down, and hand them to the engine. EEXIST if a link has such a name.

        A batch is what one datagram to the engine may bring; where one of it fails, none of it and
        none after it is made.
        """
        for first in range(0, len(interfaces), MOST_DESCRIPTORS):
            try:
                self._create_batch(interfaces[first : first + MOST_DESCRIPTORS])
            except KernelError as error:
                places = range(first, len(interfaces))
                raise BatchRefusedError(dict.fromkeys(places, error)) from error

    def _create_batch(self, batch: Sequence[Interface]) -> None:
        names = {name for _index, name in socket.if_nameindex()}
        for one in batch:
            if one.name in names:
                step = f"create link {one.name}"
                raise KernelError(step, errno.EEXIST, f"a link {one.name} is there already")
        devices: list[NewDevice] = []
        try:
            for one in batch:
                queues = open_queues(one.name)
                index = socket.if_nametoindex(one.name)
                devices.append(NewDevice(one.name, one.if_id, index, one.mtu, queues))
            alias = link_alias(self.instance)
            self._routes.set_links(
                {one.ifindex: LinkChange(up=False, mtu=one.mtu, alias=alias) for one in devices}
            )
            # Nothing of the kernel's own shall go into the tunnel uninvited.
            with suppress(KernelError):
                self._routes.set_links(
                    {one.ifindex: LinkChange(no_link_local=True) for one in devices}
                )
            self._client.new_devices(devices)
        except (KernelError, PlaneError):
            with suppress(KernelError, PlaneError):
                self.delete_links([device.name for device in devices])
            raise
        finally:
            for descriptor in chain.from_iterable(device.descriptors for device in devices):
                os.close(descriptor)

    def attach_link(self, interface: Interface) -> None:
        """Serve a link of ours again, with its if_id and MTU."""
        link = self._routes.find_link(interface.name)
        step = f"serve link {interface.name}"
        if link is None or link.alias != link_alias(self.instance):
            raise KernelError(step, errno.ENODEV, f"no link {interface.name} of ours")
        if link.mtu != interface.mtu:
            self._routes.set_link(interface.name, mtu=interface.mtu)
        (bound,) = self.bind_links((link,))
        if bound.attached:
            self._client.new_device(interface.name, interface.if_id, link.index, interface.mtu)
            return
        descriptors = open_queues(interface.name)
        try:
            self._serve(interface, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def delete_links(self, names: Sequence[str]) -> None:
        """Take links from the engine and from the kernel."""
        try:
            self._client.delete_devices(names)
        except BatchRefusedError as error:
            if any(why.errno != errno.ENODEV for why in error.refused.values()):
                raise
        self._routes.delete_links(names)

    def _serve(self, interface: Interface, descriptors: list[int]) -> None:
        link = self._routes.find_link(interface.name)
        if link is None:
            raise KernelError(f"serve link {interface.name}", errno.ENODEV, "the link vanished")
        self._client.new_device(
            interface.name, interface.if_id, link.index, interface.mtu, descriptors
        )

    # --- SAs and policies

    def add_sas(self, sas: Sequence[SecurityAssociation]) -> None:
        """XFRM_MSG_NEWSA."""
        self._xfrm.add_sas(sas)

    def update_sa(self, sa: SecurityAssociation) -> None:
        """XFRM_MSG_UPDSA."""
        self._xfrm.update_sa(sa)

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
        """XFRM_MSG_DELPOLICY."""
        self._xfrm.delete_policies(policies)

    def list_policies(self) -> tuple[Policy, ...]:
        """Dump of all policies."""
        return self._xfrm.list_policies()

    # --- counters

    def xfrm_stat(self) -> Mapping[str, int]:
        """Drops by the names of ``/proc/net/xfrm_stat``."""
        return self._client.stat()

    def link_stats(self, name: str) -> Mapping[str, int]:
        """The engine's counters of a link: what it sealed, opened and dropped."""
        for device in self._client.list_devices():
            if device.name == name:
                return device.stats
        return {}
