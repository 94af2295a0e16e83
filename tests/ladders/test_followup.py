"""Key exchanges after the one of CREATE_CHILD_SA, by IKE_FOLLOWUP_KE (RFC 9370, 2.2.4)."""

from collections.abc import Callable, Iterable, Sequence

import pytest

from plutino.ike.events import Refused
from plutino.ike.exchanges.followup import FollowupKe
from plutino.ike.half_made import HalfMade, HalfMades
from plutino.ike.numbers import ExchangeType, NotifyType
from plutino.ike.path import Datagram
from plutino.ike.payloads.generic import Payload
from plutino.ike.payloads.notify import NotifyPayload
from plutino.ike.schedule import FOLLOWUP_WITHIN
from plutino.ike.session import Session
from tests.support.ike_network import ESP_SERIES, IKE_SERIES, IkePair, child, peer

LINK = "N(ADDITIONAL_KEY_EXCHANGE)"
Rekey = Callable[[IkePair, str], None]


def new_pair(seed: int = 0, **options: object) -> IkePair:
    """Both ends want three key exchanges for the IKE SA and for the CHILD_SA."""
    known = {"suites": (IKE_SERIES,), "children": (child(suites=(ESP_SERIES,)),)} | options
    return IkePair(seed, a=peer("a", **known), b=peer("b", **known))


def up(seed: int = 0, **options: object) -> IkePair:
    pair = new_pair(seed, **options)
    pair.establish()
    pair.trace.clear()
    return pair


def rekey_child(pair: IkePair, side: str) -> None:
    pair.endpoints[side].rekey_child(pair.current(side)[0].child.spi_in, pair.now)


def rekey_ike(pair: IkePair, side: str) -> None:
    pair.endpoints[side].rekey_ike("b" if side == "a" else "a", pair.now)


REKEYS = pytest.mark.parametrize("rekey", [rekey_child, rekey_ike])


def identity(pair: IkePair) -> tuple[set[bytes], set[bytes]]:
    """SPIs of the IKE SAs and of the CHILD_SAs that are neither replaced nor about to go."""
    sessions = {spi for spi, one in pair.a.sessions.items() if one.is_established}
    return sessions, {one.child.spi_in for one in pair.current("a")}


def is_renewed(pair: IkePair, rekey: Rekey, before: tuple[set[bytes], set[bytes]]) -> bool:
    """Whether both ends have another IKE SA, or another CHILD_SA, and but one."""
    place = 0 if rekey is rekey_ike else 1
    return pair.is_settled() and not before[place] & identity(pair)[place]


def sessions(pair: IkePair, side: str) -> list[Session]:
    return list(pair.endpoints[side].sessions.values())


def test_the_ike_sa_is_rekeyed_by_a_series() -> None:
    pair = up()
    (old,) = pair.a.sessions.values()
    rekey_ike(pair, "a")
    pair.run(1)
    assert pair.trace == [
        "a> CREATE_CHILD_SA {SA,No,KE}",
        f"b> CREATE_CHILD_SA {{SA,No,KE,{LINK}}} reply",
        f"a> IKE_FOLLOWUP_KE {{KE,{LINK}}}",
        f"b> IKE_FOLLOWUP_KE {{KE,{LINK}}} reply",
        f"a> IKE_FOLLOWUP_KE {{KE,{LINK}}}",
        "b> IKE_FOLLOWUP_KE {KE} reply",
        "a> INFORMATIONAL {D}",
        "b> INFORMATIONAL reply",
    ]
    assert pair.is_up()
    (new,) = pair.a.sessions.values()
    assert new is not old
    assert {one.type for one in new.session_keys.suite.transforms} >= {6, 7}


