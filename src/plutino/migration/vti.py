"""A live VTI to a tunnel, or several, of a gateway file. Pure.

What plutino cannot express becomes a problem in words, and the rest is imported.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Final

from plutino.config.static_keys import StaticKeys
from plutino.desired.interfaces import DEFAULT_PATH_MTU, LOWEST_MTU, inner_mtu
from plutino.migration.live import LiveSystem, LiveVti
from plutino.model.algorithms import DEFAULT_ALGORITHM, ESP_SUITES, EspSuite, algorithm_names
from plutino.model.interface import InterfaceAddress
from plutino.model.link import MAIN_TABLE, Route, RouteType
from plutino.model.numbers import Mark
from plutino.model.policy import Direction, IpAddress, IpNetwork, Mode, Policy
from plutino.model.sa import NAT_T_PORT, Encapsulation
from plutino.model.traffic import EVERYTHING

RTPROT_KERNEL: Final = 2
_OF_ADMINISTRATORS: Final = frozenset({3, 4})
"""RTPROT_BOOT, which `ip route` gives, and RTPROT_STATIC."""
_LARGEST_WINDOW: Final = 4096
_ESP: Final = 50


@dataclass(frozen=True, slots=True)
class ImportedTunnel:
    """One peer of a VTI. Traffic selectors are empty for everything."""

    name: str
    remote: IpAddress
    local_ts: tuple[IpNetwork, ...]
    remote_ts: tuple[IpNetwork, ...]
    routes: tuple[IpNetwork, ...]
    algorithm: str
    encapsulation: Encapsulation
    replay_window: int | None
    set_mark_in: Mark | None
    set_mark_out: Mark | None


@dataclass(frozen=True, slots=True)
class ImportedVti:
    """A VTI as XFRM interface. ``notes`` explain, ``problems`` tell what was left out."""

    live: LiveVti
    interface: str
    addresses: tuple[InterfaceAddress, ...]
    mtu: int | None
    vrf: str | None
    link: str | None
    tunnels: tuple[ImportedTunnel, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]


def free_interface(vti: LiveVti, system: LiveSystem, taken: Iterable[str] = ()) -> str:
    """``ipsecN`` with the VTI's key as N, or the next one that nobody has."""
    names = {link.name for link in system.links} | set(taken)
    if_ids = {link.if_id for link in system.links}
    number = vti.ends.output_key or 1
    while f"ipsec{number}" in names or number in if_ids:
        number = number % 0xFFFFFFFF + 1
    return f"ipsec{number}"


def peers_of(vti: LiveVti) -> tuple[IpAddress, ...]:
    """The remote address, or on a wildcard those that the outbound policies name."""
    if vti.ends.remote is not None:
        return (vti.ends.remote,)
    outward = [one for one in vti.policies if one.direction is Direction.OUT]
    return tuple(dict.fromkeys(policy.templates[0].destination for policy in outward))


def tunnel_name(vti: LiveVti, peer: IpAddress) -> str:
    """That of the VTI, with the peer's address where it has several."""
    name = vti.name if len(peers_of(vti)) == 1 else f"{vti.name}-{peer}"
    return "".join(one if one.isascii() and one.isalnum() else "-" for one in name)


def import_vti(
    vti: LiveVti, system: LiveSystem, interface: str, keys: Mapping[IpAddress, StaticKeys]
) -> ImportedVti:
    """Everything of one VTI; ``keys`` are those that the peers have made, by their addresses."""
    notes: list[str] = []
    problems: list[str] = []
    peers = peers_of(vti)
    if not peers:
        problems.append("it has no remote address and no outbound policy, so no peer is known")
    vrf, table = _vrf(vti, system, problems)
    addresses = _addresses(vti, peers, problems)
    routes = _routes(vti, peers, interface, table, problems)
    tunnels: list[ImportedTunnel] = []
    for peer in peers:
        tunnel = _tunnel(vti, peer, keys.get(peer), notes, problems)
        mine = tuple(one for one in routes if _is_behind(one, tunnel, first=not tunnels))
        routes = [one for one in routes if one not in mine]
        tunnels.append(_with_routes(tunnel, mine))
    problems += [f"route {one}: no traffic selector of a peer holds it" for one in routes]
    return ImportedVti(
        vti,
        interface,
        addresses,
        _mtu(vti, _fitting(system, tunnels, keys), notes, problems),
        vrf,
        _underlying(vti, system),
        tuple(tunnels),
        tuple(notes),
        tuple(problems),
    )


