"""What others do with packet marks on this machine."""

from dataclasses import dataclass

from plutino.model.numbers import Mark
from plutino.model.policy import IpNetwork


@dataclass(frozen=True, slots=True)
class MarkSetter:
    """A rule of nftables or iptables that may set ``bits`` of the packet's or connection's mark.

    ``where`` names it for people. ``clears`` are bits of the packet's mark that every packet of
    this host loses by it. That of another instance of plutino is ``kindred``.
    """

    where: str
    bits: int
    of_connection: bool = False
    clears: int = 0
    kindred: bool = False


@dataclass(frozen=True, slots=True)
class MarkDropper:
    """A rule of nftables or iptables that lets no packet with this mark pass.

    It may look at more than the mark, so that it may not mean ours.
    """

    where: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class MarkRule:
    """A policy routing rule of others that looks at the mark (FRA_FWMARK, FRA_FWMASK).

    An ``inverted`` one takes what has not the mark. ``leads_to`` is what the tunnels of another
    instance of plutino take by it; empty for the rules of anybody else.
    """

    version: int
    priority: int
    mark: Mark
    table: int
    inverted: bool = False
    protocol: int = 0
    leads_to: frozenset[IpNetwork] = frozenset()

    def takes(self, mark: int) -> bool:
        """Whether it is for packets with that mark."""
        return (mark & self.mark.mask == self.mark.value) is not self.inverted

    def describe(self) -> str:
        """As ``ip rule`` writes it."""
        family = "ip -6 rule" if self.version == 6 else "ip rule"
        negation = "not " if self.inverted else ""
        return f"{family} {self.priority} ({negation}fwmark {self.mark} lookup {self.table})"


@dataclass(frozen=True, slots=True)
class MarkUses:
    """All that others do with marks, as far as it can be foreseen."""

    rules: tuple[MarkRule, ...] = ()
    setters: tuple[MarkSetter, ...] = ()
    droppers: tuple[MarkDropper, ...] = ()
