"""Addresses and routes to rtnetlink payloads and back.

Numbers are in host order but for addresses. Parsing is total: a value, None for what the model has
no word for, or a WireError.
"""

import struct
from collections.abc import Mapping
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Interface,
    IPv6Network,
)
from typing import Final

from plutino.model.link import Address, Route, RouteType
from plutino.model.numbers import IfId
from plutino.model.policy import IpAddress, IpNetwork
from plutino.netlink.route.constants import (
    AF_INET,
    AF_INET6,
    IFA_F_NODAD,
    LWT_XFRM_IF_ID,
    LWTUNNEL_ENCAP_XFRM,
    RT_SCOPE_LINK,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_COMPAT,
    RTAX_MTU,
    RTM_F_CLONED,
    RTN_OF_THIS_MACHINE,
    RTNH_F_ONLINK,
    Ifa,
    Rta,
)
from plutino.netlink.route.fields import (
    Attributes,
    nested_attribute,
    parse_fixed,
    parse_ip,
    parse_u32,
    u32_attribute,
)
from plutino.netlink.route.nexthops import encode_nexthops, parse_nexthops
from plutino.netlink.wire import Attribute, encode_attributes, parse_payloads

_ADDRESS: Final = struct.Struct("=BBBBI")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_U16: Final = struct.Struct("=H")


def family_of(value: IpAddress | IpNetwork | IPv4Interface | IPv6Interface) -> int:
    """AF_INET or AF_INET6."""
    return AF_INET if value.version == 4 else AF_INET6


# --- addresses ------------------------------------------------------------------------------------


def encode_address(address: Address, indexes: Mapping[str, int]) -> bytes:
    """RTM_NEWADDR or RTM_DELADDR. IPv6 without duplicate detection, so that it serves at once."""
    value = address.address
    packed = value.ip.packed
    index = indexes[address.interface]
    header = _ADDRESS.pack(family_of(value), value.network.prefixlen, 0, RT_SCOPE_UNIVERSE, index)
    attributes = [Attribute(Ifa.LOCAL, packed), Attribute(Ifa.ADDRESS, packed)]
    if value.version == 6:
        attributes.append(u32_attribute(Ifa.FLAGS, IFA_F_NODAD))
    return header + encode_attributes(attributes)


def encode_address_dump() -> bytes:
    """RTM_GETADDR of all addresses."""
    return _ADDRESS.pack(0, 0, 0, 0, 0)


def parse_address(payload: bytes, names: Mapping[int, str]) -> Address | None:
    """From RTM_NEWADDR; None if the link is not among ``names``."""
    (family, length, _flags, _scope, index), attributes = parse_fixed(
        _ADDRESS, payload, "RTM_NEWADDR"
    )
    octets = attributes.get(Ifa.LOCAL) or attributes.get(Ifa.ADDRESS)
    if family not in (AF_INET, AF_INET6) or octets is None or index not in names:
        return None
    value = parse_ip(octets)
    if isinstance(value, IPv4Address):
        return Address(names[index], IPv4Interface((value, length)))
    return Address(names[index], IPv6Interface((value, length)))


# --- routes ---------------------------------------------------------------------------------------


def encode_route(route: Route, indexes: Mapping[str, int]) -> bytes:
    """RTM_NEWROUTE or RTM_DELROUTE; every field that tells the route from others is there.

    ``indexes`` are those of the links that it leads into.
    """
    destination = route.destination
    is_link = route.route_type is RouteType.UNICAST and destination.version == 4
    is_link &= route.gateway is None
    header = _ROUTE.pack(
        family_of(destination),
        destination.prefixlen,
        0,
        0,
        route.table if route.table < RT_TABLE_COMPAT else RT_TABLE_COMPAT,
        route.protocol,
        RT_SCOPE_LINK if is_link else RT_SCOPE_UNIVERSE,
        route.route_type,
        RTNH_F_ONLINK if route.gateway is not None else 0,
    )
    attributes = [u32_attribute(Rta.TABLE, route.table), u32_attribute(Rta.PRIORITY, route.metric)]
    if destination.prefixlen:
        attributes.append(Attribute(Rta.DST, destination.network_address.packed))
    if route.interface is not None:
        attributes.append(u32_attribute(Rta.OIF, indexes[route.interface]))
    if route.nexthops:
        attributes.append(Attribute(Rta.MULTIPATH, encode_nexthops(route.nexthops, indexes)))
    if route.gateway is not None:
        attributes.append(Attribute(Rta.GATEWAY, route.gateway.packed))
    if route.source is not None:
        attributes.append(Attribute(Rta.PREFSRC, route.source.packed))
    if route.if_id is not None:
        attributes.append(Attribute(Rta.ENCAP_TYPE, _U16.pack(LWTUNNEL_ENCAP_XFRM)))
        attributes.append(nested_attribute(Rta.ENCAP, u32_attribute(LWT_XFRM_IF_ID, route.if_id)))
    return header + encode_attributes(attributes)


