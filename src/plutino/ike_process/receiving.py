"""Datagrams off UDP sockets, each with the address of ours that it came to."""

import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from plutino.ike.numbers import IKE_PORT
from plutino.ike.path import Datagram, Path, SocketAddress
from plutino.model.sa import NAT_T_PORT

NON_ESP_MARKER: Final = bytes(4)
"""Before IKE on port 4500 (RFC 3948, 2.2)."""
PORTS: Final = (IKE_PORT, NAT_T_PORT)
_LONGEST: Final = 65535
_MOST_AT_ONCE: Final = 64
"""Datagrams read in a row before others have their turn."""
_IP_PKTINFO: Final = 8


def read_all(opened: socket.socket, version: int, port: int) -> Iterator[Datagram]:
    """What has come to a socket of a port, without the non-ESP marker; not too much at once."""
    for _ in range(_MOST_AT_ONCE):
        try:
            payload, control, _flags, sender = opened.recvmsg(_LONGEST, 256, socket.MSG_DONTWAIT)
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
        yield Datagram(Path(here, there), payload)


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
