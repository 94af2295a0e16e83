"""Asks the data plane what has come by the CHILD_SAs of a peer, when IKE wants to know.

Ten thousand tunnels have each its own time to be asked about, so one look is for the few peers that
became due in a moment, each SA by its name, and never a dump. Passes do not wait for it.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

from plutino.config.gateway import Gateway
from plutino.config.numbers import tunnel_numbers
from plutino.dataplane.engine_client import EngineClient
from plutino.dataplane.runtime import RuntimePaths
from plutino.ike.esp_use import ChildUse
from plutino.ike_process.commands import NoteUse
from plutino.model.child_sa import ChildSa
from plutino.model.errors import KernelError, PlaneError
from plutino.model.sa import SaName
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.netlink.xfrm_client import XfrmClient

_GATHER: Final = 0.05
"""Seconds to wait for more peers: many at once cost little more than one."""
Names = Mapping[str, tuple[SaName, ...]]
"""Inbound SAs by peer."""


def inbound_sas(
    gateway: Gateway, children_of: Callable[[str], Iterable[ChildSa]], peers: Iterable[str]
) -> Names:
    """Those of peers, as the data plane knows them."""
    tunnels = gateway.tunnels
    return {
        peer: tuple(
            SaName(one.local, one.spi_in, tunnel_numbers(gateway, one.tunnel).mark_in)
            for one in children_of(peer)
            if one.tunnel in tunnels
        )
        for peer in peers
    }


class SaUses:
    """``tell`` gets what is known of them."""

    def __init__(self, runtime: RuntimePaths, tell: Callable[..., None]) -> None:
        self._runtime = runtime
        self._tell = tell
        self._wanted: dict[str, tuple[SaName, ...]] = {}
        self._task: asyncio.Task[None] | None = None
        self._socket: NetlinkSocket | None = None
        self.on_kernel = False

    def want(self, names: Names) -> None:
        """IKE has heard nothing of these peers; the answer comes soon."""
        self._wanted |= names
        if self._wanted and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._look())

    def close(self) -> None:
        """Nobody waits for an answer any more."""
        self._wanted.clear()
        if self._task is not None:
            self._task.cancel()

    async def _look(self) -> None:
        try:
            while self._wanted:
                await asyncio.sleep(_GATHER)
                wanted, self._wanted = self._wanted, {}
                uses = await asyncio.get_running_loop().run_in_executor(None, self._ask, wanted)
                self._tell(*(NoteUse(peer, uses.get(peer, ())) for peer in wanted))
        finally:
            self._hang_up()

    def _ask(self, names: Names) -> dict[str, tuple[ChildUse, ...]]:
        """By peer; nothing of whom the plane does not tell, who is then asked itself."""
        found: dict[str, tuple[ChildUse, ...]] = {}
        try:
            client = self._client()
            for peer, several in names.items():
                found[peer] = tuple(_uses(client, several))
        except (KernelError, PlaneError):  # passes find it as well, and tell
            self._hang_up()
        return found

    def _client(self) -> XfrmClient:
        """Looks that follow each other go by one connection."""
        if self._socket is None:
            if self.on_kernel:
                self._socket = NetlinkSocket.kernel(NETLINK_XFRM)
            else:
                self._socket = EngineClient(self._runtime.engine_socket).socket
        return XfrmClient(self._socket)

    def _hang_up(self) -> None:
        opened, self._socket = self._socket, None
        if opened is not None:
            with suppress(OSError):
                opened.close()


def _uses(client: XfrmClient, names: Iterable[SaName]) -> Iterable[ChildUse]:
    for name in names:
        use = client.find_use(name)
        if use is not None:
            idle = max(time.time() - use.last_used, 0.0) if use.last_used else None
            yield ChildUse(int(name.spi).to_bytes(4, "big"), use.packets, idle)
