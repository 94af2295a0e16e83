"""Further addresses of ours are told to a peer with MOBIKE (RFC 4555, 3.4 and 3.6)."""

import pytest

from plutino.ike.path import first_path
from tests.support.ike_network import A2, A, B, IkePair, peer

MORE = "N(ADDITIONAL_IP4_ADDRESS)"
NONE = "N(NO_ADDITIONAL_ADDRESSES)"


def pair_of(**changes: object) -> IkePair:
    """a has two addresses."""
    return IkePair(a=peer("a", local=None, **changes), b=peer("b", remotes=(A, A2), **changes))


def told(pair: IkePair, side: str) -> list[str]:
    return [
        one for one in pair.trace if one.startswith(f"{side}>") and (MORE in one or NONE in one)
    ]


def test_the_initiator_tells_them_in_ike_auth() -> None:
    pair = pair_of()
    pair.a.set_own_addresses("b", (A, A2), pair.now)
    pair.establish()
    (only,) = told(pair, "a")
    assert "IKE_AUTH" in only
    assert f"N(MOBIKE_SUPPORTED),{MORE},SA" in only
    assert not told(pair, "b")


def test_the_responder_tells_them_in_ike_auth() -> None:
    pair = pair_of()
    pair.b.set_own_addresses("a", (A2, B), pair.now)
    pair.establish()
    (only,) = told(pair, "b")
    assert "IKE_AUTH" in only


def test_one_address_is_nothing_to_tell() -> None:
    pair = pair_of()
    pair.a.set_own_addresses("b", (A,), pair.now)
    pair.establish()
    assert not told(pair, "a")


@pytest.mark.parametrize("mobike", [False, True])
def test_changes_are_told_once_and_to_those_that_move_alone(mobike: bool) -> None:
    pair = pair_of(mobike=mobike)
    pair.establish()
    before = len(pair.trace)
    for addresses, said in (((A, A2), MORE), ((A2, A), None), ((A,), NONE), ((A,), None)):
        pair.a.set_own_addresses("b", addresses, pair.now)
        pair.run(3)
        rungs = [f"a> INFORMATIONAL {{{said}}}", "b> INFORMATIONAL {} reply"] if said else []
        assert pair.trace[before:] == (rungs if mobike else [])
        before = len(pair.trace)


def test_who_moves_tells_where_else_it_is_by_now() -> None:
    pair = pair_of()
    pair.a.set_own_addresses("b", (A, A2), pair.now)
    pair.establish()
    before = len(pair.trace)
    pair.a.set_own_addresses("b", (A2,), pair.now)  # the other one carries nothing
    pair.a.go_by("b", first_path(A2, B), {(A, B)}, pair.now)
    pair.run(10)
    nat = "N(NAT_DETECTION_SOURCE_IP),N(NAT_DETECTION_DESTINATION_IP)"
    update = f"a> INFORMATIONAL {{N(UPDATE_SA_ADDRESSES),{nat},N(COOKIE2),{NONE}}}"
    assert [one for one in pair.trace[before:] if one.startswith("a>")] == [
        update,
        "a> INFORMATIONAL {N(COOKIE2)} reply",
    ]
    pair.a.set_own_addresses("b", (A, A2), pair.now)  # it is back
    pair.run(10)
    assert told(pair, "a")[-1] == f"a> INFORMATIONAL {{{MORE}}}"


def test_uplinks_that_come_and_go_are_told_of_once() -> None:
    pair = pair_of()
    pair.a.set_own_addresses("b", (A, A2), pair.now)
    pair.establish()
    for number in range(11):
        pair.a.set_own_addresses("b", (A,) if number % 2 else (A, A2), pair.now)
        pair.run(0.1)
    pair.a.set_own_addresses("b", (A,), pair.now)
    pair.run(10)
    assert len(told(pair, "a")) == 2


def test_who_is_moved_to_another_address_of_ours_hears_of_the_rest() -> None:
    pair = IkePair(a=peer("a", remotes=(B, A2)), b=peer("b", local=None))
    pair.addresses[A2] = "b"
    pair.b.set_own_addresses("a", (B, A2), pair.now)
    pair.establish()
    pair.a.go_by("b", first_path(A, A2), {(A, B)}, pair.now)
    pair.run(5)
    assert told(pair, "b")[-1] == f"b> INFORMATIONAL {{{MORE}}}"
    assert len(told(pair, "b")) == 2


@pytest.mark.parametrize("who", ["a", "b"])
def test_what_was_to_be_told_is_told_after_a_rekey_as_well(who: str) -> None:
    pair = pair_of()
    pair.a.set_own_addresses("b", (A, A2), pair.now)
    pair.establish()
    pair.a.set_own_addresses("b", (A,), pair.now)
    pair.endpoints[who].rekey_ike("b" if who == "a" else "a", pair.now)
    pair.run(10)
    assert told(pair, "a")[-1] == f"a> INFORMATIONAL {{{NONE}}}"
    assert len(told(pair, "a")) == 2


def test_a_peer_that_has_gone_leaves_no_addresses_to_one_of_its_name() -> None:
    pair = pair_of()
    pair.a.set_own_addresses("b", (A, A2), pair.now)
    again = tuple(pair.a.peers.values())
    pair.a.set_peers(())
    pair.a.set_peers(again)
    pair.establish()
    assert not told(pair, "a")


def test_after_a_rekey_and_a_restart_nothing_wrong_is_known() -> None:
    pair = pair_of()
    pair.a.set_own_addresses("b", (A, A2), pair.now)
    pair.establish()
    pair.a.rekey_ike("b", pair.now)
    pair.run(5)
    pair.a.set_own_addresses("b", (A, A2), pair.now)
    pair.run(3)
    assert len(told(pair, "a")) == 1
    pair.restart("a")
    pair.endpoints["a"].set_own_addresses("b", (A,), pair.now)
    pair.run(3)
    assert told(pair, "a")[-1] == f"a> INFORMATIONAL {{{NONE}}}"
