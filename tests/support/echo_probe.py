"""Echo requests of chosen lengths, many at once, from sockets that stay open."""

import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from plutino.lab.namespaces import NetworkNamespace
from plutino.model.policy import IpAddress

IP_HEADER: Final = {4: 20, 6: 40}
ECHO_HEADER: Final = 8
_HEADER: Final = struct.Struct("!BBHHH")
_REQUEST: Final = {4: 8, 6: 128}
_REPLY: Final = {4: 0, 6: 129}
_SOL_RAW: Final = 255
_ICMP_FILTER: Final = 1
_ICMPV6_FILTER: Final = 1
_ANY: Final = {4: "0.0.0.0", 6: "::"}
_PATIENCE: Final = 10.0


class EchoProbe:
    """Asks from one namespace."""

    def __init__(self, namespace: NetworkNamespace) -> None:
        with namespace.entered():
            self._sockets = {
                4: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
                6: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6),
            }
        only_v4 = struct.pack("=I", 0xFFFFFFFF ^ 1 << _REPLY[4])
        self._sockets[4].setsockopt(_SOL_RAW, _ICMP_FILTER, only_v4)
        only_v6 = [0xFFFFFFFF] * 8
        only_v6[_REPLY[6] // 32] ^= 1 << _REPLY[6] % 32
        filter_v6 = struct.pack("=8I", *only_v6)
        self._sockets[6].setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, filter_v6)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        for one in self._sockets.values():
            one.close()

    def unanswered(
        self,
        destination: IpAddress,
        lengths: Sequence[int],
        content: bytes,
        *,
        source: IpAddress | None = None,
        patience: float = _PATIENCE,
    ) -> list[int]:
        """Which of these IP packets, by their lengths, came not back unchanged within the time.

        ``content`` is repeated to fill them; ``patience`` is in seconds.
        """
        version = destination.version
        asking = self._sockets[version]
        asking.bind((str(source) if source is not None else _ANY[version], 0))
        identity = int.from_bytes(os.urandom(2), "big")
        waiting: dict[int, bytes] = {}
        for sequence, length in enumerate(lengths):
            size = length - IP_HEADER[version] - ECHO_HEADER
            waiting[sequence] = (content * (size // len(content) + 1))[:size]
            request = _HEADER.pack(_REQUEST[version], 0, 0, identity, sequence) + waiting[sequence]
            if version == 4:
                checksum = checksum_of(request)
                request = request[:2] + checksum.to_bytes(2, "big") + request[4:]
            asking.sendto(request, (str(destination), 0))
        deadline = time.monotonic() + patience
        while waiting and (left := deadline - time.monotonic()) > 0:
            if not select.select([asking], [], [], left)[0]:
                break
            packet = asking.recv(1 << 16)
            packet = packet[(packet[0] & 15) * 4 :] if version == 4 else packet
            _type, _code, _sum, whose, sequence = _HEADER.unpack_from(packet)
            if whose == identity and waiting.get(sequence) == packet[_HEADER.size :]:
                del waiting[sequence]
        return [lengths[sequence] for sequence in waiting]


def checksum_of(octets: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    octets += bytes(len(octets) % 2)
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
