"""Finds clashes of marks with what others do on this machine."""

import os
import time
from dataclasses import dataclass, replace

from plutino.config.gateway import Gateway
from plutino.desired.instance import PRIORITIES, lowest_priority
from plutino.desired.mark_clashes import dropped_marks, mark_clashes
from plutino.desired.state import DesiredState
from plutino.model.errors import PlaneError, Problem
from plutino.model.link import RTPROT_PLUTINO
from plutino.model.mark_use import MarkRule, MarkUses
from plutino.model.netfilter import table_name
from plutino.netfilter.foreign_marks import (
    foreign_iptables,
    foreign_nftables,
    has_legacy_iptables,
)
from plutino.netfilter.generation import ruleset_generation
from plutino.netlink.route_clients import RouteClients

_SHARE = 20
"""What others do is read again after so many times as long as it took: a ruleset of 10,000 rules
takes most of a second, and some programs change theirs all the time."""


def find_mark_clashes(
    gateway: Gateway, desired: DesiredState, routes: RouteClients
) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """What clashes now; and, in words, what may be in the way."""
    netfilter = _read_netfilter(table_name(gateway.instance))
    uses = replace(netfilter, rules=_foreign_rules(gateway, routes))
    return mark_clashes(gateway, desired, uses), dropped_marks(gateway, desired, uses)


def _foreign_rules(gateway: Gateway, routes: RouteClients) -> tuple[MarkRule, ...]:
    first = lowest_priority(gateway.instance)
    ours = range(first, first + PRIORITIES)
    foreign = [
        rule
        for rule in routes.home.list_mark_rules()
        if rule.protocol != RTPROT_PLUTINO or rule.priority not in ours
    ]
    if not any(rule.protocol == RTPROT_PLUTINO for rule in foreign):
        return tuple(foreign)
    there = routes.home.list_routes(protocol=RTPROT_PLUTINO)
    return tuple(
        replace(
            rule,
            leads_to=frozenset(one.destination for one in there if one.table == rule.table),
        )
        if rule.protocol == RTPROT_PLUTINO
        else rule
        for rule in foreign
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """What all but one table do in a network namespace; ``at`` and ``cost`` are in seconds."""

    key: tuple[str, int]
    generation: tuple[int, int] | None
    uses: MarkUses
    at: float
    cost: float

    def serves(self, key: tuple[str, int], generation: tuple[int, int] | None) -> bool:
        if key != self.key:
            return False
        same = generation is not None and generation == self.generation
        return same or time.monotonic() - self.at < _SHARE * self.cost


_last: _Reading | None = None


def _read_netfilter(table: str) -> MarkUses:
    """Read again only when something changed, and not all the time."""
    global _last  # noqa: PLW0603 - a cache of what the kernel has
    key = (table, os.stat("/proc/thread-self/ns/net").st_ino)
    generation = None
    # Legacy iptables have no number that a change of theirs would raise.
    if not (legacy := has_legacy_iptables()):
        try:
            generation = ruleset_generation()
        except PlaneError:
            return MarkUses()
    if _last is None or not _last.serves(key, generation):
        started = time.monotonic()
        uses, by_iptables = foreign_nftables(table)
        if by_iptables or legacy:
            others = foreign_iptables()
            uses = replace(
                uses,
                setters=(*uses.setters, *others.setters),
                droppers=(*uses.droppers, *others.droppers),
            )
        ended = time.monotonic()
        _last = _Reading(key, generation, uses, ended, ended - started)
    return _last.uses
