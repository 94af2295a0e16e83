"""The use cases of the README, pasted as they are, on two gateways."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.lab.hosts import Host, connect
from plutino.lab.traffic import MARKER
from plutino.lab.wire import FrameKind, WireTap

WEST, EAST = "192.1.3.209", "192.1.2.23"


def example(title: str) -> str:
    """The block that begins with these words."""
    text = (Path(__file__).parents[2] / "README.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (found,) = (one for one in blocks if one.startswith(f"# {title}"))
    return str(found)


def put(host: Host, text: str, plane: str) -> None:
    """As a host's file, on that plane unless it names one itself."""
    first = "" if "data-plane" in text else f'data-plane = "{plane}"\n'
    host.file.write_text(first + text)


def share_keys(west: Host, east: Host, name: str) -> None:
    """One key file for both, mirrored."""
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
    """Both up, and all that is on the wire between them."""
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
    """So many frames of ESP were on the wire, and nothing that was inside."""
    tap.catch_up()
    assert (tap.count(FrameKind.ESP), tap.marked) == (frames, 0)
