"""Hears of changes by others to plutino's nftables table."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from plutino.model.errors import PlaneError
from plutino.model.netfilter import table_name
from plutino.netfilter.events import NetfilterEvents


class NetfilterWatch:
    """Calls ``wake`` at each."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._events: NetfilterEvents | None = None

    def watch(self, instance: str) -> None:
        """From now on."""
        with suppress(PlaneError):  # without nftables there is nothing to hear
            self._events = NetfilterEvents(table_name(instance))
            asyncio.get_running_loop().add_reader(self._events, self._hear)

    def _hear(self) -> None:
        if self._events is not None and self._events.changed():
            self._wake()

    def close(self) -> None:
        """No longer."""
        if self._events is not None:
            asyncio.get_running_loop().remove_reader(self._events)
            self._events.close()
            self._events = None
