"""The two sides of the suite: the kernel's XFRM and the engine, each in a gateway of its own.

```
sockets ─ gateway: ipsec1, ipsec2 ─ wire ─ peer (packet sockets alone)
```
Both gateways have the same addresses, routes, neighbours and sockets, so that what differs is the
packet path. The peer has no addresses: it says nothing by itself. Where the interfaces are moved,
they are in a namespace of their own, with the sockets:
```
sockets ─ inside: ipsec1, ipsec2 ┄ gateway ─ wire ─ peer
```
"""

import array
import fcntl
import os
import socket
import struct
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Final

from plutino.dataplane.engine_client import EngineClient
from plutino.dataplane.tun import open_tun
from plutino.dataplane.underlay import SocketKind, open_socket
from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.wire import FrameKind, classify
from plutino.model.numbers import IfId
from plutino.netlink.route_client import RouteClient
from tests.guest_inside.conformance.observation import Observation, Packet
from tests.guest_inside.conformance.packets import PORT
from tests.guest_inside.conformance.scenario import (
    FLUSHSA,
    Ask,
    Inject,
    Run,
    Send,
    Set,
    Step,
    Until,
)
from tests.support.engine import engine_process
from tests.support.raw_plane import FLUSHPOLICY, SETDEFAULT, RawPlane

MTU: Final = 1400
WIRE_MTU: Final = 1500
DEVICES: Final = {"ipsec1": 1, "ipsec2": 2}
GATEWAY_MAC: Final = bytes.fromhex("020000000001")
_COMMANDS: Final = f"""
link set lo up
link set wire address {GATEWAY_MAC.hex(":")} addrgenmode none
link set wire up
addr add 192.0.2.1/24 dev wire
addr add 2001:db8::1/64 dev wire nodad
neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev wire nud permanent
neigh add 192.0.2.3 lladdr 02:00:00:00:00:03 dev wire nud permanent
neigh add 2001:db8::2 lladdr 02:00:00:00:00:02 dev wire nud permanent
neigh add 2001:db8::3 lladdr 02:00:00:00:00:03 dev wire nud permanent
"""
_INSIDE_COMMANDS: Final = f"""
link set lo up
link set ipsec1 mtu {MTU} addrgenmode none
link set ipsec1 up
link set ipsec2 mtu {MTU} addrgenmode none
link set ipsec2 up
addr add 10.1.0.1/32 dev ipsec1
addr add fd00:1::1/128 dev ipsec1 nodad
route add 10.2.0.0/16 dev ipsec1 src 10.1.0.1
route add 10.3.0.0/16 dev ipsec2 src 10.1.0.1
route add fd00:2::/48 dev ipsec1 src fd00:1::1
route add fd00:3::/48 dev ipsec2 src fd00:1::1
"""
_SETTINGS: Final = {
    "ipv4/icmp_ratelimit": "0",
    "ipv4/icmp_msgs_per_sec": "100000",
    "ipv4/icmp_msgs_burst": "100000",
    "ipv6/icmp/ratelimit": "0",
}
_ETHERTYPE: Final = {4: 0x0800, 6: 0x86DD}
_ICMPV6_ERRORS: Final = struct.pack("=8I", 0xFFFFFFE1, *(0xFFFFFFFF,) * 7)
"""ICMP6_FILTER that lets types 1 to 4 pass."""
_IP_PKTINFO: Final = 8
_IP_RECVTTL: Final = 12
_UDP_ENCAP: Final = 100
_SIOCETHTOOL: Final = 0x8946
_ETHTOOL_STXCSUM: Final = 0x17
_ACCEPT: Final = b"\2\2\2\0"


@dataclass(frozen=True, slots=True)
class Places:
    """Namespaces of a side; ``moved``: its interfaces are in another one than the gateway."""

    gateway: NetworkNamespace
    peer: NetworkNamespace
    moved: bool


