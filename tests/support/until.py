"""Waiting for what must come; no test waits for time to pass."""

import time
from collections.abc import Callable

_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.02


def until(condition: Callable[[], bool], what: str, *, seconds: float = 15) -> None:
    """Ask until it holds, soon at first, then less often; fail when it does not in ``seconds``."""
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    asked = time.monotonic()
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(max(pause, time.monotonic() - asked))  # who is asked must get on, too
        pause = min(2 * pause, _LONGEST_PAUSE)
        asked = time.monotonic()
