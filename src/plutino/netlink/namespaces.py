"""Network namespaces by name, as ``ip netns`` keeps them, and work inside of one.

A socket stays in the namespace that it was made in, whoever uses it; so only making it happens
there, in a thread of its own.
"""

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from plutino.model.errors import PlaneError

NAMED: Final = Path("/run/netns")
OWN: Final = Path("/proc/thread-self/ns/net")
CLONE_NEWNET: Final = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

_Value = TypeVar("_Value")


class NamespaceMissingError(PlaneError):
    """There is no network namespace of that name."""


def namespace_path(name: str) -> Path:
    """Where a namespace is found: below /run/netns, or at a path such as /proc/4711/ns/net."""
    return Path(name) if name.startswith("/") else NAMED / name


def namespace_identity(name: str) -> tuple[int, int] | None:
    """What tells a namespace from another of the same name before or after it; None if missing."""
    try:
        found = namespace_path(name).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def open_namespace(name: str | None) -> int:
    """A descriptor of the namespace; None is the one that the caller is in.

    Raises NamespaceMissingError if it is not there, PlaneError if it cannot be opened.
    """
    path = OWN if name is None else namespace_path(name)
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENXIO):
            why = f"there is no network namespace {name}"
            raise NamespaceMissingError(why, hint="see `ip netns list`") from error
        raise PlaneError(f"network namespace {path} cannot be opened: {error.strerror}") from error


def in_namespace(descriptor: int, work: Callable[[], _Value]) -> _Value:
    """Do ``work`` in a thread that is in the namespace. Raises what ``work`` raises, PlaneError."""

    def enter() -> None:
        if _libc.setns(descriptor, CLONE_NEWNET) == 0:
            return
        code = ctypes.get_errno()
        if code == errno.EINVAL:
            raise NamespaceMissingError("that is no network namespace any more")
        why = f"the network namespace cannot be entered: {os.strerror(code)}"
        raise PlaneError(why, hint="run as root, with CAP_SYS_ADMIN")

    return in_thread(enter, work)


def in_thread(enter: Callable[[], None], work: Callable[[], _Value]) -> _Value:
    """Do ``work`` in a thread of its own that first does ``enter``, and give its result.

    Raises what either raises.
    """
    results: list[_Value] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            enter()
            results.append(work())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="in a network namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
