"""A gateway's configuration to everything that should exist. Pure."""

import hashlib
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Final

from plutino.config.gateway import Gateway, Tunnel
from plutino.config.static_keys import StaticKeys
from plutino.desired.sequences import SavedSequence, Sequences, starting_replay
from plutino.desired.state import DesiredState, TunnelPlan
from plutino.model.algorithms import AeadAlgorithm, AeadKey
from plutino.model.errors import ConfigError
from plutino.model.interface import Interface, interface_if_id, output_mark
from plutino.model.link import Address, Route, RouteType
from plutino.model.numbers import IfId, ReqId
from plutino.model.policy import Direction, IpNetwork, Policy, Selector, Template
from plutino.model.sa import (
    Encapsulation,
    SaDirection,
    SecurityAssociation,
    UdpEncapsulation,
)

ROUTE_METRIC: Final = 50
"""Explicit, because IPv6 turns 0 into 1024."""
TWIN_METRIC: Final = 0xFFFF0000
"""Unreachable twins lose against every other route; the low half tells instances apart."""
REQID_RANGE: Final = 0x70000000
_REQID_BITS: Final = 28
POLICY_PRIORITY: Final = 1000
DEFAULT_PATH_MTU: Final = 1500
LOWEST_MTU: Final = 1280
"""IPv6 needs it (RFC 8200, 5); what does not fit the path is then fragmented outside."""
EVERYTHING: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))

_UDP_HEADER: Final = 8
_ESP_HEADER: Final = 8
_ESP_TRAILER: Final = 2


def compile_gateway(
    gateway: Gateway,
    keys: Mapping[str, StaticKeys],
    *,
    path_mtu: Mapping[str, int],
    sequences: Sequences,
) -> DesiredState:
    """Links, addresses, policies, SAs and routes of a gateway.

    ``keys`` and ``path_mtu`` (bytes of the outer packet, 1500 if unknown) are by tunnel name.
    Raises ConfigError if two tunnels' reqids are the same number.
    """
    plans = []
    for name, tunnel in gateway.tunnels.items():
        plans.append(_compile_tunnel(gateway, name, tunnel, keys[name], sequences))
    _check_reqids(plans)
    twins = {
        network: Route(network, None, RouteType.UNREACHABLE, metric=twin_metric(gateway.instance))
        for tunnel in gateway.tunnels.values()
        for network in _guarded(tunnel)
    }
    addresses = {
        Address(tunnel.interface, address): None
        for tunnel in gateway.tunnels.values()
        for address in tunnel.addresses
    }
    return DesiredState(
        instance=gateway.instance,
        interfaces=tuple(_interfaces(gateway, keys, path_mtu)),
        addresses=tuple(addresses),
        policies=tuple(policy for plan in plans for policy in plan.policies),
        sas=tuple(sa for plan in plans for sa in plan.sas),
        routes=(*twins.values(), *(route for plan in plans for route in plan.routes)),
        tunnels=tuple(plans),
    )


def twin_metric(instance: str) -> int:
    """The metric of an instance's unreachable routes, by which they are known as its own."""
    digest = hashlib.sha256(instance.encode()).digest()
    return TWIN_METRIC | int.from_bytes(digest[:2], "big")


def tunnel_reqid(instance: str, tunnel: str) -> ReqId:
    """A stable reqid in a range of our own."""
    digest = hashlib.sha256(f"{instance}\0{tunnel}".encode()).digest()
    return ReqId(REQID_RANGE | int.from_bytes(digest[:4], "big") >> (32 - _REQID_BITS))


def is_ours(reqid: int) -> bool:
    """Whether a reqid is of plutino's range."""
    return reqid >> _REQID_BITS == REQID_RANGE >> _REQID_BITS


def inner_mtu(
    path_mtu: int, version: int, encapsulation: Encapsulation, algorithm: AeadAlgorithm
) -> int:
    """Bytes of the largest inner packet that fits a path in tunnel mode (``xfrm_state_mtu()``)."""
    overhead = 20 if version == 4 else 40
    if encapsulation is Encapsulation.UDP:
        overhead += _UDP_HEADER
    overhead += _ESP_HEADER + algorithm.iv_size + algorithm.icv_size
    aligned = (path_mtu - overhead) // algorithm.block_size * algorithm.block_size
    return max(aligned - _ESP_TRAILER, LOWEST_MTU)


