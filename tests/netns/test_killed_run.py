"""A run of tests that is killed leaves no engine, no daemon and no network namespace."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.reaper import mark_of, marked
from tests.support.until import until

pytestmark = pytest.mark.root

SCENARIO = Path(__file__).parents[1] / "scenarios" / "test_ike_restart.py"


def command_line(pid: int) -> list[str]:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_text().split("\0")
    except OSError:
        return []


def runs_tunnels(pids: list[int]) -> bool:
    """Whether engines and daemons are among them, of two hosts each."""
    commands = [command_line(pid) for pid in pids]
    engines = [one for one in commands if "".join(one[:1]).endswith("plutino-engine")]
    daemons = [one for one in commands if "run" in one and "plutino" in "".join(one[:2])]
    return len(engines) >= 2 and len(daemons) >= 2


def namespace_of(pid: int | str) -> str | None:
    try:
        return str((Path("/proc") / str(pid) / "ns" / "net").readlink())
    except OSError:
        return None


@pytest.fixture
def folder() -> Iterator[Path]:
    """For the files that a killed run cannot remove; short, as the path of a UNIX socket is."""
    with TemporaryDirectory(prefix="p-") as made:
        yield Path(made)


def test_it_leaves_nothing(folder: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    unmarked = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
    command = ["prlimit", f"--msgqueue={unmarked}:{unmarked}", sys.executable, "-m", "pytest"]
    run = subprocess.Popen(
        [*command, "-p", "no:cacheprovider", SCENARIO],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=SCENARIO.parents[2],
        env=os.environ | {"TMPDIR": str(folder)},
    )
    try:
        own = mark_of(os.getpid())
        until(lambda: mark_of(run.pid) not in (own, unmarked), "it is marked", seconds=60)
        mark = mark_of(run.pid)
        assert mark is not None, "it has ended"
        until(lambda: runs_tunnels(marked(mark)), "tunnels are up", seconds=60)
        namespaces = {namespace_of(pid) for pid in marked(mark)} - {namespace_of("self"), None}
        assert len(namespaces) >= 2
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    until(lambda: not marked(mark), "all of it is gone")
    every = (namespace_of(place.name) for place in Path("/proc").glob("[0-9]*"))
    assert not namespaces & {*every}
