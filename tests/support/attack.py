"""What an attacker on the wire can do to an SA, whose keys are known so that it can be done at all.

After every attack a good packet passes, and it is all that is delivered. So the tests need not wait
to see that nothing comes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, Final, Self

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

from plutino.model.policy import Direction, Mode
from plutino.model.sa import Encapsulation, SaDirection
from plutino.netlink.xfrm.constants import MessageType
from plutino.netlink.xfrm.convert import encode_address, family_of
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import XfrmSelector
from tests.support.engine_lab import ONE, TWO, EngineCase, EngineEnd, EngineLab, Flow, with_fixed
from tests.support.esp_algorithms import BY_NAME
from tests.support.esp_judge import Judge, echo_reply, framed, outer_header, transport_of
from tests.support.until import until

ICMP: Final = 1
IPIP: Final = 4
TCP: Final = 6
UDP_PROTOCOL: Final = 17
IPV6: Final = 41
ESP: Final = 50
AH: Final = 51
ICMPV6: Final = 58
NO_NEXT_HEADER: Final = 59
BEETPH: Final = 94
COMP: Final = 108
MOST_SAS: Final = 6
LONGEST: Final = 65_535
GCM: Final = BY_NAME["gcm128-16"]
ESP_OVERHEAD: Final = 8 + 8 + 2 + 16

TUNNELS: Final = tuple(EngineCase(GCM, outer=outer) for outer in (4, 6))
TRANSPORTS: Final = tuple(
    EngineCase(GCM, Mode.TRANSPORT, outer, inner=(outer,)) for outer in (4, 6)
)
BEETS: Final = tuple(
    EngineCase(GCM, Mode.BEET, outer, inner=(inner,)) for outer in (4, 6) for inner in (4, 6)
)
EVERY_MODE: Final = (*TUNNELS, *TRANSPORTS, *BEETS)


class Attack:
    """One SA from ``one`` to ``two``, and a count of its numbers."""

    def __init__(self, lab: EngineLab, case: EngineCase) -> None:
        self.lab = lab
        self.case = case
        self.flow, self.back = lab.install(case)
        self.judge = Judge(self.flow)
        self.sequence = 0

    def inner(self, text: bytes = b"hostile", version: int | None = None) -> bytes:
        """A packet that would be delivered."""
        return echo_reply(self.case, version or self.case.inner[0], ONE, TWO, text)

    def carried(self, text: bytes = b"hostile") -> tuple[bytes, int]:
        """What ESP carries of such a packet, and its next header."""
        inner = self.inner(text)
        if self.case.mode is Mode.TUNNEL:
            return inner, IPIP if inner[0] >> 4 == 4 else IPV6
        number, payload = transport_of(inner)
        return payload, number

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

    def assert_passes(self, packet: Any, inner: bytes) -> None:
        """It is delivered, and nothing is counted."""
        before = self.lab.two.drops()
        self.send(packet)
        assert self.lab.two.await_delivery() == inner
        assert self.lab.two.drops() == before

    def narrowed(self, **selector: Any) -> Self:
        """By another SA of the receiver, which takes the two addresses and what is told only."""
        source, destination = (
            ip_address(self.case.address(self.case.inner[0], end)) for end in (ONE, TWO)
        )
        taken = XfrmSelector(
            saddr=encode_address(source),
            daddr=encode_address(destination),
            prefixlen_s=source.max_prefixlen,
            prefixlen_d=source.max_prefixlen,
            family=family_of(source),
            **selector,
        )
        other = copy(self)
        other.flow = replace(self.flow, spi=self.flow.spi + 0x10000)
        other.judge = Judge(other.flow)
        other.sequence = 0
        self.lab.two.send(with_fixed(other.flow.sa(SaDirection.IN), sel=taken, flags=0))
        return other

    def set_policies(self, *messages: XfrmMessage) -> None:
        """These are the receiver's policies from now on."""
        self.lab.two.send(XfrmMessage.build(MessageType.FLUSHPOLICY, None))
        for message in messages:
            self.lab.two.send(message)

    def reset_policies(self) -> None:
        """Those that let the SA's packets in."""
        self.set_policies(*self.flow.policies(Direction.IN))


def await_drops(end: EngineEnd, before: dict[str, int], **expected: int) -> None:
    """Exactly these have been counted since."""
    wanted = before | {name: before.get(name, 0) + count for name, count in expected.items()}
    until(lambda: end.drops() == wanted, f"{wanted}; drops: {end.drops()}")


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


def packet_of(octets: bytes) -> Any:
    """An IP packet, read."""
    return (IP if octets[0] >> 4 == 4 else IPv6)(octets)


def octets_of(packet: Any) -> bytes:
    """The ESP packet in an outer packet without UDP."""
    return bytes(packet)[20 if packet.version == 4 else 40 :]


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