class Side(ABC):
    """A gateway; ``plane`` takes its XFRM messages, ``inside`` is where its interfaces are."""

    def __init__(self, name: str, places: Places, resources: ExitStack) -> None:
        self.name = name
        self.gateway = places.gateway
        self._moved = places.moved
        self._in_use_inside = resources.enter_context(ExitStack())
        self.inside = (
            self._in_use_inside.enter_context(NetworkNamespace.create())
            if places.moved
            else places.gateway
        )
        self._undo: list[Callable[[], object]] = []
        self._seen: Counter[str] = Counter()
        self.plane: RawPlane
        with places.peer.entered():
            self._peer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self._peer.bind(("peer", 3))
        self._peer.setblocking(False)

    def move_devices(self) -> None:
        """To where they belong, with addresses and routes."""
        if self._moved:
            inside = f"/proc/{os.getpid()}/fd/{self.inside.fileno()}"
            for name in DEVICES:
                self._run(self.gateway, "ip", f"link set {name} netns {inside}")
        with self.inside.entered():
            _set_up(_INSIDE_COMMANDS)

    def leave_inside(self) -> None:
        """Let go of the namespace that the interfaces were moved to: nothing else holds it."""
        assert self._moved
        self._in_use_inside.close()

    def open(self, resources: ExitStack) -> None:
        """Sockets that send, receive and hear of errors, once the devices are up."""
        raw = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        datagram = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        with self.inside.entered():
            self._senders = {
                4: socket.socket(socket.AF_INET, raw, socket.IPPROTO_RAW),
                6: socket.socket(socket.AF_INET6, raw, socket.IPPROTO_RAW),
            }
            self._icmp = {
                4: socket.socket(socket.AF_INET, raw, socket.IPPROTO_ICMP),
                6: socket.socket(socket.AF_INET6, raw, socket.IPPROTO_ICMPV6),
            }
            self._receivers = {
                4: socket.socket(socket.AF_INET, datagram),
                6: socket.socket(socket.AF_INET6, datagram),
            }
        self._icmp[6].setsockopt(socket.IPPROTO_ICMPV6, 1, _ICMPV6_ERRORS)
        four, six = self._receivers.values()
        six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for option in (socket.IP_RECVTOS, _IP_RECVTTL, _IP_PKTINFO):
            four.setsockopt(socket.IPPROTO_IP, option, 1)
        for option in (socket.IPV6_RECVTCLASS, socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVPKTINFO):
            six.setsockopt(socket.IPPROTO_IPV6, option, 1)
        for receiver in (four, six):
            receiver.bind(("", PORT))
        for group in (self._senders, self._icmp, self._receivers):
            for one in group.values():
                self._in_use_inside.enter_context(one)
        resources.enter_context(self._peer)
        self._peer_index = self._peer.getsockname()[0]

    @abstractmethod
    def counters(self) -> Counter[str]:
        """All of ``/proc/net/xfrm_stat``."""

    def perform(self, step: Step, observed: Observation) -> None:
        """Carry a step out."""
        match step:
            case Ask(kind, payload, flags):
                observed.replies = self.plane.ask(kind, payload, flags=flags)
                if step.any_order:
                    observed.replies.sort(key=lambda reply: (-reply.kind, reply.payload))
            case Send(packet, mark):
                self._send(packet, mark)
            case Inject(packet):
                frame = GATEWAY_MAC + bytes.fromhex("020000000002")
                frame += struct.pack("!H", _ETHERTYPE[packet[0] >> 4]) + packet
                self._peer.send(frame)
            case Run(command, undo, program, inside):
                place = self.inside if inside else self.gateway
                self._run(place, program, command)
                if undo:
                    self._undo.append(partial(self._run, place, program, undo))
            case Set(name, value, inside):
                place = self.inside if inside else self.gateway
                before = self._set(place, name, value)
                self._undo.append(partial(self._set, place, name, before))
            case Until(inner):
                self.perform(inner, observed)

    def await_events(self, count: int, observed: Observation) -> None:
        """Wait until so many were seen."""
        observed.events += self.plane.await_events(count - len(observed.events))

    def collect(self, observed: Observation) -> None:
        """Add what was seen since the last time."""
        observed.events += self.plane.events()
        now = self.counters()
        observed.counters += now - self._seen
        self._seen = now
        with suppress(BlockingIOError):
            while True:
                frame, address = self._peer.recvfrom(1 << 16)
                if address[2] != socket.PACKET_OUTGOING and classify(frame) != FrameKind.NEIGHBOUR:
                    observed.wire.append(Packet(frame[14:], frame[5:6].hex()))
        for version, receiver in self._receivers.items():
            with suppress(BlockingIOError):
                while True:
                    observed.delivered.append(_datagram(version, *receiver.recvmsg(1 << 16, 512)))
        for one in self._icmp.values():
            with suppress(BlockingIOError):
                while True:
                    octets, address = one.recvfrom(1 << 16)
                    observed.icmp.append((address[0], _icmp_words(octets)))

    def reset(self) -> None:
        """No SA, no policy, default accept, and nothing left to be seen."""
        while self._undo:
            self._undo.pop()()
        self.plane.ask(FLUSHSA, bytes(8))
        self.plane.ask(FLUSHPOLICY)
        self.plane.ask(SETDEFAULT, _ACCEPT)
        self.collect(Observation())

    def _send(self, packet: bytes, mark: int) -> None:
        version = packet[0] >> 4
        sender = self._senders[version]
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        octets = packet[16:20] if version == 4 else packet[24:40]
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        with suppress(OSError):  # a socket hears of errors that other packets caused
            sender.sendto(packet, (socket.inet_ntop(family, octets), 0))

    @staticmethod
    def _run(place: NetworkNamespace, program: str, command: str) -> None:
        with place.entered():
            done = subprocess.run(
                [program, *command.split()], capture_output=True, text=True, check=False
            )
        assert done.returncode == 0, f"{program} {command}: {done.stderr}"

    @staticmethod
    def _set(place: NetworkNamespace, name: str, value: str) -> str:
        """The value that it had."""
        path = Path("/proc/sys/net") / name
        with place.entered():
            before = path.read_text()
            path.write_text(value)
        return before


