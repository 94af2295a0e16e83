"""What `status` tells: typed values, the same for people and programs."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from plutino.control.typed_json import encode_value, parse_value


class State(StrEnum):
    """Of a tunnel and of the whole: all is there, something is missing, or nothing is."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class SaReport:
    """One SA. Octets of inner packets; times in seconds since the epoch, 0 for never.

    ``sequence`` is the last number sent, or the highest received.
    """

    direction: str
    spi: str
    algorithm: str
    octets: int
    packets: int
    sequence: int
    added: int
    first_used: int
    replay_window: int
    replay_drops: int
    integrity_failures: int


@dataclass(frozen=True, slots=True)
class IkeReport:
    """The IKE SA of a tunnel: ``up``, ``connecting`` or ``down``. SPIs are hexadecimal digits.

    ``age`` is in seconds; ``failure`` is the last reason for which an exchange
    failed, or what is not answered yet, where there is no CHILD_SA.
    ``suite`` are the algorithms of the IKE SA in the words of a proposal, ``weak`` those among them
    and those of its ESP that RFC 8247 advises against.
    """

    state: str
    initiator: bool = False
    initiator_spi: str = ""
    responder_spi: str = ""
    local_id: str = ""
    remote_id: str = ""
    age: int = 0
    failure: str = ""
    suite: str = ""
    weak: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TunnelReport:
    """One tunnel. ``missing`` tells in words what a pass would change; ``link`` is not zero.

    ``local`` and ``remote`` are the ends of the path that it uses now, ``uplink`` is that path's,
    and ``standby`` counts the other paths that are usable. ``selectors`` are pairs, ours and
    the peer's as a gateway file has them: what IKE has agreed upon, where it has.
    """

    name: str
    state: State
    interface: str
    if_id: int
    mtu: int
    local: str
    remote: str
    encapsulation: str
    missing: tuple[str, ...]
    sas: tuple[SaReport, ...]
    link: dict[str, int]
    uplink: str | None = None
    standby: int = 0
    ike: IkeReport | None = None
    selectors: tuple[str, ...] = ()


class Health(StrEnum):
    """What is known of a tunnel of a group; of an unwatched one only that it has a path."""

    OK = "ok"
    LOST = "lost"
    UNANSWERED = "never answered"
    UNWATCHED = "not watched"


@dataclass(frozen=True, slots=True)
class GroupMemberReport:
    """One tunnel of a group; an ``active`` one carries its traffic."""

    tunnel: str
    active: bool
    health: Health


@dataclass(frozen=True, slots=True)
class GroupReport:
    """Tunnels to one site, the best first."""

    name: str
    mode: str
    members: tuple[GroupMemberReport, ...]

    @property
    def active(self) -> tuple[str, ...]:
        """Who carries its traffic."""
        return tuple(one.tunnel for one in self.members if one.active)


@dataclass(frozen=True, slots=True)
class EngineReport:
    """The engine that answers, and what it could not tell since its start.

    ``lost_notifications`` are those that listeners were too slow for; ``missed_drops`` are dropped
    packets that are counted and of which no record was read.
    """

    pid: int
    version: str
    crypto: str
    lost_notifications: int = 0
    missed_drops: int = 0


@dataclass(frozen=True, slots=True)
class DropReport:
    """Dropped packets of one cause, under the kernel's name, with its meaning."""

    name: str
    packets: int
    meaning: str


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Everything of one instance. ``version`` is that of this form.

    ``plane`` is ``kernel`` or ``userspace``, or ``auto`` where nothing runs and none is chosen.
    """

    instance: str
    state: State
    plane: str
    engine: EngineReport | None
    daemon_pid: int | None
    problems: tuple[str, ...]
    tunnels: tuple[TunnelReport, ...]
    drops: tuple[DropReport, ...]
    plane_reason: str = ""
    groups: tuple[GroupReport, ...] = ()
    version: int = 1


def encode_report(report: StatusReport) -> dict[str, Any]:
    """For JSON."""
    encoded: dict[str, Any] = encode_value(report)
    return encoded


def parse_report(document: object) -> StatusReport:
    """From JSON. Raises ValueError for anything else."""
    return parse_value(StatusReport, document)
