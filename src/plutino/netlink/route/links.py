"""Links to rtnetlink payloads and back.

Numbers are in host order but for addresses and the keys of VTIs. Parsing is total: a value, or a
WireError.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from plutino.model.drop_reason import LINK_COUNTERS
from plutino.model.interface import Interface, VtiEnds
from plutino.model.link import Link
from plutino.model.numbers import IfId
from plutino.netlink.route.constants import (
    AF_INET6,
    IF_LINK_MODE_DEFAULT,
    IF_LINK_MODE_DORMANT,
    IF_OPER_DORMANT,
    IF_OPER_UP,
    IFF_LOWER_UP,
    IFF_MULTICAST,
    IFF_POINTOPOINT,
    IFF_UP,
    IFLA_INET6_ADDR_GEN_MODE,
    IFLA_VRF_TABLE,
    IN6_ADDR_GEN_MODE_NONE,
    RTEXT_FILTER_SKIP_STATS,
    TC_H_ROOT,
    TCA_KIND,
    VETH_INFO_PEER,
    Ifla,
    IflaInfo,
    IflaVti,
    IflaXfrm,
)
from plutino.netlink.route.fields import (
    nested_attribute,
    parse_fixed,
    parse_ip,
    parse_text,
    parse_u32,
    text_attribute,
    u32_attribute,
)
from plutino.netlink.wire import Attribute, encode_attributes, parse_payloads

KIND_XFRM: Final = "xfrm"
"""The kind of the kernel's XFRM interfaces (``net/xfrm/xfrm_interface_core.c``)."""
KINDS_VTI: Final = ("vti", "vti6")
"""By the IP version outside (``net/ipv4/ip_vti.c``, ``net/ipv6/ip6_vti.c``)."""
KIND_VRF: Final = "vrf"

_LINK: Final = struct.Struct("=BxHiII")
_QDISC: Final = struct.Struct("=BxxxiIII")
_BE32: Final = struct.Struct("!I")
_WITHOUT_COUNTERS: Final = u32_attribute(Ifla.EXT_MASK, RTEXT_FILTER_SKIP_STATS)


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
    master: int | None = None
    no_link_local: bool = False
    multicast: bool | None = None
    dormant: bool | None = None


def encode_link_header(
    index: int = 0, *, up: bool | None = None, multicast: bool | None = None
) -> bytes:
    """``struct ifinfomsg``; None leaves a flag as it is."""
    flags = change = 0
    for flag, wanted in ((IFF_UP, up), (IFF_MULTICAST, multicast)):
        change |= 0 if wanted is None else flag
        flags |= flag if wanted else 0
    return _LINK.pack(0, 0, index, flags, change)


def encode_link_change(index: int, change: LinkChange) -> bytes:
    """RTM_NEWLINK of an existing link."""
    attributes = []
    if change.name is not None:
        attributes.append(text_attribute(Ifla.IFNAME, change.name))
    if change.mtu is not None:
        attributes.append(u32_attribute(Ifla.MTU, change.mtu))
    if change.alias is not None:
        attributes.append(Attribute(Ifla.IFALIAS, change.alias.encode()))
    if change.gso_max_segs is not None:
        attributes.append(u32_attribute(Ifla.GSO_MAX_SEGS, change.gso_max_segs))
    if change.namespace is not None:
        attributes.append(u32_attribute(Ifla.NET_NS_FD, change.namespace))
    if change.group is not None:
        attributes.append(u32_attribute(Ifla.GROUP, change.group))
    if change.master is not None:
        attributes.append(u32_attribute(Ifla.MASTER, change.master))
    if change.no_link_local:
        mode = Attribute(IFLA_INET6_ADDR_GEN_MODE, bytes([IN6_ADDR_GEN_MODE_NONE]))
        attributes.append(nested_attribute(Ifla.AF_SPEC, nested_attribute(AF_INET6, mode)))
    if change.dormant is not None:
        # In the dormant mode nothing but such a request makes it run again (rfc2863_policy()).
        link_mode = IF_LINK_MODE_DORMANT if change.dormant else IF_LINK_MODE_DEFAULT
        state = IF_OPER_DORMANT if change.dormant else IF_OPER_UP
        attributes.append(Attribute(Ifla.LINKMODE, bytes([link_mode])))
        attributes.append(Attribute(Ifla.OPERSTATE, bytes([state])))
    header = encode_link_header(index, up=change.up, multicast=change.multicast)
    return header + encode_attributes(attributes)


