"""Traffic at full rate for an hour, with rekeys, devices that come and go, and a bad wire.

```
send ─ TUN ─ engine "one" ─ wire (tapped) [─ forward, which loses and reorders ─] engine "two" ─ TUN ─ receive
```
Packets are numbered inside; traffic runs at compiled speed (``soak_traffic.c``).
"""  # noqa: E501

import argparse
import itertools
import json
import mmap
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any, Final

from benchmarks.iperf import measure
from plutino.dataplane.engine_client import EngineClient
from plutino.dataplane.engine_process import engine_path
from plutino.dataplane.tun import open_tun
from plutino.dataplane.underlay import SocketKind, open_socket
from plutino.lab.hosts import WIRE, Host, connect
from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.traffic import MARKER
from plutino.lab.world import FOLDER, run_world
from plutino.model.errors import PlaneError, PlutinoError
from plutino.model.link import Address
from plutino.model.numbers import IfId
from plutino.model.policy import Direction
from plutino.model.sa import SaDirection
from plutino.netlink.route_client import RouteClient
from plutino.netlink.wire import NLM_F_CREATE, NLM_F_EXCL
from plutino.netlink.xfrm.attributes import ReplayEsn
from plutino.netlink.xfrm.constants import MessageType, Xfrma
from plutino.netlink.xfrm.convert import encode_address, family_of
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import ReplayEsnHeader, UserSaId
from plutino.netlink.xfrm.structures_policy import UserPolicyId, UserPolicyInfo
from plutino.netlink.xfrm_client import XfrmClient
from tests.support.engine_lab import DEVICE, IF_ID, MTU, ONE, OUTER, TWO, EngineCase, Flow, changed
from tests.support.esp_algorithms import BY_NAME

ALGORITHMS: Final = (
    "gcm128-16", "chacha20-poly1305", "cbc128-sha256", "gcm256-16", "ctr128-sha256", "ccm128-16",
)  # fmt: skip
"""Of the rekeys, in turn."""
WINDOW: Final = 4096
INNER: Final = {ONE: "10.8.0.1", TWO: "10.8.0.2"}
GUEST: Final = "guest1"
"""The device that comes and goes."""
GUEST_INNER: Final = {ONE: "10.9.0.1", TWO: "10.9.0.2"}
_GUEST_PACKETS: Final = 200
_ESP: Final = 50
_PORT: Final = "7007"
_PAYLOAD: Final = MTU - 28
_IN_FLIGHT: Final = {ONE: 256, TWO: 64}
"""Unconfirmed packets of each sender: both directions together fit the TUN's queue."""
_BAD_WIRE: Final = {"loss": 100, "reorder": 300, "duplicate": 50}
"""In ten thousandths of the packets."""
_GROWTH_KIB: Final = 4096
"""What the second half may add to an engine's memory."""
_QUIET: Final = 0.4
"""Seconds in which everything under way arrives."""
_EXPECTED_DROPS: Final = {
    "direct": frozenset[str](),
    "tcp": frozenset[str](),
    # Copies and what is older than the window; what was under way when its SA went. The device
    # counts the former too, and in _judge it must not count more.
    "bad wire": frozenset(
        {
            "XfrmInStateSeqError",
            "XfrmInNoStates",
            *(
                f"{device} {counter}"
                for device in (DEVICE, GUEST)
                for counter in ("rx_errors", "rx_dropped")
            ),
        }
    ),
}
_FIELDS: Final = (
    "stop", "sent", "received", "highest", "twice", "corrupt", "octets",
    "esp", "neighbour", "clear", "marked", "missed",
    "forwarded", "lost", "reordered", "duplicated", "hush",
)  # fmt: skip
"""Counters of ``struct page``, in its order."""


@dataclass(frozen=True, slots=True)
class SoakOptions:
    """How long each phase lasts and what happens in it; times in seconds."""

    phases: Mapping[str, float]
    rekey: float = 1.0
    grace: float = 0.5
    """How long an old inbound SA stays."""
    guest: float = 3.0
    """A device comes so often."""


