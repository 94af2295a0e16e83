"""The UDP sockets of IKE: port 500 of our own, and port 4500, which belongs to the data plane.

The IKE process reads from duplicates of them, the daemon sends, for marks need a privilege. On the
kernel plane port 4500 is held by the holder of sockets; in user space the engine has it, and
passes on what bears the non-ESP marker (RFC 3948, 2.2).
"""

import errno
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from plutino.daemon.ike_filter import drop_garbage
from plutino.daemon.ike_worker import IkeWorker
from plutino.daemon.log import log
from plutino.dataplane.engine_client import EngineClient
from plutino.dataplane.engine_messages import EngineIke
from plutino.dataplane.held_sockets import HeldSockets
from plutino.dataplane.runtime import RuntimePaths
from plutino.dataplane.underlay import bypass_policies
from plutino.ike.numbers import IKE_PORT, KEEPALIVE
from plutino.ike.path import Datagram, Path
from plutino.ike_process.receiving import NON_ESP_MARKER, Source
from plutino.model.errors import KernelError, PlaneError
from plutino.model.sa import NAT_T_PORT

_IP_MTU_DISCOVER: Final = 10
_IPV6_MTU_DISCOVER: Final = 23
_PMTUDISC_DONT: Final = 0
_IP_PKTINFO: Final = 8
_SO_RCVBUFFORCE: Final = 33
_SO_COOKIE: Final = 57
_BUFFER: Final = 4 << 20
_TRIES: Final = 20
_BETWEEN_TRIES: Final = 0.05
"""Seconds; the IKE process of a daemon that was killed is still closing its duplicates."""
_OTHER_ENGINE: Final = (
    "an engine of an earlier version goes on running when plutino is upgraded: `plutino down` ends "
    "it, and the next start makes another"
)


