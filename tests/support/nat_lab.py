"""Paris by plutino and Berlin by strongSwan, with a NAT before one of them.

```
paris or berlin  10.9.0.2 ─ 10.9.0.1  nat  192.0.2.x ─ 192.0.2.y  the other
```
The end inside has no address of the outer network; the NAT has that which the end would have there.
It translates IKE's ports and those of ESP in UDP to others, and drops what nobody inside asked for.
"""

import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from plutino.lab.demo import BERLIN, OUTER, PARIS, DemoOptions, gateway_text
from plutino.lab.hosts import WIRE, Host, forbid_scatter
from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.peers.strongswan import StrongSwan
from plutino.lab.traffic import MARKER
from plutino.lab.wire import FrameKind, WireTap, classify
from plutino.netlink.route_client import RouteClient
from tests.support.ike_lab import use_ike
from tests.support.multihomed_lab import run
from tests.support.strongswan_lab import Mixed, make_device, strongswan_files

INSIDE: Final = "10.9.0.2"
_GATEWAY: Final = "10.9.0.1"
_PORTS: Final = ((20000, 20010), (30000, 30010))
"""Two ranges of ports that the NAT may give."""
_UDP_AT: Final = 34
"""Where the UDP header is in a frame, after an IPv4 header without options."""
_LINKS: Final = ("inside", "outside")
_NETLINK_NETFILTER: Final = 12
_CT_DELETE: Final = (1 << 8) | 2
"""``IPCTNL_MSG_CT_DELETE`` of ``NFNL_SUBSYS_CTNETLINK``."""
_REQUEST_ACK: Final = 1 | 4


@dataclass(slots=True)
class NatLab(Mixed):
    """Both ends and the NAT; ``tap`` is inside, ``frames`` were seen outside."""

    inside: Host
    nat: NetworkNamespace
    outer: WireTap
    frames: list[bytes] = field(default_factory=list)
    _range: int = 0

    @property
    def public(self) -> Host:
        """The end that is not behind the NAT."""
        return self.berlin if self.inside is self.paris else self.paris

    def kinds(self) -> set[FrameKind]:
        """What was seen outside, by what an observer could read of it."""
        self.outer.catch_up()
        return {classify(_untranslated(one)) for one in self.frames}

    def ports(self) -> set[int]:
        """The ports seen outside of those that the NAT gives now."""
        self.outer.catch_up()
        low, high = _PORTS[self._range]
        return {port for one in self.frames for port in _udp_ports(one) if low <= port <= high}

    def assert_nothing_in_clear(self) -> None:
        """No frame that an observer could read was on either link so far."""
        Mixed.assert_nothing_in_clear(self)
        self.outer.catch_up()
        clear = [one for one in self.frames if classify(_untranslated(one)) is FrameKind.CLEAR]
        assert not clear, clear[0].hex()
        assert self.outer.marked == 0

    def give_other_ports(self) -> None:
        """The NAT forgets all that it has translated, and takes the other range of ports."""
        self._range = 1 - self._range
        self.frames.clear()
        translate(self.nat, self._range)


def translate(nat: NetworkNamespace, which: int) -> None:
    """The NAT's rules with one of the ranges, and no memory of another."""
    low, high = _PORTS[which]
    # At once: in between, what comes for the mapping of before would be answered by the NAT itself.
    rules = f"""
flush ruleset
table ip nat {{
  chain post {{
    type nat hook postrouting priority 100
    oifname outside udp dport {{ 500, 4500 }} masquerade to :{low}-{high}
  }}
}}
table ip filter {{
  chain input {{
    type filter hook input priority 0
    iifname outside drop
  }}
}}
"""
    with nat.entered():
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    with nat.entered():
        conversation = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    with conversation:
        header = struct.pack("=IHHIIBBH", 20, _CT_DELETE, _REQUEST_ACK, 1, 0, socket.AF_INET, 0, 0)
        conversation.send(header)
        error = struct.unpack_from("=i", conversation.recv(4096), 16)[0]
    assert error == 0, f"the NAT does not forget: {error}"


