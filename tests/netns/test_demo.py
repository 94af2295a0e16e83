"""`plutino demo` as a user runs it."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plutino.lab.hosts import plutino_program
from tests.support.until import until

pytestmark = pytest.mark.root

FORMS = [(4, "esp"), (6, "udp"), (6, "esp"), (4, "udp")]


def processes_in(world: str) -> list[int]:
    """Processes of a PID namespace."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "ns" / "pid") == world:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def folders_in_run() -> set[str]:
    """Without that of `ip netns`, which tests beside this one may bring about."""
    return set(os.listdir("/run")) - {"netns"}


class RunningDemo:
    """A demo that holds: supervisor, keeper, init, and the world of the init."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [plutino_program(), "demo", "--hold", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if "Ctrl-C" in line:
                break
        assert "Ctrl-C" in self.output, self.output
        self.keeper = children(self.process.pid)[0]
        self.init = children(self.keeper)[0]
        self.world = os.readlink(f"/proc/{self.init}/ns/pid")

    def inside(self, name: str) -> int:
        """A process of the world by a word of its command line."""
        return next(
            pid
            for pid in processes_in(self.world)
            if name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes() and pid != self.init
        )

    def ends_with_nothing_left(self) -> int:
        code = self.process.wait(timeout=30)
        until(lambda: processes_in(self.world) == [], "no process is left")
        assert self.process.stdout is not None
        self.output += self.process.stdout.read()
        assert not os.path.exists(f"/proc/{self.keeper}")
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        # What a failing test left behind goes with its init.
        if processes_in(self.world):
            os.kill(self.init, signal.SIGKILL)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start() -> Iterator[Callable[[], RunningDemo]]:
    demos: list[RunningDemo] = []

    def begin() -> RunningDemo:
        demos.append(RunningDemo())
        return demos[-1]

    before = folders_in_run()
    yield begin
    for demo in demos:
        demo.close()
    assert folders_in_run() == before


@pytest.mark.parametrize(("family", "encapsulation"), FORMS)
def test_every_form_passes_and_its_capture_is_read(
    family: int, encapsulation: str, tmp_path: Path
) -> None:
    capture = tmp_path / "wire.pcapng"
    command: list[str | Path] = [plutino_program(), "demo", "--json", "--family", str(family)]
    command += ["--encapsulation", encapsulation, "--capture", capture]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["passed"]
    assert all(check["passed"] for check in report["checks"])
    assert set(report["status"]) == {"paris", "berlin"}
    outer = "ip" if family == 4 else "ipv6"
    wanted = f"{outer} && esp" + (" && udp.port == 4500" if encapsulation == "udp" else " && !udp")
    shark: list[str | Path] = [
        "tshark",
        "-r",
        capture,
        "-Y",
        wanted,
        "-T",
        "fields",
        "-e",
        "frame.number",
    ]
    read = subprocess.run(shark, capture_output=True, text=True, check=True)
    kind = "esp-in-udp" if encapsulation == "udp" else "esp"
    assert len(read.stdout.split()) == report["wire"][kind] > 0


def test_ctrl_c_takes_everything_away(start: Callable[[], RunningDemo]) -> None:
    demo = start()
    os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.ends_with_nothing_left() == 0, demo.output
    assert "nothing of plutino is left" in demo.output


@pytest.mark.parametrize("who", ["supervisor", "keeper", "init"])
def test_kill_9_of_its_own_processes_leaves_nothing(
    start: Callable[[], RunningDemo], who: str
) -> None:
    demo = start()
    pids = {"supervisor": demo.process.pid, "keeper": demo.keeper, "init": demo.init}
    os.kill(pids[who], signal.SIGKILL)
    assert demo.ends_with_nothing_left() != 0


@pytest.mark.parametrize("who", ["plutino-engine", "gateway.toml"])
def test_kill_9_of_a_gateway_leaves_nothing(start: Callable[[], RunningDemo], who: str) -> None:
    demo = start()
    os.kill(demo.inside(who), signal.SIGKILL)
    os.killpg(demo.process.pid, signal.SIGINT)
    demo.ends_with_nothing_left()
    assert "Traceback" not in demo.output


def test_two_demos_do_not_disturb_each_other(start: Callable[[], RunningDemo]) -> None:
    demos = [start(), start()]
    assert demos[0].world != demos[1].world
    for demo in demos:
        os.killpg(demo.process.pid, signal.SIGINT)
        assert demo.ends_with_nothing_left() == 0, demo.output


NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]
POWERLESS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def demo_of_nobody(tmp_path: Path, mode: str) -> subprocess.CompletedProcess[str]:
    """The demo without root, on a machine whose /dev/net/tun has that mode."""
    tun = tmp_path / "tun"
    subprocess.run(["mknod", tun, "c", "10", "200"], check=True)
    subprocess.run(["chmod", mode, tun], check=True)
    # Where the checkout is closed to others, root without its rights must do.
    may_read = subprocess.run([*NOBODY, "test", "-x", plutino_program()], check=False)
    user = NOBODY if may_read.returncode == 0 else POWERLESS
    script = f"mount --bind {tun} /dev/net/tun && exec {' '.join(user)} {plutino_program()} demo"
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


def test_without_root_it_works_where_the_device_allows_it(tmp_path: Path) -> None:
    done = demo_of_nobody(tmp_path, "666")
    if "namespaces are not allowed" in done.stderr or "user namespace" in done.stderr:
        assert "hint: " in done.stderr
        return  # the kernel forbids them, or the checkout is closed to others
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_root_and_without_the_device_it_says_why(tmp_path: Path) -> None:
    done = demo_of_nobody(tmp_path, "000")
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == 1
    assert "plutino: error: " in done.stderr
    assert "hint: " in done.stderr
