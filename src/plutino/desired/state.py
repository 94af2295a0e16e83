"""What should exist: the result of ``compile`` and one side of ``diff``."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from plutino.model.child_sa import ChildSa
from plutino.model.errors import Problem
from plutino.model.group import GroupPlan
from plutino.model.interface import Interface, InterfaceAddress, IpAddress
from plutino.model.link import Address, Link, Namespace, Route
from plutino.model.netfilter import NetfilterTable
from plutino.model.path import TunnelPaths
from plutino.model.policy import Policy, PolicyDefaults
from plutino.model.probe import NOTHING_LOST, Probe, Ways
from plutino.model.rule import Rule
from plutino.model.sa import SecurityAssociation
from plutino.model.sysctl import Sysctl


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the machine has that the desired state follows.

    ``path_mtu`` is in bytes of the outer packet, by tunnel name, 1500 where it is unknown;
    ``links`` are by network namespace and name; ``missing`` are namespaces that the configuration
    names and that are not there; ``netfilter`` tells whether there are nftables. ``addresses`` are
    by device of the own namespace, ``gateways`` the next hops of main's default routes by device
    and IP version; ``without_ipv6`` are the namespaces whose new links have none.
    ``children`` are the CHILD_SAs that IKE has made, by tunnel name.
    """

    path_mtu: Mapping[str, int] = field(default_factory=dict)
    links: Mapping[tuple[Namespace, str], Link] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    netfilter: bool = True
    addresses: Mapping[str, tuple[InterfaceAddress, ...]] = field(default_factory=dict)
    gateways: Mapping[tuple[str, int], IpAddress] = field(default_factory=dict)
    ways: Ways = NOTHING_LOST
    without_ipv6: frozenset[Namespace] = frozenset()
    children: Mapping[str, tuple[ChildSa, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TunnelPlan:
    """Which objects serve one tunnel, for ``status`` and for words in errors.

    ``expected`` are SAs as IKE will make them, with keys of zeros, to be looked at beforehand.
    """

    name: str
    interface: str
    reqid: int
    paths: TunnelPaths
    policies: tuple[Policy, ...]
    sas: tuple[SecurityAssociation, ...]
    routes: tuple[Route, ...]
    expected: tuple[SecurityAssociation, ...] = ()


@dataclass(frozen=True, slots=True)
class DesiredState:
    """Everything of ours that should exist in one network namespace and one data plane.

    ``routes`` holds the unreachable twin of every tunnel prefix as well as the route itself.
    ``instance`` is the tag that every object of ours bears. ``defaults`` None leaves the policy
    defaults as they were before plutino came. ``findings`` speak against installing it for the
    first time; where it serves already they are told. Their file is not known here. ``ways`` are
    the paths that IKE has to choose from, by tunnel, with the one it has to take as active.
    """

    instance: str
    interfaces: tuple[Interface, ...] = ()
    addresses: tuple[Address, ...] = ()
    policies: tuple[Policy, ...] = ()
    sas: tuple[SecurityAssociation, ...] = ()
    routes: tuple[Route, ...] = ()
    tunnels: tuple[TunnelPlan, ...] = ()
    defaults: PolicyDefaults | None = None
    rules: tuple[Rule, ...] = ()
    netfilter: NetfilterTable | None = None
    probes: tuple[Probe, ...] = ()
    sysctls: tuple[Sysctl, ...] = ()
    groups: tuple[GroupPlan, ...] = ()
    findings: tuple[Problem, ...] = ()
    ways: Mapping[str, TunnelPaths] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ObservedState:
    """What exists: all links, foreign ones too, so that a clash is seen; of the rest, only ours.

    ``defaults`` are the policy defaults, None if the plane has none; ``former_defaults`` those that
    were there before ours, None if ours are not set. ``sysctls`` are settings as they are
    now, ``former_sysctls`` as they were before ours.
    """

    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    policies: tuple[Policy, ...] = ()
    sas: tuple[SecurityAssociation, ...] = ()
    routes: tuple[Route, ...] = ()
    defaults: PolicyDefaults | None = None
    former_defaults: PolicyDefaults | None = None
    sysctls: tuple[Sysctl, ...] = ()
    former_sysctls: tuple[Sysctl, ...] = ()
    rules: tuple[Rule, ...] = ()
    netfilter: NetfilterTable | None = None
