"""A process that does nothing but hold descriptors, so that they outlive whoever opened them.

The kernel receives ESP in UDP only while somebody holds the UDP socket that it comes to. This
program is started by ``held_sockets.py``, by its path and with the standard library alone, with a
listening UNIX socket as its stdin. It opens nothing, has no capability and sleeps in poll(). It
reads nothing either: what is not ESP stays in the socket's buffer, until that is full.

Its socket is of kind SOCK_SEQPACKET; each datagram is a request, and each has one answer. Names
and descriptors (SCM_RIGHTS) come in the same order.

- ``fetch``: answered by ``held NAME...`` with duplicates of all descriptors.
- ``hold NAME...`` with descriptors: from now on exactly these are held; answered by ``done``.
  Without any it ends.
- Anything else is answered by ``refused``.
"""

import ctypes
import os
import selectors
import socket
from contextlib import suppress
from typing import Final

FETCH: Final = "fetch"
HELD: Final = "held"
HOLD: Final = "hold"
DONE: Final = "done"
REFUSED: Final = "refused"
LONGEST: Final = 512
"""Bytes of a request or of an answer."""
MOST_DESCRIPTORS: Final = 8
"""In one request, and so held in all."""
_MOST_CONNECTIONS: Final = 32
_OOM_SCORE: Final = "-900"
"""As the engine's: its end cuts the network."""
_LINUX_CAPABILITY_VERSION_3: Final = 0x20080522
_PR_SET_NO_NEW_PRIVS: Final = 38


class Holder:
    """Descriptors by name; ``ended`` once it is asked to hold none."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.ended = False

    def answer(self, request: bytes, descriptors: list[int]) -> tuple[str, list[int]]:
        """Words and descriptors to send back. Those of a refused request are closed."""
        words = request.decode("ascii", "replace").split()
        names = words[1:]
        if words == [FETCH] and not descriptors:
            return " ".join([HELD, *self.held]), list(self.held.values())
        if words[:1] == [HOLD] and len(set(names)) == len(names) == len(descriptors):
            # The new ones may be duplicates of the old: no socket is closed in between.
            before, self.held = self.held, dict(zip(names, descriptors, strict=True))
            _close(list(before.values()))
            self.ended = not names
            return DONE, []
        _close(descriptors)
        return REFUSED, []


def serve(listener: socket.socket) -> None:
    """Answer all who connect, until one says that there is nothing to hold."""
    holder = Holder()
    with selectors.PollSelector() as selector:
        selector.register(listener, selectors.EVENT_READ, None)
        while True:
            for key, _events in selector.select():
                connection = key.data
                if connection is None:
                    _accept(listener, selector)
                elif not _answer(holder, connection):
                    selector.unregister(connection)
                    connection.close()
                elif holder.ended:
                    # Before the asker sees its connection end: nobody connects in vain after that.
                    listener.close()
                    return


def _accept(listener: socket.socket, selector: selectors.BaseSelector) -> None:
    with suppress(OSError):
        connection, _address = listener.accept()
        if len(selector.get_map()) > _MOST_CONNECTIONS:
            connection.close()
            return
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ, connection)


def _answer(holder: Holder, connection: socket.socket) -> bool:
    """Answer one request; False if the other side is gone or does not listen."""
    try:
        request, descriptors, _flags, _address = socket.recv_fds(
            connection, LONGEST, MOST_DESCRIPTORS
        )
        if not request:
            _close(descriptors)
            return False
        words, sent = holder.answer(request, descriptors)
        socket.send_fds(connection, [words.encode()], sent)
    except OSError:
        return False
    return True


def _close(descriptors: list[int]) -> None:
    for one in descriptors:
        os.close(one)


def _drop_capabilities() -> None:
    """Give up for good what root could do beside being root."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    libc.capset(header, (ctypes.c_uint32 * 6)())


def _main() -> None:
    # A container may forbid it.
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(_OOM_SCORE)
    _drop_capabilities()
    # Whoever started it need not wait for its end.
    if os.fork():
        os._exit(0)
    serve(socket.socket(fileno=0))


if __name__ == "__main__":
    _main()
