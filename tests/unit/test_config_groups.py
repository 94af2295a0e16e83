"""`[groups.NAME]`: its values, what they default to, and the words of every refusal."""

from ipaddress import ip_address, ip_network

import pytest

from plutino.config.load import load_text
from plutino.config.probe_targets import inner_address, probe_targets
from plutino.model.errors import ConfigError

GROUP = """\
[groups.cloud]
tunnels = ["a", "b"]
routes = ["10.2.0.0/16", "2001:db8:2::/48"]
"""


def tunnel(name: str, number: int, more: str = "", addresses: str | None = None) -> str:
    inner = f'"169.254.{number}.2/30"' if addresses is None else addresses
    return f"""
[tunnels.{name}]
interface = "ipsec{number}"
local = "192.0.2.{number}"
remote = "198.51.100.{number}"
addresses = [{inner}]
static.key-file = "{name}.keys"
{more}
"""


A, B = tunnel("a", 1), tunnel("b", 2)
GOOD = GROUP + A + B


def test_a_good_group() -> None:
    gateway = load_text(GOOD, "gateway.toml")
    group = gateway.groups["cloud"]
    assert (group.tunnels, group.mode) == (("a", "b"), "active-standby")
    assert (group.probe.kind, group.probe.interval, group.probe.lost_after) == ("icmp", 0.1, 5)
    assert gateway.prefixes("a") == (ip_network("10.2.0.0/16"), ip_network("2001:db8:2::/48"))
    assert probe_targets(gateway, group, "a") == (ip_address("169.254.1.1"),)
    assert inner_address(gateway.tunnels["a"], ip_address("169.254.1.1")) == ip_address(
        "169.254.1.2"
    )


@pytest.mark.parametrize(
    ("addresses", "peers"),
    [
        ('"10.0.0.0/31"', ["10.0.0.1"]),
        ('"10.0.0.1/31"', ["10.0.0.0"]),
        ('"10.0.0.5/30"', ["10.0.0.6"]),
        ('"fd00::/127"', ["fd00::1"]),
        ('"fd00::2/126"', ["fd00::1"]),
        ('"10.9.0.1/24", "10.0.0.1/30", "fd00::1/127"', ["10.0.0.2"]),
        ('"10.0.0.1/30", "10.0.1.1/30"', ["10.0.0.2", "10.0.1.2"]),
        ('"fd00::1/127", "10.0.0.1/30"', ["fd00::"]),
    ],
)
def test_the_peer_follows_from_networks_of_two_hosts(addresses: str, peers: list[str]) -> None:
    gateway = load_text(GROUP + tunnel("a", 1, addresses=addresses) + B, "gateway.toml")
    found = probe_targets(gateway, gateway.groups["cloud"], "a")
    assert [str(one) for one in found] == peers


def test_targets_of_one_tunnel_come_first() -> None:
    probe = 'probe = { targets = ["10.2.0.1"], tunnel-targets = { b = "10.2.0.9" } }\n'
    gateway = load_text(GROUP + probe + A + B, "gateway.toml")
    group = gateway.groups["cloud"]
    assert probe_targets(gateway, group, "a") == (ip_address("10.2.0.1"),)
    assert probe_targets(gateway, group, "b") == (ip_address("10.2.0.9"),)


