"""TUN devices: the links of the user-space plane (``linux/if_tun.h``)."""

import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Final

from plutino.model.errors import KernelError, PlaneError

DEVICE: Final = "/dev/net/tun"
MOST_QUEUES: Final = 4
MANY: Final = 256
"""Devices that are made at once."""
_TUNSETIFF: Final = 0x400454CA
_TUNSETPERSIST: Final = 0x400454CB
_TUNSETOFFLOAD: Final = 0x400454D0
_TUNSETVNETHDRSZ: Final = 0x400454D8
_IFF_TUN: Final = 0x0001
_IFF_MULTI_QUEUE: Final = 0x0100
_IFF_NO_PI: Final = 0x1000
_IFF_VNET_HDR: Final = 0x4000
_TUN_F_CSUM: Final = 0x01
_TUN_F_TSO4: Final = 0x02
_TUN_F_TSO6: Final = 0x04
_VNET_HDR_SIZE: Final = 10
_REQUEST: Final = struct.Struct("16sH22x")


def open_tun(name: str) -> int:
    """A descriptor of the TUN device ``name``, which is made if it is not there, and stays.

    Flags and offloads are those of docs/engine-protocol.md. The caller makes sure that a link of
    that name is its own. Raises PlaneError without /dev/net/tun or without the right to use it,
    KernelError if the kernel refuses the device.
    """
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise PlaneError(f"{DEVICE} cannot be opened: {error.strerror}", _hint(error)) from error
    try:
        flags = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR | _IFF_MULTI_QUEUE
        fcntl.ioctl(descriptor, _TUNSETIFF, _REQUEST.pack(name.encode(), flags))
        fcntl.ioctl(descriptor, _TUNSETVNETHDRSZ, struct.pack("=i", _VNET_HDR_SIZE))
        fcntl.ioctl(descriptor, _TUNSETOFFLOAD, _TUN_F_CSUM | _TUN_F_TSO4 | _TUN_F_TSO6)
        fcntl.ioctl(descriptor, _TUNSETPERSIST, 1)
    except OSError as error:
        os.close(descriptor)
        hint = "run as root, or with CAP_NET_ADMIN" if error.errno == errno.EPERM else None
        raise KernelError(
            f"create TUN device {name}", error.errno or errno.EIO, hint=hint
        ) from error
    return descriptor


def queues_of_each(devices: int) -> int:
    """How many queues each of so many TUN devices gets: one per processor, at most four.

    Of many devices each has one: they are spread over the processors themselves, and each queue
    is an open file of the engine.
    """
    return min(MOST_QUEUES, os.cpu_count() or 1) if devices < MANY else 1


def open_queues(name: str, devices: int = 1) -> list[int]:
    """A descriptor for each queue of the TUN device ``name``, one of so many.

    Raises as ``open_tun``.
    """
    descriptors: list[int] = []
    try:
        for _ in range(queues_of_each(devices)):
            descriptors.append(open_tun(name))
    except (KernelError, PlaneError):
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    return descriptors


def check_open_files(pid: int, devices: int, of: int = 1) -> None:
    """PlaneError where a process may not have so many open files as more devices take.

    ``of`` is how many there are to be in all.

    The engine raises its limit as far as it may (CAP_SYS_RESOURCE, ``fs.nr_open``).
    """
    try:
        limits = Path(f"/proc/{pid}/limits").read_text()
        there = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return  # it has ended, or is not ours to look at
    words = next(line.split() for line in limits.splitlines() if line.startswith("Max open files"))
    each = queues_of_each(max(devices, of))
    wanted = there + devices * each
    if words[3].isdigit() and wanted > int(words[3]):
        raise PlaneError(
            f"the engine may have {words[3]} open files, and with {devices} more interfaces it "
            f"takes {wanted}: {each} for each",
            hint="raise the hard limit (`LimitNOFILE=` of the service, `ulimit -Hn`), or have one "
            "interface for many tunnels, with `external = true`",
        )


def _hint(error: OSError) -> str | None:
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return (
            "the machine has no TUN: load the module `tun`, or give a container the device "
            "(`--device /dev/net/tun`)"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return "run as root, or let the user read and write /dev/net/tun"
    return None
