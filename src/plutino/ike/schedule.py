"""When an IKE SA has to do something by itself: pure arithmetic of times and jitter."""

from collections.abc import Callable
from dataclasses import dataclass

from plutino.ike.config import Lifetimes

KEEPALIVE_AFTER = 20.0
"""Seconds without a packet after which a NAT may forget us (RFC 3948, 4)."""
RETRY_AFTER = (0.5, 1.5)
"""Bounds in seconds of the pause after TEMPORARY_FAILURE; random, or both meet again."""
HALF_OPEN_FOR = 30.0
"""Seconds that a peer has to prove its identity."""
REPLACED_FOR = 240.0
"""Seconds that the peer has to delete an IKE SA that it replaced: longer than it repeats requests.

A delete of ours could reach it before the response that tells it of the new IKE SA.
"""
OUTBOUND_AFTER = 30.0
"""Seconds until the responder of a rekey sends by the new SA, if the peer does not delete the old.

Before that the response may still be on its way, be it at the third try, and the peer has none.
"""
FOLLOWUP_WITHIN = 20.0
"""Seconds that the peer has for its next key exchange of a series (RFC 9370, 2.2.4: 5 to 20)."""
SERIES_WITHIN = 60.0
"""Seconds for all of them, however often it begins anew: what we want ourselves waits for it."""
STRAGGLERS_FOR = 5.0
"""Seconds that a replaced SA still receives after it was deleted."""

_LAST_TRIES = 1.1
_LAST_MINUTE = 60.0
_LONGEST = 1.2
_LAST_MINUTES = 120.0


@dataclass(slots=True)
class Schedule:
    """Times of the next duties, None for none. ``expires_at`` ends an IKE SA without a word.

    ``doubted_at`` is when we last asked because somebody said that the peer does not know it.
    """

    last_heard: float
    last_sent: float
    rekey_at: float | None = None
    reauthenticate_at: float | None = None
    expires_at: float | None = None
    doubted_at: float | None = None

    def heard(self, now: float) -> None:
        """Something authentic came that had not come before (RFC 7296, 2.4)."""
        self.last_heard = max(self.last_heard, now)


def fraction(random: Callable[[int], bytes]) -> float:
    """A random number from 0 to 1."""
    return int.from_bytes(random(4), "big") / 0xFFFFFFFF


def due_at(lifetimes: Lifetimes, now: float, random: Callable[[int], bytes]) -> float | None:
    """When to replace an SA that begins now: earlier by a random part of the jitter."""
    if lifetimes.rekey_after is None:
        return None
    return now + lifetimes.rekey_after * (1 - lifetimes.jitter * fraction(random))


def is_given_up(lifetimes: Lifetimes, began: float, due: float, now: float) -> bool:
    """Whether an SA is too old for one more attempt, due now, to replace it (RFC 7296, 2.8).

    A tenth of its time and a minute are for attempts that fail; the first one is always made.
    """
    after = lifetimes.rekey_after
    if after is None:
        return False
    return due > began + after and now > began + _LAST_TRIES * after + _LAST_MINUTE


def ends_at(lifetimes: Lifetimes, began: float) -> float:
    """When an SA that was given up ends; until then another IKE SA may take its place."""
    return began + _LONGEST * (lifetimes.rekey_after or 0.0) + _LAST_MINUTES


def retry_at(now: float, random: Callable[[int], bytes]) -> float:
    """When to try again what the peer had no time for."""
    least, most = RETRY_AFTER
    return now + least + (most - least) * fraction(random)


def back_off(failures: int, bounds: tuple[float, float], random: Callable[[int], bytes]) -> float:
    """Seconds until the next attempt: doubled with each failure within bounds, up to half less."""
    first, longest = bounds
    span = min(first * 2.0 ** min(failures, 16), longest)
    return span * (0.5 + fraction(random) / 2)
