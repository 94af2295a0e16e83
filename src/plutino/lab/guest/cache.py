"""What was downloaded, unpacked or built for a guest is kept, and made once.

Each preparation is a folder ``<name>_<version>_<recipe>`` of ``$XDG_CACHE_HOME/plutino/guest``.
It is made under another name and renamed when complete, under a lock, so no one sees half of it
and two builds of one kernel do not collide. As long as the recipe stays, the version that is there
is used: a newer package is taken when the folder is removed.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from plutino.lab.guest.kernels import DEFAULT_KERNELS, KERNELS


class Preparable(Protocol):
    """A kernel, or the packages of a peer: what is made once and kept."""

    @property
    def name(self) -> str:
        """It begins the folder's name."""

    def recipe(self) -> str:
        """A hash of all that the result depends on, but for the version of a package."""


def cache_folder() -> Path:
    """Where preparations are kept; it is made if missing."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base).absolute() / "plutino" / "guest"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def find_prepared(subject: Preparable) -> Path | None:
    """The newest complete preparation by the recipe in force; None if there is none."""
    pattern = f"{subject.name}_*_{subject.recipe()}"
    found = sorted(cache_folder().glob(pattern), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def default_kernel() -> str:
    """The name of the kernel to boot where none is named: one that is there, if there is one."""
    ready = (name for name in DEFAULT_KERNELS if find_prepared(KERNELS[name]) is not None)
    return next(ready, DEFAULT_KERNELS[0])


def prepare_once(
    subject: Preparable, make: Callable[[Path], str], wait: Callable[[], None]
) -> Path:
    """The preparation of a subject, made by ``make(folder) -> version`` if it is not there.

    ``wait`` is called before waiting for another process that is making the same.
    """
    ready = find_prepared(subject)
    if ready is not None:
        return ready
    with _locked(subject, wait):
        ready = find_prepared(subject)
        if ready is not None:
            return ready
        prefix = f".making-{subject.name}-"
        for left in cache_folder().glob(f"{prefix}*"):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=cache_folder()))
        try:
            version = make(folder)
            folder.chmod(0o755)
            ready = cache_folder() / f"{subject.name}_{version}_{subject.recipe()}"
            folder.rename(ready)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return ready


@contextmanager
def _locked(subject: Preparable, wait: Callable[[], None]) -> Iterator[None]:
    with (cache_folder() / f".lock-{subject.name}").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
