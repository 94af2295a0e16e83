"""Several requests under way at once (RFC 7296, 2.3)."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_network

import pytest

from plutino.ike.exchanges import answers, auth
from plutino.ike.exchanges.delete import Liveness
from plutino.ike.message.header import Header
from plutino.ike.message.message import Message
from plutino.ike.narrowing import selector_of
from plutino.ike.numbers import ExchangeType, NotifyType
from plutino.ike.path import Datagram, Path
from plutino.ike.payloads.generic import Payload
from plutino.ike.payloads.notify import NotifyPayload
from plutino.ike.session import Session
from tests.support.ike_network import ESP_SERIES, Conditions, IkePair, child, peer

NAMES = ("net", "lab", "office")
TELLS = "N(SET_WINDOW_SIZE)"


def up(a: int, b: int, **options: object) -> IkePair:
    """Three CHILD_SAs; the ends take so many requests at once."""
    networks = [(selector_of(ip_network(f"10.{place}.0.0/16")),) for place in range(3)]
    children = tuple(
        child(name, local=one, remote=one, **options)
        for name, one in zip(NAMES, networks, strict=True)
    )
    pair = IkePair(
        a=peer("a", children=children, window=a), b=peer("b", children=children, window=b)
    )
    pair.start("a", NAMES)
    assert pair.run(10, lambda: pair.agree() and len(pair.current("a")) == 3)
    pair.run(1)
    return pair


def rekey_all(pair: IkePair, side: str) -> None:
    for one in pair.current(side):
        pair.endpoints[side].rekey_child(one.child.spi_in, pair.now)


def at_once(pair: IkePair) -> int:
    """How many requests of CREATE_CHILD_SA a sends before it has heard of the first."""
    pair.trace.clear()
    rekey_all(pair, "a")
    pair.run(0.005)
    return len([one for one in pair.trace if one.startswith("a> CREATE_CHILD_SA")])


@pytest.mark.parametrize(
    ("a", "b", "most"), [(1, 1, 1), (1, 4, 1), (4, 1, 1), (4, 2, 2), (2, 4, 2), (4, 4, 3)]
)
def test_no_more_than_both_ends_allow(a: int, b: int, most: int) -> None:
    pair = up(a, b)
    told = [one for one in pair.trace if TELLS in one]
    assert [one[0] for one in told] == [*("a" * (a > 1)), *("b" * (b > 1))]
    assert all("IKE_AUTH" in one for one in told)
    before = {one.child.spi_in for one in pair.current("a")}
    assert at_once(pair) == most
    pair.run(5)
    after = {one.child.spi_in for one in pair.current("a")}
    assert pair.is_settled()
    assert not before & after
    assert len(after) == 3


def test_a_peer_that_allows_more_than_is_sane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own configuration bounds what we send."""

    def boast(_: object) -> list[NotifyPayload]:
        return [NotifyPayload(NotifyType.SET_WINDOW_SIZE, b"\xff" * 4)]

    monkeypatch.setattr(auth, "own_window", boast)
    assert at_once(up(2, 1)) == 2


