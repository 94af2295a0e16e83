"""Guests: what comes out of one, how one ends, and that nothing is left of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from plutino.lab.guest.streams import Stream
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.guest import (
    CHECKOUT,
    UML,
    guest_command,
    needs_guest,
    run_in_guest,
)

BOOT_SECONDS = {UML: 4.0, "qemu-6.12": 15.0}
"""Enough for a busy machine, and short for a test that has to wait for its end."""
KERNELS = tuple(BOOT_SECONDS)
pytestmark = pytest.mark.guest
kernels = pytest.mark.parametrize("kernel", KERNELS)
ends = pytest.mark.parametrize("kernel", KERNELS if EXHAUSTIVE else (UML,))
"""How a guest ends is the same code for both machines, and an emulated one takes long to boot."""


@kernels
def test_output_and_exit_code_are_the_commands_alone(kernel: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    script = (
        f"pwd; id -u; echo talk >&2; echo changed >{victim}; cat {victim}; printf 'end'; exit 7"
    )
    done = run_in_guest(kernel, ["sh", "-c", script], 60, {"TMPDIR": str(tmp_path)})
    assert done.returncode == 7, done.stderr
    assert done.stdout == f"{CHECKOUT}\n0\nchanged\nend"
    assert done.stderr == "talk\n"
    assert victim.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [victim]


@ends
def test_output_of_any_bytes_comes_whole(kernel: str) -> None:
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 4096)"
    needs_guest(kernel)
    command = guest_command(kernel, [sys.executable, "-c", code], 60)
    done = subprocess.run(command, capture_output=True, check=False, timeout=90)
    assert done.stdout == bytes(range(256)) * 4096
    assert (done.returncode, done.stderr) == (0, b"")


def test_variables_that_matter_are_passed_on() -> None:
    given = {"CI": "yes 'it' is", "PLUTINO_X": "x", "SECRET": "s", "TERM": "vt100"}
    done = run_in_guest(UML, ["env"], 60, given)
    got = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert got["CI"] == given["CI"]
    assert (got["PLUTINO_X"], got["TERM"], got["PLUTINO_GUEST"]) == ("x", "vt100", UML)
    assert "SECRET" not in got
    assert "/usr/sbin" in got["PATH"].split(":")


def test_a_command_that_is_not_there() -> None:
    done = run_in_guest(UML, ["no-such-command"], 60)
    assert done.returncode == 127
    assert "no-such-command" in done.stderr


@ends
def test_a_kernel_that_breaks_is_told_from_a_command_that_fails(kernel: str) -> None:
    done = run_in_guest(kernel, ["busybox", "reboot", "-f"], 60)
    assert done.returncode == 125
    assert "ended before the command did" in done.stderr


@ends
def test_the_time_limit_ends_a_guest(kernel: str, tmp_path: Path) -> None:
    guest = Started(kernel, tmp_path, limit=BOOT_SECONDS[kernel])
    assert guest.process.wait(40) == 124
    guest.assert_nothing_left()


@ends
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_guest(kernel: str, number: signal.Signals, tmp_path: Path) -> None:
    guest = Started(kernel, tmp_path)
    guest.process.send_signal(number)
    assert guest.process.wait(20) == 128 + number
    guest.assert_nothing_left()


@ends
def test_no_process_outlives_a_killed_command(kernel: str, tmp_path: Path) -> None:
    guest = Started(kernel, tmp_path)
    guest.process.kill()
    guest.process.wait(20)
    wait_until(lambda: not guest.members())


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64])
def test_a_stream_is_cut_at_its_end_however_it_is_split(size: int) -> None:
    token = b"\x01abc"
    said = b"\x01ab \x01\x01abx all of this " + token[:-1]
    octets = said + token + b" 113;no more"
    stream = Stream(token)
    out = b"".join(
        stream.feed(octets[start : start + size]) for start in range(0, len(octets), size)
    )
    assert (out, stream.code) == (said, 113)


def test_what_a_broken_stream_held_back_is_given_at_the_end() -> None:
    stream = Stream(b"\x01abc")
    assert stream.feed(b"words\x01ab") + stream.close() == b"words\x01ab"
    assert stream.code is None


class Started:
    """A guest that sleeps, told from all others by its folder for temporary files."""

    def __init__(self, kernel: str, folder: Path, limit: float = 600) -> None:
        needs_guest(kernel)
        self.folder = folder
        command = guest_command(kernel, ["sh", "-c", "echo here; sleep 1000"], limit)
        self.process = subprocess.Popen(
            command, env=os.environ | {"TMPDIR": str(folder)}, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"here\n"
        self.session = self.find_session()
        assert self.members()

    def find_session(self) -> str:
        """The session of the kernel's processes."""
        for process in Path("/proc").glob("[0-9]*"):
            if str(self.folder).encode() in words_of(process) and process.name != str(
                self.process.pid
            ):
                return stat_of(process)[3]
        raise AssertionError("no process of the guest is to be seen")

    def members(self) -> list[str]:
        """All processes of that session but those that wait for their parent."""
        found = [(path.name, stat_of(path)) for path in Path("/proc").glob("[0-9]*")]
        return [name for name, stat in found if stat[3:4] == [self.session] and stat[0] != "Z"]

    def assert_nothing_left(self) -> None:
        """Neither a process nor a file."""
        wait_until(lambda: not self.members())
        assert list(self.folder.iterdir()) == []


def words_of(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def stat_of(process: Path) -> list[str]:
    """State, parent, process group, session (proc(5))."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
