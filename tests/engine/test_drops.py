"""The drop ring: why a packet was dropped, between whom, and nothing of what was in it."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import ESP

from plutino.dataplane.engine_messages import EngineDrop
from plutino.model.policy import Mode
from plutino.model.sa import Encapsulation, SaDirection
from plutino.netlink.xfrm.constants import MessageType, Xfrma
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import UserSaFlush, UserSaInfo, UserSpiInfo
from tests.support.engine_lab import (
    IF_ID,
    INNER,
    ONE,
    OUTER,
    TWO,
    EngineCase,
    EngineEnd,
    EngineLab,
    engine_lab,
)
from tests.support.esp_algorithms import ALGORITHMS
from tests.support.esp_judge import Judge, echo_reply, framed
from tests.support.until import until

pytestmark = pytest.mark.root

SECRET = b"nobody may read this in a report"
CASE = EngineCase(ALGORITHMS[0], Mode.TUNNEL, 4, Encapsulation.ESP, (4,), esn=False)


@pytest.fixture
def lab() -> Iterator[EngineLab]:
    with engine_lab() as one:
        yield one


def last_drop(end: EngineEnd, reason: str) -> EngineDrop:
    """The newest of that reason, when it has come."""
    until(lambda: any(drop.reason == reason for drop in end.client.drops()), reason)
    return [drop for drop in end.client.drops() if drop.reason == reason][-1]


def test_what_a_drop_tells_and_what_it_does_not(lab: EngineLab) -> None:
    there, _ = lab.install(CASE)
    judge = Judge(there)
    packet = judge.seal(echo_reply(CASE, 4, ONE, TWO, SECRET), sequence=9)
    unknown = IP(bytes(packet))
    unknown[ESP].spi = 0x7777
    lab.one.transmit(framed(unknown, lab.one, lab.two))
    drop = last_drop(lab.two, "XfrmInNoStates")
    assert (drop.direction, drop.spi, drop.sequence) == (SaDirection.IN, 0x7777, 9)
    assert (drop.source, drop.destination) == tuple(map(ip_address, OUTER[4].values()))
    assert drop.inner_header == b""

    lab.one.transmit(framed(packet, lab.one, lab.two))
    lab.one.transmit(framed(packet, lab.one, lab.two))
    drop = last_drop(lab.two, "XfrmInStateSeqError")
    assert (drop.if_id, drop.spi, drop.sequence) == (IF_ID, there.spi, 9)

    lab.one.flush()
    header = IP(src=INNER[4][ONE], dst=INNER[4][TWO])
    lab.one.inject(bytes(header / UDP(sport=1234, dport=53) / SECRET))
    drop = last_drop(lab.one, "tx_dropped")
    read = IP(drop.inner_header)
    assert (read.src, read.dst) == (INNER[4][ONE], INNER[4][TWO])
    assert drop.inner_header[20:] == (1234).to_bytes(2, "big") + (53).to_bytes(2, "big")

    for end in (lab.one, lab.two):
        for drop in end.client.drops():
            assert SECRET[:8] not in drop.inner_header


def test_a_packet_that_comes_before_the_keys(lab: EngineLab) -> None:
    """It hits the larval SA of its SPI (``xfrm_input``), and is good when the keys are there."""
    flow, _ = lab.install(CASE)
    keys = flow.sa(SaDirection.IN)
    info = keys.fixed
    assert isinstance(info, UserSaInfo)
    lab.two.send(XfrmMessage.build(MessageType.FLUSHSA, UserSaFlush(0)))
    asked = UserSpiInfo(info, flow.spi, flow.spi)
    identity = ((Xfrma.IF_ID, IF_ID), (Xfrma.SA_DIR, int(SaDirection.IN)))
    lab.two.send(XfrmMessage.build(MessageType.ALLOCSPI, asked, identity))
    packet = Judge(flow).seal(echo_reply(CASE, 4, ONE, TWO, SECRET), sequence=9)
    lab.one.transmit(framed(packet, lab.one, lab.two))
    drop = last_drop(lab.two, "XfrmAcquireError")
    assert (drop.if_id, drop.spi, drop.sequence) == (IF_ID, flow.spi, 9)
    assert lab.two.drops() == {"XfrmAcquireError": 1}
    lab.two.send(replace(keys, kind=MessageType.UPDSA))
    lab.one.transmit(framed(packet, lab.one, lab.two))
    assert SECRET in lab.two.await_delivery()


def test_a_reader_is_told_how_many_drops_it_missed(lab: EngineLab) -> None:
    flow, _ = lab.install(CASE)
    packet = IP(bytes(Judge(flow).seal(echo_reply(CASE, 4, ONE, TWO, SECRET), sequence=9)))
    packet[ESP].spi = 0x7777
    frame = framed(packet, lab.one, lab.two)
    sent = 600  # more than are recorded in so short a time
    for _packet in range(sent):
        lab.one.transmit(frame)
    until(lambda: lab.two.drops().get("XfrmInNoStates") == sent, "all have come")
    drops = lab.two.client.drops()
    assert drops[0].missed == lab.two.client.losses().drops
    assert len(drops) + drops[0].missed == sent
    assert {drop.missed for drop in drops[1:]} == {0}
    assert lab.two.client.drops()[0].missed == 0
    assert lab.two.client.losses().drops == drops[0].missed
