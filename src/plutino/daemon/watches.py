"""What wakes the daemon: links and routes, the data plane, nftables, namespaces, lost paths."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from plutino.config.gateway import Gateway
from plutino.daemon.health_store import load_ways, save_ways
from plutino.daemon.holder_watch import HolderWatch
from plutino.daemon.namespaces import NamespaceWatch
from plutino.daemon.netfilter_watch import NetfilterWatch
from plutino.daemon.passes import PassResult, namespace_names
from plutino.daemon.plane_watch import PlaneWatch
from plutino.daemon.prober import Prober
from plutino.daemon.wake import Wake
from plutino.dataplane.runtime import RuntimePaths
from plutino.desired.health import Health
from plutino.netlink.route_events import route_event_socket
from plutino.netlink.socket import NetlinkSocket, NotificationsLostError

if TYPE_CHECKING:
    from plutino.daemon.ike_service import IkeService


class Watches:
    """Each sets ``wake`` where it hears of a change; what to listen to follows each pass."""

    def __init__(self, runtime: RuntimePaths, wake: Wake) -> None:
        self._runtime = runtime
        self._wake = wake
        self._routes: NetlinkSocket | None = None
        self._plane = PlaneWatch(runtime, wake)
        self._holder = HolderWatch(runtime, wake)
        self._netfilter = NetfilterWatch(wake.set_in_haste)
        self._namespaces = NamespaceWatch(wake.set)
        self._prober = Prober(Health(load_ways(runtime.health).lost), self._hear_prober)

    @property
    def health(self) -> Health:
        """Which paths carry nothing, and which tunnels' peers do not answer."""
        return self._prober.health

    def open(self) -> None:
        """Before the first pass, so that no change during it is missed. Raises PlaneError."""
        self._routes = route_event_socket()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._routes.fileno(), self._hear_routes, self._routes)

    def open_netfilter(self, instance: str) -> None:
        """After the first pass, which makes the table."""
        self._netfilter.watch(instance)

    def follow(self, gateway: Gateway, result: PassResult, ike: IkeService | None) -> None:
        """A pass over the gateway is over. Raises PlaneError if the plane has gone meanwhile."""
        self._plane.watch(result.choice, ike)
        self._namespaces.watch(namespace_names(gateway))
        self._holder.watch(ike)
        self._prober.watch(result.probes)

    def look_at_namespaces(self) -> None:
        """Wakes the daemon if one has disappeared or come back, which nothing tells of."""
        if self._namespaces.changed():
            self._wake.set()

    def close(self) -> None:
        """Hears nothing any more."""
        if self._routes is not None:
            asyncio.get_running_loop().remove_reader(self._routes.fileno())
            self._routes.close()
            self._routes = None
        self._plane.close()
        self._netfilter.close()
        self._namespaces.close()
        self._prober.close()
        self._holder.close()

    def _hear_routes(self, events: NetlinkSocket) -> None:
        with suppress(NotificationsLostError):
            events.skip()
        self._wake.set()

    def _hear_prober(self) -> None:
        save_ways(self._runtime.health, self._prober.health.state)
        self._wake.set_in_haste()
