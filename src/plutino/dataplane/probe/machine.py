"""What is known of the machine besides its kernel's answers: which cure fits it."""

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from plutino.dataplane.probe.needs import Need

MODULES: Final = Path("/lib/modules")
OS_RELEASE: Final = Path("/etc/os-release")


@dataclass(frozen=True, slots=True)
class Machine:
    """Release of the kernel, distribution (``ID`` and ``ID_LIKE``), and installed modules.

    ``modules`` None means that the kernel has no folder of modules at all.
    """

    release: str
    distribution: tuple[str, ...] = ()
    modules: frozenset[str] | None = None

    @classmethod
    def here(cls) -> Self:
        """This machine; what cannot be read is unknown."""
        release = os.uname().release
        return cls(release, parse_os_release(_lines(OS_RELEASE)), _modules(MODULES / release))


def cure(need: Need, machine: Machine) -> str:
    """What would bring a feature that the kernel refused. Pure; the version is but a hint."""
    if need.since and _version(machine.release) < _version(need.since):
        return f"Linux {need.since} or newer with {need.option}"
    if need.module and machine.modules is not None and need.module in machine.modules:
        return (
            f"module {need.module} is installed, but does not load: see `modprobe {need.module}` "
            "and /etc/modprobe.d"
        )
    option = f"a kernel with {need.option}"
    if not need.module or machine.modules is None:
        return option
    package = _package(machine)
    return f"module {need.module} ({package}), or {option}" if package else option


def parse_os_release(lines: Iterable[str]) -> tuple[str, ...]:
    """The distribution and those that it resembles, from lines of os-release(5)."""
    values = {}
    for line in lines:
        name, _, value = line.partition("=")
        try:
            values[name.strip()] = " ".join(shlex.split(value))
        except ValueError:
            continue
    return tuple(f"{values.get('ID', '')} {values.get('ID_LIKE', '')}".split())


def _package(machine: Machine) -> str | None:
    """The package of the distribution that holds modules which its smallest kernel lacks."""
    release = machine.release
    for one in machine.distribution:
        if one == "amzn":
            return "`dnf upgrade kernel`: XFRM interfaces since 6.1.141-165"
        if one == "ubuntu":
            return f"`apt install linux-modules-extra-{release}`"
        if one == "debian":
            machine_name = release.rpartition("-")[2]
            return f"`apt install linux-image-{machine_name}`, if this is another kernel"
        if one in ("fedora", "rhel", "centos"):
            return f"`dnf install kernel-modules-{release} kernel-modules-extra-{release}`"
    return None


def _version(text: str) -> tuple[int, ...]:
    """The leading numbers of a release: 6.1.0-28-amd64 is (6, 1, 0)."""
    numbers = []
    for part in text.partition("-")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _modules(folder: Path) -> frozenset[str] | None:
    """Names of the modules of a kernel, as `modprobe` has them."""
    lines = _lines(folder / "modules.dep")
    if not lines:
        return None
    names = (line.partition(":")[0].rpartition("/")[2].partition(".ko")[0] for line in lines)
    return frozenset(name.replace("-", "_") for name in names)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
