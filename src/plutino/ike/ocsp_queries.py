"""What OCSP responders are to be asked, who waits for it, and what they have answered.

A question is asked once for all IKE SAs that wait for it, with a nonce of its own each time.
Whether an answer is still of use is judged anew each time (``auth.revocation``), so one serves
until its next update.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from plutino.ike.auth.ocsp import NONCE_SIZE, StatusAnswer, StatusQuestion, with_nonce
from plutino.ike.crypto.started import Random
from plutino.ike.session import Session

PATIENCE: Final = 5.0
"""Seconds until a question counts as not answered; the peer repeats its request for longer."""
_MOST_KEPT: Final = 1000


@dataclass(slots=True)
class _Asked:
    """``sent`` is the question with its nonce."""

    sent: StatusQuestion
    nonce: bytes
    until: float
    sessions: list[Session] = field(default_factory=list)


class OcspQueries:
    """``answers`` is what all IKE SAs look at, by the questions without their nonces."""

    def __init__(self, random: Random) -> None:
        self.answers: dict[StatusQuestion, StatusAnswer] = {}
        self._random = random
        self._asked: dict[StatusQuestion, _Asked] = {}
        self._sent: dict[StatusQuestion, StatusQuestion] = {}
        self._to_ask: list[tuple[str, StatusQuestion]] = []

    def note(self, session: Session, now: float) -> None:
        """What an IKE SA waits for, if anything, is asked for unless it was."""
        for question in () if session.held is None else session.held.questions:
            asked = self._asked.get(question)
            if asked is None:
                asked = self._ask(question, now)
                self._to_ask.append((session.peer.name, asked.sent))
            if session not in asked.sessions:
                asked.sessions.append(session)

    def take(self, sent: StatusQuestion, response: bytes, date: datetime) -> list[Session]:
        """Those that waited for an answer; none if it was not asked for. Empty: nothing came."""
        question = self._sent.pop(sent, None)
        if question is None:
            return []
        asked = self._asked.pop(question)
        self.answers.pop(question, None)  # the newest is the last
        self.answers[question] = StatusAnswer(response, date, asked.nonce)
        if len(self.answers) > _MOST_KEPT:
            del self.answers[next(iter(self.answers))]
        return asked.sessions

    def next_due(self) -> float | None:
        """When a question will have waited long enough."""
        return min((one.until for one in self._asked.values()), default=None)

    def overdue(self, now: float) -> list[StatusQuestion]:
        """Those that nobody has answered in time, as they were sent."""
        return [one.sent for one in self._asked.values() if one.until <= now]

    def to_ask(self) -> list[tuple[str, StatusQuestion]]:
        """Questions, each with the peer that it is about, once."""
        to_ask, self._to_ask = self._to_ask, []
        return to_ask

    def _ask(self, question: StatusQuestion, now: float) -> _Asked:
        nonce = self._random(NONCE_SIZE)
        asked = _Asked(with_nonce(question, nonce), nonce, now + PATIENCE)
        self._asked[question] = asked
        self._sent[asked.sent] = question
        return asked
