"""BIRD 2's configuration (``bird.conf``). Pure."""

from collections.abc import Iterator

from plutino.config.gateway import Gateway
from plutino.export.neighbours import (
    Neighbour,
    RoutingOptions,
    neighbours,
    of_version,
    routed_interfaces,
    router_id,
    without_neighbour,
)

_LEARNT = "source ~ [ RTS_BGP, RTS_OSPF, RTS_OSPF_IA, RTS_OSPF_EXT1, RTS_OSPF_EXT2 ]"


def bird_text(gateway: Gateway, options: RoutingOptions) -> str:
    """Device and kernel, and OSPF, BGP and BFD where they are asked for."""
    return "\n".join(_lines(gateway, options)) + "\n"


def _lines(gateway: Gateway, options: RoutingOptions) -> Iterator[str]:
    yield "# Written by `plutino export bird`: the whole of bird.conf, or what to take from it."
    yield "# plutino makes the interfaces; a tunnel without a usable path is seen as link down."
    yield f"router id {router_id(gateway)};"
    yield "protocol device { scan time 5; }"
    for version in (4, 6):
        yield f"protocol kernel plutino_kernel{version} {{"
        yield f"  ipv{version} {{ import none; export where {_LEARNT}; }};"
        yield "}"
        if networks := of_version(options.announced, version):
            yield f"protocol static plutino_announced{version} {{"
            yield f"  ipv{version};"
            yield from (f"  route {network} unreachable;" for network in networks)
            yield "}"
    interfaces = ", ".join(f'"{one}"' for one in routed_interfaces(gateway))
    if options.area is not None and interfaces:
        # Preferred to OSPF's own routes to these networks, which would take the kernel's place.
        yield f"protocol direct plutino_direct {{ ipv4; ipv6; interface {interfaces}; }}"
        for name, version, channel in (("v2", 2, "ipv4"), ("v3", 3, "ipv6")):
            yield f"protocol ospf v{version} plutino_ospf_{name} {{"
            yield f"  {channel} {{ import all; export where source = RTS_STATIC; }};"
            yield f"  area {options.area} {{"
            yield f"    interface {interfaces} {{ type ptp; check link yes; }};"
            yield "  };"
            yield "}"
    if options.own_as is not None:
        if options.bfd:
            yield "protocol bfd plutino_bfd {"
            if interfaces:
                yield f"  interface {interfaces} {{ interval 300 ms; multiplier 5; }};"
            yield "}"
        for number, peer in enumerate(neighbours(gateway)):
            yield from _bgp(peer, number, options)
        for name in without_neighbour(gateway):
            yield f"# tunnel {name}: a protocol bgp of its own (it has no /31, /127 or /30)"


def _bgp(peer: Neighbour, number: int, options: RoutingOptions) -> Iterator[str]:
    word = "".join(sign if sign.isalnum() else "_" for sign in peer.tunnel)
    at = options.peer_as.get(peer.tunnel)
    yield f"protocol bgp plutino_{word}_{number} {{"
    yield f"  local {peer.ours} as {options.own_as};"
    yield f"  neighbor {peer.address} {'external' if at is None else f'as {at}'};"
    yield f'  interface "{peer.interface}";'
    yield "  direct;"
    yield "  check link yes;"
    yield "  connect delay time 1;"
    yield "  connect retry time 5;"
    yield "  error wait time 5, 60;"
    if options.bfd:
        yield "  bfd yes;"
    channel = "import all; export where source ~ [ RTS_STATIC, RTS_BGP ];"
    yield f"  ipv{peer.address.version} {{ {channel} }};"
    yield "}"
