"""Offload to a device that knows it: netdevsim, in the kernel that is built for the tests.

It takes cryptography over, but no SA with ESN, and every SA of a gateway file has ESN.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.dataplane.journal import Journals
from plutino.dataplane.kernel import KernelPlane
from plutino.lab.hosts import plutino_program
from plutino.model.sa import Offload, OffloadMode, ReplayState, SaDirection
from plutino.netlink.route_clients import RouteClients
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from tests.support.gateways import compiled, gateway_text
from tests.support.ip_command import ip_here
from tests.support.until import until

pytestmark = pytest.mark.guest

BUS = Path("/sys/bus/netdevsim")
MODES = {
    "crypto": "Device doesn't support offload with ESN",
    "packet": "Unsupported ipsec offload type",
}


@pytest.fixture
def device() -> Iterator[str]:
    (BUS / "new_device").write_text("7 1")
    folder = BUS / "devices" / "netdevsim7" / "net"
    until(folder.is_dir, "the device is there")
    (name,) = (one.name for one in folder.iterdir())
    ip_here(f"address add 192.0.2.1/24 dev {name}")
    ip_here(f"link set {name} up")
    yield name
    (BUS / "del_device").write_text("7")


@pytest.mark.parametrize("mode", MODES)
def test_a_device_that_refuses_is_told_and_nothing_is_left(
    device: str, mode: str, tmp_path: Path
) -> None:
    ours, _theirs = generate_pair(os.urandom)
    keys = tmp_path / "berlin.keys"
    keys.touch(0o600)
    keys.write_text(encode_keys(ours, used_at="paris", peer="berlin"))
    file = tmp_path / "gateway.toml"
    file.write_text(gateway_text(f'offload = {{ device = "{device}", mode = "{mode}" }}'))
    command: list[str | Path] = [plutino_program(), "apply", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert MODES[mode] in done.stderr
    assert "remove `offload`" in done.stderr
    assert ip_here("xfrm state") == ip_here("xfrm policy") == ip_here("link show type xfrm") == ""


def test_an_sa_without_esn_is_taken_over_and_reads_back(device: str) -> None:
    with RouteClients() as routes, NetlinkSocket.kernel(NETLINK_XFRM) as xfrm:
        links = {(link.namespace, link.name): link for link in routes.list_links()}
        state = compiled(gateway_text(f'offload.device = "{device}"'), links=links)
        (sa,) = (
            replace(one, esn=False, replay=ReplayState())
            for one in state.sas
            if one.direction is SaDirection.OUT
        )
        assert sa.offload == Offload(links[None, device].index, OffloadMode.CRYPTO)
        plane = KernelPlane("default", xfrm, routes, Journals.in_memory())
        plane.add_sas([sa])
        try:
            assert [found for found, _use in plane.list_sas()] == [sa]
            assert f"crypto offload parameters: dev {device} dir out" in ip_here("xfrm state")
        finally:
            plane.delete_sas([sa])
