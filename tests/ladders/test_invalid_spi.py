"""INVALID_SPI: a hint from anybody, and a peer's own word within the IKE SA (RFC 7296, 1.5)."""

import pytest

from plutino.ike.doubts import HINTS_PER_SECOND
from plutino.ike.message.header import NO_SPI, Header
from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType, Flag, NotifyType, Protocol
from plutino.ike.path import first_path
from plutino.ike.payloads.notify import NotifyPayload
from tests.support.ike_network import A2, A, B, IkePair, peer
from tests.support.ike_requests import ask

CHECK = "a> INFORMATIONAL {}"


def lonely() -> IkePair:
    pair = IkePair(a=peer("a", liveness_after=1000.0))
    pair.establish()
    pair.run(1)
    return pair


def hint(
    spi: bytes, initiator_spi: bytes = NO_SPI, *, flags: int = Flag.INITIATOR, inside: bool = False
) -> bytes:
    """What says that an SA is unknown; its SPI is data, or ``inside`` the field for it."""
    header = Header(initiator_spi, NO_SPI, 0, ExchangeType.INFORMATIONAL, flags, 0)
    data, own = (b"", spi) if inside else (spi, b"")
    notify = NotifyPayload(NotifyType.INVALID_SPI, data, Protocol.ESP, own)
    return Message(header, (notify,)).encode_clear()


def outbound(pair: IkePair) -> bytes:
    (child,) = pair.current("a")
    return child.child.spi_out


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("initiator_spi", [NO_SPI, b"anything"])
def test_a_hint_has_us_ask_once_a_minute(initiator_spi: bytes, inside: bool) -> None:
    pair = lonely()
    before = pair.current("a")
    for checks in (1, 1, 1, 2):
        datagram = hint(outbound(pair), initiator_spi, inside=inside)
        pair.a.receive(datagram, first_path(A, B), pair.now)
        pair.run(25)
        assert pair.trace.count(CHECK) == checks
    assert pair.current("a") == before


@pytest.mark.parametrize("flags", [Flag.RESPONSE, Flag.RESPONSE | Flag.INITIATOR])
def test_answers_are_no_hints(flags: int) -> None:
    pair = lonely()
    pair.a.receive(hint(outbound(pair), flags=flags), first_path(A, B), pair.now)
    pair.run(1)
    assert CHECK not in pair.trace


def test_others_and_other_sas_are_no_hints() -> None:
    pair = lonely()
    (child,) = pair.current("a")
    for spi, source in ((outbound(pair), A2), (child.child.spi_in, B), (b"none", B)):
        pair.now += 10
        pair.a.receive(hint(spi), first_path(A, source), pair.now)
        pair.run(1)
    assert CHECK not in pair.trace
    assert pair.a.states_to_save() == {}


def test_a_hint_is_never_answered() -> None:
    pair = lonely()
    datagram = hint(b"none", b"anything")
    pair.a.receive(datagram[:8] + b"whatever" + datagram[16:], first_path(A, B), pair.now)
    assert pair.a.datagrams_to_send() == []


def test_a_flood_of_hints_is_looked_at_no_more_than_a_few_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = lonely()
    searched: list[bytes] = []

    def search(spi: bytes) -> list[object]:
        searched.append(spi)
        return []

    monkeypatch.setattr(pair.a._hints, "_having", search)
    for number in range(1000):
        pair.a.receive(hint(number.to_bytes(4, "big")), first_path(A, B), pair.now)
    assert len(searched) == HINTS_PER_SECOND


def test_a_peer_that_lost_all_is_back_soon() -> None:
    """Without a hint it would be asked a thousand seconds later."""
    pair = IkePair(a=peer("a", liveness_after=1000.0))
    pair.establish()
    pair.run(1)
    pair.saved["b"].clear()
    pair.restart("b")
    pair.a.receive(hint(outbound(pair)), first_path(A, B), pair.now)
    assert pair.run(10, lambda: bool(pair.current("b")))
    pair.run(120)
    assert pair.agree()


def test_what_others_say_keeps_nobody_from_hearing_the_peer_itself() -> None:
    pair = lonely()
    (before,) = pair.current("b")
    spi = before.child.spi_out
    pair.b.receive(hint(spi), first_path(B, A), pair.now)
    pair.run(1)
    ask(pair, NotifyPayload(NotifyType.INVALID_SPI, spi))
    pair.run(10)
    (after,) = pair.current("b")
    assert after.child.spi_out != spi
    assert pair.agree()


def test_what_the_peer_itself_lacks_is_replaced_once_a_minute() -> None:
    pair = lonely()
    (old,) = pair.current("b")
    for fresh in (True, False):
        (before,) = pair.current("b")
        spi = before.child.spi_out
        told = NotifyPayload(NotifyType.INVALID_SPI, spi)
        answer = ask(pair, told)
        assert answer.notifies == ()
        pair.run(10)
        (after,) = pair.current("b")
        assert (after.child.spi_out != spi) == fresh
        assert pair.agree()
    assert old.child.spi_out not in {one.child.spi_out for one in pair.current("b")}
