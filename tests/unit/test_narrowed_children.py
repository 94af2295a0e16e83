"""A peer that narrows to protocols and ports: no other packets leave, and none are taken."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from plutino.config.load import load_text
from plutino.desired.compile import compile_gateway
from plutino.desired.state import Surroundings
from plutino.ike.exchanges import child_offer
from plutino.ike.narrowing import selector_of
from plutino.ike.payloads.traffic_selector import TrafficSelector
from plutino.ike_process.child_sas import child_sa
from plutino.model.child_sa import ChildSa
from plutino.model.policy import Direction, Policy
from tests.support.gateways import gateway_text
from tests.support.ike_network import IkePair, child, peer

WEB = selector_of(ip_network("10.2.0.0/16"), 6, 443)
PINGS = TrafficSelector(ip_address("10.2.0.0"), ip_address("10.2.255.255"), 1, 0x800, 0x8FF)


def policies_with(allowed: TrafficSelector) -> list[Policy]:
    """Of our end, where the other one allows these packets to itself."""
    pair = IkePair(b=peer("b", children=(child(local=(allowed,)),)))
    pair.establish()
    (active,) = pair.current("a")
    found: ChildSa = replace(child_sa(active), tunnel="berlin")
    text = gateway_text().replace('static.key-file = "berlin.keys"', 'ike.psk-file = "berlin.psk"')
    gateway = load_text(text, "gateway.toml")
    surroundings = Surroundings(children={"berlin": (found,)})
    state = compile_gateway(gateway, {}, surroundings=surroundings, sequences={})
    return list(state.policies)


def test_all_packets_between_networks_need_no_more_than_networks() -> None:
    selectors = {str(one.selector) for one in policies_with(selector_of(ip_network("10.2.0.0/16")))}
    assert selectors == {"0.0.0.0/0 -> 10.2.0.0/16", "10.2.0.0/16 -> 0.0.0.0/0"}


def test_protocol_and_ports_reach_the_policies() -> None:
    found = {one.direction: str(one.selector) for one in policies_with(WEB)}
    back = "10.2.0.0/16 port 0x1bb/0xffff -> 0.0.0.0/0 protocol 6"
    assert found == {
        Direction.OUT: "0.0.0.0/0 -> 10.2.0.0/16 port 0x1bb/0xffff protocol 6",
        Direction.IN: back,
        Direction.FWD: back,
    }


def test_what_policies_cannot_say_is_not_let_through() -> None:
    """Types of ICMP: there is no policy at all then, rather than a wider one."""
    assert policies_with(PINGS) == []


def test_selectors_that_make_too_many_policies_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    odd = TrafficSelector(ip_address("10.0.0.1"), ip_address("10.255.255.254"), 6, 1, 65534)
    pair = IkePair(b=peer("b", children=(child(local=(odd,)),)))
    monkeypatch.setattr(child_offer, "MOST_SELECTORS", 100)
    pair.start()
    pair.run(5)
    assert not pair.a.child_sas()
    assert "more than 100 policies" in str(pair.events)