@pytest.mark.parametrize("data", [b"", b"\0\0\0\4\0", b"\0\0\0\0"])
def test_a_size_that_makes_no_sense(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def say(_: object) -> list[NotifyPayload]:
        return [NotifyPayload(NotifyType.SET_WINDOW_SIZE, data)]

    monkeypatch.setattr(auth, "own_window", say)
    assert at_once(up(4, 4)) == 1


def test_the_ike_sa_is_rekeyed_alone() -> None:
    """Not beside other requests, and no other one goes beside it; the ends tell their windows anew.

    The new IKE SA begins with a window of one (RFC 7296, 2.18).
    """
    pair = up(4, 4)
    assert at_once(pair) == 3
    pair.a.rekey_ike("b", pair.now)
    pair.run(0.012)
    (session,) = pair.a.sessions.values()
    assert not session.rekeying
    session.enqueue(Liveness(), pair.now)
    pair.trace.clear()
    pair.run(5)
    places = [
        pair.trace.index(one)
        for one in ("a> CREATE_CHILD_SA {SA,No,KE}", "b> CREATE_CHILD_SA {SA,No,KE} reply")
    ]
    assert places[1] == places[0] + 1, pair.trace
    told = [one for one in pair.trace if TELLS in one]
    assert told == [f"a> INFORMATIONAL {{{TELLS}}}", f"b> INFORMATIONAL {{{TELLS}}} reply"]
    assert pair.is_settled()
    assert session.is_closed
    assert at_once(pair) == 3


def test_the_ike_sa_is_deleted_alone() -> None:
    """After the answers to all that is under way."""
    pair = up(4, 4)
    assert at_once(pair) == 3
    pair.a.let_down("b", pair.now)
    pair.trace.clear()
    pair.run(1)
    kinds = [one.partition(" {")[0] for one in pair.trace]
    assert kinds == ["b> CREATE_CHILD_SA"] * 3 + ["a> INFORMATIONAL", "b> INFORMATIONAL reply"]
    assert not pair.a.sessions
    assert not pair.b.sessions


def test_series_beside_each_other() -> None:
    """Each follow-up finds its own by the link."""
    pair = up(4, 4, suites=(ESP_SERIES,))
    assert at_once(pair) == 3
    pair.run(5)
    assert pair.is_settled()
    followups = [one for one in pair.trace if one.startswith("a> IKE_FOLLOWUP_KE")]
    assert len(followups) == 6


def test_requests_that_overtake_one_that_is_lost() -> None:
    """They are taken as soon as it has come again, and need not be sent again themselves."""
    pair = up(4, 4)
    sent: list[int] = []

    def lose(name: str, datagram: Datagram) -> Iterable[Datagram]:
        """The first time of the first request, and every repetition of another."""
        header = Header.parse(memoryview(datagram.payload))
        if name != "a" or header.exchange_type != ExchangeType.CREATE_CHILD_SA:
            return (datagram,)
        place = header.message_id
        is_lost = not sent or (place in sent and place != sent[0])
        sent.append(place)
        return () if is_lost else (datagram,)

    pair.hook = lose
    before = {one.child.spi_in for one in pair.current("a")}
    assert at_once(pair) == 3
    pair.run(0.5)
    assert not [one for one in pair.trace if one.startswith("b>")]
    pair.run(1)
    assert pair.is_settled()
    assert not before & {one.child.spi_in for one in pair.current("a")}


def test_a_delete_waits_for_what_makes_the_child_anew() -> None:
    pair = up(4, 4)
    (doomed, *_) = pair.current("a")
    pair.trace.clear()
    pair.a.rekey_child(doomed.child.spi_in, pair.now)
    pair.a.delete_child(doomed.child.spi_in, pair.now)
    pair.run(0.005)
    assert pair.trace == ["a> CREATE_CHILD_SA {N(REKEY_SA),SA,No,TSi,TSr}"]
    pair.run(5)
    assert pair.is_settled()


def test_bad_conditions_and_all_that_at_once() -> None:
    conditions = Conditions(loss=0.2, duplication=0.2, delay=(0.001, 0.3))
    for seed in range(10):
        pair = up(4, 3, suites=(ESP_SERIES,))
        pair.random.seed(seed)
        pair.conditions = replace(conditions)
        for side in "abab":
            rekey_all(pair, side)
            pair.run(pair.random.uniform(0, 2))
        pair.a.rekey_ike("b", pair.now)
        pair.run(5)
        pair.conditions = Conditions()
        assert pair.run(200, pair.is_settled), (seed, pair.trace[-40:])
        assert {one.child.config.name for one in pair.current("b")} == set(NAMES)


def test_an_ike_sa_that_fails_ends_within_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7296, 2.3: not even the last request may go beyond it.

    Of two answers the first is late, and the second malformed, which ends the IKE SA.
    """
    pair = up(4, 2)
    (session,) = pair.a.sessions.values()
    first = session.window.next_id

    def answer(own: Session, message: Message, path: Path, now: float) -> Sequence[Payload]:
        payloads = answers.answer(own, message, path, now)
        return [] if message.header.message_id == first + 1 else payloads

    monkeypatch.setattr("plutino.ike.receiving.answer", answer)
    late: list[Datagram] = []
    requests: set[int] = set()

    def hold(name: str, datagram: Datagram) -> Iterable[Datagram]:
        header = Header.parse(memoryview(datagram.payload))
        if header.initiator_spi == session.initiator_spi:
            if name == "a":
                requests.add(header.message_id)
            elif header.message_id == first:
                late.append(datagram)
                return ()
        return (datagram,)

    pair.hook = hold
    assert at_once(pair) == 2
    pair.run(0.5)
    assert requests == {first, first + 1}
    pair.hook = lambda _, datagram: (datagram,)
    pair.a.receive(late[0].payload, session.path, pair.now)
    pair.run(0.1)
    for side in (pair.a, pair.b):
        every = {one.initiator_spi for one in side.sessions.values()}
        assert session.initiator_spi not in every, "both have let go of it"
