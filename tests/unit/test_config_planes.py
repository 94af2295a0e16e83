"""Options that one data plane alone serves: place and words."""

import pytest

from plutino.config.load import load_text
from plutino.config.planes import plane_needs
from tests.support.gateways import another_tunnel, gateway_text, line_of, refusal

USERSPACE = 'data-plane = "userspace"'
KERNEL = 'data-plane = "kernel"'
VTI = '[interfaces.ipsec1]\nkind = "vti"'


@pytest.mark.parametrize(
    ("text", "key", "line", "why", "hint"),
    [
        pytest.param(
            gateway_text(top=USERSPACE, tables=VTI), "interfaces.ipsec1.kind", "kind",
            "a VTI is a device of the kernel", 'kind = "xfrm"', id="a VTI",
        ),
        pytest.param(
            gateway_text(top=USERSPACE, tables='[interfaces.ipsec1]\nlink = "eth0"'),
            "interfaces.ipsec1.link", "link", "no underlying device", "remove it", id="a link",
        ),
        *(
            pytest.param(
                gateway_text(f'{key} = "0x10/0xff"', top=USERSPACE), f"tunnels.berlin.{key}", key,
                "packets have no mark", "the if_id tells tunnels apart", id=key,
            )
            for key in ("mark-in", "mark-out")
        ),
        pytest.param(
            gateway_text('offload.device = "eth0"', top=USERSPACE), "tunnels.berlin.offload",
            "offload.device", "no network device takes over SAs of the engine", "remove it",
            id="offload",
        ),
        pytest.param(
            gateway_text('mode = "transport"', top=KERNEL), "tunnels.berlin.mode", "mode",
            "loops in an XFRM interface", 'data-plane = "userspace"', id="transport",
        ),
    ],
)  # fmt: skip
def test_the_other_plane_refuses_it(text: str, key: str, line: str, why: str, hint: str) -> None:
    problem = refusal(text, key)
    assert problem.line == line_of(text, line)
    assert why in problem.why
    assert hint in (problem.hint or "")
    right = (
        text.replace(USERSPACE, KERNEL) if USERSPACE in text else text.replace(KERNEL, USERSPACE)
    )
    for served in (right, text.replace(USERSPACE, "").replace(KERNEL, "")):
        (need,) = plane_needs(load_text(served, "gateway.toml"))
        assert ".".join(map(str, need.at)) == key


def test_what_no_plane_serves_together_names_both() -> None:
    text = gateway_text('mode = "transport"\nmark-out = "0x10"')
    problem = refusal(text, "tunnels.berlin.mark-out")
    assert problem.line == line_of(text, "mark-out")
    assert problem.why.endswith("but `tunnels.berlin.mode` needs the userspace plane")


def test_what_no_plane_serves_may_stand_in_two_tunnels() -> None:
    text = gateway_text('mode = "transport"', tables='[interfaces.ipsec2]\nkind = "vti"')
    text += another_tunnel("rome", "203.0.113.3", interface="ipsec2")
    problem = refusal(text, "tunnels.berlin.mode")
    assert "but `interfaces.ipsec2.kind` needs the kernel plane" in problem.why


@pytest.mark.parametrize("top", ["", KERNEL, USERSPACE])
@pytest.mark.parametrize(
    "more",
    [
        "",
        'mode = "beet"\nlocal-ts = ["10.255.0.1/32"]\nremote-ts = ["10.255.0.2/32"]',
        'encapsulation = "udp"\nnat-keepalive = 20',
        'set-mark-out = "0x10"',
    ],
)
def test_both_planes_serve_the_rest(top: str, more: str) -> None:
    gateway = load_text(gateway_text(more, top=top), "gateway.toml")
    assert not tuple(plane_needs(gateway))
