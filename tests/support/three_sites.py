"""Three gateways around a router: Paris and Berlin with two uplinks each, Rome with one.

Every pair has a tunnel with SAs on every path, IPv4 and IPv6 inside, and numbered packets that
never stop in either direction.
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
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.lab.hosts import Host
from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.traffic import MARKER
from plutino.lab.wire import WireTap
from plutino.netlink.route_client import RouteClient
from tests.support.fault_stream import NUMBER
from tests.support.multihomed_lab import HOOKS, NO_DAD, run

SITES: Final = ("paris", "berlin", "rome")
APART: Final = "rome"
"""Its clear side is in a namespace of its own, with nothing else in it."""
LINKS: Final = {
    "p1": ("paris", "eth1", "192.0.2"),
    "p2": ("paris", "eth2", "203.0.113"),
    "b1": ("berlin", "eth1", "198.51.100"),
    "b2": ("berlin", "eth2", "198.18.1"),
    "r1": ("rome", "eth1", "198.18.2"),
}
"""Links of the router: site, device there, and the network's first three octets."""
PAIRS: Final = (("paris", "berlin"), ("paris", "rome"), ("berlin", "rome"))
INTERFACE: Final = {
    ("paris", "berlin"): "ipsec1",
    ("paris", "rome"): "ipsec2",
    ("berlin", "paris"): "ipsec1",
    ("berlin", "rome"): "ipsec2",
    ("rome", "paris"): "ipsec1",
    ("rome", "berlin"): "ipsec2",
}
_PORT: Final = 7100
_KEEP: Final = "sysctl -qw net.ipv6.conf.default.keep_addr_on_down=1"
"""A link that comes back has its addresses, as IPv4's are kept anyway."""
_INTERVAL: Final = 0.01


def links_of(site: str) -> list[str]:
    """The router's links to a site, the best first."""
    return [link for link, (name, *_) in LINKS.items() if name == site]


def outer(link: str, number: int, version: int) -> str:
    """An address on a link: 1 is the site's, 254 the router's."""
    if version == 6:
        return f"2001:db8:{1 + list(LINKS).index(link)}::{number}"
    return f"{LINKS[link][2]}.{number}"


def default_route(link: str, version: int) -> str:
    """The command that leads a site's outer packets by a link."""
    _site, device, _net = LINKS[link]
    return f"ip -{version} route replace default via {outer(link, 254, version)} dev {device}"


def network(site: str, version: int) -> str:
    """The network behind a site; its gateway has the first address of it."""
    number = SITES.index(site) + 1
    return f"10.{number}.0.0/16" if version == 4 else f"fd00:{number}::/32"


def inner(site: str, version: int) -> str:
    """The address that the streams of a site come from and go to."""
    number = SITES.index(site) + 1
    return f"10.{number}.0.1" if version == 4 else f"fd00:{number}::1"


def key_name(link: str, other: str) -> str:
    """The name of the keys of a path, the same at both ends."""
    return "-".join(sorted((link, other), key=list(LINKS).index))


def gateway_text(site: str, plane: str, version: int, clear: Path | None) -> str:
    """The gateway file of a site, whose clear side may be in a namespace of its own.

    ``version`` is IP's outside.
    """
    text = f'data-plane = "{plane}"\nguard = "strict"\n'
    for link in links_of(site):
        gateway = outer(link, 254, version)
        text += f'[uplinks.{link}]\ninterface = "{LINKS[link][1]}"\ngateway = "{gateway}"\n'
    for pair in PAIRS:
        if site not in pair:
            continue
        if clear is not None:
            text += (
                f'[interfaces.{INTERFACE[site, pair[pair[0] == site]]}]\nnamespace = "{clear}"\n'
            )
        other = pair[0] if pair[1] == site else pair[1]
        name = "-".join(pair)
        uplinks = ", ".join(f'"{link}"' for link in links_of(site))
        routes = ", ".join(f'"{network(other, inside)}"' for inside in (4, 6))
        text += (
            f'[tunnels.{other}]\ninterface = "{INTERFACE[site, other]}"\nuplinks = [{uplinks}]\n'
            f'remote = "{outer(links_of(other)[0], 1, version)}"\nroutes = [{routes}]\n'
            f'encapsulation = "{"udp" if name == "paris-rome" else "esp"}"\n'
            f'static.key-file = "{key_name(links_of(site)[0], links_of(other)[0])}.keys"\n'
        )
        for ours, theirs in product(links_of(site), links_of(other)):
            if (ours, theirs) != (links_of(site)[0], links_of(other)[0]):
                text += (
                    f'[[tunnels.{other}.standby]]\nuplink = "{ours}"\n'
                    f'remote = "{outer(theirs, 1, version)}"\n'
                    f'key-file = "{key_name(ours, theirs)}.keys"\n'
                )
    return text


class Side:
    """Where the clear side of a site is: at its gateway, or in a namespace of its own."""

    def __init__(self, site: str, host: Host, path: Path | None = None) -> None:
        self.site = site
        self._host = host
        self.path = path
        self._own: NetworkNamespace | None = None
        if path is not None:
            self.come_back()

    @property
    def namespace(self) -> NetworkNamespace:
        return self._own or self._host.namespace

    def vanish(self) -> None:
        """Nothing is left of the namespace, its name included."""
        assert self.path is not None
        self.path.unlink(missing_ok=True)
        if self._own is not None:
            self._own.close()

    def come_back(self) -> None:
        """A new one, which has the same name."""
        assert self.path is not None
        self._own = NetworkNamespace.create()
        self.path.symlink_to(f"/proc/{os.getpid()}/fd/{self._own.fileno()}")
        self.set_addresses()

    def set_addresses(self) -> None:
        """What the flows come from and go to."""
        run(
            self.namespace,
            "ip link set lo up",
            f"ip address add {inner(self.site, 4)}/32 dev lo",
            f"ip address add {inner(self.site, 6)}/128 dev lo nodad",
        )


