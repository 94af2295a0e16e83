"""The core's CHILD_SAs as planning takes them."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_network

from plutino.ike.active_child import ActiveChild
from plutino.ike.child import Child
from plutino.ike.esp_suites import esp_suite
from plutino.ike.narrowing import prefixes_of
from plutino.ike.numbers import TransformType
from plutino.ike.payloads.traffic_selector import TrafficSelector
from plutino.model.child_sa import ChildSa
from plutino.model.numbers import Spi
from plutino.model.policy import IpAddress, Mode
from plutino.model.sa import UdpEncapsulation
from plutino.model.traffic import NetworkSelector


def child_sa(one: ActiveChild) -> ChildSa:
    """With addresses, keys and selectors, for the tunnel of the child's name."""
    child, (local, remote) = one.child, one.path
    suite = esp_suite(child.chosen)
    return ChildSa(
        tunnel=child.config.name,
        local=local.address,
        remote=remote.address,
        spi_in=Spi(int.from_bytes(child.spi_in, "big")),
        spi_out=Spi(int.from_bytes(child.spi_out, "big")),
        keys_in=suite.keys(child.keys.inbound),
        keys_out=suite.keys(child.keys.outbound),
        local_ts=_prefixes(child, child.local, local.address),
        remote_ts=_prefixes(child, child.remote, remote.address),
        mode=child.mode,
        esn=child.chosen.id_of(TransformType.ESN) == 1,
        outbound=one.outbound,
        encapsulation=UdpEncapsulation(local.port, remote.port) if one.udp else None,
    )


def _prefixes(
    child: Child, selectors: Iterable[TrafficSelector], end: IpAddress
) -> tuple[NetworkSelector, ...]:
    """Those of transport mode are of the end where it is by now."""
    found = tuple(by_prefix for one in selectors for by_prefix in prefixes_of(one))
    if child.mode is Mode.TRANSPORT:
        found = tuple(replace(one, network=ip_network(end)) for one in found)
    return found
