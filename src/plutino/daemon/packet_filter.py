"""Programs of classic BPF on sockets (``linux/filter.h``), run for each packet."""

import ctypes
import socket
import struct
from collections.abc import Iterable
from typing import Final

LOAD_LENGTH: Final = 0x80
"""BPF_LD | BPF_W | BPF_LEN: A becomes the packet's length."""
LOAD_WORD: Final = 0x20
"""BPF_LD | BPF_W | BPF_ABS; beyond the end of a packet the program ends, and drops it."""
LOAD_HALF: Final = 0x28
LOAD_OCTET: Final = 0x30
LOAD_WORD_AT_X: Final = 0x40
LOAD_HALF_AT_X: Final = 0x48
LOAD_IHL: Final = 0xB1
"""BPF_LDX | BPF_B | BPF_MSH: X becomes the length of an IPv4 header."""
SUBTRACT: Final = 0x14
TO_X: Final = 0x07
IS: Final = 0x15
IS_X: Final = 0x1D
IS_AT_LEAST: Final = 0x35
RETURN: Final = 0x06
WHOLE: Final = 0xFFFFFFFF
"""To return: all octets of the packet; 0 drops it."""
_SO_ATTACH_FILTER: Final = 26

Step = tuple[int, int, int, int]
"""``struct sock_filter``: code, steps to leave out if true and if false, operand."""


def attach_filter(opened: socket.socket, steps: Iterable[Step]) -> None:
    """From now on a socket gets what the program lets through.

    OSError where the kernel has no filters.
    """
    encoded = [struct.pack("=HBBI", *one) for one in steps]
    code = ctypes.create_string_buffer(b"".join(encoded))
    program = struct.pack("@HP", len(encoded), ctypes.addressof(code))
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
