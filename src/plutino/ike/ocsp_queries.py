"""What OCSP responders are to be asked, who waits for it, and what they have answered.

A question is asked once for all IKE SAs that wait for it. Whether an answer is still of use is
judged anew each time (``auth.revocation``), so one serves until its next update.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from plutino.ike.auth.ocsp import StatusAnswer, StatusQuestion
from plutino.ike.session import Session

PATIENCE: Final = 5.0
"""Seconds until a question counts as not answered; the peer repeats its request for longer."""
_MOST_KEPT: Final = 1000


@dataclass(slots=True)
class _Asked:
    until: float
    sessions: list[Session] = field(default_factory=list)


class OcspQueries:
    """``answers`` is what all IKE SAs look at."""

    def __init__(self) -> None:
        self.answers: dict[StatusQuestion, StatusAnswer] = {}
        self._asked: dict[StatusQuestion, _Asked] = {}
        self._to_ask: list[tuple[str, StatusQuestion]] = []

    def note(self, session: Session, now: float) -> None:
        """What an IKE SA waits for, if anything, is asked for unless it was."""
        for question in () if session.held is None else session.held.questions:
            asked = self._asked.get(question)
            if asked is None:
                asked = self._asked[question] = _Asked(now + PATIENCE)
                self._to_ask.append((session.peer.name, question))
            if session not in asked.sessions:
                asked.sessions.append(session)

    def take(self, question: StatusQuestion, response: bytes, date: datetime) -> list[Session]:
        """Those that waited for an answer; none if it was not asked for. Empty: nothing came."""
        asked = self._asked.pop(question, None)
        if asked is None:
            return []
        self.answers.pop(question, None)  # the newest is the last
        self.answers[question] = StatusAnswer(response, date)
        if len(self.answers) > _MOST_KEPT:
            del self.answers[next(iter(self.answers))]
        return asked.sessions

    def next_due(self) -> float | None:
        """When a question will have waited long enough."""
        return min((one.until for one in self._asked.values()), default=None)

    def overdue(self, now: float) -> list[StatusQuestion]:
        """Those that nobody has answered in time."""
        return [question for question, one in self._asked.items() if one.until <= now]

    def to_ask(self) -> list[tuple[str, StatusQuestion]]:
        """Questions, each with the peer that it is about, once."""
        to_ask, self._to_ask = self._to_ask, []
        return to_ask
