"""Two engines on a wire, without daemon: SAs and policies of any kind go in by the codec.

```
inject ─ TUN ─ engine "one" ─ wire (tapped) ─ engine "two" ─ TUN ─ delivered
```
Packets enter and leave the TUN devices by packet sockets, so that no route, no address and no
protocol of the kernel decides what can be tried.
"""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from plutino.dataplane.engine_client import EngineClient
from plutino.dataplane.engine_process import engine_path
from plutino.dataplane.tun import open_tun
from plutino.dataplane.underlay import SocketKind, open_socket
from plutino.lab.hosts import WIRE, Host, connect
from plutino.lab.wire import WireTap
from plutino.model.errors import KernelError, PlaneError
from plutino.model.numbers import IfId
from plutino.model.policy import Action, Direction, Mode
from plutino.model.sa import NAT_T_PORT, Encapsulation, SaDirection
from plutino.netlink.route_client import RouteClient
from plutino.netlink.wire import NLM_F_CREATE, NLM_F_EXCL
from plutino.netlink.xfrm.attributes import ReplayEsn
from plutino.netlink.xfrm.constants import UDP_ENCAP_ESPINUDP, MessageType, SaFlag, Xfrma
from plutino.netlink.xfrm.convert import encode_address, family_of
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import (
    UNLIMITED,
    EncapTemplate,
    ReplayEsnHeader,
    UserSaFlush,
    UserSaInfo,
    XfrmId,
    XfrmSelector,
)
from plutino.netlink.xfrm.structures_policy import UserPolicyInfo, UserTemplate
from tests.support.esp_algorithms import EspAlgorithm, Keys
from tests.support.until import until

ONE: Final = "one"
TWO: Final = "two"
OUTER: Final = {
    4: {ONE: "192.0.2.1", TWO: "192.0.2.2"},
    6: {ONE: "2001:db8::1", TWO: "2001:db8::2"},
}
INNER: Final = {
    4: {ONE: "10.1.0.1", TWO: "10.2.0.1"},
    6: {ONE: "fd00:1::1", TWO: "fd00:2::1"},
}
DEVICE: Final = "ipsec1"
IF_ID: Final = IfId(1)
REQID: Final = 7
MTU: Final = 1400
WINDOW: Final = 64
_ESP: Final = 50
_ETH_P_ALL: Final = 3
_ETH_P: Final = {4: 0x0800, 6: 0x86DD}
_PACKET_OUTGOING: Final = 4
_PATIENCE: Final = 5.0
_ANY: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class EngineCase:
    """How two engines speak with each other. ``inner`` is the IP versions inside."""

    algorithm: EspAlgorithm
    mode: Mode = Mode.TUNNEL
    outer: int = 4
    encapsulation: Encapsulation = Encapsulation.ESP
    inner: tuple[int, ...] = (4, 6)
    esn: bool = False

    def __str__(self) -> str:
        inner = "".join(map(str, self.inner))
        return (
            f"{self.algorithm}-{self.mode.name.lower()}-{inner}in{self.outer}"
            f"-{self.encapsulation.value}{'-esn' if self.esn else ''}"
        )

    def address(self, version: int, end: str) -> str:
        """Inner address of an end: in transport mode there is but one."""
        return OUTER[version][end] if self.mode is Mode.TRANSPORT else INNER[version][end]


