"""Gateways with thousands of peers: how long they take to load, and what each object weighs."""

import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path

import pytest

from plutino.dataplane.engine_client import EngineClient
from plutino.dataplane.tun import MANY as MANY_DEVICES
from plutino.dataplane.tun import queues_of_each
from plutino.dataplane.userspace import UserspacePlane
from plutino.model.algorithms import AeadKey
from plutino.model.interface import Interface
from plutino.model.numbers import IfId, ReqId, Spi
from plutino.model.policy import Direction, IpNetwork, Policy, Selector, Template
from plutino.model.sa import ReplayState, SaDirection, SecurityAssociation
from plutino.model.secret import Secret
from plutino.netlink.route_clients import RouteClients
from plutino.netlink.socket import NetlinkSocket
from plutino.netlink.xfrm.convert import policy_message, sa_message
from plutino.netlink.xfrm.messages import XfrmMessage
from tests.support.engine import engine_process
from tests.support.namespace import fresh_namespace
from tests.support.raw_plane import ACK, REQUEST, encode, engine_socket, parse

INTERFACES = 1000
MANY = 100_000
WINDOW = 64
BATCH = 100
MARK = 0x5AA55A
"""A number whose octets stand nowhere else in a message."""
NUMBER = struct.Struct("=I")
SPI = struct.Struct("!I")
SA_OCTETS = 2048
POLICY_OCTETS = 1024
US = IPv4Address("192.0.2.1")
KEY = AeadKey("rfc4106(gcm(aes))", Secret(bytes(range(36))), 128)
ANY: tuple[IpNetwork, IpNetwork] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))


def peer(number: int) -> IPv4Address:
    """The other gateway of an interface."""
    return IPv4Address("10.0.0.0") + number


def ends(direction: SaDirection, number: int) -> tuple[IPv4Address, IPv4Address]:
    """Source and destination of what goes that way."""
    there = peer(number)
    return (US, there) if direction is SaDirection.OUT else (there, US)


def security_association(direction: SaDirection, number: int) -> SecurityAssociation:
    """One of the two of an interface."""
    source, destination = ends(direction, number)
    spi = Spi(0x1000 + number)
    return SecurityAssociation(
        spi,
        source,
        destination,
        ReqId(number),
        IfId(number),
        KEY,
        direction,
        replay=ReplayState(window=0 if direction is SaDirection.OUT else WINDOW),
    )


def policies(number: int) -> Iterator[Policy]:
    """The six of an interface: three directions, two families."""
    for direction in Direction:
        way = SaDirection.OUT if direction is Direction.OUT else SaDirection.IN
        template = Template(*ends(way, number), ReqId(number))
        for network in ANY:
            selector = Selector(network, network)
            yield Policy(direction, selector, IfId(number), (template,), 100)


@contextmanager
def plane() -> Iterator[tuple[UserspacePlane, EngineClient]]:
    """A fresh engine in a namespace of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        fresh_namespace(),
        engine_process(Path(folder)) as path,
    ):
        client = EngineClient(path)
        served = UserspacePlane("scale", client, RouteClients())
        try:
            yield served, client
        finally:
            served.close()


def load() -> dict[str, float]:
    """Seconds of each part."""
    with plane() as (served, client):
        numbers = range(1, INTERFACES + 1)
        parts: dict[str, float] = {}

        def timed(name: str, act: Callable[[], None]) -> None:
            start = time.perf_counter()
            act()
            parts[name] = time.perf_counter() - start

        timed(
            "interfaces",
            lambda: served.create_links([Interface(f"ipsec{n}", IfId(n), 1400) for n in numbers]),
        )
        timed(
            "SAs",
            lambda: served.add_sas(
                [security_association(way, n) for n in numbers for way in SaDirection]
            ),
        )
        timed(
            "policies",
            lambda: served.add_policies([one for n in numbers for one in policies(n)]),
        )
        devices = client.list_devices()
        assert len(devices) == INTERFACES
        assert all(one.attached for one in devices)
        assert served.objects_left() == 9 * INTERFACES
        assert {one.if_id for one in devices} == set(numbers)
        return parts


@pytest.mark.root
def test_a_thousand_interfaces_with_their_sas_and_policies() -> None:
    """How long it took is printed, and no reason to fail: the machine may be busy."""
    print(load())


def attach_again(count: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Octets that are read to serve one of so many interfaces again, as by another engine."""
    read = []
    genuine = NetlinkSocket._receive_datagram

    def receive(self: NetlinkSocket, step: str) -> bytes:
        read.append(genuine(self, step))
        return read[-1]

    with plane() as (served, client):
        interfaces = [Interface(f"ipsec{n}", IfId(n), 1400) for n in range(1, count + 1)]
        served.create_links(interfaces)
        each = queues_of_each(count)
        files = len(list(Path(f"/proc/{client.info().pid}/fd").iterdir()))
        assert count * each <= files < count * each + 100
        client.delete_devices([one.name for one in interfaces])
        with monkeypatch.context() as patch:
            patch.setattr(NetlinkSocket, "_receive_datagram", receive)
            served.attach_link(interfaces[-1])
        (device,) = client.list_devices()
        assert (device.name, device.attached) == (interfaces[-1].name, True)
    return sum(map(len, read))


@pytest.mark.root
def test_serving_an_interface_again_costs_the_same_beside_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the end of an engine it is done for each of them; and many take one open file each."""
    few, many = (attach_again(count, monkeypatch) for count in (10, MANY_DEVICES))
    assert many < 2 * few


def numbered(message: XfrmMessage) -> Callable[[int], bytes]:
    """The same message for other interfaces: wherever the number stands, another is put."""
    pattern = message.encode()
    marks = (peer(MARK).packed, SPI.pack(0x1000 + MARK), NUMBER.pack(MARK))

    def encode(number: int) -> bytes:
        octets = pattern
        values = (peer(number).packed, SPI.pack(0x1000 + number), NUMBER.pack(number))
        for mark, value in zip(marks, values, strict=True):
            octets = octets.replace(mark, value)
        return octets

    return encode


def weight(message: XfrmMessage) -> float:
    """Octets of memory for each of MANY."""
    encode_one = numbered(message)
    with tempfile.TemporaryDirectory() as folder, engine_process(Path(folder)) as path:
        client = EngineClient(path)
        pid = client.info().pid
        before = resident(pid)
        with engine_socket(path) as sock:
            for first in range(1, MANY + 1, BATCH):
                numbers = range(first, first + BATCH)
                datagram = b"".join(
                    encode(message.kind, encode_one(n), REQUEST | (n == numbers[-1]) * ACK)
                    for n in numbers
                )
                sock.send(datagram)
                (reply,), _ports = parse(sock.recv(1 << 16))
                assert reply.errno == 0
        client.close()
        return (resident(pid) - before) / MANY


def resident(pid: int) -> int:
    """Octets of memory that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


@pytest.mark.parametrize("direction", SaDirection)
def test_an_sa_takes_two_kilobytes(direction: SaDirection) -> None:
    """With its window of 64 packets, which takes 16 octets."""
    octets = weight(sa_message(security_association(direction, MARK)))
    print(direction, octets)
    assert octets <= SA_OCTETS


def test_a_policy_takes_one_kilobyte() -> None:
    """Each of an if_id of its own, which shares least with others."""
    one = next(policy for policy in policies(MARK) if policy.direction is Direction.OUT)
    octets = weight(policy_message(one))
    print(octets)
    assert octets <= POLICY_OCTETS
