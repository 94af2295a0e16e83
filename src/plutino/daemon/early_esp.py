"""ESP that comes before the SA that it is for, kept until that is in force (RFC 7296, 2.8).

Who answers a request for a CHILD_SA may send by it at once, and its first packets are there before
we have read the answer, derived the keys and installed the SA: no data plane has a use for them.

```
request for a CHILD_SA ─ expect: a raw socket, which gets copies of ESP of that SPI from that peer
answer, SA in force    ─ take, deliver: they are sent to ourselves, by ``lo``, and come once more
```
What came between the two steps of an installation comes twice, which replay protection is for. An
outsider gains nothing by it: the SPI is encrypted until the peer uses it, and who takes the peer's
place before it has proved itself reads it and has no SA that comes in force. What is kept is
bounded for each SA and for all, and others' packets are copied nowhere.
"""

import asyncio
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from plutino.daemon.packet_filter import (
    IS,
    LOAD_HALF,
    LOAD_HALF_AT_X,
    LOAD_IHL,
    LOAD_WORD,
    LOAD_WORD_AT_X,
    RETURN,
    WHOLE,
    Step,
    attach_filter,
)
from plutino.dataplane.underlay import bypass_policies
from plutino.ike_process.outcome import AwaitedSa
from plutino.model.numbers import Spi
from plutino.model.policy import IpAddress
from plutino.model.sa import NAT_T_PORT

MOST: Final = 64
"""SAs that are awaited at once; others do without."""
LONGEST: Final = 5.0
"""Seconds: an answer that takes longer was lost, and so is what was sent meanwhile."""
BUFFER: Final = 128 << 10
"""SO_RCVBUF of each: the kernel's own share included, some 100 packets of full size, or 300 small
ones."""
_MOST_PACKETS: Final = 1024
"""More than find room in it."""
_LONGEST_PACKET: Final = 1 << 16
_ESP: Final = 50
_UDP: Final = 17
_UDP_HEADER: Final = struct.Struct("!HHHH")
_ESP_HEADER: Final = struct.Struct("!II")
_HOP_LIMIT: Final = 64


@dataclass(slots=True)
class _Waiting:
    """A socket, and when nobody waits for what is in it any more."""

    sa: AwaitedSa
    opened: socket.socket
    timer: asyncio.TimerHandle


class Kept:
    """What is kept for SAs that are about to be in force; any thread may deliver it, once."""

    def __init__(self, waiting: Iterable[_Waiting]) -> None:
        self._waiting = list(waiting)

    def deliver(self) -> None:
        """The SAs are in force: what has come for them comes again, unless it is too old."""
        while self._waiting:
            one = self._waiting.pop()
            with one.opened:  # closed before, or it would get them once more
                packets = list(_received(one.sa, one.opened))
            if time.monotonic() <= one.timer.when():
                with suppress(OSError):
                    _send_again(one.sa, packets)


class EarlyEsp:
    """What is kept, by SPI. It needs a running loop and the right to open raw sockets."""

    def __init__(self) -> None:
        self._waiting: dict[Spi, _Waiting] = {}

    def expect(self, sa: AwaitedSa, mark: int) -> None:
        """From now on; without the right or the room for it, early packets are lost as ever.

        ``mark`` leads to the peer.
        """
        spi = Spi(sa.spi)
        if spi in self._waiting or len(self._waiting) == MOST or not _is_one_host(sa):
            return
        with suppress(OSError):
            opened = _open(sa, mark)
            timer = asyncio.get_running_loop().call_later(LONGEST, self._forget, spi)
            self._waiting[spi] = _Waiting(sa, opened, timer)

    def take(self, spis: Iterable[Spi]) -> Kept:
        """What is kept for these SAs, which somebody else looks after from now on."""
        taken = [self._waiting.pop(spi) for spi in spis if spi in self._waiting]
        for one in taken:
            one.timer.cancel()
        return Kept(taken)

    def close(self) -> None:
        """Nothing is kept any more."""
        for spi in list(self._waiting):
            self._forget(spi)

    def __len__(self) -> int:
        """How many SAs are awaited."""
        return len(self._waiting)

    def _forget(self, spi: Spi) -> None:
        waiting = self._waiting.pop(spi)
        waiting.timer.cancel()
        waiting.opened.close()


def _is_one_host(sa: AwaitedSa) -> bool:
    """At each end: the process that asks is not trusted, and others may be bound to as well."""
    return not any(one.is_unspecified or one.is_multicast for one in (sa.local, sa.remote))


def _open(sa: AwaitedSa, mark: int) -> socket.socket:
    """Gets copies of what the data plane gets. Nothing is in it yet that is of others."""
    is_v6 = sa.local.version == 6
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    opened = socket.socket(family, kind, _UDP if sa.udp else _ESP)
    try:
        attach_filter(opened, _program(is_v6=is_v6, spi=sa.spi, udp=sa.udp))
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        with suppress(OSError):  # a kernel without XFRM has no policies to go past
            bypass_policies(opened)
        if is_v6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        opened.bind((str(sa.local), 0))
        opened.connect((str(sa.remote), 0))
        _drain(opened)
    except OSError:
        opened.close()
        raise
    return opened


