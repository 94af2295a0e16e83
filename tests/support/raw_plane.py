"""XFRM messages octet by octet, to the kernel or to the engine: what the codec would never send."""

import select
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from plutino.netlink.socket import NETLINK_XFRM

REQUEST: Final = 1
ACK: Final = 4
DUMP: Final = 0x300
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3

NEWPOLICY: Final = 0x13
DELPOLICY: Final = 0x14
GETPOLICY: Final = 0x15
UPDPOLICY: Final = 0x19
POLEXPIRE: Final = 0x1B
FLUSHPOLICY: Final = 0x1D
MIGRATE: Final = 0x21
NEWSPDINFO: Final = 0x24
GETSPDINFO: Final = 0x25
SETDEFAULT: Final = 0x27
GETDEFAULT: Final = 0x28
JOIN: Final = 0x88

_HEADER: Final = struct.Struct("=IHHII")
_ALL_GROUPS: Final = 0xFF
_GROUPS: Final = 9
_TIMEOUT: Final = 5.0


@dataclass(frozen=True, slots=True)
class Reply:
    """One message: what both planes must have in common."""

    kind: int
    flags: int
    sequence: int
    payload: bytes

    @property
    def errno(self) -> int:
        """Of NLMSG_ERROR, positive."""
        assert self.kind == NLMSG_ERROR
        return -int(struct.unpack_from("=i", self.payload)[0])

    @property
    def words(self) -> str:
        """The extended ACK's text."""
        at = 20
        while at + 4 <= len(self.payload):
            length, number = struct.unpack_from("=HH", self.payload, at)
            if number == 1:
                return self.payload[at + 4 : at + length - 1].decode()
            at += length + 3 & ~3
        return ""


def encode(kind: int, payload: bytes, flags: int, sequence: int = 7, port: int = 0) -> bytes:
    """One netlink message."""
    length = _HEADER.size + len(payload)
    return _HEADER.pack(length, kind, flags, sequence, port) + payload + bytes(-length % 4)


def parse(octets: bytes) -> tuple[list[Reply], list[int]]:
    """The messages of a datagram, without the times at which policies were added; their ports."""
    replies = []
    ports = []
    while octets:
        length, kind, flags, sequence, port = _HEADER.unpack_from(octets)
        payload = bytearray(octets[_HEADER.size : length])
        at = {NEWPOLICY: 136, UPDPOLICY: 136, POLEXPIRE: 136, DELPOLICY: 204}.get(kind)
        if at is not None:
            payload[at : at + 8] = bytes(8)
        replies.append(Reply(kind, flags, sequence, bytes(payload)))
        ports.append(port)
        octets = octets[length + 3 & ~3 :]
    return replies, ports


class RawPlane:
    """One socket for requests and one for the notifications of every group."""

    def __init__(self, requests: socket.socket, events: socket.socket) -> None:
        self._requests = requests
        self._events = events
        requests.settimeout(_TIMEOUT)
        events.setblocking(False)

    @classmethod
    def kernel(cls) -> Self:
        """The kernel in the current namespace."""
        sockets = []
        for groups in (0, _ALL_GROUPS):
            sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM)
            sock.bind((0, 0))
            for option in (10, 11):  # NETLINK_CAP_ACK, NETLINK_EXT_ACK
                sock.setsockopt(270, option, 1)
            for group in range(1, groups.bit_length() + 1):
                sock.setsockopt(270, 1, group)  # NETLINK_ADD_MEMBERSHIP
            sockets.append(sock)
        return cls(*sockets)

    @classmethod
    def engine(cls, path: Path) -> Self:
        """The engine that serves at a path."""
        sockets = [engine_socket(path), engine_socket(path)]
        join(sockets[1], _ALL_GROUPS)
        return cls(*sockets)

    def ask(
        self, kind: int, payload: bytes = b"", *, flags: int = REQUEST | ACK, port: int = 0
    ) -> list[Reply]:
        """Every message that answers a request, up to its acknowledgement or the dump's end."""
        self._requests.send(encode(kind, payload, flags, port=port))
        replies: list[Reply] = []
        while not replies or replies[-1].kind not in {NLMSG_ERROR, NLMSG_DONE}:
            replies += parse(self._requests.recv(1 << 20))[0]
        return replies

    def await_events(self, count: int) -> list[tuple[Reply, int]]:
        """The next so many that listeners are told, however long they take, and what is there
        then."""
        told: list[tuple[Reply, int]] = []
        while len(told) < count:
            assert select.select([self._events], [], [], _TIMEOUT)[0], f"told {len(told)} only"
            told += self.events()
        return told

    def events(self) -> list[tuple[Reply, int]]:
        """What was told to listeners since the last time, with the port that each names."""
        told: list[tuple[Reply, int]] = []
        while True:
            try:
                told += zip(*parse(self._events.recv(1 << 20)), strict=True)
            except BlockingIOError:
                return told

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._requests.close()
        self._events.close()


def engine_socket(path: Path) -> socket.socket:
    """A connection to the engine."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(_TIMEOUT)
    sock.connect(str(path))
    return sock


def join(sock: socket.socket, groups: int) -> None:
    """Become a member of groups of the engine, and of no others."""
    sock.send(encode(JOIN, attribute(_GROUPS, struct.pack("=I", groups)), REQUEST | ACK))
    (reply,), _ports = parse(sock.recv(4096))
    assert reply.errno == 0


def attribute(number: int, payload: bytes) -> bytes:
    """One netlink attribute, padded."""
    return struct.pack("=HH", 4 + len(payload), number) + payload + bytes(-len(payload) % 4)
