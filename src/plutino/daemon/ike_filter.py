"""What the kernel drops before it takes room on IKE's sockets, and time of the IKE process.

A datagram whose length is not what its IKE header says (RFC 7296, 3.1) is none of IKE's, and one of
IKEv1 is never answered. Random octets and cut messages end here, in a program of classic BPF that
looks at three numbers.
"""

import socket
from typing import Final

from plutino.daemon.packet_filter import (
    IS_AT_LEAST,
    IS_X,
    LOAD_LENGTH,
    LOAD_OCTET,
    LOAD_WORD,
    RETURN,
    SUBTRACT,
    TO_X,
    WHOLE,
    attach_filter,
)
from plutino.ike_process.receiving import NON_ESP_MARKER
from plutino.model.sa import NAT_T_PORT

_UDP_HEADER: Final = 8
_VERSION_FIELD: Final = 17
_LENGTH_FIELD: Final = 24
_VERSION_2: Final = 0x20


def drop_garbage(opened: socket.socket, port: int) -> None:
    """From now on, on a UDP socket of that port. OSError where the kernel has no filters."""
    before = _UDP_HEADER + (len(NON_ESP_MARKER) if port == NAT_T_PORT else 0)
    steps = (
        (LOAD_LENGTH, 0, 0, 0),
        (SUBTRACT, 0, 0, before),
        (TO_X, 0, 0, 0),
        (LOAD_WORD, 0, 0, before + _LENGTH_FIELD),
        (IS_X, 0, 3, 0),
        (LOAD_OCTET, 0, 0, before + _VERSION_FIELD),
        (IS_AT_LEAST, 0, 1, _VERSION_2),
        (RETURN, 0, 0, WHOLE),
        (RETURN, 0, 0, 0),
    )
    attach_filter(opened, steps)
