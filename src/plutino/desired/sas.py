"""The SAs and policies of one tunnel. Pure."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Final

from plutino.config.numbers import TunnelNumbers
from plutino.config.static_keys import StaticKeys
from plutino.config.tunnel import Tunnel
from plutino.config.values import IpNetwork
from plutino.desired.sequences import SavedSequence, Sequences, starting_replay
from plutino.desired.state import Surroundings
from plutino.model.numbers import ReqId
from plutino.model.policy import Direction, Mode, Policy, Selector, Template
from plutino.model.sa import (
    Offload,
    OffloadMode,
    SaDirection,
    SecurityAssociation,
    UdpEncapsulation,
)

REQID_RANGE: Final = 0x70000000
_REQID_BITS: Final = 28
POLICY_PRIORITY: Final = 1000
EVERYTHING: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def tunnel_reqid(instance: str, tunnel: str) -> ReqId:
    """A stable reqid in a range of our own."""
    digest = hashlib.sha256(f"{instance}\0{tunnel}".encode()).digest()
    return ReqId(REQID_RANGE | int.from_bytes(digest[:4], "big") >> (32 - _REQID_BITS))


def is_ours(reqid: int) -> bool:
    """Whether a reqid is of plutino's range."""
    return reqid >> _REQID_BITS == REQID_RANGE >> _REQID_BITS


def traffic_selectors(tunnel: Tunnel) -> Iterator[tuple[IpNetwork, IpNetwork]]:
    """Pairs of networks, ours and the peer's, of one family each."""
    if tunnel.mode == "transport":
        yield ip_network(tunnel.local), ip_network(tunnel.remote)
        return
    for local in tunnel.local_ts or EVERYTHING:
        for remote in tunnel.remote_ts or EVERYTHING:
            if local.version == remote.version:
                yield local, remote


def compile_policies(tunnel: Tunnel, numbers: TunnelNumbers, reqid: ReqId) -> Iterator[Policy]:
    """Out, in and forward policies for each pair of traffic selectors."""
    mode = Mode[tunnel.mode.upper()]
    outward = Template(tunnel.local, tunnel.remote, reqid, mode)
    inward = Template(tunnel.remote, tunnel.local, reqid, mode)
    for local, remote in traffic_selectors(tunnel):
        for direction, selector, template, mark in (
            (Direction.OUT, Selector(local, remote), outward, numbers.mark_out),
            (Direction.IN, Selector(remote, local), inward, numbers.mark_in),
            (Direction.FWD, Selector(remote, local), inward, numbers.mark_in),
        ):
            yield Policy(
                direction, selector, numbers.if_id, (template,), POLICY_PRIORITY, mark=mark
            )


def compile_sas(
    tunnel: Tunnel,
    keys: StaticKeys,
    numbers: TunnelNumbers,
    reqid: ReqId,
    *,
    surroundings: Surroundings,
    sequences: Sequences,
) -> Iterator[SecurityAssociation]:
    """The inbound SA, then the outbound one."""
    udp = UdpEncapsulation() if tunnel.encapsulation == "udp" else None
    (pair, *_) = traffic_selectors(tunnel)
    outward = SecurityAssociation(
        spi=keys.outbound.spi,
        source=tunnel.local,
        destination=tunnel.remote,
        reqid=reqid,
        if_id=numbers.if_id,
        keys=keys.suite.keys(keys.outbound.keymat),
        direction=SaDirection.OUT,
        mode=Mode[tunnel.mode.upper()],
        output_mark=numbers.set_mark_out,
        encapsulation=udp,
        mark=numbers.mark_out,
        selector=Selector(*pair) if tunnel.mode == "beet" else None,
        offload=_offload(tunnel, SaDirection.OUT, surroundings),
        nat_keepalive=tunnel.nat_keepalive,
    )
    inward = replace(
        outward,
        spi=keys.inbound.spi,
        source=tunnel.remote,
        destination=tunnel.local,
        keys=keys.suite.keys(keys.inbound.keymat),
        direction=SaDirection.IN,
        # The kernel puts it on the decrypted packet, where rules of others see it.
        output_mark=numbers.set_mark_in,
        mark=numbers.mark_in,
        selector=Selector(pair[1], pair[0]) if tunnel.mode == "beet" else None,
        offload=_offload(tunnel, SaDirection.IN, surroundings),
        nat_keepalive=0,
    )
    yield _numbered(inward, tunnel, sequences)
    yield _numbered(outward, tunnel, sequences)


def _numbered(sa: SecurityAssociation, tunnel: Tunnel, sequences: Sequences) -> SecurityAssociation:
    saved = sequences.get(sa.identity, SavedSequence())
    return replace(sa, replay=starting_replay(saved, sa.direction, tunnel.replay_window))


def _offload(tunnel: Tunnel, direction: SaDirection, surroundings: Surroundings) -> Offload | None:
    options = tunnel.offload
    if options is None or (direction is SaDirection.IN and options.directions == "out"):
        return None
    return Offload(surroundings.links[None, options.device].index, OffloadMode(options.mode))
