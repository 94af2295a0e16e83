"""Marks of others that would take our packets, or let theirs pass by us."""

from ipaddress import ip_network
from typing import Any

import pytest

from plutino.config.load import load_text
from plutino.desired.mark_clashes import dropped_marks, mark_clashes
from plutino.desired.state import DesiredState
from plutino.model.mark_use import MarkDropper, MarkRule, MarkSetter, MarkUses
from plutino.model.numbers import Mark
from plutino.netfilter.foreign_marks import iptables_mark_uses, nft_mark_uses
from tests.support.gateways import compiled, gateway_text

MARK = {"meta": {"key": "mark"}}
PLAIN = gateway_text('routes = ["10.2.0.0/16"]')
DEFAULT = gateway_text('routes = ["0.0.0.0/0"]')


def state(text: str) -> DesiredState:
    return compiled(text)


def clashes(
    text: str, rules: tuple[MarkRule, ...] = (), setters: tuple[MarkSetter, ...] = ()
) -> list[str]:
    gateway = load_text(text, "gateway.toml")
    found = mark_clashes(gateway, state(text), MarkUses(rules, setters))
    assert all(one.hint for one in found)
    return [f"{one.key}: {one.why}" for one in found]


@pytest.mark.parametrize(
    ("mark", "priority", "is_clash"),
    [
        (Mark(1), 100, True),
        (Mark(1, 0xFF), 100, True),
        (Mark(1, 0xFF), 32765, True),
        (Mark(1, 0xFF), 32766, False),
        (Mark(2), 100, False),
        (Mark(0x100, 0xFF00), 100, False),
        (Mark(0, 0xFF), 100, False),
    ],
)
def test_rules_of_others_that_take_outer_packets(mark: Mark, priority: int, is_clash: bool) -> None:
    found = clashes(PLAIN, (MarkRule(4, priority, mark, 77),))
    assert bool(found) is is_clash
    if is_clash:
        assert f"ip rule {priority} (fwmark {mark} lookup 77) takes outer packets" in found[0]


def test_a_mark_that_was_asked_for_is_meant_for_others() -> None:
    text = gateway_text('set-mark-out = "0x1"\nroutes = ["10.2.0.0/16"]')
    assert clashes(text, (MarkRule(4, 100, Mark(1), 77),)) == []


@pytest.mark.parametrize(
    ("text", "setter", "key"),
    [
        (DEFAULT, MarkSetter("nft", 0x4), "mark-mask"),
        (DEFAULT, MarkSetter("nft", 0x40000), None),
        (PLAIN, MarkSetter("nft", 0x4), None),
        (DEFAULT, MarkSetter("nft", 0x4, of_connection=True), None),
        (DEFAULT, MarkSetter("nft", 0xFFFF, of_connection=True), "mark-mask"),
    ],
)
def test_setters_of_others_that_pass_by_the_tunnel(
    text: str, setter: MarkSetter, key: str | None
) -> None:
    assert [one.partition(":")[0] for one in clashes(text, setters=(setter,))] == (
        [key] if key else []
    )


def test_bits_of_uplinks() -> None:
    uplink = '[uplinks.isp1]\ninterface = "eth0"\n'
    text = uplink + PLAIN.replace('local = "192.0.2.1"', 'uplinks = ["isp1"]')
    setters = (MarkSetter("nft", 0x20000, of_connection=True),)
    assert clashes(text, setters=setters)[0].startswith("uplink-mask: nft sets bits 0x20000")


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (5, 5),
        ({"|": [{"&": [MARK, 0xFFFF00FF]}, 0x100]}, 0x100),
        ({"^": [MARK, 0x10]}, 0x10),
        ({"&": [MARK, 0xFF]}, 0),
        ({"ct": {"key": "mark"}}, 0),
        ({"numgen": {"mode": "inc", "mod": 4, "offset": 2}}, 0b111),
        ({"map": {"key": MARK, "data": {"set": [[1, 0x10], [2, 0x20]]}}}, 0x30),
        ({"something": "new"}, 0),
    ],
)
def test_what_a_rule_of_nftables_sets(value: Any, bits: int) -> None:
    rule = {
        "family": "inet",
        "table": "t",
        "chain": "c",
        "handle": 7,
        "expr": [{"mangle": {"key": MARK, "value": value}}],
    }
    found = nft_mark_uses({"nftables": [{"metainfo": {}}, {"rule": rule}]}, "ours").setters
    assert [one.bits for one in found] == ([bits] if bits else [])
    assert all(one.where == "nftables inet t c handle 7" for one in found)
    ours = {"nftables": [{"rule": rule | {"table": "ours"}}]}
    assert nft_mark_uses(ours, "ours") == MarkUses()


OTHER = frozenset({ip_network("0.0.0.0/0")})
"""What another instance of plutino may take into its tunnels."""


@pytest.mark.parametrize(
    ("text", "rule", "key"),
    [
        # wg-quick's takes unmarked packets too: it goes by no mark of ours.
        (PLAIN, MarkRule(4, 100, Mark(0xCA6C), 51820, inverted=True), None),
        (PLAIN, MarkRule(4, 100, Mark(0, 0xFF), 77, inverted=True), "tunnels.berlin"),
        (PLAIN, MarkRule(6, 100, Mark(1), 77), None),
        (DEFAULT, MarkRule(4, 100, Mark(0, 0xFFFF), 9, leads_to=OTHER), None),
        (DEFAULT, MarkRule(4, 100, Mark(0, 0xFF00), 9, leads_to=OTHER), "mark-mask"),
        (DEFAULT, MarkRule(4, 100, Mark(0, 0xFF00), 9), None),
        (PLAIN, MarkRule(4, 100, Mark(0, 0xFF00), 9, leads_to=OTHER), None),
    ],
)
def test_rules_that_ask_for_no_mark(text: str, rule: MarkRule, key: str | None) -> None:
    """Inverted ones, and those of other instances, whose outer packets may come in here."""
    assert [one.partition(":")[0] for one in clashes(text, (rule,))] == ([key] if key else [])


