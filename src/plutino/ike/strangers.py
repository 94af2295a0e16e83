"""Answers to requests that no IKE SA of ours is meant by (RFC 7296, 1.5, 2.5 and 2.21.4).

Nothing protects them, so a peer may take one as a hint at most, and we take none: what is not
authentic ends no IKE SA of ours. They are few, so that nobody can make us send much, and no longer
than what they answer.
"""

from typing import Final

from plutino.ike.allowance import Allowance
from plutino.ike.message.header import NO_SPI, Header
from plutino.ike.message.message import Message
from plutino.ike.numbers import MAJOR_VERSION, ExchangeType, Flag, NotifyType, PayloadType
from plutino.ike.payloads.notify import NotifyPayload

ANSWERS_PER_SECOND: Final = 5.0
"""To all strangers together; as many at once after a second of silence."""


class Strangers:
    """Keeps nothing but how many answers may be given; ``now`` is in seconds."""

    def __init__(self) -> None:
        self._allowance = Allowance.of(ANSWERS_PER_SECOND)

    def may_answer(self, now: float) -> bool:
        """Whether one more answer may be given by now."""
        return self._allowance.is_left(now)

    def answer(self, header: Header, now: float) -> bytes | None:
        """The datagram to send back, if any is due; never to a response."""
        if header.is_response:
            return None
        if header.major_version > MAJOR_VERSION:
            notify = NotifyPayload(NotifyType.INVALID_MAJOR_VERSION, bytes((MAJOR_VERSION,)))
        elif header.major_version == MAJOR_VERSION and _is_of_an_ike_sa(header):
            notify = NotifyPayload(NotifyType.INVALID_IKE_SPI)
        else:
            return None
        flags = Flag.RESPONSE | (0 if header.is_from_initiator else Flag.INITIATOR)
        spis = header.initiator_spi, header.responder_spi
        back = Header(*spis, 0, header.exchange_type, flags, header.message_id)
        reply = Message(back, (notify,)).encode_clear()
        return reply if len(reply) <= header.length and self._allowance.take(now) else None


def _is_of_an_ike_sa(header: Header) -> bool:
    """Whether it speaks of one that has begun: first messages have other answers.

    One-way notifies are no requests (1.5).
    """
    is_first = header.exchange_type == ExchangeType.IKE_SA_INIT
    is_one_way = header.next_payload == PayloadType.NOTIFY
    return not is_first and not is_one_way and header.responder_spi != NO_SPI
