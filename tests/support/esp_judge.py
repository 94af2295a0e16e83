"""scapy at the wire: it opens what an engine sealed, and seals what an engine must open."""

from typing import Any

from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from plutino.model.policy import Mode
from plutino.model.sa import Encapsulation
from tests.support.engine_lab import OUTER, EngineCase, EngineEnd, Flow


def echo_reply(case: EngineCase, version: int, sender: str, receiver: str, text: bytes) -> bytes:
    """A packet that the kernel takes in silence, whoever it belongs to.

    With DF, whose identification means nothing: a socket that writes the header chooses another.
    """
    source, destination = case.address(version, sender), case.address(version, receiver)
    if version == 4:
        header = IP(src=source, dst=destination, ttl=64, id=0, flags="DF")
        return bytes(header / ICMP(type=0, id=7) / text)
    reply = ICMPv6EchoReply(id=7, data=text)
    return bytes(IPv6(src=source, dst=destination, hlim=64) / reply)


class Judge:
    """What scapy knows of one SA."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        case = flow.case
        self._outer = outer_header(flow)
        in_udp = case.encapsulation is Encapsulation.UDP
        self.sa = SecurityAssociation(
            ESP,
            spi=flow.spi,
            tunnel_header=self._outer if case.mode is Mode.TUNNEL else None,
            nat_t_header=UDP(sport=4500, dport=4500) if in_udp else None,
            esn_en=case.esn,
            esn=0,
            **case.algorithm.scapy(flow.keys),
        )

    def open(self, frame: bytes) -> tuple[int, bytes]:
        """Version and octets of the inner packet; without tunnel next header and payload."""
        packet = Ether(frame).payload
        addresses = OUTER[self.flow.case.outer]
        assert (packet.src, packet.dst) == (
            addresses[self.flow.sender],
            addresses[self.flow.receiver],
        )
        inner = self.sa.decrypt(packet)
        if self.flow.case.mode is Mode.TUNNEL:
            return int(inner.version), bytes(inner)
        # scapy leaves the next header where ESP stood; what follows is the payload.
        return (int(inner.proto) if inner.version == 4 else int(inner.nh)), bytes(inner.payload)

    def seal(self, inner: bytes, sequence: int) -> Any:
        """An outer packet; ``inner`` is a whole IP packet in every mode."""
        version = inner[0] >> 4
        if self.flow.case.mode is Mode.TUNNEL:
            packet = (IP if version == 4 else IPv6)(inner)
        else:
            number, payload = transport_of(inner)
            packet = self._outer.copy()
            if packet.version == 4:
                packet.proto = number
            else:
                packet.nh = number
            packet /= Raw(payload)
        sealed = self.sa.encrypt(packet, seq_num=sequence)
        if sealed.haslayer(UDP) and sealed.version == 6:
            # scapy leaves the checksum zero, which a receiver of IPv6 drops (RFC 8200, 8.1).
            del sealed[UDP].chksum
        return sealed


def outer_header(flow: Flow) -> Any:
    """IP header of the outer addresses."""
    addresses = OUTER[flow.case.outer]
    ends = {"src": addresses[flow.sender], "dst": addresses[flow.receiver]}
    return IP(id=0, flags="DF", **ends) if flow.case.outer == 4 else IPv6(**ends)


def transport_of(packet: bytes) -> tuple[int, bytes]:
    """Protocol and payload of an IP packet without extension headers."""
    if packet[0] >> 4 == 4:
        return packet[9], packet[(packet[0] & 15) * 4 :]
    return packet[6], packet[40:]


def framed(packet: Any, source: EngineEnd, destination: EngineEnd) -> bytes:
    """The Ethernet frame of an outer packet."""
    return bytes(
        Ether(src=_text(source.mac), dst=_text(destination.mac), type=_type(packet)) / packet
    )


def _type(packet: Any) -> int:
    return 0x0800 if bytes(packet)[0] >> 4 == 4 else 0x86DD


def _text(address: bytes) -> str:
    return address.hex(":")
