"""What strangers cause, in the log: anybody can, and nobody shall fill it."""

import time
from collections.abc import Callable
from typing import Final

_QUIET: Final = 10.0
"""Seconds between lines about refused handshakes of whoever it may be."""


class StrangerLog:
    """One line from time to time, with how many others there would have been."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._quiet_until, self._untold = 0.0, 0

    def tell(self, reason: str) -> None:
        """Why a stranger was refused."""
        now = time.monotonic()
        if now < self._quiet_until:
            self._untold += 1
            return
        more = f" (and {self._untold} others since the last time)" if self._untold else ""
        self._log(f"{reason}{more}")
        self._quiet_until, self._untold = now + _QUIET, 0
