"""Which SAs and policies of the kernel are looked up for links of ours: by if_id, or by mark."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from plutino.model.interface import VtiEnds
from plutino.model.link import Link
from plutino.model.policy import Policy
from plutino.model.sa import SecurityAssociation


@dataclass(frozen=True, slots=True)
class OwnLinks:
    """The if_ids of XFRM interfaces with our tag, and the VTIs with our tag."""

    if_ids: frozenset[int]
    vtis: tuple[VtiEnds, ...]

    @classmethod
    def among(cls, links: Iterable[Link], alias: str) -> Self:
        """Those with the tag ``alias``."""
        ours = [link for link in links if link.alias == alias]
        return cls(
            frozenset(link.if_id for link in ours if link.if_id is not None),
            tuple(link.vti for link in ours if link.vti is not None),
        )

    def use_sa(self, sa: SecurityAssociation) -> bool:
        """Whether one of them looks up that SA."""
        if sa.if_id:
            return sa.if_id in self.if_ids
        return any(vti.carries(sa.source, sa.destination, sa.mark) for vti in self.vtis)

    def use_policy(self, policy: Policy) -> bool:
        """Whether one of them looks up that policy."""
        if policy.if_id:
            return policy.if_id in self.if_ids
        return any(
            vti.carries(one.source, one.destination, policy.mark)
            for vti in self.vtis
            for one in policy.templates
        )
