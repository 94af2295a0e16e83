"""The engine as a process of a test's own."""

import select
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plutino.dataplane.engine_process import engine_path
from tests.support.until import until

_ANSWER_TIMEOUT = 10.0


@contextmanager
def engine_process(directory: Path) -> Iterator[Path]:
    """Run the engine with its socket in ``directory``; give the socket's path."""
    path = directory / "engine.sock"
    process = subprocess.Popen([engine_path(), "--socket", path])
    try:
        until(lambda: process.poll() is not None or _answers(path), "the engine comes up")
        assert process.poll() is None, "the engine has ended"
        yield path
    finally:
        process.kill()
        process.wait()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        return probe.connect_ex(str(path)) == 0


def resident(path: Path) -> int:
    """Octets of memory that the engine behind a socket holds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(str(path))
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid = struct.unpack("=iII", credentials)[0]
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def wait_for_answer(sock: socket.socket) -> None:
    """Wait until something can be read, and read nothing."""
    assert select.select([sock], [], [], _ANSWER_TIMEOUT)[0], "no answer comes"