def _drain(opened: socket.socket) -> None:
    """What came before it had filter and addresses."""
    with suppress(BlockingIOError):
        while True:
            opened.recv(1)


def _program(*, is_v6: bool, spi: int, udp: bool) -> Iterator[Step]:
    """ESP of one SPI; IPv6 shows raw sockets no header of its own."""
    if not is_v6:
        yield LOAD_IHL, 0, 0, 0
    if udp:
        yield LOAD_HALF if is_v6 else LOAD_HALF_AT_X, 0, 0, 2
        yield IS, 0, 3, NAT_T_PORT
    yield LOAD_WORD if is_v6 else LOAD_WORD_AT_X, 0, 0, _UDP_HEADER.size if udp else 0
    yield IS, 0, 1, spi
    yield RETURN, 0, 0, WHOLE
    yield RETURN, 0, 0, 0


def _send_again(sa: AwaitedSa, packets: Iterable[bytes]) -> None:
    """To the address that they came to; on this way nobody asks for the path back.

    If that is no longer ours nothing of it leaves. OSError if it cannot be sent by.
    """
    family = socket.AF_INET6 if sa.local.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * BUFFER)
        with suppress(OSError):
            bypass_policies(sender)
        if family == socket.AF_INET6:  # whose routes to ourselves are of another device
            sender.bind((str(sa.local), 0))
        else:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        for packet in packets:
            with suppress(OSError):
                sender.sendto(packet, socket.MSG_DONTWAIT, (str(sa.local), 0))


def _received(sa: AwaitedSa, opened: socket.socket) -> Iterator[bytes]:
    """IP packets, in the order in which they came."""
    for _ in range(_MOST_PACKETS):
        try:
            octets, ancillary, _flags, _sender = opened.recvmsg(_LONGEST_PACKET, 64)
        except BlockingIOError:
            return
        except OSError:
            continue  # an ICMP error, which says nothing about what has come
        header = (octets[0] & 15) * 4 if sa.local.version == 4 else 0
        for payload in datagrams(octets[header:], sa) if sa.udp else (octets[header:],):
            if sa.local.version == 4:
                yield octets[:header] + payload
            else:
                yield _ipv6_header(sa, len(payload), _traffic_class(ancillary)) + payload


def datagrams(octets: bytes, sa: AwaitedSa) -> Iterator[bytes]:
    """Those of UDP that one read brought, each with a checksum that holds.

    The kernel may have joined several for a socket that asks for it (UDP_GRO), whose sequence
    numbers follow one another, and has no checksum yet where the sender is on this machine.
    """
    source_port, port, _length, _checksum = _UDP_HEADER.unpack_from(octets)
    rest = octets[_UDP_HEADER.size :]
    while len(rest) >= _ESP_HEADER.size:
        spi, number = _ESP_HEADER.unpack_from(rest)
        following = _ESP_HEADER.pack(spi, (number + 1) & 0xFFFFFFFF)
        at = rest.find(following, _ESP_HEADER.size)
        payload, rest = (rest, b"") if at < 0 else (rest[:at], rest[at:])
        length = _UDP_HEADER.size + len(payload)
        checksum = 0  # IPv4 needs none (RFC 3948, 2.1)
        if sa.local.version == 6:
            header = _UDP_HEADER.pack(source_port, port, length, 0)
            checksum = _udp_checksum(sa.remote, sa.local, header + payload)
        yield _UDP_HEADER.pack(source_port, port, length, checksum) + payload


def _udp_checksum(source: IpAddress, destination: IpAddress, datagram: bytes) -> int:
    """RFC 8200, 8.1; an opened packet has its ICV, so that this proves nothing."""
    pseudo = (
        source.packed + destination.packed + struct.pack("!IBBBB", len(datagram), 0, 0, 0, _UDP)
    )
    octets = pseudo + datagram + bytes(len(datagram) % 2)
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF or 0xFFFF


def _ipv6_header(sa: AwaitedSa, length: int, traffic_class: int) -> bytes:
    protocol = _UDP if sa.udp else _ESP
    first = 6 << 28 | traffic_class << 20
    head = struct.pack("!IHBB", first, length, protocol, _HOP_LIMIT)
    return head + ip_address(sa.remote).packed + ip_address(sa.local).packed


def _traffic_class(ancillary: Iterable[tuple[int, int, bytes]]) -> int:
    """ECN is in it (RFC 6040)."""
    for level, kind, octets in ancillary:
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_TCLASS):
            return int.from_bytes(octets[:4], sys.byteorder) & 0xFF
    return 0
