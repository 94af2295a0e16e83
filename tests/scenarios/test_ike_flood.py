"""A flood of IKE datagrams at a gateway, while its tunnel carries traffic and gets new keys."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.usage import usage_of
from plutino.lab.hosts import Host
from tests.support.fault_stream import Stream
from tests.support.ike_flood import Flood
from tests.support.ike_lab import ike_pair, ike_processes, passes, spis, until_it_passes
from tests.support.until import until

pytestmark = pytest.mark.root

RATE = 100_000
LONG = os.environ.get("PLUTINO_FLOOD")
SECONDS = float(LONG or "6")
GROWTH = 24 << 20
"""Bytes that the daemon may grow by: what is half open and what is remembered is bounded."""


def processes(host: Host) -> dict[str, int]:
    """A daemon, its IKE process and, where there is one, its engine."""
    assert host.daemon is not None
    (ike,) = ike_processes(host)
    found = {"daemon": host.daemon.pid, "IKE process": int(ike.name)}
    report = host.status()
    assert report is not None
    return found if report.engine is None else found | {"engine": report.engine.pid}


def resident(host: Host) -> int:
    """Bytes of memory that a daemon and its IKE process use."""
    found = processes(host)
    return sum(usage_of(found[one]).octets for one in ("daemon", "IKE process"))


def usage(host: Host) -> dict[str, float]:
    """Seconds of CPU time by process."""
    return {name: usage_of(pid).seconds for name, pid in processes(host).items()}


def test_the_tunnel_stays_and_gets_new_keys(
    plane: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    own = "rekey-after = 10\nrekey-jitter = 0.5"
    with ike_pair(plane, paris=own) as pair:
        until_it_passes(pair)
        before, small = spis(pair.paris), resident(pair.paris)
        said = len(pair.paris.log.read_text().splitlines())
        used = usage(pair.paris)
        # A little more, since what is late at the end is not sent.
        flood = Flood(tmp_path, pair.paris, "192.0.2.1", rate=1.02 * RATE, seconds=SECONDS)
        with Stream(pair, interval=0.01) as stream:
            until(lambda: not spis(pair.paris) & before, "new keys in the flood", seconds=60)
            sent, arrived = flood.over(timeout=SECONDS + 60)
            used = {name: one - used[name] for name, one in usage(pair.paris).items()}
            lost = stream.lost()
        grown = resident(pair.paris) - small
        rate = sent / SECONDS
        each = {name: one / sent * 100_000 for name, one in used.items()}
        cpu = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in each.items())
        print(f"{rate:.0f} datagrams/s, {arrived} of {sent} arrived; {len(lost)} of", end=" ")
        print(f"{stream.sent} packets lost; {grown} B more; CPU for 100,000: {cpu}")
        record_property("rate", rate)
        record_property("cpu", cpu)
        # How many this machine can send besides is no matter, unless that is what is asked.
        assert arrived >= sent
        assert LONG is None or rate >= RATE
        assert not lost
        assert grown < GROWTH
        assert len(pair.paris.log.read_text().splitlines()) - said < 10 + SECONDS
        assert passes(pair.paris)
        pair.tap.catch_up()
        assert pair.tap.marked == 0
