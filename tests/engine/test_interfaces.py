"""Devices that come, go, are renamed and moved; several queues; the external device."""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from plutino.dataplane.engine_client import EngineClient
from plutino.dataplane.tun import open_tun
from plutino.lab.namespaces import NetworkNamespace
from plutino.model.errors import KernelError
from plutino.model.numbers import IfId
from plutino.netlink.route_client import RouteClient
from tests.support.engine import engine_process
from tests.support.engine_lab import (
    DEVICE,
    IF_ID,
    INNER,
    MTU,
    ONE,
    TWO,
    EngineCase,
    EngineEnd,
    EngineLab,
    engine_lab,
)
from tests.support.esp_algorithms import ALGORITHMS
from tests.support.namespace import fresh_namespace
from tests.support.until import until

pytestmark = pytest.mark.root

CASE = EngineCase(ALGORITHMS[0], inner=(4,))
MOST = 1000


def datagram(number: int, *, port: int = 1000) -> bytes:
    """From ``one`` to ``two``, with a number in it."""
    head = IP(src=INNER[4][ONE], dst=INNER[4][TWO], flags="DF", id=1)
    return bytes(head / UDP(sport=port, dport=9, chksum=0) / Raw(number.to_bytes(4, "big")))


@pytest.fixture
def lab() -> Iterator[EngineLab]:
    with engine_lab() as one:
        one.install(CASE)
        yield one


def ip(end: EngineEnd, command: str) -> None:
    """The ``ip`` command at an end."""
    with end.host.namespace.entered():
        subprocess.run(["ip", *command.split()], check=True)


def passes(lab: EngineLab, number: int) -> None:
    """A packet goes through."""
    lab.one.inject(datagram(number))
    assert lab.two.await_delivery() == datagram(number)


def reopen(end: EngineEnd, name: str = DEVICE) -> None:
    """The packet socket on the device, which was told that it went down."""
    end._tun.close()
    with end.host.namespace.entered():
        end._tun = end._packet_socket(name)


def names(end: EngineEnd) -> list[tuple[str, bool]]:
    return [(device.name, device.attached) for device in end.client.list_devices()]


def test_down_and_up(lab: EngineLab) -> None:
    passes(lab, 1)
    before = lab.two.client.list_devices()[0].stats
    ip(lab.two, f"link set {DEVICE} down")
    lab.one.inject(datagram(2))
    until(lambda: lab.two.drops() == {"XfrmInNoPols": 1}, f"a drop: {lab.two.drops()}")
    assert lab.two.client.list_devices()[0].stats == before, "as if the device were not there"
    drop = lab.two.client.drops()[-1]
    assert (drop.reason, drop.if_id) == ("XfrmInNoPols", IF_ID)
    ip(lab.two, f"link set {DEVICE} up")
    reopen(lab.two)
    passes(lab, 3)


def test_renamed_by_hand(lab: EngineLab) -> None:
    for end in (lab.one, lab.two):
        ip(end, f"link set {DEVICE} down")
        ip(end, f"link set {DEVICE} name office")
        ip(end, "link set office up")
        assert names(end) == [("office", True)]
        reopen(end, "office")
    lab.one._tun.sendto(datagram(1), ("office", 0x0800, 0, 0, b""))
    assert lab.two.await_delivery() == datagram(1)
    device = lab.two.client.list_devices()[0]
    assert device.stats["rx_packets"] == 1, "with its counters"
    # Another device may have the old name, but not its if_id, as with the kernel.
    with lab.two.host.namespace.entered(), RouteClient() as routes:
        with pytest.raises(KernelError, match="if_id"):
            lab.two.new_device(routes, DEVICE, IF_ID)
        lab.two.new_device(routes, "ipsec2", IfId(2))
    lab.two.client.delete_devices(["office"])
    assert names(lab.two) == [("ipsec2", True)]


def test_two_devices_that_swap_their_names(lab: EngineLab) -> None:
    with lab.two.host.namespace.entered(), RouteClient() as routes:
        lab.two.new_device(routes, "ipsec2", IfId(2))
    for command in ("ipsec1 name x", "ipsec2 name ipsec1", "x name ipsec2"):
        name = command.split()[0]
        ip(lab.two, f"link set {name} down")
        ip(lab.two, f"link set {command}")
    if_ids = {one.name: one.if_id for one in lab.two.client.list_devices()}
    assert if_ids == {"ipsec1": 2, "ipsec2": 1}


def test_moved_to_another_namespace(lab: EngineLab) -> None:
    with NetworkNamespace.create() as elsewhere:
        with lab.two.host.namespace.entered():
            holder = subprocess.Popen(["sleep", "60"])
        try:
            number = f"/proc/self/fd/{elsewhere.fileno()}"
            with lab.two.host.namespace.entered():
                subprocess.run(
                    ["ip", "link", "set", DEVICE, "netns", number],
                    check=True,
                    pass_fds=[elsewhere.fileno()],
                )
            with elsewhere.entered():
                subprocess.run(["ip", "link", "set", DEVICE, "up"], check=True)
                tap = EngineEnd._packet_socket(DEVICE)
            lab.one.inject(datagram(5))
            found: list[bytes] = []

            def comes() -> bool:
                try:
                    found.append(tap.recv(2000))
                except BlockingIOError:
                    return False
                return datagram(5) in found

            until(comes, "the packet in the other namespace")
            assert names(lab.two) == [(DEVICE, True)]
            tap.close()
        finally:
            holder.kill()
            holder.wait()


