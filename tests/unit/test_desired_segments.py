"""What holds TCP's segments to the MTU of tunnels."""

import re

from plutino.config.load import load_text
from plutino.desired.netfilter import compile_netfilter
from plutino.desired.state import Surroundings
from plutino.model.interface import Interface
from plutino.model.numbers import IfId
from tests.support.gateways import gateway_text


def body(mtus: dict[str, int]) -> str:
    interfaces = [Interface(name, IfId(1), mtu) for name, mtu in mtus.items()]
    gateway = load_text(gateway_text('routes = ["10.2.0.0/16"]'), "gateway.toml")
    table = compile_netfilter(gateway, interfaces, (), Surroundings(netfilter=True))
    assert table is not None
    return table.body


def test_a_packet_meets_as_many_rules_beside_a_thousand_interfaces_as_beside_one() -> None:
    one = body({"ipsec1": 1400})
    many = body({f"ipsec{number}": 1400 for number in range(1, 1001)})
    assert many.count("maxseg size set") == one.count("maxseg size set") == 4
    assert '"ipsec1000"' in many


def test_each_interface_has_the_size_of_its_mtu() -> None:
    text = body({"ipsec1": 1400, "ipsec2": 1300, "ipsec3": 1400})
    sets = dict(re.findall(r"set (\w+) \{[^{]*elements = \{ ([^}]*) \}", text))
    assert sets == {"mtu1400": '"ipsec1", "ipsec3"', "mtu1300": '"ipsec2"'}
    for mtu in (1400, 1300):
        for version, headers in (("ipv4", 40), ("ipv6", 60)):
            for way in ("iifname", "oifname"):
                rule = rf"{way} @mtu{mtu} meta nfproto {version} .* size set {mtu - headers}\n"
                assert re.search(rule, text)
