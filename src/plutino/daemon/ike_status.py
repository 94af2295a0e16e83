"""What `status` tells of IKE: the IKE SA of each tunnel, and the CHILD_SAs that are in force."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypedDict

from plutino.config.gateway import Gateway
from plutino.config.proposals import describe, weak_among
from plutino.control.report import IkeReport
from plutino.ike.auth.identity import Identity
from plutino.ike.endpoint import Endpoint
from plutino.ike.session import Session
from plutino.model.child_sa import ChildSa
from plutino.model.proposal import Algorithm


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


def report_ike(endpoint: Endpoint, failures: Mapping[str, str], now: float) -> dict[str, IkeReport]:
    """The IKE SA of each peer that is up, or else the one that is on its way."""
    return {name: _report(endpoint, name, failures.get(name, ""), now) for name in endpoint.peers}


def _report(endpoint: Endpoint, name: str, failure: str, now: float) -> IkeReport:
    peer = endpoint.peers[name]
    sessions = endpoint.sessions_of(name)
    up = [one for one in sessions if one.is_established]
    local, expected = peer.local_credential.identity, peer.remote_credential.identity
    words = _words(local), _words(expected)
    if not sessions:
        return IkeReport("down", local_id=words[0], remote_id=words[1], failure=failure)
    session = up[-1] if up else sessions[-1]
    since = session.created if session.established_at is None else session.established_at
    return IkeReport(
        state="up" if up else "connecting",
        initiator=session.is_initiator,
        initiator_spi=session.initiator_spi.hex(),
        responder_spi=session.responder_spi.hex(),
        local_id=words[0],
        remote_id=words[1],
        age=int(now - since),
        failure="" if up else failure,
        **_algorithms(session),
    )


class _Algorithms(TypedDict):
    suite: str
    weak: tuple[str, ...]


def _algorithms(session: Session) -> _Algorithms:
    """Of an IKE SA, and what is weak there and in its ESP."""
    if session.keys is None:
        return _Algorithms(suite="", weak=())
    own = session.keys.suite.transforms
    esp = (one for child in session.children for one in child.chosen.transforms.values())
    every = [Algorithm(one.type, one.id, one.key_bits) for one in (*own, *esp)]
    return _Algorithms(suite=describe(every[: len(own)]), weak=weak_among(every))


def _words(identity: Identity | None) -> str:
    return "%any" if identity is None else str(identity)
