"""Names, if_id and output mark follow from each other in one place."""

import pytest

from plutino.model.interface import (
    NAMED_RANGE_SIZE,
    NAMED_RANGE_START,
    interface_if_id,
    interface_name_problem,
    output_mark,
)
from plutino.model.numbers import IfId, Mark


@pytest.mark.parametrize(
    ("name", "if_id"),
    [("ipsec0", 16384), ("ipsec1", 1), ("ipsec7", 7), ("ipsec4294967295", 2**32 - 1)],
)
def test_ipsec_names_carry_their_if_id(name: str, if_id: int) -> None:
    assert interface_if_id(name) == if_id


def test_other_names_get_a_stable_number_from_a_range_of_their_own() -> None:
    first = interface_if_id("to-berlin")
    assert first == interface_if_id("to-berlin")
    assert NAMED_RANGE_START <= first < NAMED_RANGE_START + NAMED_RANGE_SIZE
    assert first != interface_if_id("to-paris")
    assert NAMED_RANGE_START <= interface_if_id("ipsec01") < NAMED_RANGE_START + NAMED_RANGE_SIZE


def test_the_range_is_stable_between_releases() -> None:
    assert interface_if_id("to-berlin") == 39626


def test_the_users_own_if_id_wins_and_zero_means_none() -> None:
    assert interface_if_id("ipsec1", 99) == 99
    with pytest.raises(ValueError, match="0 means none"):
        interface_if_id("ipsec1", 0)
    with pytest.raises(ValueError, match="between"):
        interface_if_id("ipsec4294967296")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a b", "sixteen-letters-", "ä", "a:b", "lo", "x%d"]
)
def test_names_that_the_kernel_refuses_are_refused(name: str) -> None:
    assert interface_name_problem(name) is not None


@pytest.mark.parametrize("name", ["ipsec0", "to-berlin", "fifteen-letters", "v.1"])
def test_names_that_the_kernel_takes_are_taken(name: str) -> None:
    assert interface_name_problem(name) is None


def test_the_output_mark_is_the_if_id_within_the_mask() -> None:
    assert output_mark(IfId(7)) == Mark(7, 0xFFFF)
    assert output_mark(IfId(7), 0xFF00) == Mark(0x700, 0xFF00)
    assert str(output_mark(IfId(7), 0xFF00)) == "0x700/0xff00"


@pytest.mark.parametrize(
    ("if_id", "mask", "why"),
    [
        (256, 0xFF00, "does not fit"),
        (1, 0xF0F0, "one run"),
        (1, 0, "between 1 and 32"),
        (1, 2**32, "between"),
    ],
)
def test_masks_that_cannot_hold_the_if_id_are_refused(if_id: int, mask: int, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        output_mark(IfId(if_id), mask)