def test_another_plutino_marks_answers_as_we_do() -> None:
    assert clashes(DEFAULT, setters=(MarkSetter("nft", 0xFF, kindred=True),)) == []


@pytest.mark.parametrize(
    ("text", "clears", "is_clash"),
    [(DEFAULT, 0xFFFFFFFF, True), (DEFAULT, 0x3F00, False), (PLAIN, 0xFFFFFFFF, False)],
)
def test_who_takes_marks_away(text: str, clears: int, is_clash: bool) -> None:
    found = clashes(text, setters=(MarkSetter("nft", 0, clears=clears),))
    assert bool(found) is is_clash
    if is_clash:
        assert "nft takes bits 0x1 from every packet" in found[0]


def test_who_drops_packets_with_our_mark() -> None:
    gateway = load_text(PLAIN, "gateway.toml")
    several = (MarkDropper("nft", Mark(1, 0xF)), MarkDropper("xt", Mark(2)))
    told = dropped_marks(gateway, state(PLAIN), MarkUses(droppers=several))
    assert len(told) == 1
    assert told[0].startswith("nft drops packets with mark 0x1/0xf")


def chain_of(hook: str | None) -> dict[str, Any]:
    base = {} if hook is None else {"hook": hook}
    return {"chain": {"family": "ip", "table": "t", "name": "c", **base}}


def rule_of(*parts: Any) -> dict[str, Any]:
    return {"rule": {"family": "ip", "table": "t", "chain": "c", "handle": 3, "expr": list(parts)}}


@pytest.mark.parametrize(
    ("hook", "parts", "clears"),
    [
        ("output", [{"mangle": {"key": MARK, "value": 0}}], 0xFFFFFFFF),
        ("output", [{"counter": None}, {"mangle": {"key": MARK, "value": 0}}], 0xFFFFFFFF),
        ("output", [{"mangle": {"key": MARK, "value": {"ct": {"key": "mark"}}}}], 0xFFFFFFFF),
        ("output", [{"mangle": {"key": MARK, "value": {"&": [MARK, 0xFFFF0000]}}}], 0xFFFF),
        ("output", [{"mangle": {"key": MARK, "value": {"|": [MARK, 0x10]}}}], 0),
        ("output", [{"match": {}}, {"mangle": {"key": MARK, "value": 0}}], 0),
        ("prerouting", [{"mangle": {"key": MARK, "value": 0}}], 0),
        (None, [{"mangle": {"key": MARK, "value": 0}}], 0),
    ],
)
def test_what_a_rule_of_nftables_takes_from_every_packet(
    hook: str | None, parts: list[Any], clears: int
) -> None:
    found = nft_mark_uses({"nftables": [chain_of(hook), rule_of(*parts)]}, "ours").setters
    assert [one.clears for one in found if one.clears] == ([clears] if clears else [])


@pytest.mark.parametrize(
    ("hook", "match", "marks"),
    [
        ("output", {"op": "==", "left": MARK, "right": 1}, [Mark(1)]),
        ("output", {"op": "==", "left": {"&": [MARK, 0xFF]}, "right": 1}, [Mark(1, 0xFF)]),
        ("output", {"op": "==", "left": MARK, "right": {"set": [1, 2]}}, [Mark(1), Mark(2)]),
        ("output", {"op": "!=", "left": MARK, "right": 1}, []),
        ("output", {"op": "==", "left": {"ct": {"key": "mark"}}, "right": 1}, []),
        ("input", {"op": "==", "left": MARK, "right": 1}, []),
        (None, {"op": "==", "left": MARK, "right": 1}, [Mark(1)]),
    ],
)
def test_what_a_rule_of_nftables_drops(
    hook: str | None, match: dict[str, Any], marks: list[Mark]
) -> None:
    dropping = rule_of({"match": match}, {"drop": None})
    found = nft_mark_uses({"nftables": [chain_of(hook), dropping]}, "ours").droppers
    assert [one.mark for one in found] == marks
    accepting = rule_of({"match": match}, {"accept": None})
    assert not nft_mark_uses({"nftables": [chain_of(hook), accepting]}, "ours").droppers


def test_what_rules_of_iptables_do() -> None:
    text = """\
*mangle
:PREROUTING ACCEPT [0:0]
-A MARK-ISP1 -j MARK --set-xmark 0x1/0xffffffff
-A MARK-ISP1 -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff
-A OUTPUT -d 192.0.2.9/32 -j CONNMARK --set-xmark 0x2/0xff
-A OUTPUT -m mark --mark 0x8 -j ACCEPT
-A PREROUTING -p tcp -j TPROXY --on-port 3129 --on-ip 0.0.0.0 --tproxy-mark 0x10/0x10
-A OUTPUT -j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff
-A OUTPUT -j MARK --set-xmark 0x0/0xffff
-A OUTPUT -m mark --mark 0x4/0xf -j DROP
-A OUTPUT -m mark ! --mark 0x4/0xf -j DROP
COMMIT
"""
    found = iptables_mark_uses(text, "iptables")
    assert [(one.bits, one.of_connection, one.clears) for one in found.setters] == [
        (1, False, 0),
        (2, True, 0),
        (0x10, False, 0),
        (0, False, 0xFF),
        (0, False, 0xFFFF),
    ]
    where = "iptables -t mangle -A MARK-ISP1 -j MARK --set-xmark 0x1/0xffffffff"
    assert found.setters[0].where == where
    assert [one.mark for one in found.droppers] == [Mark(4, 0xF)]
