"""The SAs and policies of one tunnel. Pure."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Final

from plutino.config.numbers import TunnelNumbers
from plutino.config.static_keys import StaticKeys
from plutino.config.tunnel import Tunnel
from plutino.desired.child_sas import child_selectors
from plutino.desired.paths import unspecified
from plutino.desired.sequences import SavedSequence, Sequences, starting_replay
from plutino.desired.state import Surroundings
from plutino.model.child_sa import ChildSa
from plutino.model.numbers import ReqId
from plutino.model.path import Path, TunnelPaths
from plutino.model.policy import Direction, Mode, Policy, Selector, Template
from plutino.model.sa import (
    Offload,
    OffloadMode,
    SaDirection,
    SecurityAssociation,
    UdpEncapsulation,
)
from plutino.model.traffic import EVERYTHING, NetworkSelector, at_address, packets_between

REQID_RANGE: Final = 0x70000000
_REQID_BITS: Final = 28
POLICY_PRIORITY: Final = 1000


def tunnel_reqid(instance: str, tunnel: str) -> ReqId:
    """A stable reqid in a range of our own."""
    digest = hashlib.sha256(f"{instance}\0{tunnel}".encode()).digest()
    return ReqId(REQID_RANGE | int.from_bytes(digest[:4], "big") >> (32 - _REQID_BITS))


def is_ours(reqid: int) -> bool:
    """Whether a reqid is of plutino's range."""
    return reqid >> _REQID_BITS == REQID_RANGE >> _REQID_BITS


def traffic_selectors(
    tunnel: Tunnel, active: Path
) -> Iterator[tuple[NetworkSelector, NetworkSelector]]:
    """Pairs of selectors that meet, ours and the peer's."""
    ours, theirs = tunnel.local_ts or EVERYTHING, tunnel.remote_ts or EVERYTHING
    if tunnel.mode == "transport":
        ours, theirs = (
            at_address(ours, active.local or tunnel.local),
            at_address(theirs, active.remote),
        )
    yield from (one for one in product(ours, theirs) if one[0].meets(one[1]))


def selectors_in_force(
    tunnel: Tunnel, active: Path, children: Sequence[ChildSa]
) -> tuple[tuple[NetworkSelector, NetworkSelector], ...]:
    """Those that IKE has agreed upon, where it has; else those of the file."""
    return child_selectors(children) if children else tuple(traffic_selectors(tunnel, active))


def compile_policies(
    tunnel: Tunnel,
    paths: TunnelPaths,
    numbers: TunnelNumbers,
    reqid: ReqId,
    children: Sequence[ChildSa] = (),
) -> Iterator[Policy]:
    """Out, in and forward policies for each pair of traffic selectors.

    What comes in may have come by any path of the tunnel. Where IKE has made ``children``, their
    selectors count. While an end is not known there are none: an interface without policies drops
    what it is given.
    """
    active = paths.active
    if active.local is None or active.remote.is_unspecified:
        return
    mode = Mode[tunnel.mode.upper()]
    outward = Template(active.local, active.remote, reqid, mode)
    inward = Template(active.remote, active.local, reqid, mode)
    if len(paths.every) > 1 and tunnel.mode != "transport":
        anyone = unspecified(active.remote.version)
        inward = Template(anyone, anyone, reqid, mode)
    for direction, selector in _packets(selectors_in_force(tunnel, active, children)):
        is_out = direction is Direction.OUT
        template = outward if is_out else inward
        mark = numbers.mark_out if is_out else numbers.mark_in
        yield Policy(direction, selector, numbers.if_id, (template,), POLICY_PRIORITY, mark=mark)


def _packets(
    pairs: Sequence[tuple[NetworkSelector, NetworkSelector]],
) -> Iterable[tuple[Direction, Selector]]:
    """Those of each direction, once: ranges of ports may have some in common."""
    found: list[tuple[Direction, Selector]] = []
    for ours, theirs in pairs:
        found += [(Direction.OUT, one) for one in packets_between(ours, theirs)]
        for one in packets_between(theirs, ours):
            found += [(Direction.IN, one), (Direction.FWD, one)]
    is_plain = all(one.is_whole for pair in pairs for one in pair)
    return found if is_plain or len(pairs) == 1 else dict.fromkeys(found)


def compile_sas(
    tunnel: Tunnel,
    paths: TunnelPaths,
    keys: Mapping[str, StaticKeys],
    numbers: TunnelNumbers,
    reqid: ReqId,
    *,
    surroundings: Surroundings,
    sequences: Sequences,
) -> Iterator[SecurityAssociation]:
    """The inbound SA, then the outbound one, of the tunnel itself and of each standby path."""
    for path in (paths.own, *paths.standby):
        found = _sas(
            tunnel,
            path,
            active=paths.active,
            keys=keys[path.keys],
            numbers=numbers,
            reqid=reqid,
            surroundings=surroundings,
        )
        for sa in found:
            here = [one for one in paths.every if one.keys == path.keys]
            yield _numbered(sa, tunnel, here, sequences)


def _sas(
    tunnel: Tunnel,
    path: Path,
    *,
    active: Path,
    keys: StaticKeys,
    numbers: TunnelNumbers,
    reqid: ReqId,
    surroundings: Surroundings,
) -> Iterator[SecurityAssociation]:
    if path.local is None:
        return
    udp = UdpEncapsulation() if tunnel.encapsulation == "udp" else None
    inner = None
    if tunnel.mode == "beet":
        ((local, remote), *_) = traffic_selectors(tunnel, active)
        inner = Selector(local.network, remote.network)
    outward = SecurityAssociation(
        spi=keys.outbound.spi,
        source=path.local,
        destination=path.remote,
        reqid=reqid,
        if_id=numbers.if_id,
        keys=keys.suite.keys(keys.outbound.keymat),
        direction=SaDirection.OUT,
        mode=Mode[tunnel.mode.upper()],
        output_mark=path.set_mark,
        encapsulation=udp,
        mark=numbers.mark_out,
        selector=inner,
        offload=_offload(tunnel, SaDirection.OUT, surroundings),
        nat_keepalive=tunnel.nat_keepalive,
    )
    inward = replace(
        outward,
        spi=keys.inbound.spi,
        source=path.remote,
        destination=path.local,
        keys=keys.suite.keys(keys.inbound.keymat),
        direction=SaDirection.IN,
        # The kernel puts it on the decrypted packet, where rules of others see it.
        output_mark=numbers.set_mark_in,
        mark=numbers.mark_in,
        selector=None if inner is None else inner.reversed(),
        offload=_offload(tunnel, SaDirection.IN, surroundings),
        nat_keepalive=0,
    )
    yield inward
    yield outward


def _numbered(
    sa: SecurityAssociation, tunnel: Tunnel, paths: Iterable[Path], sequences: Sequences
) -> SecurityAssociation:
    """With the numbers that its key has used, on whichever of its paths it was then."""
    ends = {one.remote if sa.direction is SaDirection.OUT else one.local for one in paths}
    found = [sequences.get((end, sa.spi, sa.protocol)) for end in ends if end is not None]
    used = [one for one in found if one is not None]
    saved = SavedSequence(
        max((one.oseq for one in used), default=0), max((one.seq for one in used), default=0)
    )
    return replace(sa, replay=starting_replay(saved, sa.direction, tunnel.replay_window))


def _offload(tunnel: Tunnel, direction: SaDirection, surroundings: Surroundings) -> Offload | None:
    options = tunnel.offload
    if options is None or (direction is SaDirection.IN and options.directions == "out"):
        return None
    return Offload(surroundings.links[None, options.device].index, OffloadMode(options.mode))
