"""The lab of one phase of the soak: two ends, a wire that may be bad, streams and a tap."""

import time
from contextlib import ExitStack
from ipaddress import ip_interface
from pathlib import Path
from typing import Final

from benchmarks.soak.ends import INNER, End
from benchmarks.soak.traffic import Traffic
from plutino.lab.hosts import WIRE, Host, connect
from plutino.lab.namespaces import NetworkNamespace
from plutino.model.link import Address
from plutino.netlink.route_client import RouteClient
from tests.support.engine_lab import MTU, ONE, OUTER, TWO

PORT: Final = "7007"
QUIET: Final = 0.4
"""Seconds in which everything under way arrives."""
_PAYLOAD: Final = MTU - 28
_IN_FLIGHT: Final = {ONE: 256, TWO: 64}
"""Unconfirmed packets of each sender: both directions together fit the TUN's queue."""
_BAD_WIRE: Final = {"loss": 100, "reorder": 300, "duplicate": 50}
"""In ten thousandths of the packets."""


class SoakLab:
    """Two new engines and their traffic; everything goes with the stack.

    ``bad`` puts a wire between that loses, reorders and doubles; ``patience`` is how many
    milliseconds a sender waits for what it takes for lost.
    """

    def __init__(
        self, stack: ExitStack, folder: Path, program: Path, *, bad: bool, patience: int
    ) -> None:
        self._stack = stack
        self._folder = folder
        self._program = program
        self._bad = bad
        self.ends = self._open()
        self.forwarder = self._start_forwarder() if bad else None
        self._patience = str(patience)

    def start_traffic(self) -> None:
        """Streams both ways, and a tap on the wire."""
        self.tap = self._start(self.ends[ONE].host.namespace, "tap", "tap", WIRE)
        self.receivers, self.senders = self._start_streams()

    @property
    def traffic(self) -> list[Traffic]:
        """All processes that send, receive, listen and forward."""
        forwarders = [self.forwarder] if self.forwarder else []
        return [*self.receivers, *self.senders, self.tap, *forwarders]

    def _open(self) -> dict[str, End]:
        hosts = Host(ONE, self._folder / ONE), Host(TWO, self._folder / TWO)
        addresses: dict[str, tuple[str, ...]] = {
            name: (f"{OUTER[4][name]}/24",) for name in (ONE, TWO)
        }
        if self._bad:
            self._middle = self._stack.enter_context(NetworkNamespace.create())
            for host in hosts:
                self._connect_to_the_middle(host, addresses[host.name])
        else:
            connect(*hosts, addresses)
        ends = {}
        for host in hosts:
            ends[host.name] = End(host)
            self._stack.callback(ends[host.name].close)
            ends[host.name].open()
        return ends

    def _connect_to_the_middle(self, host: Host, addresses: tuple[str, ...]) -> None:
        with host.namespace.entered(), RouteClient() as routes:
            routes.create_veth(WIRE, host.name, peer_namespace=self._middle.fileno())
            routes.set_link("lo", up=True)
            routes.set_link(WIRE, up=True, gso_max_segs=1)
            for address in addresses:
                routes.add_address(Address(WIRE, ip_interface(address)))
        with self._middle.entered(), RouteClient() as routes:
            Path(f"/proc/sys/net/ipv6/conf/{host.name}/disable_ipv6").write_text("1")
            routes.set_link(host.name, up=True)

    def _start_forwarder(self) -> Traffic:
        shares = map(str, _BAD_WIRE.values())
        return self._start(self._middle, "forward", "forward", ONE, TWO, *shares)

    def _start(self, namespace: NetworkNamespace, page: str, role: str, *words: str) -> Traffic:
        traffic = Traffic(self._program, namespace, self._folder / page, role, *words)
        self._stack.callback(traffic.stop)
        return traffic

    def _start_streams(self) -> tuple[list[Traffic], list[Traffic]]:
        # The page is one for both ends of a stream, so its word to stop ends both.
        receivers, senders = [], []
        for sender, receiver in ((ONE, TWO), (TWO, ONE)):
            page, place = f"from-{sender}", (INNER[receiver], PORT)
            namespace = self.ends[receiver].host.namespace
            receivers.append(self._start(namespace, page, "receive", *place))
        time.sleep(0.1)
        for sender, receiver in ((ONE, TWO), (TWO, ONE)):
            page, place = f"from-{sender}", (INNER[receiver], PORT)
            words = (*place, str(_PAYLOAD), str(_IN_FLIGHT[sender]), self._patience)
            namespace = self.ends[sender].host.namespace
            senders.append(self._start(namespace, page, "send", *words))
        return receivers, senders
