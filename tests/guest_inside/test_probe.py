"""What `plutino doctor` finds in a booted kernel, and what `auto` makes of it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.lab.guest.run import GUEST_VARIABLE
from plutino.lab.hosts import plutino_program
from plutino.model.feature import Feature
from tests.support.gateways import gateway_text
from tests.support.namespace import fresh_namespace

pytestmark = pytest.mark.guest

KERNEL = os.environ.get(GUEST_VARIABLE, "")
NEWER_THAN_6_12 = {Feature.IPTFS, Feature.MIGRATE_STATE}
MISSING = {
    "uml-6.12": NEWER_THAN_6_12,
    "qemu-6.12": NEWER_THAN_6_12,
    "qemu-6.1": NEWER_THAN_6_12
    | {Feature.NAT_KEEPALIVE, Feature.SA_DIRECTION, Feature.SA_CPU, Feature.PACKET_OFFLOAD},
    "qemu-7.3": set(),
    "uml-7.3": set(),
}
BEET = 'mode = "beet"\nlocal-ts = ["10.255.0.1/32"]\nremote-ts = ["10.255.0.2/32"]'


def doctor(*arguments: str | Path) -> dict[str, object]:
    command = [plutino_program(), "doctor", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    document: dict[str, object] = json.loads(done.stdout)
    return document


def what_exists() -> list[str]:
    shown = (
        ["ip", "-all", "netns"],
        ["ip", "link"],
        ["ip", "xfrm", "state"],
        ["ip", "xfrm", "policy"],
    )
    return [subprocess.run(one, capture_output=True, text=True, check=True).stdout for one in shown]


def write_gateway(folder: Path, text: str) -> Path:
    ours, _theirs = generate_pair(os.urandom)
    keys = folder / "berlin.keys"
    keys.touch(0o600)
    keys.write_text(encode_keys(ours, used_at="paris", peer="berlin"))
    file = folder / "gateway.toml"
    file.write_text(text)
    return file


def test_doctor_finds_what_this_kernel_has() -> None:
    features = doctor()["features"]
    assert isinstance(features, list)
    refused = {one["feature"]: one["words"] for one in features if not one["supported"]}
    assert refused.keys() == MISSING[KERNEL], refused
    for one in features:
        assert one["supported"] or "Linux" in one["cure"]


def test_nothing_is_left() -> None:
    with fresh_namespace():
        before = what_exists()
        doctor()
        assert what_exists() == before


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        (gateway_text(), None),
        (gateway_text(BEET, local="2001:db8::1"), None),
        (gateway_text(tables="[interfaces.ipsec1]\nexternal = true"), None),
        (gateway_text('mark-out = "0x10"\nset-mark-in = "0x20/0xf0"'), None),
        (gateway_text('encapsulation = "udp"\nnat-keepalive = 20'), Feature.NAT_KEEPALIVE),
    ],
)
def test_auto_is_the_kernel_unless_it_lacks_something(
    tmp_path: Path, text: str, feature: Feature | None
) -> None:
    choice = doctor(write_gateway(tmp_path, text))["choice"]
    assert isinstance(choice, dict)
    if feature in MISSING[KERNEL]:
        assert choice["plane"] == "userspace"
        assert f"tunnel 'berlin' needs {feature}, which this kernel lacks" in choice["why"]
    else:
        assert choice["plane"] == "kernel"


def test_transport_mode_is_the_engine_on_every_kernel(tmp_path: Path) -> None:
    choice = doctor(write_gateway(tmp_path, gateway_text('mode = "transport"')))["choice"]
    assert isinstance(choice, dict)
    assert choice["plane"] == "userspace"
    assert "`tunnels.berlin.mode` needs the engine" in choice["why"]


def test_status_says_which_plane_and_why(tmp_path: Path) -> None:
    file = write_gateway(tmp_path, gateway_text(BEET))
    program = plutino_program()
    with fresh_namespace():
        subprocess.run([program, "apply", file], check=True, capture_output=True)
        done = subprocess.run(
            [program, "status", file], capture_output=True, text=True, check=False
        )
        subprocess.run([program, "down"], check=True, capture_output=True)
    assert "data plane: kernel, auto: Linux " in done.stdout
    assert "can do all that is asked for" in done.stdout
