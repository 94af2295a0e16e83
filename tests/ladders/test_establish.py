"""IKE_SA_INIT, IKE_INTERMEDIATE and IKE_AUTH between two endpoints of ours, rung by rung."""

import re
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from plutino.ike import half_open
from plutino.ike.auth.credentials import RemotePresharedKey
from plutino.ike.auth.identity import Identity
from plutino.ike.config import PeerConfig, PostquantumKey
from plutino.ike.events import IkeClosed, Refused, SaAwaited
from plutino.ike.exchanges import sa_init
from plutino.ike.exchanges.auth import Auth
from plutino.ike.message.header import Header
from plutino.ike.message.message import Message
from plutino.ike.narrowing import selector_of
from plutino.ike.numbers import NotifyType
from plutino.ike.path import Datagram, Path, SocketAddress, first_path
from plutino.ike.payloads.generic import Payload
from plutino.ike.payloads.notify import NotifyPayload
from plutino.ike.payloads.proposal import Transform
from plutino.ike.session import Session
from plutino.model.policy import Mode
from plutino.model.secret import Secret
from tests.support.ike_network import ESP_GCM_PFS, IKE_GCM, A, B, IkePair, child, peer


def reasons(pair: IkePair, side: str) -> str:
    told = (one for one in pair.events[side] if isinstance(one, Refused | IkeClosed))
    return " / ".join(one.reason for one in told)


def names(pair: IkePair) -> list[str]:
    """Who sends what, without the payloads."""
    return [
        rung.split(" {")[0] + (" reply" if rung.endswith("reply") else "") for rung in pair.trace
    ]


def test_four_messages_make_an_ike_sa_and_a_child() -> None:
    pair = IkePair(seed=7)
    pair.establish()
    assert pair.trace[2:] == [
        "a> IKE_AUTH {IDi,IDr,AUTH,N(INITIAL_CONTACT),N(MOBIKE_SUPPORTED),SA,TSi,TSr}",
        "b> IKE_AUTH {IDr,AUTH,N(MOBIKE_SUPPORTED),SA,TSi,TSr} reply",
    ]
    assert [one.path.local.port for one in pair.sent] == [500, 500, 4500, 4500]


@pytest.mark.parametrize("childless", [False, True])
def test_esp_of_the_first_child_is_awaited_before_it_is_asked_for(childless: bool) -> None:
    """RFC 7296, 2.8: who answers may send at once."""
    pair = IkePair(a=peer("a", childless=childless), b=peer("b", childless=childless))
    pair.hook = lambda name, datagram: () if name == "b" and pair.current("b") else (datagram,)
    pair.start()
    assert pair.run(1, lambda: bool(pair.current("b")))
    assert not pair.current("a")
    (told,) = (one for one in pair.events["a"] if isinstance(one, SaAwaited))
    (theirs,) = pair.current("b")
    assert told.spi_in == theirs.child.spi_out
    assert told.path.ends == (A, B)


def test_another_key_exchange_is_asked_for() -> None:
    own = (Transform(1, 20, 128), Transform(2, 5), Transform(4, 19), Transform(4, 31))
    pair = IkePair(a=peer("a", suites=(own,)))
    pair.establish()
    assert pair.trace[1] == "b> IKE_SA_INIT {N(INVALID_KE_PAYLOAD)} reply"
    assert len(pair.trace) == 6


def test_nothing_in_common_is_told_and_tried_again_later() -> None:
    own = (Transform(1, 12, 128), Transform(2, 5), Transform(3, 12), Transform(4, 31))
    pair = IkePair(a=peer("a", suites=(own,)))
    pair.start()
    pair.run(20)
    assert "NO_PROPOSAL_CHOSEN" in reasons(pair, "a")
    assert not pair.b.sessions


@pytest.mark.parametrize("methods", [(36,), (36, 37)])
def test_more_key_exchanges_come_in_ike_intermediate(methods: tuple[int, ...]) -> None:
    more = tuple(Transform(6 + place, method) for place, method in enumerate(methods))
    suites = ((*IKE_GCM, *more),)
    pair = IkePair(a=peer("a", suites=suites), b=peer("b", suites=suites))
    pair.establish()
    count = sum(1 for rung in names(pair) if "INTERMEDIATE" in rung and rung.endswith("reply"))
    assert count >= len(methods)
    (session,) = pair.a.sessions.values()
    assert session.intermediate.covered(len(methods) + 1)[-4:] == bytes((0, 0, 0, len(methods) + 1))


