"""What networks of ``protected`` must be: an unreachable route to each harms nothing else. Pure."""

from collections.abc import Iterator

from plutino.config.gateway import Gateway
from plutino.config.positions import Finding
from plutino.config.values import IpNetwork


def check_protected(gateway: Gateway) -> Iterator[Finding]:
    """No outer packet and no other tunnel may need a way that the unreachable route would take."""
    for number, network in enumerate(gateway.protected):
        if (finding := _problem(gateway, network)) is not None:
            why, hint = finding
            yield ("protected", number), f"{network} {why}", hint


def _problem(gateway: Gateway, network: IpNetwork) -> tuple[str, str] | None:
    for name, tunnel in gateway.tunnels.items():
        for peer in tunnel.peers:
            if _holds(network, peer.version, int(peer)) and _in_main(gateway):
                why = f"holds the outer address {peer} of the peer of tunnel '{name}'"
                hint = "name smaller networks; to send all through one tunnel, put it in `routes`"
                return why, hint
        for prefix in gateway.prefixes(name):
            first = int(network.network_address)
            if prefix.prefixlen <= network.prefixlen and _holds(prefix, network.version, first):
                why = f"lies in {prefix} of tunnel '{name}', and would be kept from it"
                return why, "remove it: what a tunnel names is guarded"
    if network.prefixlen == 0 and _in_main(gateway):
        return "would compete with main's default route", "name smaller networks"
    return None


def _in_main(gateway: Gateway) -> bool:
    """Whether outer packets look into the table that the unreachable routes are in."""
    options = [gateway.options(tunnel.interface) for tunnel in gateway.tunnels.values()]
    return any(one.namespace is None and one.vrf is None for one in options)


def _holds(network: IpNetwork, version: int, address: int) -> bool:
    first = int(network.network_address)
    return network.version == version and first <= address < first + network.num_addresses
