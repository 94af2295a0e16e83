"""A fault on purpose, for tests: this process dies at a request of its choice.

``PLUTINO_FAULT_REQUEST=N`` ends the process by SIGKILL before its Nth request (dumps are not
counted), as ``kill -9`` at that moment would.
"""

import os
import signal
from itertools import count
from typing import Final

FAULT_VARIABLE: Final = "PLUTINO_FAULT_REQUEST"

_fatal: Final = int(os.environ.get(FAULT_VARIABLE) or 0)
_requests = count(1)


def before_request() -> None:
    """Called before each request but dumps, and before each datagram of many."""
    if next(_requests) == _fatal:
        os.kill(os.getpid(), signal.SIGKILL)
