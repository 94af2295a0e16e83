"""Sends IKE datagrams that mean nothing, or almost something, at compiled speed (``ike_flood.c``).

They are bounded in number and time, and stay in the namespace that they are sent in.
"""

import os
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

from plutino.lab.namespaces import NetworkNamespace
from tests.support.ike_network import IkePair

_SOURCE = Path(__file__).with_suffix(".c")


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


class Flood:
    """Senders in a namespace, to port 500 and, with the non-ESP marker, to port 4500.

    ``rate`` is of all of them together, per second.
    """

    def __init__(
        self,
        folder: Path,
        namespace: NetworkNamespace,
        target: str,
        sources: Sequence[str],
        *,
        rate: float,
        seconds: float,
        senders: int = 2,
    ) -> None:
        program = folder / "ike_flood"
        subprocess.run(["cc", "-O2", "-o", str(program), str(_SOURCE)], check=True)
        octets = b"".join(len(one).to_bytes(2, "big") + one for one in samples())
        self._senders: list[subprocess.Popen[bytes]] = []
        with namespace.entered():
            for number in range(senders):
                words = [str(program), target, str(rate / senders), str(seconds)]
                words += sources[number::senders]
                one = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                assert one.stdin is not None
                one.stdin.write(octets)
                one.stdin.close()
                one.stdin = None
                self._senders.append(one)

    def sent(self, timeout: float) -> int:
        """How many datagrams they have sent, once they are done."""
        return sum(int(one.communicate(timeout=timeout)[0]) for one in self._senders)
