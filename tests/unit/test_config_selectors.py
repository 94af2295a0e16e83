"""Traffic selectors in the gateway file: their form, and what they must be together."""

import pytest

from plutino.config.load import load_text
from plutino.model.policy import Direction
from plutino.model.subject import describe_policy
from tests.support.gateways import another_tunnel, compiled, gateway_text, refusal


def ts(local: str, remote: str) -> str:
    return f"local-ts = [{local}]\nremote-ts = [{remote}]"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("10.2.0.0/16", "10.2.0.0/16"),
        ("10.2.0.0/16[tcp]", "10.2.0.0/16[tcp]"),
        ("10.2.0.0/16[6/443]", "10.2.0.0/16[tcp/443]"),
        ("10.2.0.0/16[udp/5000-5099]", "10.2.0.0/16[udp/5000-5099]"),
        ("10.2.0.0/16[udp/0-65535]", "10.2.0.0/16[udp]"),
        ("10.2.0.0/16[tcp/0]", "10.2.0.0/16[tcp/0]"),
        ("10.2.0.0/16[gre]", "10.2.0.0/16[gre]"),
        ("10.2.0.0/16[255]", "10.2.0.0/16[255]"),
        ("10.2.0.0/16[icmp/8]", "10.2.0.0/16[icmp/8]"),
        ("2001:db8::/32[ipv6-icmp/128]", "2001:db8::/32[ipv6-icmp/128]"),
    ],
)
def test_a_selector_says_protocol_and_ports(written: str, meant: str) -> None:
    gateway = load_text(gateway_text(f'remote-ts = ["{written}"]\nroutes = []'), "x")
    (found,) = gateway.tunnels["berlin"].remote_ts
    assert str(found) == meant


@pytest.mark.parametrize(
    ("written", "why", "hint"),
    [
        ("10.2.0.0/16[]", "the protocol is missing", "none at all for any"),
        ("10.2.0.0/16[/443]", "the protocol is missing", "one of icmp"),
        ("10.2.0.0/16[any]", "'any' is no protocol", "none at all for any"),
        ("10.2.0.0/16[0]", "'0' is no protocol", "from 1 to 255"),
        ("10.2.0.0/16[256]", "'256' is no protocol", "from 1 to 255"),
        ("10.2.0.0/16[TCP]", "'TCP' is no protocol", "tcp"),
        ("10.2.0.0/16[tcp/https]", "'https' is no port of tcp", "tcp/443"),
        ("10.2.0.0/16[tcp/]", "'' is no port of tcp", "from 0 to 65535"),
        ("10.2.0.0/16[tcp/500-400]", "'500-400' is no port of tcp, and no range", "5000-5099"),
        ("10.2.0.0/16[tcp/65536]", "'65536' is no port", "65535"),
        ("10.2.0.0/16[tcp/-1]", "'-1' is no port", "65535"),
        ("10.2.0.0/16[tcp/80,443]", "'80,443' is no port", "65535"),
        ("10.2.0.0/16[gre/7]", "gre has no ports", "sctp"),
        ("10.2.0.0/16[icmp/256]", "'256' is no type of icmp", "icmp/8"),
        ("10.2.0.0/16[ipv6-icmp]", "ipv6-icmp is not what IPv4 has", "10.2.0.0/16[icmp]"),
        ("2001:db8::/32[icmp]", "icmp is not what IPv6 has", "2001:db8::/32[ipv6-icmp]"),
        ("10.2.0.0/16[tcp][udp]", "at most one [protocol/ports]", "10.2.0.0/16[tcp/443]"),
        ("10.2.0.0/16[tcp", "at most one [protocol/ports]", "10.2.0.0/16[tcp/443]"),
        ("[tcp/443]", "must be a network in quotes", "10.2.0.0/16[tcp/443]"),
        ("dynamic[tcp]", "must be a network in quotes", "10.2.0.0/16[tcp/443]"),
        ("10.2.0.0/16:tcp/443", "must be a network in quotes", "10.2.0.0/16[tcp/443]"),
        ("10.2.0.1/16[tcp]", "has host bits set", "10.2.0.0/16"),
    ],
)
def test_another_form_is_refused_in_words(written: str, why: str, hint: str) -> None:
    problem = refusal(gateway_text(f'remote-ts = ["{written}"]'), "tunnels.berlin.remote-ts[0]")
    assert why in problem.why
    assert hint in (problem.hint or "")