class NumberedFlow:
    """Packets from one site to another that never stop, with numbers."""

    def __init__(self, source: "Side", target: "Side", version: int, port: int) -> None:
        self.name = f"{source.site} to {target.site} (IPv{version})"
        self._ends = source, target
        self._version, self._port = version, port
        self._target = (inner(target.site, version), port)
        self.open()
        self.sent = 0
        self.received = 0
        self.newest = -1
        self.doubled = 0
        self._recent: set[int] = set()

    def open(self) -> None:
        """Sockets in the namespaces that there are now."""
        family = socket.AF_INET if self._version == 4 else socket.AF_INET6
        source, target = self._ends
        with target.namespace.entered():
            self._receiver = socket.socket(family, socket.SOCK_DGRAM)
        self._receiver.bind(("", self._port))
        with source.namespace.entered():
            self._sender = socket.socket(family, socket.SOCK_DGRAM)
        self._sender.bind((inner(source.site, self._version), 0))

    def touches(self, side: "Side") -> bool:
        """Whether it begins or ends there."""
        return side in self._ends

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

    def __init__(self, sites: dict[str, Side]) -> None:
        self._running = threading.Lock()
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

    @contextmanager
    def moved(self, side: Side) -> Iterator[None]:
        """While the block runs, no flow has a socket in that side's namespace."""
        with self._running:
            touched = [flow for flow in self.flows if flow.touches(side)]
            for flow in touched:
                flow.close()
            yield
            for flow in touched:
                flow.open()

    def _send(self) -> None:
        while not self._stop.wait(_INTERVAL):
            with self._running:
                for flow in self.flows:
                    flow.send()

    def _receive(self) -> None:
        while not self._stop.wait(0.001):
            with self._running:
                for flow in select.select(self.flows, [], [], 0)[0]:
                    flow.receive()


@dataclass(slots=True)
class ThreeSites:
    """The running network."""

    sites: dict[str, Host]
    router: NetworkNamespace
    taps: dict[str, WireTap]
    plane: str
    version: int
    traffic: Traffic
    sides: dict[str, Side]

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
        """New keys for both ends of a path."""
        ends = [LINKS[link][0] for link in name.split("-")]
        for site, keys in zip(ends, generate_pair(os.urandom), strict=True):
            file = self.sites[site].folder / f"{name}.keys"
            file.touch(mode=0o600)
            file.write_text(encode_keys(keys, used_at=site, peer="the other"))

    def leaks(self) -> list[str]:
        """Links on which a packet of a tunnel was readable."""
        for tap in self.taps.values():
            tap.catch_up()
        return [link for link, tap in self.taps.items() if tap.marked]


def _connect(router: NetworkNamespace, link: str, host: Host, version: int) -> None:
    _site, device, _net = LINKS[link]
    with router.entered(), RouteClient() as routes:
        routes.create_veth(link, device, peer_namespace=host.namespace.fileno())
    length = 24 if version == 4 else 64
    for namespace, name, number in ((router, link, 254), (host.namespace, device, 1)):
        run(
            namespace,
            f"ip link set {name} up gso_max_segs 1",
            f"ip address add {outer(link, number, version)}/{length} dev {name}",
        )


@contextmanager
def three_sites(plane: str, version: int) -> Iterator[ThreeSites]:
    """All of it, up and under traffic, with IPv4 or IPv6 outside."""
    folder = Path(tempfile.mkdtemp(prefix="plutino-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        router = stack.enter_context(NetworkNamespace.create())
        run(
            router,
            "sysctl -qw net.ipv4.ip_forward=1",
            "sysctl -qw net.ipv4.icmp_ratelimit=0",
            "sysctl -qw net.ipv6.conf.all.forwarding=1",
            NO_DAD,
            _KEEP,
        )
        sites = {}
        sides = {}
        for site in SITES:
            (folder / site).mkdir(mode=0o700)
            sites[site] = Host(site, folder / site)
            stack.callback(sites[site].close)
            run(sites[site].namespace, "ip link set lo up", NO_DAD, _KEEP)
            path = folder / "clear" if site == APART else None
            sides[site] = Side(site, sites[site], path)
            if path is None:
                sides[site].set_addresses()
            else:
                stack.callback(sides[site].vanish)
        taps = {}
        for link, (site, _device, _net) in LINKS.items():
            _connect(router, link, sites[site], version)
            if link == links_of(site)[0]:
                run(sites[site].namespace, default_route(link, version))
            taps[link] = WireTap(router, link, marker=MARKER)
            stack.callback(taps[link].close)
        traffic = Traffic(sides)
        made = ThreeSites(sites, router, taps, plane, version, traffic, sides)
        for one, other in PAIRS:
            for ours, theirs in product(links_of(one), links_of(other)):
                made.share_keys(key_name(ours, theirs))
        for site, host in sites.items():
            host.file.write_text(gateway_text(site, plane, version, sides[site].path))
            host.start_daemon()
        for host in sites.values():
            host.wait_until_up()
        stack.enter_context(traffic)
        traffic.heal_time(limit=30)
        yield made
