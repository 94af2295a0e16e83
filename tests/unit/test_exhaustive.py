"""What stands for a matrix of cases."""

from itertools import product

import pytest

from tests.support import exhaustive

MATRIX = tuple(product(range(30), "ab", (4, 6), (False, True)))


def test_every_pair_of_values_occurs_in_few_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exhaustive, "EXHAUSTIVE", False)
    chosen = exhaustive.covering(MATRIX, lambda case: case)
    for first, second in product(range(4), repeat=2):
        if first < second:
            wanted = {(case[first], case[second]) for case in MATRIX}
            assert {(case[first], case[second]) for case in chosen} == wanted
    assert len(chosen) <= 62
    assert exhaustive.covering(MATRIX, lambda case: case) == chosen


def test_all_of_them_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exhaustive, "EXHAUSTIVE", True)
    assert exhaustive.covering(MATRIX, lambda case: case) == MATRIX
