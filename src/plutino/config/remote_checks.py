"""What a tunnel must be whose peer's address the file does not say: `any`, or a host name. Pure."""

from collections.abc import Iterator

from plutino.config.gateway import Gateway
from plutino.config.positions import Finding, KeyPath
from plutino.config.tunnel import Tunnel


def check_remotes(gateway: Gateway) -> Iterator[Finding]:
    """Everything that such a tunnel cannot be, and peers that nothing would tell apart."""
    seen: dict[tuple[object, str], str] = {}
    for name, tunnel in gateway.tunnels.items():
        if not tunnel.is_roaming:
            continue
        at: KeyPath = ("tunnels", name)
        yield from _check_alone(gateway, tunnel, at)
        if tunnel.ike is None or (tunnel.ike.ike_sa_of and tunnel.remote_name):
            continue
        if tunnel.remote_name is None:
            yield from _check_any(tunnel, at)
        identity = tunnel.ike.remote_id or tunnel.remote_name
        if identity is None:
            continue
        other = seen.setdefault((tunnel.local, identity), name)
        if other != name:
            key: KeyPath = (*at, "ike", "remote-id") if tunnel.ike.remote_id else (*at, "remote")
            why = f"{identity} is the peer of tunnel '{other}' already, from any address too"
            yield key, why, "give each peer a `remote-id` of its own"


def _check_any(tunnel: Tunnel, at: KeyPath) -> Iterator[Finding]:
    assert tunnel.ike is not None
    if tunnel.ike.start != "listen":
        why = f'is "{tunnel.ike.start}", but with `remote = "any"` no address is known to begin at'
        yield (*at, "ike", "start"), why, 'set `start = "listen"`, or `remote` to a host name'
    if tunnel.ike.remote_id is None and tunnel.ike.ike_sa_of is None:
        why = 'is needed with `remote = "any"`: the peer is known by nothing else'
        yield (*at, "ike", "remote-id"), why, 'such as "berlin.example"'


def _check_alone(gateway: Gateway, tunnel: Tunnel, at: KeyPath) -> Iterator[Finding]:
    """What needs to know beforehand where the peer is."""
    what = f'`remote = "{tunnel.remote_as_written}"`'
    hint = "give the peer's address as `remote`"
    if tunnel.static is not None or tunnel.ike is None:
        yield (*at, "remote"), "must be an address with static keys", f"{hint}, or use `ike`"
    if gateway.options(tunnel.interface).kind == "vti":
        why = "must be an address with a VTI, which the kernel finds by both addresses"
        yield (*at, "remote"), why, 'use `kind = "xfrm"` for the interface'
    if tunnel.mode == "transport":
        why = f"protects what two fixed addresses send to each other, not {what}"
        yield (*at, "mode"), why, 'use `mode = "tunnel"` or `"beet"`'
    by_any = tunnel.remote_name is None and tunnel.uplinks
    for key, given in (("uplinks", by_any), ("remotes", tunnel.remotes)):
        if given:
            yield (*at, key), f"does not go with {what}", f"remove it, or {hint}"
