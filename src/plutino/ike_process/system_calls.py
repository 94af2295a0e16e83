"""The few system calls that IKE's arithmetic needs; the kernel refuses all others (seccomp(2)).

It reads and writes descriptors that it has, and asks for memory, time and random octets. Opening
files and sockets, options of sockets, other processes and what else a kernel offers are refused
with EPERM, by a filter that nothing takes away again.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import Final

_NUMBERS: Final = {
    # Of asm/unistd.h, by machine: the value of AUDIT_ARCH and those that are allowed.
    "x86_64": (
        0xC000003E,
        {
            "read": 0,
            "write": 1,
            "close": 3,
            "poll": 7,
            "mmap": 9,
            "mprotect": 10,
            "munmap": 11,
            "brk": 12,
            "rt_sigaction": 13,
            "rt_sigprocmask": 14,
            "rt_sigreturn": 15,
            "sched_yield": 24,
            "mremap": 25,
            "madvise": 28,
            "getpid": 39,
            "sendto": 44,
            "recvfrom": 45,
            "recvmsg": 47,
            "getsockname": 51,
            "getsockopt": 55,
            "exit": 60,
            "gettimeofday": 96,
            "gettid": 186,
            "futex": 202,
            "restart_syscall": 219,
            "clock_gettime": 228,
            "clock_getres": 229,
            "exit_group": 231,
            "epoll_wait": 232,
            "epoll_ctl": 233,
            "tgkill": 234,
            "epoll_create1": 291,
            "recvmmsg": 299,
            "getrandom": 318,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "epoll_create1": 20,
            "epoll_ctl": 21,
            "epoll_pwait": 22,
            "close": 57,
            "read": 63,
            "write": 64,
            "ppoll": 73,
            "exit": 93,
            "exit_group": 94,
            "futex": 98,
            "clock_gettime": 113,
            "clock_getres": 114,
            "sched_yield": 124,
            "restart_syscall": 128,
            "tgkill": 131,
            "rt_sigaction": 134,
            "rt_sigprocmask": 135,
            "rt_sigreturn": 139,
            "gettimeofday": 169,
            "getpid": 172,
            "gettid": 178,
            "getsockname": 204,
            "sendto": 206,
            "recvfrom": 207,
            "getsockopt": 209,
            "recvmsg": 212,
            "brk": 214,
            "munmap": 215,
            "mremap": 216,
            "mmap": 222,
            "mprotect": 226,
            "madvise": 233,
            "recvmmsg": 243,
            "getrandom": 278,
        },
    ),
}

_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_KILL: Final = 0x80000000
_ERRNO: Final = 0x00050000
_ALLOW: Final = 0x7FFF0000
# linux/bpf_common.h, and offsets within struct seccomp_data.
_LOAD_WORD: Final = 0x20
_JUMP_IF_EQUAL: Final = 0x15
_RETURN: Final = 0x06
_NUMBER_AT: Final = 0
_ARCHITECTURE_AT: Final = 4


def allow_few_system_calls() -> None:
    """From now on, for good. The process must have no_new_privs.

    Raises OSError where the kernel has no filters, or the machine is one whose numbers are not
    known here. So is that of a process of 32 bits on a kernel of 64, which has other numbers.
    """
    if platform.machine() not in _NUMBERS or sys.maxsize < 1 << 32:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    octets = ctypes.create_string_buffer(program(*_NUMBERS[platform.machine()]))
    fprog = struct.pack("@HP", (len(octets) - 1) // 8, ctypes.addressof(octets))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, fprog, 0, 0) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def program(architecture: int, allowed: dict[str, int]) -> bytes:
    """The filter as ``struct sock_filter`` in a row, in the byte order of this machine."""
    count = len(allowed)
    instructions = [
        (_LOAD_WORD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD_WORD, 0, 0, _NUMBER_AT),
        # Each jumps over those that follow and over the refusal.
        *((_JUMP_IF_EQUAL, count - at, 0, one) for at, one in enumerate(allowed.values())),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("@HBBI", *one) for one in instructions)
