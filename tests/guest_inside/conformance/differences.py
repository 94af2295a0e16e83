"""The differences that are meant: the table of docs/kernel-behaviour.md."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

_TABLE: Final = Path(__file__).parents[3] / "docs" / "kernel-behaviour.md"
_CODE: Final = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Difference:
    """A row: patterns of scenarios and of the fields that differ in each of them."""

    scenarios: tuple[str, ...]
    fields: tuple[str, ...]

    def is_of(self, scenario: str) -> bool:
        """Whether that scenario is meant."""
        return any(fnmatchcase(scenario, pattern) for pattern in self.scenarios)


def _read() -> tuple[Difference, ...]:
    section = _TABLE.read_text().partition("## Intended differences")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `")]
    return tuple(
        Difference(tuple(_CODE.findall(scenarios)), tuple(_CODE.findall(fields)))
        for scenarios, fields in rows
    )


INTENDED: Final = _read()


def unexplained(scenario: str, found: Iterable[str]) -> tuple[str, ...]:
    """What speaks against the table: fields that it does not name, and those that no longer
    differ."""
    fields = tuple(found)
    patterns = [one for row in INTENDED if row.is_of(scenario) for one in row.fields]
    unnamed = [name for name in fields if not any(fnmatchcase(name, one) for one in patterns)]
    gone = [one for one in patterns if not any(fnmatchcase(name, one) for name in fields)]
    return *unnamed, *(f"{one} no longer differs" for one in gone)


def without_scenario(names: Iterable[str]) -> tuple[Difference, ...]:
    """Rows of the table that mean no scenario."""
    known = tuple(names)
    return tuple(row for row in INTENDED if not any(row.is_of(name) for name in known))
