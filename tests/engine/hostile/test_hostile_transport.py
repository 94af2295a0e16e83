"""What transport mode holds: its addresses are those outside, everything else is the attacker's."""

from typing import Any

import pytest
from scapy.layers.inet import UDP

from plutino.model.sa import SaDirection
from tests.support.attack import (
    AH,
    BEETPH,
    COMP,
    ESP,
    GCM,
    ICMP,
    ICMPV6,
    IPIP,
    IPV6,
    LONGEST,
    MOST_SAS,
    TCP,
    TRANSPORTS,
    UDP_PROTOCOL,
    Attack,
    fragments,
    octets_of,
    sealed,
    with_protocol,
)
from tests.support.engine_lab import ONE, TWO, EngineCase, EngineLab, Flow
from tests.support.esp_judge import Judge, echo_reply, outer_header

pytestmark = pytest.mark.root


def own_protocol(attack: Attack) -> int:
    """That of the packets that are good."""
    return attack.carried()[1]


@pytest.mark.parametrize(
    "next_header", [0, 2, IPIP, TCP, UDP_PROTOCOL, IPV6, 43, 44, 60, BEETPH, 255]
)
def test_another_next_header_than_the_selector_has(transport: Attack, next_header: int) -> None:
    narrow = transport.narrowed(proto=own_protocol(transport))
    narrow.assert_good_passes()
    text, _ = transport.carried()
    with narrow.counted(XfrmInStateMismatch=1):
        narrow.send(narrow.forge(text, b"", 0, next_header))


def test_icmp_of_the_other_family(transport: Attack) -> None:
    narrow = transport.narrowed(proto=own_protocol(transport))
    text, _ = transport.carried()
    with narrow.counted(XfrmInStateMismatch=1):
        other = ICMPV6 if transport.case.outer == 4 else ICMP
        narrow.send(narrow.forge(text, b"", 0, other))


@pytest.mark.parametrize("version", [4, 6])
def test_a_tunnel_in_transport_mode_stays_closed(transport: Attack, version: int) -> None:
    """What is spoofed inside is nobody's packet: it belongs to who has the protocol around it."""
    number = IPIP if version == 4 else IPV6
    inside = echo_reply(EngineCase(GCM), version, ONE, TWO, b"spoofed")
    header = with_protocol(outer_header(transport.flow), number)
    whole = bytes(header / inside)
    transport.assert_passes(transport.forge(inside, b"", 0, number), whole)
    narrow = transport.narrowed(proto=own_protocol(transport))
    with narrow.counted(XfrmInStateMismatch=1):
        narrow.send(narrow.forge(inside, b"", 0, number))


def test_a_source_that_is_spoofed(transport: Attack) -> None:
    """ESP does not protect the outer header; the selector of the SA does."""
    narrow = transport.narrowed()
    spoofed = {4: "192.0.2.77", 6: "2001:db8::77"}[transport.case.outer]
    with narrow.counted(XfrmInStateMismatch=1):
        packet = narrow.seal(transport.inner())
        packet.src = spoofed
        if packet.version == 4:
            del packet.chksum
        narrow.send(packet)


def test_ports_outside_the_selector(transport: Attack) -> None:
    narrow = transport.narrowed(proto=UDP_PROTOCOL, dport=53, dport_mask=0xFFFF)
    good = bytes(UDP(sport=1000, dport=53, chksum=1) / b"in the selector")
    header = with_protocol(outer_header(transport.flow), UDP_PROTOCOL)
    transport.assert_passes(narrow.forge(good, b"", 0, UDP_PROTOCOL), bytes(header / good))
    others = [
        (bytes(UDP(sport=53, dport=54) / b"another port"), UDP_PROTOCOL),
        (good[:3], UDP_PROTOCOL),
        (good, TCP),
    ]
    with transport.counted(XfrmInStateMismatch=len(others)):
        for text, next_header in others:
            narrow.send(narrow.forge(text, b"", 0, next_header))


