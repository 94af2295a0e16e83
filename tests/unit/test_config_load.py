"""A gateway file's text to values, and the words of every refusal."""

import re
from ipaddress import IPv4Network, ip_address, ip_interface, ip_network

import pytest

from plutino.config.load import load_text
from plutino.model.errors import ConfigError

GOOD = """\
[tunnels.berlin]
interface = "ipsec1"
local = "192.0.2.1"
remote = "198.51.100.2"
addresses = ["10.255.0.0/31", "fd00:1::/127"]
routes = [
    "10.2.0.0/16",
    "2001:db8:2::/48",
]

[tunnels.berlin.static]
key-file = "berlin.keys"
"""
SECOND = """
[tunnels.rome]
interface = "ipsec2"
local = "192.0.2.1"
remote = "203.0.113.3"
static.key-file = "rome.keys"
"""


def problems(text: str) -> list[tuple[int | None, str, str, str | None]]:
    """Line, key, why and hint of each."""
    with pytest.raises(ConfigError) as refused:
        load_text(text, "gateway.toml")
    found = refused.value.problems
    assert all(problem.file == "gateway.toml" for problem in found)
    return [(problem.line, problem.key, problem.why, problem.hint) for problem in found]


def test_a_good_file() -> None:
    gateway = load_text(GOOD, "gateway.toml")
    tunnel = gateway.tunnels["berlin"]
    assert (gateway.instance, gateway.data_plane, gateway.mark_mask) == (
        "default",
        "auto",
        0xFFFF,
    )
    assert (tunnel.interface, tunnel.local) == ("ipsec1", ip_address("192.0.2.1"))
    assert tunnel.addresses[1] == ip_interface("fd00:1::/127")
    assert tunnel.routes == (ip_network("10.2.0.0/16"), ip_network("2001:db8:2::/48"))
    assert tunnel.static is not None
    assert tunnel.static.key_file == "berlin.keys"
    assert (tunnel.encapsulation, tunnel.replay_window) == ("esp", 1024)


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        ("", None, "", "no tunnel"),
        ("[tunnels]\n", None, "", "no tunnel"),
        ("[tunnels.berlin\n", 1, "", "no TOML"),
        ("tunnels = 3\n", 1, "tunnels", "must be a table"),
        (GOOD + "x = 1\nx = 2\n", 14, "", "no TOML"),
        (GOOD.replace('"192.0.2.1"', "3"), 3, "tunnels.berlin.local", "must be an IPv4 or IPv6"),
        (GOOD.replace("192.0.2.1", "192.0.2.256"), 3, "tunnels.berlin.local", "192.0.2.256"),
        (GOOD.replace("10.2.0.0/16", "10.2.0.1/16"), 7, "tunnels.berlin.routes[0]", "host bits"),
        (GOOD.replace("10.2.0.0/16", "10.2.0.0"), 7, "tunnels.berlin.routes[0]", "a network"),
        (GOOD.replace("fd00:1::/127", "x"), 5, "tunnels.berlin.addresses[1]", "prefix length"),
        (GOOD.replace('"ipsec1"', "true"), 2, "tunnels.berlin.interface", "text in quotes"),
        (GOOD.replace('local = "192.0.2.1"\n', ""), 1, "tunnels.berlin.local", "is missing"),
        (GOOD.replace("\nkey-file", "\nkeyfile"), 11, "tunnels.berlin.static.key-file", "missing"),
        ('instance = "../x"\n' + GOOD, 1, "instance", "pattern"),
        ('data-plane = "cloud"\n' + GOOD, 1, "data-plane", "'auto', 'kernel' or 'userspace'"),
        ("mark-mask = true\n" + GOOD, 1, "mark-mask", "whole number"),
        ("mark-mask = 5\n" + GOOD, 1, "mark-mask", "one run of bits"),
        (GOOD.replace("ipsec1", "ipsec/1"), 2, "tunnels.berlin.interface", "must not contain"),
        (GOOD.replace("ipsec1", "x" * 16), 2, "tunnels.berlin.interface", "15 bytes"),
        (GOOD.replace("198.51.100.2", "2001:db8::1"), 4, "tunnels.berlin.remote", "is IPv6"),
        (GOOD.replace("198.51.100.2", "192.0.2.1"), 4, "tunnels.berlin.remote", "same address"),
        (GOOD.replace("198.51.100.2", "224.0.0.1"), 4, "tunnels.berlin.remote", "one host"),
        (
            GOOD.replace("10.255.0.0/31", "198.51.100.9/24"),
            5,
            "tunnels.berlin.addresses[0]",
            "would loop",
        ),
        (
            GOOD.replace("routes", 'mark-in = "0x1/0"\nroutes'),
            6,
            "tunnels.berlin.mark-in",
            "a mask without bits",
        ),
        (
            GOOD.replace("routes", 'mark-in = "0x11/0xf0"\nroutes'),
            6,
            "tunnels.berlin.mark-in",
            "its mask leaves out",
        ),
        (
            'data-plane = "userspace"\n' + GOOD.replace("routes", 'set-mark-in = "0x1"\nroutes'),
            7,
            "tunnels.berlin.set-mark-in",
            "has no mark",
        ),
        (
            'data-plane = "kernel"\n' + re.sub(r"routes = \[[^]]*\]", 'mode = "transport"', GOOD),
            7,
            "tunnels.berlin.mode",
            "loops in an XFRM interface",
        ),
        (GOOD + SECOND.replace("ipsec2", "ipsec1"), 14, "tunnels.rome.remote-ts", "is needed"),
        (
            GOOD + SECOND + "if-id = 1\n",
            19,
            "tunnels.rome.if-id",
            "if_id 1 of ipsec2 is that of ipsec1",
        ),
        (
            GOOD + SECOND + 'routes = ["10.2.0.0/16"]\n',
            19,
            "tunnels.rome.routes[0]",
            "route of tunnel 'berlin'",
        ),
        (
            GOOD + SECOND + 'addresses = ["10.255.0.0/24"]\n',
            19,
            "tunnels.rome.addresses[0]",
            "address of ipsec1",
        ),
    ],
)
def test_a_refusal_names_line_key_and_reason(
    text: str, line: int | None, key: str, words: str
) -> None:
    found = [one for one in problems(text) if one[1] == key]
    assert found, problems(text)
    assert found[0][0] == line
    assert words in found[0][2]