def test_no_key_exchange_that_was_agreed_upon_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RFC 9370, 2.2.2: an initiator cannot do without ML-KEM by going on to IKE_AUTH."""

    def skip(session: Session, now: float) -> None:
        session.additional.clear()
        session.enqueue(Auth(session.first_child), now, first=True)

    monkeypatch.setattr(Session, "proceed", skip)
    suites = ((*IKE_GCM, Transform(6, 36)),)
    pair = IkePair(a=peer("a", suites=suites), b=peer("b", suites=suites))
    pair.start()
    pair.run(1)
    assert not pair.b.sessions
    assert "IKE_AUTH before IKE_AUTH" in reasons(pair, "b")


def has_no_intermediate(monkeypatch: pytest.MonkeyPatch, side: str) -> None:
    """One end says nothing of INTERMEDIATE_EXCHANGE_SUPPORTED."""
    spoken = sa_init.abilities_of

    def silent(other: PeerConfig) -> list[NotifyPayload]:
        found = spoken(other)
        kind = NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED
        return found if other.name == side else [one for one in found if one.type != kind]

    monkeypatch.setattr(sa_init, "abilities_of", silent)


@pytest.mark.parametrize("side", ["a", "b"])
def test_no_more_key_exchanges_are_agreed_upon_without_ike_intermediate(
    monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    """RFC 9242, 3.1: whichever end has not said that it knows it."""
    has_no_intermediate(monkeypatch, side)
    suites = ((*IKE_GCM, Transform(6, 36)),)
    pair = IkePair(a=peer("a", suites=suites), b=peer("b", suites=suites))
    pair.start()
    pair.run(5)
    assert not any("INTERMEDIATE" in one for one in names(pair)), names(pair)
    assert not pair.is_up()
    words = "NO_PROPOSAL_CHOSEN" if side == "a" else "has no IKE_INTERMEDIATE for them"
    assert words in reasons(pair, "a")
    assert not pair.b.child_sas()


def test_who_has_no_ike_intermediate_gets_what_does_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where both ends allow that."""
    has_no_intermediate(monkeypatch, "a")
    suites = ((*IKE_GCM, Transform(6, 36), Transform(6, 0)),)
    pair = IkePair(a=peer("a", suites=suites), b=peer("b", suites=suites))
    pair.establish()
    assert not any("INTERMEDIATE" in one for one in names(pair)), names(pair)


def test_childless_the_first_child_has_a_key_exchange_of_its_own() -> None:
    children = (child(suites=(ESP_GCM_PFS,)),)
    pair = IkePair(a=peer("a", childless=True, children=children), b=peer("b", children=children))
    pair.establish()
    assert "CHILDLESS_IKEV2_SUPPORTED" in pair.trace[1]
    assert "SA" not in re.findall(r"\w+", pair.trace[2])
    assert pair.trace[4] == "a> CREATE_CHILD_SA {SA,No,KE,TSi,TSr}"


@pytest.mark.parametrize("childless", [False, True])
def test_reauthentication_is_without_a_gap(*, childless: bool) -> None:
    """The old IKE SA goes once the new one has its child, however that comes."""
    pair = IkePair(a=peer("a", childless=childless, reauthenticate_after=60.0))
    pair.establish()
    (first,) = pair.a.sessions
    assert not pair.run(100, lambda: not (pair.current("a") and pair.current("b")))
    last = "CREATE_CHILD_SA {SA,No,TSi,TSr} reply" if childless else "TSi,TSr} reply"
    (made,) = [at for at, rung in enumerate(pair.trace) if rung.endswith(last)][1:]
    assert "a> INFORMATIONAL {D}" in pair.trace[made:]
    assert "a> INFORMATIONAL {D}" not in pair.trace[:made]
    assert pair.is_up()
    assert first not in pair.a.sessions
    assert len(pair.a.sessions) == len(pair.b.sessions) == 1


