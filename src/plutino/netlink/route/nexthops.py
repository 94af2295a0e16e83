"""The ways of a multipath route (``struct rtnexthop``, ``linux/rtnetlink.h``) and back. Pure."""

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from plutino.model.errors import WireError
from plutino.model.link import NextHop
from plutino.netlink.route.constants import RTNH_F_ONLINK, Rta
from plutino.netlink.route.fields import parse_ip
from plutino.netlink.wire import Attribute, align, encode_attributes, parse_payloads

_NEXTHOP: Final = struct.Struct("=HBBi")
"""Length, flags, weight less one, index."""


def encode_nexthops(nexthops: Iterable[NextHop], indexes: Mapping[str, int]) -> bytes:
    """The content of RTA_MULTIPATH. A gateway is taken to be on the link."""
    octets = b""
    for one in nexthops:
        attributes = b""
        if one.gateway is not None:
            attributes = encode_attributes([Attribute(Rta.GATEWAY, one.gateway.packed)])
        flags = RTNH_F_ONLINK if one.gateway is not None else 0
        length = _NEXTHOP.size + len(attributes)
        octets += _NEXTHOP.pack(length, flags, one.weight - 1, indexes[one.interface]) + attributes
    return octets


def parse_nexthops(octets: bytes, names: Mapping[int, str]) -> tuple[NextHop, ...]:
    """In the order of their interfaces, which says nothing. Raises WireError."""
    return tuple(sorted(_nexthops(octets, names), key=lambda one: one.interface))


def _nexthops(octets: bytes, names: Mapping[int, str]) -> Iterator[NextHop]:
    offset = 0
    while offset < len(octets):
        if len(octets) - offset < _NEXTHOP.size:
            raise WireError("RTA_MULTIPATH", offset=offset, why="next hop truncated")
        length, _flags, hops, index = _NEXTHOP.unpack_from(octets, offset)
        if not _NEXTHOP.size <= length <= len(octets) - offset:
            raise WireError(
                "RTA_MULTIPATH", offset=offset, why=f"next hop of {length} bytes does not fit"
            )
        inside = octets[offset + _NEXTHOP.size : offset + length]
        found = parse_payloads(inside, what="rtnexthop")
        yield NextHop(
            interface=names.get(index, f"#{index}"),
            gateway=parse_ip(found[Rta.GATEWAY]) if Rta.GATEWAY in found else None,
            weight=hops + 1,
        )
        offset += align(length)