@pytest.mark.parametrize(("next_header", "whole"), [(AH, 12), (COMP, 4)], ids=("ah", "ipcomp"))
def test_a_protocol_of_ipsec_without_sa(transport: Attack, next_header: int, whole: int) -> None:
    text, _ = transport.carried(bytes(whole))
    with transport.counted(XfrmInHdrError=whole - 2, XfrmInNoStates=2):
        for length in range(2, whole):
            transport.send(transport.forge(text[:length], b"", 0, next_header))
        for length in (whole, len(text)):
            transport.send(transport.forge(text[:length], b"", 0, next_header))


def test_esp_in_esp(transport: Attack) -> None:
    flow = transport.flow
    known = octets_of(transport.seal(transport.inner()))
    with transport.counted(
        XfrmInHdrError=6, XfrmInNoStates=1, XfrmInStateProtoError=1, XfrmInStateSeqError=2
    ):
        for length in range(2, 8):
            transport.send(transport.forge(known[:length], b"", 0, ESP))
        unknown = (flow.spi + 1_000_000).to_bytes(4, "big") + known[4:]
        transport.send(transport.forge(unknown, b"", 0, ESP))
        tampered = sealed(flow, transport.next(), b"any text\0\1")
        transport.send(transport.forge(tampered[:-1] + bytes([tampered[-1] ^ 1]), b"", 0, ESP))
        # The SA itself, by the number of the packet that holds it, and by one that is none.
        number = transport.sequence + 1
        transport.send(transport.forge(sealed(flow, number, b"text\0\1"), b"", 0, ESP))
        transport.send(transport.forge(sealed(flow, 0, b"text\0\1"), b"", 0, ESP))


def test_esp_of_the_wrong_direction_in_esp(transport: Attack) -> None:
    outbound = transport.lab.new_flow(transport.case, ONE)
    transport.lab.two.send(outbound.sa(SaDirection.OUT))
    with transport.counted(XfrmInStateDirError=1):
        inside = octets_of(Judge(outbound).seal(transport.inner(), 1))
        transport.send(transport.forge(inside, b"", 0, ESP))


def test_nested_too_deep(transport: Attack) -> None:
    flows = [transport.lab.new_flow(transport.case, ONE) for _ in range(MOST_SAS + 1)]
    for flow in flows:
        transport.lab.two.send(flow.sa(SaDirection.IN))
    good = transport.inner(b"in six")
    text, next_header = transport.carried(b"in six")
    transport.assert_passes(nest(transport, flows[:MOST_SAS], text, next_header, 1), good)
    with transport.counted(XfrmInBufferError=1):
        transport.send(nest(transport, flows, text, next_header, 2))


def nest(attack: Attack, flows: list[Flow], text: bytes, next_header: int, sequence: int) -> Any:
    """Sealed by the last of them first."""
    for flow in reversed(flows):
        text = sealed(flow, sequence, text + bytes([0, next_header]))
        next_header = ESP
    return attack.esp(text)


@pytest.mark.parametrize("header", [0, 43, 60])
def test_extension_headers_that_are_longer_than_the_packet(lab: EngineLab, header: int) -> None:
    attack = Attack(lab, TRANSPORTS[1])
    lies = [bytes([ICMPV6, units]) + bytes(6) for units in (1, 2, 255)] + [bytes([ICMPV6, 0])]
    lies.append(bytes([60, 0]) + bytes(6) + bytes([ICMPV6, 1]) + bytes(6))
    with attack.counted(XfrmInHdrError=len(lies)):
        for text in lies:
            attack.send(attack.forge(text, b"", 0, header))


def test_longer_than_a_packet_can_be(lab: EngineLab) -> None:
    """The header of IPv6 comes on top of what fits into another packet of it."""
    attack = Attack(lab, TRANSPORTS[1])
    most = LONGEST - 40
    with attack.counted(XfrmInHdrError=2):
        for number, length in enumerate((most + 1, most + 2), start=50):
            text = attack.carried()[0].ljust(length, b"\0")
            for one in fragments(attack.forge(text, b"", 0, ICMPV6), 1448, number):
                attack.send(one)
