"""Paris and Berlin with two ways between them, a tunnel over each, and a group of both.

```
       eth1 192.0.2.1    ─ red paris    red berlin  ─ 198.51.100.1 eth1
paris                      (routed)                                      berlin
       eth2 203.0.113.1  ─ blue paris   blue berlin ─ 198.18.0.1   eth2
```
One namespace routes both. Networks 10.1.0.0/16 and 2001:db8:1::/48 are Paris's, 10.2.0.0/16 and
2001:db8:2::/48 Berlin's; both have some addresses of them on ``lo``.
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.control.report import GroupReport
from plutino.lab.hosts import Host
from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.traffic import MARKER
from plutino.lab.wire import FrameKind, WireTap, classify
from plutino.netlink.route_client import RouteClient
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.netlink.xfrm_client import XfrmClient
from tests.support.lab import KEYS
from tests.support.multihomed_lab import run

PARIS: Final = "paris"
BERLIN: Final = "berlin"
NUMBER: Final = {PARIS: 1, BERLIN: 2}
DEVICES: Final = {"red": "eth1", "blue": "eth2"}
TUNNELS: Final = {"red": "ipsec1", "blue": "ipsec2"}
"""Named as the ways, with their interfaces."""
OUTER: Final = {
    ("red", PARIS): "192.0.2",
    ("red", BERLIN): "198.51.100",
    ("blue", PARIS): "203.0.113",
    ("blue", BERLIN): "198.18.0",
}
INNER: Final = {"red": ("169.254.1", "fd00:1:"), "blue": ("169.254.2", "fd00:2:")}
LARGEST_PROBE: Final = 140
"""Bytes of a frame of ESP with an echo request or a SYN inside, at most."""
SPREAD: Final = range(1, 25)
"""The last parts of the addresses on ``lo``."""
NETWORKS: Final = {
    PARIS: ("10.1.0.0/16", "2001:db8:1::/48"),
    BERLIN: ("10.2.0.0/16", "2001:db8:2::/48"),
}


def inside(host: str, version: int = 4, last: int = 1) -> str:
    """An address of a host's own network."""
    return f"10.{NUMBER[host]}.0.{last}" if version == 4 else f"2001:db8:{NUMBER[host]}::{last:x}"


@dataclass(slots=True)
class GroupedLab:
    """Both hosts, the router between them, and a tap on each way."""

    paris: Host
    berlin: Host
    router: NetworkNamespace
    taps: dict[str, WireTap]
    large: Counter[str]
    plane: str

    @property
    def hosts(self) -> tuple[Host, Host]:
        """Both."""
        return self.paris, self.berlin

    def configure(self, group: str = "", *, more: str = "", probe: str = "") -> None:
        """Gateway files and keys; what is given is added to the tables or to the file."""
        for name in TUNNELS:
            pair = generate_pair(os.urandom)
            for host, keys in zip(self.hosts, pair, strict=True):
                file = host.folder / f"{name}.keys"
                file.touch(mode=0o600)
                static = encode_keys(keys, used_at=host.name, peer="the other")
                file.write_text(static if KEYS == "static" else f"a key of both for {name}")
        for host, other in (self.hosts, self.hosts[::-1]):
            here, there = NUMBER[host.name], NUMBER[other.name]
            networks = ", ".join(f'"{one}"' for one in NETWORKS[other.name])
            text = f'data-plane = "{self.plane}"\n{more}\n'
            for name, interface in TUNNELS.items():
                four, six = INNER[name]
                text += f"""
[tunnels.{name}]
interface = "{interface}"
local = "{OUTER[name, host.name]}.1"
remote = "{OUTER[name, other.name]}.1"
addresses = ["{four}.{here}/30", "{six}:{here}/126"]
{"static.key-file" if KEYS == "static" else "ike.psk-file"} = "{name}.keys"
"""
            text += f"""
[groups.site]
tunnels = ["red", "blue"]
routes = [{networks}]
{group}

[groups.site.probe]
{probe.format(there=there)}
"""
            host.file.write_text(text)

    def start(self) -> None:
        """Both daemons, until all tunnels are up and answer."""
        for host in self.hosts:
            host.start_daemon()
        for host in self.hosts:
            host.wait_until_up()

    def blackhole(self, way: str) -> None:
        """Nothing passes any more, and nobody is told."""
        run(
            self.router,
            f"nft add table inet hole_{way}",
            f"nft add chain inet hole_{way} prerouting "
            "{ type filter hook prerouting priority -400 ; }",
            *(
                f"nft add rule inet hole_{way} prerouting iifname {way}{host} drop"
                for host in NUMBER.values()
            ),
        )

    def mend(self, way: str) -> None:
        """It passes again."""
        run(self.router, f"nft delete table inet hole_{way}")

    def traffic(self, way: str) -> int:
        """Frames of ESP that were seen on it, at Paris's end, but for those of probes."""
        self.taps[way].catch_up()
        return self.large[way]

    def forget_sas(self, host: Host, way: str) -> None:
        """The SAs of a tunnel are gone, in whichever plane."""
        with host.namespace.entered():
            socket = (
                NetlinkSocket.kernel(NETLINK_XFRM)
                if self.plane == "kernel"
                else NetlinkSocket.engine(host.engine_socket)
            )
        with socket:
            client = XfrmClient(socket)
            outer = ip_address(f"{OUTER[way, host.name]}.1")
            client.delete_sas(
                [sa for sa, _ in client.list_sas() if outer in (sa.source, sa.destination)]
            )

    def assert_nothing_in_clear(self) -> None:
        """No packet of a tunnel was readable on any way."""
        for name, tap in self.taps.items():
            tap.catch_up()
            assert tap.marked == 0, f"in clear on {name}"


