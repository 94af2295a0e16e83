"""ESP that comes before its SA is delivered once that is there; nobody else gains by it."""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from plutino.daemon import early_esp
from plutino.daemon.early_esp import BUFFER, MOST, EarlyEsp, datagrams
from plutino.ike_process.outcome import AwaitedSa
from plutino.model.numbers import Spi
from plutino.model.sa import Encapsulation, SaDirection
from tests.support.engine_lab import ONE, OUTER, TWO, EngineCase, EngineLab, Flow, engine_lab
from tests.support.esp_algorithms import BY_NAME
from tests.support.until import until

pytestmark = pytest.mark.root

GCM = next(iter(BY_NAME.values()))
CASES = [
    EngineCase(GCM, outer=outer, encapsulation=encapsulation, inner=(4,))
    for outer in (4, 6)
    for encapsulation in Encapsulation
]
PLAIN = CASES[0]
SMALLEST_SKB = 512
"""Bytes that the kernel counts for a packet in a socket's buffer, at least."""


@pytest.fixture(scope="module")
def lab() -> Iterator[EngineLab]:
    with engine_lab() as made:
        yield made


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is given up because the machine is busy."""
    monkeypatch.setattr(early_esp, "LONGEST", 60.0)


def inside_two(lab: EngineLab, play: Callable[[EarlyEsp], None]) -> None:
    """With an ``EarlyEsp`` where ``two`` is."""

    async def run() -> None:
        early = EarlyEsp()
        try:
            play(early)
        finally:
            early.close()

    with lab.two.host.namespace.entered():
        asyncio.run(run())


def awaited(case: EngineCase, spi: int) -> AwaitedSa:
    here, there = (ip_address(OUTER[case.outer][name]) for name in (TWO, ONE))
    return AwaitedSa("one", here, there, spi, udp=case.encapsulation is Encapsulation.UDP)


def half_made(lab: EngineLab, case: EngineCase) -> Flow:
    """A further SA that ``one`` sends by and ``two`` does not have yet."""
    lab.install(case)
    flow = lab.new_flow(case, ONE)
    lab.one.send(flow.sa(SaDirection.OUT))
    return flow


def numbered(number: int) -> bytes:
    packet = IP(src="10.1.0.1", dst="10.2.0.1", proto=200, id=7) / Raw(struct.pack("!I", number))
    return bytes(packet)


def lost(lab: EngineLab, before: dict[str, int]) -> dict[str, int]:
    now = lab.two.drops()
    changed = {name: count - before.get(name, 0) for name, count in now.items()}
    return {name: count for name, count in changed.items() if count}


def send(lab: EngineLab, numbers: range) -> None:
    """One after the other, each until ``two`` has looked at it."""
    before = dict(lab.two.drops())
    for sent, number in enumerate(numbers, 1):
        lab.one.inject(numbered(number))
        wanted = {"XfrmInNoStates": sent}
        until(lambda wanted=wanted: lost(lab, before) == wanted, f"{number} is there")  # type: ignore[misc]


def delivered(lab: EngineLab, count: int) -> list[bytes]:
    found: list[bytes] = []

    def come() -> bool:
        found.extend(lab.two.delivered())
        return len(found) >= count

    until(come, f"{count} packets; drops: {lab.two.drops()}")
    return found


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_came_before_its_sa_is_delivered_in_order_and_once(
    lab: EngineLab, case: EngineCase
) -> None:
    def play(early: EarlyEsp) -> None:
        flow = half_made(lab, case)
        early.expect(awaited(case, flow.spi), 0)
        send(lab, range(40))
        early.take([Spi(flow.spi + 1)]).deliver()
        before = dict(lab.two.drops())
        lab.two.send(flow.sa(SaDirection.IN))
        lab.one.inject(numbered(40))  # processed at once, and once more when it is delivered
        assert delivered(lab, 1) == [numbered(40)]
        early.take([Spi(flow.spi)]).deliver()
        assert delivered(lab, 40) == [numbered(number) for number in range(40)]
        until(lambda: lost(lab, before) == {"XfrmInStateSeqError": 1}, "the copy is dropped")
        lab.one.inject(numbered(41))
        assert delivered(lab, 1) == [numbered(41)]
        assert not len(early)
        assert lost(lab, before) == {"XfrmInStateSeqError": 1}

    inside_two(lab, play)


def test_a_flood_is_kept_within_its_bound_and_delays_nobody(lab: EngineLab) -> None:
    """Forged ESP with the SPI that is awaited, from the peer's address, as an observer could."""

    def play(early: EarlyEsp) -> None:
        flow = half_made(lab, PLAIN)
        early.expect(awaited(PLAIN, flow.spi), 0)
        ether = Ether(src=lab.one.mac, dst=lab.two.mac)
        head = IP(src=OUTER[4][ONE], dst=OUTER[4][TWO], proto=50)
        before = dict(lab.two.drops())
        for number in range(1500):
            esp = struct.pack("!II", flow.spi, number + 1) + bytes(64)
            lab.one.transmit(bytes(ether / head / Raw(esp)))
        until(lambda: lost(lab, before).get("XfrmInNoStates", 0) > 700, "they come")
        lab.two.send(flow.sa(SaDirection.IN))
        lab.one.inject(numbered(1))
        assert delivered(lab, 1) == [numbered(1)], "meanwhile others pass"
        before = dict(lab.two.drops())
        early.take([Spi(flow.spi)]).deliver()
        lab.one.inject(numbered(2))
        assert delivered(lab, 1) == [numbered(2)]
        forged = lost(lab, before).get("XfrmInStateProtoError", 0)
        assert 0 < forged <= 2 * BUFFER // SMALLEST_SKB

    inside_two(lab, play)


