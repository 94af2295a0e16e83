"""Rekeys under traffic: numbered packets both ways, of which none may be lost or come twice."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from plutino.lab.demo import INNER, PARIS
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.fault_stream import Stream, TwoHosts
from tests.support.until import until

REKEYS: Final = int(os.environ.get("PLUTINO_REKEYS", "100" if EXHAUSTIVE else "8"))
"""Of CHILD_SAs, one after another."""
IKE_REKEYS: Final = int(os.environ.get("PLUTINO_IKE_REKEYS", "5" if EXHAUSTIVE else "1"))
"""Of IKE SAs, which have ten seconds each at most."""
OFTEN: Final = """
rekey-packets = 100
esp-proposals = ["aes256gcm16-noesn"]
ike-rekey-after = 10
rekey-jitter = 0.5
"""
"""A gateway that begins rekeys of both kinds by itself, those of ESP several times a second."""
_PATIENCE: Final = 15
"""Seconds: what waits for an SA comes late where others have the processor."""
_SECONDS: Final = 10
"""For each, at most."""


@contextmanager
def traffic(
    lab: TwoHosts, interval: float = 0.002, *, there: bool = True, back: bool = True
) -> Iterator[list[Stream]]:
    """To Berlin and back, or one of them; what is sent meanwhile arrives once."""
    with ExitStack() as stack:
        streams = []
        if there:
            streams.append(stack.enter_context(Stream(lab, interval=interval)))
        if back:
            inner = INNER[PARIS][0]
            streams.append(stack.enter_context(Stream(lab, inner, back=True, interval=interval)))
        first = [one.sent for one in streams]
        for one in streams:
            one.repeated = 0
        yield streams
        for one, mark in zip(streams, first, strict=True):
            lost = {number for number in one.lost(seconds=_PATIENCE) if number >= mark}
            way = "to Berlin" if there and one is streams[0] else "to Paris"
            why = f"{way} {len(lost)} of {one.sent - mark}: {sorted(lost)[:40]}"
            assert not lost, f"{why}; {one.refused} refused to the sender"
            assert not one.repeated


def until_so_many(count: Callable[[], int], wanted: int, what: str) -> None:
    """So many more of them than there have been."""
    before = count()
    until(
        lambda: count() >= before + wanted,
        f"{wanted} rekeys of {what}",
        seconds=_SECONDS * (wanted + 1),
    )


class Changes:
    """How often a value has been another one than before, as far as it was looked at."""

    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look
        self._last = look()
        self._count = 0

    def count(self) -> int:
        """Looks again; what is not there at the moment is no change."""
        now = self._look()
        if now and now != self._last:
            self._last = now
            self._count += 1
        return self._count
