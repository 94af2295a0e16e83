"""What a tunnel to a peer compiles to whose address is not known, and where it is found."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from plutino.config.load import load_text
from plutino.desired.compile import compile_gateway
from plutino.desired.remotes import NOT_RESOLVED, Resolved, with_remotes
from plutino.desired.rules import DEFAULT_TABLE
from plutino.desired.state import DesiredState, Surroundings
from plutino.model.child_sa import ChildSa
from plutino.model.link import MAIN_TABLE, RouteType
from plutino.model.numbers import Mark
from plutino.model.policy import Direction
from tests.support.roaming import CHILD, NAME, text_of

RESOLVED: Resolved = {(NAME, 4): ip_address("198.51.100.2")}


def compiled(
    text: str,
    children: Mapping[str, tuple[ChildSa, ...]] | None = None,
    resolved: Resolved = NOT_RESOLVED,
) -> DesiredState:
    children = children or {}
    gateway = with_remotes(load_text(text, "gateway.toml"), children, resolved)
    surroundings = Surroundings(children=children)
    return compile_gateway(gateway, {}, surroundings=surroundings, sequences={})


@pytest.mark.parametrize(
    ("remote", "ike"), [("any", 'start = "listen"'), (NAME, ""), (NAME, 'start = "on-traffic"')]
)
def test_a_peer_that_is_nowhere(remote: str, ike: str) -> None:
    """Everything that keeps packets from leaving in clear, and nothing that takes them."""
    state = compiled(text_of(remote, ike))
    assert (state.sas, state.policies, state.probes) == ((), (), ())
    (interface,) = state.interfaces
    assert interface.dormant
    assert str(state.addresses[0].address) == "10.255.0.0/31"
    network = ip_network("10.2.0.0/16")
    kinds = {one.route_type for one in state.routes if one.destination == network}
    assert kinds == {RouteType.UNICAST, RouteType.UNREACHABLE}
    assert state.ways["berlin"].active.remote.is_unspecified
    assert not state.ways["berlin"].lost


def test_a_name_that_is_resolved_has_policies() -> None:
    state = compiled(text_of(NAME), resolved=RESOLVED)
    assert state.sas == ()
    (first, *_) = [one for one in state.policies if one.direction is Direction.OUT]
    assert str(first.templates[0].destination) == "198.51.100.2"
    assert str(state.ways["berlin"].active.remote) == "198.51.100.2"


@pytest.mark.parametrize("remote", ["any", NAME])
def test_where_ike_has_found_the_peer_counts_more_than_its_name(remote: str) -> None:
    text = text_of(remote, 'start = "listen"')
    state = compiled(text, {"berlin": (CHILD,)}, RESOLVED)
    assert {str(one.destination) for one in state.sas} == {"192.0.2.1", "203.0.113.9"}
    outward = [one for one in state.policies if one.direction is Direction.OUT]
    assert {str(one.templates[0].destination) for one in outward} == {"203.0.113.9"}
    assert not state.interfaces[0].dormant
    assert str(state.ways["berlin"].active.remote) == "203.0.113.9"


def test_of_several_children_the_one_that_sends_counts() -> None:
    old = replace(CHILD, remote=ip_address("203.0.113.8"), outbound=False)
    gateway = load_text(text_of(NAME), "gateway.toml")
    for children in ((old, CHILD), (CHILD, old)):
        found = with_remotes(gateway, {"berlin": children}).tunnels["berlin"]
        assert str(found.remote) == "203.0.113.9"
    (only,) = with_remotes(gateway, {"berlin": (old,)}).tunnels.values()
    assert str(only.remote) == "203.0.113.8"


def test_a_name_that_leads_to_ourselves_or_to_the_other_ip_version_leads_nowhere() -> None:
    gateway = load_text(text_of(NAME), "gateway.toml")
    several: tuple[Resolved, ...] = (
        {(NAME, 4): ip_address("192.0.2.1")},
        {(NAME, 6): ip_address("2001:db8::2")},
        {("other.example", 4): ip_address("198.51.100.2")},
    )
    for resolved in several:
        assert with_remotes(gateway, {}, resolved) is gateway


def test_a_peer_with_an_address_is_left_alone() -> None:
    gateway = load_text(text_of("198.51.100.2"), "gateway.toml")
    assert with_remotes(gateway, {"berlin": (CHILD,)}, RESOLVED) is gateway


def test_the_link_local_address_stays_where_the_peer_is_found() -> None:
    states = (
        compiled(text_of(NAME)),
        compiled(text_of(NAME), resolved=RESOLVED),
        compiled(text_of(NAME), {"berlin": (CHILD,)}),
    )
    assert len({state.addresses for state in states}) == 1
    assert compiled(text_of("any", 'start = "listen"')).addresses != states[0].addresses


@pytest.mark.parametrize("resolved", [NOT_RESOLVED, RESOLVED])
def test_any_network_may_hold_a_peer_that_may_be_anywhere(resolved: Resolved) -> None:
    """Its first packet comes before it is known, and the answer must not go into a tunnel."""
    state = compiled(text_of(NAME, routes='"10.2.0.0/16", "2001:db8:2::/48"'), resolved=resolved)
    mask = Mark(0, 0xFFFF)
    assert [(one.version, one.table) for one in state.rules if one.mark == mask] == [
        (4, DEFAULT_TABLE)
    ]
    tables = {str(one.destination): one.table for one in state.routes}
    assert tables["10.2.0.0/16"] == DEFAULT_TABLE
    assert tables["10.255.0.0/31"] == tables["2001:db8:2::/48"] == MAIN_TABLE


def test_a_tunnel_at_the_ike_sa_of_another_has_its_peer_there() -> None:
    more = text_of("any").replace("berlin]", "more]").replace("berlin.ike]", "more.ike]")
    more = more.replace("ipsec1", "ipsec2").replace("10.2.", "10.3.").replace("255.0.0", "255.1.0")
    own = 'psk-file = "berlin.psk"\nremote-id = "berlin.example"'
    more = more.replace(own, 'ike-sa-of = "berlin"')
    selectors = 'local-ts = ["10.{}.0.0/16"]\nroutes'
    text = text_of("any", 'start = "listen"').replace("routes", selectors.format(1))
    text += more.replace("routes", selectors.format(4)) + 'start = "listen"\n'
    found = with_remotes(load_text(text, "gateway.toml"), {"berlin": (CHILD,)})
    assert {str(one.remote) for one in found.tunnels.values()} == {"203.0.113.9"}