@dataclass(slots=True)
class PhaseReport:
    """What one phase did, and what was wrong with it."""

    name: str
    seconds: float = 0.0
    sent: int = 0
    received: int = 0
    twice: int = 0
    corrupt: int = 0
    packets_per_second: int = 0
    gigabits_per_second: float = 0.0
    tcp_gigabits_per_second: float | None = None
    rekeys: int = 0
    guests: int = 0
    guests_by_hand: int = 0
    wire: dict[str, int] = field(default_factory=dict)
    drops: dict[str, dict[str, int]] = field(default_factory=dict)
    memory_kib: dict[str, list[int]] = field(default_factory=dict)
    """VmRSS of each engine: after warm-up, in the middle, at the end."""
    violations: list[str] = field(default_factory=list)


class Traffic:
    """One process of ``soak_traffic.c`` in a namespace, and its counters."""

    def __init__(
        self, program: Path, namespace: NetworkNamespace, page: Path, role: str, *words: str
    ) -> None:
        self.role = role
        if not page.exists():
            page.write_bytes(bytes(mmap.PAGESIZE))
        with page.open("r+b") as opened:
            self._page = mmap.mmap(opened.fileno(), 0)
        with namespace.entered():
            self.process = subprocess.Popen([program, role, page, *words])

    def counters(self) -> dict[str, int]:
        """All of them, by name."""
        return dict(zip(_FIELDS, struct.unpack_from(f"={len(_FIELDS)}Q", self._page), strict=True))

    def hush(self) -> None:
        """Let a sender send no more, while its receiver goes on."""
        self._say("hush")

    def _say(self, word: str) -> None:
        struct.pack_into("=Q", self._page, 8 * _FIELDS.index(word), 1)

    def stop(self) -> None:
        """Let it end, which takes it a tenth of a second."""
        self._say("stop")
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def build_traffic(folder: Path) -> Path:
    """Compile ``soak_traffic.c``. Raises PlaneError without a compiler."""
    program = folder / "soak_traffic"
    source = Path(__file__).with_name("soak_traffic.c")
    command = ["cc", "-O2", "-o", str(program), str(source)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise PlaneError(f"{source.name} cannot be compiled: {error}") from error
    return program


class End:
    """A host with an engine and its device."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.name = host.name
        host.folder.mkdir(parents=True, exist_ok=True)
        path = host.folder / "engine.sock"
        with host.namespace.entered():
            self.process = subprocess.Popen([engine_path(), "--socket", path])
        self.client = _connected(path, self.process)
        self.xfrm = XfrmClient(self.client.socket)

    def open(self) -> None:
        """Once the wire is there: device and underlay sockets."""
        with self.host.namespace.entered():
            for kind in (SocketKind.RAW_V4, SocketKind.RAW_V6):
                with open_socket(kind) as one:
                    self.client.new_socket(kind, one.fileno())
        self.new_device(DEVICE, IF_ID, INNER[self.name])

    def new_device(self, name: str, if_id: IfId, address: str) -> None:
        """A device that is up, with an address, served by the engine."""
        with self.host.namespace.entered(), RouteClient() as routes:
            descriptor = open_tun(name)
            try:
                routes.set_link(name, mtu=MTU, no_link_local=True)
                Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
                link = routes.find_link(name)
                if link is None:
                    raise PlaneError(f"{name} vanished")
                self.client.new_device(name, if_id, link.index, MTU, [descriptor])
            finally:
                os.close(descriptor)
            routes.set_link(name, up=True)
            routes.add_address(Address(name, ip_interface(f"{address}/24")))

    def delete_device(self, name: str, *, by_hand: bool) -> None:
        """By message and then the link, or the link alone, which the engine must notice."""
        if not by_hand:
            self.client.delete_devices([name])
        with self.host.namespace.entered():
            subprocess.run(["ip", "link", "del", name], check=True)
        if by_hand:
            deadline = time.monotonic() + 2
            while any(one.name == name and one.attached for one in self.client.list_devices()):
                if time.monotonic() > deadline:
                    raise PlaneError(f"{self.name} still serves {name}, which is deleted")
                time.sleep(0.005)
            self.client.delete_devices([name])

    def send(self, message: XfrmMessage) -> None:
        """One XFRM request; KernelError on refusal."""
        new = message.kind in (MessageType.NEWSA, MessageType.NEWPOLICY)
        flags = NLM_F_CREATE | NLM_F_EXCL if new else 0
        self.client.socket.request(message.kind.name, message.kind, message.encode(), flags=flags)

    def drops(self) -> dict[str, int]:
        """Counters of drops and of errors that are not zero."""
        found = {name: count for name, count in self.client.stat().items() if count}
        for device in self.client.list_devices():
            for name, count in device.stats.items():
                if count and name not in ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes"):
                    found[f"{device.name} {name}"] = count
        with self.host.namespace.entered(), RouteClient() as routes:
            for link in (DEVICE, WIRE):
                for name, count in routes.link_stats(link).items():
                    if count and name.endswith(("dropped", "errors")):
                        found[f"kernel's {link} {name}"] = count
        for kind, count in self.client.list_sockets().items():
            if count:
                found[f"socket {SocketKind(kind).name.lower()}"] = count
        return found

    def memory(self) -> int:
        """VmRSS of the engine in KiB."""
        fields = dict(
            line.split(":", 1)
            for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        )
        if fields["Name"].strip() != "plutino-engine":
            raise PlaneError("/proc does not show this world's processes")
        return int(fields["VmRSS"].split()[0])

    def close(self) -> None:
        """End the engine; the namespace takes the rest with it."""
        self.client.close()
        self.process.kill()
        self.process.wait()
        self.host.namespace.close()


def _connected(path: Path, process: subprocess.Popen[bytes]) -> EngineClient:
    for _ in range(1000):
        try:
            return EngineClient(path)
        except PlaneError:
            if process.poll() is not None:
                break
            time.sleep(0.005)
    process.kill()
    raise PlaneError("the engine does not come up")


class Tunnel:
    """The SAs and policies of one if_id on both ends, rekeyed make-before-break."""

    def __init__(self, ends: Mapping[str, End], if_id: IfId, spis: Iterator[int]) -> None:
        self._ends = ends
        self._if_id = if_id
        self._spis = spis
        self._algorithms = itertools.cycle(ALGORITHMS)
        self._current: dict[str, Flow] = {}
        self._leaving: list[tuple[float, Flow]] = []
        self._policies: list[tuple[End, XfrmMessage]] = []

    def install(self) -> None:
        """Both directions on both ends."""
        for sender in self._ends:
            flow = self._new_flow(sender)
            for end in self._ends.values():
                direction = Direction.OUT if end.name == sender else Direction.IN
                for message in flow.policies(direction):
                    self._policies.append((end, message))
                    end.send(changed(message, IF_ID=int(self._if_id)))

    def rekey(self, grace: float) -> None:
        """New inbound, new outbound, the old outbound goes; the old inbound after ``grace``."""
        for sender in self._ends:
            old = self._current[sender]
            self._new_flow(sender)
            self._delete(self._ends[sender], old)
            self._leaving.append((time.monotonic() + grace, old))

    def tidy(self) -> None:
        """Delete the old inbound SAs whose time has come."""
        while self._leaving and self._leaving[0][0] <= time.monotonic():
            _, flow = self._leaving.pop(0)
            self._delete(self._ends[flow.receiver], flow)

    @property
    def leaving(self) -> int:
        """Old inbound SAs."""
        return len(self._leaving)

    def remove(self) -> None:
        """Everything that was made."""
        for end, message in self._policies:
            fixed = message.fixed
            assert isinstance(fixed, UserPolicyInfo)
            name = UserPolicyId(sel=fixed.sel, dir=fixed.dir)
            attributes = [(Xfrma.IF_ID, int(self._if_id))]
            end.send(XfrmMessage.build(MessageType.DELPOLICY, name, attributes))
        for flow in self._current.values():
            for end in self._ends.values():
                self._delete(end, flow)

    def _new_flow(self, sender: str) -> Flow:
        case = EngineCase(BY_NAME[next(self._algorithms)], inner=(4,), esn=True)
        flow = Flow(case, sender, next(self._spis), case.algorithm.new_keys())
        for name, direction in ((flow.receiver, SaDirection.IN), (sender, SaDirection.OUT)):
            message = changed(flow.sa(direction), IF_ID=int(self._if_id))
            if direction is SaDirection.IN:
                header = ReplayEsnHeader(bmp_len=WINDOW // 32, replay_window=WINDOW)
                message = changed(message, REPLAY_ESN_VAL=ReplayEsn(header, ()))
            self._ends[name].send(message)
        self._current[sender] = flow
        return flow

    @staticmethod
    def _delete(end: End, flow: Flow) -> None:
        destination = ip_address(OUTER[flow.case.outer][flow.receiver])
        name = UserSaId(encode_address(destination), flow.spi, family_of(destination), _ESP)
        end.send(XfrmMessage.build(MessageType.DELSA, name))


class Phase:
    """One phase: two new engines, their traffic, and what is done to them."""

    def __init__(self, name: str, options: SoakOptions, folder: Path, program: Path) -> None:
        self._options = options
        self._seconds = options.phases[name]
        self._folder = folder
        self._program = program
        self._bad = name == "bad wire"
        self._spis = itertools.count(0x1000)
        self._guest_ids = itertools.count(2)
        self.report = PhaseReport(name)

    def run(self) -> PhaseReport:
        """From an empty lab to an empty lab."""
        with ExitStack() as stack:
            ends = self._open(stack)
            tunnel = Tunnel(ends, IF_ID, self._spis)
            tunnel.install()
            tap = self._start(stack, ends[ONE].host.namespace, "tap", "tap", WIRE)
            receivers, senders = self._start_streams(stack, ends)
            memory: dict[str, list[int]] = {name: [] for name in ends}
            started = time.monotonic()
            try:
                self._live(ends, tunnel, receivers, memory)
            except (PlutinoError, OSError, subprocess.CalledProcessError) as error:
                self._violate(f"{type(error).__name__}: {error}")
            elapsed = time.monotonic() - started
            for sender in senders:
                sender.hush()
            time.sleep(_QUIET)
            self.report.seconds = round(elapsed, 1)
            self._judge(ends, tunnel, receivers, senders, tap)
            self._judge_memory(memory)
        return self.report

    # --- the lab

    def _open(self, stack: ExitStack) -> dict[str, End]:
        hosts = Host(ONE, self._folder / ONE), Host(TWO, self._folder / TWO)
        addresses: dict[str, tuple[str, ...]] = {
            name: (f"{OUTER[4][name]}/24",) for name in (ONE, TWO)
        }
        if self._bad:
            middle = stack.enter_context(NetworkNamespace.create())
            for host in hosts:
                with host.namespace.entered(), RouteClient() as routes:
                    routes.create_veth(WIRE, host.name, peer_namespace=middle.fileno())
                    routes.set_link("lo", up=True)
                    routes.set_link(WIRE, up=True, gso_max_segs=1)
                    for address in addresses[host.name]:
                        routes.add_address(Address(WIRE, ip_interface(address)))
                with middle.entered(), RouteClient() as routes:
                    Path(f"/proc/sys/net/ipv6/conf/{host.name}/disable_ipv6").write_text("1")
                    routes.set_link(host.name, up=True)
        else:
            connect(*hosts, addresses)
        ends = {}
        for host in hosts:
            ends[host.name] = End(host)
            stack.callback(ends[host.name].close)
            ends[host.name].open()
        if self._bad:
            shares = map(str, _BAD_WIRE.values())
            self._forwarder = self._start(stack, middle, "forward", "forward", ONE, TWO, *shares)
        return ends

    def _start(
        self, stack: ExitStack, namespace: NetworkNamespace, page: str, role: str, *words: str
    ) -> Traffic:
        traffic = Traffic(self._program, namespace, self._folder / page, role, *words)
        stack.callback(traffic.stop)
        return traffic

    def _start_streams(
        self, stack: ExitStack, ends: Mapping[str, End]
    ) -> tuple[list[Traffic], list[Traffic]]:
        # The page is one for both ends of a stream, so its word to stop ends both.
        receivers, senders = [], []
        for sender, receiver in ((ONE, TWO), (TWO, ONE)):
            page, place = f"from-{sender}", (INNER[receiver], _PORT)
            namespace = ends[receiver].host.namespace
            receivers.append(self._start(stack, namespace, page, "receive", *place))
        time.sleep(0.1)
        patience = "1000" if self.report.name == "direct" else "20"
        for sender, receiver in ((ONE, TWO), (TWO, ONE)):
            page, place = f"from-{sender}", (INNER[receiver], _PORT)
            words = (*place, str(_PAYLOAD), str(_IN_FLIGHT[sender]), patience)
            namespace = ends[sender].host.namespace
            senders.append(self._start(stack, namespace, page, "send", *words))
        return receivers, senders

    # --- what is done to it

    def _live(
        self,
        ends: Mapping[str, End],
        tunnel: Tunnel,
        receivers: list[Traffic],
        memory: dict[str, list[int]],
    ) -> None:
        options = self._options
        tcp = self._start_tcp(ends) if self.report.name == "tcp" else None
        started = time.monotonic()
        next_rekey = started + options.rekey
        next_guest = started + options.guest / 2
        next_look = started
        guests = iter(self._guests(ends))
        while (now := time.monotonic()) < started + self._seconds:
            if now >= next_rekey:
                tunnel.rekey(options.grace)
                self.report.rekeys += 1
                next_rekey += options.rekey
            tunnel.tidy()
            if now >= next_guest:
                next(guests)
                next_guest = time.monotonic() + options.guest / 4
            if now >= next_look:
                next_look = now + max(0.05, min(1.0, self._seconds / 100))
                for end in ends.values():
                    memory[end.name].append(end.memory())
                    if end.process.poll() is not None:
                        raise PlaneError(f"engine {end.name} has ended")
                for receiver in receivers:
                    self._check_stream(receiver)
            time.sleep(0.002)
        # The last guest goes with the lab, unless it is gone already.
        while tunnel.leaving:
            tunnel.tidy()
            time.sleep(0.01)
        if tcp is not None:
            tcp()

    def _check_stream(self, receiver: Traffic) -> None:
        counters = receiver.counters()
        if counters["twice"] or counters["corrupt"] or receiver.process.poll() is not None:
            raise PlaneError(f"a stream is broken: {counters}")

    def _start_tcp(self, ends: Mapping[str, End]) -> Callable[[], None]:
        def work() -> None:
            seconds = max(1, int(self._seconds - 1))
            hosts = ends[ONE].host, ends[TWO].host
            rate = measure(*hosts, INNER[TWO], seconds)
            self.report.tcp_gigabits_per_second = round(rate, 2)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread.join

    def _guests(self, ends: Mapping[str, End]) -> Iterator[None]:
        """A guest device in four steps for ever: it comes, is used, goes, and its SAs go."""
        for number in itertools.count():
            if_id = IfId(next(self._guest_ids))
            for end in ends.values():
                end.new_device(GUEST, if_id, GUEST_INNER[end.name])
            guest = Tunnel(ends, if_id, self._spis)
            guest.install()
            yield
            self._use_guest(ends)
            yield
            by_hand = number % 2 == 1
            for end in ends.values():
                end.delete_device(GUEST, by_hand=by_hand)
            self.report.guests += 1
            self.report.guests_by_hand += by_hand
            yield
            guest.remove()
            yield

    def _use_guest(self, ends: Mapping[str, End]) -> None:
        sockets = {}
        for end in ends.values():
            with end.host.namespace.entered():
                sockets[end.name] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sockets[end.name].bind((GUEST_INNER[end.name], int(_PORT) + 1))
        with sockets[ONE] as one, sockets[TWO] as two:
            two.settimeout(_QUIET)
            seen: Counter[int] = Counter()
            for number in range(_GUEST_PACKETS):
                place = (GUEST_INNER[TWO], int(_PORT) + 1)
                one.sendto(number.to_bytes(8, "big") + MARKER, place)
            try:
                while len(seen) < _GUEST_PACKETS:
                    seen[int.from_bytes(two.recv(2048)[:8], "big")] += 1
            except TimeoutError:
                pass
        least = _GUEST_PACKETS // 2 if self.report.name != "direct" else _GUEST_PACKETS
        if len(seen) < least or any(count > 1 for count in seen.values()):
            raise PlaneError(f"a guest got {len(seen)} of {_GUEST_PACKETS} packets")

    # --- what must hold

    def _violate(self, what: str) -> None:
        self.report.violations.append(what)

    def _judge(
        self,
        ends: Mapping[str, End],
        tunnel: Tunnel,
        receivers: list[Traffic],
        senders: list[Traffic],
        tap: Traffic,
    ) -> None:
        report = self.report
        name = report.name
        for receiver in receivers:
            counters = receiver.counters()
            for key in ("sent", "received", "twice", "corrupt"):
                setattr(report, key, getattr(report, key) + counters[key])
            report.gigabits_per_second += counters["octets"] * 8 / report.seconds / 1e9
        report.packets_per_second = int(report.received / report.seconds)
        report.gigabits_per_second = round(report.gigabits_per_second, 3)
        if report.twice or report.corrupt:
            self._violate(f"{report.twice} packets came twice, {report.corrupt} changed")
        if not report.received:
            self._violate("no packet arrived")
        if name == "direct" and report.received != report.sent:
            self._violate(f"{report.sent - report.received} packets were lost on a good wire")
        report.wire = {key: tap.counters()[key] for key in _FIELDS[7:12]}
        if self._bad:
            report.wire |= {key: self._forwarder.counters()[key] for key in _FIELDS[12:16]}
        if report.wire["clear"] or report.wire["marked"]:
            self._violate("something was readable on the wire")
        for traffic in (*receivers, *senders, tap, *([self._forwarder] if self._bad else [])):
            if traffic.process.poll() not in (None, 0):
                self._violate(f"{traffic.role} has ended")
        for end in ends.values():
            if end.process.poll() is not None:
                self._violate(f"engine {end.name} has ended")
                continue
            report.drops[end.name] = end.drops()
            drops = report.drops[end.name]
            for counter in ("rx_errors", "rx_dropped"):
                if drops.get(f"{DEVICE} {counter}", 0) > drops.get("XfrmInStateSeqError", 0):
                    self._violate(f"{end.name}: {counter} beyond sequence errors: {drops}")
            engines = {counter for counter in drops if not counter.startswith("kernel's")}
            for counter in sorted(engines - _EXPECTED_DROPS[name]):
                self._violate(f"{end.name}: {counter} {report.drops[end.name][counter]}")

    def _judge_memory(self, memory: Mapping[str, list[int]]) -> None:
        for name, samples in memory.items():
            if len(samples) < 8:
                continue
            tenth = max(1, len(samples) // 10)
            half = len(samples) // 2
            warm, middle, end = (
                max(part)
                for part in (
                    samples[2 * tenth : 3 * tenth],
                    samples[half : half + tenth],
                    samples[-tenth:],
                )
            )
            self.report.memory_kib[name] = [warm, middle, end]
            if end - middle > _GROWTH_KIB:
                self._violate(f"engine {name} grew from {middle} to {end} KiB")


def soak(
    options: SoakOptions, folder: Path, tell: Callable[[str], None] = lambda _: None
) -> list[PhaseReport]:
    """Run the phases one after the other in a folder with a short path."""
    program = build_traffic(folder)
    reports = []
    for name in options.phases:
        tell(f"{name}: {options.phases[name]:.0f} s")
        report = Phase(name, options, folder / name.replace(" ", "-"), program).run()
        tell(f"{name}: {report.packets_per_second} packets/s, {len(report.violations)} violations")
        reports.append(report)
    return reports


def phases_of(seconds: float) -> dict[str, float]:
    """The share of each phase."""
    return {"direct": seconds * 0.45, "bad wire": seconds * 0.45, "tcp": seconds * 0.1}


def print_table(reports: list[dict[str, Any]]) -> None:
    """One line for each fact, one column for each phase."""
    rows = [key for key in reports[0] if key not in ("wire", "drops", "memory_kib", "violations")]
    for key in rows:
        print(f"{key:<26}" + "".join(f"{report[key]!s:>18}" for report in reports))
    for group in ("wire", "drops", "memory_kib"):
        for report in reports:
            print(f"{group}, {report['name']}: {report[group]}")
    for report in reports:
        for violation in report["violations"]:
            print(f"VIOLATION, {report['name']}: {violation}")


def main(arguments: list[str] | None = None) -> int:
    """Soak, print, and fail on any violation."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, help="of all phases together")
    parser.add_argument("--rekey", type=float, default=1.0, help="seconds between rekeys")
    options = parser.parse_args(arguments)
    soaking = SoakOptions(phases_of(options.seconds), options.rekey, options.rekey / 2)
    if shutil.which("iperf3") is None:
        print("soak: iperf3 is not there; run setup/setup.sh bench", file=sys.stderr)
        return 1

    def tell(words: str) -> None:
        print(f"soak: {words}", file=sys.stderr, flush=True)

    try:
        reports = run_world(lambda _tell: [asdict(one) for one in soak(soaking, FOLDER, tell)])
    except PlutinoError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    print_table(reports)
    print(json.dumps({"version": 1, "phases": reports}))
    return 1 if any(report["violations"] for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
