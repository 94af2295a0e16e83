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
from plutino.model.numbers import Spi
from plutino.model.policy import Direction, Policy
from plutino.model.traffic import NetworkSelector
from tests.support.gateways import gateway_text
from tests.support.ike_network import IkePair, child, peer
from tests.support.roaming import CHILD

WEB = selector_of(ip_network("10.2.0.0/16"), 6, 443)
PINGS = TrafficSelector(ip_address("10.2.0.0"), ip_address("10.2.255.255"), 1, 0x800, 0x8FF)
ODD = TrafficSelector(ip_address("10.2.0.0"), ip_address("10.2.255.255"), 1, 0x801, 0x900)


def policies_with(allowed: TrafficSelector) -> list[Policy]:
    """Of our end, where the other one allows these packets to itself."""
    pair = IkePair(b=peer("b", children=(child(local=(allowed,)),)))
    pair.establish()
    (active,) = pair.current("a")
    return policies_of(replace(child_sa(active), tunnel="berlin"))


def policies_of(*found: ChildSa) -> list[Policy]:
    text = gateway_text().replace('static.key-file = "berlin.keys"', 'ike.psk-file = "berlin.psk"')
    gateway = load_text(text, "gateway.toml")
    surroundings = Surroundings(children={"berlin": found})
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


def test_types_of_icmp_are_those_that_their_side_sends() -> None:
    """In a policy the type stands where others have the port of the source, either way."""
    found = {one.direction: str(one.selector) for one in policies_with(PINGS)}
    back = "10.2.0.0/16 port 0x8/0xffff -> 0.0.0.0/0 protocol 1"
    assert found == {
        Direction.OUT: "0.0.0.0/0 -> 10.2.0.0/16 protocol 1",
        Direction.IN: back,
        Direction.FWD: back,
    }


def test_what_policies_cannot_say_is_not_let_through() -> None:
    """Codes of several types: there is no policy that way then, rather than a wider one."""
    assert {one.direction for one in policies_with(ODD)} == {Direction.OUT}


def test_ranges_with_ports_in_common_make_each_policy_once() -> None:
    """While a CHILD_SA replaces another of other ports; either plane refuses what is there."""
    (old, new) = (
        replace(
            CHILD,
            spi_in=Spi(0x1000 + first),
            remote_ts=(NetworkSelector(ip_network("10.2.0.0/16"), 6, first, 82),),
            local_ts=(NetworkSelector(ip_network("10.1.0.0/16")),),
        )
        for first in (80, 81)
    )
    ports = [
        f"{one.selector.destination_port}/{one.selector.destination_port_mask:#x}"
        for one in policies_of(old, new)
        if one.direction is Direction.OUT
    ]
    assert ports == ["80/0xfffe", "82/0xffff", "81/0xffff"]


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
