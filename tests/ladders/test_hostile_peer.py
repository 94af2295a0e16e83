"""A peer that has keys and sends nonsense: nothing but an answer or silence comes of it."""

from random import Random

import pytest

from plutino.ike.crypto.key_exchange import KEY_EXCHANGES
from plutino.ike.message.header import Header
from plutino.ike.message.message import Message
from plutino.ike.message.protection import seal_fragments
from plutino.ike.numbers import ExchangeType, NotifyType, PayloadType
from plutino.ike.path import Path, SocketAddress
from plutino.ike.payloads.generic import NoncePayload, Payload
from plutino.ike.payloads.key_exchange import KePayload
from plutino.ike.payloads.notify import DeletePayload, NotifyPayload
from plutino.ike.payloads.proposal import Proposal, SaPayload, Transform
from plutino.ike.payloads.traffic_selector import TsPayload
from plutino.ike.session import Session
from tests.support.ike_network import ANY, ESP_GCM_PFS, ESP_SERIES, A, B, IkePair, child, peer
from tests.support.ike_payloads import PAYLOADS

KINDS = [*ExchangeType, 99]
SUITES = [
    (Transform(1, 20, 128), Transform(4, 31), Transform(5, 0)),
    (Transform(1, 20, 128), Transform(4, 19), Transform(5, 0)),
    (Transform(1, 20, 128), Transform(5, 0)),
    (Transform(1, 20, 128), Transform(2, 5), Transform(4, 31)),
    (Transform(1, 20, 7), Transform(5, 0)),
    ESP_SERIES,
]


def create_child(choice: Random, spis: list[bytes]) -> list[Payload]:
    """A request that may be almost right: for a child or an IKE SA, new or in the place of one."""
    protocol = choice.choice((1, 3, 3, 3, 2))
    spi = choice.randbytes(choice.choice((8, 4, 4, 4, 0)))
    payloads: list[Payload] = [
        SaPayload((Proposal(1, protocol, spi, choice.choice(SUITES)),)),
        NoncePayload(choice.randbytes(32)),
    ]
    if choice.random() < 0.8:
        public = choice.choice((bytes(32), choice.randbytes(32), b"short"))
        payloads.append(KePayload(choice.choice((31, 31, 31, 19, 77)), public))
    if choice.random() < 0.8:
        payloads += [TsPayload(PayloadType.TS_I, ANY), TsPayload(PayloadType.TS_R, ANY)]
    if choice.random() < 0.6:
        payloads.append(NotifyPayload(NotifyType.REKEY_SA, b"", 3, choice.choice(spis)))
    if choice.random() < 0.2:
        payloads.append(NotifyPayload(choice.choice(list(NotifyType)), choice.randbytes(9)))
    return payloads


def informational(choice: Random, spis: list[bytes]) -> list[Payload]:
    """Deletes and notifies."""
    some: list[Payload] = [
        DeletePayload.of_children([choice.choice(spis), choice.choice(spis)]),
        DeletePayload(choice.choice((1, 2, 3))),
        NotifyPayload(choice.choice(list(NotifyType)), choice.randbytes(choice.randrange(40))),
        NotifyPayload(NotifyType.UPDATE_SA_ADDRESSES),
        NotifyPayload(NotifyType.NAT_DETECTION_SOURCE_IP, bytes(20)),
        NotifyPayload(NotifyType.NAT_DETECTION_DESTINATION_IP, bytes(20)),
    ]
    return choice.sample(some, choice.randrange(4))


def begin_series(choice: Random) -> list[Payload]:
    """A request as it should be: it leaves something half made."""
    return [
        SaPayload((Proposal(1, 3, choice.randbytes(4), ESP_SERIES),)),
        NoncePayload(choice.randbytes(32)),
        KePayload(31, choice.randbytes(32)),
        TsPayload(PayloadType.TS_I, ANY),
        TsPayload(PayloadType.TS_R, ANY),
    ]


def follow_up(choice: Random, links: list[bytes]) -> list[Payload]:
    """The next key exchange of a series, or almost."""
    method = choice.choice((35, 35, 35, 19, 31))
    public = KEY_EXCHANGES[method].start(choice.randbytes).public
    some: list[Payload] = [
        KePayload(choice.choice((method, method, 36)), choice.choice((public, public[1:]))),
        NotifyPayload(NotifyType.ADDITIONAL_KEY_EXCHANGE, choice.choice(links)),
    ]
    return some[: choice.choice((1, 2, 2, 2))]


def message_of(choice: Random, session: Session, theirs: Session) -> tuple[int, list[Payload]]:
    """An exchange and its payloads; sometimes of all kinds in any order."""
    spis = [one.spi_in for one in session.children] + [choice.randbytes(4)]
    roll = choice.random()
    links = [*theirs.half_made.links, choice.randbytes(16)]
    if roll < 0.2:
        return ExchangeType.CREATE_CHILD_SA, begin_series(choice)
    if roll < 0.3 or (len(links) > 1 and roll < 0.7):
        return ExchangeType.IKE_FOLLOWUP_KE, follow_up(choice, links)
    if roll < 0.7:
        return ExchangeType.CREATE_CHILD_SA, create_child(choice, spis)
    if roll < 0.85:
        return ExchangeType.INFORMATIONAL, informational(choice, spis)
    return choice.choice(KINDS), [choice.choice(PAYLOADS) for _ in range(choice.randrange(7))]


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_no_message_of_a_peer_breaks_an_endpoint(first: int) -> None:
    for seed in range(first, first + 100):
        choice = Random(seed)
        children = (child(suites=(choice.choice((ESP_GCM_PFS, ESP_SERIES)),)),)
        pair = IkePair(seed, a=peer("a", children=children), b=peer("b", children=children))
        if choice.random() < 0.7:
            pair.establish()
        else:
            pair.start()
            pair.run(0.015)
        back = Path(SocketAddress(B, 4500), SocketAddress(A, 4500))
        for _ in range(8):
            sessions = [one for one in pair.a.sessions.values() if one.keys is not None]
            if not sessions:
                break
            session = choice.choice(sessions)
            theirs = pair.b.sessions.get(
                session.responder_spi if session.is_initiator else session.initiator_spi
            )
            if theirs is None:
                break
            number = theirs.responses.next_id
            flags = (8 if session.is_initiator else 0) | choice.choice((0, 0, 0, 32))
            spis = session.initiator_spi, session.responder_spi
            kind, payloads = message_of(choice, session, theirs)
            header = Header(*spis, 0, kind, flags, number)
            message = Message(header, tuple(payloads))
            cipher = session.session_keys.cipher_out
            (sealed,) = seal_fragments(message, cipher, choice.randbytes, 60000)
            pair.b.receive(sealed, back, pair.now)
            pair.run(choice.choice((0.0, 0.02, 2.0)))
        pair.run(300)