def test_deleted_by_hand(lab: EngineLab) -> None:
    ip(lab.two, f"link delete {DEVICE}")
    assert names(lab.two) == [(DEVICE, False)]
    lab.one.inject(datagram(1))
    until(lambda: lab.two.drops() == {"XfrmInNoPols": 1}, f"a drop: {lab.two.drops()}")
    with lab.two.host.namespace.entered(), RouteClient() as routes:
        lab.two.new_device(routes, "other", IF_ID)
    assert names(lab.two) == [("other", True)], "its if_id is free"


def test_connections_keep_their_order_over_several_queues(lab: EngineLab) -> None:
    queues = 4
    for end in (lab.one, lab.two):
        with end.host.namespace.entered(), RouteClient() as routes:
            link = routes.find_link(DEVICE)
            assert link is not None
            descriptors = [open_tun(DEVICE) for _ in range(queues)]
            end.client.new_device(DEVICE, IF_ID, link.index, MTU, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
    connections, each, burst = 20, 100, 10
    found: list[bytes] = []
    for start in range(0, each, burst):
        for number in range(start, start + burst):
            for port in range(connections):
                lab.one.inject(datagram(number, port=port))
        sent = connections * (start + burst)

        def all_came(sent: int = sent) -> bool:
            found.extend(lab.two.delivered())
            return len(found) >= sent

        until(all_came, f"packet {sent}: {len(found)}")
    for port in range(connections):
        numbers = [one[28:] for one in found if int.from_bytes(one[20:22], "big") == port]
        assert numbers == sorted(numbers)
        assert len(numbers) == each


def test_the_external_device(lab: EngineLab) -> None:
    """SAs with if_ids of their own, which no device has."""
    for end in (lab.one, lab.two):
        end.client.delete_devices([DEVICE])
        ip(end, f"link delete {DEVICE}")
        with end.host.namespace.entered(), RouteClient() as routes:
            end._tun.close()
            end.new_device(routes, DEVICE, None)  # type: ignore[arg-type]
            end._tun = end._packet_socket(DEVICE)
        (device,) = end.client.list_devices()
        assert (device.if_id, device.attached) == (None, True)
    lab.one.inject(datagram(1))
    until(
        lambda: lab.one.client.list_devices()[0].stats["tx_dropped"] == 1, "a drop without an if_id"
    )
    assert lab.one.drops() == {}
    lab.one.client.new_map(ip_network("10.0.0.0/8"), IfId(77))
    lab.one.client.new_map(ip_network("10.2.0.0/16"), IF_ID)
    assert lab.one.client.list_maps() == {
        ip_network("10.0.0.0/8"): 77,
        ip_network("10.2.0.0/16"): IF_ID,
    }
    passes(lab, 2)
    with pytest.raises(KernelError, match="has an if_id"):
        lab.one.client.new_map(ip_network("10.2.0.0/16"), IF_ID)
    lab.one.client.delete_map(ip_network("10.2.0.0/16"))
    lab.one.inject(datagram(3))
    until(
        lambda: lab.one.client.list_devices()[0].stats["tx_carrier_errors"] == 1,
        "no policy has the shorter prefix's if_id",
    )
    # A device of that if_id goes before the external one.
    lab.one.client.new_map(ip_network("10.2.0.0/16"), IF_ID)
    with lab.two.host.namespace.entered(), RouteClient() as routes:
        lab.two.new_device(routes, "ipsec2", IF_ID)
    assert lab.two.delivered() == []
    reopen(lab.two, "ipsec2")
    passes(lab, 4)


def test_a_thousand_devices(tmp_path: Path) -> None:
    with fresh_namespace(), engine_process(tmp_path) as path:
        client = EngineClient(path)
        descriptors = [open_tun(f"t{number}") for number in range(MOST)]
        start = time.monotonic()
        for number, descriptor in enumerate(descriptors):
            client.new_device(f"t{number}", IfId(number + 1), number + 2, MTU, [descriptor])
        took = time.monotonic() - start
        for descriptor in descriptors:
            os.close(descriptor)
        devices = client.list_devices()
        client.close()
    assert len(devices) == MOST
    assert all(device.attached for device in devices)
    assert took < 2, f"{took:.2f} s"


def test_an_if_id_must_be(lab: EngineLab) -> None:
    with pytest.raises(KernelError, match="if_id must be non zero"):
        lab.one.client.new_device(DEVICE, IfId(0), 5, MTU)
    device = lab.one.client.list_devices()[0]
    lab.one.client.new_device(DEVICE, IfId(9), device.ifindex, 1300)
    (now,) = lab.one.client.list_devices()
    assert now == replace(device, if_id=IfId(9), mtu=1300)
