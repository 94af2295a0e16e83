"""Links, addresses and routes to rtnetlink payloads and back.

Numbers are in host order but for addresses. Parsing is total: a value, None for what the model has
no word for, or a WireError.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Final

from plutino.model.drop_reason import LINK_COUNTERS
from plutino.model.errors import WireError
from plutino.model.link import Address, Link, Route, RouteType
from plutino.model.numbers import IfId
from plutino.model.policy import IpAddress, IpNetwork
from plutino.netlink.route.constants import (
    IFA_F_NODAD,
    IFF_UP,
    IFLA_INET6_ADDR_GEN_MODE,
    IN6_ADDR_GEN_MODE_NONE,
    RT_SCOPE_LINK,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_COMPAT,
    RTAX_MTU,
    RTM_F_CLONED,
    VETH_INFO_PEER,
    Ifa,
    Ifla,
    IflaInfo,
    IflaXfrm,
    Rta,
)
from plutino.netlink.wire import NLA_F_NESTED, Attribute, encode_attributes, parse_attributes

AF_INET: Final = 2
AF_INET6: Final = 10
KIND_XFRM: Final = "xfrm"
"""The kind of the kernel's XFRM interfaces (``net/xfrm/xfrm_interface_core.c``)."""

_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_U32: Final = struct.Struct("=I")

Attributes = Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class LinkChange:
    """What RTM_NEWLINK shall change of a link; None leaves it as it is. ``mtu`` in bytes."""

    up: bool | None = None
    mtu: int | None = None
    alias: str | None = None
    name: str | None = None
    gso_max_segs: int | None = None
    namespace: int | None = None
    group: int | None = None
    no_link_local: bool = False


def family_of(value: IpAddress | IpNetwork | IPv4Interface | IPv6Interface) -> int:
    """AF_INET or AF_INET6."""
    return AF_INET if value.version == 4 else AF_INET6


def _fixed(form: struct.Struct, payload: bytes, what: str) -> tuple[tuple[int, ...], Attributes]:
    if len(payload) < form.size:
        raise WireError(what, offset=len(payload), why="fixed structure truncated")
    attributes = parse_attributes(payload[form.size :], what=what)
    return form.unpack_from(payload), {one.number: one.payload for one in attributes}


def _u32(attributes: Attributes, number: int, default: int = 0) -> int:
    octets = attributes.get(number, b"")
    return int(_U32.unpack(octets)[0]) if len(octets) == _U32.size else default


def _text(octets: bytes) -> str:
    return octets.split(b"\0", 1)[0].decode("utf-8", "replace")


def _string(number: int, text: str) -> Attribute:
    return Attribute(number, text.encode() + b"\0")


def _number(number: int, value: int) -> Attribute:
    return Attribute(number, _U32.pack(value))


def _nested(number: int, *attributes: Attribute) -> Attribute:
    return Attribute(number | NLA_F_NESTED, encode_attributes(attributes))


def _parse_address(octets: bytes) -> IpAddress:
    if len(octets) == 4:
        return IPv4Address(octets)
    if len(octets) == 16:
        return IPv6Address(octets)
    raise WireError("address", offset=len(octets), why="neither 4 nor 16 bytes")


# --- links ----------------------------------------------------------------------------------------


def encode_link_header(index: int = 0, *, up: bool | None = None) -> bytes:
    """``struct ifinfomsg``; ``up`` None leaves the flag as it is."""
    change = 0 if up is None else IFF_UP
    return _LINK.pack(0, 0, index, IFF_UP if up else 0, change)


def encode_link_change(index: int, change: LinkChange) -> bytes:
    """RTM_NEWLINK of an existing link."""
    attributes = []
    if change.name is not None:
        attributes.append(_string(Ifla.IFNAME, change.name))
    if change.mtu is not None:
        attributes.append(_number(Ifla.MTU, change.mtu))
    if change.alias is not None:
        attributes.append(Attribute(Ifla.IFALIAS, change.alias.encode()))
    if change.gso_max_segs is not None:
        attributes.append(_number(Ifla.GSO_MAX_SEGS, change.gso_max_segs))
    if change.namespace is not None:
        attributes.append(_number(Ifla.NET_NS_FD, change.namespace))
    if change.group is not None:
        attributes.append(_number(Ifla.GROUP, change.group))
    if change.no_link_local:
        mode = Attribute(IFLA_INET6_ADDR_GEN_MODE, bytes([IN6_ADDR_GEN_MODE_NONE]))
        attributes.append(_nested(Ifla.AF_SPEC, _nested(AF_INET6, mode)))
    return encode_link_header(index, up=change.up) + encode_attributes(attributes)


