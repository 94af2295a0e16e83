"""What `status` is told of an IKE SA."""

from collections.abc import Iterable, Sequence

from plutino.ike.payloads.proposal import Transform
from plutino.ike.session import Session
from plutino.ike_process.outcome import IkeSaState
from plutino.model.proposal import Algorithm


def ike_sa_state(sessions: Sequence[Session]) -> IkeSaState | None:
    """Of a peer's IKE SAs the one that is up, or else the one that is on its way."""
    if not sessions:
        return None
    up = [one for one in sessions if one.is_established]
    session = up[-1] if up else sessions[-1]
    own = () if session.keys is None else session.keys.suite.transforms
    esp = (one for child in session.children for one in child.chosen.transforms.values())
    return IkeSaState(
        is_up=bool(up),
        is_initiator=session.is_initiator,
        initiator_spi=session.initiator_spi,
        responder_spi=session.responder_spi,
        since=session.created if session.established_at is None else session.established_at,
        suite=_algorithms(own),
        esp=_algorithms(esp) if own else (),
    )


def _algorithms(transforms: Iterable[Transform]) -> tuple[Algorithm, ...]:
    return tuple(Algorithm(one.type, one.id, one.key_bits) for one in transforms)
