"""Hostile packets from the wire, and packets that must not leave: each counted under its own name.

After every one of them a good packet passes, and it is all that is delivered. So the tests need not
wait to see that nothing comes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

from plutino.model.policy import Action, Direction, Mode
from plutino.model.sa import Encapsulation, SaDirection
from plutino.netlink.route_client import RouteClient
from plutino.netlink.xfrm.constants import MessageType
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import ReplayState
from tests.support.engine_lab import (
    DEVICE,
    INNER,
    ONE,
    REQID,
    TWO,
    WINDOW,
    EngineCase,
    EngineEnd,
    EngineLab,
    Flow,
    changed,
    engine_lab,
    policy,
    with_fixed,
)
from tests.support.esp_algorithms import BY_NAME
from tests.support.esp_judge import Judge, echo_reply, framed, outer_header
from tests.support.until import until

pytestmark = pytest.mark.root

IPIP: Final = 4
UDP_PROTOCOL: Final = 17
IPV6: Final = 41
ESP: Final = 50
NO_NEXT_HEADER: Final = 59
MOST_SAS: Final = 6
LONGEST: Final = 65_535
GCM: Final = BY_NAME["gcm128-16"]
ESP_OVERHEAD: Final = 8 + 8 + 2 + 16


class Attack:
    """One SA from ``one`` to ``two`` whose keys are known, and a count of its numbers."""

    def __init__(self, lab: EngineLab, case: EngineCase) -> None:
        self.lab = lab
        self.case = case
        self.flow, self.back = lab.install(case)
        self.judge = Judge(self.flow)
        self.sequence = 0

    def inner(self, text: bytes = b"hostile", version: int = 4) -> bytes:
        """A packet that would be delivered."""
        return echo_reply(self.case, version, ONE, TWO, text)

    def next(self) -> int:
        """A sequence number that the receiver has not seen."""
        self.sequence += 1
        return self.sequence

    def seal(self, inner: bytes) -> Any:
        """With the next number."""
        return self.judge.seal(inner, self.next())

    def esp(self, octets: bytes) -> Any:
        """An outer packet around what stands for ESP."""
        header = outer_header(self.flow)
        if self.case.encapsulation is Encapsulation.UDP:
            return header / UDP(sport=4500, dport=4500) / Raw(octets)
        return with_protocol(header, ESP) / Raw(octets)

    def forge(self, text: bytes, padding: bytes, length: int, next_header: int) -> Any:
        """Sealed by hand: padding, its length and next header as they are given."""
        trailer = bytes([length, next_header])
        return self.esp(sealed(self.flow, self.next(), text + padding + trailer))

    def send(self, packet: Any) -> None:
        """To the receiver."""
        self.lab.one.transmit(framed(packet, self.lab.one, self.lab.two))

    @contextmanager
    def counted(self, **expected: int) -> Iterator[None]:
        """Exactly these counters of the receiver move, and only a good packet is delivered."""
        before = dict(self.lab.two.drops())
        self.lab.two.delivered()
        yield
        wanted = {name: before.get(name, 0) + count for name, count in expected.items()}
        until(
            lambda: all(self.lab.two.drops().get(name) == count for name, count in wanted.items()),
            f"{expected} after {before}; drops: {self.lab.two.drops()}",
        )
        self.assert_good_passes()
        assert self.lab.two.drops() == before | wanted

    def assert_good_passes(self) -> None:
        """A good packet is delivered, and nothing before it."""
        good = self.inner(b"good %d" % self.sequence)
        self.send(self.seal(good))
        assert self.lab.two.await_delivery() == good

    def set_policies(self, *messages: XfrmMessage) -> None:
        """These are the receiver's policies from now on."""
        self.lab.two.send(XfrmMessage.build(MessageType.FLUSHPOLICY, None))
        for message in messages:
            self.lab.two.send(message)

    def reset_policies(self) -> None:
        """Those that let the SA's packets in."""
        self.set_policies(*self.flow.policies(Direction.IN))


def with_protocol(header: Any, number: int) -> Any:
    """An outer header for that protocol."""
    setattr(header, "proto" if header.version == 4 else "nh", number)
    return header


def sealed(flow: Flow, sequence: int, plain: bytes) -> bytes:
    """ESP with AES-GCM (RFC 4106) around a text that brings its own trailer."""
    iv = sequence.to_bytes(8, "big")
    header = flow.spi.to_bytes(4, "big") + sequence.to_bytes(4, "big")
    key, salt = flow.keys.crypt[:16], flow.keys.crypt[16:]
    return header + iv + AESGCM(key).encrypt(salt + iv, plain, header)


