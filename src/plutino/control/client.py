"""A request to the daemon, if one runs."""

import socket
from pathlib import Path
from typing import Any

from plutino.control.protocol import Request, encode_request, parse_answer
from plutino.model.errors import PlaneError

TIMEOUT = 60.0
"""Seconds."""
LONG_TIMEOUT = 600.0
"""Of what looks at all tunnels: ten thousand take a minute on a slow machine."""
_LONG = frozenset({"status", "plan", "reload"})


def ask_daemon(path: Path, method: str) -> Any:
    """The result of a request; None if no daemon listens at ``path``.

    Raises PlaneError if it refuses or does not answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(LONG_TIMEOUT if method in _LONG else TIMEOUT)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise PlaneError(
                f"the daemon at {path} is not reachable: {error.strerror}", hint="run as root"
            ) from error
        try:
            connection.sendall(encode_request(Request(method)))
            line = connection.makefile("rb").readline()
        except OSError as error:
            raise PlaneError(f"the daemon does not answer '{method}': {error}") from error
    if not line:
        raise PlaneError(f"the daemon ended before it answered '{method}'")
    answer = parse_answer(line)
    if answer.error is not None:
        raise PlaneError(answer.error, answer.hint)
    return answer.result if answer.result is not None else True