def test_a_child_is_made_and_rekeyed_by_a_series() -> None:
    """Each end sends only by what the other one receives by, all the time."""
    pair = new_pair(childless=True)
    pair.establish()
    pair.trace.clear()
    rekey_child(pair, "a")
    for _ in range(200):
        pair.run(0.002)
        for here, there in (("a", "b"), ("b", "a")):
            receiving = {one.child.spi_in for one in pair.endpoints[there].child_sas()}
            sending = [one for one in pair.endpoints[here].child_sas() if one.outbound]
            assert [one.child.spi_out in receiving for one in sending] == [True], pair.trace
    assert pair.trace[:2] == [
        "a> CREATE_CHILD_SA {N(REKEY_SA),SA,No,KE,TSi,TSr}",
        f"b> CREATE_CHILD_SA {{SA,No,KE,{LINK},TSi,TSr}} reply",
    ]
    assert len([one for one in pair.trace if "IKE_FOLLOWUP_KE" in one]) == 4
    assert pair.is_up()


def test_a_new_child_has_them_too() -> None:
    """The one of IKE_AUTH has its keys from the IKE SA; without it, the first has its own."""
    pair = new_pair(childless=True)
    pair.establish()
    assert len([one for one in pair.trace if "IKE_FOLLOWUP_KE" in one]) == 4
    assert f"a> IKE_FOLLOWUP_KE {{KE,{LINK}}}" in pair.trace


@REKEYS
@pytest.mark.parametrize("seed", range(4))
def test_both_begin_at_once(rekey: Rekey, seed: int) -> None:
    """The one with the lowest nonce stops before its first IKE_FOLLOWUP_KE."""
    pair = up(seed)
    before = identity(pair)
    rekey(pair, "a")
    rekey(pair, "b")
    assert pair.run(2, lambda: is_renewed(pair, rekey, before)), pair.trace
    went_on = {one[0] for one in pair.trace if "FOLLOWUP" in one and "reply" not in one}
    assert len(went_on) == 1, pair.trace
    settled = identity(pair)
    pair.run(60)
    assert identity(pair) == settled  # the one that stopped has nothing more to do


@REKEYS
def test_one_is_further(rekey: Rekey) -> None:
    """A request that is late meets one that is in its series already: TEMPORARY_FAILURE."""
    pair = up()
    before = identity(pair)
    lost: list[int] = []

    def lose(name: str, datagram: Datagram) -> Iterable[Datagram]:
        """b's first request, and a's first follow-ups, until b has asked once more."""
        kind = datagram.payload[18]
        is_response = bool(datagram.payload[19] & 0x20)
        first = name == "b" and kind == ExchangeType.CREATE_CHILD_SA and not is_response
        late = name == "a" and kind == ExchangeType.IKE_FOLLOWUP_KE
        if (first and not lost) or (late and len(lost) < 3):
            lost.append(kind)
            return ()
        return (datagram,)

    pair.hook = lose
    rekey(pair, "a")
    rekey(pair, "b")
    assert pair.run(10, lambda: is_renewed(pair, rekey, before)), pair.trace
    assert "a> CREATE_CHILD_SA {N(TEMPORARY_FAILURE)} reply" in pair.trace
    settled = identity(pair)
    pair.run(60)
    assert identity(pair) == settled


@REKEYS
def test_a_peer_that_never_continues(rekey: Rekey, monkeypatch: pytest.MonkeyPatch) -> None:
    """What b has half made expires, its secrets with it, and b rekeys by itself."""
    request = FollowupKe.request

    def forget(one: FollowupKe, session: Session, now: float) -> Sequence[Payload] | None:
        return None if session.peer.name == "b" else request(one, session, now)

    monkeypatch.setattr(FollowupKe, "request", forget)
    pair = up()
    before = identity(pair)
    rekey(pair, "a")
    pair.run(1)
    (session,) = sessions(pair, "b")
    assert session.half_made.next_due() is not None
    rekey(pair, "b")
    pair.run(FOLLOWUP_WITHIN - 2)
    assert not is_renewed(pair, rekey, before)
    assert pair.run(5, lambda: is_renewed(pair, rekey, before)), pair.trace
    assert session.half_made.next_due() is None


