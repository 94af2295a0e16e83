"""What the options of an interface must be, together and with its tunnels. Pure."""

from collections.abc import Iterator
from contextlib import suppress

from plutino.config.gateway import Gateway
from plutino.config.interface_options import InterfaceOptions
from plutino.config.numbers import VtiKeys, vti_keys
from plutino.config.positions import Finding, KeyPath
from plutino.config.tunnel import Tunnel


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
            with suppress(ValueError):  # said of the tunnel's interface
                yield from _check_marks(vti_keys(gateway, name), tunnels)
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
    yield from _check_ends(gateway)
    yield from _check_defaults(gateway)


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
        elif first is not None and tunnel.local != first.local:
            why = f"{at[1]} is a VTI of {first.local}: a VTI has one local address"
            yield (*place, "local"), why, 'use a second VTI, or `kind = "xfrm"`'


def _check_marks(keys: VtiKeys, tunnels: dict[str, Tunnel]) -> Iterator[Finding]:
    for name, tunnel in tunnels.items():
        for option, mark, key in (
            ("mark-in", tunnel.mark_in, keys.input),
            ("mark-out", tunnel.mark_out, keys.output),
        ):
            if mark is not None and key & mark.mask != mark.value:
                why = f"{mark} does not fit the VTI's key {key}, by which the kernel looks it up"
                yield ("tunnels", name, option), why, "remove it: the key is the mark"


def _check_ends(gateway: Gateway) -> Iterator[Finding]:
    """The kernel gives a VTI all ESP between its ends, whatever the keys and the SAs are."""
    owners: dict[tuple[object, object], str] = {}
    for name, options in gateway.interfaces.items():
        if options.kind != "vti":
            continue
        tunnels = [one for one in gateway.tunnels.values() if one.interface == name]
        remotes = {one.remote for one in tunnels}
        at: KeyPath = ("interfaces", name, "kind")
        for tunnel in tunnels[:1]:
            ends = (tunnel.local, None if len(remotes) > 1 else tunnel.remote)
            other = owners.setdefault(ends, name)
            if other != name and len(remotes) > 1:
                why = (
                    f"serves several peers, as {other} does from the same address, and of such "
                    "VTIs there can be one for each local address"
                )
                yield at, why, 'use `kind = "xfrm"`, or one VTI for each peer'
            elif other != name:
                why = f"{other} is a VTI between {ends[0]} and {ends[1]} already, and there can "
                yield at, f"{why}be one", 'use `kind = "xfrm"`, or let the tunnels share a VTI'
    for name, tunnel in gateway.tunnels.items():
        exact = owners.get((tunnel.local, tunnel.remote))
        wildcard = owners.get((tunnel.local, None))
        is_vti = gateway.options(tunnel.interface).kind == "vti"
        if is_vti and wildcard != tunnel.interface:
            continue  # said above, of the interface
        owner = exact or wildcard or tunnel.interface
        if owner != tunnel.interface:
            why = f"{owner} is a VTI, to which the kernel gives all ESP from {tunnel.remote}"
            hint = f'use `kind = "xfrm"` for {owner} too, or another address'
            yield ("tunnels", name, "remote"), why, hint


def _check_defaults(gateway: Gateway) -> Iterator[Finding]:
    """What a VTI has decrypted bears no sign of it: no policy fits it any more."""
    defaults = gateway.policy_default
    for name, options in gateway.interfaces.items():
        if options.kind != "vti" or defaults is None:
            continue
        for key, verdict in (("input", defaults.input), ("forward", defaults.forward)):
            if verdict == "block":
                why = f"would block all that comes out of {name}, a VTI, which no policy allows"
                yield ("policy-default", key), why, 'remove it, or use `kind = "xfrm"`'
