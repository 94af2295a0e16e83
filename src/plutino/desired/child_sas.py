"""CHILD_SAs to the SAs of the data plane, and what else of a tunnel follows from them. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from plutino.config.numbers import TunnelNumbers
from plutino.config.proposals import ENCR, INTEG, parse_proposal
from plutino.config.tunnel import Tunnel
from plutino.desired.sequences import SavedSequence, Sequences, starting_replay
from plutino.model.algorithms import DEFAULT_ALGORITHM, ESP_SUITES, EspSuite
from plutino.model.child_sa import ChildSa
from plutino.model.numbers import Mark, ReqId
from plutino.model.path import Path
from plutino.model.policy import IpNetwork, Mode, Selector
from plutino.model.sa import SaDirection, SecurityAssociation, UdpEncapsulation


def sending_child(children: Sequence[ChildSa]) -> ChildSa | None:
    """The one that packets leave by."""
    return next((one for one in children if one.outbound), None)


def path_of(path: Path, children: Sequence[ChildSa]) -> Path:
    """The path as IKE has found it: behind a NAT, or at another address since."""
    child = sending_child(children)
    return path if child is None else replace(path, local=child.local, remote=child.remote)


def child_selectors(children: Sequence[ChildSa]) -> Iterator[tuple[IpNetwork, IpNetwork]]:
    """Pairs of prefixes of one family, ours and the peer's, that any child has."""
    pairs = {
        (local, remote): None
        for child in children
        for local in child.local_ts
        for remote in child.remote_ts
        if local.version == remote.version
    }
    yield from pairs


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
        yield _inbound(tunnel, child, numbers, reqid, sequences)
    sending = sending_child(children)
    if sending is not None:
        sa = _outbound(tunnel, sending, numbers, reqid, path.set_mark)
        yield _numbered(sa, tunnel, sequences)


def widest_suite(tunnel: Tunnel) -> EspSuite:
    """Of all suites that IKE may agree upon the one with the largest overhead: so the MTU stays."""
    suites = [ESP_SUITES[DEFAULT_ALGORITHM]]
    if tunnel.ike is not None:
        for text in tunnel.ike.esp_proposals:
            proposal = parse_proposal(text, for_ike=False, weak=tunnel.ike.allow_weak)
            wanted = {(one.number, one.key_bits) for one in proposal if one.type == ENCR}
            integrity = {one.number for one in proposal if one.type == INTEG}
            suites += [one for one in ESP_SUITES.values() if _fits(one, wanted, integrity)]
    return max(suites, key=lambda one: one.encryption.iv_size + one.icv_size)


def _fits(suite: EspSuite, wanted: set[tuple[int, int | None]], integrity: set[int]) -> bool:
    own = suite.encryption
    if not {(own.ike_id, 8 * own.key_size), (own.ike_id, None)} & wanted:
        return False
    return suite.integrity is None or suite.integrity.ike_id in integrity


def _outbound(
    tunnel: Tunnel,
    child: ChildSa,
    numbers: TunnelNumbers,
    reqid: ReqId,
    set_mark: Mark,
) -> SecurityAssociation:
    return SecurityAssociation(
        spi=child.spi_out,
        source=child.local,
        destination=child.remote,
        reqid=reqid,
        if_id=numbers.if_id,
        keys=child.keys_out,
        direction=SaDirection.OUT,
        mode=child.mode,
        output_mark=set_mark,
        encapsulation=child.encapsulation,
        selector=_inner(child, outward=True),
        esn=child.esn,
        nat_keepalive=tunnel.nat_keepalive if child.encapsulation is not None else 0,
    )


def _inbound(
    tunnel: Tunnel, child: ChildSa, numbers: TunnelNumbers, reqid: ReqId, sequences: Sequences
) -> SecurityAssociation:
    udp = child.encapsulation
    back = None if udp is None else UdpEncapsulation(udp.destination_port, udp.source_port)
    sa = SecurityAssociation(
        spi=child.spi_in,
        source=child.remote,
        destination=child.local,
        reqid=reqid,
        if_id=numbers.if_id,
        keys=child.keys_in,
        direction=SaDirection.IN,
        mode=child.mode,
        output_mark=numbers.set_mark_in,
        encapsulation=back,
        selector=_inner(child, outward=False),
        esn=child.esn,
    )
    return _numbered(sa, tunnel, sequences)


def _inner(child: ChildSa, *, outward: bool) -> Selector | None:
    """The inner addresses, which BEET takes from its SAs."""
    if child.mode is not Mode.BEET:
        return None
    local, remote = next(child_selectors([child]))
    return Selector(local, remote) if outward else Selector(remote, local)


def _numbered(sa: SecurityAssociation, tunnel: Tunnel, sequences: Sequences) -> SecurityAssociation:
    """A key that was used goes on with its numbers, whatever became of the plane meanwhile."""
    end = sa.destination
    saved = sequences.get((end, sa.spi, sa.protocol)) or SavedSequence(0, 0)
    return replace(sa, replay=starting_replay(saved, sa.direction, tunnel.replay_window))
