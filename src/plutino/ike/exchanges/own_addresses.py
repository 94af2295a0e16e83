"""Further addresses of ours, which a peer with MOBIKE may move to (RFC 4555, 3.4 and 3.6).

They are those of the uplinks that carry something, without the one that the IKE SA is on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType, NotifyType
from plutino.ike.payloads.generic import Payload
from plutino.ike.payloads.notify import NotifyPayload

if TYPE_CHECKING:
    from plutino.ike.session import Session

_KINDS: Final = {4: NotifyType.ADDITIONAL_IP4_ADDRESS, 6: NotifyType.ADDITIONAL_IP6_ADDRESS}
TELL_AFTER: Final = 2.0
"""Seconds until the peer hears of a change that concerns nothing in use."""


class TellAddresses:
    """Tells the peer of all that there are now, in the place of what it was told before."""

    exchange_type: ClassVar = ExchangeType.INFORMATIONAL

    def request(self, session: Session, now: float) -> Sequence[Payload] | None:
        """N(ADDITIONAL_IP4_ADDRESS) and the like, or N(NO_ADDITIONAL_ADDRESSES)."""
        del now
        return other_addresses(session) or None

    def response(self, session: Session, message: Message, now: float) -> None:
        """It is empty; a peer that will have none of it is not argued with."""


def first_addresses(session: Session) -> list[NotifyPayload]:
    """For IKE_AUTH: nothing where there are no others."""
    found = other_addresses(session)
    none = [one for one in found if one.type == NotifyType.NO_ADDITIONAL_ADDRESSES]
    return [] if none else found


def other_addresses(session: Session) -> list[NotifyPayload]:
    """All of them, where the peer does not know them yet."""
    known = session.surroundings.own_addresses(session.peer.name)
    may_tell = session.abilities.mobike or session.established_at is None  # in IKE_AUTH
    if known is None or not may_tell:
        return []
    others = tuple(one for one in known if one != session.path.local.address)
    if others == session.told_addresses:
        return []
    session.told_addresses = others
    if not others:
        return [NotifyPayload(NotifyType.NO_ADDITIONAL_ADDRESSES)]
    return [NotifyPayload(_KINDS[one.version], one.packed) for one in others]


def plan_to_tell(session: Session, now: float) -> None:
    """The peer will hear what has changed, if anything has and it was not told by then.

    A move comes first, and takes it along; uplinks that come and go are told of once.
    """
    if session.told_at is None:
        session.told_at = now + TELL_AFTER
