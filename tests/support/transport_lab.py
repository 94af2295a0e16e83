"""Transport mode between the kernel's SAs without an interface and the engine behind one.

```
paris (kernel: SAs and policies by XFRM messages) ─ wire (tapped) ─ ipsecN ─ berlin (plutino)
```
Each case has an outer address of paris to itself.
"""

import os
import shutil
import signal
import socket
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final

from plutino.config.static_keys import StaticKeys, encode_keys, generate_pair
from plutino.dataplane.underlay import UDP_KINDS, open_encapsulation
from plutino.lab.demo import BERLIN, PARIS
from plutino.lab.hosts import WIRE, Host, connect
from plutino.lab.wire import FrameKind, WireTap, classify
from plutino.model.algorithms import ESP_SUITES, EspSuite
from plutino.model.numbers import IfId, ReqId
from plutino.model.policy import Direction, IpAddress, Mode, Policy, Selector, Template
from plutino.model.sa import (
    Encapsulation,
    ReplayState,
    SaDirection,
    SecurityAssociation,
    UdpEncapsulation,
)
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.netlink.xfrm_client import XfrmClient
from tests.support.echo_probe import EchoProbe

_BERLIN: Final = {4: ip_address("198.18.0.2"), 6: ip_address("2001:db8::2")}
_FIRST: Final = {4: int(ip_address("198.18.1.0")), 6: int(ip_address("2001:db8::1:0"))}
_LENGTH: Final = {4: 16, 6: 64}
_ETHERNET: Final = 14
_SPI_AT: Final = {4: 34, 6: 54}
_UDP_HEADER: Final = 8
_UP_TIMEOUT: Final = 300.0
"""Hundreds of tunnels, in a guest."""
_REQID: Final = 7
_NEIGHBOUR_TYPES: Final = (135, 136)
"""Neighbor Solicitation and Advertisement."""


@dataclass(frozen=True, slots=True)
class TransportCase:
    """One pair of outer addresses, which are the inner ones too."""

    number: int
    suite: EspSuite
    version: int
    encapsulation: Encapsulation

    def __str__(self) -> str:
        return f"{self.suite.name}-transport-{self.version}-{self.encapsulation.value}"

    @property
    def interface(self) -> str:
        """At berlin."""
        return f"ipsec{self.number}"

    @property
    def paris(self) -> IpAddress:
        """Its address of paris."""
        return ip_address(_FIRST[self.version] + self.number)

    @property
    def berlin(self) -> IpAddress:
        """The one address of berlin."""
        return _BERLIN[self.version]

    @property
    def kind(self) -> FrameKind:
        """Of what is on the wire."""
        is_udp = self.encapsulation is Encapsulation.UDP
        return FrameKind.ESP_IN_UDP if is_udp else FrameKind.ESP

    def text(self) -> str:
        """Its table in berlin's gateway file."""
        return f"""\
[tunnels.{self.interface}]
interface = "{self.interface}"
local = "{self.berlin}"
remote = "{self.paris}"
routes = ["{ip_network(self.paris)}"]
mode = "transport"
encapsulation = "{self.encapsulation.value}"
static.key-file = "{self.interface}.keys"
"""

    def sas(self, keys: StaticKeys) -> Iterator[SecurityAssociation]:
        """Those of paris, of no interface."""
        udp = UdpEncapsulation() if self.encapsulation is Encapsulation.UDP else None
        for key, ends, direction, window in (
            (keys.outbound, (self.paris, self.berlin), SaDirection.OUT, 0),
            (keys.inbound, (self.berlin, self.paris), SaDirection.IN, 64),
        ):
            yield SecurityAssociation(
                spi=key.spi,
                source=ends[0],
                destination=ends[1],
                reqid=ReqId(_REQID),
                if_id=IfId(0),
                keys=keys.suite.keys(key.keymat),
                direction=direction,
                mode=Mode.TRANSPORT,
                encapsulation=udp,
                replay=ReplayState(window=window),
            )

    def policies(self) -> Iterator[Policy]:
        """Those of paris."""
        for direction, source, destination in (
            (Direction.OUT, self.paris, self.berlin),
            (Direction.IN, self.berlin, self.paris),
        ):
            template = Template(source, destination, ReqId(_REQID), Mode.TRANSPORT)
            selector = Selector(ip_network(source), ip_network(destination))
            yield Policy(direction, selector, IfId(0), (template,), priority=2)
            # The kernel would encrypt what it needs to find the neighbour that decrypts it.
            for kind in _NEIGHBOUR_TYPES if self.version == 6 else ():
                bypass = replace(
                    selector,
                    protocol=socket.IPPROTO_ICMPV6,
                    source_port=kind,
                    source_port_mask=0xFFFF,
                )
                yield Policy(direction, bypass, IfId(0), (), priority=1)


