"""Hears what a data plane tells: changes by others, what concerns IKE, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from plutino.daemon.log import log
from plutino.daemon.wake import Wake
from plutino.dataplane.acquires import acquired_reqid, expiring_spi
from plutino.dataplane.choice import PlaneChoice, open_events
from plutino.dataplane.mappings import new_mapping
from plutino.dataplane.runtime import RuntimePaths
from plutino.model.errors import PlaneError
from plutino.netlink.socket import NetlinkSocket, NotificationsLostError
from plutino.netlink.wire import Message

if TYPE_CHECKING:
    from plutino.daemon.ike_service import IkeService

_MOST_AT_ONCE: Final = 256
"""Messages of the data plane that are read in a row, before others have their turn."""


class PlaneWatch:
    """A connection that tells of changes by others, and ends with the engine."""

    def __init__(self, runtime: RuntimePaths, wake: Wake) -> None:
        self._runtime = runtime
        self._wake = wake
        self._events: NetlinkSocket | None = None
        self._ike: IkeService | None = None

    def watch(self, choice: PlaneChoice, ike: IkeService | None) -> None:
        """From now on, unless it is watched already, and for IKE as well where there is IKE now.

        Raises PlaneError if the plane cannot be reached.
        """
        if self._events is not None and self._ike is ike:
            return
        self.close()
        self._ike = ike
        self._events = open_events(choice, self._runtime, for_ike=ike is not None)
        asyncio.get_running_loop().add_reader(self._events.fileno(), self._hear, self._events)
        if ike is not None:
            ike.follow_plane()

    def close(self) -> None:
        """No longer."""
        if self._events is not None:
            asyncio.get_running_loop().remove_reader(self._events.fileno())
            self._events.close()
            self._events = None

    def _hear(self, events: NetlinkSocket) -> None:
        messages: list[Message] = []
        is_change = False
        try:
            while len(messages) < _MOST_AT_ONCE and (received := events.receive(0)):
                messages += received
        except NotificationsLostError:
            is_change = True
        except PlaneError:
            is_change = True
            log("the engine has ended: it is started again")
            self.close()
            self._wake.set_in_haste()
        if not _hear_for_ike(self._ike, messages) or is_change:
            self._wake.set()


def _hear_for_ike(ike: IkeService | None, messages: Iterable[Message]) -> bool:
    """Passes on what is for IKE; whether all of it is for IKE alone, and no change."""
    is_change = False
    for message in messages:
        is_change |= not _hear(ike, message)
    return not is_change


def _hear(ike: IkeService | None, message: Message) -> bool:
    reqid, expiring = acquired_reqid(message), expiring_spi(message)
    mapping = new_mapping(message)
    if ike is not None:
        if reqid is not None:
            ike.acquire(reqid)
        elif expiring is not None:
            ike.rekey(expiring)
        elif mapping is not None:
            ike.follow_mapping(mapping)
    return any(one is not None for one in (reqid, expiring, mapping))
