"""What uplinks, further addresses of the peer and standby SAs must be together. Pure."""

from collections.abc import Iterator

from plutino.config.gateway import Gateway
from plutino.config.numbers import uplink_mark
from plutino.config.positions import Finding, KeyPath
from plutino.config.tunnel import NO_ADDRESS, Tunnel
from plutino.config.values import IpAddress
from plutino.model.interface import interface_name_problem


def check_uplinks(gateway: Gateway) -> Iterator[Finding]:
    """Everything that is wrong with `[uplinks.NAME]` and with what tunnels say of paths."""
    yield from _check_masks(gateway)
    tables: dict[int, str] = {}
    for name, uplink in gateway.uplinks.items():
        at: KeyPath = ("uplinks", name)
        if (problem := interface_name_problem(uplink.interface)) is not None:
            yield (*at, "interface"), problem, 'such as "eth1"'
        for key, addresses in (("gateway", uplink.gateway), ("source", uplink.source)):
            versions = [one.version for one in addresses]
            if len(versions) > len(set(versions)):
                yield (*at, key), "holds two addresses of one IP version", "one for each at most"
        if uplink.table is not None and (other := tables.setdefault(uplink.table, name)) != name:
            yield (*at, "table"), f"is the table of uplink '{other}' already", "choose another"
    for device in gateway.devices:
        if (problem := interface_name_problem(device)) is not None:
            yield ("devices", device), problem, "settings are per device"
    for name, tunnel in gateway.tunnels.items():
        yield from _check_names(gateway, tunnel, ("tunnels", name))
        yield from _check_addresses(tunnel, ("tunnels", name))
        yield from _check_standby(gateway, tunnel, ("tunnels", name))


def _check_masks(gateway: Gateway) -> Iterator[Finding]:
    if gateway.uplinks and (both := gateway.uplink_mask & gateway.mark_mask):
        why = f"shares bits {both:#x} with `mark-mask`"
        yield ("uplink-mask",), why, "give each bits of its own"
    for name in gateway.uplinks:
        try:
            uplink_mark(gateway, name)
        except ValueError as error:
            yield ("uplink-mask",), str(error), "widen it"
            return


def _check_names(gateway: Gateway, tunnel: Tunnel, at: KeyPath) -> Iterator[Finding]:
    known = ", ".join(gateway.uplinks) or "none yet: write [uplinks.NAME]"
    for number, name in enumerate(tunnel.uplinks):
        if name not in gateway.uplinks:
            yield (*at, "uplinks", number), f"there is no uplink '{name}'", f"known: {known}"
        elif name in tunnel.uplinks[:number]:
            yield (*at, "uplinks", number), f"'{name}' is there already", "remove one"
    for number, one in enumerate(tunnel.standby):
        if one.uplink is not None and one.uplink not in gateway.uplinks:
            why = f"there is no uplink '{one.uplink}'"
            yield (*at, "standby", number, "uplink"), why, f"known: {known}"


def _check_addresses(tunnel: Tunnel, at: KeyPath) -> Iterator[Finding]:
    if tunnel.local == NO_ADDRESS and not tunnel.uplinks:
        hint = "our outer address, or `uplinks` that have one"
        yield (*at, "local"), "is missing", hint
    if tunnel.local != NO_ADDRESS and tunnel.uplinks:
        why = "our address is that of the uplink which carries the tunnel"
        yield (*at, "local"), why, "remove it, or set `source` of the uplink"
    several = tunnel.uplinks or tunnel.remotes or tunnel.standby
    if several and tunnel.mode == "transport":
        why = "protects what two addresses send to each other, and here they may change"
        yield (*at, "mode"), why, 'use `mode = "tunnel"` or `"beet"`'
    seen = {tunnel.remote}
    for number, address in enumerate(tunnel.remotes):
        place: KeyPath = (*at, "remotes", number)
        if address.version != tunnel.remote.version:
            why = f"is IPv{address.version}, but `remote` is IPv{tunnel.remote.version}"
            yield place, why, "all outer addresses are of one family"
        if address in seen:
            yield place, f"{address} is there already", "remove one"
        seen.add(address)


def _check_standby(gateway: Gateway, tunnel: Tunnel, at: KeyPath) -> Iterator[Finding]:
    files = {tunnel.static.key_file} if tunnel.static is not None else set()
    paths: set[tuple[str | None, IpAddress | None, IpAddress]] = set()
    for number, one in enumerate(tunnel.standby):
        place: KeyPath = (*at, "standby", number)
        if one.key_file in files:
            why = "these keys serve another path already: one key never serves two SAs"
            yield (*place, "key-file"), why, "make others with `plutino keygen`"
        files.add(one.key_file)
        if one.uplink is not None and one.local is not None:
            why = "our address is that of the uplink"
            yield (*place, "local"), why, "remove it, or set `source` of the uplink"
        if one.local is not None and tunnel.uplinks:
            yield (*place, "local"), "this tunnel goes by uplinks", "give an `uplink` instead"
        if one.uplink is not None and not tunnel.uplinks:
            why = "the tunnel itself has no `uplinks`"
            yield (*place, "uplink"), why, "give it some, instead of `local`"
        for key, address in (("local", one.local), ("remote", one.remote)):
            if address is not None and address.version != tunnel.remote.version:
                why = f"is IPv{address.version}, but `remote` is IPv{tunnel.remote.version}"
                yield (*place, key), why, "all outer addresses are of one family"
        uplink = one.uplink or (tunnel.uplinks[0] if tunnel.uplinks else None)
        local = None if tunnel.uplinks else one.local or tunnel.local
        path = (uplink, local, one.remote or tunnel.remote)
        if path in paths:
            yield place, "is the path of another standby", "remove one"
        paths.add(path)
        if one.uplink in gateway.uplinks and tunnel.uplinks and one.uplink not in tunnel.uplinks:
            why = f"'{one.uplink}' is none of the tunnel's `uplinks`"
            yield (*place, "uplink"), why, f"known: {', '.join(tunnel.uplinks)}"
    local = None if tunnel.uplinks else tunnel.local
    own = {
        (uplink, local, remote)
        for uplink in tunnel.uplinks or (None,)
        for remote in (tunnel.remote, *tunnel.remotes)
    }
    if own <= paths:
        why = "no path is left for the tunnel's own SAs"
        yield (*at, "standby", 0), why, "give another `uplink`, `local` or `remote`"
