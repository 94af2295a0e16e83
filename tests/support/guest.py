"""Guests for tests: a command inside a booted kernel (``plutino.lab.guest``).

A boot costs seconds. So tests of the kernel stand in ``tests/guest_inside`` and one boot runs a
whole folder or file of them, as ``tests/guest`` does; on the host itself they are not collected.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from plutino.lab.guest.cache import default_kernel, find_prepared
from plutino.lab.guest.kernels import KERNELS, Machine
from plutino.lab.guest.qemu import PROGRAM

CHECKOUT: Final = Path(__file__).parents[2]
UML: Final = default_kernel()
"""The user-mode Linux that suites boot."""
_BY_SETUP: Final = (UML, "qemu-6.12")
"""Kernels that ``setup/setup.sh test`` prepares; others are there where somebody wants them."""
_GRACE: Final = 30.0
"""Seconds beyond the guest's own limit, after which the limit itself has failed."""


def why_no_guest(kernel: str) -> str | None:
    """What keeps this machine from booting a kernel; None if nothing does."""
    if os.geteuid() != 0:
        return "guests are run by root"
    if shutil.which("busybox") is None:
        return "busybox-static is not installed"
    if KERNELS[kernel].machine is Machine.QEMU and shutil.which(PROGRAM) is None:
        return "qemu-system-x86 is not installed"
    if find_prepared(KERNELS[kernel]) is None:
        if kernel in _BY_SETUP:
            return "it is not prepared: run setup/setup.sh test"
        return f"it is not prepared: python -m plutino.lab.guest --kernel {kernel} --prepare"
    return None


def needs_guest(kernel: str) -> None:
    """Skip the test with the reason if that kernel cannot boot here; in CI, fail it if it is one
    that setup prepares."""
    why = why_no_guest(kernel)
    if why is None:
        return
    words = f"NO GUEST {kernel}: {why}"
    if kernel in _BY_SETUP:
        skip_loudly(words)
    pytest.skip(words)


def skip_loudly(reason: str) -> None:
    """Skip the test; in CI, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; in CI a skipped test is a failure")
    pytest.skip(reason)


def guest_command(kernel: str, command: Sequence[str | Path], timeout: float) -> list[str]:
    """The command line that runs another one in a guest; ``timeout`` in seconds."""
    program = [sys.executable, "-m", "plutino.lab.guest"]
    return [*program, "--kernel", kernel, "--timeout", str(timeout), "--", *map(str, command)]


def run_in_guest(
    kernel: str,
    command: Sequence[str | Path],
    timeout: float,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout inside a guest; ``timeout`` in seconds gives exit code 124.

    Skips the test if there can be no guest.
    """
    needs_guest(kernel)
    return subprocess.run(
        guest_command(kernel, command, timeout),
        cwd=CHECKOUT,
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout + _GRACE,
    )


def run_tests_in_guest(kernel: str, tests: str, timeout: float, expression: str = "") -> str:
    """Run files of tests, with spaces between, in one boot; the test fails with their words.

    ``expression`` chooses among them as pytest's ``-k`` does. What was said has a line
    ``PASSED FILE::NAME`` for each.
    """
    pytest_inside = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests.split()]
    pytest_inside += ["--durations=12", "-rsp"]
    pytest_inside += ["-k", expression] if expression else []
    done = run_in_guest(kernel, pytest_inside, timeout)
    words = f"in {kernel}, exit code {done.returncode}:\n{done.stdout}{done.stderr}"
    assert done.returncode == 0, words
    assert "skipped" not in done.stdout, words
    print(done.stdout)
    return done.stdout