def test_a_peer_that_knows_no_childless_ike_sas_gets_a_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RFC 6023, 3: only who has said so may be asked for one."""

    def without(header: Header, payloads: tuple[Payload, ...]) -> Message:
        left = [one for one in payloads if getattr(one, "name", "") != "CHILDLESS_IKEV2_SUPPORTED"]
        return Message(header, tuple(left))

    monkeypatch.setattr(sa_init, "Message", without)
    pair = IkePair(a=peer("a", childless=True))
    pair.establish()
    assert "CHILDLESS" not in pair.trace[1]
    assert "SA,TSi,TSr" in pair.trace[2]
    assert len(pair.trace) == 4


def test_a_post_quantum_key_must_be_the_same() -> None:
    key = PostquantumKey(b"id", Secret(b"quantum" * 5))
    pair = IkePair(a=peer("a", ppk=key), b=peer("b", ppk=key))
    pair.establish()
    other = replace(key, key=Secret(b"another" * 5))
    pair = IkePair(a=peer("a", ppk=key), b=peer("b", ppk=other))
    pair.start()
    pair.run(20)
    assert not pair.is_up()
    assert "the pre-shared keys differ" in reasons(pair, "b")


def test_a_post_quantum_key_can_be_done_without() -> None:
    key = PostquantumKey(b"id", Secret(b"quantum" * 5), required=False)
    other = replace(key, identity=b"unknown here")
    IkePair(a=peer("a", ppk=key)).establish()
    IkePair(a=peer("a", ppk=key), b=peer("b", ppk=other)).establish()
    strict = replace(key, required=True)
    pair = IkePair(a=peer("a", ppk=strict))
    pair.start()
    pair.run(20)
    assert not pair.a.child_sas()
    pair = IkePair(b=peer("b", ppk=strict))
    pair.start()
    pair.run(20)
    assert not pair.b.child_sas()
    assert "does not know the post-quantum key" in reasons(pair, "b")


def test_a_responder_offers_the_post_quantum_key_of_any_who_may_be_meant() -> None:
    key = PostquantumKey(b"id", Secret(b"quantum" * 5))
    pair = IkePair(a=peer("a", ppk=key))
    other = RemotePresharedKey(Identity.fqdn("c"), Secret(b"a key of another peer"))
    first = replace(peer("b", remote_credential=other), name="c")
    pair.add("b", B, [first, peer("b", ppk=key)])
    pair.establish()
    assert pair.trace[1].count("USE_PPK") == 1
    pair = IkePair(b=peer("b", ppk=replace(key, required=False)))
    pair.establish()
    assert "USE_PPK" not in pair.trace[1]  # who does not ask is not told


def test_failures_look_the_same_from_outside() -> None:
    """A wrong key and a wrong identity give the same bytes' length and the same notify."""
    answers = []
    for credential in (
        RemotePresharedKey(Identity.fqdn("a"), Secret(b"another key")),
        RemotePresharedKey(Identity.fqdn("c"), Secret(b"a key that both know")),
    ):
        pair = IkePair(b=peer("b", remote_credential=credential))
        pair.start()
        pair.run(0.3)
        assert pair.trace[3] == "b> IKE_AUTH reply"  # its IKE SA has ended with it
        answers.append(len(pair.sent[3].payload))
        assert not pair.a.child_sas()
        assert not pair.b.child_sas()
    assert answers[0] == answers[1]


def test_cookies_hold_off_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_open, "COOKIES_ABOVE", 0)
    pair = IkePair()
    pair.establish()
    assert pair.trace[1] == "b> IKE_SA_INIT {N(COOKIE)} reply"
    assert pair.trace[2].startswith("a> IKE_SA_INIT {N(COOKIE),SA,KE")


def test_half_open_ike_sas_are_bounded_and_end() -> None:
    """First messages from everywhere, which nobody goes on with."""
    pair = IkePair(b=peer("b", remotes=()))
    stranger = IkePair(seed=3)
    stranger.start()
    stranger.pump()
    first = stranger.sent[0].payload
    for number in range(3000):
        spi = number.to_bytes(8, "big")[:-1] + b"\1"
        source = SocketAddress(ip_address(0x0A000000 + number), 500)
        pair.b.receive(spi + first[8:], Path(SocketAddress(B, 500), source), pair.now)
    assert len(pair.b.sessions) <= half_open.COOKIES_ABOVE
    pair.addresses.clear()
    pair.run(60)
    assert not pair.b.sessions


