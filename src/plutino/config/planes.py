"""Which options only one of the data planes can serve, with the reason. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from plutino.config.gateway import Gateway
from plutino.config.positions import Finding, KeyPath

KERNEL: Final = "kernel"
USERSPACE: Final = "userspace"


@dataclass(frozen=True, slots=True)
class PlaneNeed:
    """An option that only ``plane`` serves: where it stands, why, and what else would do."""

    plane: str
    at: KeyPath
    why: str
    hint: str


def plane_needs(gateway: Gateway) -> Iterator[PlaneNeed]:
    """Every option that one plane alone serves."""
    for name, options in gateway.interfaces.items():
        at: KeyPath = ("interfaces", name)
        if options.kind == "vti":
            why = "a VTI is a device of the kernel"
            hint = 'use `kind = "xfrm"` with the engine'
            yield PlaneNeed(KERNEL, (*at, "kind"), why, hint)
        if options.link is not None:
            why = "the engine's interfaces have no underlying device"
            yield PlaneNeed(KERNEL, (*at, "link"), why, "remove it")
    for name, tunnel in gateway.tunnels.items():
        at = ("tunnels", name)
        if tunnel.mode == "transport" and gateway.options(tunnel.interface).kind == "xfrm":
            why = (
                "a packet of transport mode loops in an XFRM interface of the kernel, which sends "
                "it by its own route: into the interface again"
            )
            hint = 'use `mode = "beet"`, or `data-plane = "userspace"`, where it works'
            yield PlaneNeed(USERSPACE, (*at, "mode"), why, hint)
        for key, mark in (("mark-in", tunnel.mark_in), ("mark-out", tunnel.mark_out)):
            if mark is not None:
                why = "packets have no mark that the engine could look up SAs and policies by"
                yield PlaneNeed(KERNEL, (*at, key), why, "the if_id tells tunnels apart")
        if tunnel.set_mark_in is not None:
            why = "what comes out of the engine's devices has no mark"
            yield PlaneNeed(KERNEL, (*at, "set-mark-in"), why, "mark by the device in nftables")
        if tunnel.offload is not None:
            why = "no network device takes over SAs of the engine"
            yield PlaneNeed(KERNEL, (*at, "offload"), why, "remove it")


def check_plane(gateway: Gateway) -> Iterator[Finding]:
    """Options that the chosen plane cannot serve, or that no plane can serve together."""
    needs = tuple(plane_needs(gateway))
    if gateway.data_plane != "auto":
        for need in needs:
            if need.plane != gateway.data_plane:
                yield need.at, need.why, need.hint
        return
    first = next(iter(needs), None)
    for need in needs:
        if first is not None and need.plane != first.plane:
            other = ".".join(map(str, first.at))
            why = f"{need.why}; but `{other}` needs the {first.plane} plane"
            yield need.at, why, need.hint
