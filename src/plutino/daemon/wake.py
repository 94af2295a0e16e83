"""What calls for the next pass over the gateway."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from plutino.daemon.pace import Pace

_LONGEST_SLEEP: Final = 1.0
"""Seconds between two signs of life."""


class Wake(asyncio.Event):
    """Set when a pass is wanted; in haste for what must not wait until handshakes pause."""

    def __init__(self) -> None:
        super().__init__()
        self._in_haste = asyncio.Event()

    def set_in_haste(self) -> None:
        """For a lost path, a dead engine, a guard that somebody took away."""
        self._in_haste.set()
        self.set()

    def clear(self) -> None:
        """The pass begins."""
        super().clear()
        self._in_haste.clear()

    async def rest(self, pace: Pace, is_alive: Callable[[], None]) -> None:
        """Lets handshakes go first, unless there is haste; ``is_alive`` is called meanwhile."""
        asked = time.monotonic()
        while not self._in_haste.is_set() and (rest := pace.rest(asked)) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._in_haste.wait(), min(rest, _LONGEST_SLEEP))
            is_alive()
