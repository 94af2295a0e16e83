"""CHILD_SAs to the SAs of the data plane, and what else of a tunnel follows from them. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Final

from plutino.config.numbers import TunnelNumbers
from plutino.config.proposals import parse_proposal
from plutino.config.tunnel import Tunnel
from plutino.desired.paths import unspecified
from plutino.desired.sequences import SavedSequence, Sequences, starting_replay
from plutino.model.algorithms import DEFAULT_ALGORITHM, ESP_SUITES, EspSuite
from plutino.model.child_sa import ChildSa
from plutino.model.numbers import Mark, ReqId, Spi
from plutino.model.path import Path, TunnelPaths
from plutino.model.policy import Mode, Selector
from plutino.model.proposal_words import ENCR, INTEG
from plutino.model.sa import (
    UNLIMITED,
    Lifetime,
    SaDirection,
    SecurityAssociation,
    UdpEncapsulation,
)
from plutino.model.secret import Secret
from plutino.model.traffic import EVERYTHING, NetworkSelector

_SHARES: Final = 1024
_SPECIMEN: Final = Spi(256)


def sending_child(children: Sequence[ChildSa]) -> ChildSa | None:
    """The one that packets leave by."""
    return next((one for one in children if one.outbound), None)


def paths_in_use(paths: TunnelPaths, children: Sequence[ChildSa]) -> TunnelPaths:
    """The path that IKE is on: still the old one, or behind a NAT, or as the peer has moved it."""
    child = sending_child(children)
    if child is None:
        return paths
    at = {one.local: one for one in reversed(paths.every)}.get(child.local, paths.active)
    ends = child.local, child.remote
    both = (one for one in paths.every if (one.local, one.remote) == ends)
    active = next(both, replace(at, local=child.local, remote=child.remote))
    return replace(paths, own=active, active=active)


def child_selectors(
    children: Sequence[ChildSa],
) -> tuple[tuple[NetworkSelector, NetworkSelector], ...]:
    """What any child is for: pairs of our side and the peer's that meet."""
    every = (one for child in children for one in product(child.local_ts, child.remote_ts))
    pairs = [one for one in every if one[0].meets(one[1])]
    return tuple(pairs if len(pairs) == 1 else dict.fromkeys(pairs))


def compile_children(
    tunnel: Tunnel,
    path: Path,
    children: Sequence[ChildSa],
    numbers: TunnelNumbers,
    *,
    reqid: ReqId,
    sequences: Sequences,
) -> Iterator[SecurityAssociation]:
    """All inbound SAs, then the outbound one: who sends by a new one is heard at once."""
    for child in children:
        sa = _sa(child, numbers, reqid, SaDirection.IN, output_mark=numbers.set_mark_in)
        sa = replace(sa, lifetime=_lifetime(tunnel, child))
        yield _numbered(sa, tunnel, sequences)
    sending = sending_child(children)
    if sending is not None:
        keepalive = tunnel.nat_keepalive if sending.encapsulation is not None else 0
        sa = _sa(sending, numbers, reqid, SaDirection.OUT, output_mark=path.set_mark)
        sa = replace(sa, nat_keepalive=keepalive, lifetime=_lifetime(tunnel, sending))
        yield _numbered(sa, tunnel, sequences)


def widest_suite(tunnel: Tunnel) -> EspSuite:
    """Of all suites that IKE may agree upon the one with the largest overhead: so the MTU stays."""
    ike = tunnel.ike
    return _widest((), ()) if ike is None else _widest(ike.esp_proposals, ike.allow_weak)


def expected_sas(
    tunnel: Tunnel, path: Path, numbers: TunnelNumbers, reqid: ReqId
) -> tuple[SecurityAssociation, ...]:
    """SAs as IKE will make them, with the first of its proposals and keys of zeros.

    They are never installed: by them it is known beforehand what a data plane must be able to do,
    and which marks outer packets will bear.
    """
    if tunnel.ike is None:
        return ()
    suite = _first(tunnel.ike.esp_proposals, tunnel.ike.allow_weak)
    keys = suite.keys(Secret(bytes(suite.keymat_size)))
    nowhere = unspecified(path.remote.version)
    child = ChildSa(
        tunnel="",
        local=path.local or nowhere,
        remote=path.remote,
        spi_in=_SPECIMEN,
        spi_out=_SPECIMEN,
        keys_in=keys,
        keys_out=keys,
        local_ts=tuple(tunnel.local_ts or EVERYTHING),
        remote_ts=tuple(tunnel.remote_ts or EVERYTHING),
        mode=Mode[tunnel.mode.upper()],
        encapsulation=UdpEncapsulation() if tunnel.encapsulation == "udp" else None,
    )
    made = compile_children(tunnel, path, (child,), numbers, reqid=reqid, sequences={})
    return tuple(made)


