"""All cases of a matrix, or those that cover it: with ``PLUTINO_EXHAUSTIVE`` set, all."""

import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import combinations
from typing import Final, TypeVar

EXHAUSTIVE: Final = bool(os.environ.get("PLUTINO_EXHAUSTIVE"))
_Case = TypeVar("_Case")


def covering(
    cases: Sequence[_Case], axes: Callable[[_Case], tuple[Hashable, ...]]
) -> tuple[_Case, ...]:
    """The cases, or the fewest found that hold every pair of values of any two ``axes``.

    Always the same: each time the first of those that bring the most new pairs is taken.
    """
    if EXHAUSTIVE:
        return tuple(cases)
    pairs = {
        place: frozenset(combinations(enumerate(axes(case)), 2)) for place, case in enumerate(cases)
    }
    missing = set().union(*pairs.values())
    chosen: list[int] = []
    while missing:
        best = max(pairs, key=lambda place: (len(pairs[place] & missing), -place))
        chosen.append(best)
        missing -= pairs.pop(best)
    return tuple(cases[place] for place in sorted(chosen))


def alternating(cases: Iterable[_Case]) -> list[tuple[_Case, int]]:
    """Each case with both IP versions, or with one and the other in turn."""
    several = list(cases)
    if EXHAUSTIVE:
        return [(case, version) for case in several for version in (4, 6)]
    return [(case, (4, 6)[place % 2]) for place, case in enumerate(several)]