@pytest.mark.parametrize(
    ("more", "key", "why"),
    [
        (
            ts('"10.1.0.0/16[tcp]"', '"10.2.0.0/16[udp]"'),
            "local-ts[0]",
            "10.1.0.0/16[tcp] meets nothing: no selector of `remote-ts` is of tcp",
        ),
        (
            ts('"10.1.0.0/16[tcp]"', '"10.2.0.0/16[tcp]", "10.2.0.0/16[udp]"'),
            "remote-ts[1]",
            "10.2.0.0/16[udp] meets nothing: no selector of `local-ts` is of udp",
        ),
        (
            ts('"10.1.0.0/16"', '"10.2.0.0/16[tcp/1-100]", "10.2.5.0/24[tcp/100]"'),
            "remote-ts[1]",
            "10.2.5.0/24[tcp/100] overlaps 10.2.0.0/16[tcp/1-100]",
        ),
        (
            'mode = "transport"\nremote-ts = ["198.51.100.3/32[tcp]"]',
            "remote-ts[0]",
            "what `local` and `remote` send",
        ),
    ],
)
def test_selectors_have_to_make_sense_together(more: str, key: str, why: str) -> None:
    problem = refusal(gateway_text(f"routes = []\n{more}"), f"tunnels.berlin.{key}")
    assert why in problem.why


def test_one_network_may_be_several_by_its_packets() -> None:
    """In one tunnel, and in two that share an interface."""
    text = gateway_text(
        ts('"10.1.0.0/16[tcp]", "10.1.0.0/16[udp]"', '"10.2.0.0/16[tcp]", "10.2.0.0/16[udp]"')
    )
    load_text(text, "x")
    web = 'remote-ts = ["10.2.0.0/16[tcp/443]"]'
    others = [f'remote-ts = ["10.2.0.0/16[{one}]"]' for one in ("tcp/444-65535", "tcp/400-443")]
    texts = [gateway_text(web) + another_tunnel("rome", "203.0.113.3", one) for one in others]
    load_text(texts[0], "x")
    problem = refusal(texts[1], "tunnels.rome.remote-ts[0]")
    assert "10.2.0.0/16[tcp/400-443] overlaps 10.2.0.0/16[tcp/443]" in problem.why


def test_types_of_icmp_tell_tunnels_apart_where_both_ends_have_others() -> None:
    """What goes to the peer has a type of ours: with none the two had the same policies."""
    both = "icmp/8", "icmp/0"
    for ours, is_told_apart in (("", False), ("[icmp]", False), (None, True)):
        texts = []
        for place, theirs in enumerate(both):
            own = f"[{both[1 - place]}]" if ours is None else ours
            texts.append(ts(f'"10.1.0.0/16{own}"', f'"10.2.0.0/16[{theirs}]"'))
        text = gateway_text(texts[0]) + another_tunnel("rome", "203.0.113.3", texts[1])
        if is_told_apart:
            load_text(text, "x")
        else:
            problem = refusal(text, "tunnels.rome.remote-ts[0]")
            assert "10.2.0.0/16[icmp/0] overlaps 10.2.0.0/16[icmp/8]" in problem.why


@pytest.mark.parametrize("side", ["local", "remote"])
def test_types_of_icmp_make_no_pairs(side: str) -> None:
    sides = ['"10.1.0.0/16"', '"10.2.0.0/16"']
    network = f"10.{1 + (side == 'remote')}.0.0/16"
    sides[side == "remote"] = f'"{network}[icmp/8]", "{network}[icmp/0]"'
    load_text(by_ike(ts(*sides), ""), "x")
    text = by_ike(ts(*sides), 'ike.child-sas = "per-pair"')
    problem = refusal(text, f"tunnels.berlin.{side}-ts[1]")
    assert "the same packets in the other direction" in problem.why


def policies(more: str) -> list[str]:
    found = compiled(gateway_text(more)).policies
    return [describe_policy(one) for one in found if one.direction is not Direction.FWD]


def test_a_plan_says_protocol_and_ports() -> None:
    found = policies(
        ts('"10.1.0.0/16[tcp]"', '"10.2.0.0/16[tcp/1000-1007]", "10.2.0.0/16[tcp/22]"')
    )
    assert found == [
        "dir out src 10.1.0.0/16 dst 10.2.0.0/16 proto tcp dport 1000/0xfff8 if_id 1",
        "dir in src 10.2.0.0/16 dst 10.1.0.0/16 proto tcp sport 1000/0xfff8 if_id 1",
        "dir out src 10.1.0.0/16 dst 10.2.0.0/16 proto tcp dport 22 if_id 1",
        "dir in src 10.2.0.0/16 dst 10.1.0.0/16 proto tcp sport 22 if_id 1",
    ]


