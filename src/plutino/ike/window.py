"""Message ids, windows, and retransmission of requests (RFC 7296, 2.1 to 2.3)."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from plutino.ike.config import Retransmission
from plutino.ike.message.fragments import Reassembly
from plutino.ike.message.header import Header
from plutino.ike.message.protection import Opened
from plutino.ike.path import Path

LAST_ID: Final = 0xFFFFFFFF
"""Of messages; an IKE SA that needs another one ends (RFC 7296, 2.2)."""
_Exchange = TypeVar("_Exchange")


@dataclass(slots=True)
class Outstanding(Generic[_Exchange]):
    """A request that waits for its response. ``due`` is when it is sent again.

    ``is_asked_anew``: it has had more tries since the peer has come back.
    """

    exchange: _Exchange
    message_id: int
    payloads: Sequence[bytes]
    due: float
    tries: int = 0
    is_asked_anew: bool = False
    reassembly: Reassembly = field(default_factory=Reassembly)


@dataclass(slots=True)
class RequestWindow(Generic[_Exchange]):
    """Our own requests: at most ``size``, which the peer sets, wait at a time."""

    retransmission: Retransmission
    next_id: int = 0
    size: int = 1
    waiting: dict[int, Outstanding[_Exchange]] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether another request may go out."""
        if not self.waiting:
            return True
        return self.next_id - min(self.waiting) < self.size

    def send(self, exchange: _Exchange, payloads: Sequence[bytes], now: float) -> None:
        """Notes a request under the next id, which its header bears already."""
        due = now + self.retransmission.first
        self.waiting[self.next_id] = Outstanding(exchange, self.next_id, payloads, due)
        self.next_id += 1

    def ask_anew(self, now: float) -> None:
        """The peer speaks: it may have been away, and has missed what waits for a long time.

        That is sent soon, and has all its tries, but only once: who speaks and never answers is
        given up all the same (RFC 7296, 2.4).
        """
        soon = now + self.retransmission.first
        for one in self.waiting.values():
            if one.due > soon and not one.is_asked_anew:
                one.is_asked_anew, one.tries, one.due = True, 0, soon

    def restart(self) -> None:
        """Forgets what waits and counts from zero again, as after a cookie (RFC 7296, 2.6)."""
        self.waiting.clear()
        self.next_id = 0

    def next_due(self) -> float | None:
        """When the next request is to be sent again."""
        return min((one.due for one in self.waiting.values()), default=None)

    def repeat(
        self, now: float
    ) -> tuple[list[Outstanding[_Exchange]], Outstanding[_Exchange] | None]:
        """The requests to send again now, and the one that has had all its tries, if any."""
        again: list[Outstanding[_Exchange]] = []
        for one in self.waiting.values():
            if one.due > now:
                continue
            if one.tries >= self.retransmission.tries:
                return [], one
            one.tries += 1
            pause = self.retransmission.first * self.retransmission.factor**one.tries
            one.due = now + min(pause, self.retransmission.longest)
            again.append(one)
        return again, None


class Request(NamedTuple):
    """One of the peer's, complete, with where it came by."""

    header: Header
    opened: Opened
    path: Path


@dataclass(slots=True)
class ResponseWindow:
    """The peer's requests: which are new, and the answers kept for those that come again.

    Requests are taken in their order: of ``size``, those that overtook one are kept until it has
    come. An answer is kept for each of the last ``size`` requests.
    """

    size: int = 1
    next_id: int = 0
    answers: OrderedDict[int, Sequence[bytes]] = field(default_factory=OrderedDict)
    _pieces: dict[int, Reassembly] = field(default_factory=dict)
    _complete: dict[int, Request] = field(default_factory=dict)

    def answer_to(self, message_id: int) -> Sequence[bytes] | None:
        """The response that was given already, to be sent once more."""
        return self.answers.get(message_id)

    def add(self, header: Header, piece: Opened, path: Path) -> None:
        """A request, or a fragment of one; dropped if it is old or beyond the window."""
        place = header.message_id
        if not self.next_id <= place < self.next_id + self.size or place in self._complete:
            return
        whole = self._pieces.setdefault(place, Reassembly()).add(piece)
        if whole is not None:
            self._complete[place] = Request(header, whole, path)

    def take_next(self) -> Request | None:
        """The request whose turn it is, once it is complete."""
        return self._complete.pop(self.next_id, None)

    def answered(self, message_id: int, payloads: Sequence[bytes]) -> None:
        """Keeps a response, and drops those that the peer can no longer ask for."""
        self.answers[message_id] = payloads
        self.next_id = message_id + 1
        self._pieces.pop(message_id, None)
        while len(self.answers) > self.size:
            self.answers.popitem(last=False)
