"""Network namespaces without a name: held by a descriptor, so nothing outlives its holder."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from plutino.dataplane.scratch import unshare
from plutino.model.errors import PlaneError
from plutino.netlink.namespaces import CLONE_NEWNET

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
_PR_SET_PDEATHSIG: Final = 1
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount(source: str, target: str, kind: str | None, flags: int = 0) -> None:
    """mount(2); OSError if the kernel refuses."""
    octets = None if kind is None else kind.encode()
    _check(_libc.mount(source.encode(), target.encode(), octets, flags, None), f"mount {target}")


def make_mounts_private() -> None:
    """Mounts of this namespace are seen in no other."""
    mount("none", "/", None, _MS_REC | _MS_PRIVATE)


def end_with_parent(signal_number: int) -> None:
    """Be sent a signal when the parent ends, in whatever way (prctl(2))."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl")


class NetworkNamespace:
    """A network namespace that lives as long as a descriptor or a process holds it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def create(cls) -> Self:
        """A new, empty one with its loopback device up.

        Raises PlaneError if the right is missing.
        """
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            try:
                unshare(CLONE_NEWNET)
            except PermissionError as error:
                raise PlaneError(
                    "a network namespace cannot be made", hint="run as root"
                ) from error
            try:
                made = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            finally:
                _check(_libc.setns(home, CLONE_NEWNET), "setns")
        finally:
            os.close(home)
        return cls(made)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; it vanishes when no process is in it."""
        os.close(self._descriptor)

    def fileno(self) -> int:
        """For rtnetlink, which moves links by it."""
        return self._descriptor

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is in it; sockets and processes that it makes stay there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(self._descriptor, CLONE_NEWNET), "setns")
            try:
                yield
            finally:
                _check(_libc.setns(home, CLONE_NEWNET), "setns")
        finally:
            os.close(home)
