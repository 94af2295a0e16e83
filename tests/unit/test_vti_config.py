"""What a VTI cannot do is refused with the reason; what it can becomes keys and marks."""

from ipaddress import ip_address

import pytest

from plutino.config.load import load_text
from plutino.config.numbers import tunnel_numbers, vti_keys
from plutino.model.errors import ConfigError
from plutino.model.interface import VtiEnds
from plutino.model.numbers import Mark

VTI = """
[interfaces.vti1]
kind = "vti"
"""
TUNNEL = """
[tunnels.{name}]
interface = "{interface}"
local = "{local}"
remote = "{remote}"
static.key-file = "{name}.keys"
"""


def tunnel(
    name: str = "berlin",
    interface: str = "vti1",
    local: str = "192.0.2.1",
    remote: str = "198.51.100.2",
    more: str = "",
) -> str:
    return TUNNEL.format(name=name, interface=interface, local=local, remote=remote) + more


def of(second: str, *tunnels: str) -> str:
    """Interface tables for vti1 and another of the same kind, then tunnels."""
    return VTI + VTI.replace("vti1", second) + "".join(tunnels)


BERLIN_TS, ROME_TS = 'remote-ts = ["10.2.0.0/16"]\n', 'remote-ts = ["10.3.0.0/16"]\n'
ROME = "203.0.113.3"


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        (
            VTI + tunnel(more='mode = "transport"\n'),
            "tunnels.berlin.mode",
            "a VTI cannot do transport mode, it wraps whole packets",
        ),
        (
            VTI
            + tunnel(more='mode = "beet"\nlocal-ts = ["10.1.0.1/32"]\nremote-ts = ["10.2.0.1/32"]'),
            "tunnels.berlin.mode",
            "a VTI cannot do beet mode",
        ),
        (
            VTI
            + tunnel(more=BERLIN_TS)
            + tunnel("six", local="2001:db8::1", remote="2001:db8::2", more=ROME_TS),
            "tunnels.six.remote",
            "vti1 is a VTI for IPv4 outside: a VTI has one outer IP version",
        ),
        (
            VTI + tunnel(more=BERLIN_TS) + tunnel("rome", local="192.0.2.9", more=ROME_TS),
            "tunnels.rome.local",
            "vti1 is a VTI of 192.0.2.1: a VTI has one local address",
        ),
        (
            of(
                "vti2",
                tunnel(more=BERLIN_TS),
                tunnel("rome", remote=ROME, more=ROME_TS),
                tunnel("oslo", "vti2", remote="203.0.113.4", more=BERLIN_TS),
                tunnel("bern", "vti2", remote="203.0.113.5", more=ROME_TS),
            ),
            "interfaces.vti2.kind",
            "serves several peers, as vti1 does from the same address, and of such VTIs there can "
            "be one for each local address",
        ),
        (
            of("vti2", tunnel(), tunnel("again", "vti2")),
            "interfaces.vti2.kind",
            "vti1 is a VTI between 192.0.2.1 and 198.51.100.2 already, and there can be one",
        ),
        (
            VTI + tunnel() + tunnel("again", "ipsec1"),
            "tunnels.again.remote",
            "vti1 is a VTI, to which the kernel gives all ESP from 198.51.100.2",
        ),
        (
            VTI
            + tunnel(more=BERLIN_TS)
            + tunnel("rome", remote=ROME, more=ROME_TS)
            + tunnel("oslo", "ipsec1", remote="203.0.113.4"),
            "tunnels.oslo.remote",
            "vti1 is a VTI, to which the kernel gives all ESP from 203.0.113.4",
        ),
        (
            '[policy-default]\ninput = "block"\n' + VTI + tunnel(),
            "policy-default.input",
            "would block all that comes out of vti1, a VTI",
        ),
        (
            '[policy-default]\nforward = "block"\n' + VTI + tunnel(),
            "policy-default.forward",
            "would block all that comes out of vti1, a VTI",
        ),
        (
            'data-plane = "userspace"\n' + VTI + tunnel(),
            "interfaces.vti1.kind",
            "a VTI is a device of the kernel",
        ),
        (
            VTI + "external = true\n" + tunnel(),
            "interfaces.vti1.external",
            "is for XFRM interfaces, not for a VTI",
        ),
        (
            VTI + 'link = "eth0"\n' + tunnel(),
            "interfaces.vti1.link",
            "is for XFRM interfaces, not for a VTI",
        ),
        (
            VTI + "key = 5\n" + tunnel(more='mark-in = "0x6/0xff"\n'),
            "tunnels.berlin.mark-in",
            "0x6/0xff does not fit the VTI's key 5, by which the kernel looks it up",
        ),
        (
            VTI.replace("vti1", "ipsec9999999999") + tunnel(interface="ipsec9999999999"),
            "tunnels.berlin.interface",
            "IfId must be between 0 and 4294967295, not 9999999999",
        ),
        (
            VTI + tunnel(more="if-id = 3\n"),
            "tunnels.berlin.if-id",
            "a VTI has keys instead of an if_id",
        ),
        (
            VTI.replace('vti"', 'xfrm"') + "key = 3\n" + tunnel(),
            "interfaces.vti1.key",
            "an XFRM interface has no keys, but an if_id",
        ),
        (
            VTI + "key = 0\n" + tunnel(),
            "interfaces.vti1.key",
            "greater than or equal to 1",
        ),
    ],
)
def test_what_a_vti_cannot_do_is_refused_with_the_reason(text: str, key: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_text(text, "gateway.toml")
    (problem,) = refused.value.problems
    assert problem.key == key
    assert words in problem.why


def test_a_wildcard_and_a_vti_of_another_peer_may_share_the_local_address() -> None:
    text = of(
        "vti2",
        tunnel(more=BERLIN_TS),
        tunnel("rome", remote=ROME, more=ROME_TS),
        tunnel("oslo", "vti2", remote="203.0.113.4"),
    )
    assert len(load_text(text, "gateway.toml").tunnels) == 3


def test_keys_are_the_marks_of_policies_and_sas() -> None:
    gateway = load_text(VTI + "input-key = 5\noutput-key = 7\n" + tunnel(), "gateway.toml")
    assert (vti_keys(gateway, "vti1").input, vti_keys(gateway, "vti1").output) == (5, 7)
    numbers = tunnel_numbers(gateway, "berlin")
    assert (numbers.if_id, numbers.mark_in, numbers.mark_out) == (0, Mark(5), Mark(7))


def test_a_vti_carries_what_has_its_ends_and_its_key_as_mark() -> None:
    ours, berlin, rome = map(ip_address, ("192.0.2.1", "198.51.100.2", ROME))
    ends = VtiEnds(ours, berlin, input_key=5, output_key=7)
    assert ends.carries(ours, berlin, Mark(7))
    assert ends.carries(berlin, ours, Mark(5))
    assert ends.carries(ours, berlin, None)
    assert ends.carries(ours, berlin, Mark(0x7, 0xF))
    assert not ends.carries(ours, berlin, Mark(5))
    assert not ends.carries(ours, rome, Mark(7))
    assert not ends.carries(rome, berlin, Mark(5))
    assert VtiEnds(ours, None, 5, 7).carries(rome, ours, Mark(5))