def transport_cases() -> Iterator[TransportCase]:
    """The full product."""
    number = 0
    for suite in ESP_SUITES.values():
        for version in (4, 6):
            for encapsulation in Encapsulation:
                number += 1
                yield TransportCase(number, suite, version, encapsulation)


@dataclass(slots=True)
class TransportLab:
    """Both ends up, a probe at each, and every frame."""

    paris: Host
    berlin: Host
    probes: dict[str, EchoProbe]
    cases: dict[int, TransportCase]
    """By SPI."""
    tap: WireTap
    seen: list[bytes] = field(default_factory=list)

    def esp(self, case: TransportCase) -> list[bytes]:
        """What this case sent since the last call; asserts that both ends did.

        Other cases may have had something left to say. Whatever is no ESP of a case, in its form,
        is an error.
        """
        self.tap.catch_up()
        frames = self.seen[:]
        del self.seen[: len(frames)]
        own, spis = [], set()
        for frame in frames:
            kind = classify(frame)
            if kind is FrameKind.NEIGHBOUR:
                continue
            words = f"{kind}: {frame[:80].hex()}"
            at = _SPI_AT[frame[_ETHERNET] >> 4]
            at += _UDP_HEADER if kind is FrameKind.ESP_IN_UDP else 0
            spi = int(struct.unpack_from("!I", frame, at)[0])
            assert spi in self.cases, words
            assert self.cases[spi].kind is kind, words
            if self.cases[spi] == case:
                own.append(frame)
                spis.add(spi)
        assert len(spis) == 2, "one direction has sent nothing"
        return own


@contextmanager
def transport_lab(
    cases: Sequence[TransportCase],
) -> Iterator[TransportLab]:
    """Both ends with all cases up, until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="plutino-"))  # a socket's path is short
    paris, berlin = Host(PARIS, folder / PARIS), Host(BERLIN, folder / BERLIN)
    keys: dict[TransportCase, StaticKeys] = {}
    for host in (paris, berlin):
        host.folder.mkdir(mode=0o700)
    for case in cases:
        keys[case], own = generate_pair(os.urandom, case.suite.name)
        file = berlin.folder / f"{case.interface}.keys"
        file.touch(mode=0o600)
        file.write_text(encode_keys(own, used_at=BERLIN, peer=PARIS))
    tables = [case.text() for case in cases]
    berlin.file.write_text("\n".join(['data-plane = "userspace"', *tables]))
    addresses = {
        PARIS: tuple(f"{case.paris}/{_LENGTH[case.version]}" for case in cases),
        BERLIN: tuple(f"{_BERLIN[version]}/{_LENGTH[version]}" for version in (4, 6)),
    }
    connect(paris, berlin, addresses, linear=True)
    seen: list[bytes] = []
    tap = WireTap(paris.namespace, WIRE, on_frame=lambda frame, _time: seen.append(frame))
    sockets = ExitStack()
    with EchoProbe(paris.namespace) as from_paris, EchoProbe(berlin.namespace) as from_berlin:
        try:
            with paris.namespace.entered():
                for kind in UDP_KINDS:
                    sockets.enter_context(open_encapsulation(kind))
                with NetlinkSocket.kernel(NETLINK_XFRM) as opened:
                    client = XfrmClient(opened)
                    client.add_sas([sa for case in cases for sa in case.sas(keys[case])])
                    client.add_policies([one for case in cases for one in case.policies()])
            berlin.start_daemon()
            berlin.wait_until_up(timeout=_UP_TIMEOUT)
            probes = {PARIS: from_paris, BERLIN: from_berlin}
            assert berlin.daemon is not None
            # A guest has one processor, and only packets shall be worked on.
            berlin.daemon.send_signal(signal.SIGSTOP)
            by_spi: dict[int, TransportCase] = {
                key.spi: case for case, own in keys.items() for key in (own.outbound, own.inbound)
            }
            yield TransportLab(paris, berlin, probes, by_spi, tap, seen)
        finally:
            if berlin.daemon is not None:
                berlin.daemon.send_signal(signal.SIGCONT)
            berlin.close()
            sockets.close()
            paris.namespace.close()
            tap.close()
            shutil.rmtree(folder)
