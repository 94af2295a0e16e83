"""Which way a tunnel takes, and what stands on which."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from plutino.config.load import load_text
from plutino.config.numbers import standby_keys
from plutino.desired.compile import compile_gateway
from plutino.desired.paths import choose_paths
from plutino.desired.sequences import SavedSequence, Sequences
from plutino.desired.state import DesiredState, ObservedState, Surroundings
from plutino.model.interface import InterfaceAddress
from plutino.model.link import Link, Namespace, link_alias
from plutino.model.numbers import Mark
from plutino.model.path import TunnelPaths
from plutino.model.policy import Direction
from plutino.model.probe import Ways
from plutino.model.sa import ReplayState, SaDirection, SecurityAssociation
from plutino.plan.diff import diff
from plutino.plan.step import StepAction
from tests.support.gateways import keys_of, refusal

UPLINKS = """
[uplinks.isp1]
interface = "eth1"
gateway = "192.0.2.254"
[uplinks.isp2]
interface = "eth2"
gateway = "203.0.113.254"
priority = 5
"""
TUNNEL = """
[tunnels.berlin]
interface = "ipsec1"
uplinks = ["isp2", "isp1"]
remote = "198.51.100.2"
static.key-file = "berlin.keys"
"""
STANDBY = '[[tunnels.berlin.standby]]\nuplink = "isp2"\nkey-file = "second.keys"\n'
LINKS: dict[tuple[Namespace, str], Link] = {
    (None, "eth1"): Link(2, "eth1", "veth", 1500, True),
    (None, "eth2"): Link(3, "eth2", "veth", 1500, True),
}
ADDRESSES: dict[str, tuple[InterfaceAddress, ...]] = {
    "eth1": (ip_interface("192.0.2.1/24"), ip_interface("fe80::1/64")),
    "eth2": (ip_interface("203.0.113.1/24"),),
}
AROUND = Surroundings(links=LINKS, addresses=ADDRESSES)


def paths(text: str, around: Surroundings = AROUND) -> TunnelPaths:
    return choose_paths(load_text(text, "gateway.toml"), "berlin", around)


def compiled(
    text: str, around: Surroundings = AROUND, sequences: Sequences | None = None
) -> DesiredState:
    gateway = load_text(text, "gateway.toml")
    keys = dict(keys_of(gateway))
    second = keys_of(load_text(text.replace("[tunnels.berlin", "[tunnels.zurich"), "x"))["zurich"]
    spare = replace(second.inbound, spi=second.inbound.spi.__class__(0x3001))
    other = replace(second.outbound, spi=second.outbound.spi.__class__(0x4001))
    keys[standby_keys("berlin", 0)] = replace(second, inbound=spare, outbound=other)
    return compile_gateway(gateway, keys, surroundings=around, sequences=sequences or {})


def test_the_lowest_priority_number_is_the_best_and_marks_tell_uplinks_apart() -> None:
    found = paths(UPLINKS + TUNNEL)
    assert [one.uplink for one in found.every] == ["isp1", "isp2"]
    assert [str(one.local) for one in found.every] == ["192.0.2.1", "203.0.113.1"]
    assert [one.set_mark for one in found.every] == [
        Mark(0x10001, 0xFFFFFF),
        Mark(0x20001, 0xFFFFFF),
    ]
    assert found.active == found.own == found.every[0]


@pytest.mark.parametrize(
    "around",
    [
        replace(AROUND, ways=Ways(frozenset({"isp1 to 198.51.100.2"}))),
        replace(AROUND, links=LINKS | {(None, "eth1"): replace(LINKS[None, "eth1"], up=False)}),
        replace(
            AROUND, links=LINKS | {(None, "eth1"): replace(LINKS[None, "eth1"], carrier=False)}
        ),
        replace(AROUND, links={(None, "eth2"): LINKS[None, "eth2"]}),
        replace(AROUND, addresses={"eth2": ADDRESSES["eth2"]}),
    ],
    ids=["probe", "down", "no carrier", "no device", "no address"],
)
def test_what_makes_an_uplink_unusable(around: Surroundings) -> None:
    found = paths(UPLINKS + TUNNEL, around)
    assert found.active.uplink == "isp2"
    assert not found.lost


def test_without_a_next_hop_only_neighbours_are_reached() -> None:
    text = (UPLINKS + TUNNEL).replace('gateway = "192.0.2.254"\n', "")
    assert paths(text).active.uplink == "isp2"
    known = replace(AROUND, gateways={("eth1", 4): ip_address("192.0.2.254")})
    assert paths(text, known).active.uplink == "isp1"
    beside = text.replace("198.51.100.2", "192.0.2.99")
    assert paths(beside).active.uplink == "isp1"


def test_with_nothing_left_the_best_one_stays() -> None:
    lost = frozenset({"isp1 to 198.51.100.2", "isp2 to 198.51.100.2"})
    found = paths(UPLINKS + TUNNEL, replace(AROUND, ways=Ways(lost)))
    assert found.active.uplink == "isp1"
    assert found.lost


def test_with_nothing_left_one_that_answers_again_will_do() -> None:
    lost = frozenset({"isp1 to 198.51.100.2", "isp2 to 198.51.100.2"})
    around = replace(AROUND, ways=Ways(lost, frozenset({"isp2 to 198.51.100.2"})))
    found = paths(UPLINKS + TUNNEL, around)
    assert (found.active.uplink, found.lost) == ("isp2", True)


def test_targets_judge_a_whole_uplink() -> None:
    text = UPLINKS.replace('"eth1"', '"eth1"\nprobe.targets = ["192.0.2.254"]') + TUNNEL
    state = compiled(text)
    assert {one.key: str(one.destinations[0]) for one in state.probes} == {
        "uplink isp1 IPv4": "192.0.2.254",
        "isp2 to 198.51.100.2": "198.51.100.2",
    }
    assert [one.mark for one in state.probes] == [0x1FFFF, 0x2FFFF]


def test_standby_sas_stay_and_only_the_policy_changes() -> None:
    before = compiled(UPLINKS + TUNNEL + STANDBY)
    lost = replace(AROUND, ways=Ways(frozenset({"isp1 to 198.51.100.2"})))
    after = compiled(UPLINKS + TUNNEL + STANDBY, lost)
    assert before.sas == after.sas
    assert len(before.sas) == 4
    changed = [
        one for one, other in zip(after.policies, before.policies, strict=True) if one != other
    ]
    assert {one.direction for one in changed} == {Direction.OUT}
    assert {str(one.templates[0].source) for one in changed} == {"203.0.113.1"}
    inward = [one for one in after.policies if one.direction is Direction.IN]
    assert {str(one.templates[0].source) for one in inward} == {"0.0.0.0"}


def observed(state: DesiredState, sas: tuple[SecurityAssociation, ...]) -> ObservedState:
    (one,) = state.interfaces
    link = Link(
        9, one.name, "tun", one.mtu, True, link_alias(state.instance), one.if_id, attached=True
    )
    return ObservedState(
        links=(link,),
        policies=state.policies,
        sas=sas,
        routes=state.routes,
        rules=state.rules,
        netfilter=state.netfilter,
    )


def test_without_standby_the_sas_move() -> None:
    before = compiled(UPLINKS + TUNNEL)
    lost = replace(AROUND, ways=Ways(frozenset({"isp1 to 198.51.100.2"})))
    after = compiled(UPLINKS + TUNNEL, lost)
    steps = diff(after, observed(before, before.sas))
    moves = [step for step in steps if isinstance(step.subject, SecurityAssociation)]
    assert [step.action for step in moves] == [StepAction.UPDATE] * 2
    assert {step.why for step in moves} == {"it moves"}
    assert {step.previous for step in moves} == set(before.sas)


def test_numbers_that_a_key_has_used_on_one_path_count_on_every_other() -> None:
    used: Sequences = {
        (ip_address("192.0.2.1"), 0x1001, 50): SavedSequence(0, 77),
        (ip_address("198.51.100.2"), 0x2001, 50): SavedSequence(1 << 24, 0),
    }
    lost = replace(AROUND, ways=Ways(frozenset({"isp1 to 198.51.100.2"})))
    state = compiled(UPLINKS + TUNNEL, lost, used)
    by_direction = {sa.direction: sa.replay for sa in state.sas}
    assert by_direction[SaDirection.OUT] == ReplayState(oseq=1 << 24)
    assert by_direction[SaDirection.IN].seq == 77
    assert by_direction[SaDirection.IN].bitmap == (1 << 1024) - 1


@pytest.mark.parametrize(
    ("change", "key", "why"),
    [
        (('uplinks = ["isp2", "isp1"]\n', ""), "tunnels.berlin.local", "is missing"),
        (
            ('remote = "198', 'local = "192.0.2.1"\nremote = "198'),
            "tunnels.berlin.local",
            "uplink which carries",
        ),
        (('"isp2", "isp1"', '"isp3"'), "tunnels.berlin.uplinks[0]", "no uplink 'isp3'"),
        (('"isp2", "isp1"', '"isp1", "isp1"'), "tunnels.berlin.uplinks[1]", "already"),
        (("second.keys", "berlin.keys"), "tunnels.berlin.standby[0].key-file", "another path"),
        (
            ('uplink = "isp2"\nkey', 'uplink = "isp4"\nkey'),
            "tunnels.berlin.standby[0].uplink",
            "no uplink 'isp4'",
        ),
        (
            ('remote = "198.51.100.2"', 'remote = "198.51.100.2"\nmode = "transport"'),
            "tunnels.berlin.mode",
            "may change",
        ),
        (
            ('remote = "198.51.100.2"', 'remote = "198.51.100.2"\nremotes = ["2001:db8::1"]'),
            "tunnels.berlin.remotes[0]",
            "IPv6",
        ),
        (
            ('"192.0.2.254"', '["192.0.2.254", "192.0.2.253"]'),
            "uplinks.isp1.gateway",
            "two addresses",
        ),
        (("[uplinks.isp1]", "uplink-mask = 0xff\n[uplinks.isp1]"), "uplink-mask", "shares bits"),
    ],
)
def test_what_is_refused(change: tuple[str, str], key: str, why: str) -> None:
    text = UPLINKS + TUNNEL + STANDBY
    assert change[0] in text
    problem = refusal(text.replace(*change, 1), key)
    assert why in problem.why
    assert problem.hint
