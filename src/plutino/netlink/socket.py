"""The netlink socket: the kernel's AF_NETLINK, or the engine's AF_UNIX that speaks the same.

One object is one conversation: a request is sent, its answers are read until the acknowledgement.
Sockets for notifications are apart from those for requests, so that neither waits for the other.
"""

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from plutino.model.errors import BatchRefusedError, KernelError, PlaneError, WireError
from plutino.netlink.fault import before_request
from plutino.netlink.wire import (
    ALIGNMENT,
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_NOOP,
    NLMSG_OVERRUN,
    Acknowledgement,
    Message,
    encode_message,
    parse_messages,
)

NETLINK_ROUTE = 0
NETLINK_XFRM = 6

_SOL_NETLINK: Final = 270
_NETLINK_CAP_ACK: Final = 10
_NETLINK_EXT_ACK: Final = 11
_NETLINK_GET_STRICT_CHK: Final = 12
_SO_RCVBUFFORCE: Final = 33

BATCH = 64
"""Requests per datagram: their refusals must fit the receive buffer together."""
RECEIVE_BUFFER = 4 << 20
MAX_DATAGRAM = 64 << 10
REPLY_TIMEOUT = 10.0
"""Seconds without any answer before the other side counts as dead."""
_DUMP_ATTEMPTS = 5

Request = tuple[int, bytes, int]
"""Message type, payload, further flags."""


class NotificationsLostError(PlaneError):
    """ENOBUFS: notifications were dropped, so what is known must be read anew."""


