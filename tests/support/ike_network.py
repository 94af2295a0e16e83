"""Two IKE endpoints on virtual time, with a network between them that misbehaves on demand."""

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address, ip_network
from itertools import count
from random import Random

from plutino.ike.active_child import ActiveChild
from plutino.ike.auth.credentials import LocalPresharedKey, RemotePresharedKey
from plutino.ike.auth.identity import Identity
from plutino.ike.auth.ocsp import StatusQuestion
from plutino.ike.config import ChildConfig, Lifetimes, PeerConfig
from plutino.ike.crypto.encryption import NotAuthenticError
from plutino.ike.endpoint import Endpoint
from plutino.ike.esp_use import ChildUse
from plutino.ike.events import Event, UseWanted
from plutino.ike.message.chain import parse_chain
from plutino.ike.message.header import Header
from plutino.ike.message.message import describe
from plutino.ike.message.protection import open_message
from plutino.ike.narrowing import selector_of
from plutino.ike.numbers import ExchangeType
from plutino.ike.path import Datagram, Path, first_path
from plutino.ike.payloads.proposal import Transform
from plutino.ike.proposals import Suite
from plutino.model.errors import WireError
from plutino.model.secret import Secret

A, B = ip_address("192.0.2.1"), ip_address("198.51.100.2")
A2 = ip_address("203.0.113.1")
"""a's second uplink."""
ANY = (selector_of(ip_network("0.0.0.0/0")), selector_of(ip_network("::/0")))
IKE_GCM: Suite = (Transform(1, 20, 128), Transform(2, 5), Transform(4, 31))
ESP_GCM: Suite = (Transform(1, 20, 128), Transform(5, 0))
ESP_GCM_PFS: Suite = (Transform(1, 20, 128), Transform(4, 31), Transform(5, 0))
# With ML-KEM-512 and then P-256 after the first key exchange (RFC 9370).
SERIES: Suite = (Transform(6, 35), Transform(7, 19))
IKE_SERIES: Suite = (*IKE_GCM, *SERIES)
ESP_SERIES: Suite = (*ESP_GCM_PFS, *SERIES)
KEY = Secret(b"a key that both know")


def child(name: str = "net", **changes: object) -> ChildConfig:
    """A CHILD_SA for everything."""
    values: dict[str, object] = {"suites": (ESP_GCM,), "local": ANY, "remote": ANY} | changes
    return ChildConfig(name, **values)  # type: ignore[arg-type]


def peer(side: str, **changes: object) -> PeerConfig:
    """What ``a`` knows of ``b``, or the reverse."""
    here, there = ("a", "b") if side == "a" else ("b", "a")
    addresses = {"a": A, "b": B}
    values: dict[str, object] = {
        "suites": (IKE_GCM,),
        "local_credential": LocalPresharedKey(Identity.fqdn(here), KEY),
        "remote_credential": RemotePresharedKey(Identity.fqdn(there), KEY),
        "children": (child(),),
        "local": addresses[here],
        "remotes": (addresses[there],),
        "lifetimes": Lifetimes(None),
        "liveness_after": None,
    } | changes
    return PeerConfig(there, **values)  # type: ignore[arg-type]


@dataclass
class Conditions:
    """Shares of datagrams that are lost, doubled or late; delays in seconds."""

    loss: float = 0.0
    duplication: float = 0.0
    delay: tuple[float, float] = (0.01, 0.01)


@dataclass(order=True)
class _Flight:
    at: float
    order: int
    arrive: Callable[[], None] = field(compare=False)


