"""What was found, and what of it a configuration lacks. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from plutino.model.feature import Feature, Requirement


@dataclass(frozen=True, slots=True)
class Finding:
    """One feature. ``words`` are the kernel's if it refused, ``cure`` what would bring it.

    ``needs`` names build options, module and first version of the kernel.
    """

    feature: Feature
    supported: bool
    words: str = ""
    needs: str = ""
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Lack:
    """A requirement that a kernel does not meet, with what was found."""

    requirement: Requirement
    finding: Finding


@dataclass(frozen=True, slots=True)
class KernelReport:
    """What the kernel of that release can do."""

    release: str
    findings: tuple[Finding, ...]

    def find(self, feature: Feature) -> Finding:
        """What was found of a feature; one that was not tried is not there."""
        for one in self.findings:
            if one.feature is feature:
                return one
        return Finding(feature, supported=False, words="not tried")

    def lacks(self, requirements: Iterable[Requirement]) -> Iterator[Lack]:
        """Requirements that are not met, in their order."""
        for requirement in requirements:
            finding = self.find(requirement.feature)
            if not finding.supported:
                yield Lack(requirement, finding)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"release": self.release, "features": [asdict(one) for one in self.findings]}
