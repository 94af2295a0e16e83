"""Messages on a stream between daemon and IKE process: a length of 4 octets, then as many."""

import struct
from collections.abc import Iterator
from typing import Final

from plutino.model.errors import WireError

LONGEST: Final = 64 << 20
"""Octets of a message: ten thousand peers with their certificates fit in."""
CHUNK: Final = 1 << 18
"""Octets that are read at a time."""
_LENGTH: Final = struct.Struct("!I")


def frame(message: bytes) -> bytes:
    """A message as it goes over the stream."""
    return _LENGTH.pack(len(message)) + message


class Frames:
    """Messages out of a stream, however it is cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, octets: bytes | memoryview) -> Iterator[bytes]:
        """The messages that are whole now. WireError where one is too long."""
        self._buffer += octets
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > LONGEST:
                raise WireError("length", offset=0, why=f"{length} is more than {LONGEST}")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            message = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield message
