"""Numbered packets through a tunnel while something breaks: which were lost, and when it heals."""

import select
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Protocol

from plutino.control.report import State
from plutino.lab.demo import BERLIN, INNER
from plutino.lab.hosts import Host
from plutino.lab.traffic import MARKER
from tests.support.until import until

NUMBER = struct.Struct("!Q")
PORT = 7007
INTERVAL = 0.002


class TwoHosts(Protocol):
    """Whatever has a Paris and a Berlin."""

    @property
    def paris(self) -> Host: ...

    @property
    def berlin(self) -> Host: ...


class Stream:
    """Numbered packets to an address of Berlin, or from there to Paris, every few milliseconds."""

    def __init__(
        self,
        pair: TwoHosts,
        address: str = INNER[BERLIN][0],
        port: int = PORT,
        *,
        back: bool = False,
        interval: float = INTERVAL,
    ) -> None:
        self._interval = interval
        self._address = (address, port)
        source, target = (pair.berlin, pair.paris) if back else (pair.paris, pair.berlin)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with target.namespace.entered():
            self._receiver = socket.socket(family, socket.SOCK_DGRAM)
        self._receiver.bind(("", port))  # the address may go and come
        with source.namespace.entered():
            self._sender = socket.socket(family, socket.SOCK_DGRAM)
        self.sent = 0
        self.refused = 0
        self.received: set[int] = set()
        self.repeated = 0
        """How many came that had come before."""
        self._last_arrival = time.monotonic()
        self.longest_silence = 0.0
        """Seconds between two arrivals, at most."""
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=one) for one in (self._send, self._receive)]

    def __enter__(self) -> "Stream":
        for thread in self._threads:
            thread.start()
        self.until_it_passes()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._sender.close()
        self._receiver.close()

    def until_it_passes(self) -> None:
        """Packets that are sent from now on arrive."""
        mark = self.sent
        until(lambda: any(number >= mark for number in list(self.received)), "packets pass")

    def lost(self, *, seconds: float = 1) -> set[int]:
        """Numbers up to now that do not arrive within that time."""
        numbers = set(range(self.sent))
        with suppress(AssertionError):
            until(lambda: numbers <= self.received, "all arrive", seconds=seconds)
        return numbers - self.received

    def _send(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self._sender.sendto(NUMBER.pack(self.sent) + MARKER, self._address)
            except OSError:
                self.refused += 1
            self.sent += 1

    def _receive(self) -> None:
        while not self._stop.is_set():
            if select.select([self._receiver], [], [], 0.1)[0]:
                number = NUMBER.unpack_from(self._receiver.recv(2048))[0]
                self.repeated += number in self.received
                self.received.add(number)
                now = time.monotonic()
                if len(self.received) > 1:
                    self.longest_silence = max(self.longest_silence, now - self._last_arrival)
                self._last_arrival = now


def state_of(host: Host) -> State | None:
    report = host.status()
    return None if report is None else report.state
