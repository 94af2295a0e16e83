"""Giving up, for good, all that IKE's arithmetic does not need.

Descriptors that are open stay. After that the process sees an empty root directory, is nobody, has
no capability, can start no process, has few system calls left, and where it may make one is in an
empty network namespace. What a container forbids is left out and told.
"""

import ctypes
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Final

from plutino.ike_process.system_calls import allow_few_system_calls

NOBODY: Final = 65534
_MOST_DESCRIPTORS: Final = 32
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_LAST_CAPABILITY: Final = 63
_CLONE_NEWUTS: Final = 0x04000000
_CLONE_NEWIPC: Final = 0x08000000
_CLONE_NEWNET: Final = 0x40000000


def drop_privileges(empty: Path) -> list[str]:
    """``empty`` is a folder with nothing in it. What could not be given up, in words."""
    libc = ctypes.CDLL(None)
    kept: list[str] = []

    def attempt(what: str, give_up: Callable[[], object]) -> None:
        try:
            give_up()
        except OSError as error:
            kept.append(f"{what} ({error.strerror})")

    # As the service manager starts the daemon it may make no namespaces: the rest has to do then.
    libc.unshare(_CLONE_NEWNET)
    libc.unshare(_CLONE_NEWIPC | _CLONE_NEWUTS)
    attempt("its root directory", lambda: _change_root(empty))
    for number in range(_LAST_CAPABILITY + 1):  # those that the kernel does not know are no matter
        libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    attempt("its groups", lambda: os.setgroups(()))
    attempt("its group", lambda: os.setresgid(NOBODY, NOBODY, NOBODY))
    attempt("its user", lambda: os.setresuid(NOBODY, NOBODY, NOBODY))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    for limit, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, _MOST_DESCRIPTORS),
    ):
        resource.setrlimit(limit, (most, most))
    attempt("all system calls", allow_few_system_calls)
    return kept


def _change_root(folder: Path) -> None:
    os.chroot(folder)
    os.chdir("/")
