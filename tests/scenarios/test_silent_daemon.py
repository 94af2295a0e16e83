"""ESP that comes is a sign of life, and only what is authentic and new (RFC 7296, 2.4)."""

import os
import signal
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Final

import pytest

from plutino.dataplane.engine_client import EngineClient
from plutino.lab.demo import BERLIN, INNER
from plutino.lab.hosts import Host
from plutino.lab.traffic import ping
from plutino.model.numbers import Spi
from plutino.model.sa import SaName, SaUse
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.netlink.xfrm_client import XfrmClient
from tests.support.ike_lab import ike_pair, ike_processes, passes, until_it_passes
from tests.support.until import until

pytestmark = pytest.mark.root

IPPROTO_ESP: Final = 50
IN_HASTE: Final = "liveness-after = 2\nretransmit-after = 0.2\nretransmit-tries = 2"
"""A peer that does not answer is given up within some three seconds of silence."""


@contextmanager
def stopped(host: Host) -> Iterator[None]:
    """Its daemon and its IKE process say nothing; its data plane goes on."""
    assert host.daemon is not None
    several = [host.daemon.pid, *(int(one.name) for one in ike_processes(host))]
    for one in several:
        os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in several:
            os.kill(one, signal.SIGCONT)


def use_of(host: Host, plane: str, name: SaName) -> SaUse:
    """What a host's data plane says of an SA."""
    if plane == "kernel":
        with host.namespace.entered():
            opened = NetlinkSocket.kernel(NETLINK_XFRM)
    else:
        opened = EngineClient(host.engine_socket).socket
    try:
        use = XfrmClient(opened).find_use(name)
    finally:
        opened.close()
    assert use is not None
    return use


def test_a_peer_whose_esp_comes_is_not_given_up(plane: str) -> None:
    with ike_pair(plane, paris=IN_HASTE) as pair:
        until_it_passes(pair)
        there = ip_address(INNER[BERLIN][0])
        with stopped(pair.berlin):
            end = time.monotonic() + 4.0  # longer than one that is silent is waited for
            while time.monotonic() < end:
                assert ping(pair.paris.namespace, there, count=5)[0] == 5
            assert "does not answer" not in pair.paris.last_words()
            until(lambda: "does not answer" in pair.paris.last_words(), "silence is noticed")
            until(lambda: not passes(pair.paris), "its SAs are gone")
        pair.assert_nothing_in_clear()


def test_what_is_forged_or_repeated_does_not_count(plane: str) -> None:
    with ike_pair(plane) as pair:
        until_it_passes(pair)
        with pair.paris.namespace.entered():
            wire = socket.socket(socket.AF_INET, socket.SOCK_RAW, IPPROTO_ESP)
        with pair.berlin.namespace.entered():
            sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with wire, sender:
            assert passes(pair.paris)
            packet = wire.recv(65536)
            here = str(ip_address(packet[16:20]))
            name = SaName(ip_address(here), Spi(int.from_bytes(packet[20:24], "big")))
            before, drops = use_of(pair.paris, plane, name), drops_of(pair.paris)
            assert before.packets > 0
            assert before.last_used >= before.first_used > 0
            later = struct.unpack_from("!I", packet, 24)[0] + 100
            forged = packet[:24] + struct.pack("!I", later) + packet[28:]
            for _ in range(5):
                sender.sendto(packet, (here, 0))
                sender.sendto(forged, (here, 0))
            seen = ("XfrmInStateSeqError", "XfrmInStateProtoError")
            until(
                lambda: all(drops_of(pair.paris)[one] >= drops[one] + 5 for one in seen),
                "they were there",
            )
        assert use_of(pair.paris, plane, name).packets == before.packets
        assert passes(pair.paris)
        assert use_of(pair.paris, plane, name).packets == before.packets + 1


def drops_of(host: Host) -> dict[str, int]:
    """By the kernel's names, zeros included."""
    report = host.status()
    assert report is not None
    return defaultdict(int, {one.name: one.packets for one in report.drops})
