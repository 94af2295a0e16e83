"""Marks of others that would take our packets, or let theirs pass by us."""

from typing import Any

import pytest

from plutino.config.load import load_text
from plutino.desired.mark_clashes import mark_clashes
from plutino.desired.state import DesiredState
from plutino.model.mark_use import MarkRule, MarkSetter
from plutino.model.numbers import Mark
from plutino.netfilter.foreign_marks import iptables_mark_setters, nft_mark_setters
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
    found = mark_clashes(gateway, state(text), rules, setters)
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
    found = list(nft_mark_setters({"nftables": [{"metainfo": {}}, {"rule": rule}]}, "ours"))
    assert [one.bits for one in found] == ([bits] if bits else [])
    assert all(one.where == "nftables inet t c handle 7" for one in found)
    assert not list(nft_mark_setters({"nftables": [{"rule": rule | {"table": "ours"}}]}, "ours"))


def test_what_rules_of_iptables_set() -> None:
    text = """\
*mangle
:PREROUTING ACCEPT [0:0]
-A MARK-ISP1 -j MARK --set-xmark 0x1/0xffffffff
-A MARK-ISP1 -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff
-A OUTPUT -d 192.0.2.9/32 -j CONNMARK --set-xmark 0x2/0xff
-A OUTPUT -m mark --mark 0x8 -j ACCEPT
COMMIT
"""
    found = list(iptables_mark_setters(text, "iptables"))
    assert [(one.bits, one.of_connection) for one in found] == [(1, False), (2, True)]
    assert found[0].where == "iptables -t mangle -A MARK-ISP1 -j MARK --set-xmark 0x1/0xffffffff"
