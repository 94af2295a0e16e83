"""Gateways with thousands of peers: how long they take to load, and what each object weighs."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path

import pytest

from plutino.dataplane.engine_client import EngineClient
from plutino.dataplane.userspace import UserspacePlane
from plutino.model.algorithms import AeadKey
from plutino.model.interface import Interface
from plutino.model.numbers import IfId, ReqId, Spi
from plutino.model.policy import Direction, IpNetwork, Policy, Selector, Template
from plutino.model.sa import ReplayState, SaDirection, SecurityAssociation
from plutino.model.secret import Secret
from plutino.netlink.route_client import RouteClient
from tests.support.engine import engine_process
from tests.support.namespace import fresh_namespace

INTERFACES = 1000
WINDOW = 64
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
        served = UserspacePlane("scale", client, RouteClient())
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
            lambda: served.create_links(Interface(f"ipsec{n}", IfId(n), 1400) for n in numbers),
        )
        timed(
            "SAs",
            lambda: served.add_sas(
                security_association(way, n) for n in numbers for way in SaDirection
            ),
        )
        timed(
            "policies",
            lambda: served.add_policies(one for n in numbers for one in policies(n)),
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
