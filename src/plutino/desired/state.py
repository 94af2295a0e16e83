"""What should exist: the result of ``compile`` and one side of ``diff``."""

from dataclasses import dataclass

from plutino.model.interface import Interface
from plutino.model.link import Address, Link, Route
from plutino.model.policy import Policy
from plutino.model.sa import SecurityAssociation


@dataclass(frozen=True, slots=True)
class TunnelPlan:
    """Which objects serve one tunnel, for ``status`` and for words in errors."""

    name: str
    interface: str
    reqid: int
    policies: tuple[Policy, ...]
    sas: tuple[SecurityAssociation, ...]
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class DesiredState:
    """Everything of ours that should exist in one network namespace and one data plane.

    ``routes`` holds the unreachable twin of every tunnel prefix as well as the route itself.
    ``instance`` is the tag that every object of ours bears.
    """

    instance: str
    interfaces: tuple[Interface, ...] = ()
    addresses: tuple[Address, ...] = ()
    policies: tuple[Policy, ...] = ()
    sas: tuple[SecurityAssociation, ...] = ()
    routes: tuple[Route, ...] = ()
    tunnels: tuple[TunnelPlan, ...] = ()


@dataclass(frozen=True, slots=True)
class ObservedState:
    """What exists: all links, foreign ones too, so that a clash is seen; of the rest, only ours."""

    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    policies: tuple[Policy, ...] = ()
    sas: tuple[SecurityAssociation, ...] = ()
    routes: tuple[Route, ...] = ()
