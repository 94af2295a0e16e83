"""Runs a command in a guest: boots it, passes its output on, and leaves nothing behind.

The guest's processes form a session of their own, which is killed at the end, however the end
comes: by the command's exit, the time limit, a signal, or an error. No guest is shut down: it has
nothing to save.
"""

import os
import secrets
import selectors
import socket
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plutino.lab.guest.errors import GuestError, TimeLimitError
from plutino.lab.guest.initramfs import Job, encode_initramfs
from plutino.lab.guest.kernels import Kernel, Machine
from plutino.lab.guest.processes import own_session
from plutino.lab.guest.qemu import qemu_command, root_modules
from plutino.lab.guest.streams import Stream
from plutino.lab.guest.uml import memory_folder, uml_command

_PASSED_ON: Final = ("HOME", "TERM", "CI", "LANG", "LC_ALL", "NO_COLOR", "XDG_CACHE_HOME")
_FAMILIES_PASSED_ON: Final = ("PLUTINO_", "PYTEST_", "HYPOTHESIS_")
_SYSTEM_PATH: Final = (
    "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
)  # fmt: skip
GUEST_VARIABLE: Final = "PLUTINO_GUEST"
"""Set inside a guest, to the name of its kernel."""
_LAST_LINES: Final = 25


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one guest: seconds from its start until it is killed, and MiB of memory."""

    seconds: float = 600.0
    memory: int = 1024


def guest_environment(kernel: Kernel, host: Mapping[str, str]) -> dict[str, str]:
    """The variables of a command in a guest: a few of the host's, and where programs are."""
    passed = {
        name: value
        for name, value in host.items()
        if name in _PASSED_ON or name.startswith(_FAMILIES_PASSED_ON)
    }
    path = [folder for folder in host.get("PATH", "").split(":") if folder]
    path += [folder for folder in _SYSTEM_PATH if folder not in path]
    here = {"PATH": ":".join(path), GUEST_VARIABLE: kernel.name}
    return {"HOME": "/root", "TERM": "dumb"} | passed | here


def run_in_guest(
    kernel: Kernel,
    prepared: Path,
    command: tuple[str, ...],
    environment: Mapping[str, str],
    limits: Limits,
) -> int:
    """Run a command to its end; its exit code.

    Output goes to this process's. Raises TimeLimitError, and GuestError with the console's last
    lines if the guest breaks before the command ends.
    """
    job = Job(command, Path.cwd(), environment, token=f"\x01{secrets.token_hex(16)}")
    deadline = time.monotonic() + limits.seconds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plutino-guest-")))
        ends = _start(kernel, prepared, job, folder, limits.memory, stack=stack)
        code = _pass_on(ends, job.token.encode(), deadline)
        if code is None:
            raise GuestError(f"the guest ended before the command did:\n{_words(folder)}")
        return code


def _start(
    kernel: Kernel, prepared: Path, job: Job, folder: Path, memory: int, *, stack: ExitStack
) -> dict[str, socket.socket]:
    """Boot; our ends of its streams. What is started is ended by the stack."""
    uml = kernel.machine is Machine.UML
    initramfs, console = folder / "initramfs", folder / "console"
    modules = [] if uml else root_modules(prepared)
    settings = {"MACHINE": kernel.machine.value}
    initramfs.write_bytes(encode_initramfs(job, settings, modules))
    pairs = {name: socket.socketpair() for name in ("out", "err")}
    theirs = {name: pair[1].fileno() for name, pair in pairs.items()}
    variables = dict(os.environ)
    with console.open("ab") as log, (folder / "program").open("wb") as words:
        if uml:
            command = uml_command(kernel, prepared, initramfs, log.fileno(), theirs, memory=memory)
            variables["TMPDIR"] = str(memory_folder(folder, memory))
        else:
            command = qemu_command(prepared, initramfs, console, theirs, memory)
        descriptors = [log.fileno(), *theirs.values()]
        stack.enter_context(
            own_session(command, output=words, environment=variables, descriptors=descriptors)
        )
    for _, end in pairs.values():
        end.close()  # so that ours tells when the guest's is gone
    return {name: stack.enter_context(pair[0]) for name, pair in pairs.items()}


def _pass_on(ends: dict[str, socket.socket], token: bytes, deadline: float) -> int | None:
    """Copy the streams until both end; the exit code, or None if they broke off before."""
    streams = {name: Stream(token) for name in ends}
    targets = {"out": 1, "err": 2}
    with selectors.DefaultSelector() as selector:
        for name, end in ends.items():
            selector.register(end, selectors.EVENT_READ, name)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready and time.monotonic() >= deadline:
                raise TimeLimitError("the time limit passed")
            for key, _ in ready:
                stream = streams[key.data]
                octets = _receive(ends[key.data])
                _write(targets[key.data], stream.feed(octets) if octets else stream.close())
                if not octets or stream.code is not None:
                    selector.unregister(key.fileobj)
    return streams["out"].code if all(one.code is not None for one in streams.values()) else None


def _receive(end: socket.socket) -> bytes:
    try:
        return end.recv(1 << 16)
    except ConnectionResetError:
        return b""


def _write(descriptor: int, octets: bytes) -> None:
    with suppress(BrokenPipeError):  # whoever read has had enough; the command goes on
        while octets:
            octets = octets[os.write(descriptor, octets) :]


def _words(folder: Path) -> str:
    """What the program and the console said last."""
    text = "".join((folder / name).read_text(errors="replace") for name in ("program", "console"))
    return "\n".join(text.splitlines()[-_LAST_LINES:])
