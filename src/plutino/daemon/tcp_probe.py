"""Asks by opening TCP connections: who answers at all, be it with a refusal, is there.

A SYN-ACK or a RST has come from the other end of the way. Nothing is sent over a connection, and
it ends with a RST, so that neither side keeps it.
"""

import asyncio
import errno
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from plutino.model.policy import IpAddress

_NO_LINGER: Final = struct.pack("=ii", 1, 0)
"""``struct linger``: close by RST."""
_ANSWERS: Final = frozenset({0, errno.ECONNREFUSED, errno.ECONNRESET})


class TcpAsking:
    """Connections that wait for an answer, at most ``most`` for each destination."""

    def __init__(
        self, open_socket: Callable[[int], socket.socket], on_answer: Callable[[], None], most: int
    ) -> None:
        self._open = open_socket
        self._on_answer = on_answer
        self._most = most
        self._waiting: list[socket.socket] = []
        self._loop = asyncio.get_running_loop()

    def ask(self, destinations: tuple[IpAddress, ...], port: int) -> None:
        """A connection to each. Raises OSError where no socket can be opened."""
        while len(self._waiting) > self._most * len(destinations):
            self._forget(self._waiting[0])
        for destination in destinations:
            one = self._open(destination.version)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            code = one.connect_ex((str(destination), port))
            if code in (errno.EINPROGRESS, 0):
                self._waiting.append(one)
                self._loop.add_writer(one, self._hear, one)
            else:
                one.close()

    def close(self) -> None:
        """Wait for nothing more."""
        for one in list(self._waiting):
            self._forget(one)

    def _hear(self, one: socket.socket) -> None:
        code = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._forget(one)
        if code in _ANSWERS:
            self._on_answer()

    def _forget(self, one: socket.socket) -> None:
        with suppress(ValueError):
            self._waiting.remove(one)
        self._loop.remove_writer(one)
        one.close()
