"""Whether ways carry packets, from requests and answers on any clock. Pure.

A way is lost when nothing was answered for ``lost_after`` intervals, and back when there was no
such silence for ``back_after`` seconds. Each loss that follows soon doubles that time, so that a
way that comes and goes is left alone for longer. One that never answered tells nothing, unless its
probe says otherwise: then it is lost until the first answer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from plutino.model.probe import Probe, Ways

_FORGETTING: Final = 300.0
"""Seconds without a loss, after which the earlier ones do not count."""


@dataclass(slots=True)
class WayHealth:
    """One probe's state. Times are seconds of the caller's clock."""

    probe: Probe
    answered_at: float | None = None
    lost: bool = False
    losses: int = 0
    lost_at: float = 0.0
    good_since: float | None = None
    asked_since_answer: int = 0
    ever_answered: bool = False

    @property
    def hold(self) -> float:
        """Seconds that it has to answer now before it is back."""
        longer = self.probe.back_after * (1 << min(10, max(0, self.losses - 1)))
        return max(self.probe.back_after, min(longer, self.probe.longest_hold))

    def asked(self, now: float) -> None:
        """A request was sent, or could not be."""
        self.asked_since_answer += 1
        quiet = self.asked_since_answer > self.probe.lost_after
        if quiet:
            self.good_since = None
        if quiet and not self.ever_answered and self.probe.silence_is_loss:
            self.lost = True
        elif quiet and self.ever_answered and not self.lost:
            if now - self.lost_at > _FORGETTING:
                self.losses = 0
            self.lost, self.lost_at = True, now
            self.losses += 1

    def answered(self, now: float) -> None:
        """An answer came, from any of the destinations."""
        self.answered_at = now
        self.asked_since_answer = 0
        if not self.ever_answered:
            self.ever_answered = True
            self.lost = False
        if not self.lost:
            return
        if self.good_since is None:
            self.good_since = now
        if now - self.good_since >= self.hold:
            self.lost = False
            self.good_since = None


class Health:
    """All ways that are watched. ``lost`` are the keys of those that carry nothing."""

    def __init__(self, lost: Iterable[str] = ()) -> None:
        self._before = set(lost)
        self.ways: dict[str, WayHealth] = {}

    @property
    def lost(self) -> frozenset[str]:
        """Keys of the probes whose way is lost."""
        return frozenset(key for key, way in self.ways.items() if way.lost)

    @property
    def state(self) -> Ways:
        """What the desired state has to know."""
        answering = {
            key for key, way in self.ways.items() if way.lost and way.good_since is not None
        }
        return Ways(self.lost, frozenset(answering))

    @property
    def unanswered(self) -> frozenset[str]:
        """Keys of the probes that nobody has ever answered."""
        return frozenset(key for key, way in self.ways.items() if not way.ever_answered)

    def watch(self, probes: Iterable[Probe]) -> None:
        """Exactly these from now on; what is known of the same way stays.

        One that was lost when another process watched it is so until it answers.
        """
        ways = {}
        for probe in probes:
            known = self.ways.get(probe.key)
            if known is not None:
                known.probe = probe
                ways[probe.key] = known
            else:
                was_lost = probe.key in self._before
                ways[probe.key] = WayHealth(
                    probe, lost=was_lost, losses=int(was_lost), ever_answered=was_lost
                )
        self.ways = ways

    def probes(self) -> Mapping[str, Probe]:
        """What is watched."""
        return {key: way.probe for key, way in self.ways.items()}
