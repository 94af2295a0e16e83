"""Paris, Berlin and Rome in a row, for routing daemons: Rome's network is learnt by way of Berlin.

```
10.1.0.1 ─ paris ─ ipsec1 ═══ ipsec1 ─ berlin ─ ipsec2 ═══ ipsec1 ─ rome ─ 10.3.0.1
```
Outside, Paris has two uplinks. No gateway file has a route.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.lab.hosts import Host
from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.traffic import MARKER
from plutino.lab.wire import WireTap
from plutino.netlink.route_client import RouteClient
from tests.support.multihomed_lab import HOOKS, NO_DAD, run
from tests.support.routing_daemons import Bird, Frr

SITES: Final = ("paris", "berlin", "rome")
AS: Final = {"paris": 65001, "berlin": 65002, "rome": 65003}
_LINKS: Final = {
    "p1": ("paris", "eth1", "192.0.2"),
    "p2": ("paris", "eth2", "203.0.113"),
    "b1": ("berlin", "eth1", "198.51.100"),
    "r1": ("rome", "eth1", "198.18.2"),
}
_TUNNELS: Final = {
    ("paris", "berlin"): ("ipsec1", "10.255.0.0", "fd00:ff::0"),
    ("berlin", "paris"): ("ipsec1", "10.255.0.1", "fd00:ff::1"),
    ("berlin", "rome"): ("ipsec2", "10.255.0.2", "fd00:ff::2"),
    ("rome", "berlin"): ("ipsec1", "10.255.0.3", "fd00:ff::3"),
}


def inner(site: str, version: int) -> str:
    """The address behind a gateway."""
    number = SITES.index(site) + 1
    return f"10.{number}.0.1" if version == 4 else f"fd00:{number}::1"


def announced(site: str) -> tuple[str, ...]:
    """The networks behind a gateway."""
    return f"{inner(site, 4)}/32", f"{inner(site, 6)}/128"


def gateway_text(site: str, plane: str) -> str:
    """The gateway file of a site."""
    text = f'data-plane = "{plane}"\nprotected = ["10.0.0.0/8", "fd00::/8"]\n'
    for name, device, net in _LINKS.values():
        if name == "paris" == site:
            link = "p1" if device == "eth1" else "p2"
            text += f'[uplinks.{link}]\ninterface = "{device}"\ngateway = "{net}.254"\n'
    for (here, there), (interface, v4, v6) in _TUNNELS.items():
        if here != site:
            continue
        pair = "-".join(sorted((here, there)))
        text += (
            f'[tunnels.{there}]\ninterface = "{interface}"\naddresses = ["{v4}/31", "{v6}/127"]\n'
            f'static.key-file = "{pair}.keys"\n'
        )
        if site == "paris":
            text += 'uplinks = ["p1", "p2"]\nremote = "198.51.100.1"\n'
            text += f'[[tunnels.{there}.standby]]\nuplink = "p2"\nkey-file = "{pair}-p2.keys"\n'
            continue
        remote = {"paris": "192.0.2.1", "berlin": "198.51.100.1", "rome": "198.18.2.1"}[there]
        local = {"berlin": "198.51.100.1", "rome": "198.18.2.1"}[site]
        text += f'local = "{local}"\nremote = "{remote}"\n'
        if there == "paris":
            text += f'[[tunnels.{there}.standby]]\nremote = "203.0.113.1"\n'
            text += f'key-file = "{pair}-p2.keys"\n'
    return text


@dataclass(slots=True)
class Chain:
    """The running network, and what routes in it."""

    sites: dict[str, Host]
    router: NetworkNamespace
    taps: dict[str, WireTap]
    daemons: dict[str, Frr | Bird] = field(default_factory=dict)

    def share_keys(self, pair: str) -> None:
        """New keys for both ends of a tunnel, or of its second path."""
        ends = pair.removesuffix("-p2").split("-")
        for site, keys in zip(ends, generate_pair(os.urandom), strict=True):
            file = self.sites[site].folder / f"{pair}.keys"
            file.touch(mode=0o600)
            file.write_text(encode_keys(keys, used_at=site, peer="the other"))

    def blackhole(self, link: str) -> None:
        """Nothing passes a link any more."""
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

    def assert_nothing_in_clear(self) -> None:
        """No packet of a tunnel was readable on any link."""
        for name, tap in self.taps.items():
            tap.catch_up()
            assert tap.marked == 0, f"in clear on {name}"


@contextmanager
def chain(plane: str) -> Iterator[Chain]:
    """All tunnels up; routing daemons are for the test to start, and end with it."""
    folder = Path(tempfile.mkdtemp(prefix="plutino-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        router = stack.enter_context(NetworkNamespace.create())
        run(
            router,
            "sysctl -qw net.ipv4.ip_forward=1",
            "sysctl -qw net.ipv4.icmp_ratelimit=0",
            NO_DAD,
        )
        sites = {}
        for site in SITES:
            (folder / site).mkdir(mode=0o700)
            sites[site] = Host(site, folder / site)
            stack.callback(sites[site].close)
            run(
                sites[site].namespace,
                "ip link set lo up",
                NO_DAD,
                "sysctl -qw net.ipv4.ip_forward=1",
                "sysctl -qw net.ipv6.conf.all.forwarding=1",
                f"ip address add {inner(site, 4)}/32 dev lo",
                f"ip address add {inner(site, 6)}/128 dev lo nodad",
            )
        taps = {}
        for link, (site, device, net) in _LINKS.items():
            with router.entered(), RouteClient() as routes:
                routes.create_veth(link, device, peer_namespace=sites[site].namespace.fileno())
            for namespace, name, number in (
                (router, link, 254),
                (sites[site].namespace, device, 1),
            ):
                run(
                    namespace,
                    f"ip link set {name} up gso_max_segs 1",
                    f"ip address add {net}.{number}/24 dev {name}",
                )
            if device == "eth1":
                run(sites[site].namespace, f"ip route add default via {net}.254 dev {device}")
            taps[link] = WireTap(router, link, marker=MARKER)
            stack.callback(taps[link].close)
        made = Chain(sites, router, taps)
        for pair in ("berlin-paris", "berlin-paris-p2", "berlin-rome"):
            made.share_keys(pair)
        for site, host in sites.items():
            host.file.write_text(gateway_text(site, plane))
            host.start_daemon()
        for host in sites.values():
            host.wait_until_up()
        try:
            yield made
        finally:
            for daemon in made.daemons.values():
                daemon.close()
