"""What `status` tells of IKE: the IKE SA of each tunnel, and the CHILD_SAs that are in force."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from plutino.config.gateway import Gateway
from plutino.config.proposals import weak_among
from plutino.control.report import IkeReport
from plutino.model.child_sa import ChildSa
from plutino.model.proposal_words import describe

if TYPE_CHECKING:
    from plutino.ike.auth.identity import Identity
    from plutino.ike.config import PeerConfig
    from plutino.ike_process.outcome import IkeSaState


@dataclass(frozen=True, slots=True)
class IkeState:
    """By tunnel name; ``reports`` has the tunnels that an IKE service looks after."""

    children: Mapping[str, tuple[ChildSa, ...]] = field(default_factory=dict)
    reports: Mapping[str, IkeReport] = field(default_factory=dict)

    def report_of(self, gateway: Gateway, name: str) -> IkeReport | None:
        """None for static keys; ``down`` where nobody looks after it."""
        if gateway.tunnels[name].ike is None:
            return None
        return self.reports.get(name, IkeReport("down"))


NO_IKE: Final = IkeState()


def report_ike(
    peers: Iterable[PeerConfig],
    ike_sas: Mapping[str, IkeSaState | None],
    keyed: Container[str],
    failures: Mapping[str, str],
    now: float,
) -> dict[str, IkeReport]:
    """The IKE SA of each peer that is up, or else the one that is on its way.

    ``keyed`` are the peers that have CHILD_SAs: of the others the last failure says why they have
    none.
    """
    return {
        one.name: _report(
            one,
            ike_sas.get(one.name),
            "" if one.name in keyed else failures.get(one.name, ""),
            now,
        )
        for one in peers
    }


def _report(peer: PeerConfig, ike_sa: IkeSaState | None, failure: str, now: float) -> IkeReport:
    words = _words(peer.local_credential.identity), _words(peer.remote_credential.identity)
    if ike_sa is None:
        return IkeReport("down", local_id=words[0], remote_id=words[1], failure=failure)
    return IkeReport(
        state="up" if ike_sa.is_up else "connecting",
        initiator=ike_sa.is_initiator,
        initiator_spi=ike_sa.initiator_spi.hex(),
        responder_spi=ike_sa.responder_spi.hex(),
        local_id=words[0],
        remote_id=words[1],
        age=int(now - ike_sa.since),
        failure=failure or _awaited(ike_sa),
        suite=describe(ike_sa.suite),
        weak=weak_among((*ike_sa.suite, *ike_sa.esp)),
    )


def _awaited(ike_sa: IkeSaState) -> str:
    """What an IKE SA on its way waits for: by the first answer it has its algorithms."""
    if ike_sa.is_up:
        return ""
    return f"{'IKE_AUTH' if ike_sa.suite else 'IKE_SA_INIT'} is not answered yet"


def _words(identity: Identity | None) -> str:
    return "%any" if identity is None else str(identity)
