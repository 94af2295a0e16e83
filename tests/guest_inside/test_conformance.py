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
        self._resources = ExitStack()
        self._both: tuple[Side, Side] | None = None
        self.found: dict[str, tuple[str, ...]] = {}
        """Fields that differed, by scenario."""

    def get(self) -> tuple[Side, Side]:
        """As new."""
        if self._both is None:
            self._both = self._resources.enter_context(both_sides())
        for side in self._both:
            side.reset()
        return self._both

    def close(self) -> None:
        """Let go of them."""
        self._resources.close()
        self._both = None


@pytest.fixture(scope="module")
def sides() -> Iterator[Sides]:
    made = Sides()
    yield made
    made.close()


@pytest.mark.parametrize("one", SCENARIOS, ids=lambda one: one.name)
def test_both_do_the_same(sides: Sides, one: Scenario) -> None:
    found = run(one, *sides.get())
    sides.found[one.name] = tuple(found)
    if not is_intended(one.name, found, in_general=True):
        sides.close()
    told = "".join(f"\n{one.name}, {field}: {words}" for field, words in found.items())
    wrong = unexplained(one.name, found)
    assert not wrong, f"{', '.join(wrong)}:{told}"


def test_each_intended_difference_was_seen(sides: Sides) -> None:
    if len(sides.found) == len(SCENARIOS):  # not when some were chosen
        assert never_seen(sides.found) == ()
