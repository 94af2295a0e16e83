"""Modes, marks, encapsulation and offload of a tunnel, as SAs and policies."""

from ipaddress import ip_address, ip_network

import pytest

from plutino.desired.sas import POLICY_PRIORITY, tunnel_reqid
from plutino.desired.state import DesiredState
from plutino.model.algorithms import ESP_SUITES, algorithm_names
from plutino.model.errors import ConfigError
from plutino.model.numbers import Mark
from plutino.model.policy import Direction, Mode, Policy, Selector
from plutino.model.sa import (
    UNLIMITED,
    Offload,
    OffloadMode,
    SaDirection,
    SecurityAssociation,
    UdpEncapsulation,
)
from plutino.model.traffic import EVERYTHING
from plutino.netlink.xfrm.convert import parse_policy, parse_sa, policy_message, sa_message
from tests.support.gateways import compiled, gateway_text

HERE, THERE = ip_address("192.0.2.1"), ip_address("198.51.100.2")
BEET4 = 'mode = "beet"\nlocal-ts = ["10.255.0.1/32"]\nremote-ts = ["10.255.0.2/32"]\n'
BEET6 = BEET4.replace("10.255.0.1/32", "fd00::1/128").replace("10.255.0.2/32", "fd00::2/128")


def pair(state: DesiredState) -> tuple[SecurityAssociation, SecurityAssociation]:
    """The inbound SA, then the outbound one."""
    inward, outward = sorted(state.sas, key=lambda sa: sa.direction)
    assert (inward.direction, outward.direction) == (SaDirection.IN, SaDirection.OUT)
    return inward, outward


def policies(state: DesiredState, direction: Direction) -> list[Policy]:
    return [one for one in state.policies if one.direction is direction]


def test_a_plain_tunnel() -> None:
    state = compiled(gateway_text())
    inward, outward = pair(state)
    assert (outward.source, outward.destination) == (HERE, THERE)
    assert (inward.source, inward.destination) == (THERE, HERE)
    assert (int(outward.spi), int(inward.spi)) == (0x2001, 0x1001)
    for sa in (inward, outward):
        assert (sa.mode, sa.selector, sa.encapsulation, sa.offload) == (
            Mode.TUNNEL,
            None,
            None,
            None,
        )
        assert (int(sa.if_id), sa.mark, sa.esn, sa.lifetime) == (1, None, True, UNLIMITED)
        assert sa.reqid == tunnel_reqid("default", "berlin")
    assert (outward.output_mark, inward.output_mark) == (Mark(1, 0xFFFF), None)
    assert (outward.replay.window, inward.replay.window) == (0, 1024)
    assert len(state.policies) == 2 * len(Direction)
    for policy in state.policies:
        (template,) = policy.templates
        is_out = policy.direction is Direction.OUT
        ends = (HERE, THERE) if is_out else (THERE, HERE)
        assert (template.source, template.destination) == ends
        assert (template.reqid, template.mode, template.protocol) == (
            outward.reqid,
            Mode.TUNNEL,
            50,
        )
        assert (policy.priority, policy.mark, int(policy.if_id)) == (POLICY_PRIORITY, None, 1)
        assert policy.selector in [Selector(one.network, one.network) for one in EVERYTHING]


@pytest.mark.parametrize(
    ("more", "ours", "theirs"),
    [(BEET4, "10.255.0.1/32", "10.255.0.2/32"), (BEET6, "fd00::1/128", "fd00::2/128")],
)
@pytest.mark.parametrize("local", ["192.0.2.1", "2001:db8::1"])
def test_beet_sas_hold_the_inner_addresses(more: str, ours: str, theirs: str, local: str) -> None:
    state = compiled(gateway_text(more, local=local))
    inward, outward = pair(state)
    forth = Selector(ip_network(ours), ip_network(theirs))
    back = Selector(ip_network(theirs), ip_network(ours))
    assert (outward.mode, outward.selector) == (Mode.BEET, forth)
    assert (inward.mode, inward.selector) == (Mode.BEET, back)
    assert outward.source == ip_address(local)
    (out,) = policies(state, Direction.OUT)
    assert out.selector == forth
    for direction in (Direction.IN, Direction.FWD):
        (policy,) = policies(state, direction)
        assert policy.selector == back
    assert {one.templates[0].mode for one in state.policies} == {Mode.BEET}


def test_transport_protects_what_the_ends_themselves_say() -> None:
    state = compiled(gateway_text('mode = "transport"'))
    assert {sa.mode for sa in state.sas} == {Mode.TRANSPORT}
    assert {sa.selector for sa in state.sas} == {None}
    (out,) = policies(state, Direction.OUT)
    assert out.selector == Selector(ip_network("192.0.2.1/32"), ip_network("198.51.100.2/32"))
    assert out.templates[0].mode is Mode.TRANSPORT


