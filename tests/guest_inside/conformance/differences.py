"""The differences that are meant: the tables of docs/kernel-behaviour.md."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from plutino.lab.guest.run import GUEST_VARIABLE

_TABLE: Final = Path(__file__).parents[3] / "docs" / "kernel-behaviour.md"
_CODE: Final = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Difference:
    """A row: patterns of scenarios and of the fields that differ in each of them."""

    scenarios: tuple[str, ...]
    fields: tuple[str, ...]

    @property
    def is_general(self) -> bool:
        """About a field in whatever scenario it shows: seen somewhere, it is right."""
        return any("*" in pattern for pattern in self.scenarios)

    def is_of(self, scenario: str) -> bool:
        """Whether that scenario is meant."""
        return any(fnmatchcase(scenario, pattern) for pattern in self.scenarios)


def _rows(heading: str) -> list[tuple[Difference, str]]:
    """The rows under a heading, and the last cell of each."""
    section = _TABLE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| `")]
    return [
        (Difference(tuple(_CODE.findall(cells[0])), tuple(_CODE.findall(cells[1]))), cells[-1])
        for cells in lines
    ]


def _read() -> tuple[Difference, ...]:
    """For this kernel: where a newer one has become like the engine, a row goes."""
    rows = [row for row, _ in _rows("Intended differences")]
    series = os.environ.get(GUEST_VARIABLE, "").rpartition("-")[2]
    for row, engine in _rows(f"What Linux {series} does otherwise"):
        if engine.strip() == f"as {series}":
            rows.remove(row)
        else:
            rows.append(row)
    return tuple(rows)


INTENDED: Final = _read()


def is_intended(scenario: str, found: Iterable[str], *, in_general: bool = False) -> bool:
    """Whether all fields that differ are in the table; ``in_general``: in its general rows."""
    patterns = [
        one
        for row in INTENDED
        if row.is_of(scenario) and (row.is_general or not in_general)
        for one in row.fields
    ]
    return all(any(fnmatchcase(name, one) for one in patterns) for name in found)


def unexplained(scenario: str, found: Iterable[str]) -> tuple[str, ...]:
    """What speaks against the table: fields that no row names, and fields of rows about this very
    scenario that no longer differ."""
    fields = tuple(found)
    rows = [row for row in INTENDED if row.is_of(scenario)]
    unnamed = [name for name in fields if not is_intended(scenario, [name])]
    gone = [
        one
        for row in rows
        if not row.is_general
        for one in row.fields
        if not any(fnmatchcase(name, one) for name in fields)
    ]
    return *unnamed, *(f"{one} no longer differs" for one in gone)


def never_seen(found: Mapping[str, Iterable[str]]) -> tuple[Difference, ...]:
    """Rows without a difference in all that was found, by scenario."""

    def is_seen(row: Difference) -> bool:
        return any(
            fnmatchcase(name, one)
            for scenario, fields in found.items()
            if row.is_of(scenario)
            for name in fields
            for one in row.fields
        )

    return tuple(row for row in INTENDED if not is_seen(row))
