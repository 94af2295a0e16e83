"""What the process that parses the network can no longer ask the kernel for."""

import subprocess
import sys

TRIED = """
import ctypes, os, socket, time
from plutino.ike_process.system_calls import allow_few_system_calls

ours, theirs = socket.socketpair()
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
allow_few_system_calls()

def words(attempt):
    try:
        attempt()
    except OSError as error:
        return error.strerror
    return "done"

tried = {
    "open": lambda: os.open("/", 0),
    "socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "connect": lambda: ours.connect("/"),
    "setsockopt": lambda: ours.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 1),
    "fork": os.fork,
    "execve": lambda: os.execv("/bin/true", ["true"]),
    "kill": lambda: os.kill(os.getppid(), 0),
    "send": lambda: ours.send(b"octets"),
    "receive": lambda: theirs.recv(6),
    "random": lambda: os.urandom(8),
    "time": time.monotonic,
    "memory": lambda: bytearray(1 << 24),
}
print({name: words(attempt) for name, attempt in tried.items()}, flush=True)
os._exit(0)
"""


def test_few_are_left() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", TRIED], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    refused = ("open", "socket", "connect", "setsockopt", "fork", "execve", "kill")
    allowed = ("send", "receive", "random", "time", "memory")
    assert ended.stdout.strip() == str(
        dict.fromkeys(refused, "Operation not permitted") | dict.fromkeys(allowed, "done")
    )


def test_a_process_of_32_bits_is_not_killed_by_the_numbers_of_64() -> None:
    code = """
import sys
from plutino.ike_process.system_calls import allow_few_system_calls
sys.maxsize = (1 << 31) - 1
allow_few_system_calls()
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "Function not implemented" in ended.stderr