def octets_of(packet: Any) -> bytes:
    """The ESP packet in an outer packet without UDP."""
    return bytes(packet)[20 if packet.version == 4 else 40 :]


@pytest.fixture(scope="module")
def lab() -> Iterator[EngineLab]:
    with engine_lab() as one:
        yield one


@pytest.fixture(params=(4, 6), ids=("v4", "v6"))
def outer(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def attack(lab: EngineLab, outer: int) -> Attack:
    return Attack(lab, EngineCase(GCM, outer=outer))


@pytest.fixture
def attack_in_udp(lab: EngineLab, outer: int) -> Attack:
    return Attack(lab, EngineCase(GCM, outer=outer, encapsulation=Encapsulation.UDP))


def test_a_replayed_packet(attack: Attack) -> None:
    packet = attack.seal(attack.inner())
    attack.send(packet)
    assert attack.lab.two.await_delivery() == attack.inner()
    with attack.counted(XfrmInStateSeqError=3):
        for _ in range(3):
            attack.send(packet)


def test_a_packet_older_than_the_window(attack: Attack) -> None:
    old = attack.seal(attack.inner(b"too old"))
    oldest = attack.seal(attack.inner(b"just in time"))
    attack.sequence += WINDOW - 2
    attack.assert_good_passes()
    assert attack.sequence == 1 + WINDOW
    before = attack.lab.two.drops()
    attack.send(oldest)
    assert attack.lab.two.await_delivery() == attack.inner(b"just in time")
    assert attack.lab.two.drops() == before
    with attack.counted(XfrmInStateSeqError=1):
        attack.send(old)


def test_number_zero(attack: Attack) -> None:
    with attack.counted(XfrmInStateSeqError=1):
        attack.send(attack.esp(sealed(attack.flow, 0, attack.inner() + b"\0\4")))


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF], ids=hex)
def test_tampered_in_every_octet(attack: Attack, flip: int) -> None:
    # However its number is changed, it is above the window's.
    attack.sequence = 0x02020202
    good = attack.seal(attack.inner())
    octets = octets_of(good)
    with attack.counted(XfrmInNoStates=4, XfrmInStateProtoError=len(octets) - 4):
        for place in range(len(octets)):
            changed_octets = bytearray(octets)
            changed_octets[place] ^= flip
            attack.send(attack.esp(bytes(changed_octets)))
    attack.sequence += 1


def test_truncated_at_every_length(attack: Attack) -> None:
    octets = octets_of(attack.seal(attack.inner()))
    with attack.counted(XfrmInHdrError=8, XfrmInStateProtoError=len(octets) - 8):
        for length in range(len(octets)):
            attack.send(attack.esp(octets[:length]))


def test_prolonged(attack: Attack) -> None:
    octets = octets_of(attack.seal(attack.inner()))
    with attack.counted(XfrmInStateProtoError=32):
        for length in range(1, 33):
            attack.send(attack.esp(octets + bytes(length)))


@pytest.mark.parametrize("length", [48, 49, 100, 255])
def test_a_padding_longer_than_the_packet(attack: Attack, length: int) -> None:
    text = attack.inner()[:46].ljust(46, b"\0")
    with attack.counted(XfrmInStateProtoError=1):
        attack.send(attack.forge(text, b"\1\2", length, IPIP))


def test_nothing_but_padding(attack: Attack) -> None:
    with attack.counted(XfrmInStateProtoError=1):
        attack.send(attack.forge(b"", b"\1\2", 2, IPIP))


def test_no_room_for_a_trailer(attack: Attack) -> None:
    with attack.counted(XfrmInStateProtoError=2):
        for plain in (b"", b"\4"):
            attack.send(attack.esp(sealed(attack.flow, attack.next(), plain)))


def test_a_dummy(attack: Attack) -> None:
    with attack.counted(XfrmInStateProtoError=2):
        attack.send(attack.forge(b"", b"\1\2", 2, NO_NEXT_HEADER))
        attack.send(attack.forge(b"any text there", b"", 0, NO_NEXT_HEADER))


@pytest.mark.parametrize("next_header", [0, 1, UDP_PROTOCOL, IPV6, ESP, 94, 255])
def test_a_wrong_next_header(attack: Attack, next_header: int) -> None:
    with attack.counted(XfrmInStateModeError=1):
        attack.send(attack.forge(attack.inner(), b"", 0, next_header))


