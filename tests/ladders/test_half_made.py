"""What a peer may half make, and not (RFC 9370, 2.2.4; RFC 4303, 2.1)."""

from ipaddress import ip_network
from random import Random

import pytest

from plutino.ike.config import Lifetimes
from plutino.ike.crypto.key_exchange import KEY_EXCHANGES
from plutino.ike.exchanges.create_child import MOST_CHILDREN
from plutino.ike.message.message import Message
from plutino.ike.narrowing import selector_of
from plutino.ike.numbers import ExchangeType, NotifyType, PayloadType, Protocol
from plutino.ike.path import Datagram
from plutino.ike.payloads.generic import NoncePayload, Payload
from plutino.ike.payloads.key_exchange import KePayload
from plutino.ike.payloads.notify import DeletePayload, NotifyPayload
from plutino.ike.payloads.proposal import Proposal, SaPayload
from plutino.ike.payloads.traffic_selector import TsPayload
from plutino.ike.session import Session
from plutino.ike.spis import Spis
from plutino.ike.state import SessionState
from tests.support.ike_network import ANY, ESP_SERIES, IKE_SERIES, IkePair, child, peer
from tests.support.ike_requests import ask

RANDOM = Random(1)
CREATE, FOLLOW = ExchangeType.CREATE_CHILD_SA, ExchangeType.IKE_FOLLOWUP_KE


def up(**options: object) -> tuple[IkePair, Session]:
    """A pair, and the IKE SA of b, which a asks for whatever it likes."""
    options |= {"children": (child(suites=(ESP_SERIES,)),), "suites": (IKE_SERIES,)}
    pair = IkePair(a=peer("a", **options), b=peer("b", **options))
    pair.establish()
    (session,) = pair.b.sessions.values()
    return pair, session


def key_exchange(method: int) -> KePayload:
    return KePayload(method, KEY_EXCHANGES[method].start(RANDOM.randbytes).public)


def begin(pair: IkePair, spi: bytes, replaced: bytes | None = None) -> Message:
    """The first of three key exchanges."""
    payloads: list[Payload] = [
        SaPayload((Proposal(1, Protocol.ESP, spi, ESP_SERIES),)),
        NoncePayload(RANDOM.randbytes(32)),
        key_exchange(31),
        TsPayload(PayloadType.TS_I, ANY),
        TsPayload(PayloadType.TS_R, ANY),
    ]
    if replaced is not None:
        payloads.append(NotifyPayload(NotifyType.REKEY_SA, b"", Protocol.ESP, replaced))
    return ask(pair, *payloads, kind=CREATE)


def follow(pair: IkePair, answer: Message, method: int) -> Message:
    link = answer.notify(NotifyType.ADDITIONAL_KEY_EXCHANGE)
    assert link is not None
    link = NotifyPayload(NotifyType.ADDITIONAL_KEY_EXCHANGE, link.data)
    return ask(pair, key_exchange(method), link, kind=FOLLOW)


def finish(pair: IkePair, answer: Message) -> list[int]:
    """The other two; the notifies of the last answer."""
    last = follow(pair, follow(pair, answer, 35), 19)
    return [one.type for one in last.notifies]


def test_of_two_that_are_half_made_for_one_spi_the_second_is_refused() -> None:
    pair, session = up()
    (old,) = session.children
    first, second = begin(pair, b"\1\2\3\4"), begin(pair, b"\1\2\3\4", old.spi_out)
    assert finish(pair, first) == []
    assert finish(pair, second) == [NotifyType.NO_PROPOSAL_CHOSEN]
    assert [one.spi_out for one in session.children] == [old.spi_out, b"\1\2\3\4"]


def test_a_peer_that_answers_two_series_with_one_spi(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is deleted there, and made anew with another."""
    networks = [(selector_of(ip_network(f"10.{place}.0.0/16")),) for place in range(2)]
    two = tuple(
        child(name, suites=(ESP_SERIES,), local=one, remote=one)
        for name, one in zip(("one", "two"), networks, strict=True)
    )
    genuine, given = Spis.new_child, list[bytes]()

    def same_twice(spis: Spis) -> bytes:
        if spis is not pair.b._sas.spis:
            return genuine(spis)
        given.append(given[0] if len(given) == 1 else genuine(spis))
        return given[-1]

    monkeypatch.setattr(Spis, "new_child", same_twice)
    options = {"children": two, "childless": True, "window": 4}
    pair = IkePair(a=peer("a", **options), b=peer("b", **options))
    pair.start(children=("one", "two"))
    assert pair.run(60, lambda: len(pair.current("a")) == 2), pair.trace
    assert len({one.child.spi_out for one in pair.current("a")}) == 2
    assert given[0] == given[1]


def test_what_is_half_made_counts_among_the_child_sas() -> None:
    """Else one could be left half made for each that is made and deleted, without end."""
    pair, session = up()
    refused = 0
    for number in range(2 * MOST_CHILDREN):
        spi, another = (0x1000 + number).to_bytes(4, "big"), (0x2000 + number).to_bytes(4, "big")
        finish(pair, begin(pair, spi))
        answer = begin(pair, another, spi)
        refused += answer.notify(NotifyType.NO_ADDITIONAL_SAS) is not None
        ask(pair, DeletePayload.of_children([spi]))
    assert refused
    assert len(session.half_made.links) < MOST_CHILDREN
    assert pair.is_up()


def test_nothing_takes_the_place_of_what_the_peer_has_deleted_meanwhile() -> None:
    pair, session = up()
    (old,) = session.children
    answer = begin(pair, b"\1\2\3\4", old.spi_out)
    ask(pair, DeletePayload.of_children([old.spi_out]))
    assert finish(pair, answer) == [NotifyType.CHILD_SA_NOT_FOUND]
    assert pair.b.child_sas() == []


def test_nothing_is_made_in_an_ike_sa_that_we_delete() -> None:
    pair, session = up()
    answer = follow(pair, begin(pair, b"\1\2\3\4"), 35)

    def lose_deletes(name: str, datagram: Datagram) -> tuple[Datagram, ...]:
        is_lost = name == "b" and datagram.payload[18] == ExchangeType.INFORMATIONAL
        return () if is_lost else (datagram,)

    pair.hook = lose_deletes
    pair.b.let_down("a", pair.now)
    refused = follow(pair, answer, 19)
    assert [one.type for one in refused.notifies] == [NotifyType.TEMPORARY_FAILURE]
    assert session.state is SessionState.DELETING
    assert len(session.children) == 1


def test_a_peer_that_begins_again_and_again_does_not_keep_us_from_new_keys() -> None:
    """While it replaces the IKE SA ours waits, and that is not for ever."""
    pair, session = up(lifetimes=Lifetimes(200.0, jitter=0.0))
    (there,) = pair.a.sessions.values()
    there.schedule.rekey_at = None
    while session.is_established and pair.now < 1000.0 + 300.0:
        proposal = Proposal(1, Protocol.IKE, RANDOM.randbytes(8), IKE_SERIES)
        ask(pair, SaPayload((proposal,)), NoncePayload(bytes(32)), key_exchange(31), kind=CREATE)
        pair.run(15)
    assert session.successor is not None, pair.trace[-9:]
