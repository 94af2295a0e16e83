"""What the mode of a tunnel asks of its other options. Pure."""

from collections.abc import Iterator

from plutino.config.positions import Finding, KeyPath
from plutino.config.tunnel import Tunnel
from plutino.model.traffic import everything


def check_mode(tunnel: Tunnel, at: KeyPath) -> Iterator[Finding]:
    """Everything that does not go with the mode, the encapsulation or the marks."""
    if tunnel.mode == "beet":
        yield from _check_beet(tunnel, at)
    if tunnel.mode == "transport":
        yield from _check_transport(tunnel, at)
        for number, route in enumerate(tunnel.routes):
            if route.num_addresses > 1 or route.network_address != tunnel.remote:
                why = f"{route} cannot be reached in transport mode, only {tunnel.remote} itself"
                yield (*at, "routes", number), why, 'such networks need `mode = "tunnel"`'
    if tunnel.nat_keepalive and tunnel.encapsulation != "udp":
        why = "keepalives are for ESP in UDP"
        yield (*at, "nat-keepalive"), why, 'set `encapsulation = "udp"`, or remove it'
    for key, mark in (
        ("mark-in", tunnel.mark_in),
        ("mark-out", tunnel.mark_out),
        ("set-mark-in", tunnel.set_mark_in),
        ("set-mark-out", tunnel.set_mark_out),
    ):
        if mark is not None and not mark.mask:
            yield (*at, key), f"{mark} has a mask without bits, which says nothing", "remove it"
        elif mark is not None and mark.value & ~mark.mask:
            why = f"{mark} has bits that its mask leaves out, so nothing could have it"
            yield (*at, key), why, f'such as "{mark.value & mark.mask:#x}/{mark.mask:#x}"'


def _check_transport(tunnel: Tunnel, at: KeyPath) -> Iterator[Finding]:
    """Its addresses are the outer ones; a selector may say which of their packets."""
    sides = (
        ("local-ts", tunnel.local_ts, tunnel.local),
        ("remote-ts", tunnel.remote_ts, tunnel.remote),
    )
    for key, selectors, end in sides:
        for number, one in enumerate(selectors):
            if end not in one.network:
                why = "transport mode protects what `local` and `remote` send to each other"
                hint = f'such as "{everything(end.version)}[tcp]", or choose another `mode`'
                yield (*at, key, number), why, hint


def _check_beet(tunnel: Tunnel, at: KeyPath) -> Iterator[Finding]:
    for key, selectors in (("local-ts", tunnel.local_ts), ("remote-ts", tunnel.remote_ts)):
        if len(selectors) != 1 or selectors[0].network.num_addresses != 1:
            why = "BEET mode has one fixed inner address on each side"
            yield (*at, key), why, 'such as ["10.255.0.1/32"]'
