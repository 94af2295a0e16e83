"""A flood of IKE datagrams at a gateway, while its tunnel carries traffic and gets new keys."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from plutino.lab.hosts import Host
from tests.support.fault_stream import Stream
from tests.support.ike_flood import Flood
from tests.support.ike_lab import ike_pair, ike_processes, passes, spis, until_it_passes
from tests.support.multihomed_lab import run
from tests.support.until import until

pytestmark = pytest.mark.root

RATE = 100_000
SECONDS = float(os.environ.get("PLUTINO_FLOOD", "6"))
SOURCES = [f"192.0.2.{last}" for last in range(100, 120)]
GROWTH = 24 << 20
"""Bytes that the daemon may grow by: what is half open and what is remembered is bounded."""


def resident(host: Host) -> int:
    """Bytes of memory that a daemon and its IKE process use."""
    assert host.daemon is not None
    both = [Path(f"/proc/{host.daemon.pid}"), *ike_processes(host)]
    assert len(both) == 2
    pages = sum(int((one / "statm").read_text().split()[1]) for one in both)
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_the_tunnel_stays_and_gets_new_keys(
    plane: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    own = "rekey-after = 10\nrekey-jitter = 0.5"
    with ike_pair(plane, paris=own) as pair:
        until_it_passes(pair)
        for source in SOURCES:
            run(pair.berlin.namespace, f"ip address add {source}/24 dev wire")
        before, small = spis(pair.paris), resident(pair.paris)
        said = len(pair.paris.log.read_text().splitlines())
        flood = Flood(
            tmp_path, pair.berlin.namespace, "192.0.2.1", SOURCES, rate=RATE, seconds=SECONDS
        )
        with Stream(pair, interval=0.01) as stream:
            until(lambda: not spis(pair.paris) & before, "new keys in the flood", seconds=60)
            rate = flood.sent(timeout=SECONDS + 60) / SECONDS
            lost = stream.lost()
        grown = resident(pair.paris) - small
        print(f"{rate:.0f} datagrams/s, {len(lost)} of {stream.sent} packets lost, {grown} B more")
        record_property("rate", rate)
        assert not lost
        assert grown < GROWTH
        assert len(pair.paris.log.read_text().splitlines()) - said < 10 + SECONDS
        assert passes(pair.paris)
        pair.tap.catch_up()
        assert pair.tap.marked == 0
