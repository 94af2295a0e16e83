"""Transport mode: no peer gets packets of another one by being, or saying to be, where it is."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from plutino.config.load import load_text
from plutino.daemon.ike_children import IkeChildren
from plutino.model.child_sa import ChildSa
from plutino.model.errors import ConfigError
from plutino.model.numbers import Spi
from plutino.model.policy import Mode
from plutino.model.traffic import NetworkSelector
from tests.support.roaming import CHILD

NAT = "203.0.113.9"


def tunnel(name: str, remote: str, more: str = "", interface: str = "ipsec1") -> str:
    return f"""
[tunnels.{name}]
interface = "{interface}"
local = "192.0.2.1"
remote = "{remote}"
mode = "transport"
{more}
ike.psk-file = "psk"
ike.remote-id = "{name}.example"
"""


def at(remote: str, name: str, number: int) -> ChildSa:
    """A CHILD_SA of a tunnel with a peer that is there."""
    local, there = (NetworkSelector(ip_network(one)) for one in (CHILD.local, remote))
    return replace(
        CHILD,
        tunnel=name,
        remote=ip_address(remote),
        spi_in=Spi(0x1000 + number),
        spi_out=Spi(0x2000 + number),
        local_ts=(local,),
        remote_ts=(there,),
        mode=Mode.TRANSPORT,
    )


@pytest.mark.parametrize("interface", ["ipsec1", "ipsec2"])
def test_who_is_where_another_one_is_gets_none_of_its_packets(interface: str) -> None:
    words: list[str] = []
    text = tunnel("a", "198.51.100.1") + tunnel("b", "198.51.100.2", interface=interface)
    gateway = load_text(text, "gateway.toml")
    children = IkeChildren(gateway, words.append)
    children.take({"a": (at(NAT, "a", 1),), "b": (at("198.51.100.2", "b", 2),)})
    assert set(children.in_force(gateway)) == {"a", "b"}
    assert not words
    children.take({"b": (at(NAT, "b", 3),)})
    assert set(children.in_force(gateway)) == ({"a"} if interface == "ipsec1" else {"a", "b"})
    assert len(words) == (interface == "ipsec1")
    new = at(NAT, "a", 1), at(NAT, "a", 4)
    children.take({"a": new})
    assert children.in_force(gateway)["a"] == new, "its own keys are replaced"
    children.take({"a": ()})
    children.take({"b": (at(NAT, "b", 3),)})
    assert set(children.in_force(gateway)) == {"b"}, "it is free again"


def test_other_ports_are_other_packets() -> None:
    words: list[str] = []
    both = [
        tunnel(name, "198.51.100.1", f'remote-ts = ["0.0.0.0/0[udp/{port}]"]')
        for name, port in (("a", 1701), ("b", 1702))
    ]
    gateway = load_text("".join(both), "gateway.toml")
    children = IkeChildren(gateway, words.append)
    for number, name in enumerate("ab"):
        port = 1701 + number
        one = at(NAT, name, number)
        there = replace(one.remote_ts[0], protocol=17, first_port=port, last_port=port)
        children.take({name: (replace(one, remote_ts=(there,)),)})
    assert set(children.in_force(gateway)) == {"a", "b"}
    assert not words


@pytest.mark.parametrize(
    ("remote", "more", "interface", "is_refused"),
    [
        ("198.51.100.1", "", "ipsec1", True),
        ("198.51.100.2", "", "ipsec1", False),
        ("198.51.100.1", "", "ipsec2", False),
        ("198.51.100.1", 'remote-ts = ["0.0.0.0/0[tcp]"]', "ipsec1", True),
    ],
)
def test_two_of_the_same_ends_are_refused(
    remote: str, more: str, interface: str, *, is_refused: bool
) -> None:
    text = tunnel("a", "198.51.100.1") + tunnel("b", remote, more, interface)
    if not is_refused:
        load_text(text, "gateway.toml")
        return
    with pytest.raises(ConfigError, match=r"has packets to 198\.51\.100\.1 by tunnel 'a' already"):
        load_text(text, "gateway.toml")
