"""Sends probes and hears their answers, for ``desired.health`` to judge.

Echo requests leave through raw sockets, one for each probe, with its mark, source and device, so
that they take the way that they ask about; so do connections (``tcp_probe``). Sockets are opened in
the network namespace that the probe names.
"""

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Final

from plutino.daemon.tcp_probe import TcpAsking
from plutino.desired.health import Health
from plutino.model.errors import PlaneError
from plutino.model.probe import Probe
from plutino.netlink.namespaces import in_namespace, namespace_identity, open_namespace

_ECHO_REQUEST: Final = {4: 8, 6: 128}
_ECHO_REPLY: Final = {4: 0, 6: 129}
"""RFC 792, RFC 4443."""
_HEADER: Final = struct.Struct("!BBHHH")
_LONGEST: Final = 2048
_SOL_RAW: Final = 255
_ICMP_FILTER: Final = 1
_ICMPV6_FILTER: Final = 1
"""``asm-generic/socket.h``, ``linux/icmp.h``, ``linux/icmpv6.h``."""


class Prober:
    """Asks on the event loop. ``on_change`` is called when a way is lost or back."""

    def __init__(self, health: Health, on_change: Callable[[], None]) -> None:
        self.health = health
        self._on_change = on_change
        self._asking: dict[str, _Asking] = {}

    def watch(self, probes: Iterable[Probe]) -> None:
        """Ask exactly these from now on."""
        wanted = {probe.key: probe for probe in probes}
        for key in list(self._asking):
            if wanted.get(key) != self._asking[key].probe:
                self._asking.pop(key).close()
        self.health.watch(wanted.values())
        for key, probe in wanted.items():
            if key not in self._asking:
                self._asking[key] = _Asking(probe, self.health, self._on_change)

    def close(self) -> None:
        """Ask no more."""
        for one in self._asking.values():
            one.close()
        self._asking.clear()


