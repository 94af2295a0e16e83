"""MOBIKE (RFC 4555): an IKE SA and its children move to other addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plutino.ike.errors import InvalidSyntaxError, PeerError, UnexpectedNatDetectedError
from plutino.ike.events import ChildrenChanged
from plutino.ike.exchanges.own_addresses import other_addresses, plan_to_tell
from plutino.ike.exchanges.sa_init import detect_nat, detection
from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType, NotifyType
from plutino.ike.path import Path, is_unchanged
from plutino.ike.payloads.generic import Payload
from plutino.ike.payloads.notify import NotifyPayload

if TYPE_CHECKING:
    from plutino.ike.session import Session

_CHECK_SIZE = 16


@dataclass(slots=True)
class UpdateAddresses:
    """Tells the peer of the path that the IKE SA is on by now (RFC 4555, 3.5)."""

    exchange_type: ClassVar = ExchangeType.INFORMATIONAL
    check: bytes = b""
    path: Path | None = None

    def request(self, session: Session, now: float) -> Sequence[Payload] | None:
        """N(UPDATE_SA_ADDRESSES), NAT detection, COOKIE2."""
        del now
        if not session.is_established or not session.abilities.mobike:
            return None
        self.check, self.path = session.surroundings.random(_CHECK_SIZE), session.path
        return [
            NotifyPayload(NotifyType.UPDATE_SA_ADDRESSES),
            *detection(session, session.path),
            NotifyPayload(NotifyType.COOKIE2, self.check),
            *other_addresses(session),
        ]

    def response(self, session: Session, message: Message, now: float) -> None:
        """The peer uses the new path; a NAT on it shows, unless we have left it meanwhile."""
        if message.error is not None and session.unproved_from is not None:
            session.close(f"the peer does not move with us: {message.error.name}", now)
            return
        if message.error is not None:
            raise PeerError(
                f"the peer does not follow to {session.path.local}: {message.error.name}"
            )
        _check_cookie(message, self.check)
        if session.path == self.path:
            detect_nat(session, message, session.path)
            _let_esp_follow(session)


@dataclass(slots=True)
class CheckReturn:
    """Whether who has moved receives where it says (RFC 4555, 3.7); silence ends the IKE SA.

    Its CHILD_SAs move before, or each move would cost another round trip. ``check`` is empty where
    another process has asked.
    """

    exchange_type: ClassVar = ExchangeType.INFORMATIONAL
    check: bytes = b""

    def request(self, session: Session, now: float) -> Sequence[Payload] | None:
        """COOKIE2, which nobody else can know."""
        del now
        self.check = session.surroundings.random(_CHECK_SIZE)
        is_up = session.is_established
        return [NotifyPayload(NotifyType.COOKIE2, self.check)] if is_up else None

    def response(self, session: Session, message: Message, now: float) -> None:
        """It does."""
        if self.check:
            _check_cookie(message, self.check)


@dataclass(slots=True)
class CheckMapping:
    """A liveness check that also shows whether a NAT has given us another mapping (RFC 4555, 3.8).

    The peer tells by a hash what our address looks like there; another hash than the last time
    means that we have moved without knowing.
    """

    exchange_type: ClassVar = ExchangeType.INFORMATIONAL

    def request(self, session: Session, now: float) -> Sequence[Payload] | None:
        """NAT detection alone."""
        del now
        return [*detection(session, session.path)] if session.is_established else None

    def response(self, session: Session, message: Message, now: float) -> None:
        """The peer follows to the new mapping once it is asked to."""
        there = message.notify(NotifyType.NAT_DETECTION_DESTINATION_IP)
        before, session.seen_as = session.seen_as, b"" if there is None else there.data
        if before and session.seen_as and before != session.seen_as:
            session.enqueue(UpdateAddresses(), now)


def _let_esp_follow(session: Session) -> None:
    """The peer has shown that it receives where it is by now (RFC 4555, 3.7)."""
    if session.unproved_from is not None:
        session.unproved_from = None
        session.tell(ChildrenChanged(session.peer.name, "the peer is at another of its addresses"))


def _check_cookie(message: Message, sent: bytes) -> None:
    """InvalidSyntaxError, which ends the IKE SA, if COOKIE2 did not come back (RFC 4555, 3.7)."""
    cookie = message.notify(NotifyType.COOKIE2)
    if cookie is None or cookie.data != sent:
        raise InvalidSyntaxError("COOKIE2 did not come back as it was")


def check_no_nats(message: Message, path: Path) -> None:
    """UnexpectedNatDetectedError if a NAT has changed the addresses that the peer sent to."""
    told = message.notify(NotifyType.NO_NATS_ALLOWED)
    if told is not None and not is_unchanged(told.data, path):
        raise UnexpectedNatDetectedError(f"the peer forbids the NAT before {path.remote}")


def answer_addresses(session: Session, message: Message, path: Path, now: float) -> list[Payload]:
    """COOKIE2 comes back; with UPDATE_SA_ADDRESSES the IKE SA follows to where it came from."""
    check_no_nats(message, path)
    replies: list[Payload] = []
    cookie = message.notify(NotifyType.COOKIE2)
    if cookie is not None:
        replies.append(NotifyPayload(NotifyType.COOKIE2, cookie.data))
    if message.notify(NotifyType.NAT_DETECTION_SOURCE_IP) is not None:
        replies = [*detection(session, path), *replies]
    if message.notify(NotifyType.UPDATE_SA_ADDRESSES) is not None and session.abilities.mobike:
        detect_nat(session, message, path)
        has_moved = path.remote != session.path.remote
        session.move(path)
        heir = session.successor
        while heir is not None:  # it came about by the old path
            heir.move(path)
            session.affected.append(heir)
            heir = heir.successor
        if has_moved and not session.ahead(CheckReturn):
            session.enqueue(CheckReturn(), now)
        plan_to_tell(session, now)  # it has come to another one of ours
    return replies
