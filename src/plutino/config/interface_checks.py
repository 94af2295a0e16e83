"""What the options of an interface must be, together and with its tunnels. Pure."""

from collections.abc import Iterator

from plutino.config.gateway import Gateway, InterfaceOptions, Tunnel
from plutino.config.positions import Finding, KeyPath


def check_interfaces(gateway: Gateway) -> Iterator[Finding]:
    """Everything that is wrong with `[interfaces.NAME]` tables."""
    external: list[str] = []
    for name, options in gateway.interfaces.items():
        at: KeyPath = ("interfaces", name)
        tunnels = {key: one for key, one in gateway.tunnels.items() if one.interface == name}
        if not tunnels:
            yield at, f'no tunnel has `interface = "{name}"`', "remove it, or is it misspelled?"
        if options.kind == "vti":
            yield from _check_vti(options, tunnels, at)
            continue
        for key, value in (
            ("key", options.key),
            ("input-key", options.input_key),
            ("output-key", options.output_key),
        ):
            if value is not None:
                why = "an XFRM interface has no keys, but an if_id"
                yield (*at, key), why, 'remove it, or set `kind = "vti"`'
        if options.external:
            external.append(name)
            if options.link is not None:
                why = "an external interface has no underlying device"
                yield (*at, "link"), why, "remove it"
    for name in external[1:]:
        why = f"{external[0]} is external already, and the kernel has one at most"
        yield ("interfaces", name, "external"), why, "let the tunnels share it"
    yield from _check_wildcards(gateway)


def _check_vti(
    options: InterfaceOptions, tunnels: dict[str, Tunnel], at: KeyPath
) -> Iterator[Finding]:
    for key, is_set in (("external", options.external), ("link", options.link is not None)):
        if is_set:
            yield (*at, key), "is for XFRM interfaces, not for a VTI", "remove it"
    first = next(iter(tunnels.values()), None)
    for name, tunnel in tunnels.items():
        place: KeyPath = ("tunnels", name)
        if tunnel.mode != "tunnel":
            why = f"a VTI cannot do {tunnel.mode} mode, it wraps whole packets"
            yield (*place, "mode"), why, 'use `kind = "xfrm"` for the interface'
        if tunnel.if_id is not None:
            yield (*place, "if-id"), "a VTI has keys instead of an if_id", f"set `{at[1]}`'s `key`"
        if first is not None and tunnel.remote.version != first.remote.version:
            why = (
                f"{at[1]} is a VTI for IPv{first.remote.version} outside: a VTI has one outer IP "
                "version"
            )
            yield (*place, "remote"), why, 'use a second VTI, or `kind = "xfrm"`'
        if first is not None and tunnel.local != first.local:
            why = f"{at[1]} is a VTI of {first.local}: a VTI has one local address"
            yield (*place, "local"), why, 'use a second VTI, or `kind = "xfrm"`'


def _check_wildcards(gateway: Gateway) -> Iterator[Finding]:
    """A VTI of several peers takes all that comes to its local address, whatever its key."""
    taken: dict[object, str] = {}
    for name, options in gateway.interfaces.items():
        tunnels = [one for one in gateway.tunnels.values() if one.interface == name]
        if options.kind != "vti" or len({one.remote for one in tunnels}) < 2:
            continue
        other = taken.setdefault(tunnels[0].local, name)
        if other != name:
            why = (
                f"serves several peers, as {other} does from the same address, and of such VTIs "
                "there can be one for each local address"
            )
            yield ("interfaces", name, "kind"), why, 'use `kind = "xfrm"`, or one VTI for each peer'
