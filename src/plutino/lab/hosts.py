"""Hosts of a lab: a network namespace, a folder, and plutino as its user would run it."""

import array
import fcntl
import os
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from ipaddress import ip_interface
from pathlib import Path
from typing import Final

from plutino.control.client import ask_daemon
from plutino.control.report import State, StatusReport, parse_report
from plutino.dataplane.runtime import RUNTIME_VARIABLE, STATE_VARIABLE
from plutino.lab.namespaces import NetworkNamespace
from plutino.model.errors import PlaneError
from plutino.model.link import Address
from plutino.netlink.route_client import RouteClient

WIRE: Final = "wire"
"""The underlay interface of each host."""
_SIOCETHTOOL: Final = 0x8946
_ETHTOOL_SSG: Final = 0x19
"""``linux/ethtool.h``: scatter and gather, on or off."""
_UP_TIMEOUT: Final = 120.0
_COMMAND_TIMEOUT: Final = 120.0
_PAUSE: Final = 0.02


def plutino_program() -> Path:
    """The command beside this Python. Raises PlaneError if set-up did not put it there."""
    program = Path(sys.executable).with_name("plutino")
    if not program.exists():
        raise PlaneError(f"{program} is not there", hint="run setup/setup.sh")
    return program


@dataclass(slots=True)
class Host:
    """One gateway. ``folder`` holds its files, its runtime and its state.

    ``run_options`` are for `plutino run`, and ``launcher`` is a command that is given all of it.
    """

    name: str
    folder: Path
    namespace: NetworkNamespace = field(default_factory=NetworkNamespace.create)
    daemon: subprocess.Popen[bytes] | None = None
    run_options: tuple[str, ...] = ()
    launcher: tuple[str | Path, ...] = ()

    @property
    def file(self) -> Path:
        """Its gateway file."""
        return self.folder / "gateway.toml"

    @property
    def log(self) -> Path:
        """What its daemon says."""
        return self.folder / "daemon.log"

    @property
    def engine_socket(self) -> Path:
        """Where its engine listens."""
        return self.folder / "run" / "default" / "engine.sock"

    @property
    def control_socket(self) -> Path:
        """Where its daemon listens."""
        return self.folder / "run" / "default" / "control.sock"

    def environment(self) -> dict[str, str]:
        """The environment of its processes."""
        return os.environ | {
            RUNTIME_VARIABLE: str(self.folder / "run"),
            STATE_VARIABLE: str(self.folder / "state"),
        }

    def plutino(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command of plutino here, to its end."""
        with self.namespace.entered():
            return subprocess.run(
                [plutino_program(), *arguments],
                env=self.environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_COMMAND_TIMEOUT,
            )

    def start_daemon(self) -> None:
        """Start `plutino run` here, in a session of its own."""
        with self.namespace.entered(), self.log.open("ab") as log:
            self.daemon = subprocess.Popen(
                [*self.launcher, plutino_program(), "run", self.file, *self.run_options],
                env=self.environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_up(self, *, timeout: float = _UP_TIMEOUT) -> None:
        """Until its status is up with a daemon. Raises PlaneError with the daemon's words."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.daemon is not None and self.daemon.poll() is not None:
                break
            asked = time.monotonic()
            report = self.status()
            if report is not None and report.state is State.UP and report.daemon_pid is not None:
                return
            time.sleep(max(_PAUSE, 2 * (time.monotonic() - asked)))  # it has better things to do
        raise PlaneError(f"{self.name} does not come up: {self.last_words()}")

    def status(self) -> StatusReport | None:
        """What its daemon tells; None if no daemon listens."""
        document = ask_daemon(self.control_socket, "status")
        return None if document is None else parse_report(document)

    def last_words(self) -> str:
        """The end of its daemon's log."""
        try:
            return self.log.read_text(errors="replace").strip()[-2000:] or "it says nothing"
        except OSError:
            return "it was not started"

    def close(self) -> None:
        """End its daemon and take its tunnels away."""
        self.plutino("down")
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()
        self.namespace.close()


def connect(
    one: Host, other: Host, addresses: dict[str, tuple[str, ...]], *, linear: bool = False
) -> None:
    """A wire between two hosts with the underlay addresses of each, by host name.

    Every packet passes by itself, as on a real wire, and not as one large segment. ``linear``
    packets lie in one piece of memory, where a tap's copy of a frame shares no page with it:
    the kernel decrypts ESP in UDP in place (``skb_unclone()`` in ``xfrm6_udp_encap_rcv()``), and
    the tap would show what never was on the wire.
    """
    with one.namespace.entered(), RouteClient() as routes:
        routes.create_veth(WIRE, WIRE, peer_namespace=other.namespace.fileno())
    for host in (one, other):
        with host.namespace.entered(), RouteClient() as routes:
            routes.set_link("lo", up=True)
            routes.set_link(WIRE, up=True, gso_max_segs=1)
            if linear:
                forbid_scatter(WIRE)
            for address in addresses[host.name]:
                routes.add_address(Address(WIRE, ip_interface(address)))


def forbid_scatter(interface: str) -> None:
    """As ``ethtool -K IFNAME sg off``, in the current namespace."""
    value = array.array("I", [_ETHTOOL_SSG, 0])
    request = struct.pack("16sQ16x", interface.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
