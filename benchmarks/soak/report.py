"""How long the soak's phases last, what each did, and how that is printed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class SoakOptions:
    """How long each phase lasts and what happens in it; times in seconds."""

    phases: Mapping[str, float]
    rekey: float = 1.0
    grace: float = 0.5
    """How long an old inbound SA stays."""
    guest: float = 3.0
    """A device comes so often."""


@dataclass(slots=True)
class PhaseReport:
    """What one phase did, and what was wrong with it."""

    name: str
    seconds: float = 0.0
    sent: int = 0
    received: int = 0
    twice: int = 0
    corrupt: int = 0
    packets_per_second: int = 0
    gigabits_per_second: float = 0.0
    tcp_gigabits_per_second: float | None = None
    rekeys: int = 0
    guests: int = 0
    guests_by_hand: int = 0
    wire: dict[str, int] = field(default_factory=dict)
    drops: dict[str, dict[str, int]] = field(default_factory=dict)
    memory_kib: dict[str, list[int]] = field(default_factory=dict)
    """VmRSS of each engine: after warm-up, in the middle, at the end."""
    violations: list[str] = field(default_factory=list)


def phases_of(seconds: float) -> dict[str, float]:
    """The share of each phase."""
    return {"direct": seconds * 0.45, "bad wire": seconds * 0.45, "tcp": seconds * 0.1}


def print_table(reports: list[dict[str, Any]]) -> None:
    """One line for each fact, one column for each phase."""
    rows = [key for key in reports[0] if key not in ("wire", "drops", "memory_kib", "violations")]
    for key in rows:
        print(f"{key:<26}" + "".join(f"{report[key]!s:>18}" for report in reports))
    for group in ("wire", "drops", "memory_kib"):
        for report in reports:
            print(f"{group}, {report['name']}: {report[group]}")
    for report in reports:
        for violation in report["violations"]:
            print(f"VIOLATION, {report['name']}: {violation}")
