"""What is malformed, unknown or refused, in requests and in responses (RFC 7296, 2.5 and 2.21)."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from plutino.ike import receiving
from plutino.ike.auth.credentials import RemotePresharedKey
from plutino.ike.auth.identity import Identity
from plutino.ike.config import ChildConfig
from plutino.ike.exchanges import answers, informational, rekey_ike
from plutino.ike.message import message as message_module
from plutino.ike.message import protection as protection_module
from plutino.ike.message.chain import encode_chain
from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType, NotifyType, Protocol
from plutino.ike.payloads.generic import OpaquePayload, Payload
from plutino.ike.payloads.notify import DeletePayload, NotifyPayload
from plutino.ike.payloads.proposal import Proposal, SaPayload, Transform
from plutino.ike.proposals import Chosen
from plutino.ike.session import Session
from plutino.model.secret import Secret
from tests.support.ike_network import IKE_GCM, IkePair, child, peer
from tests.support.ike_requests import Ask, ask

UNKNOWN = OpaquePayload(200, critical=True, body=b"of the future")


def answer_with(
    monkeypatch: pytest.MonkeyPatch, kind: ExchangeType, change: Callable[[list[Payload]], Any]
) -> list[int]:
    """The first answer to a request of a kind is another; how many were asked for."""
    genuine, asked = answers.answer, list[int]()

    def answer(session: Session, message: Message, path: Any, now: float) -> Sequence[Payload]:
        payloads = list(genuine(session, message, path, now))
        if message.header.exchange_type == kind:
            asked.append(message.header.message_id)
            if len(asked) == 1:
                return list(change(payloads))
        return payloads

    monkeypatch.setattr(receiving, "answer", answer)
    return asked


def test_an_unknown_critical_payload_is_named_and_the_ike_sa_stays() -> None:
    pair = IkePair()
    pair.establish()
    answer = ask(pair, UNKNOWN)
    assert [(one.type, one.data) for one in answer.notifies] == [
        (NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, b"\xc8")
    ]
    assert ask(pair, OpaquePayload(200, critical=False, body=b"")).payloads == ()
    assert ask(pair, OpaquePayload(43, critical=True, body=b"vendor")).payloads == ()
    assert pair.is_up()


@pytest.mark.parametrize("type_", [8000, 40960, NotifyType.TS_UNACCEPTABLE])
def test_notifies_that_say_nothing_to_us_are_ignored(type_: int) -> None:
    """RFC 7296, 3.10.1: of unknown types, errors in a request included."""
    pair = IkePair()
    pair.establish()
    assert ask(pair, NotifyPayload(type_, b"what")).payloads == ()
    assert pair.is_up()


@pytest.mark.parametrize(
    ("kind", "payloads"),
    [
        (ExchangeType.CREATE_CHILD_SA, ()),
        (99, ()),
        (ExchangeType.INFORMATIONAL, (OpaquePayload(42, critical=False, body=b"\3"),)),
        (ExchangeType.INFORMATIONAL, (OpaquePayload(46, critical=False, body=bytes(40)),)),
    ],
    ids=["nothing in it", "unknown exchange", "truncated", "SK in SK"],
)
def test_a_malformed_request_ends_the_ike_sa_on_both_sides(
    kind: int, payloads: tuple[Payload, ...]
) -> None:
    """RFC 7296, 2.21.3: INVALID_SYNTAX is fatal without a delete."""
    pair = IkePair()
    pair.establish()
    old = set(pair.a.sessions)
    (session,) = pair.a.sessions.values()
    pair.silent = True  # no trace of what cannot be parsed
    session.enqueue(Ask(payloads, kind), pair.now)  # type: ignore[arg-type]
    pair.a._sas.changed(session, pair.now)
    pair.run(0.015)
    pair.silent = False
    assert not old & set(pair.b.sessions)
    assert pair.run(10, pair.is_up)
    assert not old & set(pair.a.sessions)
    assert not any("{D}" in rung for rung in pair.trace)


def test_payloads_may_come_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7296, 2.5."""
    for module in (message_module, protection_module):
        monkeypatch.setattr(module, "encode_chain", lambda payloads: encode_chain(payloads[::-1]))
    pair = IkePair()
    pair.establish()
    assert pair.trace[-1] == "b> IKE_AUTH {TSr,TSi,SA,N(MOBIKE_SUPPORTED),AUTH,IDr} reply"


@pytest.mark.parametrize("kind", [ExchangeType.IKE_AUTH, ExchangeType.CREATE_CHILD_SA])
def test_a_response_that_cannot_be_taken_ends_the_ike_sa(
    monkeypatch: pytest.MonkeyPatch, kind: ExchangeType
) -> None:
    """Nothing waits for ever; the peer hears of it, and a new handshake is made."""
    asked = answer_with(monkeypatch, kind, lambda payloads: [*payloads, UNKNOWN])
    pair = IkePair()
    pair.start()
    assert kind is ExchangeType.IKE_AUTH or pair.run(5, pair.is_up)
    if kind is ExchangeType.CREATE_CHILD_SA:
        pair.a.rekey_child(pair.current("a")[0].child.spi_in, pair.now)
    assert pair.run(1, lambda: bool(asked))
    first = set(pair.b.sessions)
    pair.run(0.1)
    assert not first & set(pair.b.sessions), pair.trace
    assert pair.run(10, pair.is_up)