def _vrf(vti: LiveVti, system: LiveSystem, problems: list[str]) -> tuple[str | None, int]:
    master = next((link for link in system.links if link.index == vti.link.master), None)
    if master is None:
        return None, MAIN_TABLE
    if master.table is None:
        problems.append(f"it belongs to {master.name}, which is no VRF (but {master.kind})")
        return None, MAIN_TABLE
    return master.name, master.table


def _underlying(vti: LiveVti, system: LiveSystem) -> str | None:
    """The device of the local address where it is in a VRF: an XFRM interface must know it."""
    holders = {one.interface for one in system.addresses if one.address.ip == vti.ends.local}
    tables = {link.index: link.table for link in system.links}
    for link in system.links:
        if link.name in holders and link.master is not None and tables.get(link.master):
            return link.name
    return None


def _addresses(
    vti: LiveVti, peers: tuple[IpAddress, ...], problems: list[str]
) -> tuple[InterfaceAddress, ...]:
    kept = []
    for one in vti.addresses:
        network = one.address.network
        if one.address.is_link_local:
            continue
        if any(peer.version == network.version and peer in network for peer in peers):
            problems.append(f"address {one.address}: its network holds the peer's outer address")
            continue
        kept.append(one.address)
    return tuple(kept)


def _routes(
    vti: LiveVti,
    peers: tuple[IpAddress, ...],
    interface: str,
    table: int,
    problems: list[str],
) -> list[IpNetwork]:
    kept: dict[IpNetwork, None] = {}
    for route in (one for one in vti.routes if is_movable(one)):
        network = route.destination
        if is_connected(vti, route):
            continue
        if any(peer.version == network.version and peer in network for peer in peers):
            why = "holds the peer's outer address; ESP would loop: split it around that address"
        elif route.protocol not in {RTPROT_KERNEL, *_OF_ADMINISTRATORS}:
            why = (
                f"comes from a routing daemon (protocol {route.protocol}): let that use {interface}"
            )
        elif route.table != table:
            why = f"is in table {route.table}; plutino's routes are in that of the VRF, or in main"
        else:
            kept[network] = None
            continue
        problems.append(f"route {network} {why}")
    return list(kept)


def is_movable(route: Route) -> bool:
    """Not the kernel's own of link-local and multicast addresses."""
    network = route.destination
    is_own = network.is_link_local or network.is_multicast
    return route.route_type is RouteType.UNICAST and not is_own


def is_connected(vti: LiveVti, route: Route) -> bool:
    """The kernel's route to the network of an address."""
    networks = {one.address.network for one in vti.addresses}
    return route.protocol == RTPROT_KERNEL and route.destination in networks


def _tunnel(
    vti: LiveVti,
    peer: IpAddress,
    keys: StaticKeys | None,
    notes: list[str],
    problems: list[str],
) -> ImportedTunnel:
    outbound = list(vti.sas_of(peer, outbound=True))
    inbound = list(vti.sas_of(peer, outbound=False))
    if not outbound or not inbound:
        problems.append(f"there is no SA {'to' if not outbound else 'from'} {peer}")
    suite = keys.suite if keys is not None else None
    for sa in outbound[-1:]:
        suite = suite or _suite(algorithm_names(sa.keys), problems)
    local_ts, remote_ts = _selectors(vti, peer, problems)
    encapsulations = [one.encapsulation for one in outbound + inbound]
    for one in encapsulations[:1]:
        if one is not None and {one.source_port, one.destination_port} != {NAT_T_PORT}:
            problems.append(f"ESP in UDP uses other ports than {NAT_T_PORT}")
    is_udp = any(encapsulations)
    if is_udp:
        notes.append(
            "ESP in UDP by the kernel needs the daemon (`plutino run`), which holds UDP port 4500: "
            "an IKE daemon must have let go of it."
        )
    return ImportedTunnel(
        tunnel_name(vti, peer),
        peer,
        local_ts,
        remote_ts,
        (),
        suite.name if suite is not None else DEFAULT_ALGORITHM,
        Encapsulation.UDP if is_udp else Encapsulation.ESP,
        _window([one.replay.window for one in inbound], notes),
        next((one.output_mark for one in inbound), None),
        next((one.output_mark for one in outbound), None),
    )