@cache
def _first(proposals: tuple[str, ...], weak: tuple[str, ...]) -> EspSuite:
    proposal = parse_proposal(proposals[0], for_ike=False, weak=weak)
    integrity = {one.number for one in proposal if one.type == INTEG}
    for one in proposal:
        wanted = {(one.number, one.key_bits)} if one.type == ENCR else set()
        for suite in ESP_SUITES.values():
            if _fits(suite, wanted, integrity):
                return suite
    return ESP_SUITES[DEFAULT_ALGORITHM]


@cache
def _widest(proposals: tuple[str, ...], weak: tuple[str, ...]) -> EspSuite:
    """Cached, since most tunnels have the same proposals and every pass asks for all of them."""
    suites = [ESP_SUITES[DEFAULT_ALGORITHM]]
    for text in proposals:
        proposal = parse_proposal(text, for_ike=False, weak=weak)
        wanted = {(one.number, one.key_bits) for one in proposal if one.type == ENCR}
        integrity = {one.number for one in proposal if one.type == INTEG}
        suites += [one for one in ESP_SUITES.values() if _fits(one, wanted, integrity)]
    return max(suites, key=lambda one: one.encryption.iv_size + one.icv_size)


def _fits(suite: EspSuite, wanted: set[tuple[int, int | None]], integrity: set[int]) -> bool:
    own = suite.encryption
    if not {(own.ike_id, 8 * own.key_size), (own.ike_id, None)} & wanted:
        return False
    return suite.integrity is None or suite.integrity.ike_id in integrity


def _sa(
    child: ChildSa,
    numbers: TunnelNumbers,
    reqid: ReqId,
    direction: SaDirection,
    *,
    output_mark: Mark | None,
) -> SecurityAssociation:
    """One direction; the inner addresses are for BEET, which takes them from its SAs."""
    is_out = direction is SaDirection.OUT
    udp = child.encapsulation
    if udp is not None and not is_out:
        udp = UdpEncapsulation(udp.destination_port, udp.source_port)
    inner = None
    if child.mode is Mode.BEET:
        pairs = product(child.local_ts, child.remote_ts)
        local, remote = next(one for one in pairs if one[0].version == one[1].version)
        inner = Selector(local.network, remote.network)
        inner = inner if is_out else inner.reversed()
    return SecurityAssociation(
        spi=child.spi_out if is_out else child.spi_in,
        source=child.local if is_out else child.remote,
        destination=child.remote if is_out else child.local,
        reqid=reqid,
        if_id=numbers.if_id,
        keys=child.keys_out if is_out else child.keys_in,
        direction=direction,
        mode=child.mode,
        output_mark=output_mark,
        encapsulation=udp,
        selector=inner,
        esn=child.esn,
    )


def _lifetime(tunnel: Tunnel, child: ChildSa) -> Lifetime:
    """The plane tells when it is time for others; seconds are counted by IKE.

    Each child has limits of its own, lower by its share of ``rekey-jitter``.
    """
    ike = tunnel.ike
    if ike is None:
        return UNLIMITED
    share = 1 - ike.rekey_jitter * (int(child.spi_in) % _SHARES) / _SHARES
    octets = None if ike.rekey_octets is None else int(ike.rekey_octets * share)
    return Lifetime(
        soft_octets=octets, soft_packets=None if child.esn else int(ike.rekey_packets * share)
    )


def _numbered(sa: SecurityAssociation, tunnel: Tunnel, sequences: Sequences) -> SecurityAssociation:
    """A key that was used goes on with its numbers, whatever became of the plane meanwhile."""
    saved = sequences.get(sa.identity) or SavedSequence()
    return replace(sa, replay=starting_replay(saved, sa.direction, tunnel.replay_window))
