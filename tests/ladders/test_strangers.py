"""Requests that no IKE SA of ours is meant by: few answers, and none that ends anything."""

from dataclasses import replace

import pytest

from plutino.ike.half_open import REFUSALS_PER_SECOND
from plutino.ike.message.header import NO_SPI, Header
from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType, Flag, NotifyType
from plutino.ike.path import Datagram, first_path
from plutino.ike.payloads.notify import NotifyPayload
from tests.support.ike_network import A2, A, B, IkePair, peer

HERE, THERE = bytes(range(8)), bytes(range(8, 16))
REQUEST = Header(HERE, THERE, 46, ExchangeType.INFORMATIONAL, Flag.INITIATOR, 7)


def answers(pair: IkePair, header: Header, size: int = 80) -> list[Message]:
    """What b answers to a request of this header."""
    datagram = replace(header, length=size).encode() + bytes(size - Header.FIXED.size)
    pair.b.receive(datagram, first_path(B, A), pair.now)
    sent = pair.b.datagrams_to_send()
    assert all(one.path == first_path(B, A) and len(one.payload) <= size for one in sent)
    octets = [memoryview(one.payload) for one in sent]
    return [Message.parse_clear(Header.parse(one), one) for one in octets]


def test_an_unknown_ike_sa_is_said_to_be_unknown() -> None:
    """RFC 7296, 1.5: SPIs, exchange and message id are those of the request."""
    for flags, back in ((Flag.INITIATOR, Flag.RESPONSE), (0, Flag.RESPONSE | Flag.INITIATOR)):
        (answer,) = answers(IkePair(), replace(REQUEST, flags=flags))
        length = answer.header.length
        assert answer.header == replace(REQUEST, next_payload=41, flags=back, length=length)
        assert [(one.type, one.data) for one in answer.notifies] == [
            (NotifyType.INVALID_IKE_SPI, b"")
        ]


def test_a_higher_version_is_told_ours() -> None:
    """RFC 7296, 2.5; what else the message says is not looked at."""
    for kind in (ExchangeType.IKE_SA_INIT, ExchangeType.INFORMATIONAL):
        asked = replace(REQUEST, major_version=3, exchange_type=kind, responder_spi=NO_SPI)
        (answer,) = answers(IkePair(), asked)
        assert (answer.header.major_version, answer.header.minor_version) == (2, 0)
        assert answer.header.is_response
        assert [(one.type, one.data) for one in answer.notifies] == [
            (NotifyType.INVALID_MAJOR_VERSION, b"\2")
        ]


@pytest.mark.parametrize(
    "header",
    [
        replace(REQUEST, flags=Flag.RESPONSE),
        replace(REQUEST, flags=Flag.RESPONSE, major_version=3),
        replace(REQUEST, major_version=1),
        replace(REQUEST, responder_spi=NO_SPI),
        replace(REQUEST, exchange_type=ExchangeType.IKE_SA_INIT),
    ],
    ids=["response", "response of version 3", "version 1", "no SPI", "IKE_SA_INIT"],
)
def test_others_are_not_answered(header: Header) -> None:
    assert answers(IkePair(), header) == []


def test_an_answer_is_not_longer_than_the_request() -> None:
    assert answers(IkePair(), REQUEST, size=28) == []


def test_answers_are_few_whoever_asks() -> None:
    pair = IkePair()
    per_second = []
    for _ in range(4):
        asked = [replace(REQUEST, message_id=number) for number in range(200)]
        asked += [replace(REQUEST, major_version=3)] * 200
        per_second.append(sum(len(answers(pair, one)) for one in asked))
        pair.now += 1
    assert per_second == [5, 5, 5, 5]


def test_the_ike_sa_lives_until_nobody_answers() -> None:
    """RFC 7296, 2.4: that it is not known is no proof; another handshake is another matter."""
    pair = IkePair(a=peer("a", liveness_after=5.0))
    pair.establish()
    pair.saved["b"].clear()
    pair.restart("b")
    before = len(pair.trace)
    pair.run(7)
    said = [one for one in pair.trace[before:] if one.startswith("b> ")]
    assert said
    assert all("reply" in one for one in said)
    assert pair.a.child_sas()
    assert pair.run(200, lambda: len(pair.b.child_sas()) == 1), "it is made anew"


def test_no_unprotected_notify_ends_an_ike_sa() -> None:
    """Neither one that answers a request that waits, nor any other."""
    pair = IkePair(a=peer("a", liveness_after=5.0))
    pair.establish()
    (session,) = pair.a.sessions.values()
    forged = []

    def forge(name: str, datagram: Datagram) -> list[Datagram]:
        """In the place of each answer of b, all errors that there are."""
        if name == "a":
            return [datagram]
        asked = Header.parse(memoryview(datagram.payload))
        for error in (NotifyType.INVALID_IKE_SPI, NotifyType.INVALID_MAJOR_VERSION):
            for header in (asked, replace(asked, message_id=asked.message_id + 1)):
                octets = Message(header, (NotifyPayload(error),)).encode_clear()
                forged.append(Datagram(datagram.path, octets))
        return [*forged[-4:], datagram]

    pair.hook = forge
    pair.run(60)
    assert len(forged) > 20
    assert list(pair.a.sessions.values()) == [session]
    assert pair.is_up()


def test_who_is_nowhere_configured_gets_few_refusals_and_others_all_answers() -> None:
    """RFC 7296, 2.21.1: a refusal of IKE_SA_INIT is a hint, and a flood of them is none."""
    pair = IkePair(seed=3)
    pair.start()
    pair.run(0.001)
    first = pair.sent[0].payload
    refused = 0
    for number in range(1000):
        pair.b.receive(number.to_bytes(8, "big") + first[8:], first_path(B, A2), pair.now)
        refused += len(pair.b.datagrams_to_send())
    assert refused == REFUSALS_PER_SECOND
    assert len(pair.b.next_events()) == refused, "nor is the log told of the others"
    pair.b.receive(first[:7] + b"\7" + first[8:], first_path(B, A), pair.now)
    (answer,) = pair.b.datagrams_to_send()
    assert Header.parse(memoryview(answer.payload)).responder_spi != NO_SPI
    pair.b.receive(
        bytes(range(8)) + first[8:], first_path(B, A2), pair.now + 2 / REFUSALS_PER_SECOND
    )
    assert len(pair.b.datagrams_to_send()) == 1


@pytest.mark.parametrize("kind", [ExchangeType.INFORMATIONAL, ExchangeType.IKE_SA_INIT])
def test_forged_datagrams_are_no_work_for_the_disk(kind: ExchangeType) -> None:
    """Each IKE SA is kept again whenever it may have changed; SPIs are there for all to see."""
    pair = IkePair()
    pair.establish()
    pair.run(1)
    (session,) = pair.b.sessions.values()
    spis = session.initiator_spi, session.responder_spi
    for flags in (Flag.INITIATOR, Flag.INITIATOR | Flag.RESPONSE):
        header = Header(*spis, 46, kind, flags, 2, length=80)
        pair.b.receive(header.encode() + bytes(52), first_path(B, A), pair.now)
    assert pair.b.states_to_save() == {}
    assert pair.b.datagrams_to_send() == []
