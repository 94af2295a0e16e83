"""What a step makes a side say, in fields that two sides can be compared by.

Taken out is what differs by nature: times, sequence numbers of acquires, SPIs chosen from a range,
identification and checksum of outer IPv4 headers, and the empty attributes by which some
architectures align others. Nothing else.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from plutino.netlink.xfrm.constants import MessageType, Xfrma
from tests.support.raw_plane import NLMSG_DONE, NLMSG_ERROR, Reply

_SA_INFO: Final = 224
_POLICY_INFO: Final = 168
_FIXED: Final[Mapping[int, int]] = {
    MessageType.NEWSA: _SA_INFO,
    MessageType.UPDSA: _SA_INFO,
    MessageType.DELSA: 24,
    MessageType.EXPIRE: _SA_INFO + 8,
    MessageType.ACQUIRE: 280,
    MessageType.NEWPOLICY: _POLICY_INFO,
    MessageType.UPDPOLICY: _POLICY_INFO,
    MessageType.DELPOLICY: 64,
    MessageType.POLEXPIRE: _POLICY_INFO + 8,
    MessageType.FLUSHSA: 4,
    MessageType.FLUSHPOLICY: 0,
    MessageType.NEWAE: 48,
    MessageType.MIGRATE: 64,
    MessageType.MIGRATE_STATE: 132,
    MessageType.MAPPING: 64,
    MessageType.NEWSADINFO: 4,
    MessageType.NEWSPDINFO: 4,
    MessageType.GETDEFAULT: 4,
}
_SA_TIMES: Final = (176, 184)
_POLICY_TIMES: Final = (136, 144)
_TIMES: Final[Mapping[int, tuple[int, ...]]] = {
    MessageType.NEWSA: _SA_TIMES,
    MessageType.UPDSA: _SA_TIMES,
    MessageType.EXPIRE: _SA_TIMES,
    MessageType.NEWPOLICY: _POLICY_TIMES,
    MessageType.UPDPOLICY: _POLICY_TIMES,
    MessageType.POLEXPIRE: _POLICY_TIMES,
    MessageType.ACQUIRE: tuple(96 + at for at in _POLICY_TIMES),
}
_ATTRIBUTE_TIMES: Final[Mapping[int, tuple[int, ...]]] = {
    Xfrma.SA: _SA_TIMES,
    Xfrma.POLICY: _POLICY_TIMES,
    Xfrma.LTIME_VAL: (16, 24),
    Xfrma.LASTUSED: (0,),
}
_USED: Final[Mapping[int, int]] = {
    MessageType.NEWSA: 160,
    MessageType.EXPIRE: 160,
    MessageType.NEWPOLICY: 120,
    MessageType.POLEXPIRE: 120,
    MessageType.ACQUIRE: 216,
}
"""Octets and packets of ``struct xfrm_lifetime_cur``."""
_ACK_WORDS, _ACK_POLICY, _ACK_POLICY_PAD = 1, 4, 11
"""``NLMSGERR_ATTR_*``, ``NL_POLICY_TYPE_ATTR_PAD``."""
_ACQUIRE_SEQUENCE: Final = 276
_SPI: Final = 72
_SEQUENCE: Final = 204
_UDP: Final = 17
_SEEN: Final = b"\1" + bytes(7)


@dataclass(frozen=True, slots=True)
class Packet:
    """An IP packet, and where it was seen; ``neighbour`` is who it was sent to on the wire."""

    octets: bytes
    neighbour: str = ""


@dataclass(slots=True)
class Observation:
    """Of one step on one side."""

    replies: list[Reply] = field(default_factory=list)
    events: list[tuple[Reply, int]] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    wire: list[Packet] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)
    icmp: list[tuple[str, str]] = field(default_factory=list)

    def fields(
        self, *, spi_hidden: bool = False, opener: Callable[[bytes], bytes] | None = None
    ) -> Mapping[str, str]:
        """By name; a field that is not there was not seen. ``opener`` opens outer packets."""
        told: dict[str, str] = {}
        for at, reply in enumerate(self.replies):
            told |= _message_fields(f"reply{at}", reply, spi_hidden=spi_hidden)
        for at, (reply, port) in enumerate(self.events):
            told |= _message_fields(f"event{at}", reply, spi_hidden=spi_hidden)
            told[f"event{at}.port"] = str(port)
        told |= {f"counter.{name}": str(count) for name, count in self.counters.items() if count}
        for at, packet in enumerate(self.wire):
            told |= _outer_fields(f"wire{at}", packet, opener)
        told |= {f"delivered{at}": words for at, words in enumerate(self.delivered)}
        for at, (source, words) in enumerate(self.icmp):
            told |= {f"icmp{at}.from": source, f"icmp{at}.message": words}
        return told


def differences(kernel: Mapping[str, str], engine: Mapping[str, str]) -> Mapping[str, str]:
    """By field, the kernel's value and the engine's."""
    names = [*kernel, *(name for name in engine if name not in kernel)]
    missing = "nothing"
    return {
        name: f"kernel {kernel.get(name, missing)} | engine {engine.get(name, missing)}"
        for name in names
        if kernel.get(name) != engine.get(name)
    }


def _message_fields(name: str, reply: Reply, *, spi_hidden: bool) -> Mapping[str, str]:
    if reply.kind == NLMSG_ERROR:
        told = {f"{name}.error": f"{reply.errno} {reply.words!r}"}
        told[f"{name}.ack"] = f"{reply.flags:#x} {reply.payload[4:20].hex()}"
        for number, content in _attributes(reply.payload[20:]):
            if number == _ACK_POLICY:
                rules = {kind: octets.hex() for kind, octets in _attributes(content)}
                rules.pop(_ACK_POLICY_PAD, None)
                told[f"{name}.policy"] = str(rules)
            elif number != _ACK_WORDS:
                told[f"{name}.ack{number}"] = content.hex()
        return told
    kind = MessageType(reply.kind).name if reply.kind in list(MessageType) else str(reply.kind)
    told = {f"{name}.kind": kind, f"{name}.header": f"{reply.flags:#x} {reply.sequence}"}
    payload = bytearray(reply.payload)
    if reply.kind == NLMSG_DONE:
        return told | {f"{name}.payload": payload.hex()}
    _hide_times(payload, _TIMES.get(reply.kind, ()))
    fixed = _FIXED.get(reply.kind, len(payload))
    if reply.kind == MessageType.ACQUIRE:
        payload[_ACQUIRE_SEQUENCE : _ACQUIRE_SEQUENCE + 4] = b"hide"
    if reply.kind == MessageType.NEWSA and not any(payload[_SPI : _SPI + 4]):
        payload[_SEQUENCE : _SEQUENCE + 4] = b"hide"  # an SA that an acquire made
    if spi_hidden and reply.kind in (MessageType.NEWSA, MessageType.UPDSA):
        payload[_SPI : _SPI + 4] = b"hide"
    used = _USED.get(reply.kind)
    if used is not None:
        of_policy = reply.kind not in (MessageType.NEWSA, MessageType.EXPIRE)
        told[f"{name}.{'policy_used' if of_policy else 'used'}"] = payload[used : used + 16].hex()
        told[f"{name}.added"] = payload[used + 16 : used + 24].hex()
        told[f"{name}.first_used"] = payload[used + 24 : used + 32].hex()
        payload[used : used + 32] = b"told apart: used, added, first.."
    told[f"{name}.fixed"] = payload[:fixed].hex()
    order = []
    for number, content in _attributes(bytes(payload[fixed:])):
        if number == Xfrma.PAD:
            continue
        label = Xfrma(number).name if number in list(Xfrma) else str(number)
        order.append(label)
        octets = bytearray(content)
        _hide_times(octets, _ATTRIBUTE_TIMES.get(number, ()))
        told[f"{name}.{label}"] = octets.hex()
    told[f"{name}.order"] = " ".join(order)
    return told


def _hide_times(payload: bytearray, places: Iterable[int]) -> None:
    for at in places:
        if any(payload[at : at + 8]):
            payload[at : at + 8] = _SEEN


def _attributes(octets: bytes) -> Iterable[tuple[int, bytes]]:
    while len(octets) >= 4:
        length, number = struct.unpack_from("=HH", octets)
        yield number & 0x3FFF, octets[4:length]
        octets = octets[max(4, length + 3 & ~3) :]


def _outer_fields(
    name: str, packet: Packet, opener: Callable[[bytes], bytes] | None
) -> Mapping[str, str]:
    octets = bytearray(packet.octets)
    if octets[0] >> 4 == 4:
        octets[4:6] = octets[10:12] = b"\0\0"
    header, protocol = (20, octets[9]) if octets[0] >> 4 == 4 else (40, octets[6])
    told = {}
    if protocol == _UDP and len(octets) >= header + 8:
        told[f"{name}.udp_checksum"] = octets[header + 6 : header + 8].hex()
        octets[header + 6 : header + 8] = b"\0\0"
    return told | {
        f"{name}.neighbour": packet.neighbour,
        f"{name}.header": octets[:header].hex(),
        f"{name}.payload": (opener(packet.octets) if opener else octets[header:]).hex(),
    }
