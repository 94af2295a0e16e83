"""What the engine does on the way to its peer: path MTU, fragments, DF, jumbo frames."""

import socket
import struct
from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.packet import Packet, Raw

from plutino.lab.hosts import WIRE
from plutino.lab.namespaces import NetworkNamespace
from plutino.model.sa import Encapsulation
from tests.support.engine_lab import DEVICE, INNER, ONE, OUTER, TWO, EngineCase, EngineLab
from tests.support.esp_algorithms import BY_NAME
from tests.support.routed_lab import routed_lab, run, set_second_link
from tests.support.until import until

pytestmark = pytest.mark.root

GCM = next(iter(BY_NAME.values()))
SMALL = 1300
"""The MTU of the second link."""
OVERHEAD = {
    (4, Encapsulation.ESP): 54,
    (4, Encapsulation.UDP): 62,
    (6, Encapsulation.ESP): 74,
    (6, Encapsulation.UDP): 82,
}
"""``xfrm_state_mtu()`` of a tunnel with AES-GCM: IP header, UDP header, ESP header 8, IV 8, ICV 16,
2 octets of trailer; 1500 and 1300 leave multiples of 4."""


def inner_packet(version: int, length: int, *, df: bool = True) -> bytes:
    """A datagram of that many octets from ``one`` to ``two``."""
    source, destination = INNER[version][ONE], INNER[version][TWO]
    if version == 4:
        head = IP(src=source, dst=destination, flags="DF" if df else 0, id=7)
    else:
        head = IPv6(src=source, dst=destination)
    empty = len(head / UDP(sport=1, dport=2))
    return bytes(head / UDP(sport=1, dport=2) / Raw(bytes(length - empty)))


def told_mtu(answers: list[bytes], packet: bytes) -> int:
    """The MTU in the one answer, which must be right in all its parts."""
    (answer,) = answers
    version = packet[0] >> 4
    if version == 4:
        read: Packet = IP(answer)
        assert (read[ICMP].type, read[ICMP].code) == (3, 4)
        assert (read.src, read.dst) == (INNER[4][TWO], INNER[4][ONE])
        assert bytes(read[ICMP].payload)[:20] == packet[:20]
        return int(read[ICMP].nexthopmtu)
    read = IPv6(answer)
    assert (read.src, read.dst) == (INNER[6][TWO], INNER[6][ONE])
    assert bytes(read[ICMPv6PacketTooBig].payload)[:40] == packet[:40]
    return int(read[ICMPv6PacketTooBig].mtu)


@pytest.fixture
def routed() -> Iterator[tuple[EngineLab, NetworkNamespace]]:
    with routed_lab() as (lab, router):
        for end in (lab.one, lab.two):
            run(end.host.namespace, f"ip link set {DEVICE} mtu 9500")
        yield lab, router


CASES = [(outer, how) for outer in (4, 6) for how in Encapsulation]


@pytest.mark.parametrize(("outer", "how"), CASES)
def test_who_sends_too_much_is_told_what_fits(
    routed: tuple[EngineLab, NetworkNamespace], outer: int, how: Encapsulation
) -> None:
    lab, router = routed
    lab.install(EngineCase(GCM, outer=outer, encapsulation=how))
    for version in (4, 6):
        fits = 1500 - OVERHEAD[outer, how]
        too_big = inner_packet(version, fits + 1)
        lab.one.inject(too_big)
        answers = [lab.one.await_delivery()]
        assert told_mtu(answers, too_big) == fits, "the first packet, by the link's own MTU"
        fitting = inner_packet(version, fits)
        lab.one.inject(fitting)
        assert lab.two.await_delivery() == fitting
    # A link further on is smaller: the first packet is lost, and the host hears of it.
    set_second_link(router, lab.two.host, SMALL)
    fits = SMALL - OVERHEAD[outer, how]
    for version in (4, 6):
        too_big = inner_packet(version, 1400)
        answers = []

        def answered(packet: bytes = too_big, answers: list[bytes] = answers) -> bool:
            lab.one.inject(packet)
            own = [one for one in lab.one.delivered() if one[0] >> 4 == packet[0] >> 4]
            answers.extend(own)
            return bool(answers)

        until(answered, "an answer after the router's")
        told = max(fits, 1280) if version == 6 else fits
        assert told_mtu(answers[:1], too_big) == told
        lab.two.delivered()
        fitting = inner_packet(version, told)
        lab.one.inject(fitting)
        assert lab.two.await_delivery() == fitting
    assert not [name for name in lab.one.drops() if name != "XfrmOutError"], lab.one.drops()


@pytest.mark.parametrize(("outer", "how"), CASES)
def test_what_may_be_fragmented_is_fragmented_outside_and_arrives(
    routed: tuple[EngineLab, NetworkNamespace], outer: int, how: Encapsulation
) -> None:
    lab, _router = routed
    lab.install(EngineCase(GCM, outer=outer, encapsulation=how))
    for length in (1500, 4000, 9000):
        packet = inner_packet(4, length, df=False)
        lab.one.inject(packet)
        assert lab.two.await_delivery() == packet
    own = socket.inet_pton(socket.AF_INET if outer == 4 else socket.AF_INET6, OUTER[outer][ONE])

    def sent() -> list[bytes]:
        return [frame[14:] for frame, _ in list(lab.frames) if own in frame[22:38]]

    until(lambda: len(sent()) >= 12, "the fragments")
    assert all(len(packet) <= 1500 for packet in sent())
    if outer == 4:
        assert all(struct.unpack_from("!H", packet, 6)[0] & 0x4000 == 0 for packet in sent())


@pytest.mark.parametrize("how", list(Encapsulation))
def test_df_outside_is_that_of_each_packet(
    routed: tuple[EngineLab, NetworkNamespace], how: Encapsulation
) -> None:
    lab, _router = routed
    there, _back = lab.install(EngineCase(GCM, outer=4, encapsulation=how))
    for df in (True, False, True, True, False):
        lab.frames.clear()
        lab.one.inject(inner_packet(4, 500, df=df))
        lab.two.await_delivery()
        outside = lab.frame_of(there.spi)[14:]
        assert bool(struct.unpack_from("!H", outside, 6)[0] & 0x4000) == df


@pytest.mark.parametrize(("outer", "how"), CASES)
def test_jumbo_frames(
    routed: tuple[EngineLab, NetworkNamespace], outer: int, how: Encapsulation
) -> None:
    lab, router = routed
    run(lab.one.host.namespace, f"ip link set {WIRE} mtu 9000")
    run(router, f"ip link set to-{ONE} mtu 9000")
    set_second_link(router, lab.two.host, 9000)
    there, _back = lab.install(EngineCase(GCM, outer=outer, encapsulation=how))
    packet = inner_packet(4, 9000 - OVERHEAD[outer, how])
    lab.one.inject(packet)
    assert lab.two.await_delivery() == packet
    assert len(lab.frame_of(there.spi)) - 14 > 8990, "in one frame"
