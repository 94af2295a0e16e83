"""What the daemon says."""

import asyncio
import sys
from typing import Any


def log(words: str) -> None:
    """One line on stderr; the service manager adds time and name."""
    print(f"plutino: {words}", file=sys.stderr, flush=True)


def log_failure(reload: "asyncio.Future[Any]") -> None:
    """Why a reload that nobody waits for has failed, if it has."""
    error = reload.exception()
    if error is not None:
        log(f"error: the file was not taken over: {error}")