def test_an_unknown_key_names_the_nearest() -> None:
    ((line, key, why, hint),) = problems(GOOD.replace("routes =", "rotues ="))
    assert (line, key, why) == (6, "tunnels.berlin.rotues", "unknown key")
    assert hint == "did you mean 'routes'?"


def test_a_misplaced_key_is_told_its_place() -> None:
    ((_, key, _, hint),) = problems('key-file = "x"\n' + GOOD)
    assert key == "key-file"
    assert hint == "'key-file' belongs in [tunnels.NAME.static]"


def test_all_at_once_in_the_order_of_lines() -> None:
    text = GOOD.replace("192.0.2.1", "x").replace("/127", "/129").replace("10.2.0.0/16", "y")
    assert [line for line, *_ in problems(text + "speed = 1\n")] == [3, 5, 7, 13]


def test_tunnels_share_an_interface_by_selectors() -> None:
    first = GOOD.replace("routes", 'remote-ts = ["10.2.0.0/16", "2001:db8:2::/48"]\nroutes')
    second = SECOND.replace("ipsec2", "ipsec1")
    assert load_text(first + second + 'remote-ts = ["10.3.0.0/16"]\n', "x").tunnels.keys() == {
        "berlin",
        "rome",
    }
    ((_, key, why, _),) = problems(first + second + 'remote-ts = ["10.2.3.0/24"]\n')
    assert key == "tunnels.rome.remote-ts[0]"
    assert "overlaps 10.2.0.0/16 of tunnel 'berlin'" in why


def test_nesting_without_end() -> None:
    assert "deep" in problems("x = " + "[" * 100_000)[0][2]


TUNNEL = """[tunnels.berlin]
interface = "ipsec1"
local     = "192.0.2.1"
remote    = "198.51.100.2"
ike.psk-file = "berlin.psk"
"""


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (TUNNEL.replace('"192.0.2.1"', "192.0.2.1  # ours"), 3, 'in quotes: local = "..."'),
        (TUNNEL.replace('"ipsec1"', "ipsec1"), 2, 'in quotes: interface = "..."'),
        ("\ufeff" + TUNNEL, 1, "byte order mark"),
        (TUNNEL + TUNNEL, 6, "the table [tunnels.berlin] stands twice"),
        (TUNNEL + 'routes = ["10.2.0.0/16", "10.2.0.0/16"]', 6, "10.2.0.0/16 is there already"),
        (TUNNEL + 'ike.psk = "hunter2"', 6, "did you mean 'psk-file'?"),
        (TUNNEL + 'ike.rekey-after = "1h"', 6, "must be a number, not '1h'"),
    ],
)
def test_what_newcomers_write_is_told_with_the_cure(text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_text(text, "paris.toml")
    (problem,) = refused.value.problems
    assert problem.line == line
    assert words in str(problem)
    assert "hunter2" not in str(problem)


def test_a_key_without_quotes_is_not_told_again() -> None:
    with pytest.raises(ConfigError) as refused:
        load_text(TUNNEL + "ike.psk = hunter2", "paris.toml")
    assert "hunter2" not in str(refused.value)


def test_the_routes_of_a_tunnel_are_not_each_compared_with_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = 0
    equal = IPv4Network.__eq__

    def count(one: IPv4Network, other: object) -> bool:
        nonlocal compared
        compared += 1
        return equal(one, other)

    monkeypatch.setattr(IPv4Network, "__eq__", count)
    several = ", ".join(f'"10.{number}.0.0/16"' for number in range(200))
    load_text(TUNNEL + f"routes = [{several}]", "paris.toml")
    assert compared < 200 * 10
