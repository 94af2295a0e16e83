"""What the strict guard does with each packet: its chains are walked here as the kernel does."""

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from plutino.config.load import load_text
from plutino.desired.compile import compile_gateway
from plutino.desired.state import DesiredState, Surroundings
from plutino.model.interface import InterfaceAddress
from tests.support.gateways import DEVICES, gateway_text, keys_of

PEER = "198.51.100.2"


def state(
    routes: str, top: str = "", addresses: Mapping[str, tuple[InterfaceAddress, ...]] | None = None
) -> DesiredState:
    text = gateway_text(f"routes = [{routes}]", top=f'guard = "strict"\n{top}')
    gateway = load_text(text, "gateway.toml")
    surroundings = Surroundings({}, DEVICES, addresses=addresses or {})
    return compile_gateway(gateway, keys_of(gateway), surroundings=surroundings, sequences={})


def eth0(*networks: str) -> Mapping[str, tuple[InterfaceAddress, ...]]:
    return {"eth0": tuple(ip_interface(one) for one in networks)}


def rows(desired: DesiredState, chain: str) -> list[str]:
    assert desired.netfilter is not None
    found = re.search(rf"  chain {chain} {{\n(.*?)\n  }}", desired.netfilter.body, re.S)
    return [] if found is None else [line.strip() for line in found[1].splitlines()]


def verdict(desired: DesiredState, chain: str, address: str) -> str:
    """The end of the first rule for an address; ``accept`` if there is none."""
    one = ip_address(address)
    for row in rows(desired, chain):
        found = re.match(r"ip6? [ds]addr { (.*) } (.*)", row)
        if found is not None:
            networks = [ip_network(network) for network in found[1].split(", ")]
            if any(one.version == network.version and one in network for network in networks):
                return re.sub(r'counter drop comment ".*"', "drop", found[2])
    return "accept"


OWN = eth0("10.1.2.1/24", "192.168.1.1/24", "2001:db8:1::1/64")


@pytest.mark.parametrize(
    ("routes", "top", "address", "expected"),
    [
        ('"10.2.0.0/16"', "", "10.2.3.4", "drop"),
        ('"10.2.0.0/16"', "", "10.3.3.4", "accept"),
        ('"10.2.0.0/16"', "", PEER, "accept"),
        ('"10.0.0.0/8"', "", "10.1.2.9", "drop"),
        ('"10.0.0.0/8"', 'outside = ["10.1.0.0/16"]', "10.1.2.9", "accept"),
        ('"10.0.0.0/8", "10.1.2.0/24"', 'outside = ["10.1.0.0/16"]', "10.1.2.9", "drop"),
        ('"10.1.0.0/16"', 'outside = ["10.1.0.0/16"]', "10.1.2.9", "drop"),
        (f'"{PEER}/32"', "", PEER, "goto guard_outside"),
        (f'"{PEER}/32"', "", "198.51.100.3", "accept"),
        ('"0.0.0.0/0"', "", PEER, "goto guard_outside"),
        ('"0.0.0.0/0"', "", "192.168.1.9", "accept"),
        ('"0.0.0.0/0", "192.168.1.0/28"', "", "192.168.1.9", "drop"),
        ('"0.0.0.0/0"', 'outside = ["172.16.0.0/12"]', "172.20.0.1", "accept"),
        ('"::/0"', "", "2001:db8:1::9", "accept"),
        ('"::/0"', "", "2001:db8:2::9", "goto guard_outside"),
        ('"2001:db8::/32"', "", "2001:db8:1::9", "drop"),
        ('"10.2.0.0/16"', 'protected = ["10.0.0.0/8"]', "10.2.3.4", "drop"),
        ('"10.2.0.0/16"', 'protected = ["10.0.0.0/8"]', "10.3.3.4", "goto guard_outside"),
        ('"10.2.0.0/16"', 'protected = ["10.0.0.0/8"]', "10.1.2.9", "accept"),
        ('"10.2.0.0/16"', 'protected = ["10.1.2.0/28"]', "10.1.2.9", "goto guard_outside"),
    ],
)
def test_longer_prefixes_have_the_word(routes: str, top: str, address: str, expected: str) -> None:
    assert verdict(state(routes, top, OWN), "guard_output", address) == expected
    assert verdict(state(routes, top, OWN), "guard_forward", address) == expected


@pytest.mark.parametrize(
    ("routes", "address", "host", "behind"),
    [
        ('"10.2.0.0/16"', "10.2.3.4", "drop", "drop"),
        (f'"{PEER}/32"', PEER, "goto guard_inside", "drop"),
        ('"0.0.0.0/0"', PEER, "accept", "accept"),
        ('"10.2.0.0/16"', "10.3.3.4", "accept", "accept"),
    ],
)
def test_what_claims_to_come_from_a_tunnel(
    routes: str, address: str, host: str, behind: str
) -> None:
    desired = state(routes, "" if "0/0" in routes else 'protected = ["10.3.0.0/16"]')
    assert verdict(desired, "guard_input", address) == host
    assert verdict(desired, "guard_sources", address) == behind


@pytest.mark.parametrize(
    ("routes", "top", "told"),
    [
        ('"10.2.0.0/16"', "", ()),
        ('"0.0.0.0/0", "::/0"', "", ()),
        ('"10.0.0.0/8"', "", ("10.1.2.0/24",)),
        ('"10.0.0.0/8"', 'outside = ["10.1.0.0/16"]', ()),
        ('"10.1.0.0/16"', 'outside = ["10.0.0.0/8"]', ("10.1.2.0/24",)),
        ('"2001:db8::/32", "10.1.2.0/24"', "", ("10.1.2.0/24", "2001:db8:1::/64")),
        ('"10.1.2.128/25"', "", ()),
    ],
)
def test_networks_of_ones_own_that_would_be_cut_off(
    routes: str, top: str, told: tuple[str, ...]
) -> None:
    found = state(routes, top, OWN).findings
    assert tuple(one.why.split()[3].strip(",") for one in found) == told
    assert all(one.key == "outside" and one.hint for one in found)


def test_there_is_no_guard_where_it_is_not_asked_for() -> None:
    gateway = load_text(gateway_text('routes = ["10.2.0.0/16"]'), "gateway.toml")
    surroundings = Surroundings({}, DEVICES, addresses=eth0("10.2.3.1/24"))
    desired = compile_gateway(gateway, keys_of(gateway), surroundings=surroundings, sequences={})
    assert not rows(desired, "guard_output")
    assert not desired.findings
