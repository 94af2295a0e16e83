"""What BEET mode holds: addresses are those of the SA, everything else is the attacker's.

Options of IPv4 come behind a pseudo header (draft-nikander-esp-beet-mode-09, 4.2.1): next header,
length in units of 8 octets less one, length of the padding, reserved.
"""

import pytest
from scapy.layers.inet import IP, UDP

from tests.support.attack import (
    BEETPH,
    BEETS,
    ESP,
    GCM,
    ICMP,
    ICMPV6,
    IPIP,
    IPV6,
    LONGEST,
    TCP,
    UDP_PROTOCOL,
    Attack,
    fragments,
    packet_of,
)
from tests.support.engine_lab import ONE, TWO, EngineCase, EngineLab
from tests.support.esp_judge import echo_reply, transport_of

pytestmark = pytest.mark.root

NOP = b"\1"
WITH_OPTIONS = tuple(case for case in BEETS if case.inner == (4,))
WITHOUT = tuple(case for case in BEETS if case.inner == (6,))


@pytest.fixture(params=WITH_OPTIONS, ids=str)
def beet4(lab: EngineLab, request: pytest.FixtureRequest) -> Attack:
    return Attack(lab, request.param)


@pytest.fixture(params=WITHOUT, ids=str)
def beet6(lab: EngineLab, request: pytest.FixtureRequest) -> Attack:
    return Attack(lab, request.param)


def own_protocol(attack: Attack) -> int:
    """That of the packets that are good."""
    return attack.carried()[1]


def inner_packet(attack: Attack, protocol: int, payload: bytes, options: bytes = b"") -> bytes:
    """The packet that a payload becomes."""
    header = packet_of(attack.inner())
    header.remove_payload()
    if header.version == 6:
        header.nh, header.plen = protocol, None
        return bytes(header / payload)
    del header.len, header.chksum, header.ihl
    header.proto = protocol
    whole = bytearray(bytes(header) + options + payload)
    whole[0] += len(options) // 4
    whole[2:4] = len(whole).to_bytes(2, "big")
    read = IP(bytes(whole))
    del read.chksum
    return bytes(whole[:10]) + bytes(read)[10:12] + bytes(whole[12:])


