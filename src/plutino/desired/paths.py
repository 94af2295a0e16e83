"""The ways that a tunnel's outer packets may take, and which one they take now. Pure.

A path is one of our addresses, at one uplink, and one of the peer's. The tunnel's own SAs are on
the best of those paths that no standby SA serves, and move between them; a standby SA stays on its
path. What leaves uses the best path of all: the policies outwards name it in their template.

Both ends rank the paths between them alike, so that SAs that move meet at the same one.
"""

from collections.abc import Iterator
from ipaddress import ip_address

from plutino.config.gateway import Gateway
from plutino.config.numbers import standby_keys, tunnel_numbers, uplink_mark
from plutino.config.tunnel import NO_ADDRESS, Standby, Tunnel
from plutino.config.uplink import ProbeOptions
from plutino.desired.state import Surroundings
from plutino.model.numbers import Mark
from plutino.model.path import Path, TunnelPaths
from plutino.model.policy import IpAddress
from plutino.model.probe import LONGEST_HOLD, Probe


def choose_paths(gateway: Gateway, name: str, surroundings: Surroundings) -> TunnelPaths:
    """The paths of a tunnel as things are."""
    every = tuple(_paths(gateway, name, surroundings))
    own = [one for one in every if one.keys == name]
    return TunnelPaths(every, _best(own), _best(every))


def _best(paths: tuple[Path, ...] | list[Path]) -> Path:
    usable = (one for one in paths if one.usable)
    return next(usable, next((one for one in paths if one.answering), paths[0]))


def _paths(gateway: Gateway, name: str, surroundings: Surroundings) -> Iterator[Path]:
    tunnel = gateway.tunnels[name]
    standby = {
        _ends(tunnel, one): standby_keys(name, place) for place, one in enumerate(tunnel.standby)
    }
    locals_: dict[tuple[str | None, IpAddress | None], None] = {}
    for uplink in _ranked(gateway, tunnel) or (None,):
        locals_[uplink, None if uplink else tunnel.local] = None
    remotes = (tunnel.remote, *tunnel.remotes)
    wanted = {
        (uplink, local, remote): name for uplink, local in locals_ for remote in remotes
    } | standby
    ranks = {uplink: rank for rank, (uplink, _local) in enumerate(locals_)}
    peers = tunnel.peers
    several = len(wanted) > 1
    ranked = []
    for (uplink, given, remote), keys in wanted.items():
        local = given or source_address(gateway, uplink, remote.version, surroundings)
        rank = ranks.get(uplink, 0) + peers.index(remote)
        ends = sorted(str(one) for one in (local, remote) if one is not None)
        ranked.append((rank, ends, uplink, local, remote, keys))
    for _rank, _sorted, uplink, local, remote, keys in sorted(ranked, key=lambda one: one[:2]):
        probe = probe_key(gateway, uplink, local, remote)
        is_there = uplink is None or _reaches(gateway, uplink, local, remote, surroundings)
        usable = is_there and probe not in surroundings.ways.lost
        yield Path(
            uplink=uplink,
            local=local,
            remote=remote,
            keys=keys,
            set_mark=_set_mark(gateway, name, uplink),
            usable=usable or not (several or uplink),
            probe=probe,
            answering=is_there and probe in surroundings.ways.answering,
        )


def _ends(tunnel: Tunnel, one: Standby) -> tuple[str | None, IpAddress | None, IpAddress]:
    local = one.local
    if one.uplink is None and local is None and not tunnel.uplinks:
        local = tunnel.local
    uplink = one.uplink or (tunnel.uplinks[0] if tunnel.uplinks and local is None else None)
    return uplink, local, one.remote or tunnel.remote


def _ranked(gateway: Gateway, tunnel: Tunnel) -> list[str]:
    return sorted(tunnel.uplinks, key=lambda name: gateway.uplinks[name].priority)


