"""Whether the peer lives, and what proves nothing of it (RFC 7296, 2.4; RFC 3948, 2.3)."""

from ipaddress import ip_address
from itertools import pairwise

from plutino.ike.message.header import Header
from plutino.ike.path import Datagram, Path, SocketAddress
from tests.support.ike_network import A, B, IkePair, peer
from tests.support.nat_ladder import behind_a_nat

STRANGER = SocketAddress(ip_address("203.0.113.66"), 4500)


def requests_of(pair: IkePair, side: str) -> list[Datagram]:
    """What a side has asked for under the keys of an IKE SA."""
    here = A if side == "a" else B
    sent = [one for one in pair.sent if one.path.local.address == here]
    headers = [(one, Header.parse(memoryview(one.payload))) for one in sent]
    return [one for one, header in headers if header.exchange_type != 34 and not header.is_response]


def test_what_was_recorded_does_not_make_a_dead_peer_live() -> None:
    """Somebody repeats an old request of b, authentic to the last bit."""
    pair = IkePair(a=peer("a", liveness_after=30.0))
    pair.establish()
    (child,) = pair.current("b")
    pair.b.rekey_child(child.child.spi_in, pair.now)
    pair.run(5)
    recorded = requests_of(pair, "b")[-1]
    pair.blocked = True
    back = Path(recorded.path.remote, recorded.path.local)
    for _ in range(30):
        pair.a.receive(recorded.payload, back, pair.now)
        pair.run(5)
    assert not pair.current("a")


def test_repeated_requests_from_elsewhere_do_not_stop_keepalives() -> None:
    """The answer goes to where the request came from, which keeps no mapping of ours alive."""
    pair, _nat = behind_a_nat(mobike=False, liveness_after=None)
    (child,) = pair.current("b")
    pair.b.rekey_child(child.child.spi_in, pair.now)
    pair.run(2)
    last = next(one for one in reversed(requests_of(pair, "b")))
    before = pair.trace.count("a> keepalive")
    for _ in range(12):
        pair.a.receive(last.payload, Path(SocketAddress(A, 4500), STRANGER), pair.now)
        pair.run(10)
    assert pair.trace.count("a> keepalive") - before >= 5


def test_message_ids_do_not_begin_again() -> None:
    """RFC 7296, 2.2: the IKE SA ends, and another one is made."""
    pair = IkePair(a=peer("a", liveness_after=5.0))
    pair.establish()
    (ours,), (theirs,) = pair.a.sessions.values(), pair.b.sessions.values()
    ours.window.next_id = theirs.responses.next_id = 0xFFFFFFFF
    pair.run(7)
    assert list(pair.a.sessions.values()) == [ours]
    assert pair.run(60, lambda: ours.is_closed)
    assert "message ids are used up" in str(pair.events["a"])
    assert pair.run(10, pair.is_up)


def test_requests_are_repeated_octet_by_octet_and_answers_only_when_asked_for() -> None:
    """RFC 7296, 2.1."""
    pair = IkePair()
    pair.establish()
    (child,) = pair.current("a")
    pair.hook = lambda name, datagram: () if name == "b" else (datagram,)
    before = len(pair.sent)
    pair.a.rekey_child(child.child.spi_in, pair.now)
    pair.run(8)
    asked = [one.payload for one in pair.sent[before:]]
    assert len(asked) == 4
    assert len(set(asked)) == 1
    said: list[bytes] = []

    def note(name: str, datagram: Datagram) -> list[Datagram]:
        said.extend([datagram.payload] if name == "b" else [])
        return [datagram] if name == "a" else []

    pair.hook = note
    pair.run(30)
    assert len(said) == 2  # the requests that came after 15 and 26 seconds
    assert len(set(said)) == 1


def test_repetitions_come_later_each_time() -> None:
    """RFC 7296, 2.4: exponentially."""
    pair = IkePair()
    pair.blocked = True
    times: list[float] = []
    pair.hook = lambda _, datagram: times.append(pair.now) or [datagram]  # type: ignore[func-returns-value]
    pair.start()
    pair.run(70)
    pauses = [later - one for one, later in pairwise(times)][:6]
    assert len(pauses) == 6
    assert all(later > 1.5 * one for one, later in pairwise(pauses[:6]))
