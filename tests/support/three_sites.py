"""Three gateways around a router: Paris and Berlin with two uplinks each, Rome with one.

Every pair has a tunnel with a standby path, IPv4 and IPv6 inside, and numbered packets that never
stop in either direction.
"""

import os
import select
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.lab.hosts import Host
from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.traffic import MARKER
from plutino.lab.wire import WireTap
from plutino.netlink.route_client import RouteClient
from tests.support.fault_stream import NUMBER
from tests.support.multihomed_lab import HOOKS, run

SITES: Final = ("paris", "berlin", "rome")
LINKS: Final = {
    "p1": ("paris", "eth1", "192.0.2"),
    "p2": ("paris", "eth2", "203.0.113"),
    "b1": ("berlin", "eth1", "198.51.100"),
    "b2": ("berlin", "eth2", "198.18.1"),
    "r1": ("rome", "eth1", "198.18.2"),
}
"""Links of the router: site, device there, and the network's first three octets."""
PAIRS: Final = (("paris", "berlin"), ("paris", "rome"), ("berlin", "rome"))
STANDBY: Final = {
    "paris-berlin": ("p2", "b2"),
    "paris-rome": ("p2", "r1"),
    "berlin-rome": ("b2", "r1"),
}
INTERFACE: Final = {
    ("paris", "berlin"): "ipsec1",
    ("paris", "rome"): "ipsec2",
    ("berlin", "paris"): "ipsec1",
    ("berlin", "rome"): "ipsec2",
    ("rome", "paris"): "ipsec1",
    ("rome", "berlin"): "ipsec2",
}
_PORT: Final = 7100
_INTERVAL: Final = 0.01


def links_of(site: str) -> list[str]:
    """The router's links to a site, the best first."""
    return [link for link, (name, *_) in LINKS.items() if name == site]


def outer(link: str) -> str:
    """The site's address on a link."""
    return f"{LINKS[link][2]}.1"


def network(site: str, version: int) -> str:
    """The network behind a site; its gateway has the first address of it."""
    number = SITES.index(site) + 1
    return f"10.{number}.0.0/16" if version == 4 else f"fd00:{number}::/32"


def inner(site: str, version: int) -> str:
    """The address that the streams of a site come from and go to."""
    number = SITES.index(site) + 1
    return f"10.{number}.0.1" if version == 4 else f"fd00:{number}::1"


def gateway_text(site: str, plane: str) -> str:
    """The gateway file of a site."""
    text = f'data-plane = "{plane}"\n'
    for link in links_of(site):
        _site, device, net = LINKS[link]
        text += f'[uplinks.{link}]\ninterface = "{device}"\ngateway = "{net}.254"\n'
    for pair in PAIRS:
        if site not in pair:
            continue
        other = pair[0] if pair[1] == site else pair[1]
        name = "-".join(pair)
        uplinks = ", ".join(f'"{link}"' for link in links_of(site))
        routes = ", ".join(f'"{network(other, version)}"' for version in (4, 6))
        ours, theirs = STANDBY[name] if pair[0] == site else STANDBY[name][::-1]
        text += (
            f'[tunnels.{other}]\ninterface = "{INTERFACE[site, other]}"\nuplinks = [{uplinks}]\n'
            f'remote = "{outer(links_of(other)[0])}"\nroutes = [{routes}]\n'
            f'encapsulation = "{"udp" if name == "paris-rome" else "esp"}"\n'
            f'static.key-file = "{name}.keys"\n[[tunnels.{other}.standby]]\nuplink = "{ours}"\n'
            f'remote = "{outer(theirs)}"\nkey-file = "{name}-standby.keys"\n'
        )
    return text


class NumberedFlow:
    """Packets from one site to another that never stop, with numbers."""

    def __init__(self, source: Host, target: Host, version: int, port: int) -> None:
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        self.name = f"{source.name} to {target.name} (IPv{version})"
        self._target = (inner(target.name, version), port)
        self._source = inner(source.name, version)
        with target.namespace.entered():
            self._receiver = socket.socket(family, socket.SOCK_DGRAM)
        self._receiver.bind(("", port))
        with source.namespace.entered():
            self._sender = socket.socket(family, socket.SOCK_DGRAM)
        self._sender.bind((self._source, 0))
        self.sent = 0
        self.received = 0
        self.newest = -1
        self.doubled = 0
        self._recent: set[int] = set()

    def send(self) -> None:
        with suppress(OSError):
            self._sender.sendto(NUMBER.pack(self.sent) + MARKER, self._target)
        self.sent += 1

    def fileno(self) -> int:
        return self._receiver.fileno()

    def receive(self) -> None:
        (number,) = NUMBER.unpack_from(self._receiver.recv(2048))
        self.doubled += number in self._recent
        self._recent.add(number)
        if len(self._recent) > 4096:
            self._recent = {one for one in self._recent if one > number - 2048}
        self.received += 1
        self.newest = max(self.newest, number)

    def close(self) -> None:
        self._sender.close()
        self._receiver.close()