@dataclass(frozen=True, slots=True)
class Flow:
    """One SA of a case: from ``sender`` to the other."""

    case: EngineCase
    sender: str
    spi: int
    keys: Keys

    @property
    def receiver(self) -> str:
        """The other end."""
        return TWO if self.sender == ONE else ONE

    def selector(self) -> XfrmSelector:
        """BEET takes its inner addresses from it (draft-nikander-esp-beet-mode, 5.1)."""
        case = self.case
        if case.mode is Mode.TUNNEL:
            return XfrmSelector()
        if case.mode is Mode.TRANSPORT:
            return XfrmSelector(family=_family(case.outer))
        (version,) = case.inner
        source, destination = (
            ip_address(case.address(version, end)) for end in (self.sender, self.receiver)
        )
        return XfrmSelector(
            saddr=encode_address(source),
            daddr=encode_address(destination),
            prefixlen_s=source.max_prefixlen,
            prefixlen_d=source.max_prefixlen,
            family=family_of(source),
        )

    def sa(self, direction: SaDirection) -> XfrmMessage:
        """NEWSA."""
        case = self.case
        source, destination = (
            ip_address(OUTER[case.outer][end]) for end in (self.sender, self.receiver)
        )
        flags = SaFlag.ESN if case.esn else SaFlag(0)
        if case.mode is Mode.TUNNEL:
            flags |= SaFlag.AF_UNSPEC
        info = UserSaInfo(
            sel=self.selector(),
            id=XfrmId(encode_address(destination), self.spi, _ESP),
            saddr=encode_address(source),
            lft=UNLIMITED,
            reqid=REQID,
            family=family_of(destination),
            mode=case.mode,
            flags=flags,
        )
        window = WINDOW if direction is SaDirection.IN else 0
        replay = ReplayEsn(ReplayEsnHeader(bmp_len=window // 32, replay_window=window), ())
        attributes = case.algorithm.attributes(self.keys)
        # A window of none is told by the attribute's absence, except that ESN demands one.
        if window or case.esn:
            attributes.append((Xfrma.REPLAY_ESN_VAL, replay))
        attributes += [(Xfrma.SA_DIR, int(direction)), (Xfrma.IF_ID, int(IF_ID))]
        if case.encapsulation is Encapsulation.UDP:
            template = EncapTemplate(UDP_ENCAP_ESPINUDP, NAT_T_PORT, NAT_T_PORT)
            attributes.append((Xfrma.ENCAP, template))
        return XfrmMessage.build(MessageType.NEWSA, info, attributes)

    def policies(self, direction: Direction) -> list[XfrmMessage]:
        """NEWPOLICY for each inner version."""
        return [policy(direction, version, template=self.template()) for version in self.case.inner]

    def template(self) -> UserTemplate:
        """What a policy asks of the SA."""
        source, destination = (
            ip_address(OUTER[self.case.outer][end]) for end in (self.sender, self.receiver)
        )
        return UserTemplate(
            id=XfrmId(encode_address(destination), 0, _ESP),
            family=family_of(destination),
            saddr=encode_address(source),
            reqid=REQID,
            mode=self.case.mode,
            aalgos=_ANY,
            ealgos=_ANY,
            calgos=_ANY,
        )


def policy(
    direction: Direction,
    version: int,
    *,
    template: UserTemplate | None = None,
    action: Action = Action.ALLOW,
    priority: int = 100,
) -> XfrmMessage:
    """NEWPOLICY for all packets of an IP version."""
    info = UserPolicyInfo(
        sel=XfrmSelector(family=_family(version)),
        lft=UNLIMITED,
        priority=priority,
        dir=direction,
        action=action,
    )
    attributes: list[tuple[int, Any]] = [] if template is None else [(Xfrma.TMPL, (template,))]
    return XfrmMessage.build(MessageType.NEWPOLICY, info, [*attributes, (Xfrma.IF_ID, int(IF_ID))])


def _family(version: int) -> int:
    return int(socket.AF_INET if version == 4 else socket.AF_INET6)


def _engine_socket(path: Path) -> EngineClient | None:
    try:
        return EngineClient(path)
    except PlaneError:
        return None


class EngineEnd:
    """A namespace with an engine, its device and a packet socket on either side of it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        host.folder.mkdir()
        path = host.folder / "engine.sock"
        with host.namespace.entered():
            self.process = subprocess.Popen([engine_path(), "--socket", path])
        clients: list[EngineClient] = []

        def answers() -> bool:
            assert self.process.poll() is None, "the engine has ended"
            clients.extend(filter(None, [_engine_socket(path)]))
            return bool(clients)

        until(answers, "the engine's socket")
        self.client = clients[0]

    def open(self) -> None:
        """Once the wire is there: device and sockets."""
        with self.host.namespace.entered(), RouteClient() as routes:
            self.new_device(routes, DEVICE, IF_ID)
            for kind in SocketKind:
                with open_socket(kind) as one:
                    self.client.new_socket(kind, one.fileno())
            self._tun = self._packet_socket(DEVICE)
            self._wire = self._packet_socket(WIRE)
            self.mac: bytes = self._wire.getsockname()[4]

    def new_device(self, routes: RouteClient, name: str, if_id: IfId) -> None:
        """A device that is up, on which the kernel says nothing by itself."""
        descriptor = open_tun(name)
        try:
            routes.set_link(name, mtu=MTU, no_link_local=True)
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
            routes.set_link(name, up=True)
            link = routes.find_link(name)
            assert link is not None
            self.client.new_device(name, if_id, link.index, MTU, [descriptor])
        finally:
            os.close(descriptor)

    @staticmethod
    def _packet_socket(name: str) -> socket.socket:
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        opened = socket.socket(socket.AF_PACKET, kind, socket.htons(_ETH_P_ALL))
        opened.bind((name, _ETH_P_ALL))
        return opened

    def close(self) -> None:
        """End the engine; the namespace takes the rest with it."""
        self.client.close()
        for one in (self._tun, self._wire):
            one.close()
        self.process.kill()
        self.process.wait()
        self.host.namespace.close()

    def send(self, message: XfrmMessage, flags: int = 0) -> None:
        """One XFRM request; KernelError on refusal."""
        if message.kind in (MessageType.NEWSA, MessageType.NEWPOLICY):
            flags |= NLM_F_CREATE | NLM_F_EXCL
        self.client.socket.request(message.kind.name, message.kind, message.encode(), flags=flags)

    def flush(self) -> None:
        """No SA and no policy."""
        with suppress(KernelError):  # ESRCH: as the kernel has it, nothing was there
            self.send(XfrmMessage.build(MessageType.FLUSHSA, UserSaFlush(0)))
        self.send(XfrmMessage.build(MessageType.FLUSHPOLICY, None))

    def inject(self, packet: bytes) -> None:
        """Into the device, as if it had been routed there."""
        protocol = _ETH_P.get(packet[0] >> 4, _ETH_P[4])
        self._tun.sendto(packet, (DEVICE, protocol, 0, 0, b""))

    def delivered(self) -> list[bytes]:
        """What the engine wrote to the device since the last call."""
        packets = []
        with suppress(BlockingIOError):
            while True:
                packet, address = self._tun.recvfrom(1 << 16)
                if address[2] != _PACKET_OUTGOING:
                    packets.append(packet)
        return packets

    def await_delivery(self) -> bytes:
        """The one packet that is delivered next."""
        found: list[bytes] = []

        def comes() -> bool:
            found.extend(self.delivered())
            return bool(found)

        until(comes, f"a packet delivered by {self.host.name}; drops: {self.drops()}")
        assert len(found) == 1
        return found[0]

    def transmit(self, frame: bytes) -> None:
        """A frame onto the wire."""
        self._wire.send(frame)

    def drops(self) -> Mapping[str, int]:
        """Counters that are not zero."""
        return {name: count for name, count in self.client.stat().items() if count}

    def status(self, key: str) -> int:
        """A number of /proc/PID/status, such as VmRSS in KiB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == key:
                return int(value.split()[0])
        raise KeyError(key)


@dataclass(slots=True)
class EngineLab:
    """Both ends, and every frame on the wire with its time."""

    one: EngineEnd
    two: EngineEnd
    frames: list[tuple[bytes, int]] = field(default_factory=list)
    _next_spi: int = 0x1000

    def end(self, name: str) -> EngineEnd:
        """By its name."""
        return self.one if name == ONE else self.two

    def new_flow(self, case: EngineCase, sender: str) -> Flow:
        """An SA of its own number and keys."""
        self._next_spi += 1
        return Flow(case, sender, self._next_spi, case.algorithm.new_keys())

    def install(self, case: EngineCase) -> tuple[Flow, Flow]:
        """Both directions on both ends, and nothing else; from ``one``, and from ``two``."""
        flows = self.new_flow(case, ONE), self.new_flow(case, TWO)
        for end in (self.one, self.two):
            end.flush()
            end.delivered()
            for flow in flows:
                outbound = end.host.name == flow.sender
                end.send(flow.sa(SaDirection.OUT if outbound else SaDirection.IN))
                for message in flow.policies(Direction.OUT if outbound else Direction.IN):
                    end.send(message)
        self.frames.clear()
        return flows

    def frame_of(self, spi: int) -> bytes:
        """The one frame with ESP of that SPI on the wire."""
        octets = spi.to_bytes(4, "big")
        found: list[bytes] = []

        def comes() -> bool:
            found[:] = [frame for frame, _ in list(self.frames) if octets in frame[34:66]]
            return bool(found)

        until(comes, f"a frame of SPI {spi:#x}; drops: {self.one.drops()}, {self.two.drops()}")
        assert len(found) == 1
        return found[0]


@contextmanager
def engine_lab() -> Iterator[EngineLab]:
    """Two ends on a wire until the end of the block, when nothing is left of them."""
    folder = Path(tempfile.mkdtemp(prefix="plutino-"))  # a socket's path is short
    hosts = Host(ONE, folder / ONE), Host(TWO, folder / TWO)
    prefix = {4: 24, 6: 64}
    addresses = {
        name: tuple(f"{OUTER[version][name]}/{prefix[version]}" for version in (4, 6))
        for name in (ONE, TWO)
    }
    connect(*hosts, addresses)
    frames: list[tuple[bytes, int]] = []
    ends = [EngineEnd(host) for host in hosts]
    tap = WireTap(hosts[0].namespace, WIRE, on_frame=lambda frame, at: frames.append((frame, at)))
    try:
        for end in ends:
            end.open()
        yield EngineLab(ends[0], ends[1], frames)
    finally:
        for end in ends:
            end.close()
        tap.close()
        shutil.rmtree(folder)


def changed(message: XfrmMessage, **attributes: Any) -> XfrmMessage:
    """With other values of attributes (by the name in ``Xfrma``), None for without."""
    numbers = {Xfrma[name]: value for name, value in attributes.items()}
    kept = [(one.type, one.value) for one in message.attributes if one.number not in numbers]
    new = [(number, value) for number, value in numbers.items() if value is not None]
    return XfrmMessage.build(message.kind, message.fixed, [*kept, *new])


def with_fixed(message: XfrmMessage, **members: Any) -> XfrmMessage:
    """With other members of the fixed structure."""
    assert message.fixed is not None
    return replace(message, fixed=replace(message.fixed, **members))
