"""One end of the soak: a host with an engine, its device and what it counts."""

import os
import subprocess
import time
from ipaddress import ip_interface
from pathlib import Path
from typing import Final

from plutino.dataplane.engine_client import EngineClient
from plutino.dataplane.engine_process import engine_path
from plutino.dataplane.tun import open_tun
from plutino.dataplane.underlay import SocketKind, open_socket
from plutino.lab.hosts import WIRE, Host
from plutino.model.errors import PlaneError
from plutino.model.link import Address
from plutino.model.numbers import IfId
from plutino.netlink.route_client import RouteClient
from plutino.netlink.wire import NLM_F_CREATE, NLM_F_EXCL
from plutino.netlink.xfrm.constants import MessageType
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm_client import XfrmClient
from tests.support.engine_lab import DEVICE, IF_ID, MTU, ONE, TWO

INNER: Final = {ONE: "10.8.0.1", TWO: "10.8.0.2"}


class End:
    """A host with an engine and its device."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.name = host.name
        host.folder.mkdir(parents=True, exist_ok=True)
        path = host.folder / "engine.sock"
        with host.namespace.entered():
            self.process = subprocess.Popen([engine_path(), "--socket", path])
        self.client = _connected(path, self.process)
        self.xfrm = XfrmClient(self.client.socket)

    def open(self) -> None:
        """Once the wire is there: device and underlay sockets."""
        with self.host.namespace.entered():
            for kind in (SocketKind.RAW_V4, SocketKind.RAW_V6):
                with open_socket(kind) as one:
                    self.client.new_socket(kind, one.fileno())
        self.new_device(DEVICE, IF_ID, INNER[self.name])

    def new_device(self, name: str, if_id: IfId, address: str) -> None:
        """A device that is up, with an address, served by the engine."""
        with self.host.namespace.entered(), RouteClient() as routes:
            descriptor = open_tun(name)
            try:
                routes.set_link(name, mtu=MTU, no_link_local=True)
                Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
                link = routes.find_link(name)
                if link is None:
                    raise PlaneError(f"{name} vanished")
                self.client.new_device(name, if_id, link.index, MTU, [descriptor])
            finally:
                os.close(descriptor)
            routes.set_link(name, up=True)
            routes.add_address(Address(name, ip_interface(f"{address}/24")))

    def delete_device(self, name: str, *, by_hand: bool) -> None:
        """By message and then the link, or the link alone, which the engine must notice."""
        if not by_hand:
            self.client.delete_devices([name])
        with self.host.namespace.entered():
            subprocess.run(["ip", "link", "del", name], check=True)
        if by_hand:
            deadline = time.monotonic() + 2
            while any(one.name == name and one.attached for one in self.client.list_devices()):
                if time.monotonic() > deadline:
                    raise PlaneError(f"{self.name} still serves {name}, which is deleted")
                time.sleep(0.005)
            self.client.delete_devices([name])

    def send(self, message: XfrmMessage) -> None:
        """One XFRM request; KernelError on refusal."""
        new = message.kind in (MessageType.NEWSA, MessageType.NEWPOLICY)
        flags = NLM_F_CREATE | NLM_F_EXCL if new else 0
        self.client.socket.request(message.kind.name, message.kind, message.encode(), flags=flags)

    def drops(self) -> dict[str, int]:
        """Counters of drops and of errors that are not zero."""
        found = {name: count for name, count in self.client.stat().items() if count}
        for device in self.client.list_devices():
            for name, count in device.stats.items():
                if count and name not in ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes"):
                    found[f"{device.name} {name}"] = count
        with self.host.namespace.entered(), RouteClient() as routes:
            for link in (DEVICE, WIRE):
                for name, count in routes.link_stats(link).items():
                    if count and name.endswith(("dropped", "errors")):
                        found[f"kernel's {link} {name}"] = count
        for kind, count in self.client.list_sockets().items():
            if count:
                found[f"socket {SocketKind(kind).name.lower()}"] = count
        return found

    def memory(self) -> int:
        """VmRSS of the engine in KiB."""
        fields = dict(
            line.split(":", 1)
            for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        )
        if fields["Name"].strip() != "plutino-engine":
            raise PlaneError("/proc does not show this world's processes")
        return int(fields["VmRSS"].split()[0])

    def close(self) -> None:
        """End the engine; the namespace takes the rest with it."""
        self.client.close()
        self.process.kill()
        self.process.wait()
        self.host.namespace.close()


def _connected(path: Path, process: subprocess.Popen[bytes]) -> EngineClient:
    for _ in range(1000):
        try:
            return EngineClient(path)
        except PlaneError:
            if process.poll() is not None:
                break
            time.sleep(0.005)
    process.kill()
    raise PlaneError("the engine does not come up")
