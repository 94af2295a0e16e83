"""An IKE SA that moves, and what each end has to prove of it (RFC 4555)."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from plutino.ike.exchanges import auth, mobike
from plutino.ike.message.header import Header
from plutino.ike.message.message import Message
from plutino.ike.numbers import NotifyType
from plutino.ike.path import Datagram, Path, SocketAddress, first_path
from plutino.ike.payloads.notify import NotifyPayload
from plutino.model.policy import IpAddress
from tests.support.ike_network import A2, A, B, IkePair, peer
from tests.support.ike_requests import ask


def mobile() -> IkePair:
    """Both up; a has two addresses."""
    pair = IkePair(a=peer("a", local=None), b=peer("b", remotes=(A, A2)))
    pair.establish()
    return pair


def move(pair: IkePair) -> None:
    pair.a.go_by("b", first_path(A2, B), {(A, B)}, pair.now)


def test_the_responder_checks_whether_who_has_moved_receives_there() -> None:
    """RFC 4555, 3.5 and 3.7."""
    pair = mobile()
    before = len(pair.trace)
    move(pair)
    pair.run(1)
    nat = "N(NAT_DETECTION_SOURCE_IP),N(NAT_DETECTION_DESTINATION_IP)"
    assert set(pair.trace[before:]) == {
        f"a> INFORMATIONAL {{N(UPDATE_SA_ADDRESSES),{nat},N(COOKIE2)}}",
        f"b> INFORMATIONAL {{{nat},N(COOKIE2)}} reply",
        "b> INFORMATIONAL {N(COOKIE2)}",
        "a> INFORMATIONAL {N(COOKIE2)} reply",
    }
    assert pair.is_settled()
    assert pair.paths_meet()
    ours = {one.path.local.address for one in pair.sent if one.path.remote.address == A2}
    assert ours == {B}


def test_who_receives_nothing_where_it_says_to_be_is_let_go() -> None:
    """Else it could have others flooded."""
    pair = mobile()
    pair.hook = lambda name, datagram: () if name == "b" else (datagram,)
    move(pair)
    assert pair.run(300, lambda: not pair.b.child_sas())


@pytest.mark.parametrize("cookie", [None, b"12345678"])
def test_a_cookie_that_does_not_come_back_ends_the_ike_sa(
    monkeypatch: pytest.MonkeyPatch, cookie: bytes | None
) -> None:
    genuine = NotifyPayload

    def changed(type_: int, data: bytes = b"") -> NotifyPayload:
        is_answer = type_ == NotifyType.COOKIE2 and pair.a.sessions[spi].window.waiting
        if not is_answer:
            return genuine(type_, data)
        return genuine(40960) if cookie is None else genuine(type_, cookie)

    pair = mobile()
    (spi,) = pair.a.sessions
    monkeypatch.setattr(mobike, "NotifyPayload", changed)
    move(pair)
    pair.run(0.1)
    assert spi not in pair.a.sessions
    assert "COOKIE2 did not come back" in str(pair.events["a"])


def test_an_answer_to_where_we_were_says_nothing_of_where_we_are() -> None:
    """RFC 4555, 3.5: no NAT is seen by it, and the next update tells."""
    pair = mobile()
    (session,) = pair.a.sessions.values()
    move(pair)
    pair.run(0.005)
    pair.a.go_by("b", first_path(A, B), {(A2, B)}, pair.now)
    for _ in range(20):
        pair.run(0.005)
        assert not session.abilities.has_nat
    assert pair.run(5, pair.is_settled)
    assert pair.paths_meet()


def no_nats(path: Path) -> NotifyPayload:
    """What an initiator at the end of a path says of it."""
    (here, here_port), (there, there_port) = path
    data = here.packed + there.packed + here_port.to_bytes(2, "big") + there_port.to_bytes(2, "big")
    return NotifyPayload(NotifyType.NO_NATS_ALLOWED, data)


def test_a_nat_that_the_peer_forbids_is_told() -> None:
    """RFC 4555, 3.9: the addresses stay then."""
    pair = mobile()
    update = NotifyPayload(NotifyType.UPDATE_SA_ADDRESSES)
    true = Path(SocketAddress(A, 4500), SocketAddress(B, 4500))
    false = Path(SocketAddress(A2, 4500), SocketAddress(B, 4500))
    assert ask(pair, update, no_nats(true)).notifies == ()
    answer = ask(pair, update, no_nats(false))
    assert [one.type for one in answer.notifies] == [NotifyType.UNEXPECTED_NAT_DETECTED]
    assert pair.is_up()


@pytest.mark.parametrize("address", [A, A2])
def test_a_nat_that_the_peer_forbids_begins_no_ike_sa(
    monkeypatch: pytest.MonkeyPatch, address: IpAddress
) -> None:
    told = no_nats(Path(SocketAddress(address, 4500), SocketAddress(B, 4500)))
    monkeypatch.setattr(auth, "certificate_requests", lambda _: [told])
    pair = IkePair()
    pair.start()
    assert pair.run(1, pair.is_up) == (address == A)
    assert ("UNEXPECTED_NAT" in str(pair.events["a"])) == (address == A2)


def test_without_an_update_the_responder_stays_where_it_was() -> None:
    """RFC 4555, 3.8: other requests may test paths."""
    pair = mobile()

    def by_another(name: str, datagram: Datagram) -> Iterable[Datagram]:
        header = Header.parse(memoryview(datagram.payload))
        if name == "a" and not header.is_response:
            here, there = datagram.path
            return (replace(datagram, path=Path(SocketAddress(A2, here.port), there)),)
        return (datagram,)

    pair.hook = by_another
    assert isinstance(ask(pair), Message)
    assert pair.sent[-1].path.remote.address == A2
    assert {one.path.remote.address for one in pair.b.child_sas()} == {A}