class KernelSide(Side):
    """XFRM interfaces of the kernel."""

    def __init__(self, places: Places, resources: ExitStack) -> None:
        super().__init__("kernel", places, resources)
        with places.gateway.entered():
            links = "".join(
                f"link add {name} type xfrm if_id {if_id}\n" for name, if_id in DEVICES.items()
            )
            _set_up(links + _COMMANDS)
            self.plane = resources.enter_context(RawPlane.kernel())
            self._stats = {"": resources.enter_context(_open_stat())}
            for kind in (SocketKind.UDP_V4, SocketKind.UDP_V6):
                receiver = resources.enter_context(open_socket(kind))
                receiver.setsockopt(socket.IPPROTO_UDP, _UDP_ENCAP, 2)
        if places.moved:
            with self.inside.entered():
                self._stats["inside."] = self._in_use_inside.enter_context(_open_stat())
        self.move_devices()
        self.open(resources)

    def counters(self) -> Counter[str]:
        """From the file of each namespace."""
        counters: Counter[str] = Counter()
        for place, stat in self._stats.items():
            stat.seek(0)
            lines = [line.split() for line in stat.read(1 << 16).decode().splitlines()]
            counters |= {f"{place}{name}": int(count) for name, count in lines}
        return counters


class EngineSide(Side):
    """The engine with its TUN devices."""

    def __init__(self, places: Places, resources: ExitStack) -> None:
        super().__init__("engine", places, resources)
        folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="plutino-"))
        with places.gateway.entered():
            path = resources.enter_context(engine_process(Path(folder)))
            self.client = EngineClient(path)
            resources.callback(self.client.close)
            self.plane = resources.enter_context(RawPlane.engine(path))
            descriptors = {name: open_tun(name) for name in DEVICES}
            _set_up(_COMMANDS)
            with RouteClient() as routes:
                for name, if_id in DEVICES.items():
                    link = routes.find_link(name)
                    assert link is not None
                    chosen = [descriptors[name]]
                    self.client.new_device(name, IfId(if_id), link.index, MTU, chosen)
                    os.close(descriptors[name])
            for kind in SocketKind:
                with open_socket(kind) as one:
                    self.client.new_socket(kind, one.fileno())
        self.move_devices()
        self.open(resources)

    def counters(self) -> Counter[str]:
        """As the engine tells them."""
        return Counter(self.client.stat())


@contextmanager
def both_sides(*, moved: bool = False) -> Iterator[tuple[KernelSide, EngineSide]]:
    """New ones, until the end of the block."""
    with ExitStack() as resources:
        places = []
        for _ in range(2):
            gateway, peer = (resources.enter_context(NetworkNamespace.create()) for _ in range(2))
            places.append(Places(gateway, peer, moved))
            with gateway.entered(), RouteClient() as routes:
                routes.create_veth("wire", "peer", peer_namespace=peer.fileno())
                _write_checksums("wire")
            with peer.entered():
                _set_up("link set peer addrgenmode none\nlink set peer up\n")
        kernel, engine = KernelSide(places[0], resources), EngineSide(places[1], resources)
        for side in (kernel, engine):
            side.reset()
        yield kernel, engine


def _open_stat() -> FileIO:
    """Of the current namespace."""
    return FileIO("/proc/thread-self/net/xfrm_stat")


def _write_checksums(name: str) -> None:
    """Whole ones leave the device, and no sums that a device would complete (``ethtool.h``)."""
    value = array.array("I", [_ETHTOOL_STXCSUM, 0])
    request = struct.pack("=16sQ16x", name.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, request)


def _set_up(commands: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input=commands, text=True, check=True)
    for name, value in _SETTINGS.items():
        path = Path("/proc/sys/net") / name
        if path.exists():
            path.write_text(value)


def _datagram(
    version: int,
    octets: bytes,
    ancillary: list[tuple[int, int, bytes]],
    _flags: int,
    source: tuple[str, int],
) -> str:
    """A datagram with its header as a socket sees it."""
    numbers = {kind: data for _level, kind, data in ancillary}
    if version == 4:
        tos, ttl = numbers[socket.IP_TOS][0], numbers[socket.IP_TTL][0]
        destination = socket.inet_ntop(socket.AF_INET, numbers[_IP_PKTINFO][8:12])
    else:
        tos, ttl = numbers[socket.IPV6_TCLASS][0], numbers[socket.IPV6_HOPLIMIT][0]
        destination = socket.inet_ntop(socket.AF_INET6, numbers[socket.IPV6_PKTINFO][:16])
    return f"{source[0]} to {destination} tos {tos:#x} ttl {ttl}: {octets.hex()}"


def _icmp_words(octets: bytes) -> str:
    """Type, code and the rest; of IPv4 without the header."""
    if octets[0] >> 4 == 4:
        octets = octets[(octets[0] & 15) * 4 :]
    rest = octets[4:8].hex()
    return f"type {octets[0]} code {octets[1]} rest {rest} about {octets[8:].hex()}"
