"""What the kernel drops before it takes room on IKE's sockets, and time of the IKE process.

A datagram whose length is not what its IKE header says (RFC 7296, 3.1) is none of IKE's, and one of
IKEv1 is never answered. Random octets and cut messages end here, in a program of classic BPF that
looks at three numbers.
"""

import ctypes
import socket
import struct
from typing import Final

from plutino.ike_process.receiving import NON_ESP_MARKER
from plutino.model.sa import NAT_T_PORT

_SO_ATTACH_FILTER: Final = 26
_UDP_HEADER: Final = 8
_VERSION_FIELD: Final = 17
_LENGTH_FIELD: Final = 24
_VERSION_2: Final = 0x20
_LOAD_LENGTH: Final = 0x80
"""BPF_LD | BPF_W | BPF_LEN, of ``linux/filter.h`` as those that follow; A becomes the length."""
_SUBTRACT: Final = 0x14
_TO_X: Final = 0x07
_LOAD_WORD: Final = 0x20
"""BPF_LD | BPF_W | BPF_ABS; beyond the end of a packet the program ends, and drops it."""
_LOAD_OCTET: Final = 0x30
_IS_X: Final = 0x1D
_IS_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06
_WHOLE: Final = 0xFFFFFFFF


def drop_garbage(opened: socket.socket, port: int) -> None:
    """From now on, on a UDP socket of that port. OSError where the kernel has no filters."""
    before = _UDP_HEADER + (len(NON_ESP_MARKER) if port == NAT_T_PORT else 0)
    steps = (
        (_LOAD_LENGTH, 0, 0, 0),
        (_SUBTRACT, 0, 0, before),
        (_TO_X, 0, 0, 0),
        (_LOAD_WORD, 0, 0, before + _LENGTH_FIELD),
        (_IS_X, 0, 3, 0),
        (_LOAD_OCTET, 0, 0, before + _VERSION_FIELD),
        (_IS_AT_LEAST, 0, 1, _VERSION_2),
        (_RETURN, 0, 0, _WHOLE),
        (_RETURN, 0, 0, 0),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
