"""A network namespace of its own for a test; the machine's is left as it is.

``with fresh_namespace():`` moves the calling thread (sockets and processes that it makes follow)
and brings it back at the end, when the namespace and all in it vanish. Needs root.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def fresh_namespace() -> Iterator[None]:
    """Run the block in a new network namespace. Raises OSError without CAP_SYS_ADMIN."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(_CLONE_NEWNET), "unshare")
        try:
            yield
        finally:
            _check(_libc.setns(home, _CLONE_NEWNET), "setns")
    finally:
        os.close(home)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