def test_an_inner_packet_of_another_family_than_told(attack: Attack) -> None:
    with attack.counted(XfrmInStateModeError=2):
        attack.send(attack.forge(attack.inner(version=6), b"", 0, IPIP))
        attack.send(attack.forge(attack.inner(version=4), b"", 0, IPV6))


def test_an_inner_version_that_does_not_exist(attack: Attack) -> None:
    versions = [version for version in range(16) if version not in (4, 6)]
    with attack.counted(XfrmInStateModeError=2 * len(versions)):
        for version in versions:
            for real, next_header in ((4, IPIP), (6, IPV6)):
                inner = bytearray(attack.inner(version=real))
                inner[0] = version << 4 | inner[0] & 15
                attack.send(attack.forge(bytes(inner), b"", 0, next_header))


def test_an_inner_header_that_is_not_whole(attack: Attack) -> None:
    cut = [(attack.inner()[:length], IPIP) for length in range(2, 20)]
    cut += [(attack.inner(version=6)[:length], IPV6) for length in range(2, 40)]
    # `xfrm4_remove_tunnel_encap` and its twin: the header cannot be pulled.
    with attack.counted(XfrmInStateModeError=len(cut)):
        for text, next_header in cut:
            attack.send(attack.forge(text, b"", 0, next_header))


def test_an_inner_length_that_is_a_lie(attack: Attack) -> None:
    v4, v6 = IP(attack.inner()), IPv6(attack.inner(version=6))
    shorter = v4.copy()
    v4.len, shorter.len, v6.plen = LONGEST, 19, LONGEST
    short_header = IP(attack.inner())
    short_header.ihl = 4
    with attack.counted(XfrmInHdrError=4):
        for packet in (v4, shorter, short_header):
            attack.send(attack.forge(bytes(packet), b"", 0, IPIP))
        attack.send(attack.forge(bytes(v6), b"", 0, IPV6))


def test_inner_addresses_outside_the_selector_of_the_sa(attack: Attack) -> None:
    beet = replace(attack.flow, case=replace(attack.case, mode=Mode.BEET, inner=(4,)))
    narrow = replace(attack.flow, spi=attack.flow.spi + 0x10000)
    message = with_fixed(narrow.sa(SaDirection.IN), sel=beet.selector(), flags=0)
    attack.lab.two.send(message)
    judge = Judge(narrow)
    good = attack.inner(b"inside the selector")
    attack.send(judge.seal(good, 1))
    assert attack.lab.two.await_delivery() == good
    foreign = []
    for member, address in (("src", "10.1.0.2"), ("dst", "10.2.0.2")):
        packet = IP(attack.inner())
        setattr(packet, member, address)
        del packet.chksum
        foreign.append(bytes(packet))
    foreign.append(attack.inner(version=6))
    with attack.counted(XfrmInStateMismatch=len(foreign)):
        for number, packet in enumerate(foreign, start=2):
            attack.send(judge.seal(packet, number))


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


def test_no_policy(attack: Attack) -> None:
    attack.set_policies()
    with attack.counted(XfrmInNoPols=2):
        refused(attack, "XfrmInNoPols", 4, 6)


def test_a_policy_that_blocks(attack: Attack) -> None:
    blocking = [policy(Direction.IN, version, action=Action.BLOCK) for version in (4, 6)]
    attack.set_policies(*blocking)
    with attack.counted(XfrmInPolBlock=2):
        refused(attack, "XfrmInPolBlock", 4, 6)


def test_a_template_that_asks_for_another_sa(attack: Attack) -> None:
    good = attack.flow.template()
    others = (
        replace(good, reqid=REQID + 1),
        replace(good, mode=Mode.BEET),
        replace(good, saddr=good.id.daddr),
        replace(good, id=replace(good.id, spi=attack.flow.spi + 1)),
    )
    with attack.counted(XfrmInTmplMismatch=len(others)):
        for template in others:
            attack.set_policies(policy(Direction.IN, 4, template=template))
            refused(attack, "XfrmInTmplMismatch", 4, reset=False)
        attack.reset_policies()


def test_a_policy_without_template_takes_no_tunnel(attack: Attack) -> None:
    attack.set_policies(policy(Direction.IN, 4))
    with attack.counted(XfrmInTmplMismatch=1):
        refused(attack, "XfrmInTmplMismatch", 4)


def refused(attack: Attack, name: str, *versions: int, reset: bool = True) -> None:
    """Sent under the policies in force, and counted before they are what they were again."""
    before = attack.lab.two.drops().get(name, 0)
    for version in versions:
        attack.send(attack.seal(attack.inner(version=version)))
    count = before + len(versions)
    until(lambda: attack.lab.two.drops().get(name, 0) == count, name)
    if reset:
        attack.reset_policies()


