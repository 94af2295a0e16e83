"""What a gateway's values must be together: names, numbers, networks, peers. Pure."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations

from plutino.config.gateway import Gateway
from plutino.config.group_checks import check_groups
from plutino.config.ike_checks import check_keying, check_shared_ike_sas
from plutino.config.interface_checks import check_interfaces
from plutino.config.mode_checks import check_mode
from plutino.config.numbers import tunnel_if_id, tunnel_numbers, vti_keys
from plutino.config.pairs import check_pairs
from plutino.config.planes import check_plane
from plutino.config.positions import Finding, KeyPath
from plutino.config.protected_checks import check_protected
from plutino.config.remote_checks import check_remotes
from plutino.config.tunnel import NO_ADDRESS, Tunnel
from plutino.config.uplink_checks import check_uplinks
from plutino.config.values import IpInterface, IpNetwork
from plutino.model.interface import interface_name_problem
from plutino.model.numbers import U32_MAX
from plutino.model.traffic import EVERYTHING, NetworkSelector, protocol_name


def check_gateway(gateway: Gateway) -> Iterator[Finding]:
    """Everything that is wrong with values that are right each by themselves."""
    for name, tunnel in gateway.tunnels.items():
        at: KeyPath = ("tunnels", name)
        yield from _check_name(name, at)
        yield from _check_interface(gateway, name, at)
        yield from _check_peers(tunnel, at)
        yield from _check_networks(tunnel, at)
        yield from check_mode(tunnel, at)
        yield from check_keying(tunnel, at)
        yield from check_pairs(tunnel, at)
    yield from check_interfaces(gateway)
    yield from check_shared_ike_sas(gateway)
    yield from check_plane(gateway)
    yield from check_uplinks(gateway)
    yield from check_protected(gateway)
    yield from check_remotes(gateway)
    yield from check_groups(gateway)
    yield from _check_if_ids(gateway)
    yield from _check_shared_interfaces(gateway)
    yield from _check_routes_between(gateway)


def _check_name(name: str, at: KeyPath) -> Iterator[Finding]:
    allowed = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    if not allowed or len(name) > 64:
        yield at, "a tunnel's name has up to 64 letters, digits, '-' and '_'", None


def _check_interface(gateway: Gateway, name: str, at: KeyPath) -> Iterator[Finding]:
    tunnel = gateway.tunnels[name]
    if (problem := interface_name_problem(tunnel.interface)) is not None:
        yield (*at, "interface"), problem, 'such as "ipsec1"'
        return
    if tunnel.if_id is not None and not 0 < tunnel.if_id <= U32_MAX:
        yield (*at, "if-id"), f"must be between 1 and {U32_MAX}", None
        return
    try:
        tunnel_if_id(gateway, name)
    except ValueError as error:
        yield (*at, "interface"), str(error), "give `if-id` of your own"
        return
    if gateway.options(tunnel.interface).kind == "vti":
        try:
            vti_keys(gateway, tunnel.interface)
        except ValueError as error:
            yield (*at, "interface"), str(error), "give `key` of your own"
            return
    try:
        numbers = tunnel_numbers(gateway, name)
    except ValueError as error:
        yield ("mark-mask",), f"{error}", "widen the mask, or choose a smaller `if-id`"
        return
    mark = numbers.set_mark_out
    if not mark.value & gateway.mark_mask:
        why = f"{mark} has none of the bits of `mark-mask`, by which outer packets are known"
        yield (*at, "set-mark-out"), why, f"choose a bit of {gateway.mark_mask:#x}"


def _check_peers(tunnel: Tunnel, at: KeyPath) -> Iterator[Finding]:
    if tunnel.local == NO_ADDRESS:
        pass  # said where uplinks are checked
    elif tunnel.local.version != tunnel.remote.version:
        why = f"is IPv{tunnel.remote.version}, but `local` is IPv{tunnel.local.version}"
        yield (*at, "remote"), why, "both outer addresses are of one family"
    elif tunnel.local == tunnel.remote:
        yield (*at, "remote"), "is the same address as `local`", None
    written = ("local", NO_ADDRESS), ("remote", tunnel.remote if tunnel.is_roaming else None)
    for key, address in (("local", tunnel.local), ("remote", tunnel.remote)):
        if (address.is_unspecified and (key, address) not in written) or address.is_multicast:
            yield (*at, key), f"{address} is no address of one host", None


def _check_networks(tunnel: Tunnel, at: KeyPath) -> Iterator[Finding]:
    if tunnel.remote_ts:
        for number, route in enumerate(tunnel.routes):
            if not any(_inside(route, selector.network) for selector in tunnel.remote_ts):
                why = f"{route} lies in none of `remote-ts`: no policy would take it"
                yield (*at, "routes", number), why, None
    for key, selectors in (("local-ts", tunnel.local_ts), ("remote-ts", tunnel.remote_ts)):
        for (first, one), (second, other) in combinations(enumerate(selectors), 2):
            if one.overlaps(other):
                yield (*at, key, second), f"{other} overlaps {one}", f"remove one (see {first})"
    if tunnel.local_ts and tunnel.remote_ts:
        families = {one.version for one in tunnel.local_ts}
        if families != {one.version for one in tunnel.remote_ts}:
            why = "holds other IP versions than `local-ts`"
            yield (*at, "remote-ts"), why, "give both sides networks of the same versions"
        else:
            yield from _check_protocols(tunnel, at)


def _check_protocols(tunnel: Tunnel, at: KeyPath) -> Iterator[Finding]:
    """A selector to which nothing of the other side is a counterpart selects no packet."""
    sides = ("local-ts", tunnel.local_ts), ("remote-ts", tunnel.remote_ts)
    for (key, selectors), (other_key, others) in (sides, sides[::-1]):
        for number, one in enumerate(selectors):
            if not any(one.meets(other) for other in others):
                name = protocol_name(one.protocol)
                why = f"{one} meets nothing: no selector of `{other_key}` is of {name}"
                yield (*at, key, number), why, f"give both sides {name}, or one of them none"


def _inside(network: IpNetwork, outer: IpNetwork) -> bool:
    return (
        network.version == outer.version
        and network.prefixlen >= outer.prefixlen
        and network.network_address in outer
    )


def _check_if_ids(gateway: Gateway) -> Iterator[Finding]:
    names: dict[int, tuple[str, str]] = {}
    for name, tunnel in gateway.tunnels.items():
        try:
            if_id = tunnel_if_id(gateway, name)
        except ValueError:
            continue
        if not if_id:
            continue
        is_external = gateway.options(tunnel.interface).external
        user = (f"tunnel '{name}'", name) if is_external else (tunnel.interface, "")
        other = names.setdefault(if_id, user)
        if other != user:
            key = "interface" if tunnel.if_id is None else "if-id"
            why = f"if_id {int(if_id)} of {user[0]} is that of {other[0]} already"
            yield ("tunnels", name, key), why, "give one of them an `if-id` of its own"


def _are_of_the_same_ends(one: Tunnel, other: Tunnel) -> bool:
    """Whether two tunnels of transport mode are for some of the same packets."""
    if one.mode != other.mode or one.remote.is_unspecified:
        return False
    if (one.local, one.remote) != (other.local, other.remote):
        return False
    sides = (one.local_ts, other.local_ts), (one.remote_ts, other.remote_ts)
    return all(
        any(
            a.of_any_type.overlaps(b.of_any_type)
            for a in mine or EVERYTHING
            for b in its or EVERYTHING
        )
        for mine, its in sides
    )


def _share_types(
    one: Tunnel, theirs: NetworkSelector, other: Tunnel, network: NetworkSelector
) -> bool:
    """Whether what we send to both is the same, since types of ICMP are those of the sender."""
    return theirs.of_any_type.overlaps(network.of_any_type) and any(
        a.overlaps(b)
        for a in one.local_ts or EVERYTHING
        for b in other.local_ts or EVERYTHING
        if a.meets(theirs)
    )


def _check_shared_interfaces(gateway: Gateway) -> Iterator[Finding]:
    sharing: dict[str, list[str]] = defaultdict(list)
    for name, tunnel in gateway.tunnels.items():
        sharing[tunnel.interface].append(name)
    for interface, names in sharing.items():
        if gateway.options(interface).external:
            continue  # each has an if_id of its own
        for first, second in combinations(names, 2):
            one, other = gateway.tunnels[first], gateway.tunnels[second]
            at: KeyPath = ("tunnels", second)
            if one.if_id != other.if_id:
                why = f"{interface} has another if-id in tunnel '{first}'"
                yield (*at, "if-id"), why, None
            if None not in (one.mtu, other.mtu) and one.mtu != other.mtu:
                yield (*at, "mtu"), f"{interface} has another mtu in tunnel '{first}'", None
            if "transport" in (one.mode, other.mode):
                if _are_of_the_same_ends(one, other):
                    why = f"{interface} has packets to {other.remote} by tunnel '{first}' already"
                    yield (*at, "interface"), why, "give it another interface, or other ports"
                continue  # of others the peers' own addresses differ
            if not one.remote_ts or not other.remote_ts:
                lacking = second if not other.remote_ts else first
                why = f"is needed, because tunnels '{first}' and '{second}' share {interface}"
                yield ("tunnels", lacking, "remote-ts"), why, "say which networks are behind it"
                continue
            for number, network in enumerate(other.remote_ts):
                for theirs in one.remote_ts:
                    if network.overlaps(theirs) or _share_types(one, theirs, other, network):
                        why = f"{network} overlaps {theirs} of tunnel '{first}' on {interface}"
                        yield (*at, "remote-ts", number), why, None


def _check_routes_between(gateway: Gateway) -> Iterator[Finding]:
    """One prefix leads one way."""
    seen: dict[IpNetwork, str] = {}
    for name, tunnel in gateway.tunnels.items():
        own: set[IpNetwork] = set()
        for number, route in enumerate(tunnel.routes):
            at: KeyPath = ("tunnels", name, "routes", number)
            if route in own:
                yield at, f"{route} is there already", "remove one"
                continue
            own.add(route)
            other = seen.setdefault(route, name)
            if other != name:
                yield at, f"{route} is a route of tunnel '{other}' already", None
    addresses: dict[object, str] = {}
    for name, tunnel in gateway.tunnels.items():
        for number, address in enumerate(tunnel.addresses):
            yield from _check_connected(gateway, address, ("tunnels", name, "addresses", number))
            other = addresses.setdefault(address.ip, tunnel.interface)
            if other != tunnel.interface:
                why = f"{address.ip} is an address of {other} already"
                yield ("tunnels", name, "addresses", number), why, None


def _check_connected(gateway: Gateway, address: IpInterface, at: KeyPath) -> Iterator[Finding]:
    """The kernel makes a route of an address's network, which no rule can keep from a peer."""
    network = address.network
    for peer in {peer for tunnel in gateway.tunnels.values() for peer in tunnel.peers}:
        if peer.version == network.version and peer in network:
            why = f"{network} holds the peer's own address {peer}: ESP would loop"
            yield at, why, f'write "{address.ip}/{address.max_prefixlen}" and a route'
