"""A tap on the wire: counts what passes, by what an observer could read of it."""

import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from plutino.lab.namespaces import NetworkNamespace

_ETH_P_ALL: Final = 3
_ETH_P_IP: Final = 0x0800
_ETH_P_ARP: Final = 0x0806
_ETH_P_IPV6: Final = 0x86DD
_ESP: Final = 50
_UDP: Final = 17
_ICMPV6: Final = 58
_HOP_BY_HOP: Final = 0
_FRAGMENT: Final = 44
_IKE_PORT: Final = 500
_UNREACHABLE: Final = {(1, b"\3"), (58, b"\1")}
"""Protocol and type of ICMP's "destination unreachable"."""
_NAT_T_PORT: Final = 4500
_KEEPALIVE: Final = b"\xff"
"""RFC 3948, 2.3."""
_LONGEST: Final = 1 << 17
_BUFFER: Final = 32 << 20
_NEIGHBOUR_TYPES: Final = frozenset({130, 131, 132, 133, 134, 135, 136, 137, 143})
"""Neighbour discovery and multicast listeners: the link's own affairs."""


class FrameKind(StrEnum):
    """What an observer sees."""

    ESP = "esp"
    ESP_IN_UDP = "esp-in-udp"
    KEEPALIVE = "keepalive"
    FRAGMENT = "fragment"
    NEIGHBOUR = "neighbour"
    IKE = "ike"
    CLEAR = "clear"


def classify(frame: bytes) -> FrameKind:
    """The kind of an Ethernet frame; what is not known to be harmless is clear text."""
    if len(frame) < 14:
        return FrameKind.CLEAR
    (ethertype,) = struct.unpack_from("!H", frame, 12)
    packet = frame[14:]
    if ethertype == _ETH_P_ARP:
        return FrameKind.NEIGHBOUR
    if ethertype == _ETH_P_IP and len(packet) >= 20:
        return _classify_v4(packet)
    if ethertype == _ETH_P_IPV6 and len(packet) >= 40:
        return _classify_v6(packet)
    return FrameKind.CLEAR


def _classify_v4(packet: bytes) -> FrameKind:
    if struct.unpack_from("!H", packet, 6)[0] & 0x1FFF:
        return FrameKind.FRAGMENT
    return _classify_transport(packet[9], packet[(packet[0] & 15) * 4 :])


def _classify_v6(packet: bytes) -> FrameKind:
    protocol, transport = packet[6], packet[40:]
    if protocol == _FRAGMENT and len(transport) >= 8:
        if struct.unpack_from("!H", transport, 2)[0] & 0xFFF8:
            return FrameKind.FRAGMENT
        protocol, transport = transport[0], transport[8:]
    if protocol == _HOP_BY_HOP and len(transport) >= 8:
        protocol, transport = transport[0], transport[(transport[1] + 1) * 8 :]
    if protocol == _ICMPV6 and transport[:1] and transport[0] in _NEIGHBOUR_TYPES:
        return FrameKind.NEIGHBOUR
    return _classify_transport(protocol, transport)


def _classify_transport(protocol: int, transport: bytes) -> FrameKind:
    if protocol == _ESP:
        return FrameKind.ESP
    if (protocol, transport[:1]) in _UNREACHABLE:
        return FrameKind.IKE if _quotes_ike(transport[8:]) else FrameKind.CLEAR
    if protocol == _UDP and len(transport) > 8:
        return _classify_udp(transport)
    return FrameKind.CLEAR


def _classify_udp(transport: bytes) -> FrameKind:
    source, destination, length = struct.unpack_from("!HHH", transport)
    content = transport[8:length]
    if source == destination == _IKE_PORT and _is_ike(content):
        return FrameKind.IKE
    if source == destination == _NAT_T_PORT:
        if content[:4] == bytes(4) and _is_ike(content[4:]):
            return FrameKind.IKE
        if content == _KEEPALIVE:
            return FrameKind.KEEPALIVE
        if len(content) > 4 and content[:4] != bytes(4):
            return FrameKind.ESP_IN_UDP
    return FrameKind.CLEAR


def _quotes_ike(packet: bytes) -> bool:
    """Whether an ICMP error is about IKE's port, which nobody serves yet."""
    header = 40 if packet[:1] and packet[0] >> 4 == 6 else 20
    ports = struct.pack("!HH", _IKE_PORT, _IKE_PORT)
    return packet[header : header + 4] == ports


def _is_ike(content: bytes) -> bool:
    """Whether it is a message of IKEv2 by version, flags and length (RFC 7296, 3.1)."""
    if len(content) < 28 or content[17] != 0x20 or content[19] & ~0x28:
        return False
    return int.from_bytes(content[24:28], "big") == len(content)


class WireTap:
    """Listens on one interface until it is closed. ``on_frame`` gets each frame and its time."""

    def __init__(
        self,
        namespace: NetworkNamespace,
        interface: str,
        *,
        marker: bytes = b"",
        on_frame: Callable[[bytes, int], None] | None = None,
    ) -> None:
        with namespace.entered():
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL)
            )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((interface, _ETH_P_ALL))
        self._marker = marker
        self._on_frame = on_frame
        self._counts: Counter[FrameKind] = Counter()
        self._marked = 0
        self._first_clear: bytes | None = None
        self._took = threading.Condition()
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, name="wire tap", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Read what is still waiting, then stop."""
        self._stop.close()
        self._thread.join()
        self._socket.close()
        self._stopped.close()

    def catch_up(self) -> None:
        """Wait until what was sent before this call has been counted."""
        with self._took:
            # While we hold the lock no frame is between the socket and the counts.
            while select.select([self._socket], [], [], 0)[0]:
                self._took.wait()

    def count(self, kind: FrameKind) -> int:
        """Frames of a kind so far."""
        with self._took:
            return self._counts[kind]

    def counts(self) -> dict[str, int]:
        """All kinds that were seen."""
        with self._took:
            return {kind.value: number for kind, number in sorted(self._counts.items())}

    @property
    def marked(self) -> int:
        """Frames that held the marker, readable for anyone."""
        return self._marked

    @property
    def first_clear(self) -> bytes | None:
        """The first frame in clear, for the words of a failure."""
        return self._first_clear

    def _listen(self) -> None:
        while True:
            ready, _, _ = select.select([self._socket, self._stopped], [], [])
            if self._socket in ready:
                self._take()
            elif ready:
                return

    def _take(self) -> None:
        with self._took:
            self._took.notify_all()
            try:
                frame = self._socket.recv(_LONGEST, socket.MSG_DONTWAIT)
            except OSError:
                return
            now = time.time_ns()
            kind = classify(frame)
            self._counts[kind] += 1
            if self._marker and self._marker in frame:
                self._marked += 1
            if kind is FrameKind.CLEAR and self._first_clear is None:
                self._first_clear = frame
            if self._on_frame is not None:
                self._on_frame(frame, now)
