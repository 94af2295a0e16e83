"""Whose turn a datagram is, before anything of it is believed: those of IKE SAs that we have first.

Whoever floods us has a datagram looked at as long as one struct takes to unpack; peers that have an
IKE SA lose nothing by it.
"""

from collections.abc import Container
from enum import Enum, auto
from typing import Final

from plutino.ike.half_open import HalfOpen
from plutino.ike.message.header import NO_SPI, Header
from plutino.ike.numbers import MAJOR_VERSION, ExchangeType, Flag
from plutino.ike.peers import Peers
from plutino.ike.strangers import Strangers

_INITIATOR: Final = int(Flag.INITIATOR)
_RESPONSE: Final = int(Flag.RESPONSE)
_IKE_SA_INIT: Final = int(ExchangeType.IKE_SA_INIT)
"""Plain numbers, which cost a fifth in sums."""


class Turn(Enum):
    """When ``Endpoint.receive`` should be given a datagram."""

    AT_ONCE = auto()
    LATER = auto()
    """When nothing of an IKE SA waits."""
    REFUSAL = auto()
    """Then, too, if few others wait: it gets no more than a refusal."""
    NEVER = auto()


def turn_of(
    datagram: bytes,
    ends: tuple[bytes, bytes],
    now: float,
    *,
    spis: Container[bytes],
    peers: Peers,
    half_open: HalfOpen,
    strangers: Strangers,
) -> Turn:
    """``ends`` are our address and the sender's, packed; ``spis`` are ours."""
    if len(datagram) < Header.FIXED.size:
        return Turn.NEVER
    fields = Header.FIXED.unpack_from(datagram)
    initiator, responder, _, version, exchange, flags, number, _ = fields
    if version >> 4 == MAJOR_VERSION:
        if (responder if flags & _INITIATOR else initiator) in spis:
            return Turn.AT_ONCE
        if exchange == _IKE_SA_INIT:
            if flags & _RESPONSE or responder != NO_SPI or number:
                return Turn.NEVER
            if peers.has_any(*ends):
                return Turn.LATER
            return Turn.REFUSAL if half_open.may_refuse(now) else Turn.NEVER
    is_answered = not flags & _RESPONSE and strangers.may_answer(now)
    return Turn.REFUSAL if is_answered else Turn.NEVER
