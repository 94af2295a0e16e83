"""Policy routing rules to rtnetlink payloads and back (``linux/fib_rules.h``). Pure."""

import struct
from enum import IntEnum
from ipaddress import ip_network
from typing import Final

from plutino.model.mark_use import MarkRule
from plutino.model.numbers import U32_MAX, Mark
from plutino.model.rule import Rule
from plutino.netlink.route.constants import AF_INET, AF_INET6, RT_TABLE_COMPAT
from plutino.netlink.route.fields import parse_fixed, parse_u32, u32_attribute
from plutino.netlink.wire import Attribute, encode_attributes

FR_ACT_TO_TBL: Final = 1
FIB_RULE_INVERT: Final = 2
_RULE: Final = struct.Struct("=BBBBBBBBI")
_VERSIONS: Final = {AF_INET: 4, AF_INET6: 6}
_FAMILIES: Final = {4: AF_INET, 6: AF_INET6}


class Fra(IntEnum):
    """``FRA_*``."""

    DST = 1
    SRC = 2
    IIFNAME = 3
    GOTO = 4
    PRIORITY = 6
    FWMARK = 10
    FLOW = 11
    TUN_ID = 12
    SUPPRESS_IFGROUP = 13
    SUPPRESS_PREFIXLEN = 14
    TABLE = 15
    FWMASK = 16
    OIFNAME = 17
    L3MDEV = 19
    UID_RANGE = 20
    PROTOCOL = 21


_OURS: Final = frozenset(
    {Fra.SRC, Fra.PRIORITY, Fra.FWMARK, Fra.FWMASK, Fra.TABLE, Fra.SUPPRESS_PREFIXLEN, Fra.PROTOCOL}
)
_NOTHING: Final[dict[int, int]] = {Fra.SUPPRESS_IFGROUP: U32_MAX, Fra.FLOW: 0}
"""What the kernel writes for something that a rule does not look at."""


def encode_rule(rule: Rule) -> bytes:
    """RTM_NEWRULE or RTM_DELRULE; every field that tells the rule from others is there."""
    table = rule.table if rule.table < RT_TABLE_COMPAT else RT_TABLE_COMPAT
    length = 0 if rule.source is None else rule.source.prefixlen
    header = _RULE.pack(_FAMILIES[rule.version], 0, length, 0, table, 0, 0, FR_ACT_TO_TBL, 0)
    attributes = [
        u32_attribute(Fra.PRIORITY, rule.priority),
        u32_attribute(Fra.TABLE, rule.table),
        Attribute(Fra.PROTOCOL, bytes([rule.protocol])),
    ]
    if rule.source is not None:
        attributes.append(Attribute(Fra.SRC, rule.source.network_address.packed))
    if rule.mark is not None:
        attributes.append(u32_attribute(Fra.FWMARK, rule.mark.value))
        attributes.append(u32_attribute(Fra.FWMASK, rule.mark.mask))
    if rule.suppress_prefix_length is not None:
        attributes.append(u32_attribute(Fra.SUPPRESS_PREFIXLEN, rule.suppress_prefix_length))
    return header + encode_attributes(attributes)


def encode_rule_dump(version: int) -> bytes:
    """RTM_GETRULE of one IP version."""
    return _RULE.pack(_FAMILIES[version], 0, 0, 0, 0, 0, 0, 0, 0)


def parse_rule(payload: bytes) -> Rule | None:
    """From RTM_NEWRULE; None if it looks at more than marks and source, or leads to no table."""
    fixed, attributes = parse_fixed(_RULE, payload, "RTM_NEWRULE")
    family, destination, source, tos, table, _res1, _res2, action, flags = fixed
    if family not in _VERSIONS or action != FR_ACT_TO_TBL or destination or tos or flags:
        return None
    for number in attributes.keys() - _OURS:
        if number not in _NOTHING or parse_u32(attributes, number) != _NOTHING[number]:
            return None
    suppress = parse_u32(attributes, Fra.SUPPRESS_PREFIXLEN, U32_MAX)
    mask = parse_u32(attributes, Fra.FWMASK)
    return Rule(
        version=_VERSIONS[family],
        priority=parse_u32(attributes, Fra.PRIORITY),
        table=parse_u32(attributes, Fra.TABLE, table),
        mark=Mark(parse_u32(attributes, Fra.FWMARK), mask) if mask else None,
        suppress_prefix_length=None if suppress == U32_MAX else suppress,
        source=ip_network((attributes[Fra.SRC], source)) if source else None,
        protocol=int.from_bytes(attributes.get(Fra.PROTOCOL, b"\0")[:1], "big"),
    )


def parse_mark_rule(payload: bytes) -> MarkRule | None:
    """From RTM_NEWRULE: what any rule, also of others, does with a mark; None if it has none."""
    fixed, attributes = parse_fixed(_RULE, payload, "RTM_NEWRULE")
    family, _dst, _src, _tos, table, _res1, _res2, _action, flags = fixed
    mask = parse_u32(attributes, Fra.FWMASK)
    if family not in _VERSIONS or not mask:
        return None
    return MarkRule(
        _VERSIONS[family],
        parse_u32(attributes, Fra.PRIORITY),
        Mark(parse_u32(attributes, Fra.FWMARK), mask),
        parse_u32(attributes, Fra.TABLE, table),
        inverted=bool(flags & FIB_RULE_INVERT),
        protocol=int.from_bytes(attributes.get(Fra.PROTOCOL, b"\0")[:1], "big"),
    )
