"""Requests for CHILD_SAs that are not in order (RFC 7296, 1.3, 2.25 and 3.3; RFC 4303, 2.1)."""

from collections.abc import Sequence
from itertools import pairwise

import pytest

from plutino.ike.errors import TemporaryFailureError
from plutino.ike.exchanges import child_offer, create_child
from plutino.ike.exchanges.create_child import MOST_CHILDREN
from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType, NotifyType, PayloadType, Protocol
from plutino.ike.payloads.generic import NoncePayload, Payload
from plutino.ike.payloads.notify import DeletePayload, NotifyPayload
from plutino.ike.payloads.proposal import Proposal, SaPayload, Transform
from plutino.ike.payloads.traffic_selector import TsPayload, UnknownSelector
from tests.support.ike_network import ANY, ESP_GCM, IkePair
from tests.support.ike_requests import ask

SPI = b"\1\2\3\4"


def wanted(
    spi: bytes = SPI, *, proposals: Sequence[Proposal] = (), selectors: Sequence[object] = ANY
) -> list[Payload]:
    """SA, Ni, TSi, TSr of a new CHILD_SA."""
    return [
        SaPayload(tuple(proposals) or (Proposal(1, Protocol.ESP, spi, ESP_GCM),)),
        NoncePayload(bytes(32)),
        TsPayload(PayloadType.TS_I, tuple(selectors)),  # type: ignore[arg-type]
        TsPayload(PayloadType.TS_R, ANY),
    ]


def answer_to(pair: IkePair, *payloads: Payload) -> Message:
    return ask(pair, *payloads, kind=ExchangeType.CREATE_CHILD_SA)


def refusals(message: Message) -> list[int]:
    return [one.type for one in message.notifies]


@pytest.mark.parametrize("spi", [bytes(4), b"\0\0\0\xff", b"\1\2\3", b"\1" * 8])
def test_an_spi_that_esp_cannot_have_is_refused(spi: bytes) -> None:
    pair = IkePair()
    pair.establish()
    assert refusals(answer_to(pair, *wanted(spi))) == [NotifyType.NO_PROPOSAL_CHOSEN]
    assert pair.is_up()


def test_two_child_sas_do_not_have_the_same_spi() -> None:
    pair = IkePair()
    pair.establish()
    (known,) = pair.current("b")
    refused = answer_to(pair, *wanted(known.child.spi_out))
    assert refusals(refused) == [NotifyType.NO_PROPOSAL_CHOSEN]
    assert refusals(answer_to(pair, *wanted())) == []


def test_there_are_not_endlessly_many_child_sas() -> None:
    """Neither new ones nor chains of those that replace each other and are never deleted."""
    for rekeys in (False, True):
        pair = IkePair()
        pair.establish()
        spi = pair.current("b")[0].child.spi_out
        for number in range(MOST_CHILDREN + 3):
            rekey = [NotifyPayload(NotifyType.REKEY_SA, b"", Protocol.ESP, spi)] if rekeys else []
            spi = (0x1000 + number).to_bytes(4, "big")
            last = answer_to(pair, *rekey, *wanted(spi))
        assert refusals(last) == [NotifyType.NO_ADDITIONAL_SAS]
        assert len(pair.b.child_sas()) == MOST_CHILDREN


def test_a_rekey_of_what_is_not_there_is_told() -> None:
    """RFC 7296, 2.25; REKEY_SA bears the SPI that its sender receives by."""
    pair = IkePair()
    pair.establish()
    for spi in (b"\7\7\7\7", pair.current("b")[0].child.spi_in):
        rekey = NotifyPayload(NotifyType.REKEY_SA, b"", Protocol.ESP, spi)
        answer = answer_to(pair, rekey, *wanted())
        assert refusals(answer) == [NotifyType.CHILD_SA_NOT_FOUND]
    assert pair.is_up()


def test_what_the_peer_no_longer_has_is_dropped_and_made_anew() -> None:
    """RFC 7296, 2.25.1: CHILD_SA_NOT_FOUND says that it is gone there."""
    pair = IkePair()
    pair.establish()
    (session,) = pair.b.sessions.values()
    old = pair.current("a")[0].child.spi_in
    session.children.clear()
    pair.a.rekey_child(old, pair.now)
    assert pair.run(5, pair.is_up)
    assert pair.current("a")[0].child.spi_in != old
    assert not any("{D}" in rung for rung in pair.trace)


