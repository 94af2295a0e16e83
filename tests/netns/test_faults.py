"""Faults while packets flow: nothing leaves in clear, and it heals or says what is wrong."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import pytest

from plutino.control.report import State
from plutino.lab.demo import INNER, PARIS
from plutino.lab.hosts import Host
from plutino.lab.traffic import ping
from tests.support.fault_stream import Stream, state_of
from tests.support.lab import Pair, running_pair
from tests.support.until import until

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def shared() -> Iterator[Pair]:
    """One pair for all faults: each must leave it as it found it."""
    with running_pair() as pair:
        yield pair


@pytest.fixture
def pair(shared: Pair) -> Iterator[Pair]:
    """The pair, whole before the fault and whole after it, and nothing in clear meanwhile."""
    until(lambda: state_of(shared.paris) is State.UP, "whole before")
    yield shared
    shared.assert_nothing_in_clear()


def engine_pid(host: Host) -> int:
    report = host.status()
    assert report is not None
    assert report.engine is not None
    return report.engine.pid


def ip(host: Host, command: str) -> str:
    """Run `ip` at a host, as someone with other ideas would."""
    with host.namespace.entered():
        return subprocess.run(
            ["ip", *command.split()], check=True, capture_output=True, text=True
        ).stdout


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_daemon_ends_and_comes_back_without_one_lost_packet(
    pair: Pair, number: signal.Signals
) -> None:
    engine = engine_pid(pair.paris)
    with Stream(pair) as stream:
        assert pair.paris.daemon is not None
        pair.paris.daemon.send_signal(number)
        pair.paris.daemon.wait(timeout=10)
        stream.until_it_passes()
        pair.paris.start_daemon()
        pair.paris.wait_until_up()
        stream.until_it_passes()
        assert stream.lost() == set()
        assert stream.refused == 0
    assert engine_pid(pair.paris) == engine


def test_the_engine_is_killed(pair: Pair) -> None:
    engine = engine_pid(pair.paris)
    with Stream(pair) as stream:
        os.kill(engine, signal.SIGKILL)
        until(lambda: state_of(pair.paris) is State.UP and engine_pid(pair.paris) != engine, "heal")
        stream.until_it_passes()
    assert "the engine has ended" in pair.paris.log.read_text()


FAULTS = {
    "interface deleted": "link delete ipsec1",
    "interface set down": "link set ipsec1 down",
    "route deleted": "route delete 10.2.0.0/16 dev ipsec1",
    "address deleted": "address delete 10.255.0.0/31 dev ipsec1",
    "unreachable twin deleted": "route delete unreachable 10.2.0.0/16",
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_changed_by_hand_is_healed(pair: Pair, name: str) -> None:
    # Without the guard of the twins all of it would leave by this way.
    ip(pair.paris, "route replace default via 192.0.2.2")
    before = ip(pair.paris, "route show proto 134")
    with Stream(pair) as stream:
        ip(pair.paris, FAULTS[name])
        until(lambda: ip(pair.paris, "route show proto 134") == before, "the routes are back")
        until(lambda: state_of(pair.paris) is State.UP, "it is whole again")
        stream.until_it_passes()
    pair.assert_nothing_in_clear()
    ip(pair.paris, "route delete default")


def test_nothing_leaves_in_clear_while_nobody_heals(pair: Pair) -> None:
    """Daemon, engine and interface gone: the unreachable routes alone stand guard."""
    ip(pair.paris, "route replace default via 192.0.2.2")
    with Stream(pair) as stream:
        assert pair.paris.daemon is not None
        pair.paris.daemon.kill()
        pair.paris.daemon.wait()
        os.kill(int(engine_pid_by_socket(pair.paris)), signal.SIGKILL)
        ip(pair.paris, "link delete ipsec1")
        refused = stream.refused
        until(lambda: stream.refused > refused + 20, "the sender is told that there is no way")
        pair.assert_nothing_in_clear()
        pair.paris.start_daemon()
        pair.paris.wait_until_up()
        stream.until_it_passes()
    ip(pair.paris, "route delete default")


def engine_pid_by_socket(host: Host) -> str:
    """The engine of a host without a daemon, told by `plutino status`."""
    for line in host.plutino("status").stdout.splitlines():
        if "engine" in line and "pid" in line:
            return line.split("engine", 1)[1].split("pid", 1)[1].split()[0].strip(",;)")
    raise AssertionError("no engine runs")


@pytest.fixture
def full_disk(pair: Pair) -> Iterator[Callable[[], None]]:
    """Fills the disk of Paris's state folder when called; it is emptied at the end."""
    folder = pair.paris.folder / "state"
    filler = folder / "filler"
    with small_disk(folder):

        def fill() -> None:
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4096))

        yield fill
        filler.unlink(missing_ok=True)
        until(lambda: state_of(pair.paris) is State.UP, "whole with room on the disk")


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A small tmpfs on a state folder, with what was there, and back again."""
    with saved_sequences(folder):
        options = ("-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs")
        subprocess.run(["mount", *options, folder], check=True)
        (folder / "default").mkdir(mode=0o700)
    try:
        yield
    finally:
        with saved_sequences(folder):
            subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def saved_sequences(folder: Path) -> Iterator[None]:
    """The numbers are the same before and after what happens to the folder."""
    octets = (folder / "default" / "sequences.json").read_bytes()
    yield
    (folder / "default" / "sequences.json").write_bytes(octets)


def test_the_disk_of_the_state_folder_is_full(pair: Pair, full_disk: Callable[[], None]) -> None:
    """The tunnel goes on and its status says so; a new engine waits for room."""
    with Stream(pair) as stream:
        full_disk()
        # Its number came in, and cannot be written down.
        assert ping(pair.berlin.namespace, ip_address(INNER[PARIS][0]), count=1)[0] == 1
        until(lambda: state_of(pair.paris) is State.DEGRADED, "it is told")
        done = pair.paris.plutino("status")
        assert done.returncode == 3
        assert "No space left on device" in done.stdout
        stream.until_it_passes()
        assert stream.lost() == set()
        os.kill(engine_pid(pair.paris), signal.SIGKILL)
        until(lambda: state_of(pair.paris) is not State.UP, "the end of the engine is seen")
        mark = stream.sent
        until(lambda: stream.sent > mark + 50, "more is sent")
        pair.assert_nothing_in_clear()
        done = pair.paris.plutino("status")
        assert done.returncode in (1, 3)
        assert "No space left on device" in done.stdout
        (pair.paris.folder / "state" / "filler").unlink()
        until(lambda: state_of(pair.paris) is State.UP, "healed", seconds=30)
        stream.until_it_passes()