def encode_route_dump(family: int, protocol: int | None) -> bytes:
    """RTM_GETROUTE of one family, filtered by the kernel where it can."""
    return _ROUTE.pack(family, 0, 0, 0, 0, protocol or 0, 0, 0, 0)


def parse_route(payload: bytes, names: Mapping[int, str]) -> Route | None:
    """From RTM_NEWROUTE; None for cached, multicast, local and other types of routes."""
    fixed, attributes = parse_fixed(_ROUTE, payload, "RTM_NEWROUTE")
    family, length, _src, _tos, table, protocol, _scope, kind, flags = fixed
    if family not in (AF_INET, AF_INET6) or flags & RTM_F_CLONED:
        return None
    if kind not in (RouteType.UNICAST, RouteType.UNREACHABLE):
        return None
    octets = attributes.get(Rta.DST, bytes(4 if family == AF_INET else 16))
    address = parse_ip(octets)
    destination: IpNetwork
    if isinstance(address, IPv4Address):
        destination = IPv4Network((address, length), strict=False)
    else:
        destination = IPv6Network((address, length), strict=False)
    index = parse_u32(attributes, Rta.OIF)
    # IPv6 shows an unreachable route on the loopback device.
    interface = names.get(index) if kind == RouteType.UNICAST else None
    return Route(
        destination=destination,
        interface=interface,
        route_type=RouteType(kind),
        table=parse_u32(attributes, Rta.TABLE, table),
        metric=parse_u32(attributes, Rta.PRIORITY),
        protocol=protocol,
        if_id=_parse_encap(attributes),
        gateway=parse_ip(attributes[Rta.GATEWAY]) if Rta.GATEWAY in attributes else None,
        source=parse_ip(attributes[Rta.PREFSRC]) if Rta.PREFSRC in attributes else None,
        nexthops=parse_nexthops(attributes.get(Rta.MULTIPATH, b""), names),
    )


def _parse_encap(attributes: Attributes) -> IfId | None:
    if attributes.get(Rta.ENCAP_TYPE) != _U16.pack(LWTUNNEL_ENCAP_XFRM):
        return None
    found = parse_payloads(attributes.get(Rta.ENCAP, b""), what="RTA_ENCAP")
    if_id = parse_u32(found, LWT_XFRM_IF_ID)
    return IfId(if_id) if if_id else None


def encode_route_query(destination: IpAddress, source: IpAddress | None, mark: int) -> bytes:
    """RTM_GETROUTE: which way a packet would go."""
    bits = destination.max_prefixlen
    header = _ROUTE.pack(
        family_of(destination), bits, bits if source is not None else 0, 0, 0, 0, 0, 0, 0
    )
    attributes = [Attribute(Rta.DST, destination.packed)]
    if source is not None:
        attributes.append(Attribute(Rta.SRC, source.packed))
    if mark:
        attributes.append(u32_attribute(Rta.MARK, mark))
    return header + encode_attributes(attributes)


def leads_to_this_machine(payload: bytes) -> bool:
    """Whether the answer to a query is no way out (``rtm_type``)."""
    fixed, _ = parse_fixed(_ROUTE, payload, "RTM_NEWROUTE")
    *_, kind, _flags = fixed
    return kind in RTN_OF_THIS_MACHINE


def parse_route_answer(payload: bytes) -> tuple[int, int | None]:
    """Index of the outgoing link, and the MTU of the route itself if it has one, in bytes."""
    _, attributes = parse_fixed(_ROUTE, payload, "RTM_NEWROUTE")
    metrics = parse_payloads(attributes.get(Rta.METRICS, b""), what="RTA_METRICS")
    return parse_u32(attributes, Rta.OIF), parse_u32(metrics, RTAX_MTU) or None
