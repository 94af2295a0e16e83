"""Each file of tests for inside a guest is run by a test that boots one."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FILES = sorted(one.name for one in (TESTS / "guest_inside").glob("test_*.py"))


@pytest.mark.parametrize("file", FILES)
def test_it_is_run(file: str) -> None:
    runners = "".join(one.read_text() for one in (TESTS / "guest").glob("*.py"))
    assert file in runners, f"tests/guest_inside/{file} is run by nobody"
