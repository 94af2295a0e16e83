"""All scenarios by subject, and how one is run on both sides."""

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from tests.guest_inside.conformance import (
    algorithms,
    disabled,
    drops,
    lifetimes,
    migrating,
    migrating_states,
    modes,
    moved,
    policies,
    replay,
    sa_dumps,
    sa_requests,
)
from tests.guest_inside.conformance.differences import is_intended
from tests.guest_inside.conformance.observation import Observation, differences
from tests.guest_inside.conformance.scenario import Ask, Run, Scenario, Step, Until
from tests.guest_inside.conformance.side import Side

SUBJECTS: Final = (
    sa_requests,
    sa_dumps,
    policies,
    replay,
    lifetimes,
    modes,
    disabled,
    drops,
    migrating,
    migrating_states,
    algorithms,
)
_KERNEL: Final = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
_AT_HOME: Final = {
    one.name: one
    for subject in SUBJECTS
    for one in (
        scenario.of(subject.__name__.rpartition(".")[2].replace("_", "-"))
        for scenario in subject.SCENARIOS
        if scenario.since <= _KERNEL
    )
}
SCENARIOS: Final = (*_AT_HOME.values(), *(_AT_HOME[name].moved_away() for name in moved.CHOSEN))
_SETTLE: Final = 0.004
"""Seconds in which both sides have seen a packet through, as a rule."""
_LONG_SETTLE: Final = 0.1
_PATIENCE: Final = 0.4
"""Seconds after which what differs is a difference."""


def run(one: Scenario, kernel: Side, engine: Side) -> Mapping[str, str]:
    """By step and field, what differs."""
    found: dict[str, str] = {}
    for at, step in enumerate((*one.steps, None), 1):
        label = "end" if step is None else f"step {at}"

        def is_meant(names: Iterable[str], label: str = label) -> bool:
            return is_intended(one.name, (f"{label} {name}" for name in names))

        differs = _compare(step, kernel, engine, is_meant, one.opener)
        found |= {f"{label} {name}": words for name, words in differs.items()}
    return found


def _compare(
    step: Step | None,
    kernel: Side,
    engine: Side,
    is_meant: Callable[[Iterable[str]], bool],
    opener: Callable[[bytes], bytes] | None,
) -> Mapping[str, str]:
    seen = Observation(), Observation()
    if step is not None:
        for side, observed in zip((kernel, engine), seen, strict=True):
            side.perform(step, observed)
    if isinstance(step, Until):
        for side, observed in zip((kernel, engine), seen, strict=True):
            side.await_events(step.events, observed)
    if isinstance(step, Ask) and step.settles:
        time.sleep(_LONG_SETTLE)
    elif not isinstance(step, Ask | Run):
        time.sleep(_SETTLE)
    hidden = isinstance(step, Ask) and step.spi_hidden
    deadline = time.monotonic() + _PATIENCE
    while True:
        for side, observed in zip((kernel, engine), seen, strict=True):
            side.collect(observed)
        one, other = (observed.fields(spi_hidden=hidden, opener=opener) for observed in seen)
        found = differences(one, other)
        if is_meant(found) or time.monotonic() > deadline:
            return found
        time.sleep(_SETTLE)