def encode_link_group(group: int) -> bytes:
    """All links of a group, for RTM_DELLINK."""
    return encode_attributes([_number(Ifla.GROUP, group)])


def encode_veth(name: str, peer: str, peer_namespace: int | None) -> bytes:
    """RTM_NEWLINK of a veth pair, whose other end is made in ``peer_namespace`` (a descriptor)."""
    attributes = [_string(Ifla.IFNAME, peer)]
    if peer_namespace is not None:
        attributes.append(_number(Ifla.NET_NS_FD, peer_namespace))
    other = encode_link_header() + encode_attributes(attributes)
    data = _nested(IflaInfo.DATA, Attribute(VETH_INFO_PEER, other))
    info = _nested(Ifla.LINKINFO, _string(IflaInfo.KIND, "veth"), data)
    return encode_link_header() + encode_attributes([_string(Ifla.IFNAME, name), info])


def encode_new_xfrm(name: str, if_id: IfId, mtu: int, link: int | None = None) -> bytes:
    """RTM_NEWLINK of a new XFRM interface; ``link`` is the index of its underlying device."""
    attributes = [_string(Ifla.IFNAME, name), _number(Ifla.MTU, mtu), _xfrm_info(if_id, link)]
    return encode_link_header() + encode_attributes(attributes)


def encode_xfrm_if_id(index: int, if_id: IfId, link: int | None = None) -> bytes:
    """RTM_NEWLINK that changes the if_id of an XFRM interface, which keeps its ``link``.

    The kernel takes a missing IFLA_XFRM_LINK for 0 and refuses to change it.
    """
    return encode_link_header(index) + encode_attributes([_xfrm_info(if_id, link)])


def _xfrm_info(if_id: IfId, link: int | None) -> Attribute:
    data = [_number(IflaXfrm.IF_ID, if_id)]
    if link is not None:
        data.append(_number(IflaXfrm.LINK, link))
    kind = _string(IflaInfo.KIND, KIND_XFRM)
    return _nested(Ifla.LINKINFO, kind, _nested(IflaInfo.DATA, *data))


def encode_link_name(name: str) -> bytes:
    """RTM_GETLINK of one link by its name."""
    return encode_link_header() + encode_attributes([_string(Ifla.IFNAME, name)])


def parse_link(payload: bytes) -> Link:
    """From RTM_NEWLINK or RTM_DELLINK."""
    (_family, _type, index, flags, _change), attributes = _fixed(_LINK, payload, "RTM_NEWLINK")
    info: dict[int, bytes] = {}
    if Ifla.LINKINFO in attributes:
        several = parse_attributes(attributes[Ifla.LINKINFO], what="IFLA_LINKINFO")
        info = {one.number: one.payload for one in several}
    kind = _text(info[IflaInfo.KIND]) if IflaInfo.KIND in info else None
    data: dict[int, bytes] = {}
    if kind == KIND_XFRM and IflaInfo.DATA in info:
        several = parse_attributes(info[IflaInfo.DATA], what="IFLA_INFO_DATA")
        data = {one.number: one.payload for one in several}
    if_id = _u32(data, IflaXfrm.IF_ID)
    alias = attributes.get(Ifla.IFALIAS)
    return Link(
        index=index,
        name=_text(attributes.get(Ifla.IFNAME, b"")),
        kind=kind,
        mtu=_u32(attributes, Ifla.MTU),
        up=bool(flags & IFF_UP),
        alias=None if alias is None else _text(alias),
        if_id=IfId(if_id) if if_id else None,
        underlying=_u32(data, IflaXfrm.LINK) or None,
        group=_u32(attributes, Ifla.GROUP),
    )


