"""Those who have an IKE SA with us are served before those who want one, however many they are."""

import os
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from plutino.ike.events import Refused
from plutino.ike.path import Datagram, first_path
from plutino.ike.turns import Turn
from plutino.ike_process.receiving import Came, Source
from plutino.ike_process.waiting_room import MOST, MOST_OCTETS, WaitingRoom
from plutino.ike_process.worker import Worker
from tests.support.ike_flood import samples
from tests.support.ike_network import A2, A, B, IkePair

HERE = socket.AF_UNIX, socket.SOCK_SEQPACKET


@pytest.fixture
def pair() -> IkePair:
    """With an IKE SA, and a first message of another one in ``sent[0]``."""
    one = IkePair()
    one.establish()
    return one


@pytest.fixture
def worker(pair: IkePair) -> Iterator[Worker]:
    """The IKE process's own loop, on b's endpoint."""
    sockets = [*socket.socketpair(), *socket.socketpair(*HERE)]
    made = Worker(sockets[0], sockets[2], note_keys=False)
    made._endpoint = pair.b
    yield made
    for one in sockets:
        one.close()


def passed_on(datagram: Datagram) -> bytes:
    """As the engine does."""
    here, there = datagram.path.remote.address, datagram.path.local
    ends = b"".join(bytes(10) + b"\xff\xff" + one.packed for one in (there.address, here))
    return ends + there.port.to_bytes(2, "big") + datagram.payload


def fresh(datagram: Datagram) -> Datagram:
    return Datagram(datagram.path, os.urandom(8) + datagram.payload[8:])


def test_a_request_is_answered_before_first_messages_that_came_before_it(
    pair: IkePair, worker: Worker
) -> None:
    strangers = [fresh(pair.sent[0]) for _ in range(40)]
    asked: list[Datagram] = []

    def hold(_: str, datagram: Datagram) -> list[Datagram]:
        asked.append(datagram)
        return []

    pair.hook = hold
    (spi,) = [one.child.spi_in for one in pair.current("a")]
    pair.a.rekey_child(spi, pair.now)
    pair.run(0.1)
    ours, its = socket.socketpair(*HERE)
    with ours, its:
        for one in (*strangers, asked[0]):
            its.send(passed_on(one))
        worker._hear(ours, Source.ENGINE, 4500)
        (answer,) = pair.b.datagrams_to_send()
        assert answer.payload[:8] == asked[0].payload[:8], "of the IKE SA"
        assert len(pair.b.sessions) == 1
        served = []
        while worker._strangers:
            worker._serve_strangers()
            served.append(len(pair.b.datagrams_to_send()))
        assert sum(served) == len(strangers)
        assert len(served) > 1, "not all before sockets are looked at again"


def test_what_waits_is_bounded() -> None:
    room = WaitingRoom()
    short = Came((A.packed, B.packed), (500, 500), b"first")
    assert room.enter(short)
    assert all(room.enter(short._replace(payload=bytes(9))) for _ in range(MOST - 1))
    assert not room.enter(short)
    assert room.next() == short
    assert room.enter(short)
    assert not room.enter(short)
    while room.next() is not None:
        pass
    long = short._replace(payload=bytes(MOST_OCTETS // 2))
    assert [room.enter(long) for _ in range(3)] == [True, True, False]
    assert room.next() == long
    assert room.enter(long)


def test_a_flood_from_nowhere_leaves_room_for_peers(pair: IkePair, worker: Worker) -> None:
    """More than have room, before the first of them is refused."""
    first = pair.sent[0]
    nowhere = replace(first, path=first_path(A2, B))
    ours, its = socket.socketpair(*HERE)
    with ours, its:
        for _ in range(MOST // 8):
            for _ in range(16):
                its.send(passed_on(fresh(nowhere)))
            worker._hear(ours, Source.ENGINE, 4500)
        its.send(passed_on(fresh(first)))
        worker._hear(ours, Source.ENGINE, 4500)
    while worker._strangers:
        worker._serve_strangers()
    assert len(pair.b.sessions) == 2, "the peer begins another IKE SA"


@pytest.mark.parametrize("source", [A, A2])
def test_what_never_has_a_turn_would_have_come_to_nothing(pair: IkePair, source: object) -> None:
    """Of all that a flood sends, also where the few answers to strangers are used up."""
    kept = dict(pair.b.sessions)
    path = first_path(B, A if source is A else A2)
    ends = path.local.address.packed, path.remote.address.packed
    found = []
    for octets in samples()[:500]:
        turn = pair.b.turn_of(octets, ends, pair.now)
        found.append(turn)
        pair.b.receive(octets, path, pair.now)
        said = [one for one in pair.b.next_events() if isinstance(one, Refused)]
        sent = pair.b.datagrams_to_send()
        if turn is Turn.NEVER:
            assert not said
            assert not sent
    assert set(kept) <= set(pair.b.sessions)
    assert {Turn.LATER if source is A else Turn.REFUSAL, Turn.NEVER} <= set(found)
    assert Turn.AT_ONCE not in found


def test_whoever_bears_our_spi_is_heard_at_once(pair: IkePair) -> None:
    ends = B.packed, A.packed
    mine = [one.payload for one in pair.sent if one.path.remote.address == B]
    turns = [pair.b.turn_of(one, ends, pair.now) for one in mine]
    assert turns == [Turn.LATER, *[Turn.AT_ONCE] * (len(mine) - 1)]
    assert len(mine) > 1
    answers = [one.payload for one in pair.sent if one.path.remote.address == A]
    assert {pair.a.turn_of(one, ends, pair.now) for one in answers} == {Turn.AT_ONCE}