@contextmanager
def nat_lab(
    plane: str,
    conf: str,
    *,
    inside: str,
    paris: str = "",
    options: str = "",
    encapsulation: str = "esp",
    keepalive: int = 0,
) -> Iterator[NatLab]:
    """Both up, with the host of the name ``inside`` behind the NAT.

    ``conf``, ``paris`` and ``options`` are as for ``mixed_pair``; ``keepalive`` is Paris's
    ``nat-keepalive`` in seconds.
    """
    root = strongswan_files()
    folder = Path(tempfile.mkdtemp(prefix="plutino-"))  # a socket's path is short
    in_kernel = plane == "kernel"
    frames: list[bytes] = []
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        nat = stack.enter_context(NetworkNamespace.create())
        hosts = {}
        for name in (PARIS, BERLIN):
            (folder / name).mkdir(mode=0o700)
            hosts[name] = Host(name, folder / name)
            stack.callback(hosts[name].close)
        _connect(nat, hosts, inside)
        gateway = gateway_text(PARIS, BERLIN, DemoOptions(encapsulation, plane=plane))
        if inside == PARIS:
            gateway = gateway.replace(f'local = "{OUTER[4][PARIS]}"', f'local = "{INSIDE}"')
        gateway = gateway.replace("mode =", f"nat-keepalive = {keepalive}\nmode =")
        hosts[PARIS].file.write_text(gateway)
        use_ike(hosts[PARIS], BERLIN, paris)
        place = folder / "swan"
        place.mkdir(mode=0o700)
        swan = StrongSwan(hosts[BERLIN].namespace, place, root, conf, in_kernel, options)
        stack.callback(swan.close)
        tap = WireTap(nat, "inside", marker=MARKER)
        stack.callback(tap.close)
        outer = WireTap(
            nat, "outside", marker=MARKER, on_frame=lambda frame, _time: frames.append(frame)
        )
        stack.callback(outer.close)
        swan.start()
        make_device(hosts[BERLIN], in_kernel=in_kernel)
        hosts[PARIS].start_daemon()
        yield NatLab(hosts[PARIS], hosts[BERLIN], swan, tap, hosts[inside], nat, outer, frames)


def _connect(nat: NetworkNamespace, hosts: dict[str, Host], inside: str) -> None:
    public = BERLIN if inside == PARIS else PARIS
    ends = zip(_LINKS, (inside, public), (INSIDE, OUTER[4][public]), strict=True)
    for (link, name, address), own in zip(ends, (_GATEWAY, OUTER[4][inside]), strict=True):
        host = hosts[name].namespace
        with nat.entered(), RouteClient() as routes:
            routes.create_veth(link, WIRE, peer_namespace=host.fileno())
        for namespace, device, one in ((nat, link, own), (host, WIRE, address)):
            with namespace.entered():
                forbid_scatter(device)
            run(
                namespace,
                f"ip link set {device} up gso_max_segs 1",
                f"ip address add {one}/24 dev {device}",
            )
    run(hosts[inside].namespace, f"ip route add default via {_GATEWAY}")
    run(nat, "sysctl -qw net.ipv4.ip_forward=1")
    translate(nat, 0)


def _udp_ports(frame: bytes) -> tuple[int, ...]:
    is_udp = len(frame) >= _UDP_AT + 8 and frame[12:15] == b"\x08\x00\x45" and frame[23] == 17
    return struct.unpack_from("!HH", frame, _UDP_AT) if is_udp else ()


def _untranslated(frame: bytes) -> bytes:
    """The frame as without the NAT: both ports are the same then."""
    ports = _udp_ports(frame)
    own = [one for one in ports if one in {500, 4500}]
    if len(own) != 1:
        return frame
    return frame[:_UDP_AT] + struct.pack("!HH", own[0], own[0]) + frame[_UDP_AT + 4 :]
