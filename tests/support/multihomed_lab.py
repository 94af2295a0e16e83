"""Paris with two uplinks, Berlin with one, and a router that stands for the internet.

```
        eth1 192.0.2.1    ─ isp1 ┐
paris                            ├ net ─ berlin  wan 198.51.100.2
        eth2 203.0.113.1  ─ isp2 ┘
```
The host parts are the same in IPv6: 2001:db8:1::1, 2001:db8:2::1 and 2001:db8:b::2.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.lab.hosts import Host
from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.traffic import MARKER
from plutino.lab.wire import FrameKind, WireTap
from plutino.netlink.route_client import RouteClient

LINKS: Final = {
    # device of the router: host, device of the host, prefixes of IPv4 and IPv6
    "isp1": ("paris", "eth1", "192.0.2", "2001:db8:1:"),
    "isp2": ("paris", "eth2", "203.0.113", "2001:db8:2:"),
    "wan": ("berlin", "wan", "198.51.100", "2001:db8:b:"),
}
ADDRESS: Final = {
    4: {"isp1": "192.0.2.1", "isp2": "203.0.113.1", "wan": "198.51.100.2"},
    6: {"isp1": "2001:db8:1::1", "isp2": "2001:db8:2::1", "wan": "2001:db8:b::2"},
}
GATEWAY: Final = {
    4: {"isp1": "192.0.2.254", "isp2": "203.0.113.254", "wan": "198.51.100.254"},
    6: {"isp1": "2001:db8:1::fe", "isp2": "2001:db8:2::fe", "wan": "2001:db8:b::fe"},
}
NO_DAD: Final = "sysctl -qw net.ipv6.conf.default.accept_dad=0"
"""The kernel's own link-local addresses serve at once, and with them neighbour discovery."""
HOOKS: Final = ("prerouting", "postrouting")
UPLINKS: Final = """\
[uplinks.isp1]
interface = "eth1"
gateway = ["192.0.2.254", "2001:db8:1::fe"]

[uplinks.isp2]
interface = "eth2"
gateway = ["203.0.113.254", "2001:db8:2::fe"]
"""


def run(namespace: NetworkNamespace, *commands: str) -> str:
    """Commands in a namespace, each of which must do; what the last one says."""
    said = ""
    for command in commands:
        with namespace.entered():
            done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        said = done.stdout
    return said


@dataclass(slots=True)
class MultihomedLab:
    """Both hosts, the router, and a tap on each of the router's links."""

    paris: Host
    berlin: Host
    router: NetworkNamespace
    taps: dict[str, WireTap]
    plane: str

    def write(self, host: Host, text: str) -> None:
        """A host's gateway file."""
        host.file.write_text(f'data-plane = "{self.plane}"\n{text}')

    def make_keys(self, name: str) -> None:
        """A pair of key files ``NAME.keys``, one for each host."""
        for host, keys in zip((self.paris, self.berlin), generate_pair(os.urandom), strict=True):
            file = host.folder / f"{name}.keys"
            file.touch(mode=0o600)
            file.write_text(encode_keys(keys, used_at=host.name, peer="the other"))

    def start(self) -> None:
        """Both daemons, until both tunnels are up."""
        for host in (self.paris, self.berlin):
            host.start_daemon()
        for host in (self.paris, self.berlin):
            host.wait_until_up()

    def blackhole(self, link: str) -> None:
        """Nothing passes a link any more, and nobody is told."""
        hook = "{ type filter hook %s priority -400 ; }"
        run(
            self.router,
            f"nft add table inet hole_{link}",
            *(f"nft add chain inet hole_{link} {one} {hook % one}" for one in HOOKS),
            f"nft add rule inet hole_{link} {HOOKS[0]} iifname {link} drop",
            f"nft add rule inet hole_{link} {HOOKS[1]} oifname {link} drop",
        )

    def mend(self, link: str) -> None:
        """It passes again."""
        run(self.router, f"nft delete table inet hole_{link}")

    def esp(self, link: str) -> int:
        """Frames of ESP that were seen on a link."""
        self.taps[link].catch_up()
        return self.taps[link].count(FrameKind.ESP) + self.taps[link].count(FrameKind.ESP_IN_UDP)

    def assert_nothing_in_clear(self) -> None:
        """No packet of a tunnel was readable on any link."""
        for name, tap in self.taps.items():
            tap.catch_up()
            assert tap.marked == 0, f"in clear on {name}"


def _connect(router: NetworkNamespace, link: str, host: Host, device: str) -> None:
    with router.entered(), RouteClient() as routes:
        routes.create_veth(link, device, peer_namespace=host.namespace.fileno())
    for namespace, name, addresses in (
        (router, link, GATEWAY),
        (host.namespace, device, ADDRESS),
    ):
        run(
            namespace,
            f"ip link set {name} up gso_max_segs 1",
            f"ip address add {addresses[4][link]}/24 dev {name}",
            f"ip address add {addresses[6][link]}/64 dev {name} nodad",
        )


@contextmanager
def multihomed_lab(plane: str) -> Iterator[MultihomedLab]:
    """The network, with default routes by isp1 and wan; nothing of plutino runs yet."""
    folder = Path(tempfile.mkdtemp(prefix="plutino-"))  # a socket's path is short
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        router = stack.enter_context(NetworkNamespace.create())
        hosts = {}
        for name in ("paris", "berlin"):
            (folder / name).mkdir(mode=0o700)
            hosts[name] = Host(name, folder / name)
            stack.callback(hosts[name].close)
            run(hosts[name].namespace, "ip link set lo up", NO_DAD)
        run(router, NO_DAD)
        taps = {}
        for link, (name, device, _v4, _v6) in LINKS.items():
            _connect(router, link, hosts[name], device)
            taps[link] = WireTap(router, link, marker=MARKER)
            stack.callback(taps[link].close)
        run(
            router,
            "sysctl -qw net.ipv4.ip_forward=1",
            "sysctl -qw net.ipv6.conf.all.forwarding=1",
            "sysctl -qw net.ipv4.icmp_ratelimit=0",
            "sysctl -qw net.ipv6.icmp.ratelimit=0",
        )
        for name, link in (("paris", "isp1"), ("berlin", "wan")):
            device = LINKS[link][1]
            run(
                hosts[name].namespace,
                f"ip route add default via {GATEWAY[4][link]} dev {device}",
                f"ip -6 route add default via {GATEWAY[6][link]} dev {device}",
            )
        yield MultihomedLab(hosts["paris"], hosts["berlin"], router, taps, plane)
