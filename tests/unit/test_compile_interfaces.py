"""Interfaces, routes, addresses and policy defaults of a gateway."""

from ipaddress import ip_address, ip_network
from itertools import product

import pytest

from plutino.desired.instance import twin_metric
from plutino.desired.interfaces import inner_mtu
from plutino.desired.routes import ROUTE_METRIC
from plutino.desired.state import DesiredState
from plutino.model.algorithms import ESP_SUITES, EspSuite
from plutino.model.interface import Interface, VtiEnds, named_if_id
from plutino.model.link import MAIN_TABLE, Route, RouteType
from plutino.model.numbers import IfId, Mark
from plutino.model.policy import Default, Direction, Mode, PolicyDefaults
from plutino.model.sa import Encapsulation, SaDirection
from tests.support.gateways import another_tunnel, compiled, gateway_text

ROUTED = 'routes = ["10.2.0.0/16"]'
EXTERNAL = "[interfaces.ipsec1]\nexternal = true"
VTI = '[interfaces.ipsec1]\nkind = "vti"'
GCM = ESP_SUITES["aes256gcm16"]


def only_interface(state: DesiredState) -> Interface:
    (interface,) = state.interfaces
    return interface


def routes(state: DesiredState, kind: RouteType) -> list[Route]:
    return [route for route in state.routes if route.route_type is kind]


# --- kinds


def test_a_plain_interface() -> None:
    state = compiled(gateway_text(f'{ROUTED}\naddresses = ["10.255.0.0/31"]'))
    assert only_interface(state) == Interface("ipsec1", IfId(1), 1446)
    (route,) = routes(state, RouteType.UNICAST)
    assert route == Route(ip_network("10.2.0.0/16"), "ipsec1", metric=ROUTE_METRIC)
    twins = {one.destination: one for one in routes(state, RouteType.UNREACHABLE)}
    assert twins.keys() == {ip_network("10.2.0.0/16"), ip_network("10.255.0.0/31")}
    assert {one.metric for one in twins.values()} == {twin_metric("default")}
    first, link_local = state.addresses
    assert str(first.address) == "10.255.0.0/31"
    assert link_local.address.is_link_local


def test_an_external_interface_has_an_if_id_for_each_tunnel() -> None:
    text = gateway_text(ROUTED, tables=EXTERNAL)
    text += another_tunnel("rome", "203.0.113.3", 'if-id = 7\nroutes = ["10.3.0.0/16"]')
    state = compiled(text)
    interface = only_interface(state)
    assert (interface.external, interface.if_id) == (True, IfId(0))
    berlin, rome = named_if_id("berlin"), IfId(7)
    assert {str(one.destination): one.if_id for one in routes(state, RouteType.UNICAST)} == {
        "10.2.0.0/16": berlin,
        "10.3.0.0/16": rome,
    }
    assert {one.if_id for one in routes(state, RouteType.UNREACHABLE)} == {None}
    for plan, if_id in zip(state.tunnels, (berlin, rome), strict=True):
        assert {sa.if_id for sa in plan.sas} == {if_id}
        assert {policy.if_id for policy in plan.policies} == {if_id}
        assert {sa.output_mark for sa in plan.sas if sa.direction is SaDirection.OUT} == {
            Mark(if_id, 0xFFFF)
        }


@pytest.mark.parametrize(
    ("options", "ikey", "okey"),
    [
        ("", 1, 1),
        ("key = 5", 5, 5),
        ("input-key = 6\noutput-key = 7", 6, 7),
        ("key = 5\ninput-key = 6", 6, 5),
    ],
)
def test_the_keys_of_a_vti_are_the_marks_of_its_sas(options: str, ikey: int, okey: int) -> None:
    state = compiled(gateway_text(tables=f"{VTI}\n{options}"))
    interface = only_interface(state)
    here, there = ip_address("192.0.2.1"), ip_address("198.51.100.2")
    assert (interface.if_id, interface.vti) == (IfId(0), VtiEnds(here, there, ikey, okey))
    for sa in state.sas:
        assert sa.if_id == 0
        assert sa.mark == Mark(okey if sa.direction is SaDirection.OUT else ikey)
    for policy in state.policies:
        assert policy.if_id == 0
        assert policy.mark == Mark(okey if policy.direction is Direction.OUT else ikey)


def test_a_vti_of_several_peers_is_a_wildcard() -> None:
    text = gateway_text('remote-ts = ["10.2.0.0/16"]', tables=VTI)
    text += another_tunnel("rome", "203.0.113.3", 'remote-ts = ["10.3.0.0/16"]')
    vti = only_interface(compiled(text)).vti
    assert vti is not None
    assert vti.remote is None


def test_a_vrf_takes_interface_and_routes_into_its_table() -> None:
    options = '[interfaces.ipsec1]\nvrf = "red"\nlink = "eth0"'
    state = compiled(gateway_text(ROUTED, tables=options))
    interface = only_interface(state)
    assert (interface.vrf, interface.link) == ("red", "eth0")
    assert {one.table for one in state.routes} == {10}
    assert {one.table for one in compiled(gateway_text(ROUTED)).routes} == {MAIN_TABLE}