class _Asking:
    """One probe: a socket, and a timer for its requests."""

    def __init__(self, probe: Probe, health: Health, on_change: Callable[[], None]) -> None:
        self.probe = probe
        self._health = health
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._identity = int.from_bytes(os.urandom(2), "big")
        self._sequence = 0
        self._socket: socket.socket | None = None
        self._tcp: TcpAsking | None = None
        if probe.port is not None:
            self._tcp = TcpAsking(self._open_tcp, self._answered, probe.lost_after)
        self._opened_in: tuple[int, int] | None = None
        self._timer = self._loop.call_soon(self._ask)

    def close(self) -> None:
        self._timer.cancel()
        self._drop_socket()
        if self._tcp is not None:
            self._tcp.close()

    def _drop_socket(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _ask(self) -> None:
        self._timer = self._loop.call_later(self.probe.interval, self._ask)
        # Answers that waited while the loop was busy count before anything is judged lost.
        self._hear()
        way = self._health.ways.get(self.probe.key)
        if way is None:
            return
        self._sequence = self._sequence + 1 & 0xFFFF
        try:
            self._send()
        except (OSError, PlaneError):
            self._drop_socket()  # the address, the device or the namespace may come back
        before = way.lost, way.good_since
        way.asked(time.monotonic())
        if (way.lost, way.good_since) != before:
            self._on_change()

    def _send(self) -> None:
        """Raises OSError or PlaneError if there is no way to ask."""
        if self._tcp is not None and self.probe.port is not None:
            self._tcp.ask(self.probe.destinations, self.probe.port)
            return
        if self._socket is not None and self._namespace() != self._opened_in:
            self._drop_socket()
        if self._socket is None:
            self._opened_in = self._namespace()
            self._socket = open_in(self.probe, lambda: open_probe_socket(self.probe))
            self._loop.add_reader(self._socket, self._hear)
        failure: OSError | None = None
        for destination in self.probe.destinations:
            request = encode_echo(destination.version, self._identity, self._sequence)
            try:
                self._socket.sendto(request, (str(destination), 0))
            except OSError as error:
                failure = error
        if failure is not None and self.probe.interface is not None:
            raise failure  # it may be bound to a device that was made anew

    def _namespace(self) -> tuple[int, int] | None:
        """What tells a namespace from another of the same name after it."""
        name = self.probe.namespace
        return None if name is None else namespace_identity(name)

    def _open_tcp(self, version: int) -> socket.socket:
        return open_in(self.probe, lambda: open_tcp_socket(self.probe, version))

    def _answered(self) -> None:
        way = self._health.ways.get(self.probe.key)
        if way is None:
            return
        before = way.lost, way.good_since
        way.answered(time.monotonic())
        if (way.lost, way.good_since) != before:
            self._on_change()

    def _hear(self) -> None:
        while self._socket is not None:
            try:
                packet, address = self._socket.recvfrom(_LONGEST)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier request
            version = 4 if self._socket.family == socket.AF_INET else 6
            if address[0] not in map(str, self.probe.destinations):
                continue
            if is_echo_reply(packet, version, self._identity):
                self._answered()


def open_probe_socket(probe: Probe) -> socket.socket:
    """A raw ICMP socket with the probe's mark, source and device. Raises OSError."""
    is_v4 = probe.destinations[0].version == 4
    opened = socket.socket(
        socket.AF_INET if is_v4 else socket.AF_INET6,
        socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
        socket.IPPROTO_ICMP if is_v4 else socket.IPPROTO_ICMPV6,
    )
    try:
        _give_way(opened, probe)
        if is_v4:
            only_replies = struct.pack("=I", ~(1 << _ECHO_REPLY[4]) & 0xFFFFFFFF)
            opened.setsockopt(_SOL_RAW, _ICMP_FILTER, only_replies)
        else:
            blocked = [0xFFFFFFFF] * 8
            blocked[_ECHO_REPLY[6] >> 5] &= ~(1 << (_ECHO_REPLY[6] & 31))
            only_replies = struct.pack("=8I", *blocked)
            opened.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, only_replies)
    except BaseException:
        opened.close()
        raise
    return opened


def open_tcp_socket(probe: Probe, version: int) -> socket.socket:
    """A TCP socket with the probe's mark, source and device. Raises OSError."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    opened = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        _give_way(opened, probe)
    except BaseException:
        opened.close()
        raise
    return opened


def open_in(probe: Probe, work: Callable[[], socket.socket]) -> socket.socket:
    """Do it in the probe's network namespace. Raises PlaneError, and what ``work`` raises."""
    if probe.namespace is None:
        return work()
    descriptor = open_namespace(probe.namespace)
    try:
        return in_namespace(descriptor, work)
    finally:
        os.close(descriptor)


def _give_way(opened: socket.socket, probe: Probe) -> None:
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, probe.mark)
    if probe.interface is not None:
        name = probe.interface.encode()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
    if probe.source is not None:
        opened.bind((str(probe.source), 0))


def encode_echo(version: int, identity: int, sequence: int) -> bytes:
    """An echo request; the kernel fills in the checksum of ICMPv6."""
    head = _HEADER.pack(_ECHO_REQUEST[version], 0, 0, identity, sequence)
    if version == 6:
        return head
    total = sum(struct.unpack("!4H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return _HEADER.pack(_ECHO_REQUEST[version], 0, total ^ 0xFFFF, identity, sequence)


def is_echo_reply(packet: bytes, version: int, identity: int) -> bool:
    """Whether it answers a request of ours; IPv4's raw sockets give the IP header too."""
    if version == 4:
        packet = packet[(packet[0] & 15) * 4 :] if packet else b""
    if len(packet) < _HEADER.size:
        return False
    kind, _code, _sum, number, _sequence = _HEADER.unpack_from(packet)
    return bool(kind == _ECHO_REPLY[version] and number == identity)
