"""Everything that plutino installs, each in the words of iproute2. Keys never appear."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from plutino.model.interface import Interface
from plutino.model.link import MAIN_TABLE, Address, Route, RouteType
from plutino.model.netfilter import NetfilterTable
from plutino.model.policy import Policy, PolicyDefaults, Selector
from plutino.model.rule import Rule
from plutino.model.sa import SecurityAssociation
from plutino.model.sysctl import Sysctl
from plutino.model.traffic import LAST_PORT, WITH_TYPES, protocol_name

Subject = (
    Interface
    | Address
    | Route
    | Rule
    | NetfilterTable
    | Policy
    | SecurityAssociation
    | PolicyDefaults
    | Sysctl
)


def kind_of(subject: Subject) -> str:
    """The word for the object: interface, address, route, rule, nftables, policy, sa, ..."""
    return _WORDS[type(subject)][0]


def describe(subject: Subject) -> str:
    """The object on one line, beginning with its kind."""
    kind, words = _WORDS[type(subject)]
    return f"{kind} {words(subject)}"


def describe_interface(interface: Interface) -> str:
    """As ``ip link`` writes it."""
    words = interface.name
    if (vti := interface.vti) is not None:
        ends = f"local {vti.local} remote {vti.remote or 'any'}"
        words += f" vti {ends} ikey {vti.input_key} okey {vti.output_key}"
    else:
        words += " external" if interface.external else f" if_id {int(interface.if_id)}"
    for word, device in (("dev", interface.link), ("vrf", interface.vrf)):
        words += f" {word} {device}" if device else ""
    return f"{words} mtu {interface.mtu}{_place(interface)}"


def describe_address(address: Address) -> str:
    """As ``ip address`` writes it."""
    return f"{address.address} dev {address.interface}{_place(address)}"


def describe_route(route: Route) -> str:
    """As ``ip route`` writes it."""
    kind = "unreachable " if route.route_type is RouteType.UNREACHABLE else ""
    encap = "" if route.if_id is None else f" encap xfrm if_id {int(route.if_id)}"
    device = f" via {route.gateway}" if route.gateway else ""
    device += f" dev {route.interface}" if route.interface else ""
    for hop in route.nexthops:
        via = f" via {hop.gateway}" if hop.gateway else ""
        device += f" nexthop{via} dev {hop.interface} weight {hop.weight}"
    table = f" table {route.table}" if route.table != MAIN_TABLE else ""
    source = f" src {route.source}" if route.source else ""
    words = f"{kind}{route.destination}{encap}{device}{table}{source}"
    return f"{words} metric {route.metric}{_place(route)}"


def describe_rule(rule: Rule) -> str:
    """As ``ip rule`` writes it."""
    words = f"family inet{'6' if rule.version == 6 else ''} priority {rule.priority}"
    if rule.source is not None:
        words += f" from {rule.source}"
    if rule.mark is not None:
        words += f" fwmark {rule.mark}"
    words += f" lookup {'main' if rule.table == MAIN_TABLE else rule.table}"
    if rule.suppress_prefix_length is not None:
        words += f" suppress_prefixlength {rule.suppress_prefix_length}"
    return words


def describe_table(table: NetfilterTable) -> str:
    """As ``nft list tables`` writes it."""
    return f"table inet {table.name}"


def describe_policy(policy: Policy) -> str:
    """As ``ip xfrm policy`` writes it."""
    return f"dir {policy.direction.name.lower()} {_packets(policy.selector)}{_key(policy)}"


def describe_sa(sa: SecurityAssociation) -> str:
    """As ``ip xfrm state`` writes it."""
    ends = f"src {sa.source} dst {sa.destination}"
    return f"dir {sa.direction.name.lower()} {ends} spi {sa.spi}{_key(sa)}"


def describe_defaults(defaults: PolicyDefaults) -> str:
    """As ``ip xfrm policy getdefault`` writes it."""
    verdicts = {"in": defaults.inbound, "fwd": defaults.forward, "out": defaults.outbound}
    return " ".join(f"{way} {one.name.lower()}" for way, one in verdicts.items())


def describe_sysctl(sysctl: Sysctl) -> str:
    """As ``sysctl`` writes it."""
    key = f"net.{sysctl.family}.conf.{sysctl.device}.{sysctl.name}"
    return f"{key}={sysctl.value}{_place(sysctl)}"


def _packets(selector: Selector) -> str:
    words = f"src {selector.source} dst {selector.destination}"
    if selector.protocol:
        words += f" proto {protocol_name(selector.protocol)}"
    names = ("type", "code") if selector.protocol in WITH_TYPES else ("sport", "dport")
    ports = (
        (names[0], selector.source_port, selector.source_port_mask),
        (names[1], selector.destination_port, selector.destination_port_mask),
    )
    for name, port, mask in ports:
        if mask:
            words += f" {name} {port}" if mask == LAST_PORT else f" {name} {port}/{mask:#x}"
    return words


def _place(subject: Interface | Address | Route | Sysctl) -> str:
    return f" netns {subject.namespace}" if subject.namespace else ""


def _key(subject: Policy | SecurityAssociation) -> str:
    """What tells it from others with the same addresses."""
    words = f" if_id {int(subject.if_id)}" if subject.if_id else ""
    return words if subject.mark is None else f"{words} mark {subject.mark}"


_WORDS: Final[Mapping[type, tuple[str, Callable[[Any], str]]]] = {
    Interface: ("interface", describe_interface),
    Address: ("address", describe_address),
    Route: ("route", describe_route),
    Rule: ("rule", describe_rule),
    NetfilterTable: ("nftables", describe_table),
    Policy: ("policy", describe_policy),
    SecurityAssociation: ("sa", describe_sa),
    PolicyDefaults: ("policy-default", describe_defaults),
    Sysctl: ("sysctl", describe_sysctl),
}
