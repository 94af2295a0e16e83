"""Sends IKE datagrams that mean nothing, or almost something, at compiled speed (``ike_flood.c``).

They are bounded in number and time, and stay in the namespace that they are sent in.
"""

import json
import os
import random
import subprocess
from ipaddress import IPv4Network
from pathlib import Path

from plutino.lab.hosts import Host
from plutino.lab.namespaces import NetworkNamespace
from plutino.netlink.route_client import RouteClient
from tests.support.ike_network import IkePair
from tests.support.multihomed_lab import run

_SOURCE = Path(__file__).with_suffix(".c")
_LINK = "strangers"
_MAC = "02:00:00:00:00:01"
"""Whom the frames of ``ike_flood.c`` are for."""
_HERE, _ROUTER = "203.0.113.1", "203.0.113.2"
_SOURCES = IPv4Network("198.18.0.0/24")


def samples() -> list[bytes]:
    """First messages that are valid, and what comes of them with a byte or their end missing."""
    pair = IkePair(seed=1)
    pair.start()
    pair.run(0.001)
    first = pair.sent[0].payload
    made = []
    for number in range(500):
        fresh = os.urandom(8) + first[8:]
        cut = fresh[: random.randrange(28, len(fresh))]
        changed = bytearray(fresh)
        changed[random.randrange(28, len(fresh))] ^= 0x55
        auth = os.urandom(16) + bytes((46, 0x20, 35, 0x08)) + bytes((0, 0, 0, 1)) + fresh[24:]
        made += [fresh, cut, bytes(changed), auth, os.urandom(number % 200)]
    return made


class Flood:
    """A sender of its own, behind a link of its own to a gateway's host.

    To port 500 and, with the non-ESP marker, to port 4500 of ``target``, ``rate`` in a second, from
    sources that lead back to it.
    """

    def __init__(
        self, folder: Path, host: Host, target: str, *, rate: float, seconds: float
    ) -> None:
        program = folder / "ike_flood"
        subprocess.run(["cc", "-O2", "-o", str(program), str(_SOURCE)], check=True)
        self._host = host
        self._namespace = NetworkNamespace.create()
        with self._namespace.entered(), RouteClient() as routes:
            routes.create_veth(_LINK, _LINK, peer_namespace=host.namespace.fileno())
        run(
            self._namespace,
            f"ip address add {_ROUTER}/30 dev {_LINK}",
            f"ip link set {_LINK} up",
        )
        run(
            host.namespace,
            f"ip link set {_LINK} address {_MAC}",
            f"ip address add {_HERE}/30 dev {_LINK}",
            f"ip link set {_LINK} up",
            f"ip route add {_SOURCES} via {_ROUTER}",
        )
        before = self.arrived()
        octets = b"".join(len(one).to_bytes(2, "big") + one for one in samples())
        words = [str(program), _LINK, target, str(rate), str(seconds)]
        words += [str(_SOURCES[0]), str(_SOURCES.num_addresses)]
        with self._namespace.entered():
            self._sender = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._sender.stdin is not None
        self._sender.stdin.write(octets)
        self._sender.stdin.close()
        self._sender.stdin = None
        self._before = before

    def arrived(self) -> int:
        """Packets that the host has received from it by now, as its interface counts them."""
        said = run(self._host.namespace, f"ip -json -statistics link show {_LINK}")
        return int(json.loads(said)[0]["stats64"]["rx"]["packets"])

    def over(self, timeout: float) -> tuple[int, int]:
        """Datagrams that were sent, once all are, and those of them that reached the host."""
        sent = int(self._sender.communicate(timeout=timeout)[0])
        arrived = self.arrived() - self._before
        self._namespace.close()
        return sent, arrived
