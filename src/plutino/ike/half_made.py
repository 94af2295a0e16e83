"""SAs that the peer has begun to make, and whose key exchanges are not all done (RFC 9370, 2.2.4).

The responder's side of a CREATE_CHILD_SA with additional key exchanges: what it keeps until the
last IKE_FOLLOWUP_KE. Nothing of it is an SA yet, and the next daemon does without.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plutino.ike.child import Child
from plutino.ike.config import ChildConfig
from plutino.ike.numbers import NotifyType
from plutino.ike.payloads.notify import NotifyPayload
from plutino.ike.schedule import FOLLOWUP_WITHIN, SERIES_WITHIN

if TYPE_CHECKING:
    from plutino.ike.session import Session

_LINK_SIZE = 16

Purpose = Child | ChildConfig | None
"""The CHILD_SA that is to be replaced, or what a new one is for; None for the IKE SA itself."""


@dataclass(slots=True, eq=False, kw_only=True)
class HalfMade(ABC):
    """One of them: the methods that are still to come, and SK(1) | ... of those that are done.

    ``expires_at`` is for its next key exchange, ``ends_at`` for the last one.
    """

    purpose: Purpose
    lowest_nonce: bytes
    methods: tuple[int, ...]
    secrets: bytes = field(default=b"", repr=False)
    expires_at: float = 0.0
    ends_at: float | None = None

    @abstractmethod
    def complete(self, session: Session, now: float) -> None:
        """The SA is made, once all key exchanges are done.

        PeerError if that is no longer possible.
        """


class HalfMades:
    """Those of one IKE SA, by the link that the peer's next request has to bear.

    For each purpose there is one at most: a peer that begins anew has given up the one before.
    """

    def __init__(self) -> None:
        self._by_link: dict[bytes, HalfMade] = {}

    def expect(self, one: HalfMade, random: Callable[[int], bytes], now: float) -> NotifyPayload:
        """Waits for the next key exchange; the notify links it to this one."""
        before = self.about(one.purpose)
        if one.ends_at is None:
            one.ends_at = now + SERIES_WITHIN if before is None else before.ends_at
        kept = {link: other for link, other in self._by_link.items() if other is not before}
        link = random(_LINK_SIZE)
        one.expires_at = min(now + FOLLOWUP_WITHIN, one.ends_at or now)
        self._by_link = kept | {link: one}
        return NotifyPayload(NotifyType.ADDITIONAL_KEY_EXCHANGE, link)

    @property
    def links(self) -> tuple[bytes, ...]:
        """What the peer's next requests may bear."""
        return tuple(self._by_link)

    def take(self, link: bytes) -> HalfMade | None:
        """The one whose next key exchange has come; a link is of use once."""
        return self._by_link.pop(link, None)

    def about(self, purpose: Purpose) -> HalfMade | None:
        """The one that is made for this."""
        return next((one for one in self._by_link.values() if one.purpose == purpose), None)

    def next_due(self) -> float | None:
        """When the first of them expires."""
        return min((one.expires_at for one in self._by_link.values()), default=None)

    def expire(self, now: float) -> None:
        """The peer has not gone on with some."""
        for link, one in list(self._by_link.items()):
            if one.expires_at <= now:
                del self._by_link[link]

    def clear(self) -> None:
        """Nothing will come of any."""
        self._by_link.clear()
