"""A question that is asked again and again, to know whether a way carries packets."""

from dataclasses import dataclass
from typing import Final

from plutino.model.link import Namespace
from plutino.model.policy import IpAddress

LONGEST_HOLD: Final = 60.0


@dataclass(frozen=True, slots=True)
class Probe:
    """Echo requests to ``destinations``, or connections to a TCP port; one has to answer.

    ``key`` names the way that is judged. Requests bear ``mark`` and come from ``source``, and leave
    by ``interface`` of ``namespace`` where one is given. ``port`` is that of TCP, None for echo
    requests. ``interval`` and ``back_after`` are in seconds; ``lost_after`` counts intervals
    without an answer, with ``silence_is_loss`` also where there never was one; ``longest_hold`` are
    the seconds that a way which comes and goes has to answer at most before it is used again. Where
    SAs move it is short: while one end still waits, the ends would not meet.
    """

    key: str
    destinations: tuple[IpAddress, ...]
    source: IpAddress | None = None
    mark: int = 0
    interface: str | None = None
    interval: float = 0.1
    lost_after: int = 5
    back_after: float = 2.0
    longest_hold: float = LONGEST_HOLD
    namespace: Namespace = None
    port: int | None = None
    silence_is_loss: bool = False


@dataclass(frozen=True, slots=True)
class Ways:
    """Keys of the probes whose way is lost, and of those among them that answer again by now."""

    lost: frozenset[str] = frozenset()
    answering: frozenset[str] = frozenset()


NOTHING_LOST: Final = Ways()
