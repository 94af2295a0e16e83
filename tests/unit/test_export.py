"""What `plutino export` writes; the daemons themselves read it in tests/scenarios."""

import subprocess
from ipaddress import ip_network
from pathlib import Path

import pytest
from click.testing import CliRunner

from plutino.cli.export import export
from plutino.config.gateway import Gateway
from plutino.config.load import load_text
from plutino.export.bird import bird_text
from plutino.export.frr import frr_text
from plutino.export.neighbours import RoutingOptions, neighbours, without_neighbour
from plutino.export.networkd import networkd_text
from tests.support.gateways import another_tunnel, gateway_text
from tests.support.guest import skip_loudly
from tests.support.routing_daemons import why_no_routing_daemons

TEXT = gateway_text('addresses = ["10.255.0.0/31", "fd00:1::/127"]') + another_tunnel(
    "rome", "203.0.113.1", 'addresses = ["10.255.9.1/24"]', "ipsec2"
)
GATEWAY = load_text(TEXT, "gateway.toml")
BGP = RoutingOptions(65001, {"berlin": 65002}, announced=(ip_network("10.1.0.0/16"),))


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("10.0.0.0/31", "10.0.0.1"),
        ("10.0.0.1/31", "10.0.0.0"),
        ("10.0.0.1/30", "10.0.0.2"),
        ("fd00::/127", "fd00::1"),
        ("10.0.0.1/24", None),
        ("fd00::1/126", None),
        ("10.0.0.1/32", None),
    ],
)
def test_the_other_end_follows_from_a_network_of_two(address: str, peer: str | None) -> None:
    gateway = load_text(gateway_text(f'addresses = ["{address}"]'), "gateway.toml")
    assert [str(one.address) for one in neighbours(gateway, None)] == ([peer] if peer else [])
    assert without_neighbour(gateway, None) == ([] if peer else ["berlin"])


def test_frr() -> None:
    text = frr_text(GATEWAY, BGP)
    for line in (
        "interface ipsec1",
        "router bgp 65001",
        " neighbor 10.255.0.1 remote-as 65002",
        " neighbor fd00:1::1 bfd",
        "  network 10.1.0.0/16",
        "  neighbor fd00:1::1 activate",
    ):
        assert line in text.splitlines()
    assert "! tunnel rome: neighbor ADDRESS" in text
    assert "ospf" not in text


def test_bird() -> None:
    text = bird_text(GATEWAY, RoutingOptions(65001, area="0.0.0.0"))
    assert "protocol ospf v2" in text
    assert "protocol ospf v3" in text
    assert "neighbor 10.255.0.1 external;" in text
    assert text.count("{") == text.count("}")


RED = load_text(
    gateway_text('addresses = ["10.255.0.0/31"]', tables='[interfaces.ipsec1]\nvrf = "red-1"')
    + another_tunnel("rome", "203.0.113.1", 'addresses = ["10.255.0.2/31"]', "ipsec2"),
    "gateway.toml",
)
IN_VRF = RoutingOptions(
    65001,
    area="0.0.0.0",
    announced=(ip_network("10.1.0.0/16"),),
    babel=True,
    vrf_tables={"red-1": 10},
)


def test_frr_in_a_vrf() -> None:
    lines = frr_text(RED, IN_VRF).splitlines()
    for line in (
        "interface ipsec1 vrf red-1",
        "interface ipsec2",
        "router bgp 65001",
        "router bgp 65001 vrf red-1",
        "router ospf vrf red-1",
        "router ospf6 vrf red-1",
    ):
        assert line in lines
    inside = lines[lines.index("router bgp 65001 vrf red-1") :]
    assert " neighbor 10.255.0.1 interface ipsec1" in inside
    assert not any("10.255.0.3" in line for line in inside)


def test_bird_in_a_vrf() -> None:
    text = bird_text(RED, IN_VRF)
    for part in (
        "ipv4 table plutino_red_14;",
        'protocol kernel plutino_kernel4_red_1 { vrf "red-1";\n  kernel table 10;',
        "protocol kernel plutino_kernel4 {\n  ipv4 { import none;",
        'protocol babel plutino_babel_red_1 { vrf "red-1";\n  ipv4 { table plutino_red_14; import',
    ):
        assert part in text


@pytest.mark.parametrize(
    ("command", "gateway"),
    [("bird -p -c", RED), ("bird -p -c", GATEWAY), ("vtysh -C -f", RED), ("vtysh -C -f", GATEWAY)],
)
def test_the_daemons_themselves_take_it(tmp_path: Path, command: str, gateway: Gateway) -> None:
    if (why := why_no_routing_daemons()) is not None:
        skip_loudly(why)
    write = bird_text if command.startswith("bird") else frr_text
    file = tmp_path / "conf"
    file.write_text(write(gateway, IN_VRF))
    done = subprocess.run([*command.split(), file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nknown" not in done.stdout + done.stderr


def test_networkd_leaves_our_interfaces_alone() -> None:
    assert "Name=ipsec1 ipsec2\n\n[Link]\nUnmanaged=yes\n" in networkd_text(GATEWAY)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--peer-as", "oslo=1"], "there is no tunnel 'oslo' (known: berlin)"),
        (["--peer-as", "berlin=x"], "is no AS number"),
        (["--area", "x"], "is no area"),
        (["--vrf-table", "red"], "names no VRF and its table"),
        (["--babel"], "`plutino export bird` writes it"),
        (["--announce", "10.1.0.1/16"], "has host bits set"),
    ],
)
def test_what_is_wrong_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], why: str
) -> None:
    monkeypatch.setattr("plutino.cli.export.load_target", lambda *_: (_Loaded(), None))
    done = CliRunner().invoke(export, ["frr", str(tmp_path), *options])
    assert done.exit_code == 2
    assert why in " ".join(done.output.replace("│", " ").split())


class _Loaded:
    gateway = load_text(gateway_text(), "gateway.toml")
