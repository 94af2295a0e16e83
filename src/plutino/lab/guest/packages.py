"""Debian packages, downloaded by the machine's own apt and unpacked; nothing is installed.

apt checks the signatures. Its lists are updated if they do not know the package.
"""

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from plutino.lab.guest.errors import GuestError

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Package:
    """A package that can be had: ``size`` in bytes."""

    name: str
    version: str
    size: int


@dataclass(frozen=True, slots=True)
class PackageSource:
    """Where packages come from: ``variables`` point apt at other sources than the machine's."""

    variables: Mapping[str, str] = field(default_factory=dict)

    def find(self, pattern: str, prefix: str, say: Say) -> Package:
        """The newest package whose whole name matches; GuestError if no source has one.

        ``prefix`` narrows the names that apt is asked for.
        """
        found = self._look_up(pattern, prefix)
        if found is None:
            say("updating the package lists")
            done = self._run(["apt-get", "update", "-qq"])
            found = self._look_up(pattern, prefix)
            if found is None:
                raise GuestError(
                    f"no package {pattern}: {done.stderr.strip() or 'no source of apt has it'}",
                    hint="is the network up, and does apt have the updates of a Debian release?",
                )
        return found

    def download(self, package: Package, folder: Path, say: Say) -> Path:
        """Fetch a package into a folder; the file. Raises GuestError in apt's words."""
        say(f"downloading {package.name} {package.version}, {package.size / 1e6:.0f} MB")
        fetch = ["apt-get", "download", "-qq", f"{package.name}={package.version}"]
        done = self._run(fetch, folder)
        files = sorted(folder.glob(f"{package.name}_*.deb"))
        if done.returncode != 0 or not files:
            raise GuestError(
                f"cannot download {package.name}: {done.stderr.strip()}",
                hint="is the network up? `apt-get update` may be due",
            )
        return files[0]

    def _look_up(self, pattern: str, prefix: str) -> Package | None:
        names = self._run(["apt-cache", "pkgnames", prefix]).stdout.split()
        matching = [name for name in names if re.fullmatch(pattern, name)]
        # Names alone do not say that there is a package: others may merely mention it.
        for name in sorted(matching, key=_numbers, reverse=True):
            shown = self._run(["apt-cache", "show", "--no-all-versions", name]).stdout
            version = re.search(r"^Version: (\S+)$", shown, re.MULTILINE)
            size = re.search(r"^Size: (\d+)$", shown, re.MULTILINE)
            if version is not None and size is not None:
                return Package(name, version[1], int(size[1]))
        return None

    def _run(
        self, command: list[str], folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                command,
                cwd=folder,
                env={**os.environ, **self.variables},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            raise GuestError(
                f"no {command[0]} here", hint="the kernels of guests come from Debian packages"
            ) from None


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]
