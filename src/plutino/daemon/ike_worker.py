"""The daemon's end of the IKE process: starts it, speaks with it, and notices when it ends."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from plutino.daemon.log import log
from plutino.dataplane.runtime import RuntimePaths
from plutino.ike.path import Datagram
from plutino.ike_process.commands import Ask, Command, Heard, encode_commands
from plutino.ike_process.framing import CHUNK, Frames, frame
from plutino.ike_process.outcome import Outcome, decode_outcome
from plutino.model.errors import PlaneError, WireError

_MOST_WAITING: Final = 1 << 20
"""Octets to the process that wait, beyond which datagrams are lost, as on any full queue."""
_MOST_GATHERED: Final = 1024
"""Datagrams, beyond which they are lost as well."""
_PATIENCE: Final = 0.5
"""Seconds for it to let go of a socket."""
_START_TIMEOUT: Final = 60.0
_GATHER: Final = 0.002
"""Seconds between two relays: each wakes the process, which has no use for every datagram alone."""


class IkeWorker:
    """One process at a time; ``hear`` gets what it tells, ``ended`` is called when it has ended."""

    def __init__(
        self,
        runtime: RuntimePaths,
        hear: Callable[[Outcome], None],
        ended: Callable[[str], None],
        *,
        note_keys: bool,
    ) -> None:
        self._runtime = runtime
        self._hear = hear
        self._ended = ended
        self._note_keys = note_keys
        self._process: subprocess.Popen[bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self._descriptors: socket.socket | None = None
        self._is_up = False
        self._asked = 0
        self._questions: dict[int, asyncio.Future[None]] = {}
        self._to_relay: list[Command] = []
        self._relayed_at = float("-inf")

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._process is None else self._process.pid

    async def start(self, commands: Iterable[Command]) -> None:
        """Another process, which has done these when this returns.

        Raises PlaneError if it cannot be started.
        """
        ours, theirs = socket.socketpair()
        descriptors, its_descriptors = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs, its_descriptors:
            try:
                self._process = self._spawn(theirs, its_descriptors)
            except OSError as error:
                ours.close()
                descriptors.close()
                raise PlaneError(f"the IKE process cannot be started: {error}") from error
        self._descriptors = descriptors
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_unix_connection(lambda: _Pipe(self), sock=ours)
        self.tell(*commands)
        try:
            await asyncio.wait_for(self.ask(), _START_TIMEOUT)
        except TimeoutError:
            self._process.kill()
            raise PlaneError("the IKE process does not answer") from None
        if self._transport is None:  # it had just answered
            raise PlaneError("the IKE process has ended")
        self._is_up = True

    def _spawn(self, pipe: socket.socket, descriptors: socket.socket) -> "subprocess.Popen[bytes]":
        empty = self._runtime.empty_folder
        empty.mkdir(mode=0o755, exist_ok=True)
        arguments = [str(pipe.fileno()), str(descriptors.fileno()), str(empty)]
        arguments += ["keys"] if self._note_keys else []
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "plutino.ike_process", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(pipe.fileno(), descriptors.fileno()),
            cwd="/",
            start_new_session=True,
        )

    def tell(self, *commands: Command) -> None:
        """In this order; in vain while there is no process: what counts is told to the next."""
        if self._transport is not None and commands:
            self._transport.write(frame(encode_commands(list(commands))))

    def relay(self, datagrams: Iterable[Datagram]) -> None:
        """Datagrams that no socket of the process gets; those that follow closely go together."""
        is_planned = bool(self._to_relay)
        if len(self._to_relay) < _MOST_GATHERED:
            self._to_relay += map(Heard, datagrams)
        if not is_planned and self._to_relay:
            loop = asyncio.get_running_loop()
            due = self._relayed_at + _GATHER
            if loop.time() >= due:
                self._relay()
            else:
                loop.call_at(due, self._relay)

    def _relay(self) -> None:
        gathered, self._to_relay = self._to_relay, []
        self._relayed_at = asyncio.get_running_loop().time()
        transport = self._transport
        if transport is not None and transport.get_write_buffer_size() <= _MOST_WAITING:
            self.tell(*gathered)

    async def ask(self) -> None:
        """Until all that was told is done. PlaneError if the process ends before."""
        self._asked += 1
        future = asyncio.get_running_loop().create_future()
        self._questions[self._asked] = future
        self.tell(Ask(self._asked))
        if self._transport is None:
            self._give_up()
        await future

    def give_socket(self, version: int, port: int, opened: socket.socket) -> None:
        """From now on the process reads from it."""
        self._hand_over(f"{version} {port}", [opened.fileno()])

    def take_socket(self, version: int, port: int) -> None:
        """The process has closed its duplicate when this returns."""
        self._hand_over(f"{version} {port}", [])

    def _hand_over(self, words: str, descriptors: list[int]) -> None:
        if self._descriptors is None:
            return
        self._descriptors.settimeout(_PATIENCE)
        with suppress(OSError):  # whether it has ended is seen elsewhere
            socket.send_fds(self._descriptors, [words.encode()], descriptors)
            if not descriptors:
                self._descriptors.recv(16)

    def close(self) -> None:
        """The process ends, since nobody speaks to it any more."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
        self._let_go()

    def hear(self, octets: bytes) -> None:
        """One message of the process."""
        outcome = decode_outcome(octets)
        self._hear(outcome)
        for number in [one for one in self._questions if one <= outcome.answered]:
            future = self._questions.pop(number)
            if not future.done():
                future.set_result(None)

    def lost(self) -> None:
        """Its end of the pipe is closed."""
        if self._transport is None:
            return  # by our wish
        self._transport = None
        self._let_go()
        code = None if self._process is None else _end(self._process)
        self._give_up()
        was_up, self._is_up = self._is_up, False
        if was_up:  # else `start` tells it
            self._ended(f"exit code {code}" if code is None or code >= 0 else f"signal {-code}")

    def _let_go(self) -> None:
        if self._descriptors is not None:
            self._descriptors.close()
            self._descriptors = None

    def _give_up(self) -> None:
        for future in self._questions.values():
            if not future.done():
                future.set_exception(PlaneError("the IKE process has ended"))
        self._questions.clear()


class _Pipe(asyncio.BufferedProtocol):
    """What comes from the process; one that does not speak properly is ended."""

    def __init__(self, worker: IkeWorker) -> None:
        self._worker = worker
        self._frames = Frames()
        self._room = memoryview(bytearray(CHUNK))
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for message in self._frames.feed(self._room[:nbytes]):
                self._worker.hear(message)
        except WireError as error:
            log(f"error: the IKE process: {error}")
            assert self._transport is not None
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._worker.lost()


def _end(process: "subprocess.Popen[bytes]") -> int | None:
    """Its exit code; it is ending, or has to."""
    try:
        return process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
