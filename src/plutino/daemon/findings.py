"""What speaks against a gateway, or is in its way, in words: told by pass, `plan` and `doctor`."""

from functools import partial

from plutino.config.files import LoadedGateway
from plutino.config.gateway import Gateway
from plutino.config.numbers import tunnel_numbers
from plutino.daemon.marks import find_mark_clashes
from plutino.dataplane.choice import KERNEL, PlaneChoice
from plutino.dataplane.reverse_path import has_strict_reverse_path
from plutino.dataplane.sysctls import read_setting
from plutino.desired.rules import covers_a_peer
from plutino.desired.setting_checks import settings_in_the_way, settings_worth_a_look
from plutino.desired.state import DesiredState
from plutino.model.path import describe_path
from plutino.netlink.route_clients import RouteClients


def find_problems(
    loaded: LoadedGateway, desired: DesiredState, routes: RouteClients
) -> tuple[str, ...]:
    """The same in words, for a gateway that serves, and what may be in its way."""
    clashes, remarks = find_mark_clashes(loaded.gateway, desired, routes)
    return (
        *(f"{one.key}: {one.why}" for one in (*desired.findings, *clashes)),
        *remarks,
        *_missing_devices(loaded.gateway, routes),
        *_certificates(loaded),
    )


def _certificates(loaded: LoadedGateway) -> tuple[str, ...]:
    if not loaded.signature_files:
        return ()
    from plutino.daemon.certificate_findings import (  # noqa: PLC0415 -- slow to load
        current_time,
        unbelievable_certificates,
    )

    return unbelievable_certificates(loaded, current_time())


def _missing_devices(gateway: Gateway, routes: RouteClients) -> tuple[str, ...]:
    return tuple(
        f"uplinks.{name}.interface: there is no device {uplink.interface} (yet): what goes by it "
        "waits for it; `ip link` lists what there is"
        for name, uplink in gateway.uplinks.items()
        if routes.home.find_link(uplink.interface) is None
    )


def settings_in_force(
    gateway: Gateway, choice: PlaneChoice, routes: RouteClients
) -> tuple[str, ...]:
    """Settings that keep the kernel's interfaces from their work; the engine heeds none of them."""
    if choice.plane != KERNEL:
        return ()
    return settings_in_the_way(gateway, partial(read_setting, routes))


def settings_to_know(gateway: Gateway, routes: RouteClients) -> tuple[str, ...]:
    """Settings that are as the kernel has them, and may not be what the gateway wants."""
    return settings_worth_a_look(gateway, partial(read_setting, routes))


def strict_reverse_paths(gateway: Gateway, routes: RouteClients) -> tuple[str, ...]:
    """Devices whose reverse path filter drops what peers send, in words."""
    covered = {
        network
        for name, tunnel in gateway.tunnels.items()
        for network in gateway.prefixes(name)
        if network.version == 4 and covers_a_peer(gateway, tunnel, network)
    }
    devices = {}
    for name, tunnel in gateway.tunnels.items():
        if tunnel.remote.is_unspecified:
            continue
        if any(tunnel.remote.version == 4 and tunnel.remote in network for network in covered):
            mark = tunnel_numbers(gateway, name).set_mark_out.value
            found = routes.home.path_mtu(tunnel.remote, tunnel.local, mark)
            # A longer prefix of main's leads back to the peer without a mark too.
            plain = routes.home.path_mtu(tunnel.remote, tunnel.local)
            if found is not None and plain != found and has_strict_reverse_path(found[0]):
                devices[found[0]] = name
    return tuple(
        f"rp_filter is strict on {device}: what the peer of tunnel '{name}' sends is dropped, "
        "since a tunnel's route covers it; "
        f"`sysctl net.ipv4.conf.{device}.rp_filter=2` makes it loose"
        for device, name in sorted(devices.items())
    )


def lost_paths(desired: DesiredState) -> tuple[str, ...]:
    """Tunnels that do not go by their best path, in words."""
    told = []
    for plan in desired.tunnels:
        best, active = plan.paths.every[0], plan.paths.active
        if plan.paths.lost:
            told.append(f"tunnel '{plan.name}' has no path: {describe_path(best)} is lost")
        elif active != best:
            words = f"{describe_path(best)} is lost"
            told.append(f"tunnel '{plan.name}' goes by {describe_path(active)}: {words}")
    return tuple(told)