C = tunnel("c", 3)


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        (GOOD.replace('"a", "b"', '"a", "x"'), "tunnels[1]", "there is no tunnel 'x'"),
        (GOOD.replace('"a", "b"', '"a"'), "tunnels", "two tunnels at least"),
        (GOOD.replace('"a", "b"', '"a", "b", "a"'), "tunnels[2]", "is there already"),
        (GOOD.replace('["a", "b"]', "3"), "tunnels", "must be a list"),
        (GROUP + A + B.replace("ipsec2", "ipsec1"), "tunnels[1]", "shares ipsec1 with 'a'"),
        (
            GOOD + '[interfaces.ipsec2]\nnamespace = "red"',
            "tunnels[1]",
            "another network namespace or VRF than 'a'",
        ),
        (
            GOOD + '[interfaces.ipsec1]\nvrf = "red"',
            "tunnels[1]",
            "another network namespace or VRF than 'a'",
        ),
        (GOOD + "[interfaces.ipsec1]\nexternal = true", "tunnels[0]", "is external"),
        (
            GOOD.replace("[tunnels.b]", '[tunnels.b]\nmode = "transport"'),
            "tunnels[1]",
            "is of transport mode",
        ),
        (GOOD.replace("[groups.cloud]", '[groups."x/y"]'), "groups.x/y", "letters, digits"),
        (
            GOOD.replace('"10.2.0.0/16", "2001:db8:2::/48"', ""),
            "routes",
            "nothing would be sent",
        ),
        (
            GOOD.replace('"10.2.0.0/16", ', '"10.2.0.0/16", "10.2.0.0/16", '),
            "routes[1]",
            "is there already",
        ),
        (
            GOOD.replace("[tunnels.a]", '[tunnels.a]\nroutes = ["10.2.0.0/16"]'),
            "routes[0]",
            "10.2.0.0/16 is a route of tunnel 'a' already",
        ),
        (
            GOOD.replace(
                "[tunnels.a]", '[tunnels.a]\nremote-ts = ["10.2.0.0/17", "169.254.1.0/30"]'
            ),
            "routes[0]",
            "lies in none of `remote-ts` of tunnel 'a'",
        ),
        (GROUP + "weights = { b = 2 }\n" + A + B, "weights", "is for `mode"),
        (GROUP + 'mode = "ecmp"\nweights = { x = 2 }\n' + A + B, "weights.x", "no tunnel 'x'"),
        (GROUP + 'mode = "ecmp"\nweights = { a = 0 }\n' + A + B, "weights.a", "greater"),
        (GROUP + 'mode = "both"\n' + A + B, "mode", "'active-standby' or 'ecmp'"),
        (GROUP + 'probe.kind = "tcp"\n' + A + B, "probe.port", "is missing"),
        (GROUP + "probe.port = 179\n" + A + B, "probe.port", 'is for `kind = "tcp"`'),
        (GROUP + 'probe.kind = "bfd"\n' + A + B, "probe.kind", "'icmp', 'tcp' or 'none'"),
        (
            GROUP + "probe.tunnel-targets.x = '10.2.0.1'\n" + A + B,
            "probe.tunnel-targets.x",
            "no tunnel 'x' in this group",
        ),
        (
            GROUP + A + tunnel("b", 2, addresses='"10.0.0.1/24"'),
            "probe.targets",
            "`addresses` of tunnel 'b' do not tell the peer's",
        ),
        (
            GROUP + "probe.targets = ['10.2.0.1', '2001:db8:2::1']\n" + A + B,
            "probe.targets",
            "both IP versions",
        ),
        (
            GROUP + "probe.targets = '203.0.113.9'\n" + A + B,
            "probe.targets",
            "no route leads to 203.0.113.9 through tunnel 'a'",
        ),
        (
            GROUP + "probe.tunnel-targets.b = '169.254.1.1'\n" + A + B,
            "probe.tunnel-targets.b",
            "no route leads to 169.254.1.1 through tunnel 'b'",
        ),
        (GROUP + "probe.targets = '224.0.0.1'\n" + A + B, "probe.targets", "no address of one"),
        (
            GROUP + "probe.tunnel-targets.a = '169.254.1.2'\n" + A + B,
            "probe.tunnel-targets.a",
            "our own address",
        ),
        (
            GROUP.replace("10.2.0.0/16", "10.3.0.0/16").replace(', "2001:db8:2::/48"', "")
            + A.replace("[tunnels.a]", '[tunnels.a]\nremote-ts = ["10.3.0.0/16"]')
            + B,
            "probe.targets",
            "169.254.1.1 lies in none of `remote-ts` of tunnel 'a'",
        ),
        (
            GROUP.replace(', "2001:db8:2::/48"', "")
            + A.replace("[tunnels.a]", '[tunnels.a]\nlocal-ts = ["10.1.0.0/16"]')
            + B,
            "probe.targets",
            "169.254.1.2, from which it is asked, lies in none of `local-ts`",
        ),
        (
            GOOD.replace("[tunnels.a]", '[tunnels.a]\nremote-ts = ["0.0.0.0/0[tcp]", "::/0"]'),
            "probe.targets",
            "`remote-ts` of tunnel 'a' is not for what 169.254.1.1 is asked by",
        ),
        (
            GROUP
            + 'probe = { kind = "tcp", port = 179 }\n'
            + A.replace("[tunnels.a]", '[tunnels.a]\nlocal-ts = ["0.0.0.0/0[tcp/1-9]", "::/0"]')
            + B,
            "probe.targets",
            "`local-ts` of tunnel 'a' is not for what 169.254.1.1 is asked by",
        ),
        (
            GOOD + C + '[groups.more]\ntunnels = ["b", "c"]\nroutes = ["10.9.0.0/16"]',
            "groups.more.tunnels[0]",
            "'b' is in group 'cloud' already",
        ),
        (
            GOOD
            + C
            + tunnel("d", 4)
            + '[groups.more]\ntunnels = ["c", "d"]\nroutes = ["10.2.0.0/16"]',
            "groups.more.routes[0]",
            "10.2.0.0/16 is a route of group 'cloud' already",
        ),
    ],
)
def test_what_does_not_fit_is_refused(text: str, key: str, words: str) -> None:
    where = key if key.startswith("groups.") else f"groups.cloud.{key}"
    with pytest.raises(ConfigError) as refused:
        load_text(text, "gateway.toml")
    found = [one for one in refused.value.problems if one.key == where and words in one.why]
    assert len(found) == 1, [str(one) for one in refused.value.problems]
    assert found[0].line is not None
