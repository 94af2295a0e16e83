"""What rtnetlink knows: links, addresses and routes, in values."""

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Network, IPv6Network

from plutino.model.interface import InterfaceAddress, IpAddress, VtiEnds
from plutino.model.numbers import IfId

Namespace = str | None
"""A network namespace by its name (``ip netns``); None is the one that the gateway runs in."""

RTPROT_PLUTINO = 134
"""Route protocol number of every route of ours (``rtm_protocol``; 134340 is Pluto's number)."""

MAIN_TABLE = 254


def link_alias(instance: str) -> str:
    """The tag of a link of ours (``IFLA_IFALIAS``)."""
    return f"plutino:{instance}"


class RouteType(IntEnum):
    """RTN_UNICAST and RTN_UNREACHABLE; other numbers are kept as observed."""

    UNICAST = 1
    UNREACHABLE = 7


@dataclass(frozen=True, slots=True)
class Link:
    """A link as observed. ``kind`` is rtnetlink's (``tun``, ``xfrm``, ``veth``, ...), or None.

    ``if_id`` is what the data plane has bound to it, None if nothing is bound. ``attached`` tells
    that the data plane serves the link: an XFRM interface for the kernel, an open TUN for the
    engine. ``underlying`` is the index of IFLA_XFRM_LINK, ``master`` that of IFLA_MASTER, ``table``
    the routing table of a VRF device. ``dormant`` is IF_OPER_DORMANT: up, but not running.
    """

    index: int
    name: str
    kind: str | None
    mtu: int
    up: bool
    alias: str | None = None
    if_id: IfId | None = None
    attached: bool = False
    underlying: int | None = None
    group: int = 0
    external: bool = False
    master: int | None = None
    table: int | None = None
    vti: VtiEnds | None = None
    namespace: Namespace = None
    carrier: bool = True
    multicast: bool = True
    dormant: bool = False
    point_to_point: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """An address on an interface, by name."""

    interface: str
    address: InterfaceAddress
    namespace: Namespace = None


@dataclass(frozen=True, slots=True)
class NextHop:
    """One way of several (``struct rtnexthop``); of ``weight`` among the others' come its flows."""

    interface: str
    gateway: IpAddress | None = None
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Route:
    """A route of ours or of others; ``interface`` is None for an unreachable route.

    ``metric`` is ``RTA_PRIORITY`` (lower wins), ``protocol`` is ``rtm_protocol``. ``if_id`` is what
    packets of this route get at an external interface (LWTUNNEL_ENCAP_XFRM). ``gateway`` is the
    next hop (``RTA_GATEWAY``), taken to be on the link. ``source`` is the address that packets of
    this host get where they have none (``RTA_PREFSRC``). Flows spread over ``nexthops``
    (``RTA_MULTIPATH``) where there are several, in the order of their interfaces; ``interface`` and
    ``gateway`` are None then.
    """

    destination: IPv4Network | IPv6Network
    interface: str | None
    route_type: RouteType = RouteType.UNICAST
    table: int = MAIN_TABLE
    metric: int = 0
    protocol: int = RTPROT_PLUTINO
    if_id: IfId | None = None
    namespace: Namespace = None
    gateway: IpAddress | None = None
    source: IpAddress | None = None
    nexthops: tuple[NextHop, ...] = ()

    @property
    def interfaces(self) -> tuple[str, ...]:
        """All that it leads into."""
        if self.interface is not None:
            return (self.interface,)
        return tuple(one.interface for one in self.nexthops)