def test_selectors_pair_networks_of_one_ip_version() -> None:
    text = gateway_text(
        'local-ts = ["10.1.0.0/16", "fd01::/64"]\nremote-ts = ["10.2.0.0/16", "fd02::/64"]'
    )
    selectors = {str(one.selector) for one in policies(compiled(text), Direction.OUT)}
    assert selectors == {"10.1.0.0/16 -> 10.2.0.0/16", "fd01::/64 -> fd02::/64"}


def test_one_side_of_selectors_meets_everything_of_its_versions() -> None:
    text = gateway_text('remote-ts = ["10.2.0.0/16"]')
    (out,) = policies(compiled(text), Direction.OUT)
    assert str(out.selector) == "0.0.0.0/0 -> 10.2.0.0/16"


def test_each_mark_comes_where_it_belongs() -> None:
    marks = {
        "mark-in": Mark(0x1, 0xF), "mark-out": Mark(0x2, 0xF),
        "set-mark-in": Mark(0x30, 0xF0), "set-mark-out": Mark(0x40, 0xF0),
    }  # fmt: skip
    state = compiled(gateway_text("\n".join(f'{key} = "{mark}"' for key, mark in marks.items())))
    inward, outward = pair(state)
    assert (inward.mark, outward.mark) == (marks["mark-in"], marks["mark-out"])
    assert inward.output_mark == marks["set-mark-in"]
    assert outward.output_mark == marks["set-mark-out"]
    for policy in state.policies:
        expected = "mark-out" if policy.direction is Direction.OUT else "mark-in"
        assert policy.mark == marks[expected]


@pytest.mark.parametrize(
    ("mask", "mark"), [(0xFF, Mark(5, 0xFF)), (0xFF00, Mark(0x500, 0xFF00)), (0xFFFFFFFF, Mark(5))]
)
def test_the_output_mark_follows_from_the_if_id_under_the_mask(mask: int, mark: Mark) -> None:
    text = gateway_text("if-id = 5", top=f"mark-mask = {mask}")
    assert pair(compiled(text))[1].output_mark == mark


def test_keepalives_are_for_the_outbound_sa() -> None:
    state = compiled(gateway_text('encapsulation = "udp"\nnat-keepalive = 20'))
    inward, outward = pair(state)
    assert (inward.nat_keepalive, outward.nat_keepalive) == (0, 20)
    assert inward.encapsulation == outward.encapsulation == UdpEncapsulation(4500, 4500)


@pytest.mark.parametrize("mode", OffloadMode)
@pytest.mark.parametrize("both", [False, True])
def test_offload_names_the_device_by_its_index(mode: OffloadMode, both: bool) -> None:
    more = f'offload.device = "eth0"\noffload.mode = "{mode}"\n'
    more += 'offload.directions = "both"' if both else ""
    inward, outward = pair(compiled(gateway_text(more)))
    assert outward.offload == Offload(2, mode)
    assert inward.offload == (Offload(2, mode) if both else None)


def test_a_device_that_is_not_there_is_named_with_its_key() -> None:
    text = gateway_text(
        'offload.device = "eth7"', tables='[interfaces.ipsec1]\nlink = "eth8"\nvrf = "eth0"'
    )
    with pytest.raises(ConfigError) as refused:
        compiled(text)
    found = {one.key: one.why for one in refused.value.problems}
    assert found == {
        "interfaces.ipsec1.link": "there is no device eth8",
        "interfaces.ipsec1.vrf": "eth0 is no vrf device, but of kind veth",
        "tunnels.berlin.offload.device": "there is no device eth7",
    }


@pytest.mark.parametrize("algorithm", ESP_SUITES)
def test_every_algorithm_of_a_key_file_gets_its_keys(algorithm: str) -> None:
    for sa in compiled(gateway_text(), algorithm=algorithm).sas:
        assert algorithm_names(sa.keys) == algorithm


@pytest.mark.parametrize(
    "more",
    [
        "",
        BEET4,
        BEET6,
        'mode = "transport"',
        'encapsulation = "udp"\nnat-keepalive = 20',
        'mark-in = "0x10/0xf0"\nmark-out = "0x20"\nset-mark-in = "0x1/0xf"',
        'offload.device = "eth0"\noffload.mode = "packet"\noffload.directions = "both"',
        "replay-window = 4096",
        "replay-window = 33",
    ],
)
@pytest.mark.parametrize("local", ["192.0.2.1", "2001:db8::1"])
def test_what_is_installed_reads_back_as_it_was_meant(more: str, local: str) -> None:
    """A difference would be taken for a change by others, and healed again and again."""
    state = compiled(gateway_text(more, local=local))
    for sa in state.sas:
        found = parse_sa(sa_message(sa))
        assert found is not None
        assert found[0] == sa
    for policy in state.policies:
        assert parse_policy(policy_message(policy)) == policy
