"""One change to the system: what, to which object, and why."""

from dataclasses import dataclass
from enum import StrEnum

from plutino.model.interface import Interface
from plutino.model.link import Address, Route, RouteType
from plutino.model.policy import Policy
from plutino.model.sa import SecurityAssociation

Subject = Interface | Address | Route | Policy | SecurityAssociation


class StepAction(StrEnum):
    """What happens to the object."""

    CREATE = "create"
    UPDATE = "update"
    UP = "up"
    DOWN = "down"
    DELETE = "delete"


_INVERSE = {
    StepAction.CREATE: StepAction.DELETE,
    StepAction.DELETE: StepAction.CREATE,
    StepAction.UPDATE: StepAction.UPDATE,
    StepAction.UP: StepAction.DOWN,
    StepAction.DOWN: StepAction.UP,
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


def kind_of(subject: Subject) -> str:
    """The word for the object: interface, address, route, policy or sa."""
    match subject:
        case Interface():
            return "interface"
        case Address():
            return "address"
        case Route():
            return "route"
        case Policy():
            return "policy"
        case SecurityAssociation():
            return "sa"


def describe(subject: Subject) -> str:
    """The object in the words of iproute2. Keys never appear."""
    match subject:
        case Interface(name, if_id, mtu):
            return f"interface {name} if_id {int(if_id)} mtu {mtu}"
        case Address(interface, address):
            return f"address {address} dev {interface}"
        case Route():
            kind = "unreachable " if subject.route_type is RouteType.UNREACHABLE else ""
            device = f" dev {subject.interface}" if subject.interface else ""
            return f"route {kind}{subject.destination}{device} metric {subject.metric}"
        case Policy():
            direction = subject.direction.name.lower()
            selector = f"src {subject.selector.source} dst {subject.selector.destination}"
            return f"policy dir {direction} {selector} if_id {int(subject.if_id)}"
        case SecurityAssociation():
            direction = subject.direction.name.lower()
            ends = f"src {subject.source} dst {subject.destination}"
            return f"sa dir {direction} {ends} spi {subject.spi} if_id {int(subject.if_id)}"
