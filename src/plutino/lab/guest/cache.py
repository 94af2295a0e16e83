"""What was downloaded, unpacked or built for a guest is kept, and made once.

Each preparation is a folder ``<kernel>_<version>_<recipe>`` of ``$XDG_CACHE_HOME/plutino/guest``.
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

from plutino.lab.guest.kernels import Kernel


def cache_folder() -> Path:
    """Where preparations are kept; it is made if missing."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base).absolute() / "plutino" / "guest"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def find_prepared(kernel: Kernel) -> Path | None:
    """The newest complete preparation by the recipe in force; None if there is none."""
    pattern = f"{kernel.name}_*_{kernel.recipe()}"
    found = sorted(cache_folder().glob(pattern), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def prepare_once(kernel: Kernel, make: Callable[[Path], str], wait: Callable[[], None]) -> Path:
    """The preparation of a kernel, made by ``make(folder) -> version`` if it is not there.

    ``wait`` is called before waiting for another process that is making the same.
    """
    ready = find_prepared(kernel)
    if ready is not None:
        return ready
    with _locked(kernel, wait):
        ready = find_prepared(kernel)
        if ready is not None:
            return ready
        prefix = f".making-{kernel.name}-"
        for left in cache_folder().glob(f"{prefix}*"):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=cache_folder()))
        try:
            version = make(folder)
            folder.chmod(0o755)
            ready = cache_folder() / f"{kernel.name}_{version}_{kernel.recipe()}"
            folder.rename(ready)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return ready


@contextmanager
def _locked(kernel: Kernel, wait: Callable[[], None]) -> Iterator[None]:
    with (cache_folder() / f".lock-{kernel.name}").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