class Traffic:
    """All flows between all sites, from two threads."""

    def __init__(self, sites: dict[str, Host]) -> None:
        self.flows = [
            NumberedFlow(sites[one], sites[other], version, _PORT + 10 * number + version)
            for number, (one, other, version) in enumerate(
                (a, b, 4 if SITES.index(a) < SITES.index(b) else 6)
                for a in SITES
                for b in SITES
                if a != b
            )
        ]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=one) for one in (self._send, self._receive)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for flow in self.flows:
            flow.close()

    def silent(self, marks: dict[str, int]) -> list[str]:
        """Flows of which nothing has arrived that was sent after these numbers."""
        return [flow.name for flow in self.flows if flow.newest < marks[flow.name]]

    def marks(self) -> dict[str, int]:
        """The next number of each flow."""
        return {flow.name: flow.sent for flow in self.flows}

    def heal_time(self, *, limit: float) -> float:
        """Seconds until every flow passes again. AssertionError after ``limit`` seconds."""
        started = time.monotonic()
        marks = self.marks()
        while silent := self.silent(marks):
            assert time.monotonic() - started < limit, f"silent: {', '.join(silent)}"
            time.sleep(0.005)
        return time.monotonic() - started

    def _send(self) -> None:
        while not self._stop.wait(_INTERVAL):
            for flow in self.flows:
                flow.send()

    def _receive(self) -> None:
        while not self._stop.is_set():
            for flow in select.select(self.flows, [], [], 0.1)[0]:
                flow.receive()


@dataclass(slots=True)
class ThreeSites:
    """The running network."""

    sites: dict[str, Host]
    router: NetworkNamespace
    taps: dict[str, WireTap]
    plane: str
    traffic: Traffic
    keys: int = field(default=0)

    def hole(self, link: str, what: str = "drop") -> None:
        """A rule of the router for everything that passes a link, both ways."""
        hook = "{ type filter hook %s priority -400 ; }"
        run(
            self.router,
            f"nft add table inet hole_{link}",
            *(f"nft add chain inet hole_{link} {one} {hook % one}" for one in HOOKS),
            f"nft add rule inet hole_{link} {HOOKS[0]} iifname {link} {what}",
            f"nft add rule inet hole_{link} {HOOKS[1]} oifname {link} {what}",
        )

    def close_hole(self, link: str) -> None:
        """Take that rule away."""
        run(self.router, f"nft delete table inet hole_{link}")

    def share_keys(self, name: str) -> None:
        """New keys for both ends of a pair."""
        ends = name.removesuffix("-standby").split("-")
        for site, keys in zip(ends, generate_pair(os.urandom), strict=True):
            file = self.sites[site].folder / f"{name}.keys"
            file.touch(mode=0o600)
            file.write_text(encode_keys(keys, used_at=site, peer="the other"))

    def leaks(self) -> list[str]:
        """Links on which a packet of a tunnel was readable."""
        for tap in self.taps.values():
            tap.catch_up()
        return [link for link, tap in self.taps.items() if tap.marked]


def _connect(router: NetworkNamespace, link: str, host: Host) -> None:
    _site, device, net = LINKS[link]
    with router.entered(), RouteClient() as routes:
        routes.create_veth(link, device, peer_namespace=host.namespace.fileno())
    for namespace, name, number in ((router, link, 254), (host.namespace, device, 1)):
        run(
            namespace,
            f"ip link set {name} up gso_max_segs 1",
            f"ip address add {net}.{number}/24 dev {name}",
        )


@contextmanager
def three_sites(plane: str) -> Iterator[ThreeSites]:
    """All of it, up and under traffic."""
    folder = Path(tempfile.mkdtemp(prefix="plutino-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        router = stack.enter_context(NetworkNamespace.create())
        run(router, "sysctl -qw net.ipv4.ip_forward=1", "sysctl -qw net.ipv4.icmp_ratelimit=0")
        sites = {}
        for site in SITES:
            (folder / site).mkdir(mode=0o700)
            sites[site] = Host(site, folder / site)
            stack.callback(sites[site].close)
            run(
                sites[site].namespace,
                "ip link set lo up",
                f"ip address add {inner(site, 4)}/32 dev lo",
                f"ip address add {inner(site, 6)}/128 dev lo nodad",
            )
        taps = {}
        for link, (site, device, net) in LINKS.items():
            _connect(router, link, sites[site])
            if link == links_of(site)[0]:
                run(sites[site].namespace, f"ip route add default via {net}.254 dev {device}")
            taps[link] = WireTap(router, link, marker=MARKER)
            stack.callback(taps[link].close)
        traffic = Traffic(sites)
        made = ThreeSites(sites, router, taps, plane, traffic)
        for pair in PAIRS:
            for kind in ("", "-standby"):
                made.share_keys("-".join(pair) + kind)
        for site, host in sites.items():
            host.file.write_text(gateway_text(site, plane))
            host.start_daemon()
        for host in sites.values():
            host.wait_until_up()
        stack.enter_context(traffic)
        traffic.heal_time(limit=30)
        yield made
