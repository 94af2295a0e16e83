"""Gateways for pure tests: a file's text, keys that nobody uses, and what they compile to."""

from collections.abc import Mapping

import pytest

from plutino.config.gateway import Gateway
from plutino.config.load import load_text
from plutino.config.static_keys import StaticKey, StaticKeys
from plutino.desired.compile import compile_gateway
from plutino.desired.state import DesiredState, Surroundings
from plutino.model.algorithms import ESP_SUITES
from plutino.model.errors import ConfigError, Problem
from plutino.model.link import Link, Namespace
from plutino.model.numbers import Spi
from plutino.model.secret import Secret

DEVICES: Mapping[tuple[Namespace, str], Link] = {
    (None, "eth0"): Link(2, "eth0", "veth", 1500, True),
    (None, "red"): Link(3, "red", "vrf", 65575, True, table=10),
}


IKE_TEXT = """
[tunnels.berlin]
interface = "ipsec1"
local = "192.0.2.1"
remote = "198.51.100.2"
ike.psk-file = "berlin.psk"
"""
"""One tunnel to Berlin with keys by IKE."""


def gateway_text(
    more: str = "", *, tables: str = "", top: str = "", local: str = "192.0.2.1", peer: str = ""
) -> str:
    """One tunnel to Berlin: ``more`` are lines of its table, ``tables`` stand before it."""
    peer = peer or ("198.51.100.2" if ":" not in local else "2001:db8::2")
    return (
        f"{top}\n{tables}\n[tunnels.berlin]\n"
        f'interface = "ipsec1"\nlocal = "{local}"\nremote = "{peer}"\n{more}\n'
        'static.key-file = "berlin.keys"\n'
    )


def another_tunnel(name: str, peer: str, more: str = "", interface: str = "ipsec1") -> str:
    """A further table of a tunnel."""
    return (
        f'\n[tunnels.{name}]\ninterface = "{interface}"\nlocal = "192.0.2.1"\n'
        f'remote = "{peer}"\n{more}\nstatic.key-file = "{name}.keys"\n'
    )


def keys_of(gateway: Gateway, algorithm: str = "aes256gcm16") -> Mapping[str, StaticKeys]:
    """Keys for every tunnel, with SPIs that are easily told apart."""
    keys = {}
    for number, name in enumerate(gateway.tunnels, 1):
        suite = ESP_SUITES[algorithm]
        inbound, outbound = (
            StaticKey(Spi(base + number), Secret(bytes([number]) * suite.keymat_size))
            for base in (0x1000, 0x2000)
        )
        keys[name] = StaticKeys(suite, outbound, inbound)
    return keys


def compiled(
    text: str,
    *,
    algorithm: str = "aes256gcm16",
    path_mtu: Mapping[str, int] | None = None,
    links: Mapping[tuple[Namespace, str], Link] | None = None,
) -> DesiredState:
    """What a file's text compiles to."""
    gateway = load_text(text, "gateway.toml")
    surroundings = Surroundings(path_mtu or {}, DEVICES if links is None else links)
    return compile_gateway(
        gateway, keys_of(gateway, algorithm), surroundings=surroundings, sequences={}
    )


def refusal(text: str, key: str) -> Problem:
    """The one problem with that key; the others do not matter."""
    with pytest.raises(ConfigError) as refused:
        load_text(text, "gateway.toml")
    found = [one for one in refused.value.problems if one.key == key]
    assert len(found) == 1, [str(one) for one in refused.value.problems]
    assert found[0].file == "gateway.toml"
    return found[0]


def line_of(text: str, start: str) -> int:
    """The number of the only line that starts so."""
    (number,) = (
        number for number, line in enumerate(text.splitlines(), 1) if line.startswith(start)
    )
    return number
