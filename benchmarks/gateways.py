"""Many tunnels on one gateway: the start, a restart and a reload of the whole, on real daemons.

Two gateways, each with its processes on a core of its own where there are two. One begins all
tunnels, the other answers; each tunnel has an IKE SA of its own between addresses of its own, or
with ``--shared`` so many tunnels have one. Interfaces are the engine's, or with ``--external`` one
for all.
"""

import argparse
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from socket import AF_PACKET, SO_RCVBUF, SOCK_RAW, SOL_SOCKET, htons, socket
from typing import Final, TypeVar

from benchmarks.charons import measure_charons
from benchmarks.usage import Usage, usage_of
from plutino.control.client import ask_daemon
from plutino.dataplane.engine_client import EngineClient
from plutino.lab.hosts import WIRE, Host, connect
from plutino.model.errors import PlaneError
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.netlink.xfrm_client import XfrmClient

_OUTER: Final = {"west": IPv4Address("10.9.0.1"), "east": IPv4Address("10.8.0.1")}
"""The first of each gateway's outer addresses; those of a network all lead to it."""
_WIRE: Final = {"west": "192.0.2.1/24", "east": "192.0.2.2/24"}
_KEY: Final = "a key that both ends of this benchmark know\n"
_PATIENCE: Final = 3600.0
_PAUSE: Final = 0.05
_IKE_HEADER: Final = 28
_READY: Final = "ready: tunnels "
_ENDS: Final = ("the IKE SA has ended", "does not answer")

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Form:
    """What is measured."""

    tunnels: int
    shared: int = 1
    external: bool = False
    plane: str = "auto"


