"""When an interface rests, in which order with its SAs, and its stable link-local address."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from plutino.config.load import load_text
from plutino.desired.compile import compile_gateway
from plutino.desired.state import DesiredState, ObservedState, Surroundings
from plutino.model.interface import Interface, InterfaceAddress
from plutino.model.link import Link, link_alias
from plutino.model.probe import Ways
from plutino.model.sa import SecurityAssociation
from plutino.plan.diff import diff
from plutino.plan.rest import rest_steps
from plutino.plan.step import Step, StepAction
from tests.support.gateways import DEVICES, another_tunnel, compiled, gateway_text, keys_of

OURS = Link(7, "ipsec1", "xfrm", 1446, True, link_alias("default"), attached=True)
UPLINK = """
[uplinks.isp1]
interface = "eth0"
gateway = "203.0.113.254"
"""
BY_UPLINK = f"""{UPLINK}
[tunnels.berlin]
interface = "ipsec1"
uplinks = ["isp1"]
remote = "198.51.100.2"
static.key-file = "berlin.keys"
"""


def by_uplink(*addresses: str, ways: Ways | None = None) -> DesiredState:
    """A tunnel by an uplink whose device has these addresses."""
    gateway = load_text(BY_UPLINK, "gateway.toml")
    interfaces: tuple[InterfaceAddress, ...] = tuple(map(ip_interface, addresses))
    surroundings = Surroundings(links=DEVICES, addresses={"eth0": interfaces})
    if ways is not None:
        surroundings = replace(surroundings, ways=ways)
    return compile_gateway(gateway, keys_of(gateway), surroundings=surroundings, sequences={})


def dormant(state: DesiredState) -> bool:
    (interface,) = state.interfaces
    return interface.dormant


def test_it_runs_by_a_path_with_an_sa() -> None:
    assert not dormant(compiled(gateway_text()))
    assert not dormant(by_uplink("203.0.113.1/24"))


def test_it_rests_without_an_address_or_with_a_lost_path() -> None:
    assert dormant(by_uplink())
    (plan,) = by_uplink("203.0.113.1/24").tunnels
    lost = frozenset({plan.paths.active.probe})
    assert dormant(by_uplink("203.0.113.1/24", ways=Ways(lost=lost)))


def observed(desired: DesiredState, *, resting: bool) -> ObservedState:
    """All of it is there, and the link rests or runs."""
    (interface,) = desired.interfaces
    link = replace(OURS, if_id=interface.if_id, mtu=interface.mtu, dormant=resting)
    return ObservedState(
        links=(*DEVICES.values(), link),
        addresses=desired.addresses,
        policies=desired.policies,
        sas=desired.sas,
        routes=desired.routes,
        rules=desired.rules,
        netfilter=desired.netfilter,
    )


def places(steps: tuple[Step, ...], kind: type[object], action: StepAction) -> list[int]:
    return [
        place
        for place, step in enumerate(steps)
        if isinstance(step.subject, kind) and step.action is action
    ]


def test_it_rests_before_its_sas_go_and_wakes_after_they_are_there() -> None:
    with_sas, without = by_uplink("203.0.113.1/24"), by_uplink()
    steps = diff(without, observed(with_sas, resting=False))
    (rest,) = places(steps, Interface, StepAction.REST)
    assert rest < min(places(steps, SecurityAssociation, StepAction.DELETE))
    steps = diff(with_sas, observed(without, resting=True))
    (wake,) = places(steps, Interface, StepAction.WAKE)
    assert wake > max(places(steps, SecurityAssociation, StepAction.CREATE))


def test_a_new_one_rests_before_it_is_up() -> None:
    steps = diff(by_uplink(), ObservedState())
    (rest,), (up,) = (
        places(steps, Interface, action) for action in (StepAction.REST, StepAction.UP)
    )
    assert rest < up


def test_what_no_sa_serves_rests_after_a_failure() -> None:
    desired = compiled(gateway_text())
    there = observed(desired, resting=False)
    assert list(rest_steps(desired, there)) == []
    bare = replace(there, sas=())
    (step,) = rest_steps(desired, bare)
    assert (step.action, step.subject) == (StepAction.REST, desired.interfaces[0])
    assert list(rest_steps(desired, replace(bare, links=()))) == []
    others = replace(there.links[-1], alias="plutino:other")
    assert list(rest_steps(desired, replace(bare, links=(others,)))) == []
    resting = replace(there.links[-1], dormant=True)
    assert list(rest_steps(desired, replace(bare, links=(resting,)))) == []


# --- link-local addresses


def link_locals(state: DesiredState) -> list[InterfaceAddress]:
    return [one.address for one in state.addresses if one.address.is_link_local]


def test_it_is_the_same_whatever_address_the_uplink_has() -> None:
    (one,) = link_locals(by_uplink("203.0.113.1/24"))
    assert link_locals(by_uplink("203.0.113.9/24")) == [one]
    assert link_locals(by_uplink()) == [one]
    assert one.network == ip_network("fe80::/64")


def test_ends_interfaces_and_instances_differ() -> None:
    here = gateway_text()
    there = here.replace("192.0.2.1", "x").replace("198.51.100.2", "192.0.2.1")
    there = there.replace('"x"', '"198.51.100.2"')
    texts = (
        here,
        there,
        here.replace("ipsec1", "ipsec2"),
        gateway_text(top='instance = "second"'),
    )
    found = [one for text in texts for one in link_locals(compiled(text))]
    assert len(set(found)) == len(texts)


@pytest.mark.parametrize(
    ("more", "number"),
    [
        ("", 1),
        ('addresses = ["fe80::7/64"]', 1),
        ('remote-ts = ["10.2.0.0/16"]', 0),
        ('remote-ts = ["fe80::/10", "ff00::/8"]', 1),
        ('local-ts = ["10.1.0.0/16"]', 0),
        ('mode = "transport"', 0),
    ],
)
def test_only_a_tunnel_that_carries_it_gets_one(more: str, number: int) -> None:
    found = link_locals(compiled(gateway_text(more)))
    assert len(found) == number
    if "fe80::7" in more:
        assert found == [ip_interface("fe80::7/64")]


def test_tunnels_that_share_an_interface_get_none() -> None:
    text = gateway_text('remote-ts = ["10.2.0.0/16"]')
    text += another_tunnel("rome", "203.0.113.3", 'remote-ts = ["10.3.0.0/16"]')
    assert link_locals(compiled(text)) == []
