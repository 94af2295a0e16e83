"""What can go wrong in a network of three sites, each by itself, and how it is mended."""

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from plutino.lab.hosts import Host
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.netlink.xfrm_client import XfrmClient
from tests.support.multihomed_lab import run
from tests.support.three_sites import (
    APART,
    LINKS,
    PAIRS,
    SITES,
    ThreeSites,
    default_route,
    key_name,
    links_of,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """``heals`` tells that the network works around it before it is mended."""

    kind: str
    where: str
    strike: Callable[[], object]
    mend: Callable[[], object] | None = None
    heals: bool = True


Maker = Callable[[ThreeSites, random.Random], Fault]


def _link_down(net: ThreeSites, dice: random.Random) -> Fault:
    link = dice.choice(list(LINKS))
    return Fault(
        "link down",
        link,
        lambda: run(net.router, f"ip link set {link} down"),
        lambda: run(net.router, f"ip link set {link} up"),
        heals=len(links_of(LINKS[link][0])) > 1,
    )


def _own_link_down(net: ThreeSites, dice: random.Random) -> Fault:
    link = dice.choice(list(LINKS))
    site, device, _octets = LINKS[link]
    here = net.sites[site].namespace

    def mend() -> None:
        run(here, f"ip link set {device} up")
        if link == links_of(site)[0]:
            run(here, default_route(link, net.version))

    return Fault(
        "own device down",
        link,
        lambda: run(here, f"ip link set {device} down"),
        mend,
        heals=len(links_of(site)) > 1,
    )


def _blackhole(net: ThreeSites, dice: random.Random) -> Fault:
    link = dice.choice(list(LINKS))
    return Fault(
        "blackhole",
        link,
        lambda: net.hole(link),
        lambda: net.close_hole(link),
        heals=len(links_of(LINKS[link][0])) > 1,
    )


def _loss(net: ThreeSites, dice: random.Random) -> Fault:
    link = dice.choice(list(LINKS))
    part = "numgen random mod 100 < 20 drop"
    return Fault("20 % lost", link, lambda: net.hole(link, part), lambda: net.close_hole(link))


def _command(kind: str, command: str) -> Maker:
    def make(net: ThreeSites, dice: random.Random) -> Fault:
        site = dice.choice(SITES)
        is_clear = "ipsec" in command
        where = net.sides[site].namespace if is_clear else net.sites[site].namespace
        return Fault(kind, site, lambda: run(where, command))

    return make


def _reordered(net: ThreeSites, dice: random.Random) -> Fault:
    link = dice.choice(list(LINKS))
    netem = f"tc qdisc add dev {link} root netem delay 20ms 5ms reorder 25% duplicate 5%"
    return Fault(
        "reordered and doubled",
        link,
        lambda: run(net.router, netem),
        lambda: run(net.router, f"tc qdisc del dev {link} root"),
    )


def _namespace_gone(net: ThreeSites, _dice: random.Random) -> Fault:
    side = net.sides[APART]

    def strike() -> None:
        with net.traffic.moved(side):
            side.vanish()
            side.come_back()

    return Fault("namespace made anew", APART, strike)


def _uplink_table(net: ThreeSites, dice: random.Random) -> Fault:
    site = dice.choice(SITES)
    table = 134340 + 65536 * dice.randint(1, len(links_of(site)))
    command = f"ip route flush table {table}"
    return Fault("uplink's table flushed", site, lambda: run(net.sites[site].namespace, command))


def _daemon_killed(net: ThreeSites, dice: random.Random) -> Fault:
    site = dice.choice(SITES)
    host = net.sites[site]
    return Fault("daemon killed", site, lambda: restart(host), None)


def restart(host: Host) -> None:
    """As a service manager does it."""
    if host.daemon is not None:
        host.daemon.send_signal(signal.SIGKILL)
        host.daemon.wait()
    host.start_daemon()


def _engine_killed(net: ThreeSites, dice: random.Random) -> Fault:
    site = dice.choice(SITES)

    def strike() -> None:
        report = net.sites[site].status()
        if report is not None and report.engine is not None:
            with suppress(ProcessLookupError):
                os.kill(report.engine.pid, signal.SIGKILL)

    return Fault("engine killed", site, strike)


def _sas_gone(net: ThreeSites, dice: random.Random) -> Fault:
    site = dice.choice(SITES)

    def strike() -> None:
        client = _xfrm(net, site)
        sas = [sa for sa, _use in client.list_sas()]
        client.delete_sas(dice.sample(sas, max(1, len(sas) // 2)))

    return Fault("SAs deleted", site, strike)


def _policies_gone(net: ThreeSites, dice: random.Random) -> Fault:
    site = dice.choice(SITES)

    def strike() -> None:
        client = _xfrm(net, site)
        client.delete_policies(client.list_policies())

    return Fault("policies deleted", site, strike)


def _xfrm(net: ThreeSites, site: str) -> XfrmClient:
    host = net.sites[site]
    if net.plane == "userspace":
        return XfrmClient(NetlinkSocket.engine(host.engine_socket))
    with host.namespace.entered():
        return XfrmClient(NetlinkSocket.kernel(NETLINK_XFRM))


def _rekey(net: ThreeSites, dice: random.Random) -> Fault:
    pair = dice.choice(PAIRS)

    def strike() -> None:
        net.share_keys(key_name(links_of(pair[0])[0], links_of(pair[1])[0]))
        for site in pair:
            daemon = net.sites[site].daemon
            assert daemon is not None
            daemon.send_signal(signal.SIGHUP)

    return Fault("new keys at both ends", "-".join(pair), strike)


COMMON: Final[tuple[Maker, ...]] = (
    _link_down,
    _link_down,
    _own_link_down,
    _blackhole,
    _blackhole,
    _loss,
    _uplink_table,
    _namespace_gone,
    _daemon_killed,
    _sas_gone,
    _policies_gone,
    _rekey,
    _command("routes into a tunnel deleted", "ip route flush dev ipsec1"),
    _command("routes into a tunnel deleted (IPv6)", "ip -6 route flush dev ipsec2 proto 134"),
    _command("routes of plutino flushed", "ip route flush proto 134"),
    _command("routes of plutino flushed (IPv6)", "ip -6 route flush proto 134"),
    _command("rule deleted", "ip rule del priority 13400"),
    _command("nftables table deleted", "nft delete table inet plutino_default"),
    _command("interface deleted", "ip link del ipsec1"),
    _command("interface down", "ip link set ipsec2 down"),
    _command("interface renamed", "ip link set ipsec1 name other1"),
    _command("MTU changed", "ip link set ipsec1 mtu 1280"),
)
KERNEL_ONLY: Final[tuple[Maker, ...]] = (_reordered,)
"""In the guest, whose kernel has netem."""
ENGINE_ONLY: Final[tuple[Maker, ...]] = (_engine_killed,)


def draw(net: ThreeSites, dice: random.Random) -> Fault:
    """One of all faults that the plane has."""
    makers = COMMON + (ENGINE_ONLY if net.plane == "userspace" else KERNEL_ONLY)
    return dice.choice(makers)(net, dice)
