"""What a guest's kernel starts from: a cpio archive in memory ("newc", as in cpio(5)).

It holds busybox, the two scripts ``init.sh`` and ``stage2.sh`` of this folder, the modules needed
to reach the root, and the job: what to run, with which variables.
"""

import shlex
import shutil
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plutino.lab.guest.errors import GuestError
from plutino.lab.guest.kernels import FOLDER

_FOLDERS: Final = (
    "dev", "proc", "sys", "modules", "job", "new", "top", "lower", "lower/root", "lower/modules",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """What a guest does: ``token`` announces the end of output and the exit code."""

    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    token: str


def encode_cpio(entries: Iterable[tuple[str, int, bytes]]) -> bytes:
    """Name, mode and content of each to one archive."""
    archive = bytearray()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        octets = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(octets), 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + octets
        archive += bytes(-len(archive) % 4)
        archive += content
        archive += bytes(-len(archive) % 4)
    return bytes(archive)


def encode_initramfs(job: Job, settings: Mapping[str, str], modules: Iterable[Path] = ()) -> bytes:
    """The archive for a job. ``settings`` are of the machine; modules stand in loading order.

    Raises GuestError if there is no busybox.
    """
    busybox = shutil.which("busybox")
    if busybox is None:
        raise GuestError("no busybox", hint="apt-get install busybox-static")
    script = stat.S_IFREG | 0o755
    entries = [(folder, stat.S_IFDIR | 0o755, b"") for folder in _FOLDERS]
    entries += [
        ("busybox", script, Path(busybox).read_bytes()),
        ("init", script, (FOLDER / "init.sh").read_bytes()),
        ("job/stage2", script, (FOLDER / "stage2.sh").read_bytes()),
        ("job/settings", script, _assignments({**settings, **_job_settings(job)}).encode()),
        ("job/command", script, _command(job).encode()),
    ]
    names = []
    for module in modules:
        names.append(module.name)
        entries.append((f"modules/{module.name}", stat.S_IFREG | 0o644, module.read_bytes()))
    entries.append(("modules/order", stat.S_IFREG | 0o644, " ".join(names).encode()))
    return encode_cpio(entries)


def _job_settings(job: Job) -> dict[str, str]:
    return {"FOLDER": str(job.folder), "TOKEN": job.token}


def _assignments(values: Mapping[str, str], word: str = "") -> str:
    return "".join(f"{word}{name}={shlex.quote(value)}\n" for name, value in values.items())


def _command(job: Job) -> str:
    # By env, since busybox's shell takes its own applets for commands like ip or sh.
    run = f"exec /usr/bin/env -- {shlex.join(job.command)}\n"
    return _assignments(job.environment, "export ") + run
