"""A peer that has forgotten its IKE SA says so in clear, and so may anybody else."""

import pytest

from plutino.ike.message.header import Header
from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType, Flag, NotifyType
from plutino.ike.path import Path, SocketAddress
from plutino.ike.payloads.notify import NotifyPayload
from plutino.model.policy import IpAddress
from tests.support.ike_network import A2, A, B, IkePair, peer

UNKNOWN = NotifyType.INVALID_IKE_SPI


def say(pair: IkePair, notify: NotifyType = UNKNOWN, source: IpAddress | None = None) -> None:
    """What a hears, as if it came from b."""
    ((spi, session),) = pair.a.sessions.items()
    header = Header(spi, session.responder_spi, 0, ExchangeType.INFORMATIONAL, Flag.RESPONSE, 99)
    datagram = Message(header, (NotifyPayload(notify),)).encode_clear()
    local, remote = session.path
    remote = SocketAddress(source or remote.address, remote.port)
    pair.a.receive(datagram, Path(local, remote), pair.now)


def checks(pair: IkePair) -> int:
    return pair.trace.count("a> INFORMATIONAL {}")


def lonely() -> IkePair:
    pair = IkePair(a=peer("a", liveness_after=100.0))
    pair.establish()
    return pair


def test_a_peer_that_lost_its_state_is_back_with_the_first_answer() -> None:
    """Not after all repetitions of the request that it does not know."""
    pair = IkePair(a=peer("a", liveness_after=30.0))
    pair.establish()
    (old,) = pair.a.sessions
    pair.add("b", B, [peer("b", remotes=())])
    pair.run(29)
    assert [*pair.a.sessions] == [old]
    pair.run(5)
    assert {one.is_initiator for one in pair.b.sessions.values()} == {False}
    (active,) = (one for one in pair.current("a") if one.outbound)
    assert {active.child.spi_out} == {one.child.spi_in for one in pair.current("b")}
    pair.run(120)
    assert old not in pair.a.sessions
    assert pair.agree()


def test_it_is_asked_at_once_and_once_whoever_says_so() -> None:
    pair = lonely()
    for seconds in (0, 1, 40):
        pair.run(seconds)
        say(pair)
    assert checks(pair) == 1
    pair.run(20)
    say(pair)
    pair.run(1)
    assert checks(pair) == 2
    assert len(pair.a.sessions) == 1
    assert pair.agree()


@pytest.mark.parametrize(
    ("notify", "source"), [(NotifyType.AUTHENTICATION_FAILED, None), (UNKNOWN, A2)]
)
def test_nothing_else_is_heeded(notify: NotifyType, source: IpAddress | None) -> None:
    pair = lonely()
    say(pair, notify, source)
    pair.run(5)
    assert checks(pair) == 0


def test_who_only_listens_begins_no_handshake() -> None:
    pair = IkePair(b=peer("b", liveness_after=5.0))
    pair.establish()
    fresh = pair.add("a", A, [peer("a")])
    pair.run(20)
    assert not fresh.sessions
    assert len(pair.b.sessions) == 1
