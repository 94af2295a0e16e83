"""The kernel's settings for devices that the configuration asks for. Pure."""

from collections.abc import Iterator
from typing import Final

from plutino.config.gateway import Gateway
from plutino.desired.state import Surroundings
from plutino.model.sysctl import Sysctl

_RP_FILTER: Final = {"off": "0", "strict": "1", "loose": "2"}
_FAMILIES: Final = {
    "src_valid_mark": ("ipv4",),
    "accept_local": ("ipv4",),
    "forwarding": ("ipv4", "ipv6"),
    "disable_policy": ("ipv4", "ipv6"),
}


def compile_sysctls(gateway: Gateway, surroundings: Surroundings) -> Iterator[Sysctl]:
    """Of devices that are there, or that are ours; what a device lacks waits until it comes."""
    ours = {tunnel.interface for tunnel in gateway.tunnels.values()}
    for device, settings in gateway.devices.items():
        namespace = gateway.options(device).namespace if device in ours else None
        if namespace in surroundings.missing:
            continue
        if device not in ours and (None, device) not in surroundings.links:
            continue
        if settings.rp_filter is not None:
            value = _RP_FILTER[settings.rp_filter]
            yield Sysctl("ipv4", device, "rp_filter", value, namespace)
        for name, families in _FAMILIES.items():
            wanted = getattr(settings, name)
            for family in families:
                has_ipv6 = namespace not in surroundings.without_ipv6
                if wanted is not None and (family == "ipv4" or has_ipv6):
                    yield Sysctl(family, device, name, str(int(wanted)), namespace)
