"""Whether the peer lives, and what proves nothing of it (RFC 7296, 2.4; RFC 3948, 2.3)."""

from ipaddress import ip_address

from plutino.ike.message.header import Header
from plutino.ike.path import Datagram, Path, SocketAddress
from tests.ladders.test_nat import behind_a_nat
from tests.support.ike_network import A, B, IkePair, peer

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
