"""Kernel and engine do the same in each scenario, but for the differences that are meant."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.guest_inside.conformance.differences import is_intended, never_seen, unexplained
from tests.guest_inside.conformance.scenario import Scenario
from tests.guest_inside.conformance.side import Side, both_sides
from tests.guest_inside.conformance.suite import SCENARIOS, run

pytestmark = pytest.mark.guest


class Sides:
    """Both, made anew after they differed: what follows would differ by it."""

    def __init__(self) -> None:
        self._made: dict[bool, tuple[ExitStack, tuple[Side, Side]]] = {}
        self.found: dict[str, tuple[str, ...]] = {}
        """Fields that differed, by scenario."""

    def get(self, *, moved: bool) -> tuple[Side, Side]:
        """As new; ``moved``: with the interfaces in another namespace."""
        if moved not in self._made:
            resources = ExitStack()
            self._made[moved] = resources, resources.enter_context(both_sides(moved=moved))
        both = self._made[moved][1]
        for side in both:
            side.reset()
        return both

    def close(self, *, moved: bool) -> None:
        """Let go of them."""
        if moved in self._made:
            self._made.pop(moved)[0].close()


@pytest.fixture(scope="module")
def sides() -> Iterator[Sides]:
    made = Sides()
    yield made
    for moved in (False, True):
        made.close(moved=moved)


@pytest.mark.parametrize("one", SCENARIOS, ids=lambda one: one.name)
def test_both_do_the_same(sides: Sides, one: Scenario) -> None:
    found = run(one, *sides.get(moved=one.moved))
    sides.found[one.name] = tuple(found)
    if not is_intended(one.name, found, in_general=True):
        sides.close(moved=one.moved)
    told = "".join(f"\n{one.name}, {field}: {words}" for field, words in found.items())
    wrong = unexplained(one.name, found)
    assert not wrong, f"{', '.join(wrong)}:{told}"


def test_each_intended_difference_was_seen(sides: Sides) -> None:
    if len(sides.found) == len(SCENARIOS):  # not when some were chosen
        assert never_seen(sides.found) == ()
