"""What a gateway asks of a data plane, with whose and which key it is."""

import pytest

from plutino.config.load import load_text
from plutino.desired.demands import demands_of
from plutino.model.algorithms import ESP_SUITES
from plutino.model.feature import PLAIN_TUNNEL, Demands, Feature
from tests.support.gateways import another_tunnel, compiled, gateway_text

BEET = 'mode = "beet"\nlocal-ts = ["10.255.0.1/32"]\nremote-ts = ["10.255.0.2/32"]\n'
TUNNEL, INTERFACE = "tunnels.berlin", "interfaces.ipsec1"


def demanded(text: str, algorithm: str = "aes256gcm16") -> Demands:
    gateway = load_text(text, "gateway.toml")
    return demands_of(gateway, compiled(text, algorithm=algorithm))


def by_feature(text: str, algorithm: str = "aes256gcm16") -> dict[Feature, str]:
    return {one.feature: one.key for one in demanded(text, algorithm).requirements}


PLAIN = {one.feature for one in PLAIN_TUNNEL.requirements}


def test_a_plain_tunnel_asks_for_what_doctor_looks_for_without_a_file() -> None:
    for local, other in (("192.0.2.1", "V6"), ("2001:db8::1", "V4")):
        found = by_feature(gateway_text(local=local))
        assert found.keys() == PLAIN - {Feature[f"ESP_TUNNEL_{other}"]}


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (gateway_text(BEET), {Feature.ESP_BEET_V4: f"{TUNNEL}.mode"}),
        (gateway_text(BEET, local="2001:db8::1"), {Feature.ESP_BEET_V6: f"{TUNNEL}.mode"}),
        (gateway_text('mode = "transport"'), {Feature.ESP_TRANSPORT_V4: f"{TUNNEL}.mode"}),
        (gateway_text('encapsulation = "udp"'), {Feature.UDP_V4: f"{TUNNEL}.encapsulation"}),
        (
            gateway_text('encapsulation = "udp"\nnat-keepalive = 9', local="2001:db8::1"),
            {
                Feature.UDP_V6: f"{TUNNEL}.encapsulation",
                Feature.NAT_KEEPALIVE: f"{TUNNEL}.nat-keepalive",
            },
        ),
        (gateway_text("replay-window = 2048"), {Feature.REPLAY_WINDOW: f"{TUNNEL}.replay-window"}),
        (gateway_text('mark-in = "1"'), {Feature.MARK: f"{TUNNEL}.mark-in"}),
        (gateway_text('set-mark-in = "1"'), {Feature.INPUT_MARK: f"{TUNNEL}.set-mark-in"}),
        (gateway_text('set-mark-out = "1"'), {Feature.OUTPUT_MARK: f"{TUNNEL}.set-mark-out"}),
        (
            gateway_text(top="mark-mask = 0xffffffff"),
            {Feature.OUTPUT_MARK: f"{TUNNEL}.interface"},
        ),
        (gateway_text('offload.device = "eth0"'), {Feature.CRYPTO_OFFLOAD: f"{TUNNEL}.offload"}),
        (
            gateway_text('offload = { device = "eth0", mode = "packet" }'),
            {Feature.PACKET_OFFLOAD: f"{TUNNEL}.offload"},
        ),
        (
            gateway_text(tables="[interfaces.ipsec1]\nexternal = true"),
            {
                Feature.EXTERNAL_LINK: f"{INTERFACE}.external",
                Feature.ENCAP_ROUTE: f"{INTERFACE}.external",
            },
        ),
        (
            gateway_text(tables='[interfaces.ipsec1]\nkind = "vti"'),
            {Feature.VTI_V4: f"{INTERFACE}.kind", Feature.MARK: f"{INTERFACE}.kind"},
        ),
        (
            gateway_text(tables='[interfaces.ipsec1]\nvrf = "red"'),
            {Feature.VRF: f"{INTERFACE}.vrf"},
        ),
        (
            gateway_text(top='policy-default.input = "block"'),
            {Feature.POLICY_DEFAULT: "policy-default"},
        ),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_each_option_asks_for_its_feature_by_its_key(text: str, asked: dict[Feature, str]) -> None:
    found = by_feature(text)
    assert {feature: key for feature, key in found.items() if feature not in PLAIN} == asked


def test_a_mask_is_asked_for_by_the_key_that_could_widen_it() -> None:
    for text, key in (
        (gateway_text(), "mark-mask"),
        (gateway_text(top="mark-mask = 255"), "mark-mask"),
        (gateway_text('set-mark-out = "1/0xff"'), f"{TUNNEL}.set-mark-out"),
    ):
        assert by_feature(text)[Feature.OUTPUT_MARK_MASK] == key


def test_a_vti_asks_for_no_xfrm_interface_and_no_if_id() -> None:
    found = by_feature(gateway_text(tables='[interfaces.ipsec1]\nkind = "vti"'))
    assert Feature.XFRM_LINK not in found
    assert Feature.POLICY not in found


@pytest.mark.parametrize("algorithm", ESP_SUITES)
def test_every_algorithm_is_asked_for_by_its_key_file(algorithm: str) -> None:
    suite = ESP_SUITES[algorithm]
    names = {part.kernel_name for part in (suite.encryption, suite.integrity) if part is not None}
    found = by_feature(gateway_text(), algorithm)
    key = f"{TUNNEL}.static.key-file"
    assert {feature.value for feature, one in found.items() if one == key} == names


def test_each_tunnel_asks_for_itself_and_an_interface_once() -> None:
    text = gateway_text('remote-ts = ["10.2.0.0/16"]')
    text += another_tunnel("rome", "203.0.113.3", 'remote-ts = ["10.3.0.0/16"]')
    found = [(one.feature, one.user) for one in demanded(text).requirements]
    assert len(found) == len(set(found))
    assert (Feature.ESP_TUNNEL_V4, "tunnel 'berlin'") in found
    assert (Feature.ESP_TUNNEL_V4, "tunnel 'rome'") in found
    assert [user for feature, user in found if feature is Feature.XFRM_LINK] == [
        "interface 'ipsec1'"
    ]


def test_options_of_one_plane_are_passed_on() -> None:
    (binding,) = demanded(gateway_text('mark-out = "1"')).bindings
    assert (binding.plane, binding.key) == ("kernel", "tunnels.berlin.mark-out")
    (binding,) = demanded(gateway_text('mode = "transport"')).bindings
    assert (binding.plane, binding.key) == ("userspace", "tunnels.berlin.mode")


def with_ike(options: str, more: str = "") -> str:
    text = gateway_text(more)
    return (
        text[: text.index("static.key-file")] + f"[tunnels.berlin.ike]\npsk-file = 'x'\n{options}"
    )


@pytest.mark.parametrize("algorithm", ["aes256gcm16", "chacha20poly1305", "aes128-sha256"])
def test_keys_by_ike_ask_for_the_same_before_there_are_any(algorithm: str) -> None:
    static = by_feature(gateway_text('encapsulation = "udp"'), algorithm)
    by_ike = by_feature(
        with_ike(f'esp-proposals = ["{algorithm}", "aes256-sha512"]', 'encapsulation = "udp"')
    )
    assert by_ike.keys() == static.keys() - {Feature.ESN}
    assert f"{TUNNEL}.ike.esp-proposals" in by_ike.values()


def test_nothing_that_ike_is_expected_to_make_is_installed() -> None:
    assert not compiled(with_ike("")).sas