def test_nested_too_deep(attack: Attack) -> None:
    flows = [attack.lab.new_flow(attack.case, ONE) for _ in range(MOST_SAS + 1)]
    for flow in flows:
        attack.lab.two.send(flow.sa(SaDirection.IN))
    layers = [Judge(flow) for flow in flows]
    six = policy(Direction.IN, 4, template=attack.flow.template())
    attack.set_policies(changed(six, TMPL=(attack.flow.template(),) * MOST_SAS))
    good = attack.inner(b"six deep")
    attack.send(nest(layers[:MOST_SAS], good, 1))
    assert attack.lab.two.await_delivery() == good
    before = attack.lab.two.drops().get("XfrmInBufferError", 0)
    with attack.counted(XfrmInBufferError=1):
        attack.send(nest(layers, attack.inner(b"seven deep"), 2))
        until(lambda: attack.lab.two.drops().get("XfrmInBufferError", 0) > before, "the drop")
        attack.reset_policies()


def nest(layers: list[Judge], inner: bytes, sequence: int) -> Any:
    """Sealed by the last of them first."""
    packet = inner
    for judge in reversed(layers):
        packet = bytes(judge.seal(packet, sequence))
    return (IP if packet[0] >> 4 == 4 else IPv6)(packet)


def test_clear_packets_from_the_wire_do_not_reach_the_device(attack: Attack) -> None:
    header = outer_header(attack.flow)
    number = {4: IPIP, 6: IPV6}
    with attack.counted():
        for version in (4, 6):
            inner = attack.inner(b"in clear", version)
            attack.send((IP if version == 4 else IPv6)(inner))
            attack.send(with_protocol(header.copy(), number[version]) / Raw(inner))
            attack.send(header / UDP(sport=4500, dport=4501) / Raw(inner))


def test_the_interface_is_down(attack: Attack) -> None:
    two = attack.lab.two
    before = two.drops().get("XfrmInNoPols", 0)
    with attack.counted(XfrmInNoPols=1):
        with two.host.namespace.entered(), RouteClient() as routes:
            routes.set_link(DEVICE, up=False)
        attack.send(attack.seal(attack.inner()))
        until(lambda: two.drops().get("XfrmInNoPols", 0) > before, "XfrmInNoPols")
        with two.host.namespace.entered(), RouteClient() as routes:
            routes.set_link(DEVICE, up=True)
        with suppress(OSError):  # the packet socket tells once that its device was down
            two.delivered()


def fragments(packet: Any, size: int, identification: int) -> list[Any]:
    """An outer packet in pieces of ``size`` octets, a multiple of 8."""
    body = octets_of(packet)
    return [
        piece(packet, body[at : at + size], at, at + size < len(body), identification)
        for at in range(0, len(body), size)
    ]


def piece(packet: Any, octets: bytes, at: int, more: bool, identification: int) -> Any:
    """One fragment."""
    ends = {"src": packet.src, "dst": packet.dst}
    if packet.version == 4:
        return IP(
            **ends, proto=packet.proto, id=identification, flags=int(more), frag=at // 8
        ) / Raw(octets)
    extension = IPv6ExtHdrFragment(nh=packet.nh, offset=at // 8, m=int(more), id=identification)
    return IPv6(**ends) / extension / Raw(octets)


@pytest.mark.parametrize("order", [list, reversed], ids=("in_order", "reversed"))
def test_outer_fragments_arrive(
    attack: Attack, order: Callable[[list[Any]], Iterator[Any]]
) -> None:
    inner = attack.inner(bytes(range(256)) * 12)
    before = attack.lab.two.drops()
    for one in order(fragments(attack.seal(inner), 512, 7)):
        attack.send(one)
    assert attack.lab.two.await_delivery() == inner
    assert attack.lab.two.drops() == before


def test_overlapping_fragments(attack: Attack) -> None:
    packet = attack.seal(attack.inner(bytes(200)))
    body = octets_of(packet)
    middle = len(body) // 16 * 8
    with attack.counted():
        for number, start in enumerate((middle - 8, 8, middle - 64), start=100):
            attack.send(piece(packet, body[:middle], 0, True, number))
            attack.send(piece(packet, body[start:], start, False, number))
            attack.send(piece(packet, body[middle:], middle, False, number))


def test_fragments_without_end(outer: int) -> None:
    with engine_lab() as lab:
        attack = Attack(lab, EngineCase(GCM, outer=outer))
        attack.assert_good_passes()
        packet = attack.seal(attack.inner(bytes(1000)))
        body = octets_of(packet)
        before = lab.two.status("VmRSS")
        template = bytearray(framed(piece(packet, body[:512], 0, True, 0), lab.one, lab.two))
        place = 14 + 4 if outer == 4 else 14 + 40 + 4
        size = 2 if outer == 4 else 4
        with attack.counted():
            for number in range(1, 8001):
                template[place : place + size] = number.to_bytes(size, "big")
                if outer == 4:
                    template[24:26] = ipv4_sum(template[14:34])
                lab.one.transmit(bytes(template))
            for at in range(0, LONGEST - 600, 512):
                attack.send(piece(packet, body[:512], at, True, 9000))
        assert lab.two.status("VmRSS") - before < 512


def ipv4_sum(header: bytearray) -> bytes:
    """The header's checksum, which stands in its octets 10 and 11."""
    header[10:12] = bytes(2)
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, 20, 2))
    total = (total & 0xFFFF) + (total >> 16)
    return (~(total + (total >> 16)) & 0xFFFF).to_bytes(2, "big")


