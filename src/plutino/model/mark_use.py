"""What others do with packet marks on this machine."""

from dataclasses import dataclass

from plutino.model.numbers import Mark


@dataclass(frozen=True, slots=True)
class MarkSetter:
    """A rule of nftables or iptables that may set ``bits`` of the packet's or connection's mark.

    ``where`` names it for people.
    """

    where: str
    bits: int
    of_connection: bool = False


@dataclass(frozen=True, slots=True)
class MarkRule:
    """A policy routing rule of others that looks at the mark (FRA_FWMARK, FRA_FWMASK)."""

    version: int
    priority: int
    mark: Mark
    table: int

    def describe(self) -> str:
        """As ``ip rule`` writes it."""
        family = "ip -6 rule" if self.version == 6 else "ip rule"
        return f"{family} {self.priority} (fwmark {self.mark} lookup {self.table})"
