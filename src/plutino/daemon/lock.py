"""One daemon at a time for each instance."""

import fcntl
import os

from plutino.dataplane.runtime import RuntimePaths
from plutino.model.errors import PlaneError


def take_daemon_lock(runtime: RuntimePaths) -> int:
    """A descriptor that holds it. Raises PlaneError if another daemon does."""
    lock = os.open(runtime.daemon_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise PlaneError(
            f"another daemon serves this instance ({runtime.directory})",
            hint="`plutino status` shows it; a second gateway needs an `instance` of its own",
        ) from error
    return lock
