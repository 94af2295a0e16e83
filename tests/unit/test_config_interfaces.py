"""What options of interfaces must be, alone and with their tunnels: place and words."""

import pytest

from plutino.config.load import load_text
from tests.support.gateways import another_tunnel, gateway_text, line_of, refusal

VTI = '[interfaces.ipsec1]\nkind = "vti"'
EXTERNAL = "[interfaces.ipsec1]\nexternal = true"


@pytest.mark.parametrize(
    ("text", "key", "line", "why", "hint"),
    [
        pytest.param(
            gateway_text(tables="[interfaces.ipsec2]"), "interfaces.ipsec2", "[interfaces.ipsec2]",
            'no tunnel has `interface = "ipsec2"`', "misspelled", id="no tunnel",
        ),
        *(
            pytest.param(
                gateway_text(tables=f"[interfaces.ipsec1]\n{key} = 5"), f"interfaces.ipsec1.{key}",
                key, "an XFRM interface has no keys, but an if_id", 'kind = "vti"',
                id=f"{key} of an XFRM interface",
            )
            for key in ("key", "input-key", "output-key")
        ),
        pytest.param(
            gateway_text(tables=f'{EXTERNAL}\nlink = "eth0"'), "interfaces.ipsec1.link", "link",
            "an external interface has no underlying device", "remove it", id="external of a link",
        ),
        pytest.param(
            gateway_text(tables=f"{EXTERNAL}\n[interfaces.ipsec2]\nexternal = true #2")
            + another_tunnel("rome", "203.0.113.3", interface="ipsec2"),
            "interfaces.ipsec2.external", "external = true #2",
            "ipsec1 is external already, and the kernel has one at most", "share it",
            id="two external ones",
        ),
        pytest.param(
            gateway_text(tables=f"{VTI}\nexternal = true"), "interfaces.ipsec1.external",
            "external", "is for XFRM interfaces, not for a VTI", "remove it", id="an external VTI",
        ),
        pytest.param(
            gateway_text(tables=f'{VTI}\nlink = "eth0"'), "interfaces.ipsec1.link", "link",
            "is for XFRM interfaces, not for a VTI", "remove it", id="a VTI of a link",
        ),
        pytest.param(
            gateway_text('mode = "transport"', tables=VTI), "tunnels.berlin.mode", "mode",
            "a VTI cannot do transport mode", 'kind = "xfrm"', id="a VTI of another mode",
        ),
        pytest.param(
            gateway_text("if-id = 5", tables=VTI), "tunnels.berlin.if-id", "if-id",
            "a VTI has keys instead of an if_id", "set `ipsec1`'s `key`", id="a VTI with if_id",
        ),
        pytest.param(
            gateway_text('remote-ts = ["10.2.0.0/16"]', tables=VTI)
            + another_tunnel("rome", "203.0.113.3", 'remote-ts = ["10.3.0.0/16"]').replace(
                'local = "192.0.2.1"', 'local = "192.0.2.9"'
            ),
            "tunnels.rome.local", 'local = "192.0.2.9"', "a VTI has one local address",
            "a second VTI", id="a VTI of two local addresses",
        ),
        pytest.param(
            gateway_text('remote-ts = ["10.2.0.0/16"]', tables=VTI)
            + another_tunnel("rome", "2001:db8::3", 'remote-ts = ["10.3.0.0/16"]').replace(
                'local = "192.0.2.1"', 'local = "2001:db8::1"'
            ),
            "tunnels.rome.remote", 'remote = "2001:db8::3"', "a VTI has one outer IP version",
            "a second VTI", id="a VTI of both IP versions",
        ),
        pytest.param(
            gateway_text(tables=f"{VTI}\nkey = 0"), "interfaces.ipsec1.key", "key",
            "greater than or equal to 1", None, id="key 0",
        ),
        pytest.param(
            gateway_text(tables='[interfaces.ipsec1]\nkind = "gre"'), "interfaces.ipsec1.kind",
            "kind", "'xfrm' or 'vti', not 'gre'", None, id="another kind",
        ),
        pytest.param(
            gateway_text(tables="[interfaces.ipsec1]\nvfr = 1"), "interfaces.ipsec1.vfr", "vfr",
            "unknown key", "did you mean 'vrf'?", id="a misspelled option",
        ),
        pytest.param(
            gateway_text(tables=EXTERNAL)
            + another_tunnel("rome", "203.0.113.3", "if-id = 7 #rome")
            + another_tunnel("oslo", "203.0.113.4", "if-id = 7 #oslo"),
            "tunnels.oslo.if-id", "if-id = 7 #oslo",
            "if_id 7 of tunnel 'oslo' is that of tunnel 'rome' already", "of its own",
            id="one if_id twice on an external interface",
        ),
    ],
)  # fmt: skip
def test_a_refusal_names_line_key_reason_and_way_out(
    text: str, key: str, line: str, why: str, hint: str | None
) -> None:
    problem = refusal(text, key)
    assert problem.line == line_of(text, line)
    assert why in problem.why
    assert (problem.hint is None) if hint is None else (hint in (problem.hint or ""))


def test_two_vtis_of_several_peers_need_local_addresses_of_their_own() -> None:
    """Each would take all that comes to the address, whatever its key."""
    text = gateway_text(
        'remote-ts = ["10.2.0.0/16"]', tables=f'{VTI}\n[interfaces.ipsec2]\nkind = "vti" #2'
    )
    for number, interface in ((3, "ipsec1"), (4, "ipsec2"), (5, "ipsec2")):
        selector = f'remote-ts = ["10.{number}.0.0/16"]'
        text += another_tunnel(f"t{number}", f"203.0.113.{number}", selector, interface)
    problem = refusal(text, "interfaces.ipsec2.kind")
    assert problem.line == line_of(text, 'kind = "vti" #2')
    assert "there can be one for each local address" in problem.why


@pytest.mark.parametrize(
    "text",
    [
        gateway_text(tables=VTI),
        gateway_text(tables=f"{VTI}\nkey = 5"),
        gateway_text(tables=f"{VTI}\ninput-key = 5\noutput-key = 6"),
        gateway_text(tables='[interfaces.ipsec1]\nlink = "eth0"\nvrf = "red"'),
        gateway_text(tables=f'{EXTERNAL}\nvrf = "red"')
        + another_tunnel("rome", "203.0.113.3", "if-id = 7"),
    ],
)
def test_what_goes_together_is_taken(text: str) -> None:
    assert "berlin" in load_text(text, "gateway.toml").tunnels


def test_tunnels_of_an_external_interface_need_no_selectors_of_their_own() -> None:
    """Elsewhere an interface stands for one if_id, so that selectors tell its tunnels apart."""
    shared = gateway_text() + another_tunnel("rome", "203.0.113.3")
    assert "share ipsec1" in refusal(shared, "tunnels.rome.remote-ts").why
    load_text(gateway_text(tables=EXTERNAL) + another_tunnel("rome", "203.0.113.3"), "x")
