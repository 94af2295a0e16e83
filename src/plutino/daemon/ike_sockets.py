"""The UDP sockets of IKE: port 500 of our own, and port 4500, which belongs to the data plane.

On the kernel plane port 4500 is held by the holder of sockets, and duplicates of them serve here;
in user space the engine has it, and passes on what bears the non-ESP marker (RFC 3948, 2.2).
"""

import asyncio
import errno
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from plutino.dataplane.engine_client import EngineClient
from plutino.dataplane.engine_messages import EngineIke
from plutino.dataplane.held_sockets import HeldSockets
from plutino.dataplane.runtime import RuntimePaths
from plutino.dataplane.underlay import bypass_policies
from plutino.ike.duties import KEEPALIVE
from plutino.ike.numbers import IKE_PORT
from plutino.ike.path import Datagram, Path, SocketAddress
from plutino.model.errors import KernelError, PlaneError
from plutino.model.sa import NAT_T_PORT

NON_ESP_MARKER: Final = bytes(4)
LONGEST: Final = 65535
_MOST_AT_ONCE: Final = 64
"""Datagrams read in a row before others have their turn."""
_IP_MTU_DISCOVER: Final = 10
_IPV6_MTU_DISCOVER: Final = 23
_PMTUDISC_DONT: Final = 0
_IP_PKTINFO: Final = 8
_SO_MARK: Final = 36
_BUFFER: Final = 4 << 20

Receive = Callable[[bytes, Path], None]


class IkeSockets:
    """Opens what is needed for the IP versions of the peers; ``receive`` gets each datagram."""

    def __init__(self, runtime: RuntimePaths, receive: Receive) -> None:
        self._runtime = runtime
        self._receive = receive
        self._own: dict[int, socket.socket] = {}
        self._held: dict[int, socket.socket] = {}
        self._engine: EngineClient | None = None

    def open(self, versions: Iterable[int], *, on_kernel: bool) -> None:
        """Have sockets for these IP versions. KernelError where port 500 is taken."""
        loop = asyncio.get_running_loop()
        for version in versions:
            if version not in self._own:
                self._own[version] = opened = _open_own(version)
                loop.add_reader(opened, self._read, opened, version, IKE_PORT)
        if on_kernel:
            self._take_held()

    def _take_held(self) -> None:
        """Duplicates of the holder's sockets, anew if it has opened others."""
        loop = asyncio.get_running_loop()
        with suppress(PlaneError):
            for held in HeldSockets(self._runtime.holder_socket).fetch().values():
                version = 4 if held.family == socket.AF_INET else 6
                old = self._held.get(version)
                if old is not None and _is_same(old, held):
                    held.close()
                    continue
                if old is not None:
                    loop.remove_reader(old)
                    old.close()
                _prepare(held, version)
                self._held[version] = held
                loop.add_reader(held, self._read, held, version, NAT_T_PORT)

    def let_go_of_held(self) -> None:
        """The holder has ended: port 4500 is free again only when its duplicates are closed."""
        _close(self._held)

    def close(self) -> None:
        """Let go of all of them."""
        _close(self._own)
        _close(self._held)
        self._leave_engine()

    def hear_engine(self, message: EngineIke) -> None:
        """What the engine passes on."""
        here = SocketAddress(message.destination, NAT_T_PORT)
        there = SocketAddress(message.source, message.port)
        self._receive(message.datagram, Path(here, there))

    def send(self, datagram: Datagram, mark: int) -> None:
        """Sends one, from the address that its path names; OSError or PlaneError if it cannot."""
        local, remote = datagram.path
        version = remote.address.version
        payload = datagram.payload
        if local.port == NAT_T_PORT:
            held = self._held.get(version)
            if held is None:
                self._send_by_engine(datagram, mark)
                return
            if payload != KEEPALIVE:
                payload = NON_ESP_MARKER + payload
            _send(held, payload, datagram.path, mark)
        elif payload != KEEPALIVE and version in self._own:
            _send(self._own[version], payload, datagram.path, mark)

    def _send_by_engine(self, datagram: Datagram, mark: int) -> None:
        local, remote = datagram.path
        message = EngineIke(local.address, remote.address, remote.port, datagram.payload, mark)
        try:
            if self._engine is None:
                self._engine = EngineClient(self._runtime.engine_socket)
            self._engine.send_ike(message)
        except PlaneError:
            self._leave_engine()  # it has ended: the next message finds the new one
            raise

    def _leave_engine(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _read(self, opened: socket.socket, version: int, port: int) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                payload, control, _flags, sender = opened.recvmsg(LONGEST, 256, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of a packet before
            local = _destination(control, version)
            if local is None:
                continue
            if port == NAT_T_PORT:
                if not payload.startswith(NON_ESP_MARKER):
                    continue
                payload = payload[len(NON_ESP_MARKER) :]
            address = IPv4Address(sender[0]) if version == 4 else IPv6Address(sender[0])
            here, there = SocketAddress(local, port), SocketAddress(address, sender[1])
            self._receive(payload, Path(here, there))


def _close(sockets: dict[int, socket.socket]) -> None:
    loop = asyncio.get_running_loop()
    for one in sockets.values():
        loop.remove_reader(one)
        one.close()
    sockets.clear()


def _open_own(version: int) -> socket.socket:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        if version == 6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _prepare(opened, version)
        with suppress(OSError):  # a kernel without XFRM has no policies to go past
            bypass_policies(opened)
        opened.bind(("", IKE_PORT))
    except OSError as error:
        opened.close()
        hint = "another IKE daemon (charon, pluto) runs here: stop it"
        raise KernelError(
            f"open UDP port {IKE_PORT} for IPv{version}",
            error.errno or errno.EIO,
            hint=hint if error.errno == errno.EADDRINUSE else "run as root",
        ) from error
    return opened


def _prepare(opened: socket.socket, version: int) -> None:
    """Tells destinations, and lets long messages be cut: the path is not IKE's to probe."""
    with suppress(OSError):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    if version == 4:
        opened.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        opened.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DONT)
    else:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT)


def _destination(
    control: Iterable[tuple[int, int, bytes]], version: int
) -> IPv4Address | IPv6Address | None:
    """Our address that a datagram came to (``struct in_pktinfo``, ``struct in6_pktinfo``)."""
    for level, kind, data in control:
        if version == 4 and (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            return IPv4Address(data[8:12])
        if version == 6 and (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return IPv6Address(data[:16])
    return None


def _send(opened: socket.socket, payload: bytes, path: Path, mark: int) -> None:
    local, remote = path
    if local.address.version == 4:
        info = struct.pack("=i4s4s", 0, local.address.packed, bytes(4))
        control = [(socket.IPPROTO_IP, _IP_PKTINFO, info)]
    else:
        info = struct.pack("=16si", local.address.packed, 0)
        control = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)]
    if mark:
        control.append((socket.SOL_SOCKET, _SO_MARK, struct.pack("=I", mark)))
    target = (str(remote.address), remote.port)
    opened.sendmsg([payload], control, socket.MSG_DONTWAIT, target)


def _is_same(one: socket.socket, other: socket.socket) -> bool:
    """Whether two descriptors are of one socket (SO_COOKIE)."""
    so_cookie = 57
    cookies = {x.getsockopt(socket.SOL_SOCKET, so_cookie, 8) for x in (one, other)}
    return len(cookies) == 1
