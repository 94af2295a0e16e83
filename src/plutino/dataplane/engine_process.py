"""Starts the engine as a process of its own, which outlives whoever starts it."""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from plutino.dataplane.engine_client import EngineClient
from plutino.dataplane.runtime import RuntimePaths
from plutino.model.errors import PlaneError

ENGINE_VARIABLE: Final = "PLUTINO_ENGINE"
_START_TIMEOUT: Final = 10.0
"""Seconds until the engine must answer."""
_POLL: Final = 0.005
_OOM_SCORE: Final = "-900"
"""Like other daemons whose end cuts the network."""


def engine_path() -> Path:
    """The engine's program: named by the environment, beside this Python, or in PATH.

    Raises PlaneError if there is none.
    """
    named = os.environ.get(ENGINE_VARIABLE)
    beside = Path(sys.executable).with_name("plutino-engine")
    found = named or (str(beside) if beside.exists() else shutil.which("plutino-engine"))
    if not found or not os.access(found, os.X_OK):
        raise PlaneError(
            "the program plutino-engine is not there" if not named else f"{named} is no program",
            hint="run setup/setup.sh, which builds it" if not named else f"mend {ENGINE_VARIABLE}",
        )
    return Path(found)


def engine_running(runtime: RuntimePaths) -> bool:
    """Whether an engine of this instance answers."""
    try:
        client = EngineClient(runtime.engine_socket)
    except PlaneError:
        return False
    client.close()
    return True


def start_engine(runtime: RuntimePaths) -> None:
    """Start the engine unless it runs, and wait until it answers.

    It runs in a session of its own with no descriptor of ours. Two callers at once start one.
    Raises PlaneError with the engine's last words if it does not come up.
    """
    runtime.create()
    program = engine_path()
    lock = os.open(runtime.directory / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not engine_running(runtime):
            _start(program, runtime)
    finally:
        os.close(lock)


def _start(program: Path, runtime: RuntimePaths) -> None:
    log = os.open(runtime.engine_log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(
            [program, "--socket", runtime.engine_socket],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            start_new_session=True,
        )
    except OSError as error:
        raise PlaneError(f"{program} cannot be started: {error.strerror}") from error
    finally:
        os.close(log)
    deadline = time.monotonic() + _START_TIMEOUT
    while not engine_running(runtime):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            words = runtime.engine_log.read_text(errors="replace").strip().splitlines()
            why = words[-1] if words else f"exit code {process.returncode}"
            raise PlaneError(f"the engine does not come up: {why}")
        time.sleep(_POLL)
    _protect(process.pid)
    # The engine is nobody's child from now on: whoever reaps it must not wait here.
    process.returncode = 0


def _protect(pid: int) -> None:
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text(_OOM_SCORE)
    except OSError:
        return  # a container may forbid it
