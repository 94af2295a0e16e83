"""One side of a tunnel's traffic, and packets between two: RFC 7296, 3.13.1 by prefixes. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_network
from itertools import product
from typing import Final

from plutino.model.policy import IpAddress, IpNetwork, Selector, is_within

LAST_PORT: Final = 0xFFFF
ICMP: Final = 1
ICMPV6: Final = 58
PROTOCOLS: Final = {
    "icmp": ICMP,
    "igmp": 2,
    "ipip": 4,
    "tcp": 6,
    "udp": 17,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "ipv6-icmp": ICMPV6,
    "ospf": 89,
    "pim": 103,
    "vrrp": 112,
    "l2tp": 115,
    "sctp": 132,
    "udplite": 136,
}
"""Names of IANA, as ``/etc/protocols`` has them."""
WITH_PORTS: Final = frozenset({6, 17, 132, 136})
"""Those of which Linux compares ports (``xfrm_flowi_sport()``)."""
WITH_TYPES: Final = frozenset({ICMP, ICMPV6})
_NAMES: Final = {number: name for name, number in PROTOCOLS.items()}


def protocol_name(protocol: int) -> str:
    """Its name, or its number."""
    return _NAMES.get(protocol, str(protocol))


@dataclass(frozen=True, slots=True)
class NetworkSelector:
    """The packets of one side: a prefix, a protocol (0 is any), and a range of ports.

    For ICMP the ports hold type and code, of what this side sends (RFC 4301, 4.4.1.3).
    """

    network: IpNetwork
    protocol: int = 0
    first_port: int = 0
    last_port: int = LAST_PORT

    def __str__(self) -> str:
        """As in a gateway file: ``10.1.0.0/16[tcp/443]``."""
        if self.is_whole:
            return str(self.network)
        words = protocol_name(self.protocol) if self.protocol else "any"
        first, last = self.first_port, self.last_port
        if self.protocol in WITH_TYPES and not self.has_any_port:
            is_type = last - first == 0xFF and not first & 0xFF
            words += f"/{first >> 8}" if is_type else f"/{first:#06x}-{last:#06x}"
        elif not self.has_any_port:
            words += f"/{first}" if first == last else f"/{first}-{last}"
        return f"{self.network}[{words}]"

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.network.version

    @property
    def has_any_port(self) -> bool:
        """Whether ports, or types, are no condition."""
        return (self.first_port, self.last_port) == (0, LAST_PORT)

    @property
    def is_whole(self) -> bool:
        """Whether it has every packet of its network."""
        return not self.protocol and self.has_any_port

    @property
    def of_any_type(self) -> "NetworkSelector":
        """With all types of ICMP, as packets to this side may have them: each end's are its own."""
        if self.protocol in WITH_TYPES:
            return NetworkSelector(self.network, self.protocol)
        return self

    def meets(self, other: "NetworkSelector") -> bool:
        """Whether there are packets between this side and the other."""
        return self.version == other.version and _is_common(self.protocol, other.protocol)

    def is_within(self, outer: "NetworkSelector") -> bool:
        """Whether each of its packets is one of another selector of the same side."""
        return (
            is_within(self.network, outer.network)
            and outer.protocol in (0, self.protocol)
            and outer.first_port <= self.first_port
            and self.last_port <= outer.last_port
        )

    def overlaps(self, other: "NetworkSelector") -> bool:
        """Whether both select some packet of the same side."""
        return (
            self.meets(other)
            and (is_within(self.network, other.network) or is_within(other.network, self.network))
            and self.first_port <= other.last_port
            and other.first_port <= self.last_port
        )

    def has(self, address: IpAddress, protocol: int, port: int | None = None) -> bool:
        """Whether a packet of an address, protocol and port is of it; no port: one not known."""
        return (
            address in self.network
            and self.protocol in (0, protocol)
            and (self.has_any_port if port is None else self.first_port <= port <= self.last_port)
        )


EVERYTHING: Final = NetworkSelector(ip_network("0.0.0.0/0")), NetworkSelector(ip_network("::/0"))
"""All packets of both IP versions."""


def everything(version: int) -> IpNetwork:
    """All addresses of an IP version."""
    return EVERYTHING[version == 6].network


def at_address(
    selectors: Iterable[NetworkSelector], address: IpAddress
) -> tuple[NetworkSelector, ...]:
    """What they have of one address, as transport mode wants it, wherever that is by now."""
    network = ip_network(address)
    return tuple(
        replace(one, network=network) for one in selectors if one.version == address.version
    )


def packets_between(source: NetworkSelector, destination: NetworkSelector) -> Iterator[Selector]:
    """What the source's side sends to the other, as policies take it.

    Ranges of ports become prefixes. Of ICMP, types are those that the source's side sends.
    """
    if not source.meets(destination):
        return
    protocol = source.protocol or destination.protocol
    if protocol in WITH_TYPES:
        ports = _types(source.first_port, source.last_port)
    else:
        sides = (port_prefixes(one.first_port, one.last_port) for one in (source, destination))
        ports = (here + there for here, there in product(*sides))
    for one in ports:
        yield Selector(source.network, destination.network, protocol, *one)


def port_prefixes(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Ports with their masks that make up a range; none for OPAQUE, which ends before it begins."""
    while first <= last:
        size = first & -first or LAST_PORT + 1
        while first + size - 1 > last:
            size //= 2
        yield first, LAST_PORT + 1 - size
        first += size


def count_pairs(
    local: Iterable[NetworkSelector], remote: Iterable[NetworkSelector], most: int | None = None
) -> int:
    """How many pairs of prefixes of ports selectors make, which are policies, at most.

    Nobody counts further where one side has more than ``most`` by itself.
    """

    def parts(side: Iterable[NetworkSelector]) -> int:
        count = 0
        for one in side:
            if most is not None and count > most:
                break
            count += sum(1 for _ in port_prefixes(one.first_port, one.last_port))
        return count

    return parts(local) * parts(remote)


def _types(first: int, last: int) -> Iterator[tuple[int, int, int, int]]:
    """Types and codes with their masks, which stand where others have their two ports.

    A range is one of whole types, or of codes of one type; another has no packets.
    """
    if (first, last) == (0, LAST_PORT):
        yield 0, 0, 0, 0
    elif not first & 0xFF and last & 0xFF == 0xFF:
        for kind, mask in port_prefixes(first >> 8, last >> 8):
            yield kind, mask, 0, 0
    elif first >> 8 == last >> 8:
        for code, mask in port_prefixes(first & 0xFF, last & 0xFF):
            yield first >> 8, LAST_PORT, code, mask


def _is_common(one: int, other: int) -> bool:
    return not one or not other or one == other
