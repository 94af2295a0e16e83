"""The UDP sockets of the kernel plane, held by a process that outlives daemon and commands.

The pass opens them, where it has the right and the namespace, and hands them to the holder
(``socket_holder.py``), which is started if there is none. Whoever needs one, as IKE will for its
own datagrams on the same port, fetches a duplicate. All but ``fetch`` and ``watch`` is called with
the instance's pass lock held.
"""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from plutino.dataplane import socket_holder
from plutino.dataplane.runtime import RuntimePaths
from plutino.dataplane.socket_holder import (
    DONE,
    FETCH,
    HELD,
    HOLD,
    LONGEST,
    MOST_DESCRIPTORS,
)
from plutino.dataplane.underlay import (
    UDP_KINDS,
    SocketKind,
    is_encapsulation,
    open_encapsulation,
)
from plutino.model.errors import PlaneError

_TIMEOUT: Final = 10.0
"""Seconds until the holder must have started, answered or ended."""
_NAMESPACE: Final = "/proc/thread-self/ns/net"


class HeldSockets:
    """The sockets that the holder of one instance holds, by kind; ``path`` is its socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def fetch(self) -> dict[SocketKind, socket.socket]:
        """Duplicates of those that are good for the current namespace; the caller closes them.

        Empty if there is no holder. Raises PlaneError if it does not answer.
        """
        return self._fetch()[0]

    def kinds(self) -> frozenset[SocketKind]:
        """Which of them are held and good. Raises PlaneError as ``fetch``."""
        held = self.fetch()
        _close(held)
        return frozenset(held)

    def ensure(self, kinds: Iterable[SocketKind]) -> None:
        """Have at least the UDP sockets among ``kinds`` held.

        Raises KernelError as ``open_encapsulation``, PlaneError if the holder fails.
        """
        wanted = UDP_KINDS & set(kinds)
        if not wanted:
            return
        held, strange = self._fetch()
        try:
            if strange:
                self._hold(held)  # a port is free again before it is bound anew
            lacking = wanted - set(held)
            if lacking and not held:
                self._end_lost()
            for kind in sorted(lacking):
                held[kind] = open_encapsulation(kind)
            if lacking:
                self._hold(held)
        finally:
            _close(held)

    def release(self, kinds: Iterable[SocketKind]) -> None:
        """Let go of all but ``kinds``; a holder of nothing ends. Raises PlaneError."""
        wanted = set(kinds)
        held, strange = self._fetch()
        try:
            if strange or not held or not set(held) <= wanted:
                self._hold({kind: one for kind, one in held.items() if kind in wanted})
        finally:
            _close(held)

    def end(self) -> None:
        """End the holder, also one that does not answer or whose socket was removed."""
        with suppress(PlaneError):
            self._hold({})
        self._end_lost()

    def watch(self) -> socket.socket | None:
        """A connection that becomes readable when the holder ends; None if there is none."""
        connection = self._connect()
        if connection is not None:
            connection.setblocking(False)
        return connection

    # --- talk with the holder

    def _fetch(self) -> tuple[dict[SocketKind, socket.socket], bool]:
        """Sockets to believe in, and whether there were others."""
        connection = self._connect()
        if connection is None:
            return {}, False
        with closing(connection):
            words, descriptors = self._ask(connection, FETCH, [])
        if not words:
            return {}, False
        opened = [socket.socket(fileno=one) for one in descriptors]
        if words[:1] != [HELD] or len(words) != 1 + len(opened):
            for one in opened:
                one.close()
            raise self._trouble("answers nonsense")
        believed: dict[SocketKind, socket.socket] = {}
        for name, one in zip(words[1:], opened, strict=True):
            kind = SocketKind.__members__.get(name)
            if kind is not None and is_encapsulation(one, kind):
                believed[kind] = one
            else:
                one.close()
        return believed, len(believed) != len(opened)

    def _hold(self, sockets: Mapping[SocketKind, socket.socket]) -> None:
        connection = self._connect()
        if connection is None:
            if not sockets:
                return
            connection = self._start()
        with closing(connection):
            request = " ".join([HOLD, *(kind.name for kind in sockets)])
            answer, _none = self._ask(
                connection, request, [one.fileno() for one in sockets.values()]
            )
            if answer != [DONE] and (sockets or answer):
                raise self._trouble("does not take sockets")
            if not sockets:
                with suppress(OSError):
                    connection.recv(1)  # nothing comes but its end

    def _ask(
        self, connection: socket.socket, request: str, descriptors: list[int]
    ) -> tuple[list[str], list[int]]:
        """Words and descriptors; none if it ends just now."""
        try:
            socket.send_fds(connection, [request.encode()], descriptors)
            answer, received, _flags, _address = socket.recv_fds(
                connection, LONGEST, MOST_DESCRIPTORS
            )
        except ConnectionError:
            return [], []
        except OSError as error:
            raise self._trouble("does not answer") from error
        return answer.decode("ascii", "replace").split(), received

    def _connect(self) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        connection.settimeout(_TIMEOUT)
        try:
            connection.connect(str(self._path))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        except OSError as error:
            connection.close()
            raise self._trouble("cannot be reached") from error
        return connection

    def _trouble(self, what: str) -> PlaneError:
        return PlaneError(
            f"the process that holds UDP port 4500 {what} ({self._path})",
            hint="end it (`pgrep -af socket_holder`), and it is started again",
        )

    # --- its beginning and its end

    def _start(self) -> socket.socket:
        """Start the holder, and connect. The name is bound here: it need not be waited for."""
        program = [sys.executable, "-I", "-S", socket_holder.__file__, str(self._path)]
        try:
            self._path.unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
                listener.bind(str(self._path))
                self._path.chmod(0o600)
                listener.listen()
                status = subprocess.run(
                    program,
                    stdin=listener.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={},
                    start_new_session=True,
                    timeout=_TIMEOUT,
                    check=False,
                ).returncode
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._trouble("cannot be started") from error
        connection = self._connect() if status == 0 else None
        if connection is None:
            raise self._trouble("cannot be started")
        return connection

    def _end_lost(self) -> None:
        """Kill holders of this path and namespace that the path does not lead to (any more)."""
        for pid in holder_pids(self._path):
            with suppress(ProcessLookupError):
                process = os.pidfd_open(pid)
                try:
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                    ended = select.poll()
                    ended.register(process, select.POLLIN)
                    ended.poll(1000 * _TIMEOUT)
                finally:
                    os.close(process)


def holder_running(runtime: RuntimePaths) -> bool:
    """Whether a holder of this instance listens."""
    connection = HeldSockets(runtime.holder_socket).watch()
    if connection is None:
        return False
    connection.close()
    return True


def holder_pids(path: Path) -> Iterator[int]:
    """Processes of the current network namespace that were started as holders for ``path``."""
    program = Path(socket_holder.__file__).name
    namespace = os.stat(_NAMESPACE).st_ino
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            if arguments[-1] != os.fsencode(path) or Path(os.fsdecode(arguments[-2])).name != (
                program
            ):
                continue
            if os.stat(entry / "ns/net").st_ino == namespace:
                yield int(entry.name)
        except (OSError, IndexError):
            continue


def _close(sockets: Mapping[SocketKind, socket.socket]) -> None:
    for one in sockets.values():
        one.close()
