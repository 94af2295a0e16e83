"""What mode, encapsulation and marks ask of a tunnel's other options: place and words."""

import pytest

from plutino.config.load import load_text
from tests.support.gateways import gateway_text, line_of, refusal

BEET = 'mode = "beet"\nlocal-ts = ["10.255.0.1/32"]\nremote-ts = ["10.255.0.2/32"]\n'


@pytest.mark.parametrize(
    ("more", "key", "line", "why", "hint"),
    [
        pytest.param(
            BEET.replace("10.255.0.2/32", "10.255.0.0/24"), "remote-ts", "remote-ts",
            "one fixed inner address on each side", "10.255.0.1/32", id="BEET to a network",
        ),
        pytest.param(
            BEET.replace('"10.255.0.1/32"', '"10.255.0.1/32", "fd00::1/128"'), "local-ts",
            "local-ts", "one fixed inner address", "such as", id="BEET of two addresses",
        ),
        pytest.param(
            'mode = "beet"\nremote-ts = ["10.255.0.2/32"]', "local-ts", "[tunnels.berlin]",
            "one fixed inner address", "such as", id="BEET of everything",
        ),
        pytest.param(
            'mode = "transport"\nlocal-ts = ["10.1.0.0/16"]', "local-ts[0]", "local-ts",
            "protects what `local` and `remote` send", '"0.0.0.0/0[tcp]"',
            id="transport with our selectors",
        ),
        pytest.param(
            'mode = "transport"\nremote-ts = ["10.1.0.0/16"]', "remote-ts[0]", "remote-ts",
            "protects what `local` and `remote` send", '"0.0.0.0/0[tcp]"',
            id="transport with the peer's selectors",
        ),
        pytest.param(
            'mode = "transport"\nroutes = ["10.1.0.0/16"]', "routes[0]", "routes",
            "10.1.0.0/16 cannot be reached in transport mode, only 198.51.100.2 itself",
            'mode = "tunnel"', id="transport with a network behind the peer",
        ),
        pytest.param(
            "nat-keepalive = 20", "nat-keepalive", "nat-keepalive", "ESP in UDP",
            'encapsulation = "udp"', id="keepalives of ESP",
        ),
        *(
            pytest.param(
                f'{key} = "0x11/0xf0"', key, key, "0x11/0xf0 has bits that its mask leaves out",
                "0x10/0xf0", id=f"{key} beyond its mask",
            )
            for key in ("mark-in", "mark-out", "set-mark-in", "set-mark-out")
        ),
        pytest.param(
            "mark-in = 3", "mark-in", "mark-in", "a mark with an optional mask in quotes, not 3",
            "0x10/0xff", id="a mark without quotes",
        ),
        pytest.param(
            'set-mark-out = "0x100000000"', "set-mark-out", "set-mark-out", "not '0x100000000'",
            "all 32 bits", id="a mark of 33 bits",
        ),
        pytest.param(
            'set-mark-out = "-1"', "set-mark-out", "set-mark-out", "not '-1'", "all 32 bits",
            id="a negative mark",
        ),
        pytest.param(
            "replay-window = 0", "replay-window", "replay-window", "greater than or equal to 1",
            None, id="no replay window",
        ),
        pytest.param(
            "replay-window = 4097", "replay-window", "replay-window", "less than or equal to 4096",
            None, id="a replay window beyond the kernel's",
        ),
        pytest.param(
            'mode = "iptfs"', "mode", "mode", "'tunnel', 'transport' or 'beet', not 'iptfs'", None,
            id="a mode that is not served",
        ),
        pytest.param(
            'encapsulation = "udp"\nnat-keepalive = 3601', "nat-keepalive", "nat-keepalive",
            "less than or equal to 3600", None, id="a keepalive in more than an hour",
        ),
        pytest.param(
            'offload.mode = "crypto"', "offload.device", "offload.mode", "is missing",
            "The device that outer packets pass", id="offload to nothing",
        ),
        pytest.param(
            'offload.device = "eth0"\noffload.directions = "in"', "offload.directions",
            "offload.directions", "'out' or 'both', not 'in'", None, id="offload of one wrong way",
        ),
    ],
)  # fmt: skip
def test_a_refusal_names_line_key_reason_and_way_out(
    more: str, key: str, line: str, why: str, hint: str | None
) -> None:
    text = gateway_text(more)
    problem = refusal(text, f"tunnels.berlin.{key}")
    assert problem.line == line_of(text, line)
    assert why in problem.why
    if hint is None:
        assert problem.hint is None
    else:
        assert hint in (problem.hint or "")


def test_beet_of_both_ip_versions_is_refused_once() -> None:
    text = gateway_text(BEET.replace("10.255.0.2/32", "fd00::2/128"))
    problem = refusal(text, "tunnels.berlin.remote-ts")
    assert problem.line == line_of(text, "remote-ts")
    assert "other IP versions than `local-ts`" in problem.why


@pytest.mark.parametrize(
    "more",
    [
        BEET,
        BEET.replace("10.255.0.1/32", "fd00::1/128").replace("10.255.0.2/32", "fd00::2/128"),
        'mode = "transport"',
        'encapsulation = "udp"\nnat-keepalive = 20',
        'mark-in = "0x10"\nmark-out = "16/0xff"\nset-mark-in = "0x0/0xf"',
        "replay-window = 1",
        "replay-window = 4096",
        'offload.device = "eth0"\noffload.mode = "packet"\noffload.directions = "both"',
    ],
)
def test_what_goes_together_is_taken(more: str) -> None:
    assert load_text(gateway_text(more), "gateway.toml").tunnels.keys() == {"berlin"}


def test_a_mark_without_mask_has_all_bits() -> None:
    tunnel = load_text(gateway_text('mark-in = "16"'), "x").tunnels["berlin"]
    assert str(tunnel.mark_in) == "0x10/0xffffffff"


def test_transport_mode_has_a_route_to_the_peer_itself() -> None:
    text = gateway_text('mode = "transport"\nroutes = ["198.51.100.2/32"]')
    (route,) = load_text(text, "x").tunnels["berlin"].routes
    assert str(route) == "198.51.100.2/32"
