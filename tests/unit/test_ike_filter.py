"""What the kernel lets through to IKE's sockets: of version 2 or later, and as long as it says."""

import socket

import pytest

from plutino.daemon.ike_filter import drop_garbage
from plutino.ike.message.header import Header
from plutino.ike.numbers import ExchangeType, Flag
from plutino.ike_process.receiving import NON_ESP_MARKER

HEADER = Header(bytes(8), bytes(8), 0, ExchangeType.INFORMATIONAL, Flag.INITIATOR, 0, length=40)
WHOLE = HEADER.encode() + bytes(12)


@pytest.mark.parametrize(("port", "marker"), [(500, b""), (4500, NON_ESP_MARKER)])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_only_what_can_be_ike_comes_through(family: int, port: int, marker: bytes) -> None:
    address = "127.0.0.1" if family == socket.AF_INET else "::1"
    with (
        socket.socket(family, socket.SOCK_DGRAM) as receiver,
        socket.socket(family, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind((address, 0))
        receiver.settimeout(5)
        drop_garbage(receiver, port)
        old = WHOLE[:17] + b"\x10" + WHOLE[18:]
        for garbage in (b"", b"\xff", bytes(27), WHOLE[:-1], WHOLE + b"\0", bytes(3000), old):
            sender.sendto(marker + garbage, receiver.getsockname())
        if marker:
            sender.sendto(WHOLE, receiver.getsockname())
        sender.sendto(marker + WHOLE, receiver.getsockname())
        later = WHOLE[:17] + b"\x30" + WHOLE[18:]  # is told our version (RFC 7296, 2.5)
        sender.sendto(marker + later, receiver.getsockname())
        assert receiver.recv(65535) == marker + WHOLE
        assert receiver.recv(65535) == marker + later
        receiver.setblocking(False)
        with pytest.raises(BlockingIOError):
            receiver.recv(65535)
