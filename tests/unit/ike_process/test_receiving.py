"""Rows of datagrams off real sockets: what each has in front of it, and where it came from."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from plutino.daemon.ike_sockets import _prepare
from plutino.ike.path import Path, SocketAddress
from plutino.ike_process.receiving import NON_ESP_MARKER, ROW, Rows, Source

WHOLE = struct.pack("!8s8sBBBBII", b"initiato", b"responde", 0, 0x20, 37, 8, 0, 28)


@contextmanager
def sockets(source: Source, port: int) -> Iterator[tuple[socket.socket, socket.socket]]:
    """One as IKE has it, and one that sends to it."""
    family, address = {
        Source.IPV4: (socket.AF_INET, "127.0.0.1"),
        Source.IPV6: (socket.AF_INET6, "::1"),
    }[source]
    with (
        socket.socket(family, socket.SOCK_DGRAM) as receiver,
        socket.socket(family, socket.SOCK_DGRAM) as sender,
    ):
        _prepare(receiver, source, port)
        receiver.bind(("", 0))
        sender.bind((address, 0))
        sender.connect((address, receiver.getsockname()[1]))
        yield receiver, sender


@pytest.mark.parametrize("source", [Source.IPV4, Source.IPV6])
@pytest.mark.parametrize(("port", "marker"), [(500, b""), (4500, NON_ESP_MARKER)])
def test_each_with_both_its_ends(source: Source, port: int, marker: bytes) -> None:
    rows = Rows()
    with sockets(source, port) as (receiver, sender):
        assert rows.read(receiver, source, port) == (0, [])
        for number in range(ROW + 3):
            sender.send(marker + WHOLE[:20] + struct.pack("!I", number) + WHOLE[24:])
        host, sender_port = sender.getsockname()[:2]
        address = ip_address(host)
        first, second = (rows.read(receiver, source, port) for _ in range(2))
        assert (first[0], second[0]) == (ROW, 3)
        for number, came in enumerate(first[1] + second[1]):
            assert came.payload == WHOLE[:20] + struct.pack("!I", number) + WHOLE[24:]
            there = SocketAddress(address, sender_port)
            assert came.path == Path(SocketAddress(address, port), there)
            assert came.ends == (address.packed, address.packed)


def test_what_has_no_marker_on_port_4500_is_none_of_ike() -> None:
    with sockets(Source.IPV4, 500) as (receiver, sender):
        sender.send(WHOLE)
        assert Rows().read(receiver, Source.IPV4, 4500) == (1, [])


@pytest.mark.parametrize(
    ("prefix", "here", "there"),
    [
        ("::ffff:192.0.2.1", "192.0.2.2", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::2", "2001:db8::1"),
    ],
)
def test_what_the_engine_passes_on(prefix: str, here: str, there: str) -> None:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    to = "::ffff:192.0.2.2" if "ffff" in prefix else here
    rows = Rows()
    with ours:
        with its:
            its.send(b"short")
            head = b"".join(socket.inet_pton(socket.AF_INET6, one) for one in (prefix, to))
            its.send(head + struct.pack("!H", 4501) + WHOLE)
            count, (came,) = rows.read(ours, Source.ENGINE, 4500)
            assert count == 2
            ends = SocketAddress(ip_address(here), 4500), SocketAddress(ip_address(there), 4501)
            assert (came.path, came.payload) == (Path(*ends), WHOLE)
        with pytest.raises(EOFError):
            rows.read(ours, Source.ENGINE, 4500)
