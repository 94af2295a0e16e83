"""Routes that cover a peer's own address stand apart, behind rules that outer packets pass by."""

import os
from ipaddress import ip_address, ip_network

import pytest

from plutino.config.load import load_text
from plutino.config.static_keys import generate_pair
from plutino.desired.compile import compile_gateway
from plutino.desired.instance import DEFAULT_PRIORITY
from plutino.desired.rules import DEFAULT_TABLE, covers_a_peer, is_our_rule
from plutino.desired.state import DesiredState
from plutino.model.errors import ConfigError
from plutino.model.link import MAIN_TABLE
from plutino.model.numbers import Mark
from plutino.model.rule import Rule
from plutino.model.subject import describe

P, T, MASK = DEFAULT_PRIORITY, DEFAULT_TABLE, Mark(0, 0xFFFF)


def compiled(routes: str, extra: str = "") -> DesiredState:
    text = f"""
{extra}
[tunnels.berlin]
interface = "ipsec1"
local = "192.0.2.1"
remote = "198.51.100.2"
routes = [{routes}]
static.key-file = "berlin.keys"
"""
    gateway = load_text(text, "paris.toml")
    return compile_gateway(gateway, {"berlin": generate_pair(os.urandom)[0]}, sequences={})


def test_a_route_that_covers_no_peer_needs_no_rule() -> None:
    state = compiled('"10.2.0.0/16", "::/1"')
    assert state.rules == ()
    assert {route.table for route in state.routes} == {MAIN_TABLE}


def test_the_peer_itself_needs_one_rule_before_main() -> None:
    state = compiled('"198.51.100.2/32", "10.2.0.0/16"')
    assert state.rules == (Rule(4, P + 1, T, mark=MASK),)
    assert {str(one.destination): one.table for one in state.routes} == {
        "198.51.100.2/32": T,
        "10.2.0.0/16": MAIN_TABLE,
    }


def test_everything_leaves_main_what_it_knows_better() -> None:
    state = compiled('"0.0.0.0/0"')
    assert state.rules == (
        Rule(4, P, MAIN_TABLE, suppress_prefix_length=0),
        Rule(4, P + 1, T, mark=MASK),
    )
    assert [describe(rule) for rule in state.rules] == [
        f"rule family inet priority {P} lookup main suppress_prefixlength 0",
        f"rule family inet priority {P + 1} fwmark 0x0/0xffff lookup {T}",
    ]


def test_prefixes_of_several_lengths_keep_their_order_beside_those_of_main() -> None:
    state = compiled('"0.0.0.0/0", "198.51.0.0/16"')
    assert state.rules == (
        Rule(4, P, MAIN_TABLE, suppress_prefix_length=16),
        Rule(4, P + 1, T, mark=MASK, suppress_prefix_length=15),
        Rule(4, P + 2, MAIN_TABLE, suppress_prefix_length=0),
        Rule(4, P + 3, T, mark=MASK),
    )


def test_a_prefix_covers_whichever_peer_lies_in_it() -> None:
    peers = ["10.0.0.0", "10.0.0.255", "10.0.1.7", "203.0.113.9", "2001:db8::1", "2001:db8::ffff"]
    tables = [
        f'[tunnels.t{number}]\ninterface = "ipsec{number + 1}"\nremote = "{peer}"\n'
        f'local = "{"2001:db8:f::1" if ":" in peer else "192.0.2.1"}"\nstatic.key-file = "k"\n'
        for number, peer in enumerate(peers)
    ]
    gateway = load_text("\n".join(tables), "paris.toml")
    networks = ["10.0.0.0/24", "10.0.0.0/32", "10.0.0.128/25", "10.0.1.0/29", "10.0.1.8/29"]
    networks += ["9.0.0.0/8", "203.0.113.8/30", "2001:db8::/120", "2001:db8::2/127", "0.0.0.0/0"]
    networks += ["2001:db8::ffff/128", "2001:db9::/32", "255.255.255.255/32", "::/0"]
    for network in map(ip_network, networks):
        within = [one for one in map(ip_address, peers) if one in network]
        assert covers_a_peer(gateway, gateway.tunnels["t0"], network) is bool(within), network


def test_every_route_has_its_unreachable_twin_in_its_own_table() -> None:
    state = compiled('"0.0.0.0/0", "10.2.0.0/16"')
    twins = {(one.destination, one.table) for one in state.routes if one.interface is None}
    ways = {(one.destination, one.table) for one in state.routes if one.interface}
    assert (
        twins
        == ways
        == {
            (ip_network("0.0.0.0/0"), T),
            (ip_network("10.2.0.0/16"), MAIN_TABLE),
        }
    )


def test_mask_and_table_follow_the_configuration() -> None:
    state = compiled('"0.0.0.0/0"', "mark-mask = 0xff00\ntable = 77")
    assert state.rules[1] == Rule(4, P + 1, 77, mark=Mark(0, 0xFF00))


def test_in_a_namespace_nothing_can_loop() -> None:
    assert compiled('"0.0.0.0/0"', '[interfaces.ipsec1]\nnamespace = "red"').rules == ()


def test_instances_have_rules_and_tables_of_their_own() -> None:
    one = compiled('"0.0.0.0/0"')
    other = compiled('"0.0.0.0/0"', 'instance = "other"')
    assert all(is_our_rule(rule, "default") for rule in one.rules)
    assert all(is_our_rule(rule, "other") for rule in other.rules)
    assert not any(is_our_rule(rule, "other") for rule in one.rules)
    assert {rule.table for rule in one.rules} & {rule.table for rule in other.rules} == {MAIN_TABLE}


def test_an_output_mark_outside_the_mask_is_refused() -> None:
    text = """
[tunnels.berlin]
interface = "ipsec1"
local = "192.0.2.1"
remote = "198.51.100.2"
routes = ["0.0.0.0/0"]
set-mark-out = "0x10000"
static.key-file = "berlin.keys"
"""
    with pytest.raises(ConfigError, match=r"set-mark-out: .* none of the bits"):
        load_text(text, "paris.toml")
