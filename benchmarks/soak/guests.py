"""Devices that come, are used and go, while the soak's traffic goes on."""

import itertools
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from benchmarks.soak.ends import End
from benchmarks.soak.lab import PORT, QUIET
from benchmarks.soak.report import PhaseReport
from benchmarks.soak.tunnel import Tunnel
from plutino.lab.traffic import MARKER
from plutino.model.errors import PlaneError
from plutino.model.numbers import IfId
from tests.support.engine_lab import ONE, TWO

GUEST: Final = "guest1"
"""The device that comes and goes."""
GUEST_INNER: Final = {ONE: "10.9.0.1", TWO: "10.9.0.2"}
_FIRST_IF_ID: Final = 2
_PACKETS: Final = 200


def guests(ends: Mapping[str, End], spis: Iterator[int], report: PhaseReport) -> Iterator[None]:
    """A guest device in four steps for ever: it comes, is used, goes, and its SAs go.

    Raises PlaneError when a guest gets too few of its packets, or one twice.
    """
    for number in itertools.count():
        if_id = IfId(_FIRST_IF_ID + number)
        for end in ends.values():
            end.new_device(GUEST, if_id, GUEST_INNER[end.name])
        guest = Tunnel(ends, if_id, spis)
        guest.install()
        yield
        _use(ends, least=_PACKETS if report.name == "direct" else _PACKETS // 2)
        yield
        by_hand = number % 2 == 1
        for end in ends.values():
            end.delete_device(GUEST, by_hand=by_hand)
        report.guests += 1
        report.guests_by_hand += by_hand
        yield
        guest.remove()
        yield


def _use(ends: Mapping[str, End], least: int) -> None:
    sockets = {}
    for end in ends.values():
        with end.host.namespace.entered():
            sockets[end.name] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sockets[end.name].bind((GUEST_INNER[end.name], int(PORT) + 1))
    with sockets[ONE] as one, sockets[TWO] as two:
        two.settimeout(QUIET)
        seen: Counter[int] = Counter()
        for number in range(_PACKETS):
            place = (GUEST_INNER[TWO], int(PORT) + 1)
            one.sendto(number.to_bytes(8, "big") + MARKER, place)
        try:
            while len(seen) < _PACKETS:
                seen[int.from_bytes(two.recv(2048)[:8], "big")] += 1
        except TimeoutError:
            pass
    if len(seen) < least or any(count > 1 for count in seen.values()):
        raise PlaneError(f"a guest got {len(seen)} of {_PACKETS} packets")
