"""Reports as kernels of former years would give them."""

from collections.abc import Iterable

from plutino.dataplane.probe.attempts import explain
from plutino.dataplane.probe.machine import Machine
from plutino.dataplane.probe.needs import NEEDS
from plutino.dataplane.probe.report import KernelReport
from plutino.model.feature import Feature

NO_DEVICE = "Unknown device type (ENOTSUP)"
FORGETS = "the kernel made another SA of it (ENOTSUP)"


def report(
    missing: Iterable[Feature] = (),
    release: str = "6.12.0",
    *,
    words: str = NO_DEVICE,
    distribution: tuple[str, ...] = ("debian",),
    modules: frozenset[str] | None = frozenset(),
) -> KernelReport:
    """A kernel that lacks these features, and what cannot be without them."""
    refusals = dict.fromkeys(missing, words)
    for feature in Feature:
        base = NEEDS[feature].base
        if base in refusals:
            refusals.setdefault(feature, f"not tried without {base.value}")
    machine = Machine(release, distribution, modules)
    return KernelReport(release, tuple(explain(refusals, machine, set(Feature))))


def of_version(*numbers: int) -> KernelReport:
    """A kernel that lacks whatever came later than its version."""
    release = ".".join(map(str, numbers))
    later = [
        feature
        for feature, need in NEEDS.items()
        if need.since and tuple(map(int, need.since.split("."))) > numbers
    ]
    return report(later, release, words=FORGETS)