def group_of(host: Host) -> GroupReport | None:
    """What a host's status tells of its group; None if no daemon tells."""
    report = host.status()
    return None if report is None else report.groups[0]


def active(host: Host) -> tuple[str, ...]:
    """Who carries the group's traffic, as its status tells."""
    report = group_of(host)
    return () if report is None else report.active


@contextmanager
def grouped_lab(plane: str) -> Iterator[GroupedLab]:
    """The network; nothing of plutino runs yet."""
    folder = Path(tempfile.mkdtemp(prefix="plutino-"))  # a socket's path is short
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        router = stack.enter_context(NetworkNamespace.create())
        run(router, "sysctl -qw net.ipv4.ip_forward=1")
        hosts = {}
        for name, number in NUMBER.items():
            (folder / name).mkdir(mode=0o700)
            host = hosts[name] = Host(name, folder / name)
            stack.callback(host.close)
            run(host.namespace, "ip link set lo up")
            for last in SPREAD:
                run(
                    host.namespace,
                    f"ip address add {inside(name, 4, last)}/32 dev lo",
                    f"ip address add {inside(name, 6, last)}/128 dev lo nodad",
                )
            for way, device in DEVICES.items():
                _connect(router, f"{way}{number}", host, device, OUTER[way, name])
        for name, other in ((PARIS, BERLIN), (BERLIN, PARIS)):
            for way, device in DEVICES.items():
                run(
                    hosts[name].namespace,
                    f"ip route add {OUTER[way, other]}.0/24 via {OUTER[way, name]}.254 "
                    f"dev {device}",
                )
        taps = {}
        large: Counter[str] = Counter()
        for way in DEVICES:
            count = partial(_count_large, large, way)
            taps[way] = WireTap(router, f"{way}1", marker=MARKER, on_frame=count)
            stack.callback(taps[way].close)
        yield GroupedLab(hosts[PARIS], hosts[BERLIN], router, taps, large, plane)


def _count_large(large: Counter[str], way: str, frame: bytes, _at: int) -> None:
    if len(frame) > LARGEST_PROBE and classify(frame) is FrameKind.ESP:
        large[way] += 1


def _connect(router: NetworkNamespace, link: str, host: Host, device: str, network: str) -> None:
    with router.entered(), RouteClient() as routes:
        routes.create_veth(link, device, peer_namespace=host.namespace.fileno())
    for namespace, name, last in ((router, link, 254), (host.namespace, device, 1)):
        run(
            namespace,
            f"ip link set {name} up gso_max_segs 1",
            f"ip address add {network}.{last}/24 dev {name}",
        )
