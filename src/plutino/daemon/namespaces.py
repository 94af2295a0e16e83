"""Listens in other network namespaces, and sees them disappear and come back."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from plutino.model.errors import PlaneError
from plutino.netlink.namespaces import namespace_identity
from plutino.netlink.route_events import route_event_socket
from plutino.netlink.socket import NetlinkSocket, NotificationsLostError

_Identity = tuple[int, int] | None


class NamespaceWatch:
    """Calls ``on_change`` when links, addresses or routes of the namespaces change.

    A socket keeps its namespace alive, so those of a namespace without a name are let go of.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._identities: dict[str, _Identity] = {}
        self._sockets: dict[str, NetlinkSocket] = {}

    def watch(self, names: Iterable[str]) -> None:
        """Listen in exactly these, as far as they are there."""
        wanted = {name: namespace_identity(name) for name in names}
        for name in list(self._sockets):
            if wanted.get(name) != self._identities.get(name):
                self._let_go(name)
        self._identities = wanted
        loop = asyncio.get_running_loop()
        for name, identity in wanted.items():
            if identity is None or name in self._sockets:
                continue
            with suppress(PlaneError):
                self._sockets[name] = route_event_socket(name)
                loop.add_reader(self._sockets[name].fileno(), self._hear, name)

    def changed(self) -> bool:
        """Whether one has disappeared, come back, or been made anew since ``watch``."""
        gone = [
            name
            for name, identity in self._identities.items()
            if namespace_identity(name) != identity
        ]
        for name in gone:
            self._let_go(name)
        return bool(gone)

    def close(self) -> None:
        """Let go of all."""
        for name in list(self._sockets):
            self._let_go(name)

    def _hear(self, name: str) -> None:
        try:
            self._sockets[name].skip()
        except NotificationsLostError:
            pass
        except PlaneError:
            self._let_go(name)
        self._on_change()

    def _let_go(self, name: str) -> None:
        socket = self._sockets.pop(name, None)
        if socket is not None:
            asyncio.get_running_loop().remove_reader(socket.fileno())
            socket.close()
