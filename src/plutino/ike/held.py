"""An IKE_AUTH that cannot be judged before OCSP responders have been asked about a certificate.

The IKE SA keeps the message and does it again from the start once there is an answer: nothing has
changed by then. Meanwhile the same request that comes again is dropped; its answer will come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plutino.ike.auth.ocsp import StatusQuestion
from plutino.ike.exchanges.exchange import Exchange

if TYPE_CHECKING:
    from plutino.ike.session import Session


@dataclass(frozen=True, slots=True)
class Held:
    """``exchange`` is ours whose response it is; None for a request of the peer's."""

    questions: tuple[StatusQuestion, ...]
    go_on: Callable[[float], None]
    exchange: Exchange | None = None


def resume(session: Session, now: float) -> None:
    """There is an answer, or there will be none; without effect where nothing waits any more."""
    held, session.held = session.held, None
    if held is not None and not session.is_closed:
        held.go_on(now)
        session.pump(now)