def test_an_initiator_that_does_not_believe_us_says_so() -> None:
    """RFC 7296, 2.21.2: the responder, for which all was well, lets go at once."""
    other = RemotePresharedKey(Identity.fqdn("b"), Secret(b"another key of b"))
    pair = IkePair(a=peer("a", remote_credential=other))
    pair.start()
    pair.run(0.06)
    assert not pair.b.sessions
    assert not pair.b.child_sas()
    assert "the peer refuses our response: AUTHENTICATION_FAILED" in str(pair.events["b"])


def test_a_peer_that_heeds_deletes_alone_lets_go_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """As libreswan does."""
    monkeypatch.setattr(informational, "_FATAL", frozenset())
    other = RemotePresharedKey(Identity.fqdn("b"), Secret(b"another key of b"))
    pair = IkePair(a=peer("a", remote_credential=other))
    pair.start()
    pair.run(0.06)
    assert not pair.b.sessions
    assert "the peer deleted the IKE SA" in str(pair.events["b"])


def test_invalid_syntax_as_an_answer_ends_the_ike_sa_here_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer_with(
        monkeypatch,
        ExchangeType.CREATE_CHILD_SA,
        lambda _: [NotifyPayload(NotifyType.INVALID_SYNTAX)],
    )
    pair = IkePair()
    pair.establish()
    old = set(pair.a.sessions)
    pair.a.rekey_child(pair.current("a")[0].child.spi_in, pair.now)
    pair.run(0.05)
    assert not old & set(pair.a.sessions)
    assert pair.run(10, pair.is_up)


@pytest.mark.parametrize("children", [(), (child(suites=((Transform(1, 20, 256),),)),)])
def test_the_first_child_fails_alone(children: tuple[ChildConfig, ...]) -> None:
    """RFC 7296, 2.21.2: an error stands beside AUTH, and the child is asked for again."""
    pair = IkePair(b=peer("b", children=children))
    pair.start()
    pair.run(1)
    error = "NO_PROPOSAL_CHOSEN" if children else "TS_UNACCEPTABLE"
    assert f"b> IKE_AUTH {{IDr,AUTH,N(MOBIKE_SUPPORTED),N({error})}} reply" in pair.trace
    assert [one.is_established for one in pair.a.sessions.values()] == [True]
    pair.run(30)
    assert sum("a> CREATE_CHILD_SA" in rung for rung in pair.trace) > 1
    assert sum("a> IKE_SA_INIT" in rung for rung in pair.trace) == 1


@pytest.mark.parametrize(
    "kind",
    [ExchangeType.INFORMATIONAL, ExchangeType.CREATE_CHILD_SA, ExchangeType.IKE_INTERMEDIATE],
)
def test_nothing_else_comes_before_ike_auth(
    monkeypatch: pytest.MonkeyPatch, kind: ExchangeType
) -> None:
    """RFC 7296, 1.4; RFC 9242, 3.2: who has proved nothing can neither delete nor create."""
    asked = Ask([], kind)
    monkeypatch.setattr(Session, "proceed", lambda self, now: self.enqueue(asked, now))
    pair = IkePair()
    pair.start()
    pair.run(0.1)
    (answer,) = asked.answers
    assert [one.type for one in answer.notifies] == [NotifyType.INVALID_SYNTAX]
    assert not pair.b.sessions


def test_the_delete_of_an_ike_sa_is_answered_by_nothing() -> None:
    """RFC 7296, 1.4.1."""
    pair = IkePair()
    pair.establish()
    assert ask(pair, DeletePayload(Protocol.IKE)).payloads == ()
    assert not pair.b.sessions
    assert not pair.b.child_sas()


@pytest.mark.parametrize("side", ["request", "answer"])
def test_an_ike_sa_has_no_spi_of_zero(monkeypatch: pytest.MonkeyPatch, side: str) -> None:
    """RFC 7296, 2.6: it says that an SPI is not known yet."""
    zero = SaPayload((Proposal(1, Protocol.IKE, bytes(8), IKE_GCM),))
    pair = IkePair()
    pair.establish()
    if side == "request":
        monkeypatch.setattr(rekey_ike, "offer", lambda *_: zero)
    else:
        monkeypatch.setattr(Chosen, "answer", lambda *_: zero)
    pair.a.rekey_ike("b", pair.now)
    pair.run(0.025)
    monkeypatch.undo()
    every = [one for end in (pair.a, pair.b) for one in end.sessions.values()]
    spis = [(one.initiator_spi, one.responder_spi) for one in every if one.is_established]
    assert not any(bytes(8) in both for both in spis)
    assert pair.run(20, pair.is_settled)
