"""When each IKE SA has something to do next, so that ten thousand of them cost no search."""

import heapq
from itertools import count

from plutino.ike.session import Session


class Timers:
    """For each IKE SA one time that counts, however often it is looked at.

    Anybody who has seen an SPI can have that done by a datagram, and none of them may cost room.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Session]] = []
        self._planned: dict[Session, float] = {}
        self._order = count()

    def plan(self, session: Session) -> None:
        """What it has to do may be another thing now. A later time is noted when this one comes."""
        due = session.next_timer()
        planned = self._planned.get(session)
        if due is not None and (planned is None or due < planned):
            self._planned[session] = due
            heapq.heappush(self._heap, (due, next(self._order), session))

    def next_due(self) -> float | None:
        """When ``take`` may have one."""
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> Session | None:
        """One whose time has come, to be planned anew; None if there is none any more."""
        while self._heap and self._heap[0][0] <= now:
            planned, _, session = heapq.heappop(self._heap)
            if self._planned.get(session) != planned:
                continue  # it had something to do before that
            del self._planned[session]
            due = session.next_timer()
            if due is not None and due <= now:
                return session
            self.plan(session)
        return None
