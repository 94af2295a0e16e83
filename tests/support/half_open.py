"""Handshakes that nobody goes on with, so that a responder has half-open IKE SAs."""

import os
import socket
from typing import Final

from plutino.lab.namespaces import NetworkNamespace
from tests.support.ike_network import IkePair

SUITE: Final = "aes128gcm16-prfsha256-x25519"
"""What they offer."""
_TIMEOUT: Final = 5.0


def leave_half_open(namespace: NetworkNamespace, target: str, number: int) -> int:
    """Sends first messages from a namespace to port 500, each after the answer to the last.

    How many of the answers began an IKE SA, and did not ask for a cookie or refuse.
    """
    pair = IkePair(seed=1)
    pair.start()
    pair.run(0.001)
    first = pair.sent[0].payload
    begun = 0
    with namespace.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        sender.settimeout(_TIMEOUT)
        for _ in range(number):
            sender.sendto(os.urandom(8) + first[8:], (target, 500))
            begun += sender.recv(2048)[8:16] != bytes(8)
    return begun
