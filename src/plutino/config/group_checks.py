"""What groups must be together with their tunnels. Pure."""

from collections.abc import Iterator

from plutino.config.gateway import Gateway
from plutino.config.group import Group
from plutino.config.positions import Finding, KeyPath
from plutino.config.probe_targets import inner_address, probe_targets
from plutino.config.values import IpAddress, IpNetwork
from plutino.model.traffic import ICMP, ICMPV6, PROTOCOLS


def check_groups(gateway: Gateway) -> Iterator[Finding]:
    """Everything that is wrong with `[groups.NAME]` tables."""
    owners: dict[str, str] = {}
    prefixes = {
        route: f"tunnel '{name}'"
        for name, tunnel in gateway.tunnels.items()
        for route in tunnel.routes
    }
    for name, group in gateway.groups.items():
        at: KeyPath = ("groups", name)
        allowed = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
        if not allowed or len(name) > 64:
            yield at, "a group's name has up to 64 letters, digits, '-' and '_'", None
        members = list(_members(gateway, group))
        yield from _check_names(gateway, name, owners)
        yield from _check_members(gateway, members, at)
        yield from _check_routes(gateway, name, members, prefixes)
        yield from _check_weights(group, at)
        yield from _check_probe(gateway, group, members, at)


def _members(gateway: Gateway, group: Group) -> Iterator[tuple[int, str]]:
    """Place and name of the tunnels that there are, each once."""
    for number, name in enumerate(group.tunnels):
        if name in gateway.tunnels and name not in group.tunnels[:number]:
            yield number, name


def _check_names(gateway: Gateway, name: str, owners: dict[str, str]) -> Iterator[Finding]:
    group = gateway.groups[name]
    at: KeyPath = ("groups", name, "tunnels")
    if len(group.tunnels) < 2:
        yield at, "a group has two tunnels at least", 'such as ["a", "b"]'
    for number, tunnel in enumerate(group.tunnels):
        if tunnel not in gateway.tunnels:
            known = ", ".join(gateway.tunnels)
            yield (*at, number), f"there is no tunnel '{tunnel}'", f"known: {known}"
        elif tunnel in group.tunnels[:number]:
            yield (*at, number), f"'{tunnel}' is there already", "remove one"
        elif (other := owners.setdefault(tunnel, name)) != name:
            yield (*at, number), f"'{tunnel}' is in group '{other}' already", "remove one"


def _check_members(
    gateway: Gateway, members: list[tuple[int, str]], at: KeyPath
) -> Iterator[Finding]:
    """Tunnels are told apart by their interfaces, and prefixes stand in one routing table."""
    interfaces: dict[str, str] = {}
    places: dict[tuple[str | None, str | None], str] = {}
    for number, name in members:
        place: KeyPath = (*at, "tunnels", number)
        tunnel = gateway.tunnels[name]
        options = gateway.options(tunnel.interface)
        other = interfaces.setdefault(tunnel.interface, name)
        if options.external:
            why = f"{tunnel.interface} of '{name}' is external, and a group needs one for each"
            yield place, f"{why} tunnel", "give each tunnel an interface of its own"
        elif other != name:
            why = f"'{name}' shares {tunnel.interface} with '{other}'"
            yield place, why, "give each tunnel an interface of its own"
        if tunnel.mode == "transport":
            why = f"'{name}' is of transport mode, which reaches no network"
            yield place, why, 'use `mode = "tunnel"` there'
        places.setdefault((options.namespace, options.vrf), name)
        if len(places) > 1:
            first = next(iter(places.values()))
            why = f"'{name}' is in another network namespace or VRF than '{first}'"
            yield place, why, "the routes of a group stand in one table"
            return


def _check_routes(
    gateway: Gateway,
    name: str,
    members: list[tuple[int, str]],
    prefixes: dict[IpNetwork, str],
) -> Iterator[Finding]:
    at: KeyPath = ("groups", name, "routes")
    group = gateway.groups[name]
    if not group.routes:
        yield at, "is empty: nothing would be sent into the tunnels", 'such as ["10.2.0.0/16"]'
    for number, route in enumerate(group.routes):
        user = f"group '{name}'"
        if route in group.routes[:number]:
            yield (*at, number), f"{route} is there already", "remove one"
        elif (other := prefixes.setdefault(route, user)) != user:
            yield (*at, number), f"{route} is a route of {other} already", "remove one"
        for _place, member in members:
            selectors = gateway.tunnels[member].remote_ts
            if selectors and not any(_inside(route, one.network) for one in selectors):
                why = f"{route} lies in none of `remote-ts` of tunnel '{member}'"
                yield (*at, number), f"{why}: no policy would take it", None
                break


def _inside(network: IpNetwork, outer: IpNetwork) -> bool:
    return (
        network.version == outer.version
        and network.prefixlen >= outer.prefixlen
        and network.network_address in outer
    )


