"""Requests of any payloads that one endpoint makes to another, as a peer of its own mind would."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from plutino.ike.message.message import Message
from plutino.ike.numbers import ExchangeType
from plutino.ike.payloads.generic import Payload
from plutino.ike.session import Session
from tests.support.ike_network import IkePair


@dataclass
class Ask:
    """A request of any payloads; ``answers`` has what came back."""

    payloads: Sequence[Payload]
    exchange_type: ExchangeType = ExchangeType.INFORMATIONAL
    answers: list[Message] = field(default_factory=list)

    def request(self, session: Session, now: float) -> Sequence[Payload]:
        return self.payloads

    def response(self, session: Session, message: Message, now: float) -> None:
        self.answers.append(message)


def ask(
    pair: IkePair, *payloads: Payload, kind: ExchangeType = ExchangeType.INFORMATIONAL
) -> Message:
    """What b answers to a, in an IKE SA that is up."""
    (session,) = pair.a.sessions.values()
    exchange = Ask(payloads, kind)
    session.enqueue(exchange, pair.now)  # type: ignore[arg-type]  # its type is no constant
    pair.a._sas.changed(session, pair.now)
    assert pair.run(5, lambda: bool(exchange.answers)), pair.trace
    return exchange.answers[0]