@dataclass(slots=True)
class Figures:
    """What came of it, in seconds and octets; by host and process."""

    form: Form
    ready: float = 0.0
    established: float = 0.0
    installed: float = 0.0
    repeated: int = 0
    ended: int = 0
    stall: dict[str, float] = field(default_factory=dict)
    before: dict[str, dict[str, Usage]] = field(default_factory=dict)
    after: dict[str, dict[str, Usage]] = field(default_factory=dict)
    status: float = 0.0
    restart: float = 0.0
    begun_anew: int = 0
    reload: float = 0.0
    touched: int = 0

    @property
    def ike_sas(self) -> int:
        """How many there are."""
        return -(-self.form.tunnels // self.form.shared)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The size of the run."""
    parser.add_argument("--tunnels", type=int, default=1000, help="tunnels (default: 1000)")
    parser.add_argument("--shared", type=int, default=1, help="tunnels of one IKE SA (default: 1)")
    parser.add_argument("--external", action="store_true", help="one interface for all of them")
    parser.add_argument("--plane", default="auto", help="`kernel` or `userspace`")
    parser.add_argument("--alone", action="store_true", help="without strongSwan beside it")


def run(options: argparse.Namespace) -> int:
    """Print all figures; 1 if a handshake timed out or an IKE SA was made anew."""
    form = Form(options.tunnels, options.shared, options.external, options.plane)
    with tempfile.TemporaryDirectory() as folder, two_gateways(Path(folder), form) as hosts:
        figures = measure(hosts, form, say=print)
    print("\n".join(describe(figures)))
    if not options.alone:
        _compare(figures)
    return int(figures.ended > 0 or figures.begun_anew > 0)


def _compare(figures: Figures) -> None:
    """With two charons, in the same run and on the same cores."""
    with tempfile.TemporaryDirectory() as folder, two_hosts(Path(folder)) as (west, east):
        places = west.namespace, east.namespace
        charons = measure_charons(places, figures.ike_sas, _KEY.strip())
    if charons is None:
        print("strongSwan's packages are not there: setup/setup.sh test brings them")
        return
    for name, seconds, octets in zip(_OUTER, charons.seconds, charons.octets, strict=True):
        print(f"charon {name}: {octets / 1024:.1f} KiB and {seconds * 1000:.2f} ms per IKE SA")
    ours = figures.ike_sas / figures.established
    print(f"charons: {charons.rate:.0f} per second; ratio {ours / charons.rate:.2f} (aim: 0.5)")


def measure(hosts: tuple[Host, Host], form: Form, *, say: Callable[[str], None]) -> Figures:
    """Everything, one after another. Raises PlaneError where it does not come up in an hour."""
    figures = Figures(form)
    west, east = hosts
    with _Wire(east) as wire:
        began = time.monotonic()
        for host in (east, west):
            host.start_daemon()
            _until_said(host, _READY, 1)
            figures.ready = time.monotonic() - began
            began = time.monotonic()
        figures.before = {host.name: _usage(host) for host in hosts}
        say(f"each is ready after {figures.ready:.1f} s")
        with _Pulse(east) as pulse_east, _Pulse(west) as pulse_west:
            for host in hosts:
                _until_said(host, "the IKE SA is up", figures.ike_sas)
            figures.established = time.monotonic() - began
            figures.after = {host.name: _usage(host) for host in hosts}
            for host in hosts:
                _until_up(host, form)
            figures.installed = time.monotonic() - began
        figures.stall = {"east": pulse_east.longest, "west": pulse_west.longest}
        figures.repeated = wire.repeated
    say(f"all are up {figures.established:.1f} s later, {figures.repeated} datagrams repeated")
    figures.ended = sum(_said(host, one) for host in hosts for one in _ENDS)
    figures.status, _ = _timed(lambda: east.plutino("status"))
    say(f"`plutino status` took {figures.status:.1f} s")
    figures.restart = _restart(east)
    figures.begun_anew = sum(_said(host, "the IKE SA is up") for host in hosts)
    figures.begun_anew -= 2 * figures.ike_sas
    say(f"another daemon had them after {figures.restart:.1f} s")
    figures.reload, figures.touched = _reload(east, form)
    say(f"a reload that changes one took {figures.reload:.1f} s")
    return figures


def describe(figures: Figures) -> Iterator[str]:
    """For people."""
    count, ike_sas = figures.form.tunnels, figures.ike_sas
    yield f"{count} tunnels, {ike_sas} IKE SAs, {ike_sas / figures.established:.0f} per second"
    yield f"interfaces, routes, policies  {figures.ready:8.1f} s"
    yield f"until all are established     {figures.established:8.1f} s"
    yield f"until all SAs are installed   {figures.installed:8.1f} s"
    yield f"datagrams repeated            {figures.repeated:8d}"
    yield f"handshakes that failed        {figures.ended:8d}"
    for name, seconds in figures.stall.items():
        yield f"longest silence of {name}'s daemon {seconds:5.2f} s"
    yield f"`plutino status`              {figures.status:8.1f} s"
    yield f"restart of the daemon         {figures.restart:8.1f} s"
    yield f"IKE SAs begun anew by it      {figures.begun_anew:8d}"
    yield f"reload that changes one       {figures.reload:8.1f} s, {figures.touched} steps"
    for host, processes in figures.after.items():
        for process, now in processes.items():
            before = figures.before[host][process]
            each = (now.octets - before.octets) / ike_sas / 1024
            cpu = (now.seconds - before.seconds) / ike_sas * 1000
            yield (
                f"{host} {process:<7} {now.octets >> 20:5d} MiB, {each:6.1f} KiB and "
                f"{cpu:6.2f} ms of CPU per IKE SA, {before.seconds:6.1f} s before"
            )


# --- the two gateways


@contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """The one that begins, and the one that answers, with a wire; nothing runs there."""
    hosts: list[Host] = []
    cores = sorted(os.sched_getaffinity(0))
    try:
        for place, name in enumerate(("west", "east")):
            home = folder / name
            home.mkdir(parents=True)
            core = str(cores[place % len(cores)])
            hosts.append(Host(name, home, launcher=("taskset", "--cpu-list", core)))
        west, east = hosts
        connect(west, east, {name: (address,) for name, address in _WIRE.items()})
        yield west, east
    finally:
        for host in hosts:
            host.close()


@contextmanager
def two_gateways(folder: Path, form: Form) -> Iterator[tuple[Host, Host]]:
    """Two hosts with gateway files; their daemons do not run yet."""
    with two_hosts(folder) as (west, east):
        for here, there in ((west, east), (east, west)):
            psk = here.folder / "all.psk"
            psk.touch(mode=0o600)
            psk.write_text(_KEY)
            here.file.write_text(gateway_text(here.name, form))
            _ip(here, "route", "add", "local", _network(here), "dev", "lo")
            via = _WIRE[there.name].partition("/")[0]
            _ip(here, "route", "add", _network(there), "via", via)
        yield west, east


def gateway_text(name: str, form: Form) -> str:
    """A gateway file."""
    tables = [f'data-plane = "{form.plane}"\n']
    if form.external:
        tables.append("[interfaces.ipsec]\nexternal = true\n")
    tables += [_tunnel(name, form, number) for number in range(form.tunnels)]
    return "\n".join(tables)


def _tunnel(name: str, form: Form, number: int) -> str:
    is_west = name == "west"
    first = number - number % form.shared
    west, east = _OUTER["west"] + first, _OUTER["east"]
    local, remote = (west, east) if is_west else (east, west)
    inside = IPv4Address("172.16.0.0") + number, IPv4Address("172.20.0.0") + number
    ours, theirs = inside if is_west else inside[::-1]
    names = f"w{first}.example", "east.example"
    own, other = names if is_west else names[::-1]
    lines = [
        f"[tunnels.t{number}]",
        f'interface = "{"ipsec" if form.external else f"ipsec{number + 1}"}"',
        f'local = "{local}"',
        f'remote = "{remote}"',
        f'local-ts = ["{ours}/32"]',
        f'remote-ts = ["{theirs}/32"]',
        f'routes = ["{theirs}/32"]',
    ]
    if form.external:
        lines.append(f"if-id = {number + 1}")
    lines.append(f"[tunnels.t{number}.ike]")
    lines.append(f'start = "{"now" if is_west else "listen"}"')
    if number != first:
        return "\n".join((*lines, f'ike-sa-of = "t{first}"', ""))
    lines += [
        'psk-file = "all.psk"',
        f'local-id = "{own}"',
        f'remote-id = "{other}"',
        'proposals = ["aes128gcm16-prfsha256-x25519"]',
        "",
    ]
    return "\n".join(lines)


def _network(host: Host) -> str:
    return f"{_OUTER[host.name] - 1}/16"


def _ip(host: Host, *words: str) -> None:
    with host.namespace.entered():
        subprocess.run(["ip", *words], check=True)


# --- what is looked at


def _usage(host: Host) -> dict[str, Usage]:
    """Of the daemon, the IKE process and, where there is one, the engine."""
    found = {}
    here = host.folder.as_posix().encode()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes()
            environment = (place / "environ").read_bytes()
        except OSError:
            continue
        if here not in environment:
            continue
        kinds = {b"plutino.ike_process": "ike", b"plutino-engine": "engine", b"\0run\0": "daemon"}
        for mark, kind in kinds.items():
            if mark in words:
                found[kind] = usage_of(int(place.name))
    return found


class _Pulse:
    """Asks a daemon all the time; ``longest`` is how long it did not answer."""

    def __init__(self, host: Host) -> None:
        self.longest = 0.0
        self._host = host
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> "_Pulse":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.wait(_PAUSE):
            seconds, _ = _timed(lambda: ask_daemon(self._host.control_socket, "ping"))
            self.longest = max(self.longest, seconds)


class _Wire:
    """Counts the IKE datagrams that come more than once."""

    def __init__(self, host: Host) -> None:
        self.repeated = 0
        self._seen: set[int] = set()
        with host.namespace.entered():
            self._socket = socket(AF_PACKET, SOCK_RAW, htons(0x0800))
        self._socket.setsockopt(SOL_SOCKET, SO_RCVBUF, 64 << 20)
        self._socket.settimeout(0.1)
        self._socket.bind((WIRE, 0x0800))
        self._is_over = False
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "_Wire":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while not self._is_over:
            try:
                frame = self._socket.recv(65535)
            except TimeoutError:
                continue
            if frame[23] == 17 and len(frame) >= 42 + _IKE_HEADER:
                key = hash(frame[42:])
                self.repeated += key in self._seen
                self._seen.add(key)


def _restart(host: Host) -> float:
    """Seconds until another daemon has all of them, after the one before was killed."""
    assert host.daemon is not None
    host.daemon.kill()
    host.daemon.wait()
    known = _said(host, _READY)
    began = time.monotonic()
    host.start_daemon()
    _until_said(host, _READY, known + 1)
    return time.monotonic() - began


def _reload(host: Host, form: Form) -> tuple[float, int]:
    """Seconds, and how many steps there were, when one tunnel loses its route."""
    text = host.file.read_text()
    last = IPv4Address("172.16.0.0") + form.tunnels - 1
    host.file.write_text(text.replace(f'routes = ["{last}/32"]', "routes = []"))
    seconds, answer = _timed(lambda: ask_daemon(host.control_socket, "reload"))
    return seconds, len(answer["steps"])


def _timed(work: Callable[[], _Value]) -> tuple[float, _Value]:
    began = time.monotonic()
    value = work()
    return time.monotonic() - began, value


def _said(host: Host, words: str) -> int:
    return host.log.read_text().count(words)


def _until_said(host: Host, words: str, times: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while _said(host, words) < times:
        is_over = host.daemon is None or host.daemon.poll() is not None
        if is_over or time.monotonic() > deadline:
            raise PlaneError(f"{host.name} does not come up: {host.last_words()}")
        time.sleep(_PAUSE)


def _until_up(host: Host, form: Form) -> None:
    """Until its data plane has both SAs of each tunnel; `status` would keep the daemon busy."""
    deadline = time.monotonic() + _PATIENCE
    while _sas(host) < 2 * form.tunnels:
        if time.monotonic() > deadline:
            raise PlaneError(f"{host.name} has not all tunnels: {host.last_words()}")
        time.sleep(_PAUSE)


def _sas(host: Host) -> int:
    if host.engine_socket.exists():
        client = EngineClient(host.engine_socket)
        with closing(client):
            return XfrmClient(client.socket).sad_info().count
    with host.namespace.entered(), NetlinkSocket.kernel(NETLINK_XFRM) as kernel:
        return XfrmClient(kernel).sad_info().count
