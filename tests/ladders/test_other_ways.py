"""A peer's further addresses, when nothing comes from the first (RFC 4555, 3.4, 3.5 and 3.7)."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from plutino.ike.numbers import NotifyType
from plutino.ike.other_ways import MOST
from plutino.ike.path import Datagram, Path, SocketAddress
from plutino.ike.payloads.notify import NotifyPayload
from tests.support.ike_network import A2, A, B, IkePair, peer
from tests.support.ike_requests import ask

B2 = A2
"""Another address of b."""


def pair_of(**changes: object) -> IkePair:
    """a has b by its name, and asks after 30 seconds of silence."""
    own: dict[str, object] = {"remotes": (), "liveness_after": 30.0} | changes
    pair = IkePair(a=peer("a", **own), b=peer("b", local=None))
    pair.addresses[B2] = "b"
    pair.b.set_own_addresses("a", (B, B2), pair.now)
    pair.establish()
    pair.run(5)
    return pair


def lose_first(name: str, datagram: Datagram) -> Iterable[Datagram]:
    """B carries nothing any more."""
    del name
    ends = datagram.path.ends
    return () if B in ends else (datagram,)


def to_second(pair: IkePair) -> list[Datagram]:
    return [one for one in pair.sent if one.path.remote.address == B2]


def test_it_goes_to_another_address_of_the_peer_and_esp_with_it() -> None:
    pair = pair_of()
    before = set(pair.a.sessions)
    pair.hook = lose_first

    def has_moved() -> bool:
        return {one.path.remote.address for one in pair.a.child_sas()} == {B2}

    assert pair.run(60, has_moved)
    assert pair.run(60, pair.paths_meet)
    pair.run(200)
    assert set(pair.a.sessions) == before
    assert pair.agree()
    assert "UPDATE_SA_ADDRESSES" in str(pair.trace)


def test_while_the_first_one_answers_no_other_is_tried() -> None:
    pair = pair_of()
    pair.run(500)
    assert not to_second(pair)


def test_an_answer_that_comes_from_where_nobody_was_asked_moves_nothing() -> None:
    """Whoever sees one can send it from there first; at that address nobody may be."""
    pair = pair_of()

    def forge(name: str, datagram: Datagram) -> Iterable[Datagram]:
        _here, there = datagram.path
        if name == "b":
            return (replace(datagram, path=Path(SocketAddress(B2, 4500), there)),)
        return () if there.address == B2 else (datagram,)

    pair.hook = forge
    pair.run(300)
    assert pair.current("a")
    assert not to_second(pair)


def test_to_addresses_of_the_file_nothing_is_added() -> None:
    pair = pair_of(remotes=(B,))
    pair.hook = lose_first
    assert pair.run(300, lambda: not pair.a.child_sas())
    assert not to_second(pair)


def test_who_only_says_to_be_there_gets_no_esp() -> None:
    """b answers with another's address as its own, and receives nothing there."""
    pair = pair_of()
    tried: list[Datagram] = []

    def lie(name: str, datagram: Datagram) -> Iterable[Datagram]:
        _here, there = datagram.path
        if name == "b":
            return (replace(datagram, path=Path(SocketAddress(B2, 4500), there)),)
        if there.address == B2:
            tried.append(datagram)
            return ()
        return (datagram,)

    count = 0

    def late(name: str, datagram: Datagram) -> Iterable[Datagram]:
        """The first three repetitions are not answered."""
        nonlocal count
        if name == "a" and datagram.path.remote.address == B:
            count += 1
            return () if count <= 3 else lie(name, datagram)
        return lie(name, datagram)

    pair.hook = late
    seen: set[object] = set()

    def is_over() -> bool:
        seen.update(one.path.remote.address for one in pair.a.child_sas())
        return not pair.a.child_sas()

    assert pair.run(300, is_over)
    assert tried
    assert seen == {B}


@pytest.mark.parametrize("mobike", [False, True])
def test_what_is_said_is_bounded_and_replaced(mobike: bool) -> None:
    pair = pair_of(mobike=mobike)
    (session,) = pair.b.sessions.values()
    kind = NotifyType.ADDITIONAL_IP4_ADDRESS
    many = [NotifyPayload(kind, bytes((203, 0, 113, number))) for number in range(10, 40)]
    strange = [
        NotifyPayload(kind, ip_address("224.0.0.1").packed),
        NotifyPayload(kind, ip_address("127.0.0.1").packed),
        NotifyPayload(kind, bytes(4)),
        NotifyPayload(kind, b"short"),
        NotifyPayload(NotifyType.ADDITIONAL_IP6_ADDRESS, bytes(4)),
    ]
    ask(pair, *strange)
    assert session.peer_addresses == ((A,) if mobike else ())
    ask(pair, *many)
    assert len(session.peer_addresses) == (MOST if mobike else 0)
    ask(pair, NotifyPayload(NotifyType.NO_ADDITIONAL_ADDRESSES))
    assert session.peer_addresses == ((A,) if mobike else ())


def test_a_restart_forgets_no_address() -> None:
    pair = pair_of()
    pair.restart("a")
    (session,) = pair.endpoints["a"].sessions.values()
    assert session.peer_addresses == (B, B2)
