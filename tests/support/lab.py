"""A pair of gateways for a test: two hosts on a wire, plutino running on both."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from plutino.config.static_keys import StaticKeys, parse_keys
from plutino.lab.demo import BERLIN, PARIS, DemoOptions, make_hosts
from plutino.lab.hosts import WIRE, Host
from plutino.lab.traffic import MARKER
from plutino.lab.wire import FrameKind, WireTap

KEYS: Final = os.environ.get("PLUTINO_KEYS", "static")
"""How pairs get their keys: ``static``, or by ``ike``."""


@dataclass(slots=True)
class Pair:
    """Paris and Berlin, and every frame on the wire between them, with its time."""

    paris: Host
    berlin: Host
    tap: WireTap
    seen: list[tuple[bytes, int]] = field(default_factory=list)

    @property
    def frames(self) -> list[tuple[bytes, int]]:
        """All frames until now, with their times in nanoseconds."""
        self.tap.catch_up()
        return list(self.seen)

    def keys(self, host: Host) -> StaticKeys:
        """The keys that a host uses."""
        peer = BERLIN if host.name == PARIS else PARIS
        path = host.folder / f"{host.name}-{peer}.keys"
        return parse_keys(path.read_text(), str(path))

    def drops(self, host: Host) -> dict[str, int]:
        """Dropped packets of a host, by the kernel's names."""
        report = host.status()
        assert report is not None
        return {drop.name: drop.packets for drop in report.drops}

    def assert_nothing_in_clear(self) -> None:
        """No frame that an observer could read was on the wire so far."""
        self.tap.catch_up()
        assert self.tap.count(FrameKind.CLEAR) == 0, self.tap.first_clear
        assert self.tap.marked == 0


@contextmanager
def running_pair(
    family: int = 4, encapsulation: str = "esp", *, start: bool = True, plane: str = "userspace"
) -> Iterator[Pair]:
    """Both gateways up, until the end of the block, when nothing is left of them."""
    # Short, since the path of a UNIX socket is short.
    folder = Path(tempfile.mkdtemp(prefix="plutino-"))
    options = DemoOptions(encapsulation, family, plane, keys=KEYS)
    paris, berlin = make_hosts(folder, options)
    frames: list[tuple[bytes, int]] = []
    tap = WireTap(
        paris.namespace,
        WIRE,
        marker=MARKER,
        on_frame=lambda frame, time: frames.append((frame, time)),
    )
    pair = Pair(paris, berlin, tap, frames)
    try:
        if start:
            for host in (paris, berlin):
                host.start_daemon()
            for host in (paris, berlin):
                host.wait_until_up()
        yield pair
    finally:
        paris.close()
        berlin.close()
        tap.close()
        shutil.rmtree(folder)
