"""FRRouting's configuration (``frr.conf``). Pure."""

from collections.abc import Iterator

from plutino.config.gateway import Gateway
from plutino.export.neighbours import (
    RoutingOptions,
    neighbours,
    of_version,
    routed_interfaces,
    router_id,
    vrfs,
    without_neighbour,
)


def frr_text(gateway: Gateway, options: RoutingOptions) -> str:
    """Interfaces, and OSPF and BGP where they are asked for."""
    return "\n".join(_lines(gateway, options)) + "\n"


def _lines(gateway: Gateway, options: RoutingOptions) -> Iterator[str]:
    yield "! Written by `plutino export frr`: put it into frr.conf, or load it with `vtysh -f`."
    yield "! plutino makes the interfaces; a tunnel without a usable path is seen as link down."
    tunnels = {one.interface: name for name, one in gateway.tunnels.items()}
    for interface in routed_interfaces(gateway):
        yield f"interface {interface}{_of(gateway.options(interface).vrf)}"
        yield f" description plutino tunnel {tunnels[interface]}"
        if options.area is not None:
            yield f" ip ospf area {options.area}"
            yield " ip ospf network point-to-point"
            yield f" ipv6 ospf6 area {options.area}"
            yield " ipv6 ospf6 network point-to-point"
        yield "exit"
    for vrf in vrfs(gateway):
        if options.area is not None:
            yield from _ospf(gateway, options, vrf)
        if options.own_as is not None:
            yield from _bgp(gateway, options, vrf)


def _of(vrf: str | None) -> str:
    return "" if vrf is None else f" vrf {vrf}"


def _ospf(gateway: Gateway, options: RoutingOptions, vrf: str | None) -> Iterator[str]:
    yield f"router ospf{_of(vrf)}"
    yield f" ospf router-id {router_id(gateway)}"
    yield "exit"
    if vrf is None:
        # ospfd takes no `network` beside `ip ospf area`, and ospf6d has none.
        for network in options.announced:
            word = "ip ospf" if network.version == 4 else "ipv6 ospf6"
            yield f"! {network}: `{word} area {options.area}` on the interface that leads there"
    yield f"router ospf6{_of(vrf)}"
    yield f" ospf6 router-id {router_id(gateway)}"
    yield "exit"


def _bgp(gateway: Gateway, options: RoutingOptions, vrf: str | None) -> Iterator[str]:
    peers = list(neighbours(gateway, vrf))
    yield f"router bgp {options.own_as}{_of(vrf)}"
    yield f" bgp router-id {router_id(gateway)}"
    yield " no bgp default ipv4-unicast"
    yield " no bgp ebgp-requires-policy"
    yield " no bgp network import-check"
    for peer in peers:
        number = options.peer_as.get(peer.tunnel, "external")
        yield f" neighbor {peer.address} remote-as {number}"
        yield f" neighbor {peer.address} description {peer.tunnel}"
        yield f" neighbor {peer.address} interface {peer.interface}"
        yield f" neighbor {peer.address} timers connect 5"
        if options.bfd:
            yield f" neighbor {peer.address} bfd"
    for name in without_neighbour(gateway, vrf):
        yield f" ! tunnel {name}: neighbor ADDRESS remote-as NUMBER (it has no /31, /127 or /30)"
    for version, family in ((4, "ipv4"), (6, "ipv6")):
        yield f" address-family {family} unicast"
        for network in of_version(options.announced, version):
            yield f"  network {network}"
        for peer in peers:
            if peer.address.version == version:
                yield f"  neighbor {peer.address} activate"
        yield " exit-address-family"
    yield "exit"