@REKEYS
def test_a_follow_up_that_comes_too_late(rekey: Rekey) -> None:
    """STATE_NOT_FOUND: the series has failed and is begun anew."""
    pair = up()
    before = identity(pair)
    rekey(pair, "a")
    pair.run(0.025)  # b has answered, and a's follow-up is about to go
    pair.blocked = True
    pair.run(FOLLOWUP_WITHIN + 1)
    pair.blocked = False
    assert pair.run(60, lambda: is_renewed(pair, rekey, before)), pair.trace
    assert "b> IKE_FOLLOWUP_KE {N(STATE_NOT_FOUND)} reply" in pair.trace
    if rekey is rekey_child:
        assert identity(pair)[0] == before[0]  # the IKE SA has not suffered


@REKEYS
def test_a_link_that_is_wrong(rekey: Rekey, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = up()
    before = identity(pair)
    request = FollowupKe.request
    sent: list[bytes] = []

    def forge(one: FollowupKe, session: Session, now: float) -> Sequence[Payload] | None:
        if not sent:
            sent.append(one.link.data)
            one.link = NotifyPayload(NotifyType.ADDITIONAL_KEY_EXCHANGE, b"another")
        return request(one, session, now)

    monkeypatch.setattr(FollowupKe, "request", forge)
    rekey(pair, "a")
    assert pair.run(60, lambda: is_renewed(pair, rekey, before)), pair.trace
    assert "b> IKE_FOLLOWUP_KE {N(STATE_NOT_FOUND)} reply" in pair.trace


@REKEYS
@pytest.mark.parametrize("kind", ["CREATE_CHILD_SA", "IKE_FOLLOWUP_KE"])
def test_a_response_without_a_link(
    rekey: Rekey, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can follow: a says so in its log, and tries again later."""
    pair = up()
    before = identity(pair)
    expect = HalfMades.expect
    links: list[NotifyPayload] = []

    def leave_out(halves: HalfMades, one: HalfMade, *rest: object) -> NotifyPayload:
        links.append(expect(halves, one, *rest))  # type: ignore[arg-type]
        is_left_out = len(links) == (1 if kind == "CREATE_CHILD_SA" else 2)
        return NotifyPayload(NotifyType.SET_WINDOW_SIZE) if is_left_out else links[-1]

    monkeypatch.setattr(HalfMades, "expect", leave_out)
    rekey(pair, "a")
    assert pair.run(90, lambda: is_renewed(pair, rekey, before)), pair.trace
    refused = [one.reason for one in pair.events["a"] if isinstance(one, Refused)]
    assert refused == [f"{kind}: ADDITIONAL_KEY_EXCHANGE is missing"]


@REKEYS
@pytest.mark.parametrize("side", ["a", "b"])
def test_a_restart_within_a_series(rekey: Rekey, side: str) -> None:
    """The end that answers goes on with its IKE SA, and the series is begun anew.

    That which has begun it has to begin from the start.
    """
    pair = up()
    before = identity(pair)
    rekey(pair, "a")
    pair.run(0.025)
    pair.restart(side)
    pair.trace.clear()
    assert pair.run(60, pair.is_up), pair.trace
    began_anew = any("IKE_SA_INIT" in one for one in pair.trace)
    assert began_anew == (side == "a")
    if side == "b":
        assert pair.run(60, lambda: is_renewed(pair, rekey, before)), pair.trace
        assert rekey is rekey_ike or identity(pair)[0] == before[0]


@REKEYS
def test_the_end_of_the_ike_sa_within_a_series(rekey: Rekey) -> None:
    """Nobody waits for the rest."""
    pair = up()
    rekey(pair, "a")
    pair.run(0.015)
    pair.a.let_down("b", pair.now)
    pair.run(0.5)
    assert not [one for one in pair.trace if "IKE_FOLLOWUP_KE" in one]
    assert not pair.a.sessions
    assert not pair.b.sessions


def test_a_child_that_is_deleted_within_its_series() -> None:
    """b deletes what a is about to replace: that ends both."""
    pair = up()
    rekey_child(pair, "a")
    pair.run(0.025)
    pair.b.delete_child(pair.current("b")[0].child.spi_in, pair.now)
    assert pair.run(60, pair.is_up), pair.trace  # a wants one, and has made it