def test_the_longest_packet_comes_whole(attack: Attack) -> None:
    room = LONGEST - (20 if attack.case.outer == 4 else 0) - ESP_OVERHEAD
    inner = attack.inner(bytes(room // 4 * 4 - 2 - 28))
    packet = attack.seal(inner)
    before = attack.lab.two.drops()
    for one in fragments(packet, 1448, 77):
        attack.send(one)
    assert attack.lab.two.await_delivery() == inner
    assert attack.lab.two.drops() == before
    attack.assert_good_passes()


def test_the_numbers_of_the_sender_end(attack: Attack) -> None:
    one, flow = attack.lab.one, attack.lab.new_flow(attack.case, ONE)
    one.flush()
    last = ReplayState(oseq=0xFFFFFFFE)
    one.send(changed(flow.sa(SaDirection.OUT), REPLAY_VAL=last))
    for message in flow.policies(Direction.OUT):
        one.send(message)
    before = dict(one.drops())
    one.inject(attack.inner(b"the last number"))
    assert octets_of(outer_of(attack.lab.frame_of(flow.spi)))[4:8] == b"\xff" * 4
    for version in (4, 6):
        one.inject(attack.inner(b"none is left", version))
    await_drops(one, before, XfrmOutStateSeqError=2)
    # A frame after them is on the wire, and of this SA there is still only the one before.
    attack.send(attack.seal(attack.inner(b"another SA")))
    attack.lab.frame_of(attack.flow.spi)
    attack.lab.frame_of(flow.spi)


def outer_of(frame: bytes) -> Any:
    """The IP packet of a frame."""
    return (IP if frame[12:14] == b"\x08\x00" else IPv6)(frame[14:])


def await_drops(end: EngineEnd, before: dict[str, int], **expected: int) -> None:
    """Exactly these have been counted since."""
    wanted = before | {name: before.get(name, 0) + count for name, count in expected.items()}
    until(lambda: end.drops() == wanted, f"{wanted}; drops: {end.drops()}")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("blocked", [False, True], ids=("no_policy", "blocked"))
def test_what_may_not_leave_is_answered(attack: Attack, version: int, blocked: bool) -> None:
    one = attack.lab.one
    one.send(XfrmMessage.build(MessageType.FLUSHPOLICY, None))
    if blocked:
        one.send(policy(Direction.OUT, version, action=Action.BLOCK))
    before = dict(one.drops())
    packet = attack.inner(b"nobody may see this", version)
    one.inject(packet)
    assert_unreachable(one.await_delivery(), packet)
    await_drops(one, before, **({"XfrmOutPolBlock": 1} if blocked else {}))
    attack.assert_good_passes()
    assert not [frame for frame, _ in list(attack.lab.frames) if b"nobody" in frame]


def assert_unreachable(answer: bytes, packet: bytes) -> None:
    """An ICMP error from the address that could not be reached, with the packet in it."""
    version = packet[0] >> 4
    ends = INNER[version]
    read = (IP if version == 4 else IPv6)(answer)
    assert (read.src, read.dst) == (ends[TWO], ends[ONE])
    error = read[ICMP] if version == 4 else read[ICMPv6DestUnreach]
    assert (error.type, error.code) == ((3, 1) if version == 4 else (1, 3))
    assert answer.endswith(packet)