def parse_link_stats(payload: bytes) -> Mapping[str, int]:
    """``struct rtnl_link_stats64`` of RTM_NEWLINK; older kernels give fewer numbers."""
    _, attributes = _fixed(_LINK, payload, "RTM_NEWLINK")
    octets = attributes.get(Ifla.STATS64, b"")
    numbers = struct.unpack(f"={len(octets) // 8}Q", octets[: len(octets) // 8 * 8])
    return dict(zip(LINK_COUNTERS, numbers, strict=False))


# --- addresses ------------------------------------------------------------------------------------


def encode_address(address: Address, index: int) -> bytes:
    """RTM_NEWADDR or RTM_DELADDR. IPv6 without duplicate detection, so that it serves at once."""
    value = address.address
    packed = value.ip.packed
    header = _ADDRESS.pack(family_of(value), value.network.prefixlen, 0, RT_SCOPE_UNIVERSE, index)
    attributes = [Attribute(Ifa.LOCAL, packed), Attribute(Ifa.ADDRESS, packed)]
    if value.version == 6:
        attributes.append(_number(Ifa.FLAGS, IFA_F_NODAD))
    return header + encode_attributes(attributes)


def encode_address_dump() -> bytes:
    """RTM_GETADDR of all addresses."""
    return _ADDRESS.pack(0, 0, 0, 0, 0)


def parse_address(payload: bytes, names: Mapping[int, str]) -> Address | None:
    """From RTM_NEWADDR; None if the link is not among ``names``."""
    (family, length, _flags, _scope, index), attributes = _fixed(_ADDRESS, payload, "RTM_NEWADDR")
    octets = attributes.get(Ifa.LOCAL) or attributes.get(Ifa.ADDRESS)
    if family not in (AF_INET, AF_INET6) or octets is None or index not in names:
        return None
    value = _parse_address(octets)
    if isinstance(value, IPv4Address):
        return Address(names[index], IPv4Interface((value, length)))
    return Address(names[index], IPv6Interface((value, length)))


# --- routes ---------------------------------------------------------------------------------------


def encode_route(route: Route, index: int | None) -> bytes:
    """RTM_NEWROUTE or RTM_DELROUTE; every field that tells the route from others is there."""
    destination = route.destination
    is_link = route.route_type is RouteType.UNICAST and destination.version == 4
    header = _ROUTE.pack(
        family_of(destination),
        destination.prefixlen,
        0,
        0,
        route.table if route.table < RT_TABLE_COMPAT else RT_TABLE_COMPAT,
        route.protocol,
        RT_SCOPE_LINK if is_link else RT_SCOPE_UNIVERSE,
        route.route_type,
        0,
    )
    attributes = [_number(Rta.TABLE, route.table), _number(Rta.PRIORITY, route.metric)]
    if destination.prefixlen:
        attributes.append(Attribute(Rta.DST, destination.network_address.packed))
    if index is not None:
        attributes.append(_number(Rta.OIF, index))
    return header + encode_attributes(attributes)


def encode_route_dump(family: int, protocol: int | None) -> bytes:
    """RTM_GETROUTE of one family, filtered by the kernel where it can."""
    return _ROUTE.pack(family, 0, 0, 0, 0, protocol or 0, 0, 0, 0)


def parse_route(payload: bytes, names: Mapping[int, str]) -> Route | None:
    """From RTM_NEWROUTE; None for cached, multicast, local and other types of routes."""
    fixed, attributes = _fixed(_ROUTE, payload, "RTM_NEWROUTE")
    family, length, _src, _tos, table, protocol, _scope, kind, flags = fixed
    if family not in (AF_INET, AF_INET6) or flags & RTM_F_CLONED:
        return None
    if kind not in (RouteType.UNICAST, RouteType.UNREACHABLE):
        return None
    octets = attributes.get(Rta.DST, bytes(4 if family == AF_INET else 16))
    address = _parse_address(octets)
    destination: IpNetwork
    if isinstance(address, IPv4Address):
        destination = IPv4Network((address, length), strict=False)
    else:
        destination = IPv6Network((address, length), strict=False)
    index = _u32(attributes, Rta.OIF)
    # IPv6 shows an unreachable route on the loopback device.
    interface = names.get(index) if kind == RouteType.UNICAST else None
    return Route(
        destination=destination,
        interface=interface,
        route_type=RouteType(kind),
        table=_u32(attributes, Rta.TABLE, table),
        metric=_u32(attributes, Rta.PRIORITY),
        protocol=protocol,
    )


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
        attributes.append(_number(Rta.MARK, mark))
    return header + encode_attributes(attributes)


def parse_route_answer(payload: bytes) -> tuple[int, int | None]:
    """Index of the outgoing link, and the MTU of the route itself if it has one, in bytes."""
    _, attributes = _fixed(_ROUTE, payload, "RTM_NEWROUTE")
    mtu = None
    if Rta.METRICS in attributes:
        for one in parse_attributes(attributes[Rta.METRICS], what="RTA_METRICS"):
            if one.number == RTAX_MTU and len(one.payload) == _U32.size:
                mtu = int(_U32.unpack(one.payload)[0])
    return _u32(attributes, Rta.OIF), mtu
