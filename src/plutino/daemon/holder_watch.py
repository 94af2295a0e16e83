"""Hears when the process that holds UDP port 4500 ends."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from plutino.daemon.log import log
from plutino.daemon.wake import Wake
from plutino.dataplane.held_sockets import HeldSockets
from plutino.dataplane.runtime import RuntimePaths
from plutino.model.errors import PlaneError

if TYPE_CHECKING:
    from plutino.daemon.ike_service import IkeService


class HolderWatch:
    """A connection that ends with the holder, if there is one; IKE uses the sockets that it has."""

    def __init__(self, runtime: RuntimePaths, wake: Wake) -> None:
        self._runtime = runtime
        self._wake = wake
        self._connection: socket.socket | None = None
        self._ike: IkeService | None = None

    def watch(self, ike: IkeService | None) -> None:
        """From now on, unless it is watched already; IKE fetches what a new one holds."""
        self._ike = ike
        if self._connection is not None:
            return
        with suppress(PlaneError):
            self._connection = HeldSockets(self._runtime.holder_socket).watch()
        if self._connection is not None:
            asyncio.get_running_loop().add_reader(self._connection, self._hear_end)
            if ike is not None:
                ike.open_sockets(on_kernel=True)

    def close(self) -> None:
        """No longer."""
        if self._connection is not None:
            asyncio.get_running_loop().remove_reader(self._connection)
            self._connection.close()
            self._connection = None

    def _hear_end(self) -> None:
        log("the process that held UDP port 4500 has ended")
        self.close()
        if self._ike is not None:
            self._ike.let_go_of_held()
        self._wake.set_in_haste()
