"""`remote` as an address, `any` or a host name: what it is read as, and what is refused."""

from ipaddress import ip_address

import pytest

from plutino.config.load import load_text
from plutino.config.tunnel import Tunnel
from tests.support.gateways import refusal

ANY = 'start = "listen"\nremote-id = "berlin.example"'
NAME = "gw.example.net"


def text_of(remote: str, ike: str = "", *, more: str = "", local: str = "192.0.2.1") -> str:
    return (
        f'[tunnels.berlin]\ninterface = "ipsec1"\nlocal = "{local}"\nremote = "{remote}"\n{more}\n'
        f'[tunnels.berlin.ike]\npsk-file = "berlin.psk"\n{ike}\n'
    )


def read(remote: str, ike: str = "", *, local: str = "192.0.2.1") -> Tunnel:
    return load_text(text_of(remote, ike, local=local), "gateway.toml").tunnels["berlin"]


@pytest.mark.parametrize(
    ("remote", "local", "address", "name"),
    [
        ("198.51.100.2", "192.0.2.1", "198.51.100.2", None),
        ("2001:DB8::2", "2001:db8::1", "2001:db8::2", None),
        ("any", "192.0.2.1", "0.0.0.0", None),
        ("any", "2001:db8::1", "::", None),
        (NAME, "192.0.2.1", "0.0.0.0", NAME),
        ("GW.Example.Net.", "2001:db8::1", "::", NAME),
        ("berlin", "192.0.2.1", "0.0.0.0", "berlin"),
        ("2.pool.example", "192.0.2.1", "0.0.0.0", "2.pool.example"),
    ],
)
def test_what_is_read(remote: str, local: str, address: str, name: str | None) -> None:
    tunnel = read(remote, ANY, local=local)
    assert (str(tunnel.remote), tunnel.remote_name) == (address, name)
    assert tunnel.is_roaming == tunnel.remote.is_unspecified


def test_where_a_peer_is_found_changes_nothing_of_what_is_written() -> None:
    tunnel = read(NAME)
    found = tunnel.at(ip_address("198.51.100.2"))
    assert (str(found.remote), str(tunnel.remote)) == ("198.51.100.2", "0.0.0.0")
    assert found.model_dump_json() == tunnel.model_dump_json()
    assert found.is_roaming


@pytest.mark.parametrize(
    "remote",
    [
        "",
        "gw_.example.net-",
        "gw..example",
        "198.51.100",
        "198.51.100.256",
        "a b",
        "-gw",
        "x" * 64,
        ".".join(["x" * 60] * 5),
        "198.51.100.2/32",
        "gw.example.net:500",
    ],
)
def test_no_address_and_no_name(remote: str) -> None:
    problem = refusal(text_of(remote), "tunnels.berlin.remote")
    assert problem.line == 4
    assert "address" in problem.why
    assert "host name" in problem.why


def test_a_number_is_no_name() -> None:
    problem = refusal(text_of("x").replace('"x"', "5"), "tunnels.berlin.remote")
    assert problem.why == "must be an address, `any` or a host name in quotes, not 5"


@pytest.mark.parametrize(
    ("text", "key", "why", "hint"),
    [
        pytest.param(
            text_of("any", 'remote-id = "berlin.example"'), "ike.start",
            'is "now", but with `remote = "any"` no address is known', "listen", id="any begins",
        ),
        pytest.param(
            text_of("any", 'start = "listen"'), "ike.remote-id", "known by nothing else",
            "berlin.example", id="any without an identity",
        ),
        pytest.param(
            text_of(NAME).replace("berlin.ike]\npsk", "berlin.static]\nkey"),
            "remote", "must be an address with static keys", "use `ike`", id="static keys",
        ),
        pytest.param(
            text_of("any", ANY, more='remotes = ["198.51.100.3"]'), "remotes",
            'does not go with `remote = "any"`', "remove it", id="further addresses",
        ),
        pytest.param(
            '[uplinks.isp1]\ninterface = "eth1"\n'
            + text_of("any", ANY, more='uplinks = ["isp1"]').replace('local = "192.0.2.1"\n', ""),
            "uplinks", 'does not go with `remote = "any"`', "give the peer's address", id="uplinks",
        ),
        pytest.param(
            text_of(NAME, more='mode = "transport"'), "mode", "two fixed addresses",
            "beet", id="transport",
        ),
        pytest.param(
            '[interfaces.ipsec1]\nkind = "vti"\n' + text_of(NAME), "remote",
            "must be an address with a VTI", "xfrm", id="VTI",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be(text: str, key: str, why: str, hint: str) -> None:
    problem = refusal(text, f"tunnels.berlin.{key}")
    assert why in problem.why
    assert hint in (problem.hint or "")


def test_two_peers_that_nothing_tells_apart() -> None:
    other = text_of("berlin.example").replace("berlin]", "rome]").replace("ipsec1", "ipsec2")
    other = other.replace("berlin.ike]", "rome.ike]")
    problem = refusal(text_of("any", ANY) + other, "tunnels.rome.remote")
    assert "berlin.example is the peer of tunnel 'berlin' already" in problem.why
    load_text(text_of("any", ANY) + other.replace("psk-file", 'remote-id = "rome"\npsk-file'), "x")


def test_tunnels_of_one_ike_sa_have_one_peer() -> None:
    second = (
        '\n[tunnels.more]\ninterface = "ipsec2"\nlocal = "192.0.2.1"\nremote = "any"\n'
        'local-ts = ["10.3.0.0/16"]\n[tunnels.more.ike]\nike-sa-of = "berlin"\nstart = "listen"\n'
    )
    load_text(text_of("any", ANY, more='local-ts = ["10.1.0.0/16"]') + second, "gateway.toml")
    text = text_of(NAME, more='local-ts = ["10.1.0.0/16"]') + second
    problem = refusal(text, "tunnels.more.remote")
    assert problem.why == "`remote` must be that of tunnel 'berlin'"
    load_text(text.replace('"any"', f'"{NAME}"'), "gateway.toml")
