"""Ping and TCP between hosts of a lab, by sockets opened in their namespaces."""

import hashlib
import os
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import Final

from plutino.lab.namespaces import NetworkNamespace
from plutino.model.policy import IpAddress

MARKER: Final = b"plutino demo: who reads this on the wire has found a leak. "
_ECHO_REQUEST: Final = {4: 8, 6: 128}
_ECHO_REPLY: Final = {4: 0, 6: 129}
_HEADER: Final = struct.Struct("!BBHHH")
_CHUNK: Final = 1 << 16
_TCP_TIMEOUT: Final = 30.0


def _checksum(octets: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ping(
    namespace: NetworkNamespace,
    destination: IpAddress,
    *,
    count: int = 3,
    timeout: float = 2.0,
    source: IpAddress | None = None,
    size: int = 64,
) -> tuple[int, float]:
    """Send echo requests one after the other; replies that came, and the mean time in seconds.

    The payload holds ``MARKER``. ``timeout`` is in seconds for each, ``size`` is
    the payload's in bytes.
    """
    version = destination.version
    with namespace.entered():
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
        sender = socket.socket(family, socket.SOCK_RAW, protocol)
    if source is not None:
        sender.bind((str(source), 0))
    identity = int.from_bytes(os.urandom(2), "big")
    times = []
    with sender:
        for sequence in range(count):
            body = MARKER.ljust(size, b".")
            head = _HEADER.pack(_ECHO_REQUEST[version], 0, 0, identity, sequence)
            if version == 4:
                number = _checksum(head + body)
                head = _HEADER.pack(_ECHO_REQUEST[version], 0, number, identity, sequence)
            started = time.monotonic()
            try:
                sender.sendto(head + body, _target(destination))
            except OSError:
                continue  # no route: as good as no answer
            elapsed = _await_reply(sender, version, (identity, sequence), started, timeout)
            if elapsed is not None:
                times.append(elapsed)
    return len(times), sum(times) / len(times) if times else 0.0


def _target(address: IpAddress) -> tuple[str, int] | tuple[str, int, int, int]:
    """For ``sendto``; the zone of an IPv6 address is the number of an interface."""
    scope = getattr(address, "scope_id", None)
    if scope is None:
        return str(address), 0
    return str(address).partition("%")[0], 0, 0, int(scope)


def _await_reply(
    sender: socket.socket, version: int, wanted: tuple[int, int], started: float, timeout: float
) -> float | None:
    while (left := started + timeout - time.monotonic()) > 0:
        if not select.select([sender], [], [], left)[0]:
            return None
        packet = sender.recv(_CHUNK)
        if version == 4:
            packet = packet[(packet[0] & 15) * 4 :]
        if len(packet) < _HEADER.size:
            continue
        kind, _code, _sum, identity, sequence = _HEADER.unpack_from(packet)
        if kind == _ECHO_REPLY[version] and (identity, sequence) == wanted:
            return time.monotonic() - started
    return None


@dataclass(frozen=True, slots=True)
class Transfer:
    """A TCP transfer: bytes that arrived, whether unchanged, and seconds that it took."""

    octets: int
    intact: bool
    seconds: float
    error: str | None = None

    @property
    def gigabits_per_second(self) -> float:
        """Throughput of the payload."""
        return self.octets * 8 / self.seconds / 1e9 if self.seconds else 0.0


def transfer(
    source: NetworkNamespace,
    destination: NetworkNamespace,
    address: IpAddress,
    *,
    octets: int = 16 << 20,
) -> Transfer:
    """Send bytes over TCP to an address of the destination, and compare what arrives."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with destination.entered():
        listener = socket.create_server((str(address), 0), family=family)
    with source.entered():
        client = socket.socket(family, socket.SOCK_STREAM)
    unit = MARKER * (_CHUNK // len(MARKER))
    data = [unit] * (octets // len(unit)) + [unit[: octets % len(unit)]]
    expected = hashlib.sha256(b"".join(data)).digest()
    started = time.monotonic()
    with listener, client:
        for one in (listener, client):
            one.settimeout(_TCP_TIMEOUT)
        try:
            client.connect(listener.getsockname()[:2])
            receiver, _ = listener.accept()
        except OSError as error:
            return Transfer(0, False, time.monotonic() - started, f"no connection: {error}")
        receiver.settimeout(_TCP_TIMEOUT)
        thread = threading.Thread(target=_send, args=(client, data), daemon=True)
        thread.start()
        with receiver:
            received, digest, trouble = _receive(receiver)
        thread.join()
    return Transfer(received, digest == expected, time.monotonic() - started, trouble)


def _send(client: socket.socket, data: list[bytes]) -> None:
    try:
        for one in data:
            client.sendall(one)
        client.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the receiver tells what is missing


def _receive(receiver: socket.socket) -> tuple[int, bytes, str | None]:
    digest = hashlib.sha256()
    received = 0
    try:
        while chunk := receiver.recv(_CHUNK):
            digest.update(chunk)
            received += len(chunk)
    except OSError as error:
        return received, digest.digest(), f"broken off: {error}"
    return received, digest.digest(), None