@pytest.mark.parametrize("what", ["spi", "source"])
def test_nothing_else_is_kept(lab: EngineLab, what: str) -> None:
    """ESP of another SPI, and of an address that is not the peer's."""

    def play(early: EarlyEsp) -> None:
        flow = half_made(lab, PLAIN)
        spi = flow.spi + (what == "spi")
        source = "192.0.2.77" if what == "source" else OUTER[4][ONE]
        early.expect(awaited(PLAIN, flow.spi), 0)
        before = dict(lab.two.drops())
        head = Ether(src=lab.one.mac, dst=lab.two.mac) / IP(src=source, dst=OUTER[4][TWO], proto=50)
        lab.one.transmit(bytes(head / Raw(struct.pack("!II", spi, 1) + bytes(64))))
        until(lambda: lost(lab, before) == {"XfrmInNoStates": 1}, "it is there")
        lab.two.send(flow.sa(SaDirection.IN))
        early.take([Spi(flow.spi)]).deliver()
        lab.one.inject(numbered(1))
        assert delivered(lab, 1) == [numbered(1)]
        assert lost(lab, before) == {"XfrmInNoStates": 1}

    inside_two(lab, play)


def test_so_many_are_awaited_and_no_longer_than_that(
    lab: EngineLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        early = EarlyEsp()
        spis = [Spi(0x8000 + number) for number in range(MOST + 1)]
        for spi in spis:
            early.expect(awaited(PLAIN, int(spi)), 0)
        assert len(early) == MOST
        early.close()
        monkeypatch.setattr(early_esp, "LONGEST", 0.01)
        early.expect(awaited(PLAIN, int(spis[0])), 0)
        await asyncio.to_thread(until, lambda: not len(early), "it is given up")

    with lab.two.host.namespace.entered():
        asyncio.run(run())


def test_an_address_that_is_not_ours_is_none_of_an_error(lab: EngineLab) -> None:
    def play(early: EarlyEsp) -> None:
        elsewhere = AwaitedSa("one", ip_address("192.0.2.9"), ip_address("192.0.2.1"), 256, False)
        early.expect(elsewhere, 0)
        assert not len(early)

    inside_two(lab, play)


@pytest.mark.parametrize("address", ["0.0.0.0", "224.0.0.1"])
def test_what_is_no_host_is_not_listened_for(lab: EngineLab, address: str) -> None:
    """By the one all would come, and by the other it would be sent to all others."""

    def play(early: EarlyEsp) -> None:
        here, there = (ip_address(OUTER[4][name]) for name in (TWO, ONE))
        early.expect(AwaitedSa("one", ip_address(address), there, 256, False), 0)
        early.expect(AwaitedSa("one", here, ip_address(address), 256, False), 0)
        assert not len(early)

    inside_two(lab, play)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing_is_sent_to_an_address_that_is_no_longer_ours(
    lab: EngineLab, case: EngineCase
) -> None:
    lab.install(case)
    here, there = (ip_address(OUTER[case.outer][name]) for name in (ONE, TWO))
    gone = AwaitedSa("one", here, there, 0x7777, udp=False)
    esp = struct.pack("!II", 0x7777, 1) + bytes(64)
    kind = IPv6 if case.outer == 6 else IP
    ends = {"src": str(there), "dst": str(here), "nh" if case.outer == 6 else "proto": 50}
    packet = bytes(kind(**ends) / Raw(esp))
    before = dict(lab.one.drops())
    with lab.two.host.namespace.entered():
        with suppress(OSError):
            early_esp._send_again(gone, [packet])
        family = socket.AF_INET6 if case.outer == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_RAW, 50) as last:
            last.sendto(esp, (str(here), 0))

    def came() -> int:
        return lab.one.drops().get("XfrmInNoStates", 0) - before.get("XfrmInNoStates", 0)

    until(lambda: came() > 0, "what was sent after it is there")
    assert came() == 1


@pytest.mark.parametrize("version", [4, 6])
def test_datagrams_that_the_kernel_has_joined_come_apart(version: int) -> None:
    """UDP_GRO: all but the last are of one length."""
    sa = awaited(CASES[1 if version == 4 else 3], 0x12345678)
    esp = [
        struct.pack("!II", 0x12345678, number) + bytes([number & 0xFF]) * length
        for number, length in ((0xFFFFFFFE, 100), (0xFFFFFFFF, 100), (0, 31))
    ]
    joined = struct.pack("!HHHH", 4500, 4500, 8 + sum(map(len, esp)), 0xBAD) + b"".join(esp)
    found = list(datagrams(joined, sa))
    assert [one[8:] for one in found] == esp
    for one in found:
        ports, length = one[:4], int.from_bytes(one[4:6], "big")
        assert (ports, length) == (struct.pack("!HH", 4500, 4500), len(one))
        head = IP(src=OUTER[4][ONE], dst=OUTER[4][TWO], proto=17)
        if version == 6:
            packet = IPv6(src=OUTER[6][ONE], dst=OUTER[6][TWO], nh=17) / Raw(one)
            right = IPv6(bytes(packet))
            told = right.payload.chksum
            del right.payload.chksum
            assert IPv6(bytes(right)).payload.chksum == told
        else:
            assert (head / Raw(one)).load[6:8] == bytes(2)