def _check_weights(group: Group, at: KeyPath) -> Iterator[Finding]:
    for name in group.weights:
        if name not in group.tunnels:
            why, known = f"there is no tunnel '{name}' in this group", ", ".join(group.tunnels)
            yield (*at, "weights", name), why, f"known: {known}"
    if group.weights and group.mode != "ecmp":
        yield (*at, "weights"), 'is for `mode = "ecmp"`', "remove it: the order says who is first"


def _check_probe(
    gateway: Gateway, group: Group, members: list[tuple[int, str]], at: KeyPath
) -> Iterator[Finding]:
    options = group.probe
    place: KeyPath = (*at, "probe")
    if options.kind == "tcp" and options.port is None:
        yield (*place, "port"), 'is missing, for `kind = "tcp"`', "such as 179, where BGP listens"
    if options.kind != "tcp" and options.port is not None:
        yield (*place, "port"), 'is for `kind = "tcp"`', "remove it"
    for name in options.tunnel_targets:
        if name not in group.tunnels:
            why, known = f"there is no tunnel '{name}' in this group", ", ".join(group.tunnels)
            yield (*place, "tunnel-targets", name), why, f"known: {known}"
    if options.kind == "none":
        return
    told = False
    for _number, name in members:
        own = name in options.tunnel_targets
        key: KeyPath = (*place, "tunnel-targets", name) if own else (*place, "targets")
        found = list(_check_targets(gateway, group, name, key))
        if own or not told:  # what all are asked for is told once
            yield from found
        told |= bool(found) and not own


def _check_targets(gateway: Gateway, group: Group, name: str, key: KeyPath) -> Iterator[Finding]:
    targets = probe_targets(gateway, group, name)
    if not targets:
        why = f"is needed: `addresses` of tunnel '{name}' do not tell the peer's"
        yield key, why, 'give targets, addresses of a /31 or /127, or `kind = "none"`'
    if len({one.version for one in targets}) > 1:
        yield key, "are of both IP versions", "one is enough: a tunnel carries both or none"
        return
    for target in targets:
        yield from _check_target(gateway, group, name, target, key)


def _check_target(
    gateway: Gateway, group: Group, name: str, target: IpAddress, key: KeyPath
) -> Iterator[Finding]:
    tunnel = gateway.tunnels[name]
    if target.is_unspecified or target.is_multicast:
        yield key, f"{target} is no address of one host", None
        return
    if any(one.ip == target for one in tunnel.addresses):
        yield key, f"{target} is our own address of tunnel '{name}'", "give the peer's"
        return
    connected = [one.network for one in tunnel.addresses]
    if not any(target in one for one in (*connected, *tunnel.routes, *group.routes)):
        why = f"no route leads to {target} through tunnel '{name}'"
        yield key, why, "give an address in its `addresses`' network or in the group's `routes`"
        return
    yield from _check_probed(gateway, group, name, target, key)


def _check_probed(
    gateway: Gateway, group: Group, name: str, target: IpAddress, key: KeyPath
) -> Iterator[Finding]:
    """The question and its answer have to be of the tunnel's packets."""
    tunnel = gateway.tunnels[name]
    theirs = [one for one in tunnel.remote_ts if target in one.network]
    if tunnel.remote_ts and not theirs:
        why = f"{target} lies in none of `remote-ts` of tunnel '{name}': no policy would take it"
        yield key, why, None
    source = inner_address(tunnel, target)
    ours = [one for one in tunnel.local_ts if source is not None and source in one.network]
    if source is not None and tunnel.local_ts and not ours:
        why = f"{source}, from which it is asked, lies in none of `local-ts` of tunnel '{name}'"
        yield key, why, "add it there"
    for side, selectors, ports in (("remote", theirs, _answering), ("local", ours, _asking)):
        wanted = ports(group, target)
        if selectors and not any(one.has(one.network[0], *wanted) for one in selectors):
            why = f"`{side}-ts` of tunnel '{name}' is not for what {target} is asked by"
            hint = "echo requests, or connections to a TCP port, are to be of them"
            yield key, why, hint


def _asking(group: Group, target: IpAddress) -> tuple[int, int | None]:
    """Protocol and port, or type, of what we send; None: any port."""
    if group.probe.kind == "tcp":
        return PROTOCOLS["tcp"], None
    return (ICMP, 8 << 8) if target.version == 4 else (ICMPV6, 128 << 8)


def _answering(group: Group, target: IpAddress) -> tuple[int, int | None]:
    """The same of what the peer sends."""
    if group.probe.kind == "tcp":
        return PROTOCOLS["tcp"], group.probe.port
    return (ICMP, 0) if target.version == 4 else (ICMPV6, 129 << 8)
