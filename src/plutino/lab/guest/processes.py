"""Processes that do not outlive what started them, and signals that let it clean up."""

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from os import killpg
from pathlib import Path
from types import FrameType
from typing import IO, Final

from plutino.lab.guest.errors import GuestError
from plutino.lab.namespaces import end_with_parent

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class SignalError(Exception):
    """A signal that asks this program to end; ``number`` is its own."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def signals_raised() -> Iterator[None]:
    """Within the block, signals that end a program raise SignalError, so that it cleans up."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for one in _SIGNALS:  # one is enough: cleaning up is not to be disturbed
            signal.signal(one, signal.SIG_IGN)
        raise SignalError(number)

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def own_session(
    command: Sequence[str | Path],
    *,
    output: int | IO[bytes],
    environment: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program in a session of its own, all of which is killed when the block ends.

    ``output`` is for stdout and stderr; ``descriptors`` stay open in it. Raises GuestError if
    there is no such program.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=descriptors,
            start_new_session=True,
            # If this process is killed itself. There is no thread here that could hold a lock.
            preexec_fn=lambda: end_with_parent(signal.SIGKILL),  # noqa: PLW1509
        )
    except FileNotFoundError:
        raise GuestError(f"no {command[0]}", hint="run setup/setup.sh test") from None
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
