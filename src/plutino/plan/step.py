"""One change to the system: what, to which object, and why."""

from dataclasses import dataclass
from enum import StrEnum

from plutino.model.interface import Interface
from plutino.model.link import MAIN_TABLE, Address, Route, RouteType
from plutino.model.policy import Policy, PolicyDefaults
from plutino.model.sa import SecurityAssociation

Subject = Interface | Address | Route | Policy | SecurityAssociation | PolicyDefaults


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
    """The word for the object: interface, address, route, policy, sa or policy-default."""
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
        case PolicyDefaults():
            return "policy-default"


def describe(subject: Subject) -> str:
    """The object in the words of iproute2. Keys never appear."""
    match subject:
        case Interface():
            return _describe_interface(subject)
        case Address(interface, address):
            return f"address {address} dev {interface}{_place(subject)}"
        case Route():
            kind = "unreachable " if subject.route_type is RouteType.UNREACHABLE else ""
            device = f" dev {subject.interface}" if subject.interface else ""
            table = f" table {subject.table}" if subject.table != MAIN_TABLE else ""
            if subject.if_id is not None:
                device = f" encap xfrm if_id {int(subject.if_id)}{device}"
            words = f"route {kind}{subject.destination}{device}{table}"
            return f"{words} metric {subject.metric}{_place(subject)}"
        case Policy():
            direction = subject.direction.name.lower()
            selector = f"src {subject.selector.source} dst {subject.selector.destination}"
            return f"policy dir {direction} {selector}{_key(subject)}"
        case SecurityAssociation():
            direction = subject.direction.name.lower()
            ends = f"src {subject.source} dst {subject.destination}"
            return f"sa dir {direction} {ends} spi {subject.spi}{_key(subject)}"
        case PolicyDefaults(inbound, forward, outbound):
            verdicts = {"in": inbound, "fwd": forward, "out": outbound}
            parts = (f"{way} {one.name.lower()}" for way, one in verdicts.items())
            return f"policy-default {' '.join(parts)}"


def _describe_interface(interface: Interface) -> str:
    words = f"interface {interface.name}"
    if (vti := interface.vti) is not None:
        remote = vti.remote or "any"
        words += (
            f" vti local {vti.local} remote {remote} ikey {vti.input_key} okey {vti.output_key}"
        )
    else:
        words += " external" if interface.external else f" if_id {int(interface.if_id)}"
    for word, device in (("dev", interface.link), ("vrf", interface.vrf)):
        words += f" {word} {device}" if device else ""
    return f"{words} mtu {interface.mtu}{_place(interface)}"


def _place(subject: Interface | Address | Route) -> str:
    return f" netns {subject.namespace}" if subject.namespace else ""


def _key(subject: Policy | SecurityAssociation) -> str:
    """What tells it from others with the same addresses."""
    words = f" if_id {int(subject.if_id)}" if subject.if_id else ""
    return words if subject.mark is None else f"{words} mark {subject.mark}"
