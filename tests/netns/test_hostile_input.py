"""Hostile files and requests: a clear error, the right exit code, and nothing half made."""

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.exhaustive import EXHAUSTIVE
from tests.support.namespace import fresh_namespace
from tests.support.raw_plane import ACK, REQUEST, SETDEFAULT, encode, engine_socket, join

pytestmark = pytest.mark.root

GROUP_POLICY = 1 << 3
PLUTINO = Path(sys.executable).with_name("plutino")
GOOD = """
[tunnels.berlin]
interface = "ipsec1"
local = "192.0.2.1"
remote = "192.0.2.2"
addresses = ["10.255.0.0/31"]
routes = ["10.2.0.0/16"]
static = { key-file = "paris-berlin.keys" }
"""
SECOND = """
[tunnels.rome]
interface = "ipsec2"
local = "192.0.2.1"
remote = "192.0.2.3"
static = { key-file = "paris-rome.keys" }
"""


class Machine:
    """A folder with keys and files, and plutino run in the current namespace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "gateway.toml"
        self.environment = os.environ | {
            "PLUTINO_RUNTIME_DIR": str(folder / "run"),
            "PLUTINO_STATE_DIR": str(folder / "state"),
        }

    def plutino(
        self, *arguments: str | Path, prefix: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run the command; every error of ours is words, never a traceback."""
        done = subprocess.run(
            [*prefix, PLUTINO, *arguments],
            cwd=self.folder,
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr + done.stdout
        return done

    def write(self, text: str) -> Path:
        self.file.write_text(text)
        return self.file


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """In a namespace with one underlay interface, which must look the same after the test."""
    with fresh_namespace():
        for command in (
            "ip link add underlay type veth peer name other",
            "ip address add 192.0.2.1/24 dev underlay",
            # Addresses that the kernel adds by itself would come while a test looks.
            "ip link set underlay addrgenmode none",
            "ip link set other addrgenmode none",
            "ip link set underlay up",
            "ip link set other up",
        ):
            subprocess.run(command.split(), check=True)
        here = Machine(tmp_path)
        assert here.plutino("keygen", "paris", "berlin").returncode == 0
        assert here.plutino("keygen", "paris", "rome").returncode == 0
        yield here
        here.plutino("down")


def objects() -> tuple[list[str], str]:
    """The names of links, and the routes of all tables."""
    links = subprocess.run(["ip", "-j", "link"], check=True, capture_output=True).stdout
    routes = subprocess.run(
        ["ip", "route", "show", "table", "all"], check=True, capture_output=True, text=True
    ).stdout
    return sorted(link["ifname"] for link in json.loads(links)), routes


BAD_FILES = {
    "empty": ("", "tunnels"),
    "no toml": ("[tunnels.berlin\n", "gateway.toml:1"),
    "NUL bytes": ("\0\0\0", "gateway.toml"),
    "unknown key": (GOOD.replace("routes", "rotues"), "'routes'"),
    "duplicate if_id": (
        GOOD + SECOND.replace("[tunnels.rome]", "[tunnels.rome]\nif-id = 1"),
        "if-id",
    ),
    "overlapping tunnels": (
        GOOD
        + SECOND.replace("ipsec2", "ipsec2").replace("static", 'routes = ["10.2.0.0/16"]\nstatic'),
        "10.2.0.0/16",
    ),
    "two peers behind one interface without selectors": (
        GOOD + SECOND.replace("ipsec2", "ipsec1"),
        "remote-ts",
    ),
    "interface name too long": (GOOD.replace("ipsec1", "ipsec1234567890123"), "15 bytes"),
    "interface name with a slash": (GOOD.replace("ipsec1", "ip/sec"), "interface"),
    "no address": (GOOD.replace("192.0.2.2", "192.0.2.256"), "remote"),
    "two families outside": (GOOD.replace("192.0.2.2", "2001:db8::2"), "remote"),
    "the peer on its own interface": (GOOD.replace("10.255.0.0/31", "192.0.2.9/24"), "addresses"),
    "missing key file": (GOOD.replace("paris-berlin", "nowhere"), "nowhere.keys"),
}


COMMANDS = ("plan", "apply", "run")
BY_COMMANDS = [
    (name, command)
    for place, name in enumerate(BAD_FILES)
    for command in (COMMANDS if EXHAUSTIVE else (COMMANDS[place % len(COMMANDS)],))
]


@pytest.mark.parametrize(("name", "command"), BY_COMMANDS)
def test_a_bad_file_is_refused_by_name_and_place(machine: Machine, name: str, command: str) -> None:
    text, words = BAD_FILES[name]
    before = objects()
    done = machine.plutino(command, machine.write(text))
    assert done.returncode == 2, done.stderr
    assert "gateway.toml" in done.stderr
    assert words in done.stderr
    assert objects() == before
    assert not (machine.folder / "run" / "default" / "engine.sock").exists()


def test_all_errors_at_once(machine: Machine) -> None:
    text = (
        GOOD.replace("10.255.0.0/31", "10.255.0.0/33").replace("192.0.2.2", "192.0.2.256")
        + "speed = 1\n"
    )
    done = machine.plutino("plan", machine.write(text))
    assert done.returncode == 2
    for place in ("gateway.toml:5", "gateway.toml:6", "gateway.toml:9"):
        assert place in done.stderr


def test_what_is_no_file(machine: Machine) -> None:
    for path in ("missing.toml", "."):
        done = machine.plutino("apply", path)
        assert done.returncode == 2
        assert path in done.stderr


@pytest.mark.parametrize("seed", range(5 if EXHAUSTIVE else 2))
def test_64_kb_of_random_bytes_as_file(machine: Machine, seed: int) -> None:
    machine.file.write_bytes(random.Random(seed).randbytes(64 << 10))
    done = machine.plutino("apply", machine.file)
    assert done.returncode == 2
    assert "gateway.toml" in done.stderr


def test_a_key_file_that_others_can_read_is_refused(machine: Machine) -> None:
    keys = machine.folder / "paris-berlin.keys"
    keys.chmod(0o640)
    done = machine.plutino("apply", machine.write(GOOD))
    assert done.returncode == 2
    assert "chmod 600" in done.stderr
    assert "paris-berlin.keys" in done.stderr


def test_a_key_of_the_wrong_length_is_not_shown(machine: Machine) -> None:
    keys = machine.folder / "paris-berlin.keys"
    text = keys.read_text()
    key = next(line for line in text.splitlines() if line.startswith("key"))
    material = key.split('"')[1]
    keys.write_text(text.replace(material, material[:-2], 1))
    done = machine.plutino("apply", machine.write(GOOD))
    assert done.returncode == 2
    assert "paris-berlin.keys" in done.stderr
    assert "bytes" in done.stderr
    assert material[:8] not in done.stderr + done.stdout


def test_an_interface_of_others_is_left_alone(machine: Machine) -> None:
    subprocess.run(["ip", "link", "add", "ipsec1", "type", "veth"], check=True)
    before = objects()
    done = machine.plutino("apply", machine.write(GOOD))
    assert done.returncode == 1
    assert "ipsec1" in done.stderr
    assert "not ours" in done.stderr or "not plutino" in done.stderr
    assert "hint:" in done.stderr
    assert objects() == before
    assert machine.plutino("down").returncode == 0
    assert objects() == before


def test_no_privileges(machine: Machine) -> None:
    before = objects()
    drop = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    for command in ("apply", "run"):
        done = machine.plutino(command, machine.write(GOOD), prefix=drop)
        assert done.returncode == 1
        assert "root" in done.stderr or "CAP_NET_ADMIN" in done.stderr
        assert objects() == before


def test_random_bytes_on_both_sockets_change_nothing(machine: Machine) -> None:
    assert machine.plutino("apply", machine.write(GOOD)).returncode == 0
    before = machine.plutino("status", "--json").stdout
    engine = machine.folder / "run" / "default" / "engine.sock"
    for seed in range(50):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(str(engine))
            client.settimeout(5)
            try:
                client.send(random.Random(seed).randbytes(64 << 10 if seed % 2 else 100))
                client.recv(64 << 10)
            except OSError:
                continue
    assert json.loads(machine.plutino("status", "--json").stdout)["tunnels"]
    assert json.loads(before)["tunnels"]
    again = machine.plutino("apply", machine.file)
    assert again.returncode == 0
    assert "nothing to do" in again.stdout + again.stderr


def test_the_status_tells_what_a_slow_listener_lost(machine: Machine) -> None:
    assert machine.plutino("apply", machine.write(GOOD)).returncode == 0
    engine = machine.folder / "run" / "default" / "engine.sock"
    accept = encode(SETDEFAULT, b"\2\2\2", REQUEST)
    with engine_socket(engine) as slow, engine_socket(engine) as busy:
        join(slow, GROUP_POLICY)
        for _datagram in range(5):
            busy.send(accept * 999 + encode(SETDEFAULT, b"\2\2\2", REQUEST | ACK))
            busy.recv(64 << 10)
        report = json.loads(machine.plutino("status", "--json").stdout)["engine"]
    assert 0 < report["lost_notifications"] < 5000
    assert report["missed_drops"] == 0
    assert f"{report['lost_notifications']} x notification lost" in machine.plutino("status").stdout


def test_a_running_tunnel_survives_a_bad_file(machine: Machine) -> None:
    assert machine.plutino("apply", machine.write(GOOD)).returncode == 0
    before = objects()
    assert machine.plutino("apply", machine.write(GOOD.replace("local", "lokal"))).returncode == 2
    assert objects() == before
    assert machine.plutino("plan", machine.write(GOOD)).returncode == 0
    assert machine.plutino("down").returncode == 0
    assert "ipsec1" not in objects()[0]


def test_wrong_usage(machine: Machine) -> None:
    for arguments in (("fly",), ("apply",), ("run", "a", "b"), ("keygen", "one")):
        assert machine.plutino(*arguments).returncode == 2