def _interfaces(
    gateway: Gateway, keys: Mapping[str, StaticKeys], path_mtu: Mapping[str, int]
) -> Iterator[Interface]:
    """One per name; tunnels that share it share the smallest of their MTUs."""
    mtus: dict[str, list[int]] = {}
    explicit: dict[str, int] = {}
    if_ids: dict[str, IfId] = {}
    for name, tunnel in gateway.tunnels.items():
        encapsulation = Encapsulation(tunnel.encapsulation)
        path = path_mtu.get(name, DEFAULT_PATH_MTU)
        mtu = inner_mtu(path, tunnel.remote.version, encapsulation, keys[name].algorithm)
        mtus.setdefault(tunnel.interface, []).append(mtu)
        if tunnel.mtu is not None:
            explicit[tunnel.interface] = tunnel.mtu
        if_ids[tunnel.interface] = interface_if_id(tunnel.interface, tunnel.if_id)
    for interface, several in mtus.items():
        yield Interface(interface, if_ids[interface], explicit.get(interface, min(several)))


def _compile_tunnel(
    gateway: Gateway, name: str, tunnel: Tunnel, keys: StaticKeys, sequences: Sequences
) -> TunnelPlan:
    if_id = interface_if_id(tunnel.interface, tunnel.if_id)
    reqid = tunnel_reqid(gateway.instance, name)
    return TunnelPlan(
        name=name,
        interface=tunnel.interface,
        reqid=reqid,
        policies=tuple(_policies(tunnel, if_id, reqid)),
        sas=tuple(_sas(gateway, tunnel, keys, if_id=if_id, reqid=reqid, sequences=sequences)),
        routes=tuple(
            Route(network, tunnel.interface, metric=ROUTE_METRIC) for network in tunnel.routes
        ),
    )


def _policies(tunnel: Tunnel, if_id: IfId, reqid: ReqId) -> Iterator[Policy]:
    outward = Template(tunnel.local, tunnel.remote, reqid)
    inward = Template(tunnel.remote, tunnel.local, reqid)
    for local in tunnel.local_ts or EVERYTHING:
        for remote in tunnel.remote_ts or EVERYTHING:
            if local.version != remote.version:
                continue
            for direction, selector, template in (
                (Direction.OUT, Selector(local, remote), outward),
                (Direction.IN, Selector(remote, local), inward),
                (Direction.FWD, Selector(remote, local), inward),
            ):
                yield Policy(direction, selector, if_id, (template,), POLICY_PRIORITY)


def _sas(
    gateway: Gateway,
    tunnel: Tunnel,
    keys: StaticKeys,
    *,
    if_id: IfId,
    reqid: ReqId,
    sequences: Sequences,
) -> Iterator[SecurityAssociation]:
    udp = UdpEncapsulation() if tunnel.encapsulation == "udp" else None
    for direction, key, source, destination in (
        (SaDirection.IN, keys.inbound, tunnel.remote, tunnel.local),
        (SaDirection.OUT, keys.outbound, tunnel.local, tunnel.remote),
    ):
        algorithm = keys.algorithm
        # On an inbound SA the kernel would put the mark on the decrypted packet, where rules of
        # others see it.
        mark = output_mark(if_id, gateway.mark_mask) if direction is SaDirection.OUT else None
        saved = sequences.get((destination, key.spi, 50), SavedSequence())
        yield SecurityAssociation(
            spi=key.spi,
            source=source,
            destination=destination,
            reqid=reqid,
            if_id=if_id,
            aead=AeadKey(algorithm.kernel_name, key.keymat, 8 * algorithm.icv_size),
            direction=direction,
            output_mark=mark,
            encapsulation=udp,
            replay=starting_replay(saved, direction, tunnel.replay_window),
        )


def _guarded(tunnel: Tunnel) -> Iterator[IpNetwork]:
    """Prefixes that must not leave in clear: routes, and what the addresses connect to.

    When the interface goes, its connected routes go too, and the default route would take over.
    """
    yield from tunnel.routes
    for address in tunnel.addresses:
        if address.network.num_addresses > 1:
            yield address.network


def _check_reqids(plans: list[TunnelPlan]) -> None:
    seen: dict[int, str] = {}
    for plan in plans:
        other = seen.setdefault(plan.reqid, plan.name)
        if other != plan.name:
            why = f"its reqid is that of tunnel '{other}' by chance"
            raise ConfigError.single("", f"tunnels.{plan.name}", why, "rename one of them")
