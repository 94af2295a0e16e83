"""The core's CHILD_SAs as planning takes them."""

from collections.abc import Iterable

from plutino.ike.active_child import ActiveChild
from plutino.ike.child import Child
from plutino.ike.esp_suites import esp_suite
from plutino.ike.narrowing import networks_of, packets_of, selector_of_addresses
from plutino.ike.numbers import TransformType
from plutino.ike.payloads.traffic_selector import TrafficSelector
from plutino.model.child_sa import ChildSa
from plutino.model.numbers import Spi
from plutino.model.policy import IpNetwork, Selector
from plutino.model.sa import UdpEncapsulation


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
        local_ts=_prefixes(child.local),
        remote_ts=_prefixes(child.remote),
        packets=_packets(child),
        mode=child.mode,
        esn=child.chosen.id_of(TransformType.ESN) == 1,
        outbound=one.outbound,
        encapsulation=UdpEncapsulation(local.port, remote.port) if one.udp else None,
    )


def _packets(child: Child) -> tuple[Selector, ...] | None:
    """Those that the CHILD_SA is for, where it is not for all between its prefixes."""
    if all(selector_of_addresses(one) == one for one in (*child.local, *child.remote)):
        return None
    return tuple(packets_of(child.local, child.remote))


def _prefixes(selectors: Iterable[TrafficSelector]) -> tuple[IpNetwork, ...]:
    return tuple(network for one in selectors for network in networks_of(one))
