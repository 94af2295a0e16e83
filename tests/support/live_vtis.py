"""Live VTIs as values: a system as its kernel shows it."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from plutino.migration.live import LiveSystem
from plutino.model.algorithms import ESP_SUITES
from plutino.model.interface import VtiEnds
from plutino.model.link import Address, Link, Route
from plutino.model.numbers import IfId, Mark, ReqId, Spi
from plutino.model.policy import Direction, IpNetwork, Policy, Selector, Template
from plutino.model.sa import ReplayState, SaDirection, SecurityAssociation
from plutino.model.secret import Secret

LOCAL, REMOTE, ROME = map(ip_address, ("192.0.2.1", "192.0.2.2", "192.0.2.3"))
LINK = Link(7, "vti1", "vti", 1480, up=True, vti=VtiEnds(LOCAL, REMOTE, 5, 5))
EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))
SUITE = ESP_SUITES["aes128gcm16"]
SECRET = Secret(bytes(range(20)))


def sas(peer: object = REMOTE, window: int = 32) -> tuple[SecurityAssociation, ...]:
    """Its two SAs, of the VTI's mark."""
    remote = ip_address(str(peer))
    outbound = SecurityAssociation(
        Spi(0x101),
        LOCAL,
        remote,
        ReqId(1),
        IfId(0),
        SUITE.keys(SECRET),
        SaDirection.OUT,
        mark=Mark(5),
    )
    replay = ReplayState(window=window)
    inbound = replace(outbound, spi=Spi(0x102), source=remote, destination=LOCAL, replay=replay)
    return outbound, inbound


def policies(
    local: IpNetwork, remote: IpNetwork, peer: object = REMOTE, priority: int = 0
) -> tuple[Policy, ...]:
    """In all three directions."""
    other = ip_address(str(peer))
    there, back = Selector(local, remote), Selector(remote, local)
    outward, inward = Template(LOCAL, other, ReqId(1)), Template(other, LOCAL, ReqId(1))
    return tuple(
        Policy(direction, selector, IfId(0), (template,), priority, mark=Mark(5))
        for direction, selector, template in (
            (Direction.OUT, there, outward),
            (Direction.IN, back, inward),
            (Direction.FWD, back, inward),
        )
    )


def system(**changes: Any) -> LiveSystem:
    """A usual VTI: everything may pass, one network of each family is behind the peer."""
    whole = LiveSystem(
        links=(Link(1, "lo", None, 65536, up=True), LINK),
        addresses=(
            Address("vti1", ip_interface("10.255.0.0/31")),
            Address("vti1", ip_interface("fe80::1/64")),
        ),
        routes=(
            route("10.255.0.0/31", protocol=2),
            route("fe80::/64", protocol=2, metric=256),
            route("10.2.0.0/16"),
            route("2001:db8:2::/48", metric=1024),
        ),
        policies=tuple(one for net in EVERYTHING for one in policies(net, net)),
        sas=sas(),
    )
    return replace(whole, **changes)


def route(destination: str, protocol: int = 3, metric: int = 0, table: int = 254) -> Route:
    """Into the VTI."""
    network = ip_network(destination)
    return Route(network, "vti1", protocol=protocol, metric=metric, table=table)
