"""Scenarios: lists of requests and packets, as values."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from tests.guest_inside.conformance.packets import sealed
from tests.support.policy_wire import policy, selector, template
from tests.support.raw_plane import (
    ACK,
    DUMP,
    GETPOLICY,
    NEWPOLICY,
    REQUEST,
    attribute,
)
from tests.support.sa_wire import (
    AF_UNSPEC,
    ETIMER_THRESH,
    IN,
    LOCAL,
    OUT,
    PLAIN,
    REMOTE,
    TMPL,
    TUNNEL,
    direction,
    if_id,
    number,
    sa,
    sa_id,
)

NEWSA, DELSA, GETSA = 0x10, 0x11, 0x12
ALLOCSPI, ACQUIRE, EXPIRE, UPDSA = 0x16, 0x17, 0x18, 0x1A
FLUSHSA, NEWAE, GETAE, GETSADINFO, MIGRATE_STATE = 0x1C, 0x1E, 0x1F, 0x23, 0x29
ANY4: Final = selector("0.0.0.0", "0.0.0.0", prefixes=(0, 0), family=2)
ANY6: Final = selector("::", "::", prefixes=(0, 0), family=10)
ANY: Final = {4: ANY4, 6: ANY6}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request; ``spi_hidden`` where the answer holds an SPI chosen at random, ``any_order`` where
    the order of a dump is not the question, ``settles`` where packets come of it by themselves."""

    kind: int
    payload: bytes = b""
    flags: int = REQUEST | ACK
    spi_hidden: bool = False
    any_order: bool = False
    settles: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """An inner packet from a socket of the gateway, routed into the interface."""

    packet: bytes
    mark: int = 0


@dataclass(frozen=True, slots=True)
class Inject:
    """An outer packet from the peer."""

    packet: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """A command of iproute2 in the gateway's namespace, or where its interfaces are (``inside``);
    ``undo`` takes it back afterwards."""

    command: str
    undo: str = ""
    program: str = "ip"
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Set:
    """A setting, by its name below ``net``, of a namespace as for ``Run``; put back afterwards."""

    name: str
    value: str
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Until:
    """A step, and all that comes of it until so many events were told, however long they take."""

    step: Ask | Send | Inject | Run
    events: int


Step = Ask | Send | Inject | Run | Set | Until


@dataclass(frozen=True, slots=True)
class Scenario:
    """A name that is unique in its subject, and steps in order."""

    name: str
    steps: tuple[Step, ...]
    opener: Callable[[bytes], bytes] | None = None
    """What opens outer packets, where they never look the same."""
    moved: bool = False
    """Whether the interfaces are in another namespace than their SAs."""
    since: tuple[int, int] = (0, 0)
    """The first kernel that has what is asked for."""

    def of(self, subject: str) -> "Scenario":
        """With the subject before its name."""
        return replace(self, name=f"{subject}/{self.name}")

    def moved_away(self) -> "Scenario":
        """The same in two namespaces."""
        return replace(self, name=f"moved/{self.name}", moved=True)


def scenario(
    name: str,
    *steps: Step,
    opener: Callable[[bytes], bytes] | None = None,
    since: tuple[int, int] = (0, 0),
) -> Scenario:
    """A scenario of those steps."""
    return Scenario(name, steps, opener, since=since)


def dump_sas(attributes: bytes = b"", *, any_order: bool = False) -> Ask:
    """GETSA of all."""
    return Ask(GETSA, attributes, REQUEST | DUMP, any_order=any_order)


def dump_policies() -> Ask:
    """GETPOLICY of all."""
    return Ask(GETPOLICY, b"", REQUEST | DUMP)


def get_sa(name: bytes | None = None, attributes: bytes = b"") -> Ask:
    """GETSA of one."""
    return Ask(GETSA, (name or sa_id()) + attributes)


def _tied(number_of_device: int) -> bytes:
    """Its if_id, and no event that only time brings."""
    return number(ETIMER_THRESH, 0) + (if_id(number_of_device) if number_of_device else b"")


def _new_sa(
    way: int,
    attributes: bytes = PLAIN,
    *,
    version: int = 4,
    tied: int = 1,
    spi: int = 0x1000,
    reqid: int = 7,
    mode: int = TUNNEL,
    window: int = 0,
    flags: int = AF_UNSPEC,
) -> Ask:
    source, destination = _ends(way, version)
    info = sa(
        source=source,
        destination=destination,
        spi=spi,
        reqid=reqid,
        mode=mode,
        window=window,
        flags=flags,
    )
    return Ask(NEWSA, info + attributes + _tied(tied) + direction(way))


def _ends(way: int, version: int) -> tuple[str, str]:
    """Source and destination of what goes that way."""
    ends = LOCAL[version], REMOTE[version]
    return ends if way == OUT else (ends[1], ends[0])


out_sa: Final = partial(_new_sa, OUT)
"""NEWSA from this gateway to the peer, of an if_id."""
in_sa: Final = partial(_new_sa, IN)
"""NEWSA from the peer to this gateway, of an if_id."""


def templates(*all_of_them: bytes) -> bytes:
    """XFRMA_TMPL."""
    return attribute(TMPL, b"".join(all_of_them))


def _template(
    way: int, version: int = 4, *, mode: int = 1, reqid: int = 7, optional: int = 0
) -> bytes:
    source, destination = _ends(way, version)
    return template(
        destination,
        source,
        mode=mode,
        reqid=reqid,
        optional=optional,
        family=2 if version == 4 else 10,
    )


out_template: Final = partial(_template, OUT)
"""For an SA of ``out_sa``."""
in_template: Final = partial(_template, IN)
"""For an SA of ``in_sa``."""


def _new_policy(
    way: int,
    chosen: bytes = ANY4,
    attributes: bytes | None = None,
    *,
    tied: int = 1,
    action: int = 0,
    priority: int = 100,
) -> Ask:
    told = templates(_template(way)) if attributes is None else attributes
    info = policy(chosen, direction=1 if way == OUT else 0, action=action, priority=priority)
    return Ask(NEWPOLICY, info + told + (if_id(tied) if tied else b""))


out_policy: Final = partial(_new_policy, OUT)
"""NEWPOLICY of direction out; by default with the template of ``out_sa``."""
in_policy: Final = partial(_new_policy, IN)
"""NEWPOLICY of direction in; by default with the template of ``in_sa``."""


def receives(inner: bytes, **changes: int) -> Inject:
    """An inner packet sealed for the SA of ``in_sa``."""
    return Inject(sealed(inner, **changes))  # type: ignore[arg-type]
