"""One change to the system: what, to which object, and why."""

from dataclasses import dataclass
from enum import StrEnum

from plutino.model.subject import Subject, describe, kind_of


class StepAction(StrEnum):
    """What happens to the object; ``REST`` makes a link dormant, ``WAKE`` makes it run again."""

    CREATE = "create"
    UPDATE = "update"
    UP = "up"
    DOWN = "down"
    DELETE = "delete"
    REST = "rest"
    WAKE = "wake"


_INVERSE = {
    StepAction.CREATE: StepAction.DELETE,
    StepAction.DELETE: StepAction.CREATE,
    StepAction.UPDATE: StepAction.UPDATE,
    StepAction.UP: StepAction.DOWN,
    StepAction.DOWN: StepAction.UP,
    StepAction.REST: StepAction.WAKE,
    StepAction.WAKE: StepAction.REST,
}


@dataclass(frozen=True, slots=True)
class Step:
    """A change. ``previous`` is what an update replaces."""

    action: StepAction
    subject: Subject
    why: str
    previous: Subject | None = None

    def inverse(self) -> "Step | None":
        """What undoes it; None for an update of something that was half there."""
        if self.action is StepAction.UPDATE:
            if self.previous is None:
                return None
            return Step(self.action, self.previous, "undo", self.subject)
        return Step(_INVERSE[self.action], self.subject, "undo")

    def describe(self) -> str:
        """One line for people."""
        return f"{self.action} {describe(self.subject)} ({self.why})"

    def to_json(self) -> dict[str, str]:
        """The same for programs."""
        return {
            "action": self.action.value,
            "kind": kind_of(self.subject),
            "object": describe(self.subject),
            "why": self.why,
        }
