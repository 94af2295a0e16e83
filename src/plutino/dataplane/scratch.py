"""Work in a network namespace that nobody else sees and that ends with the work."""

import ctypes
import os
from collections.abc import Callable
from typing import TypeVar

from plutino.model.errors import PlaneError
from plutino.netlink.namespaces import CLONE_NEWNET, in_thread

_libc = ctypes.CDLL(None, use_errno=True)

_Value = TypeVar("_Value")


class ScratchError(PlaneError):
    """No namespace can be made here, so nothing was tried."""


def unshare(flags: int) -> None:
    """unshare(2) for the calling thread; OSError if the kernel refuses."""
    if _libc.unshare(flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"unshare: {os.strerror(code)}")


def in_scratch_namespace(work: Callable[[], _Value]) -> _Value:
    """Do ``work`` in a thread with an empty network namespace, and give its result.

    Raises what ``work`` raises, ScratchError if a namespace cannot be made.
    """

    def enter() -> None:
        try:
            unshare(CLONE_NEWNET)
        except OSError as error:
            why = f"a network namespace cannot be made: {os.strerror(error.errno or 0)}"
            raise ScratchError(why, hint="run as root, with CAP_SYS_ADMIN") from error

    return in_thread(enter, work)