class Network:
    """Endpoints by name and address; ``trace`` is the ladder of all that was sent."""

    def __init__(self, seed: int = 0, conditions: Conditions | None = None) -> None:
        self.random = Random(seed)
        self.conditions = conditions or Conditions()
        self.now = 1000.0
        self.endpoints: dict[str, Endpoint] = {}
        self.addresses: dict[object, str] = {}
        self.events: dict[str, list[Event]] = {}
        self.saved: dict[str, dict[tuple[str, bytes], bytes]] = {}
        self.kept_up: dict[str, tuple[str, Path, tuple[str, ...]]] = {}
        self.trace: list[str] = []
        self.sent: list[Datagram] = []
        self.hook: Callable[[str, Datagram], Iterable[Datagram]] | None = None
        self.responder: Callable[[StatusQuestion], tuple[float, bytes]] | None = None
        """After how many seconds an OCSP responder answers what; never, without one."""
        self.uses: Callable[[str], Sequence[ChildUse] | None] = lambda _name: ()
        """What the data plane of an endpoint knows of its CHILD_SAs; None: it does not answer."""
        self.blocked = False
        self.silent = False
        self._flights: list[_Flight] = []
        self._order = count()

    def add(self, name: str, address: object, peers: Iterable[PeerConfig]) -> Endpoint:
        """An endpoint at an address."""
        endpoint = Endpoint(peers, random=self.random.randbytes, date=self._date)
        self.endpoints[name] = endpoint
        self.addresses[address] = name
        self.events[name] = []
        self.saved[name] = {}
        return endpoint

    def restart(self, name: str) -> Endpoint:
        """The endpoint is gone without a word, and another goes on with what was saved."""
        self.pump()
        self.trace.append(f"{name} restarts with {len(self.saved[name])} IKE SAs")
        peers = self.endpoints[name].peers.values()
        self.endpoints[name] = new = Endpoint(peers, random=self.random.randbytes, date=self._date)
        for octets in list(self.saved[name].values()):
            new.adopt(octets, self.now)
        if name in self.kept_up:
            new.keep_up(*self.kept_up[name], self.now)
        return new

    def _save(self, name: str) -> None:
        for key, octets in self.endpoints[name].states_to_save().items():
            self.saved[name].pop(key, None)
            if octets is not None:
                self.saved[name][key] = octets

    def pump(self) -> None:
        """Takes what the endpoints want to send."""
        for name, endpoint in self.endpoints.items():
            self._save(name)
            for datagram in endpoint.datagrams_to_send():
                if not self.silent:
                    self._note(name, datagram)
                hooked = (datagram,) if self.hook is None else self.hook(name, datagram)
                for one in hooked:
                    self._launch(one)
            for _, question in endpoint.questions_to_ask():
                self.trace.append(f"{name} asks {question.url}")
                if self.responder is not None:
                    delay, response = self.responder(question)
                    self._after(delay, partial(self._answer, name, question, response))
            events = endpoint.next_events()
            self.events[name] += events
            for event in events:
                if isinstance(event, UseWanted):
                    self.trace.append(f"{name} looks at its ESP")
                    uses = self.uses(name)
                    if uses is not None:
                        endpoint.note_use(event.peer, uses, self.now)

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Lets virtual time pass; True once ``until`` holds, False if it never did."""
        end = self.now + seconds
        for _ in range(200_000):
            self.pump()
            if until is not None and until():
                return True
            times = [one for one in (e.next_timer() for e in self.endpoints.values()) if one]
            if self._flights:
                times.append(self._flights[0].at)
            following = min(times, default=None)
            if following is None or following > end:
                self.now = end
                return until is not None and until()
            self.now = max(self.now, following)
            while self._flights and self._flights[0].at <= self.now:
                heapq.heappop(self._flights).arrive()
            for endpoint in self.endpoints.values():
                due = endpoint.next_timer()
                if due is not None and due <= self.now:
                    endpoint.handle_timer(self.now)
        raise AssertionError("the endpoints never come to rest")

    def _date(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now)

    def _launch(self, datagram: Datagram) -> None:
        self.sent.append(datagram)
        least, most = self.conditions.delay
        copies = 2 if self.random.random() < self.conditions.duplication else 1
        for _ in range(copies):
            if self.blocked or self.random.random() < self.conditions.loss:
                continue
            self._after(self.random.uniform(least, most), partial(self._land, datagram))

    def _after(self, delay: float, arrive: Callable[[], None]) -> None:
        heapq.heappush(self._flights, _Flight(self.now + delay, next(self._order), arrive))

    def _answer(self, name: str, question: StatusQuestion, response: bytes) -> None:
        self.endpoints[name].take_answer(question, response, self.now)

    def _land(self, datagram: Datagram) -> None:
        name = self.addresses.get(datagram.path.remote.address)
        if name is not None:
            back = Path(datagram.path.remote, datagram.path.local)
            self.endpoints[name].receive(datagram.payload, back, self.now)

    def _note(self, name: str, datagram: Datagram) -> None:
        if len(datagram.payload) < Header.FIXED.size:
            self.trace.append(f"{name}> keepalive")
            return
        header = Header.parse(memoryview(datagram.payload))
        self.trace.append(f"{name}> {self._words(name, header, datagram)}")

    def _words(self, name: str, header: Header, datagram: Datagram) -> str:
        arrow = "" if not header.is_response else " reply"
        if header.exchange_type == ExchangeType.IKE_SA_INIT:
            chain = parse_chain(header.next_payload, memoryview(datagram.payload)[28:])
            return describe(header, chain) + arrow
        spi = header.initiator_spi if header.is_from_initiator else header.responder_spi
        session = self.endpoints[name].sessions.get(spi)
        if session is None or session.keys is None:
            return header.exchange_name + arrow
        suite, keys = session.keys.suite, session.keys.keys
        cipher = (
            suite.cipher(keys.ei, keys.ai)
            if header.is_from_initiator
            else suite.cipher(keys.er, keys.ar)
        )
        try:
            opened = open_message(header, memoryview(datagram.payload), cipher)
        except (NotAuthenticError, WireError):
            # sealed by keys that have changed since, or in clear, when the IKE SA was not there yet
            return header.exchange_name + arrow
        if opened.total > 1:
            return f"{header.exchange_name} {opened.number}/{opened.total}{arrow}"
        return describe(header, parse_chain(opened.first_payload, memoryview(opened.chain))) + arrow


class IkePair(Network):
    """Two gateways, a and b, that know each other."""

    def __init__(
        self,
        seed: int = 0,
        conditions: Conditions | None = None,
        *,
        a: PeerConfig | None = None,
        b: PeerConfig | None = None,
    ) -> None:
        super().__init__(seed, conditions)
        self.add("a", A, [a or peer("a")])
        self.add("b", B, [b or peer("b")])
        self.addresses[A2] = "a"

    @property
    def a(self) -> Endpoint:
        """The one that begins by default."""
        return self.endpoints["a"]

    @property
    def b(self) -> Endpoint:
        """The other."""
        return self.endpoints["b"]

    def start(self, side: str = "a", children: tuple[str, ...] = ("net",)) -> None:
        """One side keeps the other up."""
        here, there = (A, B) if side == "a" else (B, A)
        other = "b" if side == "a" else "a"
        self.kept_up[side] = (other, first_path(here, there), children)
        self.endpoints[side].keep_up(*self.kept_up[side], self.now)

    def establish(self) -> None:
        """a brings everything up."""
        self.start("a")
        assert self.run(60, self.is_up), self.trace

    def is_up(self) -> bool:
        """Whether both have the same single child that both send by."""
        return self.agree() and len(self.current("a")) == 1

    def is_settled(self) -> bool:
        """Whether both have the same single IKE SA and children, all wanted ones among them."""
        sessions = [one for e in self.endpoints.values() for one in e.sessions.values()]
        if any(one.window.waiting or one.queue for one in sessions) or len(sessions) > 2:
            return False
        wanted = {name for one in sessions for name in one.wanted}
        names = [one.child.config.name for one in self.current("a")]
        return self.agree() and len(set(names)) == len(names) and wanted <= set(names)

    def paths_meet(self) -> bool:
        """Whether both ends of each IKE SA that is up have the same path."""
        ends = {
            side: {
                one.initiator_spi: one.path
                for one in self.endpoints[side].sessions.values()
                if one.is_established
            }
            for side in "ab"
        }
        theirs = {spi: Path(path.remote, path.local) for spi, path in ends["b"].items()}
        return ends["a"] == theirs

    def current(self, side: str) -> list[ActiveChild]:
        """The children of a side that are neither replaced nor about to go."""
        return [one for one in self.endpoints[side].child_sas() if one.child.is_current]

    def agree(self) -> bool:
        """Whether both sides have the same IKE SAs and children, with the same keys."""
        (a, b) = (self.endpoints["a"], self.endpoints["b"])
        spis = [
            {(s.initiator_spi, s.responder_spi) for s in e.sessions.values() if s.is_established}
            for e in (a, b)
        ]
        ours = {
            (
                c.child.spi_in,
                c.child.spi_out,
                c.child.keys.inbound.reveal(),
                c.child.keys.outbound.reveal(),
            )
            for c in self.current("a")
        }
        theirs = {
            (
                c.child.spi_out,
                c.child.spi_in,
                c.child.keys.outbound.reveal(),
                c.child.keys.inbound.reveal(),
            )
            for c in self.current("b")
        }
        return spis[0] == spis[1] and ours == theirs