def test_one_prefix_may_lead_into_two_vrfs_if_the_gateway_allows_it() -> None:
    """Twins are kept apart by table."""
    text = gateway_text(ROUTED, tables='[interfaces.ipsec1]\nvrf = "red"')
    text += another_tunnel("rome", "203.0.113.3", 'routes = ["10.3.0.0/16"]', "ipsec2")
    twins = routes(compiled(text), RouteType.UNREACHABLE)
    assert {(str(one.destination), one.table) for one in twins} == {
        ("10.2.0.0/16", 10),
        ("10.3.0.0/16", MAIN_TABLE),
    }


@pytest.mark.parametrize(
    ("top", "defaults"),
    [
        ("", None),
        ('policy-default.forward = "block"', PolicyDefaults(forward=Default.BLOCK)),
        (
            'policy-default.input = "accept"\npolicy-default.output = "block"',
            PolicyDefaults(inbound=Default.ACCEPT, outbound=Default.BLOCK),
        ),
    ],
)
def test_policy_defaults(top: str, defaults: PolicyDefaults | None) -> None:
    assert compiled(gateway_text(top=top)).defaults == defaults


# --- MTU


def kernel_mtu(path: int, version: int, udp: bool, suite: EspSuite, mode: Mode, inner: int) -> int:
    """``xfrm_state_mtu()``, with ``header_len`` as ``esp_init_state()`` of each version has it."""
    header_len = 8 + suite.encryption.iv_size + (8 if udp else 0)
    net_adj = 0
    if mode is Mode.TUNNEL:
        header_len += 20 if version == 4 else 40
    else:
        net_adj = 20 if version == 4 else 40
    if mode is Mode.BEET and inner == 4:
        header_len += 8 if version == 4 else 8 + 20
    room = path - header_len - suite.icv_size - net_adj
    return (room & ~(suite.encryption.block_size - 1)) + net_adj - 2


def sent_size(
    inner_size: int, version: int, udp: bool, suite: EspSuite, mode: Mode, inner: int
) -> int:
    """Bytes of the outer packet around an inner one, with the options that BEET may have."""
    header = {4: 20, 6: 40}
    carried = inner_size if mode is Mode.TUNNEL else inner_size - header[inner]
    carried += 8 if mode is Mode.BEET and inner == 4 else 0
    block = suite.encryption.block_size
    text = -(-(carried + 2) // block) * block
    iv_and_icv = suite.encryption.iv_size + suite.icv_size
    return header[version] + (8 if udp else 0) + 8 + text + iv_and_icv


FORMS = [
    *product((4, 6), [Mode.TUNNEL], [4]),
    *((version, Mode.TRANSPORT, version) for version in (4, 6)),
    *product((4, 6), [Mode.BEET], (4, 6)),
]


@pytest.mark.parametrize("udp", [False, True], ids=["ESP", "UDP"])
@pytest.mark.parametrize(("version", "mode", "inner"), FORMS)
def test_the_mtu_fits_the_path_and_the_kernel(
    version: int, mode: Mode, inner: int, udp: bool
) -> None:
    for suite, path in product(ESP_SUITES.values(), range(1492, 1510)):
        encapsulation = Encapsulation.UDP if udp else Encapsulation.ESP
        mtu = inner_mtu(path, version, encapsulation, suite, mode=mode, inner_version=inner)
        kernel = kernel_mtu(path, version, udp, suite, mode, inner)
        assert mtu <= kernel, suite.name
        assert sent_size(mtu, version, udp, suite, mode, inner) <= path, suite.name
        larger = sent_size(mtu + 1, version, udp, suite, mode, inner) > path
        assert larger or mtu == kernel, f"{suite.name}: more would fit"


def test_the_mtu_is_that_of_the_path_and_the_key_file() -> None:
    cbc = compiled(gateway_text(), algorithm="aes256-sha256", path_mtu={"berlin": 1420})
    expected = inner_mtu(1420, 4, Encapsulation.ESP, ESP_SUITES["aes256-sha256"])
    assert only_interface(cbc).mtu == expected == 1358
    assert only_interface(compiled(gateway_text("mtu = 1300"))).mtu == 1300
    short = compiled(gateway_text(), path_mtu={"berlin": 1300})
    assert only_interface(short).mtu == 1280


def test_tunnels_that_share_an_interface_share_the_smallest_mtu() -> None:
    text = gateway_text('remote-ts = ["10.2.0.0/16"]')
    text += another_tunnel(
        "rome", "203.0.113.3", 'remote-ts = ["10.3.0.0/16"]\nencapsulation = "udp"'
    )
    assert only_interface(compiled(text)).mtu == inner_mtu(1500, 4, Encapsulation.UDP, GCM)


@pytest.mark.parametrize("inner", [4, 6])
def test_the_mtu_of_beet_is_that_of_its_inner_addresses(inner: int) -> None:
    ends = ("10.255.0.1/32", "10.255.0.2/32") if inner == 4 else ("fd00::1/128", "fd00::2/128")
    more = f'mode = "beet"\nlocal-ts = ["{ends[0]}"]\nremote-ts = ["{ends[1]}"]'
    expected = inner_mtu(1500, 4, Encapsulation.ESP, GCM, mode=Mode.BEET, inner_version=inner)
    assert only_interface(compiled(gateway_text(more))).mtu == expected
