"""One gateway on the kernel plane and one with the engine, and a tunnel for every way to talk.

```
paris (kernel) ─ ipsecN ─ wire (tapped) ─ ipsecN ─ berlin (engine)
```
Each case is a tunnel of its own with its interface, addresses and keys; all are up together.
"""

import os
import shutil
import signal
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.lab.demo import BERLIN, OUTER, PARIS
from plutino.lab.hosts import WIRE, Host, connect
from plutino.lab.wire import FrameKind, WireTap, classify
from plutino.model.algorithms import ESP_SUITES, EspSuite
from plutino.model.policy import IpAddress, Mode
from plutino.model.sa import Encapsulation
from tests.support.echo_probe import EchoProbe

PATH_MTU: Final = 1500
_INNER: Final = {4: int(ip_address("10.64.0.0")), 6: int(ip_address("fd00:1::"))}
_LENGTH: Final = {4: 31, 6: 127}
_OUTER_LENGTH: Final = {4: 24, 6: 64}
_ETHERNET: Final = 14
_OUTER_HEADER: Final = {4: 20, 6: 40}
_UDP_HEADER: Final = 8
_UP_TIMEOUT: Final = 300.0
"""Hundreds of tunnels, in a guest."""


@dataclass(frozen=True, slots=True)
class Case:
    """One tunnel: interface ``ipsecN`` by its number, ``inner`` the IP versions inside."""

    number: int
    suite: EspSuite
    mode: Mode
    inner: tuple[int, ...]
    outer: int
    encapsulation: Encapsulation
    options: str = ""

    def __str__(self) -> str:
        inner = "".join(map(str, self.inner))
        return (
            f"{self.suite.name}-{self.mode.name.lower()}-{inner}in{self.outer}"
            f"-{self.encapsulation.value}"
        )

    @property
    def interface(self) -> str:
        """At both hosts."""
        return f"ipsec{self.number}"

    @property
    def kind(self) -> FrameKind:
        """Of what is on the wire."""
        is_udp = self.encapsulation is Encapsulation.UDP
        return FrameKind.ESP_IN_UDP if is_udp else FrameKind.ESP

    def address(self, host: str, version: int) -> IpAddress:
        """Inner address of a host."""
        return ip_address(_INNER[version] + 2 * self.number + (host == BERLIN))

    def text(self, here: str, there: str) -> str:
        """Its table in a gateway file."""
        addresses = [f"{self.address(here, one)}/{_LENGTH[one]}" for one in self.inner]
        lines = [
            f"[tunnels.{self.interface}]",
            f'interface = "{self.interface}"',
            f'local = "{OUTER[self.outer][here]}"',
            f'remote = "{OUTER[self.outer][there]}"',
            f"addresses = {addresses}",
            f'encapsulation = "{self.encapsulation.value}"',
            f'mode = "{self.mode.name.lower()}"',
            self.options,
        ]
        if self.mode is Mode.BEET:
            (version,) = self.inner
            most = self.address(here, version).max_prefixlen
            lines.append(f'local-ts = ["{self.address(here, version)}/{most}"]')
            lines.append(f'remote-ts = ["{self.address(there, version)}/{most}"]')
        lines.append(f'static.key-file = "{self.interface}.keys"')
        return "\n".join(lines)


def every_case(suites: Sequence[EspSuite] = tuple(ESP_SUITES.values())) -> Iterator[Case]:
    """The full product, but for transport mode, which is no tunnel of the kernel's interfaces."""
    number = 0
    for suite in suites:
        for mode, inner in ((Mode.TUNNEL, (4, 6)), (Mode.BEET, (4,)), (Mode.BEET, (6,))):
            for outer in (4, 6):
                for encapsulation in Encapsulation:
                    number += 1
                    yield Case(number, suite, mode, inner, outer, encapsulation)