class NetlinkSocket:
    """A conversation in netlink messages. Not for two threads at once."""

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self._socket = sock
        self._peer = peer
        self._sequence = int(time.monotonic() * 1000) & 0x7FFFFFFF
        self.on_warning: Callable[[str, str], None] | None = None
        """Called with step and text when a request succeeded with an extended ACK."""

    @classmethod
    def kernel(cls, protocol: int, *, groups: int = 0) -> Self:
        """A socket to the kernel in the current network namespace.

        ``groups`` is the bitmap of multicast groups, bit n-1 for group n. Raises PlaneError if the
        kernel has no such protocol.
        """
        try:
            sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        except OSError as error:
            raise PlaneError(
                f"the kernel gives no netlink socket of protocol {protocol}: {error.strerror}",
                hint="the kernel was built without it" if protocol == NETLINK_XFRM else None,
            ) from error
        try:
            for option in (_NETLINK_EXT_ACK, _NETLINK_CAP_ACK):
                sock.setsockopt(_SOL_NETLINK, option, 1)
            if protocol == NETLINK_ROUTE:
                sock.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
            _enlarge_receive_buffer(sock)
            sock.bind((0, 0))
            # Membership by number: the address of bind() holds groups 1 to 32 only, and as signed.
            for group in range(1, groups.bit_length() + 1):
                if groups >> (group - 1) & 1:
                    sock.setsockopt(_SOL_NETLINK, 1, group)
        except OSError as error:
            sock.close()
            raise PlaneError(f"netlink socket cannot be set up: {error.strerror}") from error
        return cls(sock, "the kernel")

    @classmethod
    def engine(cls, path: Path) -> Self:
        """A connection to the engine. Raises PlaneError with a hint if it is not reachable."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            sock.settimeout(REPLY_TIMEOUT)
            sock.connect(os.fspath(path))
            sock.settimeout(None)
        except OSError as error:
            sock.close()
            hints = {
                errno.ENOENT: "no engine runs here; `plutino run` or `plutino apply` starts one",
                errno.ECONNREFUSED: "the engine has ended; `plutino apply` starts it again",
                errno.EACCES: "run as root",
            }
            raise PlaneError(
                f"the engine at {path} is not reachable: {error.strerror or error}",
                hint=hints.get(error.errno or 0),
            ) from error
        return cls(sock, "the engine")

    def request(
        self,
        step: str,
        message_type: int,
        payload: bytes,
        *,
        flags: int = 0,
        descriptors: Sequence[int] = (),
    ) -> tuple[Message, ...]:
        """Send one request and give its replies: all parts of a dump, or what precedes the ACK.

        ``flags`` are added to NLM_F_REQUEST and NLM_F_ACK; ``descriptors`` travel as SCM_RIGHTS.
        A dump that the kernel marks as interrupted is asked for again. Raises KernelError on
        refusal, PlaneError if there is no answer.
        """
        is_dump = flags & NLM_F_DUMP == NLM_F_DUMP and not _is_modification(flags)
        for _attempt in range(_DUMP_ATTEMPTS):
            sequence = self._next_sequence()
            message = Message(message_type, NLM_F_REQUEST | NLM_F_ACK | flags, sequence, 0, payload)
            if not is_dump:
                before_request()
            self._send(step, message.encode(), descriptors)
            replies, interrupted = self._collect(step, sequence, is_dump=is_dump)
            if not interrupted:
                return replies
        raise PlaneError(
            f"{step}: the tables changed during each of {_DUMP_ATTEMPTS} attempts to read them"
        )

    def request_many(
        self,
        requests: Sequence[Request],
        describe: Callable[[int], str],
        *,
        descriptors: Sequence[int] = (),
    ) -> None:
        """Send many requests, ``BATCH`` to a datagram, of which the last asks for an ACK.

        ``describe`` gives the step of a request, by its place, in words: they are made only for
        what goes wrong. ``descriptors`` travel as SCM_RIGHTS with the first datagram.

        Every request is sent, whatever becomes of those before it: a refusal is answered without
        being asked for, and the others of its datagram are carried out. Raises BatchRefusedError.
        """
        refused: dict[int, KernelError] = {}
        for places in _batches(requests):
            last = places[-1]
            sequences: dict[int, int] = {}
            messages: list[bytes] = []
            for place in places:
                message_type, payload, flags = requests[place]
                all_flags = NLM_F_REQUEST | flags | (NLM_F_ACK if place == last else 0)
                sequence = self._next_sequence()
                sequences[sequence] = place
                messages.append(encode_message(message_type, all_flags, sequence, payload))
            before_request()
            self._send(describe(places[0]), b"".join(messages), descriptors)
            descriptors = ()
            refused |= self._refusals(sequences, last, describe)
        if refused:
            raise BatchRefusedError(refused)

    def _refusals(
        self, sequences: Mapping[int, int], last: int, describe: Callable[[int], str]
    ) -> dict[int, KernelError]:
        """What was refused of a datagram, by place; reads until the answer to its last request."""
        refused: dict[int, KernelError] = {}
        last_step = describe(last)
        while True:
            for message in self._answers(last_step):
                place = sequences.get(message.sequence)
                if message.type != NLMSG_ERROR or place is None:
                    continue
                acknowledgement = Acknowledgement.parse(message)
                if acknowledgement.errno or acknowledgement.extack:
                    try:
                        self._check(describe(place), acknowledgement)
                    except KernelError as error:
                        refused[place] = error
                if place == last:
                    return refused

    def receive(self, timeout: float | None) -> tuple[Message, ...]:
        """The next notifications; empty after ``timeout`` seconds, None waits for ever.

        Raises NotificationsLostError when some were dropped, PlaneError when the other side ended.
        """
        if timeout != 0 and not self._readable(timeout):
            return ()
        flags = socket.MSG_DONTWAIT if timeout == 0 else 0
        try:
            datagram = self._receive_datagram("notifications", flags)
        except BlockingIOError:
            return ()
        return parse_messages(datagram)

    def skip(self) -> None:
        """Whatever notifications there are, without a look at them. Raises as ``receive`` does."""
        with suppress(BlockingIOError):
            while True:
                self._receive_datagram("notifications", socket.MSG_DONTWAIT)

    def fileno(self) -> int:
        """For ``select`` and asyncio."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket; closing twice is harmless."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _next_sequence(self) -> int:
        self._sequence = (self._sequence + 1) & 0x7FFFFFFF or 1
        return self._sequence

    def _send(self, step: str, datagram: bytes, descriptors: Sequence[int]) -> None:
        rights = struct.pack(f"={len(descriptors)}i", *descriptors)
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
        try:
            self._socket.sendmsg([datagram], control)
        except OSError as error:
            raise PlaneError(f"{step}: {self._peer} takes no request: {error.strerror}") from error

    def _collect(
        self, step: str, sequence: int, *, is_dump: bool
    ) -> tuple[tuple[Message, ...], bool]:
        replies: list[Message] = []
        interrupted = False
        while True:
            for message in self._answers(step):
                if message.sequence != sequence:
                    continue  # a late answer to a request that was given up
                interrupted |= bool(message.flags & NLM_F_DUMP_INTR)
                if message.type in (NLMSG_ERROR, NLMSG_DONE):
                    self._check(step, Acknowledgement.parse(message))
                    if message.type == NLMSG_DONE or not is_dump:
                        return tuple(replies), interrupted
                elif message.type == NLMSG_OVERRUN:
                    raise PlaneError(f"{step}: {self._peer} lost a part of its answer")
                elif message.type != NLMSG_NOOP:
                    replies.append(message)

    def _answers(self, step: str) -> tuple[Message, ...]:
        if not self._readable(REPLY_TIMEOUT):
            raise PlaneError(f"{step}: no answer from {self._peer} in {REPLY_TIMEOUT:.0f} s")
        try:
            return parse_messages(self._receive_datagram(step))
        except WireError as error:
            raise PlaneError(f"{step}: the answer cannot be read: {error}") from error

    def _check(self, step: str, acknowledgement: Acknowledgement) -> None:
        if acknowledgement.errno:
            raise KernelError(step, acknowledgement.errno, acknowledgement.extack)
        if acknowledgement.extack and self.on_warning is not None:
            self.on_warning(step, acknowledgement.extack)

    def _readable(self, timeout: float | None) -> bool:
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        return bool(poller.poll(None if timeout is None else max(0, int(timeout * 1000))))

    def _receive_datagram(self, step: str, how: int = 0) -> bytes:
        """BlockingIOError where ``how`` says not to wait and nothing is there."""
        try:
            data, _ancillary, flags, source = self._socket.recvmsg(MAX_DATAGRAM, 0, how)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise NotificationsLostError(
                    f"{step}: messages of {self._peer} were lost, the buffer was full"
                ) from error
            raise PlaneError(f"{step}: {self._peer} cannot be heard: {error.strerror}") from error
        if not data:
            raise PlaneError(f"{step}: {self._peer} closed the connection")
        if flags & socket.MSG_TRUNC:
            raise PlaneError(f"{step}: an answer of {self._peer} exceeds {MAX_DATAGRAM} bytes")
        if self._socket.family == socket.AF_NETLINK and source[0] != 0:
            return b""  # another process wrote to our port: only the kernel is believed
        return data


def _enlarge_receive_buffer(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def _is_modification(flags: int) -> bool:
    """NLM_F_REPLACE and NLM_F_EXCL share their bits with NLM_F_DUMP; a create is never a dump."""
    return bool(flags & (NLM_F_CREATE | NLM_F_APPEND))


def _batches(requests: Sequence[Request]) -> Iterator[range]:
    """Places of at most ``BATCH`` requests whose messages fit one datagram."""
    start, size = 0, 0
    for place, (_type, payload, _flags) in enumerate(requests):
        length = Message.FIXED.size + len(payload) + ALIGNMENT
        if place > start and (place - start == BATCH or size + length > MAX_DATAGRAM):
            yield range(start, place)
            start, size = place, 0
        size += length
    if start < len(requests):
        yield range(start, len(requests))
