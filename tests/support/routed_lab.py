"""Two engines with a router between them, whose second link may be smaller than the first.

```
inject ─ TUN ─ engine "one" ─ wire ─ router ─ wire ─ engine "two" ─ TUN ─ delivered
```
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from plutino.lab.hosts import WIRE, Host
from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.wire import WireTap
from plutino.netlink.route_client import RouteClient
from tests.support.engine_lab import ONE, OUTER, TWO, EngineEnd, EngineLab

ROUTER: Final = {4: "192.0.2.254", 6: "2001:db8::fe"}


def run(namespace: NetworkNamespace, *commands: str) -> None:
    """Commands in a namespace, each of which must do."""
    with namespace.entered():
        for command in commands:
            subprocess.run(command.split(), check=True, capture_output=True)


def _connect(router: NetworkNamespace, host: Host) -> None:
    link = f"to-{host.name}"
    with router.entered(), RouteClient() as routes:
        routes.create_veth(link, WIRE, peer_namespace=host.namespace.fileno())
    run(
        router,
        f"ip link set {link} up",
        f"ip address add {ROUTER[4]}/32 dev {link}",
        f"ip address add {ROUTER[6]}/128 dev {link} nodad",
        f"ip route add {OUTER[4][host.name]}/32 dev {link}",
        f"ip route add {OUTER[6][host.name]}/128 dev {link}",
    )
    run(
        host.namespace,
        "ip link set lo up",
        f"ip link set {WIRE} up",
        f"ip address add {OUTER[4][host.name]}/32 dev {WIRE}",
        f"ip address add {OUTER[6][host.name]}/128 dev {WIRE} nodad",
        f"ip route add default via {ROUTER[4]} dev {WIRE} onlink",
        f"ip -6 route add default via {ROUTER[6]} dev {WIRE} onlink",
    )


def set_second_link(router: NetworkNamespace, two: Host, mtu: int) -> None:
    """The MTU of the link between the router and ``two``, on both of its ends."""
    run(router, f"ip link set to-{TWO} mtu {mtu}")
    run(two.namespace, f"ip link set {WIRE} mtu {mtu}")


@contextmanager
def routed_lab() -> Iterator[tuple[EngineLab, NetworkNamespace]]:
    """The lab, whose frames are those on the first link, and the router's namespace."""
    folder = Path(tempfile.mkdtemp(prefix="plutino-"))  # a socket's path is short
    hosts = Host(ONE, folder / ONE), Host(TWO, folder / TWO)
    with NetworkNamespace.create() as router:
        for host in hosts:
            _connect(router, host)
        run(
            router,
            "sysctl -qw net.ipv4.ip_forward=1",
            "sysctl -qw net.ipv6.conf.all.forwarding=1",
            "sysctl -qw net.ipv4.icmp_ratelimit=0",
            "sysctl -qw net.ipv6.icmp.ratelimit=0",
        )
        frames: list[tuple[bytes, int]] = []
        ends = [EngineEnd(host) for host in hosts]
        first = hosts[0].namespace
        tap = WireTap(first, WIRE, on_frame=lambda frame, at: frames.append((frame, at)))
        try:
            for end in ends:
                end.open()
            yield EngineLab(ends[0], ends[1], frames), router
        finally:
            for end in ends:
                end.close()
            tap.close()
            shutil.rmtree(folder)
