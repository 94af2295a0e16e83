"""The kernels that a guest can boot, and when two preparations of one are the same."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from plutino.lab.guest.errors import GuestError

FOLDER: Final = Path(__file__).parent
UML_CONFIG: Final = FOLDER / "uml.config"
"""What the user-mode kernel has; all else is off."""
_REVISIONS: Final = {"qemu": 1, "uml": 1}
"""Raised when a recipe changes its result, so that what older recipes left is not taken."""


class Machine(Enum):
    """What runs the kernel."""

    QEMU = "qemu"
    """An emulated PC with the distribution's own kernel: the real thing; starts in seconds."""
    UML = "uml"
    """A kernel built as a program of this machine (user-mode Linux): starts in 0.3 s."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel: what runs it, the series of its version, and where it is, if not in this release.

    ``series`` is as in ``6.12``; ``suite`` is a newer one of the same mirror; ``gone`` are lines of
    ``uml.config`` whose options its source no longer has, and ``arguments`` are words for its
    command line.
    """

    machine: Machine
    series: str
    suite: str | None = None
    gone: frozenset[str] = frozenset()
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As the user gives it."""
        return f"{self.machine.value}-{self.series}"

    @property
    def about(self) -> str:
        """One line for lists."""
        if self.machine is Machine.QEMU:
            return f"Debian's packaged Linux {self.series} in QEMU, emulated"
        return f"Linux {self.series} built from linux-source-{self.series} as user-mode Linux"

    def recipe(self) -> str:
        """A hash of all that the preparation depends on, but for the version of the package."""
        digest = hashlib.sha256(f"{self.name} {_REVISIONS[self.machine.value]}".encode())
        if self.machine is Machine.UML:
            digest.update(UML_CONFIG.read_bytes())
        return digest.hexdigest()[:12]


_BACKPORTS: Final = "trixie-backports"


def _by_name(*kernels: Kernel) -> Mapping[str, Kernel]:
    return MappingProxyType({kernel.name: kernel for kernel in kernels})


KERNELS: Final = _by_name(
    Kernel(Machine.UML, "6.12"),
    Kernel(Machine.QEMU, "6.12"),
    Kernel(Machine.QEMU, "6.1"),
    Kernel(Machine.QEMU, "7.3", suite=_BACKPORTS),
    Kernel(
        Machine.UML,
        "7.3",
        suite=_BACKPORTS,
        gone=frozenset({"CONFIG_PROC_SYSCTL=y"}),
        arguments=("seccomp=auto",),
    ),
)
DEFAULT_KERNELS: Final = ("uml-7.3", "uml-6.12")
"""The first of them that is prepared is taken. The newer one catches system calls by seccomp in
place of ptrace: suites take half the time."""


def find_kernel(name: str) -> Kernel:
    """The kernel of that name. Raises GuestError with the names there are."""
    try:
        return KERNELS[name]
    except KeyError:
        raise GuestError(f"no kernel {name!r}", hint=f"one of {', '.join(KERNELS)}") from None