def test_options_that_are_good(beet4: Attack) -> None:
    """So that what is refused below is refused for its fault."""
    text, protocol = beet4.carried()
    for octets in range(0, 44, 4):
        padding = 4 - (octets & 4)
        head = bytes([protocol, octets // 8, padding, 0]) + NOP * padding
        options = NOP * octets
        packet = beet4.forge(head + options + text, b"", 0, BEETPH)
        beet4.assert_passes(packet, inner_packet(beet4, protocol, text, options))


def test_options_that_are_malformed(beet4: Attack) -> None:
    text, protocol = beet4.carried(bytes(300))
    # Units and octets of padding: fewer than none, no whole words, more than a header can hold.
    bad = [(0, 5), (0, 8), (0, 255), (1, 16), (1, 13)]
    bad += [(5, 0), (6, 4), (12, 4), (255, 4), (255, 255)]
    bad += [(1, padding) for padding in (1, 2, 3, 5, 6, 7)]
    with beet4.counted(XfrmInStateModeError=len(bad)):
        for units, padding in bad:
            head = bytes([protocol, units, padding, 0])
            beet4.send(beet4.forge(head + text, b"", 0, BEETPH))


def test_a_pseudo_header_that_is_not_whole(beet4: Attack) -> None:
    head = bytes([ICMP, 2, 4, 0]) + NOP * 4 + NOP * 16
    with beet4.counted(XfrmInStateModeError=len(head) - 2):
        for length in range(2, len(head)):
            beet4.send(beet4.forge(head[:length], b"", 0, BEETPH))


@pytest.mark.parametrize("protocol", [IPIP, TCP, UDP_PROTOCOL, ESP, BEETPH, 255])
def test_a_pseudo_header_before_another_protocol(beet4: Attack, protocol: int) -> None:
    narrow = beet4.narrowed(proto=ICMP)
    text, good = beet4.carried()
    head = bytes([good, 0, 4, 0]) + NOP * 4
    narrow.assert_passes(narrow.forge(head + text, b"", 0, BEETPH), inner_packet(beet4, good, text))
    with narrow.counted(XfrmInStateMismatch=1):
        narrow.send(narrow.forge(bytes([protocol]) + head[1:] + text, b"", 0, BEETPH))


def test_a_pseudo_header_of_ipv4_in_ipv6(beet6: Attack) -> None:
    """It is a protocol like any other, which the selector knows."""
    text, _ = beet6.carried()
    head = bytes([ICMPV6, 1, 4, 0]) + NOP * 12
    packet = beet6.forge(head + text, b"", 0, BEETPH)
    beet6.assert_passes(packet, inner_packet(beet6, BEETPH, head + text))
    narrow = beet6.narrowed(proto=ICMPV6)
    with narrow.counted(XfrmInStateMismatch=1):
        narrow.send(narrow.forge(head + text, b"", 0, BEETPH))


@pytest.mark.parametrize("next_header", [0, 2, IPIP, TCP, UDP_PROTOCOL, IPV6, 43, 44, ESP, 60, 255])
def test_another_next_header_than_the_selector_has(beet: Attack, next_header: int) -> None:
    narrow = beet.narrowed(proto=own_protocol(beet))
    narrow.assert_good_passes()
    text, _ = beet.carried()
    with narrow.counted(XfrmInStateMismatch=1):
        narrow.send(narrow.forge(text, b"", 0, next_header))


def test_a_payload_of_the_other_family(beet: Attack) -> None:
    narrow = beet.narrowed(proto=own_protocol(beet))
    other = 10 - beet.case.inner[0]
    number, text = transport_of(echo_reply(EngineCase(GCM), other, ONE, TWO, b"other family"))
    with narrow.counted(XfrmInStateMismatch=1):
        narrow.send(narrow.forge(text, b"", 0, number))


@pytest.mark.parametrize("version", [4, 6])
def test_a_tunnel_in_beet_mode_stays_closed(beet: Attack, version: int) -> None:
    """What is spoofed inside is nobody's packet: it belongs to who has the protocol around it."""
    number = IPIP if version == 4 else IPV6
    inside = echo_reply(EngineCase(GCM), version, TWO, ONE, b"spoofed")
    beet.assert_passes(beet.forge(inside, b"", 0, number), inner_packet(beet, number, inside))
    narrow = beet.narrowed(proto=own_protocol(beet))
    with narrow.counted(XfrmInStateMismatch=1):
        narrow.send(narrow.forge(inside, b"", 0, number))


def test_a_source_that_is_spoofed_changes_nothing_inside(beet: Attack) -> None:
    inner = beet.inner(b"from elsewhere")
    packet = beet.seal(inner)
    packet.src = {4: "192.0.2.77", 6: "2001:db8::77"}[beet.case.outer]
    if packet.version == 4:
        del packet.chksum
    beet.assert_passes(packet, inner)


def test_ports_outside_the_selector(beet: Attack) -> None:
    narrow = beet.narrowed(proto=UDP_PROTOCOL, dport=53, dport_mask=0xFFFF)
    good = bytes(UDP(sport=1000, dport=53, chksum=1) / b"in the selector")
    whole = inner_packet(beet, UDP_PROTOCOL, good)
    beet.assert_passes(narrow.forge(good, b"", 0, UDP_PROTOCOL), whole)
    others = [
        (bytes(UDP(sport=53, dport=54) / b"another port"), UDP_PROTOCOL),
        (good[:3], UDP_PROTOCOL),
        (good, TCP),
    ]
    with beet.counted(XfrmInStateMismatch=len(others)):
        for text, next_header in others:
            narrow.send(narrow.forge(text, b"", 0, next_header))


@pytest.mark.parametrize("header", [0, 43, 60])
def test_extension_headers_that_are_longer_than_the_packet(beet6: Attack, header: int) -> None:
    lies = [bytes([ICMPV6, units]) + bytes(6) for units in (1, 2, 255)] + [bytes([ICMPV6, 0])]
    lies.append(bytes([60, 0]) + bytes(6) + bytes([ICMPV6, 1]) + bytes(6))
    with beet6.counted(XfrmInHdrError=len(lies)):
        for text in lies:
            beet6.send(beet6.forge(text, b"", 0, header))


def test_longer_than_a_packet_can_be(lab: EngineLab) -> None:
    """The header of IPv6 comes on top of what fits into another packet of it."""
    attack = Attack(lab, next(case for case in WITHOUT if case.outer == 6))
    most = LONGEST - 40
    with attack.counted(XfrmInHdrError=2):
        for number, length in enumerate((most + 1, most + 2), start=50):
            text = attack.carried()[0].ljust(length, b"\0")
            for one in fragments(attack.forge(text, b"", 0, ICMPV6), 1448, number):
                attack.send(one)
