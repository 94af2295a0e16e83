"""FRR and BIRD in a namespace of a test: nothing of /etc is touched, and they end with it."""

import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from plutino.lab.hosts import Host
from tests.support.until import until

FRR: Final = Path("/usr/lib/frr")
_FRR_DAEMONS: Final = ("bgpd", "ospfd", "ospf6d", "bfdd")
_FRR_HEAD: Final = """\
frr defaults traditional
log file {folder}/frr.log informational
"""


class RoutingDaemon(Protocol):
    """What a test asks of either."""

    def established(self) -> dict[str, bool]:
        """BGP sessions by the peer's address."""
        ...

    def bfd(self) -> dict[str, bool]:
        """BFD sessions by the peer's address, and whether they are up."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Frr:
    """zebra, bgpd, ospfd, ospf6d and bfdd, with sockets and files in a folder of their own."""

    def __init__(self, host: Host, configuration: str) -> None:
        self._host = host
        # FRR gives up root, and has to reach its sockets all the same.
        self._folder = Path(tempfile.mkdtemp(prefix="frr-"))
        file = self._folder / "frr.conf"
        file.write_text(configuration)
        head = self._folder / "head.conf"
        head.write_text(_FRR_HEAD.format(folder=self._folder))
        for path in (self._folder, head):
            shutil.chown(path, "frr", "frr")
        self._processes = [self._start("zebra", head)]
        # The others take what zebra knows of interfaces at their start for all there is.
        until(lambda: "ipsec1" in self.ask("show interface json"), "zebra knows the interfaces")
        self._processes += [self._start(name, head) for name in _FRR_DAEMONS]
        # By vtysh, which tells each daemon its part: one that reads the whole by itself leaves its
        # configuration at the first `exit` of a block that it does not know.
        sockets = [self._folder / f"{name}.vty" for name in _FRR_DAEMONS]
        until(lambda: all(one.exists() for one in sockets), "the daemons listen")
        with host.namespace.entered():
            done = subprocess.run(
                ["vtysh", "--vty_socket", self._folder, "-f", file],
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == 0, done.stdout + done.stderr

    def _start(self, name: str, file: Path) -> subprocess.Popen[bytes]:
        folder = self._folder
        command: Sequence[str | Path] = [
            FRR / name, "-f", file, "-i", folder / f"{name}.pid",
            "-z", folder / "zserv.api", "--vty_socket", folder, "-P", "0",
            *(("--bfdctl", folder / "bfdd.sock") if name == "bfdd" else ()),
        ]  # fmt: skip
        with self._host.namespace.entered(), (folder / f"{name}.out").open("wb") as out:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )

    def ask(self, command: str) -> Any:
        """What `show ... json` answers; nothing while the daemon is not there yet."""
        with self._host.namespace.entered():
            done = subprocess.run(
                ["vtysh", "--vty_socket", self._folder, "-c", command],
                capture_output=True,
                text=True,
                check=False,
            )
        with suppress(ValueError):
            return json.loads(done.stdout)
        return {}

    def established(self) -> dict[str, bool]:
        found: dict[str, bool] = {}
        for family in ("ipv4", "ipv6"):
            summary = self.ask(f"show bgp {family} unicast summary json")
            for address, peer in summary.get("peers", {}).items():
                found[address] = peer.get("state") == "Established"
        return found

    def bfd(self) -> dict[str, bool]:
        peers = self.ask("show bfd peers json") or []
        return {one["peer"]: one["status"] == "up" for one in peers}

    def signal(self, daemon: str, number: signal.Signals) -> None:
        """Send one of the daemons a signal."""
        self._processes[("zebra", *_FRR_DAEMONS).index(daemon)].send_signal(number)

    def close(self) -> None:
        for one in self._processes:
            one.send_signal(signal.SIGTERM)
        for one in self._processes:
            try:
                one.wait(5)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


class Bird:
    """bird, with its socket in a folder of its own."""

    def __init__(self, host: Host, configuration: str) -> None:
        self._host = host
        self._folder = host.folder / "bird"
        self._folder.mkdir(exist_ok=True)
        file = self._folder / "bird.conf"
        file.write_text(configuration)
        self._control = self._folder / "bird.ctl"
        with host.namespace.entered(), (self._folder / "out").open("wb") as out:
            self._process = subprocess.Popen(
                ["bird", "-f", "-c", file, "-s", self._control, "-P", self._folder / "pid"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def ask(self, command: str) -> str:
        """What birdc prints."""
        done = subprocess.run(
            ["birdc", "-s", self._control, *command.split()],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    def established(self) -> dict[str, bool]:
        found = {}
        name, up = "", False
        for line in self.ask("show protocols all").splitlines():
            words = line.split()
            if len(words) > 3 and words[1] == "BGP":
                name, up = words[0], "Established" in line
            if name and "Neighbor address:" in line:
                found[words[-1].partition("%")[0]] = up
                name = ""
        return found

    def bfd(self) -> dict[str, bool]:
        lines = (line.split() for line in self.ask("show bfd sessions").splitlines())
        return {one[0]: one[2] == "Up" for one in lines if len(one) > 4 and one[1][:2] == "ip"}

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def why_no_routing_daemons() -> str | None:
    """What is not installed; None if all is."""
    if not (FRR / "zebra").exists() or shutil.which("vtysh") is None:
        return "frr is not installed: run setup/setup.sh test"
    if shutil.which("bird") is None:
        return "bird2 is not installed: run setup/setup.sh test"
    return None