def test_retransmission_gives_up_and_begins_anew() -> None:
    pair = IkePair()
    pair.blocked = True
    pair.start()
    pair.run(200)
    assert "the peer does not answer" in reasons(pair, "a")
    assert len(pair.trace) < 40
    pair.blocked = False
    assert pair.run(130, pair.is_up)


def test_large_messages_go_in_fragments_and_a_lost_one_comes_again() -> None:
    many = tuple(selector_of(ip_network(f"10.{n}.0.0/16")) for n in range(120))
    children = (child(local=many, remote=many),)
    config = {"children": children, "fragment_size": 600}
    pair = IkePair(a=peer("a", **config), b=peer("b", **config))
    lost: list[int] = []

    def lose_one(_name: str, datagram: Datagram) -> Iterable[Datagram]:
        if len(datagram.payload) > 500 and not lost and datagram.path.local.port == 4500:
            lost.append(1)
            return ()
        return (datagram,)

    pair.hook = lose_one
    pair.establish()
    assert lost
    assert max(len(one.payload) for one in pair.sent[2:]) <= 600 - 32


def test_only_the_first_fragment_asks_for_the_answer_again() -> None:
    """RFC 7383, 2.6.1; and the answer comes in all its fragments."""
    many = tuple(selector_of(ip_network(f"10.{n}.0.0/16")) for n in range(60))
    config = {"children": (child(local=many, remote=many),), "fragment_size": 600}
    pair = IkePair(a=peer("a", **config), b=peer("b", **config))
    pair.establish()
    asked = [one for one in pair.sent if one.path.local == SocketAddress(A, 4500)]
    said = [one for one in pair.sent if one.path.local == SocketAddress(B, 4500)]
    assert len(asked) == len(said) > 2
    for number, one in enumerate(asked):
        pair.b.receive(one.payload, said[0].path, pair.now)
        again = [each.payload for each in pair.b.datagrams_to_send()]
        assert again == ([each.payload for each in said] if number == 0 else [])


def test_selectors_are_narrowed_and_modes_agreed_upon() -> None:
    mine = (selector_of(ip_network("10.1.0.0/16")),)
    pair = IkePair(b=peer("b", children=(child(local=mine),)))
    pair.establish()
    (active,) = pair.current("a")
    assert active.child.remote == mine
    transport = (child(mode=Mode.TRANSPORT),)
    pair = IkePair(a=peer("a", children=transport), b=peer("b", children=transport))
    pair.establish()
    (active,) = pair.current("b")
    assert active.child.mode is Mode.TRANSPORT
    assert [str(one) for one in active.child.local] == [f"{B}-{B}"]


def test_what_the_peer_makes_in_another_mode_is_deleted_there() -> None:
    pair = IkePair(a=peer("a", children=(child(mode=Mode.BEET),)))
    pair.start()
    pair.run(20)
    assert "the peer declines mode beet" in reasons(pair, "a")
    assert not pair.a.child_sas()
    assert not pair.b.child_sas()
    asked = [rung for rung in pair.trace if rung.startswith("a> CREATE_CHILD_SA")]
    assert 2 <= len(asked) <= 6, "less and less often"
    assert "V" in pair.trace[0].partition("{")[2]


def test_a_peer_that_starts_anew_replaces_what_it_had() -> None:
    pair = IkePair()
    pair.establish()
    old = set(pair.b.sessions)
    fresh = pair.add("a", A, [peer("a")])
    pair.run(5)
    fresh.keep_up("b", first_path(A, B), ("net",), pair.now)
    assert pair.run(10, pair.is_up)
    assert not old & set(pair.b.sessions)
    assert "the peer has started anew" in reasons(pair, "b")


def test_a_dead_peer_is_noticed() -> None:
    pair = IkePair(a=peer("a", liveness_after=30.0))
    pair.establish()
    pair.blocked = True
    pair.run(29)
    assert pair.current("a")
    pair.run(80)
    assert not pair.current("a")
    assert "the peer does not answer" in reasons(pair, "a")
