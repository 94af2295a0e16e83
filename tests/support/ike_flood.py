"""Sends IKE datagrams that mean nothing, or almost something, as fast as one process can.

``python -m tests.support.ike_flood TARGET SECONDS SOURCE...`` prints how many were sent.
"""

import os
import random
import socket
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice

from tests.support.ike_network import IkePair

_BATCH = 2000


def samples() -> list[bytes]:
    """First messages that are valid, and what comes of them with a byte or their end missing."""
    pair = IkePair(seed=1)
    pair.start()
    pair.run(0.001)
    first = pair.sent[0].payload
    made = []
    for number in range(500):
        fresh = os.urandom(8) + first[8:]
        cut = fresh[: random.randrange(28, len(fresh))]
        changed = bytearray(fresh)
        changed[random.randrange(28, len(fresh))] ^= 0x55
        auth = os.urandom(16) + bytes((46, 0x20, 35, 0x08)) + bytes((0, 0, 0, 1)) + fresh[24:]
        made += [fresh, cut, bytes(changed), auth, os.urandom(number % 200)]
    return made


def flood(target: str, seconds: float, sources: Sequence[str]) -> int:
    """To port 500 and, with and without the non-ESP marker, to port 4500."""
    sockets = []
    for source in sources:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind((source, 0))
        one.setblocking(False)
        sockets.append(one)
    payloads = samples()
    ends = [(one, b"", (target, 500)) for one in sockets]
    ends += [(one, bytes(4), (target, 4500)) for one in sockets]
    sent, end = 0, time.monotonic() + seconds
    pairs = zip(cycle(ends), cycle(payloads), strict=False)
    while time.monotonic() < end:
        for (one, marker, to), payload in islice(pairs, _BATCH):
            try:
                one.sendto(marker + payload, to)
            except OSError:
                continue
            sent += 1
    return sent


if __name__ == "__main__":
    print(flood(sys.argv[1], float(sys.argv[2]), sys.argv[3:]))
