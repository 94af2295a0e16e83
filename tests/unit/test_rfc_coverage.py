"""docs/rfc-coverage.md names tests that there are, and one for each clause that it calls done."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "rfc-coverage.md"
NAME = re.compile(r"`((?:\w+/)?test_\w+\.py)(?:::(\w+))?`")


def rows() -> Iterator[list[str]]:
    for line in PAGE.read_text().splitlines():
        if line.startswith("|") and not line.startswith(("|--", "| clause")):
            yield [one.strip() for one in line.strip("|").split("|")]


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: row[1][:40])
def test_a_clause_that_is_done_names_its_test(row: list[str]) -> None:
    _clause, _what, done, tests = row
    kind = re.match(r"yes|part|no: .|no$", done)
    assert kind, "yes, part with what is missing, or no with why"
    assert bool(NAME.search(tests)) or kind[0] not in {"yes", "part"}


@pytest.mark.parametrize("name", sorted({one[0] for one in NAME.finditer(PAGE.read_text())}))
def test_the_tests_are_there(name: str) -> None:
    found = NAME.fullmatch(name)
    assert found
    (file,) = TESTS.rglob(found[1])
    words = found[2] or "test_"
    assert re.search(rf"def test_\w*{words}|def {words}", file.read_text()), f"no test has {words}"
