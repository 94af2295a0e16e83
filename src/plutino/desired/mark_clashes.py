"""Marks of ours that mean something to others, and marks of others that would mean something to us.

The mark of an outer packet keeps it out of the tunnels' own table and leads it to its uplink. A
rule of others that matches it takes it elsewhere; packets that others give such a mark leave in
clear past a tunnel that has the default route. Both are found before anything is installed. Pure.
"""

from collections.abc import Iterable, Iterator

from plutino.config.gateway import Gateway
from plutino.desired.instance import lowest_priority
from plutino.desired.state import DesiredState
from plutino.model.errors import Problem
from plutino.model.mark_use import MarkRule, MarkSetter
from plutino.model.sa import SaDirection

_MAIN_PRIORITY = 32766


def mark_clashes(
    gateway: Gateway,
    desired: DesiredState,
    rules: Iterable[MarkRule],
    setters: Iterable[MarkSetter],
) -> tuple[Problem, ...]:
    """What clashes, each with the key to change; the file is not known here.

    A mark that the configuration gives by ``set-mark-out`` is meant for the rules of others.
    """
    return (*_taken(gateway, desired, rules), *_bypassing(gateway, desired, setters))


def _taken(gateway: Gateway, desired: DesiredState, rules: Iterable[MarkRule]) -> Iterator[Problem]:
    first = lowest_priority(gateway.instance)
    for plan in desired.tunnels:
        if gateway.tunnels[plan.name].set_mark_out is not None:
            continue
        marks = {
            sa.output_mark.value
            for sa in plan.sas
            if sa.direction is SaDirection.OUT and sa.output_mark is not None
        }
        last = first if plan.paths.own.uplink is not None else _MAIN_PRIORITY
        for rule in rules:
            means_something = rule.mark.value & rule.mark.mask
            if rule.priority >= last or not means_something:
                continue
            for mark in sorted(marks):
                if mark & rule.mark.mask == rule.mark.value:
                    why = f"{rule.describe()} takes outer packets, whose mark is {mark:#x}"
                    hint = "choose another `mark-mask`, or `set-mark-out` if that is meant"
                    yield Problem("", None, f"tunnels.{plan.name}", why, hint)


def _bypassing(
    gateway: Gateway, desired: DesiredState, setters: Iterable[MarkSetter]
) -> Iterator[Problem]:
    has_own_table = any(rule.suppress_prefix_length is not None for rule in desired.rules)
    mask = gateway.mark_mask if has_own_table else 0
    uplinks = gateway.uplink_mask if gateway.uplinks else 0
    for setter in setters:
        # Of connections' marks only the uplinks' and the whole mask are read.
        bits = setter.bits & (uplinks | (0 if setter.of_connection else mask))
        if setter.of_connection and mask and setter.bits & mask == mask:
            bits |= mask
        if bits & uplinks:
            why = f"{setter.where} sets bits {bits & uplinks:#x}, which lead to uplinks here"
            yield Problem("", None, "uplink-mask", why, "choose other bits, there or here")
        if bits & mask:
            why = (
                f"{setter.where} sets bits {bits & mask:#x}: such packets would leave in clear, "
                "past the tunnel that is to take everything"
            )
            yield Problem("", None, "mark-mask", why, "choose other bits, there or here")
