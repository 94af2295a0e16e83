"""The use cases of the README, pasted as they are."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.lab.hosts import Host, connect
from plutino.lab.traffic import MARKER, ping
from plutino.lab.wire import FrameKind, WireTap
from tests.support.multihomed_lab import multihomed_lab, run
from tests.support.until import until

pytestmark = pytest.mark.root

WEST, EAST = "192.1.3.209", "192.1.2.23"


def example(title: str) -> str:
    """The block that begins with these words."""
    text = (Path(__file__).parents[2] / "README.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (found,) = (one for one in blocks if one.startswith(f"# {title}"))
    return str(found)


def put(host: Host, text: str, plane: str) -> None:
    first = "" if "data-plane" in text else f'data-plane = "{plane}"\n'
    host.file.write_text(first + text)


def share_keys(west: Host, east: Host, name: str) -> None:
    for host, keys in zip((west, east), generate_pair(os.urandom), strict=True):
        file = host.folder / name
        file.touch(mode=0o600)
        file.write_text(encode_keys(keys, used_at=host.name, peer="the other"))


def mirrored(text: str) -> str:
    """The file of the other end of a tunnel between two addresses."""
    swapped = text.replace(WEST, "?").replace(EAST, WEST).replace("?", EAST)
    return swapped.replace("10.255.0.0/31", "10.255.0.1/31")


@contextmanager
def west_and_east(text: str, plane: str) -> Iterator[tuple[Host, Host, WireTap]]:
    folder = Path(tempfile.mkdtemp(prefix="plutino-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        hosts = []
        for name in ("west", "east"):
            (folder / name).mkdir(mode=0o700)
            hosts.append(Host(name, folder / name))
            stack.callback(hosts[-1].close)
        west, east = hosts
        connect(west, east, {"west": (f"{WEST}/16",), "east": (f"{EAST}/16",)}, linear=True)
        tap = WireTap(west.namespace, "wire", marker=MARKER)
        stack.callback(tap.close)
        share_keys(west, east, "west-east.keys")
        put(west, text, plane)
        put(east, mirrored(text), plane)
        for host in hosts:
            host.start_daemon()
        for host in hosts:
            host.wait_until_up()
        yield west, east, tap


def assert_only_esp(tap: WireTap, frames: int) -> None:
    tap.catch_up()
    assert (tap.count(FrameKind.ESP), tap.marked) == (frames, 0)


def test_the_peers_own_address_is_inside(plane: str) -> None:
    with west_and_east(example("The peer's own address"), plane) as (west, east, tap):
        assert ping(west.namespace, ip_address(EAST))[0] == 3
        assert ping(east.namespace, ip_address(WEST))[0] == 3
        assert_only_esp(tap, 12)
        shown = run(west.namespace, f"ip route get {EAST}")
        assert f"dev ipsec0 table 134340 src {WEST}" in shown


def test_two_providers(plane: str) -> None:
    with multihomed_lab(plane) as lab:
        for name in ("west-east.keys", "west-east-2.keys"):
            share_keys(lab.paris, lab.berlin, name)
        put(lab.paris, example("Two providers"), plane)
        lab.write(
            lab.berlin,
            '[tunnels.west]\ninterface = "ipsec1"\nlocal = "198.51.100.2"\n'
            'remote = "192.0.2.1"\naddresses = ["10.255.0.1/31"]\n'
            'static.key-file = "west-east.keys"\n'
            '[[tunnels.west.standby]]\nremote = "203.0.113.1"\nkey-file = "west-east-2.keys"\n',
        )
        lab.start()
        there = ip_address("10.255.0.1")
        assert ping(lab.paris.namespace, there)[0] == 3
        lab.blackhole("isp1")
        until(lambda: ping(lab.paris.namespace, there, count=1, timeout=0.5)[0] == 1, "it passes")
        assert lab.esp("isp2") >= 2
        lab.assert_nothing_in_clear()
