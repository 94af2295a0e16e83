"""Other CHILD_SAs without a pass: the same SAs and policies as a pass would make, or none."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from plutino.config.gateway import Gateway
from plutino.config.load import load_text
from plutino.desired.compile import compile_gateway
from plutino.desired.keying import compile_rekeying
from plutino.desired.remotes import with_remotes
from plutino.desired.state import Surroundings
from plutino.model.child_sa import ChildSa
from plutino.model.numbers import Spi
from plutino.model.path import TunnelPaths
from plutino.model.traffic import NetworkSelector
from plutino.plan.diff import diff
from plutino.plan.step import StepAction
from tests.support.roaming import CHILD, text_of

PEER = CHILD.remote
OLD = CHILD
NEW = replace(CHILD, spi_in=Spi(0x1002), spi_out=Spi(0x2002))
QUIET = replace(NEW, outbound=False)
NARROW = replace(
    NEW,
    local_ts=(NetworkSelector(ip_network("10.1.0.0/16")),),
    remote_ts=(NetworkSelector(ip_network("10.2.0.0/16")),),
)
MOVED = replace(NEW, remote=ip_address("203.0.113.77"))
GATEWAY = load_text(text_of(str(PEER)), "paris.toml")
ANYWHERE = load_text(text_of("any", 'start = "listen"'), "paris.toml")
Several = tuple[ChildSa, ...]


def whole(children: Several, gateway: Gateway = GATEWAY) -> tuple[set[object], set[object]]:
    state = compile_gateway(
        with_remotes(gateway, {"berlin": children}),
        {},
        surroundings=Surroundings(children={"berlin": children}),
        sequences={},
    )
    return set(state.policies), set(state.sas)


@pytest.mark.parametrize(
    ("before", "after", "woken"),
    [
        ((), (OLD,), ("berlin",)),
        ((OLD,), (NEW, replace(OLD, outbound=False)), ()),
        ((OLD,), (OLD, QUIET), ()),
        ((OLD, QUIET), (NEW,), ()),
        ((OLD,), (NARROW,), ()),
        ((), (NARROW,), ("berlin",)),
        ((QUIET,), (NEW,), ("berlin",)),
        ((OLD,), (), ()),
        ((NARROW,), (), ()),
        ((OLD,), (replace(OLD, outbound=False),), ()),
    ],
)
def test_it_ends_where_a_pass_would(before: Several, after: Several, woken: tuple[str]) -> None:
    ways = compile_gateway(GATEWAY, {}, sequences={}).ways
    found = compile_rekeying(GATEWAY, ways, {"berlin": before}, {"berlin": after}, {})
    assert (set(found.there.policies), set(found.there.sas)) == whole(before)
    assert (set(found.wanted.policies), set(found.wanted.sas)) == whole(after)
    assert (found.woken, found.left) == (woken, frozenset())
    sends = [any(one.outbound for one in several) for several in (before, after)]
    assert found.ended == (("berlin",) if sends == [True, False] else ())


def test_only_what_is_new_is_installed_and_only_what_is_old_removed() -> None:
    ways = compile_gateway(GATEWAY, {}, sequences={}).ways
    found = compile_rekeying(GATEWAY, ways, {"berlin": (OLD, QUIET)}, {"berlin": (NEW,)}, {})
    steps = [
        (one.action, str(getattr(one.subject, "spi", "")))
        for one in diff(found.wanted, found.there)
    ]
    assert steps == [
        (StepAction.CREATE, str(NEW.spi_out)),
        (StepAction.DELETE, str(OLD.spi_in)),
        (StepAction.DELETE, str(OLD.spi_out)),
    ]


def test_the_policies_of_one_that_has_ended_stay() -> None:
    ways = compile_gateway(GATEWAY, {}, sequences={}).ways
    found = compile_rekeying(GATEWAY, ways, {"berlin": (OLD,)}, {"berlin": ()}, {})
    steps = {
        (one.action, str(getattr(one.subject, "spi", "")))
        for one in diff(found.wanted, found.there)
    }
    assert steps == {(StepAction.DELETE, str(OLD.spi_in)), (StepAction.DELETE, str(OLD.spi_out))}
    assert found.wanted.policies


@pytest.mark.parametrize(("before", "after"), [((OLD,), (MOVED,)), ((), (MOVED,)), ((MOVED,), ())])
def test_what_moves_is_for_a_pass_and_others_are_not(before: Several, after: Several) -> None:
    ways = compile_gateway(GATEWAY, {}, sequences={}).ways
    found = compile_rekeying(GATEWAY, ways, {"berlin": before}, {"berlin": after}, {})
    assert found.left == {"berlin"}
    assert not (*found.wanted.sas, *found.wanted.policies, *found.there.policies)


def test_a_tunnel_that_the_last_pass_did_not_know_is_for_a_pass() -> None:
    assert compile_rekeying(GATEWAY, {}, {}, {"berlin": (OLD,)}, {}).left == {"berlin"}


def test_a_path_that_is_lost_is_for_a_pass() -> None:
    ways = compile_gateway(GATEWAY, {}, sequences={}).ways
    path = replace(ways["berlin"].active, usable=False)
    lost = {"berlin": TunnelPaths((path,), path, path)}
    assert compile_rekeying(GATEWAY, lost, {}, {"berlin": (OLD,)}, {}).left == {"berlin"}


@pytest.mark.parametrize(
    ("before", "after", "woken"),
    [
        ((), (OLD,), ("berlin",)),
        ((), (NARROW,), ("berlin",)),
        ((OLD,), (NEW, replace(OLD, outbound=False)), ()),
        ((OLD, QUIET), (NEW,), ()),
    ],
)
def test_a_peer_from_anywhere_comes_without_a_pass(
    before: Several, after: Several, woken: tuple[str]
) -> None:
    ways = compile_gateway(ANYWHERE, {}, sequences={}).ways
    found = compile_rekeying(ANYWHERE, ways, {"berlin": before}, {"berlin": after}, {})
    assert (set(found.there.policies), set(found.there.sas)) == whole(before, ANYWHERE)
    assert (set(found.wanted.policies), set(found.wanted.sas)) == whole(after, ANYWHERE)
    assert (found.woken, found.ended, found.left) == (woken, (), frozenset())


def test_the_policies_of_a_peer_from_anywhere_that_goes_stay_until_the_pass() -> None:
    ways = compile_gateway(ANYWHERE, {}, sequences={}).ways
    found = compile_rekeying(ANYWHERE, ways, {"berlin": (OLD,)}, {"berlin": ()}, {})
    policies, _ = whole((OLD,), ANYWHERE)
    assert set(found.wanted.policies) == set(found.there.policies) == policies
    assert found.wanted.sas == ()
    assert (found.ended, found.left) == (("berlin",), frozenset())


def test_a_peer_from_anywhere_that_is_back_before_the_pass_gets_the_policies_that_stayed() -> None:
    """Those are of where it was: as others they could not be made, for they are there."""
    ways = compile_gateway(ANYWHERE, {}, sequences={}).ways
    gone = compile_rekeying(ANYWHERE, ways, {"berlin": (OLD,)}, {"berlin": ()}, {})
    still = compile_rekeying(ANYWHERE, ways, {"berlin": ()}, {"berlin": ()}, {}, stay=gone.stay)
    assert still.stay == gone.stay
    assert set(still.wanted.policies) == set(still.there.policies) == set(gone.wanted.policies)
    back = compile_rekeying(
        ANYWHERE, ways, {"berlin": ()}, {"berlin": (MOVED,)}, {}, stay=gone.stay
    )
    assert set(back.there.policies) == set(gone.wanted.policies)
    assert (set(back.wanted.policies), set(back.wanted.sas)) == whole((MOVED,), ANYWHERE)
    assert (back.woken, back.left, back.stay) == (("berlin",), frozenset(), {})


def test_a_peer_from_anywhere_that_moves_is_for_a_pass() -> None:
    ways = compile_gateway(ANYWHERE, {}, sequences={}).ways
    found = compile_rekeying(ANYWHERE, ways, {"berlin": (OLD,)}, {"berlin": (MOVED,)}, {})
    assert found.left == {"berlin"}
