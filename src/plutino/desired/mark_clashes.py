"""Marks of ours that mean something to others, and marks of others that would mean something to us.

The mark of an outer packet keeps it out of the tunnels' own table and leads it to its uplink. A
rule of others that matches it takes it elsewhere; packets that others give such a mark leave in
clear past a tunnel that has the default route; and where others take it off, ESP goes into its own
tunnel. All of it is found before anything is installed. Pure.
"""

from collections.abc import Iterator
from functools import reduce
from operator import or_

from plutino.config.gateway import Gateway
from plutino.desired.instance import lowest_priority
from plutino.desired.state import DesiredState, TunnelPlan
from plutino.model.errors import Problem
from plutino.model.mark_use import MarkRule, MarkSetter, MarkUses
from plutino.model.sa import SaDirection

_MAIN_PRIORITY = 32766
_OTHER_BITS = "choose other bits, there or here"


def mark_clashes(gateway: Gateway, desired: DesiredState, uses: MarkUses) -> tuple[Problem, ...]:
    """What clashes, each with the key to change; the file is not known here.

    A mark that the configuration gives by ``set-mark-out`` is meant for the rules of others.
    """
    found = [*_taken(gateway, desired, uses), *_set_by_others(gateway, desired, uses)]
    return tuple(dict.fromkeys(found))


def dropped_marks(gateway: Gateway, desired: DesiredState, uses: MarkUses) -> tuple[str, ...]:
    """In words, rules of others that drop packets with a mark of ours, whatever else they ask."""
    return tuple(
        f"{one.where} drops packets with mark {one.mark}, and outer packets of tunnel "
        f"'{plan.name}' have {mark:#x}: choose another `mark-mask` if it means others"
        for plan in desired.tunnels
        for mark in _marks(gateway, plan)
        for one in uses.droppers
        if one.mark.value and mark & one.mark.mask == one.mark.value
    )


def _marks(gateway: Gateway, plan: TunnelPlan) -> list[int]:
    """Those of a tunnel's outer packets, that plutino has chosen."""
    if gateway.tunnels[plan.name].set_mark_out is not None:
        return []
    marks = {
        sa.output_mark.value
        for sa in (*plan.sas, *plan.expected)
        if sa.direction is SaDirection.OUT and sa.output_mark is not None
    }
    return sorted(marks)


def _taken(gateway: Gateway, desired: DesiredState, uses: MarkUses) -> Iterator[Problem]:
    first = lowest_priority(gateway.instance)
    for plan in desired.tunnels:
        last = first if plan.paths.own.uplink is not None else _MAIN_PRIORITY
        for rule in uses.rules:
            if rule.priority >= last or rule.version != plan.paths.active.remote.version:
                continue
            for mark in _marks(gateway, plan):
                # One that takes unmarked packets as well does not go by marks.
                if rule.takes(mark) and not rule.takes(0):
                    why = f"{rule.describe()} takes outer packets, whose mark is {mark:#x}"
                    hint = "choose another `mark-mask`, or `set-mark-out` if that is meant"
                    yield Problem("", None, f"tunnels.{plan.name}", why, hint)
                elif rule.takes(mark) and _leads_back(rule, plan, desired):
                    why = (
                        f"{rule.describe()} is another plutino's: it takes outer packets, whose "
                        f"mark is {mark:#x}, into its tunnels, and ours take its"
                    )
                    hint = "give both instances the same `mark-mask`"
                    yield Problem("", None, "mark-mask", why, hint)


def _leads_back(rule: MarkRule, plan: TunnelPlan, desired: DesiredState) -> bool:
    """Whether tunnels of another instance take our outer packets, and ours could take theirs."""
    remote = plan.paths.active.remote
    if remote.is_unspecified:
        return False  # found once the peer is known
    takes_peer = any(one.version == remote.version and remote in one for one in rule.leads_to)
    return takes_peer and _has_own_table(desired)


def _has_own_table(desired: DesiredState) -> bool:
    return any(rule.suppress_prefix_length is not None for rule in desired.rules)


def _set_by_others(gateway: Gateway, desired: DesiredState, uses: MarkUses) -> Iterator[Problem]:
    mask = gateway.mark_mask if _has_own_table(desired) else 0
    uplinks = gateway.uplink_mask if gateway.uplinks else 0
    needed = reduce(or_, (one for plan in desired.tunnels for one in _marks(gateway, plan)), 0)
    for setter in uses.setters:
        bits = _bits_read(setter, mask, uplinks)
        if bits & uplinks:
            why = f"{setter.where} sets bits {bits & uplinks:#x}, which lead to uplinks here"
            yield Problem("", None, "uplink-mask", why, _OTHER_BITS)
        if bits & mask:
            why = (
                f"{setter.where} sets bits {bits & mask:#x}: such packets would leave in clear, "
                "past the tunnel that is to take everything"
            )
            yield Problem("", None, "mark-mask", why, _OTHER_BITS)
        if not bits and (lost := setter.clears & needed & (mask | uplinks)):
            why = (
                f"{setter.where} takes bits {lost:#x} from every packet of this host: ESP and IKE "
                "lose the mark by which they are routed"
            )
            key = "mark-mask" if lost & mask else "uplink-mask"
            yield Problem("", None, key, why, "let it change no bits but its own, by a mask")


def _bits_read(setter: MarkSetter, mask: int, uplinks: int) -> int:
    """Bits that mean something to us: of connections' marks the uplinks' and the whole mask."""
    if setter.kindred:
        # Another plutino marks answers to who came from outside, which is what we mean too.
        mask = 0
    bits = setter.bits & (uplinks | (0 if setter.of_connection else mask))
    if setter.of_connection and mask and setter.bits & mask == mask:
        bits |= mask
    return bits
