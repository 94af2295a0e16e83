"""Ends what a run of pytest has started once the run is over, even if it was killed.

Tests are about engines, daemons and holders that outlive who has started them, with sessions and
environments of their own. But all of them inherit resource limits: that of POSIX message queues,
which nobody here uses, is lowered to a number which marks the run. Its reaper, this file as a
process of its own, waits for the end of a pipe that pytest alone holds. The lab's network
namespaces have no names and vanish with the processes.
"""

import os
import resource
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

_PATIENCE = 30.0
"""Seconds for killed processes to be gone; one that waits for a device may take its time."""


def start() -> None:
    """From now on; nothing within a run that is marked already, which ends with that one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    if soft != hard or hard == 0:
        return
    most = 1 << 31 if hard == resource.RLIM_INFINITY else hard
    mark = secrets.randbelow(most - 1) + 1
    theirs, _ours = os.pipe()  # never closed here: the end of this process does that
    subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(mark)],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    os.close(theirs)
    resource.setrlimit(resource.RLIMIT_MSGQUEUE, (mark, hard))


def mark_of(pid: int) -> str | None:
    """The soft limit of a process; None if it has ended."""
    try:
        limits = Path(f"/proc/{pid}/limits").read_text()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None
    (line,) = (one for one in limits.splitlines() if one.startswith("Max msgqueue size"))
    return None if state in "ZX" else line.split()[3]


def marked(mark: str) -> list[int]:
    """The processes of a run."""
    every = (int(place.name) for place in Path("/proc").glob("[0-9]*"))
    return [pid for pid in every if mark_of(pid) == mark]


def _reap(mark: str) -> None:
    os.read(0, 1)
    deadline = time.monotonic() + _PATIENCE
    while (left := marked(mark)) and time.monotonic() < deadline:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.01)


if __name__ == "__main__":
    _reap(sys.argv[1])
