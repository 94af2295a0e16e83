"""Paris and Berlin with a NAT before one of them.

```
paris or berlin  10.9.0.2 ─ 10.9.0.1  nat  192.0.2.x ─ 192.0.2.y  the other
```
The end inside has no address of the outer network; the NAT has that which the end would have there.
It translates IKE's ports and those of ESP in UDP to others, and drops what nobody inside asked for.
"""

import socket
import struct
import subprocess
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from plutino.lab.demo import BERLIN, OUTER, PARIS, DemoOptions, gateway_text
from plutino.lab.hosts import WIRE, Host, forbid_scatter
from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.traffic import MARKER, ping, transfer
from plutino.lab.wire import FrameKind, WireTap, classify
from plutino.netlink.route_client import RouteClient
from tests.support.multihomed_lab import run
from tests.support.until import until

INSIDE: Final = "10.9.0.2"
GATEWAY: Final = "10.9.0.1"
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
class NatNetwork:
    """Both ends and the NAT; ``tap`` is inside, ``frames`` were seen outside."""

    hosts: tuple[Host, Host]
    inside: Host
    tap: WireTap
    frames: list[bytes]
    _nat: NetworkNamespace
    _outer: WireTap
    _range: int = 0

    @property
    def public(self) -> Host:
        """The end that is not behind the NAT."""
        return next(one for one in self.hosts if one is not self.inside)

    def kinds(self) -> set[FrameKind]:
        """What was seen outside, by what an observer could read of it."""
        self._outer.catch_up()
        return {classify(_untranslated(one)) for one in self.frames}

    def ports(self) -> set[int]:
        """The ports seen outside of those that the NAT gives now."""
        self._outer.catch_up()
        low, high = _PORTS[self._range]
        return {port for one in self.frames for port in _udp_ports(one) if low <= port <= high}

    def assert_nothing_in_clear(self) -> None:
        """No frame that an observer could read was outside so far."""
        self._outer.catch_up()
        clear = [one for one in self.frames if classify(_untranslated(one)) is FrameKind.CLEAR]
        assert not clear, clear[0].hex()
        assert self._outer.marked == 0

    def assert_reaches_public(self) -> None:
        """Packets and a megabyte from inside to the public end, by its own address."""
        sides = self.inside.namespace, self.public.namespace
        target = ip_address(OUTER[4][self.public.name])
        until(lambda: ping(sides[0], target, count=1)[0] == 1, "packets pass")
        found = transfer(*sides, target, octets=1 << 20)
        assert found.intact, found

    def give_other_ports(self) -> None:
        """The NAT forgets all that it has translated, and takes the other range of ports."""
        self._range = 1 - self._range
        self.frames.clear()
        _translate(self._nat, self._range)

    def close(self) -> None:
        """End what listens outside, and the NAT."""
        self._outer.close()
        self._nat.close()


def nat_network(folder: Path, inside: str, options: DemoOptions) -> NatNetwork:
    """The hosts with their gateway files, that of the name ``inside`` behind the NAT.

    Nothing of them runs yet; ``tap`` and the hosts are the caller's to close.
    """
    nat = NetworkNamespace.create()
    hosts = []
    for name, other in ((PARIS, BERLIN), (BERLIN, PARIS)):
        (folder / name).mkdir(mode=0o700)
        gateway = gateway_text(name, other, options)
        if inside == name:
            gateway = gateway.replace(f'local = "{OUTER[4][name]}"', f'local = "{INSIDE}"')
        hosts.append(Host(name, folder / name))
        hosts[-1].file.write_text(gateway)
    paris, berlin = hosts
    within, public = (paris, berlin) if inside == PARIS else (berlin, paris)
    _connect(nat, within, public)
    frames: list[bytes] = []
    tap = WireTap(nat, _LINKS[0], marker=MARKER)
    outer = WireTap(
        nat, _LINKS[1], marker=MARKER, on_frame=lambda frame, _time: frames.append(frame)
    )
    return NatNetwork((paris, berlin), within, tap, frames, nat, outer)


def _connect(nat: NetworkNamespace, within: Host, public: Host) -> None:
    for link, host, address, own in (
        (_LINKS[0], within, INSIDE, GATEWAY),
        (_LINKS[1], public, OUTER[4][public.name], OUTER[4][within.name]),
    ):
        with nat.entered(), RouteClient() as routes:
            routes.create_veth(link, WIRE, peer_namespace=host.namespace.fileno())
        for namespace, device, one in ((nat, link, own), (host.namespace, WIRE, address)):
            with namespace.entered():
                forbid_scatter(device)
            run(
                namespace,
                "ip link set lo up",
                f"ip link set {device} up gso_max_segs 1",
                f"ip address add {one}/24 dev {device}",
            )
    run(within.namespace, f"ip route add default via {GATEWAY}")
    run(nat, "sysctl -qw net.ipv4.ip_forward=1")
    _translate(nat, 0)


def _translate(nat: NetworkNamespace, which: int) -> None:
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
