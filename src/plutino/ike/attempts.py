"""Peers that are to be up by themselves: which are down, and who is tried next.

Only so many are tried at once, or ten thousand of them would all run into their retransmissions.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from plutino.ike.path import Path
from plutino.ike.schedule import back_off

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds until a peer is tried again: doubled each time it fails, with jitter."""


@dataclass(slots=True)
class Wanted:
    """A peer that is to be up, with these children."""

    path: Path
    children: tuple[str, ...]
    failures: int = 0
    next_attempt: float = 0.0
    is_down: bool = True


class Attempts:
    """By peer's name."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._wanted: dict[str, Wanted] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._order = count()

    def get(self, peer: str) -> Wanted | None:
        """What is wanted of a peer; None if it is not to be up."""
        return self._wanted.get(peer)

    def want(self, peer: str, wanted: Wanted) -> None:
        """From now on."""
        self._wanted[peer] = wanted
        self._plan(peer, wanted)

    def drop(self, peer: str) -> None:
        """No longer."""
        self._wanted.pop(peer, None)

    def note(self, peer: str, *, is_down: bool) -> None:
        """Whether a peer has an IKE SA, or one on its way."""
        wanted = self._wanted.get(peer)
        if wanted is not None and wanted.is_down != is_down:
            wanted.is_down = is_down
            if is_down:
                self._plan(peer, wanted)

    def aim(self, peer: str, path: Path, now: float) -> None:
        """Its attempts go by this path; a new one is not held against what another was."""
        wanted = self._wanted.get(peer)
        if wanted is not None and wanted.path.ends != path.ends:
            self.had_success(peer, now)
        if wanted is not None:
            wanted.path = path

    def had_success(self, peer: str, now: float) -> None:
        """An IKE SA that was up has ended: the next one may begin at once."""
        wanted = self._wanted.get(peer)
        if wanted is not None:
            wanted.failures, wanted.next_attempt = 0, now
            self._plan(peer, wanted)

    def next_due(self) -> float | None:
        """When the next one is to be tried."""
        while self._heap and not self._is_valid(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> tuple[str, Wanted] | None:
        """A peer to be tried now; the one after it is due later each time."""
        due = self.next_due()
        if due is None or due > now:
            return None
        _, _, peer = heapq.heappop(self._heap)
        wanted = self._wanted[peer]
        bounds = FIRST_PAUSE, LONGEST_PAUSE
        wanted.next_attempt = now + back_off(wanted.failures, bounds, self._random)
        wanted.failures += 1
        self._plan(peer, wanted)
        return peer, wanted

    def _plan(self, peer: str, wanted: Wanted) -> None:
        heapq.heappush(self._heap, (wanted.next_attempt, next(self._order), peer))

    def _is_valid(self, entry: tuple[float, int, str]) -> bool:
        at, _, peer = entry
        wanted = self._wanted.get(peer)
        return wanted is not None and wanted.is_down and wanted.next_attempt == at
