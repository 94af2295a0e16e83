"""First messages: repeated ones, cookies, other key exchanges, forgeries (RFC 7296, 2.1, 2.6)."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from plutino.ike import half_open
from plutino.ike.message.header import NO_SPI, Header
from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType, Flag, NotifyType
from plutino.ike.path import Datagram, Path
from plutino.ike.payloads.generic import NoncePayload
from plutino.ike.payloads.key_exchange import KePayload
from plutino.ike.payloads.notify import NotifyPayload
from plutino.ike.payloads.proposal import SaPayload, Transform
from tests.support.ike_network import IKE_GCM, IkePair, peer


def first_messages(pair: IkePair) -> list[Message]:
    sent = [memoryview(one.payload) for one in pair.sent]
    headers = [(Header.parse(one), one) for one in sent]
    return [
        Message.parse_clear(header, octets)
        for header, octets in headers
        if header.exchange_type == 34 and not header.is_response
    ]


def back(datagram: Datagram) -> Path:
    return Path(datagram.path.remote, datagram.path.local)


def test_a_repeated_first_message_gets_the_same_octets() -> None:
    pair = IkePair()
    pair.start()
    pair.run(0.015)
    first, reply = pair.sent
    pair.b.receive(first.payload, back(first), pair.now)
    assert [one.payload for one in pair.b.datagrams_to_send()] == [reply.payload]
    assert len(pair.b.sessions) == 1


def test_one_whose_ike_sa_is_up_is_ignored() -> None:
    """However long it was on its way."""
    pair = IkePair()
    pair.establish()
    first = pair.sent[0]
    pair.b.receive(first.payload, back(first), pair.now)
    assert pair.b.datagrams_to_send() == []
    assert len(pair.b.sessions) == 1


def test_another_first_message_with_the_same_spi_is_another_one() -> None:
    """As after a forged INVALID_KE_PAYLOAD, or of another peer behind the same NAT."""
    pair = IkePair()
    pair.start()
    pair.run(0.015)
    first = pair.sent[0]
    (message,) = first_messages(pair)
    payloads = [
        NoncePayload(bytes(32)) if isinstance(one, NoncePayload) else one
        for one in message.payloads
    ]
    changed = Message(message.header, tuple(payloads)).encode_clear()
    pair.b.receive(changed, back(first), pair.now)
    assert len(pair.b.datagrams_to_send()) == 1


BOTH = (*IKE_GCM[:-1], Transform(4, 31), Transform(4, 19))
OTHER = (*IKE_GCM[:-1], Transform(4, 19))


def test_a_cookie_stays_when_another_key_exchange_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RFC 7296, 2.6.1: the shorter exchange; SPI, nonce and proposals stay, and the id is 0."""
    monkeypatch.setattr(half_open, "COOKIES_ABOVE", 0)
    pair = IkePair(a=peer("a", suites=(BOTH,)), b=peer("b", suites=(OTHER,)))
    pair.establish()
    firsts = first_messages(pair)
    assert len(firsts) == 3
    assert len({one.header.initiator_spi for one in firsts}) == 1
    assert {one.header.message_id for one in firsts} == {0}
    assert {one.header.responder_spi for one in firsts} == {NO_SPI}
    assert len({one.first(NoncePayload) for one in firsts}) == 1
    assert len({one.first(SaPayload) for one in firsts}) == 1
    assert firsts[0].payloads == firsts[1].payloads[1:]
    cookies = [one.payloads[0] for one in firsts[1:]]
    assert cookies[0] == cookies[1] == firsts[1].notify(NotifyType.COOKIE)


def test_a_responder_that_wants_another_cookie_gets_it() -> None:
    """RFC 7296, 2.6.1: one that computes it over KE; cookies of any length that may be."""
    pair = IkePair(a=peer("a", suites=(BOTH,)), b=peer("b", suites=(OTHER,)))
    asked: list[bytes] = []

    def ask(name: str, datagram: Datagram) -> Iterable[Datagram]:
        header = Header.parse(memoryview(datagram.payload))
        if name == "b" or header.exchange_type != 34:
            return (datagram,)
        message = Message.parse_clear(header, memoryview(datagram.payload))
        ke = message.first(KePayload)
        if ke is not None and ke.method == (31, 19, 0)[len(asked)]:
            asked.append(bytes(64 if asked else 1))
            notify = NotifyPayload(NotifyType.COOKIE, asked[-1])
            answer = Header(header.initiator_spi, NO_SPI, 0, 34, Flag.RESPONSE, 0)
            octets = Message(answer, (notify,)).encode_clear()
            return (Datagram(Path(datagram.path.remote, datagram.path.local), octets),)
        return (datagram,)

    pair.hook = ask
    pair.establish()
    assert len(asked) == 2


@pytest.mark.parametrize(
    "notify",
    [
        NotifyPayload(NotifyType.COOKIE, b""),
        NotifyPayload(NotifyType.COOKIE, bytes(65)),
        NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, b"\0\2"),
        NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, b""),
        NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN),
        NotifyPayload(NotifyType.INVALID_MAJOR_VERSION, b"\3"),
        NotifyPayload(NotifyType.INVALID_SYNTAX),
        NotifyPayload(9999),
    ],
    ids=lambda one: f"{one.name} {len(one.data)}",
)
def test_forged_answers_do_not_stop_a_handshake(notify: NotifyPayload) -> None:
    """RFC 7296, 2.21.1: the genuine answer comes a moment later."""
    pair = IkePair()
    pair.start()
    pair.pump()
    (first,) = pair.sent
    asked = Header.parse(memoryview(first.payload))
    forged = replace(asked, flags=Flag.RESPONSE, exchange_type=ExchangeType.IKE_SA_INIT)
    octets = Message(forged, (notify,)).encode_clear()
    pair.a.receive(octets, first.path, pair.now)
    assert pair.run(0.1, pair.is_up)
    assert len(first_messages(pair)) == 1


def test_endless_cookies_are_not_followed_for_ever() -> None:
    pair = IkePair()
    pair.start()
    pair.pump()
    (first,) = pair.sent
    asked = Header.parse(memoryview(first.payload))
    for number in range(50):
        notify = NotifyPayload(NotifyType.COOKIE, bytes((number + 1,)))
        octets = Message(replace(asked, flags=Flag.RESPONSE), (notify,)).encode_clear()
        pair.a.receive(octets, first.path, pair.now)
        pair.a.handle_timer(pair.now)
    pair.pump()
    assert len(pair.sent) < 10
