"""Policy routing rules: which packets look in which routing table (``linux/fib_rules.h``)."""

from dataclasses import dataclass

from plutino.model.link import RTPROT_PLUTINO
from plutino.model.numbers import Mark
from plutino.model.policy import IpNetwork


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of one IP version; a lower ``priority`` is asked first.

    ``mark`` is FRA_FWMARK under FRA_FWMASK, None for every packet. A route whose prefix is not
    longer than ``suppress_prefix_length`` does not count, and the next rule is asked. ``source`` is
    FRA_SRC, None for every source.
    """

    version: int
    priority: int
    table: int
    mark: Mark | None = None
    suppress_prefix_length: int | None = None
    protocol: int = RTPROT_PLUTINO
    source: IpNetwork | None = None