@dataclass(slots=True)
class Interchange:
    """Both gateways up; every frame on the wire, and a probe at each."""

    kernel: Host
    engine: Host
    probes: dict[str, EchoProbe]
    cases: dict[int, Case]
    """By SPI, which is another in each direction."""
    tap: WireTap
    seen: list[bytes] = field(default_factory=list)

    def signal_daemons(self, number: int) -> None:
        """SIGSTOP, so that in a guest's one processor only packets are worked on; or SIGCONT."""
        for host in (self.kernel, self.engine):
            assert host.daemon is not None
            host.daemon.send_signal(number)

    def forget(self) -> None:
        """The frames until now."""
        self.tap.catch_up()
        self.seen.clear()

    def esp_of(self, case: Case) -> list[bytes]:
        """What this case sent since the last call; asserts that both ends did.

        Other cases may have had something left to say. Whatever is no ESP of a case, in its form,
        is an error.
        """
        self.tap.catch_up()
        frames = self.seen[:]
        del self.seen[: len(frames)]
        own = []
        spis = set()
        for frame in frames:
            kind = classify(frame)
            if kind in (FrameKind.NEIGHBOUR, FrameKind.KEEPALIVE):
                continue
            words = f"{kind}: {frame[:80].hex()}"
            assert kind in (FrameKind.ESP, FrameKind.ESP_IN_UDP), words
            version = frame[_ETHERNET] >> 4
            spi = _spi_of(frame, version, kind)
            assert spi in self.cases, words
            assert (self.cases[spi].kind, self.cases[spi].outer) == (kind, version), words
            if self.cases[spi] == case:
                own.append(frame)
                spis.add(spi)
        assert len(spis) == 2, "one direction has sent nothing"
        return own


def _spi_of(frame: bytes, version: int, kind: FrameKind) -> int:
    at = _ETHERNET + _OUTER_HEADER[version]
    at += _UDP_HEADER if kind is FrameKind.ESP_IN_UDP else 0
    return int(struct.unpack_from("!I", frame, at)[0])


def write_files(
    cases: Sequence[Case], hosts: tuple[Host, Host], *, head: str = ""
) -> dict[int, Case]:
    """Gateway files of both hosts, the kernel's first, and new keys; the cases by SPI."""
    kernel, engine = hosts
    by_spi: dict[int, Case] = {}
    for case in cases:
        pair = generate_pair(os.urandom, case.suite.name)
        by_spi |= dict.fromkeys((pair[0].outbound.spi, pair[0].inbound.spi), case)
        for host, other, own in ((kernel, engine, pair[0]), (engine, kernel, pair[1])):
            file = host.folder / f"{case.interface}.keys"
            file.touch(mode=0o600)
            file.write_text(encode_keys(own, used_at=host.name, peer=other.name))
    for host, other, plane in ((kernel, engine, "kernel"), (engine, kernel, "userspace")):
        tables = [case.text(host.name, other.name) for case in cases]
        host.file.write_text("\n\n".join([f'data-plane = "{plane}"\n{head}', *tables]) + "\n")
    return by_spi


@contextmanager
def interchange(
    cases: Sequence[Case],
) -> Iterator[Interchange]:
    """Both gateways with all cases up, until the end of the block, when nothing is left."""
    folder = Path(tempfile.mkdtemp(prefix="plutino-"))  # a socket's path is short
    kernel, engine = Host(PARIS, folder / PARIS), Host(BERLIN, folder / BERLIN)
    for host in (kernel, engine):
        host.folder.mkdir(mode=0o700)
    by_spi = write_files(cases, (kernel, engine))
    outer = {
        name: tuple(f"{OUTER[version][name]}/{_OUTER_LENGTH[version]}" for version in (4, 6))
        for name in (PARIS, BERLIN)
    }
    connect(kernel, engine, outer, linear=True)
    seen: list[bytes] = []
    tap = WireTap(kernel.namespace, WIRE, on_frame=lambda frame, _time: seen.append(frame))
    with (
        EchoProbe(kernel.namespace) as from_kernel,
        EchoProbe(engine.namespace) as from_engine,
    ):
        probes = {PARIS: from_kernel, BERLIN: from_engine}
        try:
            for host in (kernel, engine):
                host.start_daemon()
            for host in (kernel, engine):
                host.wait_until_up(timeout=_UP_TIMEOUT)
            yield Interchange(kernel, engine, probes, by_spi, tap, seen)
        finally:
            for host in (kernel, engine):
                if host.daemon is not None:
                    host.daemon.send_signal(signal.SIGCONT)
                host.close()
            tap.close()
            shutil.rmtree(folder)