def encode_link_group(group: int) -> bytes:
    """All links of a group, for RTM_DELLINK."""
    return encode_attributes([u32_attribute(Ifla.GROUP, group)])


def encode_no_queue(index: int) -> bytes:
    """RTM_NEWQDISC: packets go straight to the link (``noqueue``)."""
    header = _QDISC.pack(0, index, 0, TC_H_ROOT, 0)
    return header + encode_attributes([text_attribute(TCA_KIND, "noqueue")])


def encode_veth(name: str, peer: str, peer_namespace: int | None) -> bytes:
    """RTM_NEWLINK of a veth pair, whose other end is made in ``peer_namespace`` (a descriptor)."""
    attributes = [text_attribute(Ifla.IFNAME, peer)]
    if peer_namespace is not None:
        attributes.append(u32_attribute(Ifla.NET_NS_FD, peer_namespace))
    other = encode_link_header() + encode_attributes(attributes)
    data = nested_attribute(IflaInfo.DATA, Attribute(VETH_INFO_PEER, other))
    info = nested_attribute(Ifla.LINKINFO, text_attribute(IflaInfo.KIND, "veth"), data)
    return encode_link_header() + encode_attributes([text_attribute(Ifla.IFNAME, name), info])


def encode_new_interface(interface: Interface, link: int | None = None) -> bytes:
    """RTM_NEWLINK of a new XFRM interface or VTI; ``link`` is its underlying device's index."""
    info = (
        _xfrm_info(None if interface.external else interface.if_id, link)
        if interface.vti is None
        else _vti_info(interface.vti)
    )
    attributes = [
        text_attribute(Ifla.IFNAME, interface.name),
        u32_attribute(Ifla.MTU, interface.mtu),
        info,
    ]
    return encode_link_header() + encode_attributes(attributes)


def encode_xfrm_if_id(index: int, if_id: IfId, link: int | None = None) -> bytes:
    """RTM_NEWLINK that changes the if_id of an XFRM interface, which keeps its ``link``.

    The kernel takes a missing IFLA_XFRM_LINK for 0 and refuses to change it.
    """
    return encode_link_header(index) + encode_attributes([_xfrm_info(if_id, link)])


def encode_vti_change(index: int, vti: VtiEnds, mtu: int) -> bytes:
    """RTM_NEWLINK that gives a VTI other keys or ends; without ``mtu`` the kernel sets its own."""
    attributes = [u32_attribute(Ifla.MTU, mtu), _vti_info(vti)]
    return encode_link_header(index) + encode_attributes(attributes)


def _xfrm_info(if_id: IfId | None, link: int | None) -> Attribute:
    if if_id is None:
        data = [Attribute(IflaXfrm.COLLECT_METADATA, b"")]
    else:
        data = [u32_attribute(IflaXfrm.IF_ID, if_id)]
    if link is not None:
        data.append(u32_attribute(IflaXfrm.LINK, link))
    kind = text_attribute(IflaInfo.KIND, KIND_XFRM)
    return nested_attribute(Ifla.LINKINFO, kind, nested_attribute(IflaInfo.DATA, *data))


def _vti_info(vti: VtiEnds) -> Attribute:
    data = [
        Attribute(IflaVti.IKEY, _BE32.pack(vti.input_key)),
        Attribute(IflaVti.OKEY, _BE32.pack(vti.output_key)),
        Attribute(IflaVti.LOCAL, vti.local.packed),
        # The wildcard is written out: for a VTI of IPv6 a missing address is no change.
        Attribute(
            IflaVti.REMOTE, vti.remote.packed if vti.remote else bytes(len(vti.local.packed))
        ),
    ]
    kind = text_attribute(IflaInfo.KIND, KINDS_VTI[vti.local.version == 6])
    return nested_attribute(Ifla.LINKINFO, kind, nested_attribute(IflaInfo.DATA, *data))


def encode_link_name(name: str) -> bytes:
    """RTM_GETLINK of one link by its name."""
    return encode_link_header() + encode_attributes([text_attribute(Ifla.IFNAME, name)])


