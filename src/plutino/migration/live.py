"""What a machine has of VTIs, and which policies and SAs belong to which. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from plutino.model.interface import VtiEnds
from plutino.model.link import Address, Link, Route
from plutino.model.policy import Direction, IpAddress, Policy
from plutino.model.sa import SecurityAssociation

FALLBACK_DEVICES: Final = frozenset({"ip_vti0", "ip6_vti0"})
"""They come with the kernel's modules and have no ends."""
KINDS: Final = frozenset({"vti", "vti6"})


@dataclass(frozen=True, slots=True)
class LiveSystem:
    """A network namespace as observed.

    ``path_mtu`` is in bytes, by outer remote address; ``strict`` are links where a packet must
    come from where its answer would go (rp_filter 1).
    """

    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    policies: tuple[Policy, ...] = ()
    sas: tuple[SecurityAssociation, ...] = ()
    path_mtu: Mapping[IpAddress, int] = field(default_factory=dict)
    strict: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LiveVti:
    """A VTI with what serves it."""

    link: Link
    ends: VtiEnds
    policies: tuple[Policy, ...]
    sas: tuple[SecurityAssociation, ...]
    routes: tuple[Route, ...]
    addresses: tuple[Address, ...]

    @property
    def name(self) -> str:
        """Its interface name."""
        return self.link.name

    def policies_of(self, direction: Direction, peer: IpAddress) -> Iterator[Policy]:
        """Those of one direction whose template names that peer."""
        for policy in self.policies:
            ends = {policy.templates[0].source, policy.templates[0].destination}
            if policy.direction is direction and peer in ends:
                yield policy

    def sas_of(self, peer: IpAddress, *, outbound: bool) -> Iterator[SecurityAssociation]:
        """Those to, or from, one peer."""
        for sa in self.sas:
            if peer == (sa.destination if outbound else sa.source):
                yield sa


def live_vtis(system: LiveSystem) -> tuple[LiveVti, ...]:
    """All VTIs that have a local address."""
    return tuple(
        LiveVti(
            link,
            link.vti,
            tuple(one for one in system.policies if _is_policy_of(one, link.vti)),
            tuple(one for one in system.sas if _is_sa_of(one, link.vti)),
            tuple(one for one in system.routes if one.interface == link.name),
            tuple(one for one in system.addresses if one.interface == link.name),
        )
        for link in system.links
        if link.vti is not None
    )


def _is_policy_of(policy: Policy, vti: VtiEnds) -> bool:
    """What the kernel looks up for the VTI: by mark, which is its key, and without if_id."""
    if policy.if_id or not policy.templates:
        return False
    template = policy.templates[0]
    is_out = policy.direction is Direction.OUT
    return is_out == (template.source == vti.local) and vti.carries(
        template.source, template.destination, policy.mark
    )


def _is_sa_of(sa: SecurityAssociation, vti: VtiEnds) -> bool:
    return not sa.if_id and vti.carries(sa.source, sa.destination, sa.mark)
