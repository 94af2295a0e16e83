"""Packets that are no SA's, or came otherwise than their SA's do; in every mode."""

from dataclasses import replace

import pytest
from scapy.layers.inet import UDP
from scapy.packet import Raw

from plutino.model.sa import Encapsulation, SaDirection
from tests.support.attack import IPIP, IPV6, Attack, octets_of, packet_of, with_protocol
from tests.support.engine_lab import ONE
from tests.support.esp_judge import Judge, outer_header

pytestmark = pytest.mark.root


def test_an_unknown_spi(attack: Attack) -> None:
    octets = octets_of(attack.seal(attack.inner()))
    spis = (1, 255, 256, attack.flow.spi + 1_000_000, attack.back.spi, 0xFFFFFFFF)
    with attack.counted(XfrmInNoStates=len(spis)):
        for spi in spis:
            attack.send(attack.esp(spi.to_bytes(4, "big") + octets[4:]))


def test_esp_that_should_have_come_in_udp(attack_in_udp: Attack) -> None:
    attack = attack_in_udp
    bare = Judge(replace(attack.flow, case=replace(attack.case, encapsulation=Encapsulation.ESP)))
    with attack.counted(XfrmInStateMismatch=1):
        attack.send(bare.seal(attack.inner(), attack.next()))


def test_udp_around_esp_that_should_have_come_bare(attack: Attack) -> None:
    case = replace(attack.case, encapsulation=Encapsulation.UDP)
    wrapped = Judge(replace(attack.flow, case=case))
    with attack.counted(XfrmInStateMismatch=1):
        attack.send(wrapped.seal(attack.inner(), attack.next()))


def test_keepalives_and_ike_are_passed_over(attack_in_udp: Attack) -> None:
    attack = attack_in_udp
    with attack.counted():
        attack.send(attack.esp(b"\xff"))
        attack.send(attack.esp(bytes(4) + b"IKE header and more of it, all in clear"))
        attack.send(attack.esp(bytes(4) + attack.inner()))
        # Too short for ESP is no ESP (`xfrm4_udp_encap_rcv`).
        for length in range(9):
            attack.send(attack.esp((attack.flow.spi.to_bytes(4, "big") * 2)[:length]))


def test_an_sa_of_the_wrong_direction(attack: Attack) -> None:
    outbound = attack.lab.new_flow(attack.case, ONE)
    attack.lab.two.send(outbound.sa(SaDirection.OUT))
    with attack.counted(XfrmInStateDirError=1):
        attack.send(Judge(outbound).seal(attack.inner(), 1))


def test_clear_packets_from_the_wire_do_not_reach_the_device(attack: Attack) -> None:
    header = outer_header(attack.flow)
    number = {4: IPIP, 6: IPV6}
    with attack.counted():
        for version in attack.case.inner:
            inner = attack.inner(b"in clear", version)
            attack.send(packet_of(inner))
            attack.send(with_protocol(header.copy(), number[version]) / Raw(inner))
            attack.send(header / UDP(sport=4500, dport=4501) / Raw(inner))
