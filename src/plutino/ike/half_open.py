"""First messages of strangers: retransmissions, cookies, limits (RFC 7296, 2.1, 2.4 and 2.6)."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from plutino.ike.allowance import Allowance
from plutino.ike.cookies import CookieJar
from plutino.ike.errors import NoProposalChosenError, PeerError
from plutino.ike.exchanges.sa_init import respond
from plutino.ike.message.header import NO_SPI, Header
from plutino.ike.message.message import Message
from plutino.ike.message.rules import check_rules
from plutino.ike.numbers import ExchangeType, Flag, NotifyType
from plutino.ike.path import Path
from plutino.ike.payloads.generic import NoncePayload
from plutino.ike.payloads.notify import NotifyPayload
from plutino.ike.schedule import HALF_OPEN_FOR
from plutino.ike.session import Session
from plutino.ike.surroundings import Surroundings
from plutino.model.errors import WireError
from plutino.model.policy import IpAddress

COOKIES_ABOVE = 32
"""Half-open IKE SAs beyond which a first message needs a cookie."""
MAX_HALF_OPEN = 1000
MAX_PER_SOURCE = 64
"""Half-open IKE SAs beyond which first messages are dropped: in all, and of one address."""
REFUSALS_PER_SECOND = 20.0
"""To first messages from addresses where nobody is configured; the others are not even read."""

Answered = tuple[bytes | None, Session | None, str | None]
"""What to send, the IKE SA that has begun, and why there is none, for the log."""


@dataclass(frozen=True, slots=True)
class _Entry:
    source: IpAddress
    reply: bytes = field(repr=False)


class HalfOpen:
    """IKE SAs that have answered a first message and wait for the proof of identity."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._jar = CookieJar(random)
        self._refusals = Allowance.of(REFUSALS_PER_SECOND)
        self._entries: dict[bytes, _Entry] = {}
        self._by_spi: dict[bytes, bytes] = {}
        self._proved: OrderedDict[bytes, None] = OrderedDict()
        self._sources: Counter[IpAddress] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def may_refuse(self, now: float) -> bool:
        """Whether one more first message from where nobody is configured may be answered by now."""
        return self._refusals.is_left(now)

    def answer(
        self,
        surroundings: Surroundings,
        header: Header,
        datagram: bytes,
        path: Path,
        now: float,
    ) -> Answered:
        """The same answer to the same request; a cookie, a refusal or a new IKE SA to others.

        One whose IKE SA is up has none. Requests are told apart by all their octets: the SPI alone
        may be that of another peer behind the same NAT (RFC 7296, 2.1).
        """
        if not surroundings.peers_at(path) and not self._refusals.take(now):
            return None, None, None
        key = sha256(f"{path}".encode() + datagram).digest()
        known = self._entries.get(key)
        if known is not None:
            return known.reply, None, None
        source = path.remote.address
        is_full = len(self) >= MAX_HALF_OPEN or self._sources[source] >= MAX_PER_SOURCE
        if is_full or key in self._proved:
            return None, None, None
        try:
            reply, session = self._begin(surroundings, header, datagram, path, now)
        except WireError as error:
            return None, None, str(error)
        except PeerError as error:
            refusal = NotifyPayload(error.notify, error.data)
            return _clear(header, refusal), None, error.reason
        if session is not None:
            self._entries[key] = _Entry(source, reply)
            self._by_spi[session.spi] = key
            self._sources[source] += 1
        return reply, session, None

    def _begin(
        self,
        surroundings: Surroundings,
        header: Header,
        datagram: bytes,
        path: Path,
        now: float,
    ) -> tuple[bytes, Session | None]:
        message = Message.parse_clear(header, memoryview(datagram))
        check_rules(message)
        if len(self) >= COOKIES_ABOVE and not self._has_cookie(message, path, now):
            return self._ask_for_cookie(message, path, now), None
        candidates = surroundings.peers_at(path)
        if not candidates:
            raise NoProposalChosenError("nobody is configured for this address")
        session = Session(surroundings, path, candidates, is_initiator=False, now=now)
        reply = respond(session, message, now)
        session.schedule.expires_at = now + HALF_OPEN_FOR
        return reply, session

    def done(self, spi: bytes, *, proved: bool) -> None:
        """An IKE SA has been authenticated, or has ended before."""
        key = self._by_spi.pop(spi, None)
        if key is not None:
            if proved:
                self._proved[key] = None
                if len(self._proved) > MAX_HALF_OPEN:
                    self._proved.popitem(last=False)
            entry = self._entries.pop(key)
            self._sources[entry.source] -= 1
            if not self._sources[entry.source]:
                del self._sources[entry.source]

    def _has_cookie(self, message: Message, path: Path, now: float) -> bool:
        cookie, nonce = message.notify(NotifyType.COOKIE), message.first(NoncePayload)
        if cookie is None or nonce is None:
            return False
        spi = message.header.initiator_spi
        return self._jar.accepts(cookie.data, nonce.nonce, spi, path.remote, now=now)

    def _ask_for_cookie(self, message: Message, path: Path, now: float) -> bytes:
        nonce = message.first(NoncePayload)
        data = b"" if nonce is None else nonce.nonce
        cookie = self._jar.cookie(data, message.header.initiator_spi, path.remote, now)
        return _clear(message.header, NotifyPayload(NotifyType.COOKIE, cookie))


def _clear(asked: Header, notify: NotifyPayload) -> bytes:
    """An answer that keeps nothing: the responder's SPI is zero."""
    kind = ExchangeType.IKE_SA_INIT
    header = Header(asked.initiator_spi, NO_SPI, 0, kind, Flag.RESPONSE, asked.message_id)
    return Message(header, (notify,)).encode_clear()
