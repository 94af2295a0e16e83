"""Devices that a configuration names must be there. Pure."""

from plutino.config.gateway import Gateway
from plutino.desired.state import Surroundings
from plutino.model.errors import ConfigError, Problem
from plutino.model.link import Namespace


def check_devices(gateway: Gateway, surroundings: Surroundings) -> None:
    """Raises ConfigError for every device that is lacking, or of another kind than is needed."""
    problems = []
    wanted: list[tuple[str, Namespace, str | None, str]] = []
    for name, options in gateway.interfaces.items():
        wanted.append((f"interfaces.{name}.link", None, options.link, ""))
        if options.namespace not in surroundings.missing:
            wanted.append((f"interfaces.{name}.vrf", options.namespace, options.vrf, "vrf"))
    for name, tunnel in gateway.tunnels.items():
        device = tunnel.offload.device if tunnel.offload is not None else None
        wanted.append((f"tunnels.{name}.offload.device", None, device, ""))
    for key, namespace, device, kind in wanted:
        link = None if device is None else surroundings.links.get((namespace, device))
        if device is not None and link is None:
            where = "" if namespace is None else f" in network namespace {namespace}"
            why = f"there is no device {device}{where}"
            problems.append(Problem("", None, key, why, "see `ip link`"))
        elif link is not None and kind and link.kind != kind:
            why = f"{device} is no {kind} device, but of kind {link.kind}"
            problems.append(Problem("", None, key, why, "see `ip link show type vrf`"))
    if problems:
        raise ConfigError(problems)
