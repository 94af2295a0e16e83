"""Selectors, templates and policies: the SPD in values (RFC 4301, 4.4.1; ``linux/xfrm.h``)."""

from dataclasses import dataclass, replace
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from plutino.model.numbers import IfId, Mark, ReqId, Spi

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network


def is_within(inner: IpNetwork, outer: IpNetwork) -> bool:
    """Whether a network is another one, or a part of it; never of the other IP version."""
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


class Direction(IntEnum):
    """XFRM_POLICY_IN, OUT and FWD."""

    IN = 0
    OUT = 1
    FWD = 2


class Action(IntEnum):
    """XFRM_POLICY_ALLOW and BLOCK."""

    ALLOW = 0
    BLOCK = 1


class Default(IntEnum):
    """XFRM_USERPOLICY_*: what happens to a packet without a policy; UNSPEC changes nothing."""

    UNSPEC = 0
    BLOCK = 1
    ACCEPT = 2


@dataclass(frozen=True, slots=True)
class PolicyDefaults:
    """What happens to packets that fit no policy, by direction (XFRM_MSG_SETDEFAULT)."""

    inbound: Default = Default.UNSPEC
    forward: Default = Default.UNSPEC
    outbound: Default = Default.UNSPEC


class Mode(IntEnum):
    """XFRM_MODE_*: how the inner packet is wrapped."""

    TRANSPORT = 0
    TUNNEL = 1
    BEET = 4


@dataclass(frozen=True, slots=True)
class Selector:
    """Which packets: both prefixes of one family; protocol and ports 0 mean any, under masks."""

    source: IpNetwork
    destination: IpNetwork
    protocol: int = 0
    source_port: int = 0
    source_port_mask: int = 0
    destination_port: int = 0
    destination_port_mask: int = 0
    ifindex: int = 0
    user: int = 0

    def __post_init__(self) -> None:
        if self.source.version != self.destination.version:
            raise ValueError(f"{self.source} and {self.destination} are of different families")

    def __str__(self) -> str:
        ends = (
            f"{network} port {port:#x}/{mask:#x}" if mask else str(network)
            for network, port, mask in (
                (self.source, self.source_port, self.source_port_mask),
                (self.destination, self.destination_port, self.destination_port_mask),
            )
        )
        protocol = f" protocol {self.protocol}" if self.protocol else ""
        return " -> ".join(ends) + protocol

    def reversed(self) -> "Selector":
        """The packets the other way."""
        return replace(
            self,
            source=self.destination,
            destination=self.source,
            source_port=self.destination_port,
            source_port_mask=self.destination_port_mask,
            destination_port=self.source_port,
            destination_port_mask=self.source_port_mask,
        )


ANY_SPI = Spi(0)


@dataclass(frozen=True, slots=True)
class Template:
    """The SA that a policy asks for (``struct xfrm_user_tmpl``)."""

    source: IpAddress
    destination: IpAddress
    reqid: ReqId
    mode: Mode = Mode.TUNNEL
    protocol: int = 50
    spi: Spi = ANY_SPI
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """One entry of the SPD. Its identity is direction, selector, if_id and mark."""

    direction: Direction
    selector: Selector
    if_id: IfId
    templates: tuple[Template, ...]
    priority: int = 0
    action: Action = Action.ALLOW
    mark: Mark | None = None

    @property
    def identity(self) -> tuple[Direction, Selector, IfId, Mark | None]:
        """What XFRM_MSG_DELPOLICY needs to name this policy."""
        return (self.direction, self.selector, self.if_id, self.mark)
