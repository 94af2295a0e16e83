"""What both data planes set on a link, and what the kernel must not do by itself on a tunnel.

On IPv6 links a host asks for routers and believes whoever says that it is one (RFC 4861, 6.3.4):
the peer would give it addresses and a default route.
"""

from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Final

from plutino.model.interface import Interface
from plutino.model.link import Link
from plutino.netlink.route_client import RouteClient
from plutino.netlink.route_clients import RouteClients

SETTINGS: Final = Path("/proc/sys/net/ipv6/conf")
"""Of the network namespace of whoever opens it."""
_FORGONE: Final = ("accept_ra", "autoconf")


def settle_link(client: RouteClient, link: Link, interface: Interface) -> None:
    """MTU, multicast and VRF of a link that is there, where they differ. Raises KernelError.

    ``client`` is of the namespace that the link is in by now.
    """
    if link.mtu != interface.mtu:
        client.set_link(interface.name, mtu=interface.mtu)
    if not link.multicast:
        client.set_link(interface.name, multicast=True)
    if (link.master is None) != (interface.vrf is None) or interface.vrf is not None:
        client.set_link(interface.name, master=interface.vrf or "")


def forgo_routers(routes: RouteClients, interfaces: Iterable[Interface]) -> None:
    """Neither ask for routers nor believe any, on new links that are down."""

    def place(one: Interface) -> str:
        return one.namespace or ""

    for _namespace, several in groupby(sorted(interfaces, key=place), place):
        group = list(several)
        routes.inside(group[0].namespace, lambda group=group: _forgo(group))  # type: ignore[misc]


def _forgo(interfaces: Iterable[Interface]) -> None:
    for one in interfaces:
        for setting in _FORGONE:
            with suppress(OSError):  # without IPv6 there is nothing to forgo
                (SETTINGS / one.name / setting).write_text("0")


def has_ipv6(settings: Path = SETTINGS) -> bool:
    """Whether new links of this namespace have IPv6."""
    try:
        return (settings / "default" / "disable_ipv6").read_text().strip() == "0"
    except OSError:
        return False
