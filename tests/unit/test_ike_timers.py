"""When an endpoint wants to be called, and what it keeps for that."""

from plutino.ike.config import Lifetimes
from plutino.ike.path import Path
from tests.support.ike_network import B, IkePair, peer
from tests.support.ike_requests import ask


def test_forged_datagrams_take_no_room() -> None:
    """Whoever has seen an SPI can send as many as it likes; the IKE SA has an hour to live."""
    rekeyed = Lifetimes(3600.0)
    pair = IkePair(a=peer("a"), b=peer("b", lifetimes=rekeyed))
    pair.establish()
    (last, *_) = (one for one in reversed(pair.sent) if one.path.remote.address == B)
    forged = last.payload[:-1] + bytes((last.payload[-1] ^ 1,))
    for _ in range(1000):
        pair.b.receive(forged, Path(last.path.remote, last.path.local), pair.now)
    assert len(pair.b._sas.timers._heap) < 10
    assert pair.b.next_timer() is not None


def test_a_time_that_is_put_off_is_not_forgotten() -> None:
    """Liveness is asked for after silence, which each message of the peer begins anew."""
    pair = IkePair(a=peer("a", liveness_after=None), b=peer("b", liveness_after=30.0))
    pair.establish()
    pair.run(20)
    ask(pair)
    pair.trace.clear()
    pair.run(29)
    assert not pair.trace
    pair.run(2)
    assert pair.trace[:2] == ["b looks at its ESP", "b> INFORMATIONAL {}"]