def _set_mark(gateway: Gateway, name: str, uplink: str | None) -> Mark:
    mark = tunnel_numbers(gateway, name).set_mark_out
    if uplink is None:
        return mark
    beside = uplink_mark(gateway, uplink)
    return Mark(mark.value & ~beside.mask | beside.value, mark.mask | beside.mask)


def source_address(
    gateway: Gateway, uplink: str | None, version: int, surroundings: Surroundings
) -> IpAddress | None:
    """Our address at an uplink; None while there is none."""
    if uplink is None:
        return None
    options = gateway.uplinks[uplink]
    for address in options.source:
        if address.version == version:
            return address
    for one in surroundings.addresses.get(options.interface, ()):
        if one.version == version and not (version == 6 and one.is_link_local):
            return one.ip
    return None


def next_hop(
    gateway: Gateway, uplink: str, version: int, surroundings: Surroundings
) -> IpAddress | None:
    """The gateway of an uplink; None if it has none, or none is known."""
    options = gateway.uplinks[uplink]
    for address in options.gateway:
        if address.version == version:
            return address
    return surroundings.gateways.get((options.interface, version))


def _reaches(
    gateway: Gateway,
    uplink: str,
    local: IpAddress | None,
    remote: IpAddress,
    surroundings: Surroundings,
) -> bool:
    """Whether device, address and next hop are there."""
    interface = gateway.uplinks[uplink].interface
    link = surroundings.links.get((None, interface))
    if link is None or not link.up or not link.carrier or local is None:
        return False
    addresses = surroundings.addresses.get(interface, ())
    if not any(one.ip == local for one in addresses):
        return False
    return (
        link.point_to_point
        or next_hop(gateway, uplink, remote.version, surroundings) is not None
        or any(one.version == remote.version and remote in one.network for one in addresses)
    )


# --- probes


def probe_key(
    gateway: Gateway, uplink: str | None, local: IpAddress | None, remote: IpAddress
) -> str:
    """The name of the probe that judges a path: one for all of an uplink that has targets."""
    if uplink is not None and any(
        one.version == remote.version for one in gateway.uplinks[uplink].probe.targets
    ):
        return f"uplink {uplink} IPv{remote.version}"
    return f"{uplink or local} to {remote}"


def compile_probes(gateway: Gateway, paths: dict[str, TunnelPaths]) -> Iterator[Probe]:
    """What has to be asked to judge all paths, each once."""
    probes: dict[str, Probe] = {}
    for name, several in paths.items():
        if len(several.every) == 1 and several.own.uplink is None:
            continue
        own = [one for one in several.every if one.keys == name]
        for path in several.every:
            options = _options(gateway, path.uplink)
            if options.kind == "none" or path.local is None or path.probe in probes:
                continue
            targets = tuple(one for one in options.targets if one.version == path.remote.version)
            if path.remote.is_unspecified and not targets:
                continue  # a name that has not been resolved
            probes[path.probe] = Probe(
                key=path.probe,
                destinations=targets or (path.remote,),
                source=path.local,
                mark=_probe_mark(gateway, name, path),
                interval=options.interval,
                lost_after=options.lost_after,
                back_after=options.back_after,
                longest_hold=options.back_after if path in own and len(own) > 1 else LONGEST_HOLD,
            )
    yield from probes.values()


def _options(gateway: Gateway, uplink: str | None) -> ProbeOptions:
    return ProbeOptions() if uplink is None else gateway.uplinks[uplink].probe


def _probe_mark(gateway: Gateway, name: str, path: Path) -> int:
    """All bits of ``mark-mask`` stay outside of tunnels; the uplink's lead to its table."""
    mark = _set_mark(gateway, name, path.uplink)
    return mark.value & ~gateway.mark_mask | gateway.mark_mask


def unspecified(version: int) -> IpAddress:
    """0.0.0.0 or ::, which stand for any address in a template."""
    return NO_ADDRESS if version == 4 else ip_address("::")
