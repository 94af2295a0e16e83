"""The sockets for ESP in UDP stay open in a process of their own, which is found again."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from plutino.dataplane.held_sockets import HeldSockets, holder_pids
from plutino.dataplane.underlay import (
    UDP_KINDS,
    SocketKind,
    is_encapsulation,
    open_encapsulation,
    open_socket,
)
from plutino.model.errors import KernelError, PlaneError
from tests.support.namespace import fresh_namespace
from tests.support.until import until

pytestmark = pytest.mark.root

V4, V6 = SocketKind.UDP_V4, SocketKind.UDP_V6


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Of a holder in a new namespace, which is gone after the test."""
    with fresh_namespace():
        path = tmp_path / "holder.sock"
        yield path
        HeldSockets(path).end()
        assert list(holder_pids(path)) == []


def port_is_free(kind: SocketKind) -> bool:
    try:
        open_socket(kind).close()
    except KernelError:
        return False
    return True


def only_pid(path: Path) -> int:
    (pid,) = holder_pids(path)
    return pid


def kill(path: Path) -> None:
    os.kill(only_pid(path), signal.SIGKILL)
    until(lambda: not list(holder_pids(path)), "it is dead")


def test_they_outlive_the_process_that_opened_them(path: Path) -> None:
    opener = (
        "import sys; from pathlib import Path;"
        "from plutino.dataplane.held_sockets import HeldSockets, SocketKind;"
        "HeldSockets(Path(sys.argv[1])).ensure(SocketKind)"
    )
    subprocess.run([sys.executable, "-c", opener, path], check=True)
    assert HeldSockets(path).kinds() == UDP_KINDS
    assert not port_is_free(V4)
    assert not port_is_free(V6)


def test_a_second_time_neither_process_nor_socket_is_new(path: Path) -> None:
    sockets = HeldSockets(path)
    sockets.ensure([V4])
    pid, inode = only_pid(path), inode_of(sockets, V4)
    sockets.ensure([V4, V6])
    sockets.release([V4, V6])
    assert (only_pid(path), inode_of(sockets, V4)) == (pid, inode)
    assert sockets.kinds() == UDP_KINDS


def inode_of(sockets: HeldSockets, kind: SocketKind) -> int:
    held = sockets.fetch()
    inode = os.fstat(held[kind].fileno()).st_ino
    for one in held.values():
        one.close()
    return inode


def test_what_nobody_needs_is_closed_and_then_the_process_ends(path: Path) -> None:
    sockets = HeldSockets(path)
    sockets.ensure([V4, V6])
    watch = sockets.watch()
    assert watch is not None
    sockets.release([V6, SocketKind.RAW_V4])
    assert sockets.kinds() == {V6}
    assert port_is_free(V4)
    sockets.release([SocketKind.RAW_V4])
    assert watch.recv(1) == b""
    watch.close()
    until(lambda: not list(holder_pids(path)), "it has ended")
    assert port_is_free(V6)
    assert sockets.watch() is None


def test_nothing_is_started_where_nothing_is_needed(path: Path) -> None:
    sockets = HeldSockets(path)
    sockets.ensure([SocketKind.RAW_V4, SocketKind.RAW_V6])
    sockets.release([])
    sockets.end()
    assert not path.exists()
    assert list(holder_pids(path)) == []


def test_after_kill_minus_nine_a_new_one_is_started(path: Path) -> None:
    sockets = HeldSockets(path)
    sockets.ensure([V4])
    kill(path)
    assert sockets.kinds() == set()
    assert port_is_free(V4)
    sockets.ensure([V4])
    assert sockets.kinds() == {V4}


@pytest.mark.parametrize("ends", [True, False])
def test_one_whose_name_is_gone_is_found_by_what_it_is(path: Path, ends: bool) -> None:
    sockets = HeldSockets(path)
    sockets.ensure([V4])
    before = only_pid(path)
    path.unlink()
    if ends:
        sockets.end()
        assert port_is_free(V4)
        return
    sockets.ensure([V4])
    assert only_pid(path) != before
    assert sockets.kinds() == {V4}


def test_one_of_another_namespace_is_not_believed(path: Path) -> None:
    sockets = HeldSockets(path)
    sockets.ensure([V4])
    with fresh_namespace():
        assert sockets.kinds() == set()
        assert list(holder_pids(path)) == []
        sockets.ensure([V4])
        assert sockets.kinds() == {V4}
        assert not port_is_free(V4)
        sockets.end()
    until(lambda: not list(holder_pids(path)), "the first one has ended")


def test_a_taken_port_is_told_and_what_was_held_stays(path: Path) -> None:
    sockets = HeldSockets(path)
    sockets.ensure([V4])
    with open_socket(V6), pytest.raises(KernelError, match="UDP port 4500 for IPv6") as caught:
        sockets.ensure([V4, V6])
    assert "another program has UDP port 4500" in str(caught.value.hint)
    assert sockets.kinds() == {V4}


def test_it_has_no_capability_and_no_other_descriptor(path: Path) -> None:
    HeldSockets(path).ensure([V4])
    process = Path(f"/proc/{only_pid(path)}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
    assert [int(status[f"Cap{one}"], 16) for one in ("Inh", "Prm", "Eff", "Amb")] == [0] * 4
    assert status["NoNewPrivs"] == "1"
    expected = ["/dev/null", "/dev/null", "socket", "socket"]
    until(lambda: descriptors_of(process) == expected, "it has them alone")
    assert (process / "environ").read_bytes() == b""
    assert path.stat().st_mode & 0o777 == 0o600


def descriptors_of(process: Path) -> list[str]:
    with suppress(FileNotFoundError):  # one that is being closed
        return sorted(os.readlink(one).split(":")[0] for one in (process / "fd").iterdir())
    return []


def test_one_that_does_not_answer_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plutino.dataplane.held_sockets._TIMEOUT", 0.05)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as mute:
        mute.bind(str(path))
        mute.listen()
        with pytest.raises(PlaneError, match="does not answer") as caught:
            HeldSockets(path).fetch()
    assert "pgrep" in str(caught.value.hint)


def test_one_that_does_not_answer_is_ended_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sockets = HeldSockets(path)
    sockets.ensure([V4])
    os.kill(only_pid(path), signal.SIGSTOP)
    monkeypatch.setattr("plutino.dataplane.held_sockets._TIMEOUT", 0.5)
    sockets.end()
    until(lambda: not list(holder_pids(path)), "it is gone")
    assert port_is_free(V4)


def test_a_holder_of_nothing_ends_with_the_next_pass(path: Path) -> None:
    sockets = HeldSockets(path)
    sockets._start().close()  # whoever started it was killed then
    assert len(list(holder_pids(path))) == 1
    sockets.release([SocketKind.RAW_V4])
    until(lambda: not list(holder_pids(path)), "it has ended")


def test_only_a_socket_that_serves_is_believed(path: Path) -> None:
    with open_encapsulation(V4) as good:
        assert is_encapsulation(good, V4)
        assert not is_encapsulation(good, V6)
        assert not is_encapsulation(good, SocketKind.RAW_V4)
        good.setsockopt(socket.IPPROTO_UDP, 100, 0)
        assert not is_encapsulation(good, V4)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.IPPROTO_UDP, 100, 2)
        other.bind(("127.0.0.1", 4500))
        assert not is_encapsulation(other, V4)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
        assert not is_encapsulation(stream, V4)
