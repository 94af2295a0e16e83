"""A question that is asked again and again, to know whether a way carries packets."""

from dataclasses import dataclass

from plutino.model.link import Namespace
from plutino.model.policy import IpAddress


@dataclass(frozen=True, slots=True)
class Probe:
    """Echo requests to ``destinations``, or connections to a TCP port; one has to answer.

    ``key`` names the way that is judged. Requests bear ``mark`` and come from ``source``, and leave
    by ``interface`` of ``namespace`` where one is given. ``port`` is that of TCP, None for echo
    requests. ``interval`` and ``back_after`` are in seconds; ``lost_after`` counts intervals
    without an answer; with ``silence_is_loss`` also where there never was one.
    """

    key: str
    destinations: tuple[IpAddress, ...]
    source: IpAddress | None = None
    mark: int = 0
    interface: str | None = None
    interval: float = 0.1
    lost_after: int = 5
    back_after: float = 2.0
    namespace: Namespace = None
    port: int | None = None
    silence_is_loss: bool = False