def test_several_are_deleted_at_once_and_unknown_ones_are_passed_over() -> None:
    """RFC 7296, 1.4.1: the answer has our SPIs of those that went."""
    pair = IkePair()
    pair.establish()
    assert refusals(answer_to(pair, *wanted())) == []
    there = [one.child for one in pair.b.child_sas()]
    other = ask(pair, DeletePayload(Protocol.AH, (there[0].spi_out,)))
    assert other.payloads == ()
    spis = [*(one.spi_out for one in there), b"\7\7\7\7", there[0].spi_in]
    answer = ask(pair, DeletePayload.of_children(spis))
    assert list(answer.all(DeletePayload)) == [
        DeletePayload.of_children([one.spi_in for one in there])
    ]
    assert pair.b.child_sas() == []


def test_unknown_parts_of_an_offer_do_not_hide_the_known_ones() -> None:
    """RFC 7296, 2.9, 3.3.5 and 3.3.6: skipped are transforms, proposals, and selectors."""
    pair = IkePair()
    pair.establish()
    strange = Transform(1, 20, 128, ((0x8001, b"\0\1"),))
    answer = answer_to(
        pair,
        *wanted(
            proposals=(
                Proposal(1, Protocol.AH, SPI, (Transform(3, 12), Transform(5, 0))),
                Proposal(2, Protocol.ESP, SPI, (*ESP_GCM, Transform(99, 1))),
                Proposal(3, Protocol.ESP, SPI, (strange, Transform(5, 0))),
                Proposal(4, Protocol.ESP, SPI, (strange, Transform(1, 20, 999), *ESP_GCM)),
            ),
            selectors=(UnknownSelector(9, b"\0\0\x08abcd"), *ANY),
        ),
    )
    (chosen,) = next(answer.all(SaPayload)).proposals
    assert (chosen.number, chosen.protocol, len(chosen.spi)) == (4, Protocol.ESP, 4)
    assert chosen.transforms == ESP_GCM
    narrowed = answer.of_type(PayloadType.TS_I)
    assert isinstance(narrowed, TsPayload)
    assert narrowed.selectors == ANY


def test_selectors_of_unknown_types_alone_are_unacceptable() -> None:
    pair = IkePair()
    pair.establish()
    answer = answer_to(pair, *wanted(selectors=(UnknownSelector(9, b"\0\0\x08abcd"),)))
    assert refusals(answer) == [NotifyType.TS_UNACCEPTABLE]


@pytest.mark.parametrize("again", [3, 1])
def test_a_temporary_failure_is_waited_for(monkeypatch: pytest.MonkeyPatch, again: int) -> None:
    """RFC 7296, 2.25: not at once, and not for ever."""
    genuine, asked = child_offer.answer_offer, list[float]()

    def refuse(*args: object, **more: object) -> object:
        asked.append(pair.now)
        if len(asked) <= again:
            raise TemporaryFailureError("not now")
        return genuine(*args, **more)  # type: ignore[arg-type]

    pair = IkePair()
    pair.establish()
    monkeypatch.setattr(create_child, "answer_offer", refuse)
    old = pair.current("a")[0].child.spi_in
    pair.a.rekey_child(old, pair.now)
    assert pair.run(30, lambda: pair.is_up() and pair.current("a")[0].child.spi_in != old)
    assert len(asked) == again + 1
    assert all(later - one >= 0.5 for one, later in pairwise(asked))


def test_deletes_that_cross_are_answered_by_nothing() -> None:
    """RFC 7296, 1.4.1: each end deletes its own half once."""
    pair = IkePair()
    pair.establish()
    for side in "ab":
        endpoint = pair.endpoints[side]
        endpoint.delete_child(pair.current(side)[0].child.spi_in, pair.now)
    pair.run(5)
    assert sorted(pair.trace[-4:]) == [
        "a> INFORMATIONAL {D}",
        "a> INFORMATIONAL {} reply",
        "b> INFORMATIONAL {D}",
        "b> INFORMATIONAL {} reply",
    ]
    assert not pair.a.child_sas()
    assert not pair.b.child_sas()