def encode_link_dump() -> bytes:
    """RTM_GETLINK of all links, without their counters, which are most of each answer."""
    return encode_link_header() + encode_attributes([_WITHOUT_COUNTERS])


def parse_link_name(payload: bytes) -> tuple[int, str]:
    """Index and name alone, from RTM_NEWLINK: of thousands where nothing else is asked for."""
    (_family, _type, index, _flags, _change), attributes = parse_fixed(
        _LINK, payload, "RTM_NEWLINK"
    )
    return index, parse_text(attributes.get(Ifla.IFNAME, b""))


def parse_link(payload: bytes) -> Link:
    """From RTM_NEWLINK or RTM_DELLINK."""
    (_family, _type, index, flags, _change), attributes = parse_fixed(_LINK, payload, "RTM_NEWLINK")
    kind, data = _parse_info(attributes.get(Ifla.LINKINFO))
    is_xfrm = kind == KIND_XFRM
    if_id = parse_u32(data, IflaXfrm.IF_ID) if is_xfrm else 0
    alias = attributes.get(Ifla.IFALIAS)
    return Link(
        index=index,
        name=parse_text(attributes.get(Ifla.IFNAME, b"")),
        kind=kind,
        mtu=parse_u32(attributes, Ifla.MTU),
        up=bool(flags & IFF_UP),
        multicast=bool(flags & IFF_MULTICAST),
        dormant=attributes.get(Ifla.OPERSTATE, b"")[:1] == bytes([IF_OPER_DORMANT]),
        carrier=bool(flags & IFF_LOWER_UP),
        point_to_point=bool(flags & IFF_POINTOPOINT),
        alias=None if alias is None else parse_text(alias),
        if_id=IfId(if_id) if if_id else None,
        underlying=(parse_u32(data, IflaXfrm.LINK) or None) if is_xfrm else None,
        group=parse_u32(attributes, Ifla.GROUP),
        external=is_xfrm and IflaXfrm.COLLECT_METADATA in data,
        master=parse_u32(attributes, Ifla.MASTER) or None,
        table=parse_u32(data, IFLA_VRF_TABLE) if kind == KIND_VRF else None,
        vti=_parse_vti(data) if kind in KINDS_VTI else None,
    )


def _parse_info(octets: bytes | None) -> tuple[str | None, Mapping[int, bytes]]:
    """Kind and data of IFLA_LINKINFO; data of kinds that we know only, since others may be odd."""
    info: Mapping[int, bytes] = {}
    if octets is not None:
        info = parse_payloads(octets, what="IFLA_LINKINFO")
    kind = parse_text(info[IflaInfo.KIND]) if IflaInfo.KIND in info else None
    if kind not in (KIND_XFRM, KIND_VRF, *KINDS_VTI) or IflaInfo.DATA not in info:
        return kind, {}
    return kind, parse_payloads(info[IflaInfo.DATA], what="IFLA_INFO_DATA")


def _parse_vti(data: Mapping[int, bytes]) -> VtiEnds | None:
    """None for a fallback device, which has no local address."""
    local = data.get(IflaVti.LOCAL, b"")
    remote = data.get(IflaVti.REMOTE, b"")
    if not any(local):
        return None
    return VtiEnds(
        parse_ip(local),
        parse_ip(remote) if any(remote) else None,
        _be32(data, IflaVti.IKEY),
        _be32(data, IflaVti.OKEY),
    )


def _be32(attributes: Mapping[int, bytes], which: int) -> int:
    octets = attributes.get(which, b"")
    return int(_BE32.unpack(octets)[0]) if len(octets) == _BE32.size else 0


def parse_link_stats(payload: bytes) -> Mapping[str, int]:
    """``struct rtnl_link_stats64`` of RTM_NEWLINK; older kernels give fewer numbers."""
    _, attributes = parse_fixed(_LINK, payload, "RTM_NEWLINK")
    octets = attributes.get(Ifla.STATS64, b"")
    numbers = struct.unpack(f"={len(octets) // 8}Q", octets[: len(octets) // 8 * 8])
    return dict(zip(LINK_COUNTERS, numbers, strict=False))