class IkeSockets:
    """Opens what is needed for the IP versions of the peers, and lets the IKE process read."""

    def __init__(self, runtime: RuntimePaths, worker: IkeWorker) -> None:
        self._runtime = runtime
        self._worker = worker
        self._own: dict[int, socket.socket] = {}
        self._held: dict[int, socket.socket] = {}
        self._engine: EngineClient | None = None
        self._passed_on: socket.socket | None = None

    @staticmethod
    def check(versions: Iterable[int]) -> None:
        """Before anything is made: KernelError where another daemon has port 500."""
        for version in versions:
            _open_own(version).close()

    def open(self, versions: Iterable[int], *, on_kernel: bool) -> None:
        """Have sockets for these IP versions. KernelError where port 500 is taken."""
        for version in versions:
            if version not in self._own:
                self._own[version] = opened = _open_own(version)
                self._worker.give_socket(Source(version), IKE_PORT, opened)
        if on_kernel:
            self._take_held()
        else:
            self._hear_engine()

    def give_all(self) -> None:
        """For another IKE process than before."""
        for port, sockets in ((IKE_PORT, self._own), (NAT_T_PORT, self._held)):
            for version, opened in sockets.items():
                self._worker.give_socket(Source(version), port, opened)
        if self._passed_on is not None:
            self._worker.give_socket(Source.ENGINE, NAT_T_PORT, self._passed_on)

    def _take_held(self) -> None:
        """Duplicates of the holder's sockets, anew if it has opened others."""
        with suppress(PlaneError):
            for held in HeldSockets(self._runtime.holder_socket).fetch().values():
                version = 4 if held.family == socket.AF_INET else 6
                old = self._held.get(version)
                if old is not None and _is_same(old, held):
                    held.close()
                    continue
                if old is not None:
                    old.close()
                _prepare(held, version, NAT_T_PORT)
                self._held[version] = held
                self._worker.give_socket(Source(version), NAT_T_PORT, held)

    def _hear_engine(self) -> None:
        """Have what comes to its port 4500 go to the IKE process; anew where it is another."""
        try:
            if self._engine is not None:
                self._engine.info()
        except PlaneError:
            self._leave_engine()
        with suppress(PlaneError, KernelError):  # the next pass finds one
            self._connect()

    def _connect(self) -> EngineClient:
        """Raises PlaneError without an engine."""
        if self._engine is None:
            self._engine = EngineClient(self._runtime.engine_socket)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._passed_on = ours
            try:
                with theirs:
                    self._engine.hear_ike(theirs.fileno())
            except KernelError as error:
                log(f"error: no IKE is heard at port {NAT_T_PORT}: {error}; {_OTHER_ENGINE}")
            self._worker.give_socket(Source.ENGINE, NAT_T_PORT, ours)
        return self._engine

    def let_go_of_held(self) -> None:
        """The holder has ended: port 4500 is free again only when its duplicates are closed."""
        for version, one in self._held.items():
            self._worker.take_socket(Source(version), NAT_T_PORT)
            one.close()
        self._held.clear()

    def close(self) -> None:
        """Let go of all of them; the IKE process ends by itself."""
        for one in (*self._own.values(), *self._held.values()):
            one.close()
        self._own.clear()
        self._held.clear()
        self._leave_engine()

    def send(self, datagrams: Iterable[tuple[Datagram, int]]) -> None:
        """Sends them, each with its mark, from the addresses that their paths name.

        A network that refuses one now may take it when it is sent again.
        """
        by_engine = []
        for datagram, mark in datagrams:
            local, remote = datagram.path
            version, payload = remote.address.version, datagram.payload
            if local.port != NAT_T_PORT:
                opened = self._own.get(version) if payload != KEEPALIVE else None
            elif version not in self._held:
                there = remote.address, remote.port
                by_engine.append(EngineIke(local.address, *there, payload, mark))
                continue
            else:
                opened = self._held[version]
                payload = payload if payload == KEEPALIVE else NON_ESP_MARKER + payload
            if opened is not None:
                with suppress(OSError):
                    _send(opened, payload, datagram.path, mark)
        if by_engine:
            self._send_by_engine(by_engine)

    def _send_by_engine(self, messages: Sequence[EngineIke]) -> None:
        try:
            self._connect().send_ike(messages)
        except KernelError:
            return
        except PlaneError:
            self._leave_engine()  # it has ended: the next message finds the new one

    def _leave_engine(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        if self._passed_on is not None:
            self._passed_on.close()
            self._passed_on = None


def _open_own(version: int) -> socket.socket:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        if version == 6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _prepare(opened, version, IKE_PORT)
        with suppress(OSError):  # a kernel without XFRM has no policies to go past
            bypass_policies(opened)
        _bind(opened)
    except OSError as error:
        opened.close()
        hint = "another IKE daemon (charon, pluto) runs here: stop it"
        raise KernelError(
            f"open UDP port {IKE_PORT} for IPv{version}",
            error.errno or errno.EIO,
            hint=hint if error.errno == errno.EADDRINUSE else "run as root",
        ) from error
    return opened


def _bind(opened: socket.socket) -> None:
    for tries_left in reversed(range(_TRIES)):
        try:
            opened.bind(("", IKE_PORT))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not tries_left:
                raise
            time.sleep(_BETWEEN_TRIES)
        else:
            return


def _prepare(opened: socket.socket, version: int, port: int) -> None:
    """Tells destinations, and lets long messages be cut: the path is not IKE's to probe."""
    with suppress(OSError):  # then the IKE process drops it
        drop_garbage(opened, port)
    for option in (socket.SO_RCVBUF, _SO_RCVBUFFORCE):  # the latter beyond net.core.rmem_max
        with suppress(OSError):
            opened.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    if version == 4:
        opened.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        opened.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DONT)
    else:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT)


def _send(opened: socket.socket, payload: bytes, path: Path, mark: int) -> None:
    local, remote = path
    if local.address.version == 4:
        info = struct.pack("=i4s4s", 0, local.address.packed, bytes(4))
        control = [(socket.IPPROTO_IP, _IP_PKTINFO, info)]
    else:
        info = struct.pack("=16si", local.address.packed, 0)
        control = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)]
    if mark:
        control.append((socket.SOL_SOCKET, socket.SO_MARK, struct.pack("=I", mark)))
    target = (str(remote.address), remote.port)
    opened.sendmsg([payload], control, socket.MSG_DONTWAIT, target)


def _is_same(one: socket.socket, other: socket.socket) -> bool:
    """Whether two descriptors are of one socket (SO_COOKIE)."""
    cookies = {x.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8) for x in (one, other)}
    return len(cookies) == 1