def _suite(name: str, problems: list[str]) -> EspSuite | None:
    suite = ESP_SUITES.get(name)
    if suite is None:
        problems.append(f"plutino has no algorithm {name}; the new SAs use {DEFAULT_ALGORITHM}")
    return suite


def _window(windows: list[int], notes: list[str]) -> int | None:
    largest = max(windows, default=0)
    if windows and not largest:
        notes.append("The VTI's SAs check no replays (window 0); plutino's do.")
    return min(largest, _LARGEST_WINDOW) or None


def _selectors(
    vti: LiveVti, peer: IpAddress, problems: list[str]
) -> tuple[tuple[IpNetwork, ...], tuple[IpNetwork, ...]]:
    outward = list(vti.policies_of(Direction.OUT, peer))
    inward = list(vti.policies_of(Direction.IN, peer))
    if not outward:
        problems.append(f"no outbound policy to {peer} has its key as mark; all is allowed here")
    for policy in (*outward, *inward):
        problems += _unsupported(policy)
    pairs = {(one.selector.source, one.selector.destination) for one in outward}
    mirrored = {(one.selector.destination, one.selector.source) for one in inward}
    if outward and inward and pairs != mirrored:
        problems.append(f"inbound policies from {peer} have other selectors than outbound ones")
    if not pairs or pairs == {(one.network, one.network) for one in EVERYTHING}:
        return (), ()
    ours, theirs = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    product = {(one, other) for one in ours for other in theirs if one.version == other.version}
    if product != pairs:
        problems.append(
            f"policies to {peer} pair their networks; a tunnel allows each of `local-ts` with each "
            "of `remote-ts`: split the tunnel if that is too much"
        )
    return _collapsed(ours), _collapsed(theirs)


def _unsupported(policy: Policy) -> list[str]:
    selector, template = policy.selector, policy.templates[0]
    words = f"{policy.direction.name.lower()} policy {selector}"
    found = []
    if selector.protocol or selector.source_port_mask or selector.destination_port_mask:
        found.append(f"{words} is for one protocol or port; plutino's are for all")
    if len(policy.templates) > 1 or template.protocol != _ESP or template.mode is not Mode.TUNNEL:
        found.append(f"{words} asks for more than, or for other than ESP in tunnel mode")
    return found


def _collapsed(networks: set[IpNetwork]) -> tuple[IpNetwork, ...]:
    old = [one for one in networks if isinstance(one, IPv4Network)]
    new = [one for one in networks if isinstance(one, IPv6Network)]
    return (*collapse_addresses(old), *collapse_addresses(new))


def _is_behind(network: IpNetwork, tunnel: ImportedTunnel, *, first: bool) -> bool:
    if not tunnel.remote_ts:
        return first
    return any(
        one.version == network.version
        and network.network_address in one
        and network.prefixlen >= one.prefixlen
        for one in tunnel.remote_ts
    )


def _with_routes(tunnel: ImportedTunnel, routes: tuple[IpNetwork, ...]) -> ImportedTunnel:
    values = {name: getattr(tunnel, name) for name in ImportedTunnel.__slots__}
    return ImportedTunnel(**(values | {"routes": routes}))


def _fitting(
    system: LiveSystem, tunnels: list[ImportedTunnel], keys: Mapping[IpAddress, StaticKeys]
) -> int | None:
    """What plutino will compute as MTU; None without a peer."""
    sizes = []
    for one in tunnels:
        path_mtu = system.path_mtu.get(one.remote, DEFAULT_PATH_MTU)
        given = keys.get(one.remote)
        suite = ESP_SUITES[one.algorithm] if given is None else given.suite
        sizes.append(inner_mtu(path_mtu, one.remote.version, one.encapsulation, suite))
    return min(sizes, default=None)


def _mtu(vti: LiveVti, fitting: int | None, notes: list[str], problems: list[str]) -> int | None:
    """The VTI's own where it is less than what fits; a VTI's default ignores what ESP adds."""
    mtu = vti.link.mtu
    if fitting is None or mtu == fitting:
        return None
    if mtu > fitting:
        notes.append(f"Its MTU {mtu} does not leave room for ESP; plutino computes {fitting}.")
        return None
    if mtu < LOWEST_MTU:
        problems.append(f"its MTU {mtu} is below {LOWEST_MTU}, the least of plutino")
        return LOWEST_MTU
    return mtu