def test_types_of_icmp_are_of_what_each_side_sends() -> None:
    assert policies(ts('"10.1.0.0/16[icmp/8]"', '"10.2.0.0/16[icmp/0]"')) == [
        "dir out src 10.1.0.0/16 dst 10.2.0.0/16 proto icmp type 8 if_id 1",
        "dir in src 10.2.0.0/16 dst 10.1.0.0/16 proto icmp type 0 if_id 1",
    ]


NETWORKS = ts('"10.1.0.0/16", "10.3.0.0/16"', '"10.2.0.0/16[tcp]", "fd02::/64"').replace(
    '"10.3.0.0/16"', '"10.3.0.0/16", "fd01::/64"'
)


def by_ike(more: str, ike: str) -> str:
    text = gateway_text(f'routes = ["10.2.0.0/16"]\naddresses = ["10.255.0.0/31"]\n{more}')
    return text.replace('static.key-file = "berlin.keys"', f'ike.psk-file = "b.psk"\n{ike}')


def test_a_child_sa_for_each_pair_is_a_tunnel_for_each() -> None:
    """By the same interface and IKE SA, with its own policies, and what is routed once."""
    text = by_ike(NETWORKS, 'ike.child-sas = "per-pair"\nike.rekey-after = 77')
    gateway = load_text(text, "gateway.toml")
    found = {
        name: (*map(str, one.local_ts), *map(str, one.remote_ts))
        for name, one in gateway.tunnels.items()
    }
    assert found == {
        "berlin": ("10.1.0.0/16", "10.2.0.0/16[tcp]"),
        "berlin#2": ("10.3.0.0/16", "10.2.0.0/16[tcp]"),
        "berlin#3": ("fd01::/64", "fd02::/64"),
    }
    for name, one in gateway.tunnels.items():
        assert one.ike is not None
        is_first = name == "berlin"
        assert one.ike.ike_sa_of == (None if is_first else "berlin")
        assert (one.ike.psk_file, one.ike.rekey_after) == ("b.psk" if is_first else None, 77)
        assert bool(one.routes) == bool(one.addresses) == is_first
    state = compiled(text)
    assert [(one.name, int(one.if_id)) for one in state.interfaces] == [("ipsec1", 1)]
    assert len({plan.reqid for plan in state.tunnels}) == 3
    assert len(load_text(by_ike(NETWORKS, ""), "gateway.toml").tunnels) == 1
    external = "[interfaces.ipsec1]\nexternal = true\n[tunnels.berlin]"
    plans = compiled(text.replace("[tunnels.berlin]", external)).tunnels
    assert len({policy.if_id for plan in plans for policy in plan.policies}) == 1, "one route"


def test_without_selectors_a_pair_is_an_ip_version() -> None:
    gateway = load_text(by_ike("", 'ike.child-sas = "per-pair"'), "gateway.toml")
    found = [str(one.remote_ts[0]) for one in gateway.tunnels.values()]
    assert found == ["0.0.0.0/0", "::/0"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ('mode = "beet"\n' + ts('"10.1.0.1/32"', '"10.2.0.1/32"'), "beet has one pair"),
        (
            ts(
                ", ".join(f'"10.1.{one}.0/24"' for one in range(13)),
                '"10.2.0.0/16[tcp]", "10.2.0.0/16[udp]", "10.2.0.0/16[icmp]", '
                '"10.2.0.0/16[gre]", "10.2.0.0/16[sctp]"',
            ),
            "makes 65 CHILD_SAs",
        ),
    ],
)
def test_not_everything_is_a_pair(more: str, why: str) -> None:
    text = by_ike(more, 'ike.child-sas = "per-pair"').replace('routes = ["10.2.0.0/16"]', "")
    assert why in refusal(text, "tunnels.berlin.ike.child-sas").why


def test_transport_mode_protects_some_packets_of_the_ends() -> None:
    more = 'mode = "transport"\nroutes = []\nremote-ts = ["0.0.0.0/0[udp/1701]"]'
    assert policies(more) == [
        "dir out src 192.0.2.1/32 dst 198.51.100.2/32 proto udp dport 1701 if_id 1",
        "dir in src 198.51.100.2/32 dst 192.0.2.1/32 proto udp sport 1701 if_id 1",
    ]
