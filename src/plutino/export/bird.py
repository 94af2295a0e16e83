"""BIRD 2's configuration (``bird.conf``). Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from plutino.config.gateway import Gateway
from plutino.export.neighbours import (
    Neighbour,
    RoutingOptions,
    interfaces_in,
    neighbours,
    of_version,
    router_id,
    vrfs,
    without_neighbour,
)

_LEARNT = "source ~ [ RTS_BGP, RTS_BABEL, RTS_OSPF, RTS_OSPF_IA, RTS_OSPF_EXT1, RTS_OSPF_EXT2 ]"


@dataclass(frozen=True, slots=True)
class _Place:
    """The main table, or a VRF with tables of its own in BIRD and in the kernel."""

    vrf: str | None
    kernel_table: int | None
    interfaces: str

    def name(self, protocol: str) -> str:
        """A protocol's name, which is unique in BIRD."""
        return f"plutino_{protocol}" if self.vrf is None else f"plutino_{protocol}_{self.word}"

    @property
    def word(self) -> str:
        """The VRF's name as BIRD takes it for a symbol."""
        return _word(self.vrf or "")

    @property
    def bind(self) -> str:
        """The first option of each protocol."""
        return "" if self.vrf is None else f' vrf "{self.vrf}";'

    def channel(self, version: int, filters: str = "") -> str:
        """Routes of one IP version, of and to this place's table."""
        table = "" if self.vrf is None else f" table plutino_{self.word}{version};"
        inner = f"{table}{filters}"
        return f"ipv{version} {{{inner} }};" if inner else f"ipv{version};"


def bird_text(gateway: Gateway, options: RoutingOptions) -> str:
    """Device and kernel, and OSPF, Babel, BGP and BFD where they are asked for.

    ``options.vrf_tables`` must have each VRF of the gateway; KeyError if it lacks one.
    """
    return "\n".join(_lines(gateway, options)) + "\n"


def _lines(gateway: Gateway, options: RoutingOptions) -> Iterator[str]:
    yield "# Written by `plutino export bird`: the whole of bird.conf, or what to take from it."
    yield "# plutino makes the interfaces; a tunnel without a usable path is seen as link down."
    yield f"router id {router_id(gateway)};"
    yield "protocol device { scan time 5; }"
    for vrf in vrfs(gateway) or [None]:
        interfaces = ", ".join(f'"{one}"' for one in interfaces_in(gateway, vrf))
        place = _Place(vrf, None if vrf is None else options.vrf_tables[vrf], interfaces)
        yield from _tables(place, options)
        if interfaces and (options.area is not None or options.babel):
            yield from _interior(place, options)
        if options.own_as is not None:
            yield from _exterior(gateway, place, options)


def _tables(place: _Place, options: RoutingOptions) -> Iterator[str]:
    for version in (4, 6):
        if place.vrf is not None:
            yield f"ipv{version} table plutino_{place.word}{version};"
        yield f"protocol kernel {place.name(f'kernel{version}')} {{{place.bind}"
        if place.kernel_table is not None:
            yield f"  kernel table {place.kernel_table};"
        yield f"  {place.channel(version, f' import none; export where {_LEARNT};')}"
        yield "}"
        if networks := of_version(options.announced, version):
            yield f"protocol static {place.name(f'announced{version}')} {{{place.bind}"
            yield f"  {place.channel(version)}"
            yield from (f"  route {network} unreachable;" for network in networks)
            yield "}"


def _interior(place: _Place, options: RoutingOptions) -> Iterator[str]:
    # Preferred to OSPF's own routes to these networks, which would take the kernel's place.
    channels = f"{place.channel(4)} {place.channel(6)}"
    yield (
        f"protocol direct {place.name('direct')} {{{place.bind} {channels} "
        f"interface {place.interfaces}; }}"
    )
    if options.area is not None:
        for name, version, family in (("v2", 2, 4), ("v3", 3, 6)):
            yield f"protocol ospf v{version} {place.name(f'ospf_{name}')} {{{place.bind}"
            told = " import all; export where source = RTS_STATIC;"
            yield f"  {place.channel(family, told)}"
            yield f"  area {options.area} {{"
            yield f"    interface {place.interfaces} {{ type ptp; check link yes; }};"
            yield "  };"
            yield "}"
    if options.babel:
        yield f"protocol babel {place.name('babel')} {{{place.bind}"
        for family in (4, 6):
            told = " import all; export where source ~ [ RTS_STATIC, RTS_BABEL ];"
            yield f"  {place.channel(family, told)}"
        yield f"  interface {place.interfaces} {{ type wired; check link yes; }};"
        yield "}"


def _exterior(gateway: Gateway, place: _Place, options: RoutingOptions) -> Iterator[str]:
    if options.bfd:
        yield f"protocol bfd {place.name('bfd')} {{{place.bind}"
        if place.interfaces:
            yield f"  interface {place.interfaces} {{ interval 300 ms; multiplier 5; }};"
        yield "}"
    for number, peer in enumerate(neighbours(gateway, place.vrf)):
        yield from _bgp(peer, number, place, options)
    for name in without_neighbour(gateway, place.vrf):
        yield f"# tunnel {name}: a protocol bgp of its own (it has no /31, /127 or /30)"


def _bgp(peer: Neighbour, number: int, place: _Place, options: RoutingOptions) -> Iterator[str]:
    at = options.peer_as.get(peer.tunnel)
    yield f"protocol bgp plutino_{_word(peer.tunnel)}_{number} {{{place.bind}"
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
    told = " import all; export where source ~ [ RTS_STATIC, RTS_BGP ];"
    yield f"  {place.channel(peer.address.version, told)}"
    yield "}"


def _word(name: str) -> str:
    return "".join(sign if sign.isalnum() else "_" for sign in name)
