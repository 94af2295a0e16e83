"""Random faults against three sites under traffic: it heals each time, and nothing leaks.

``PLUTINO_DRILL`` is the number of faults, ``PLUTINO_DRILL_SEED`` makes the same ones again.
"""

import os
import random
from collections import defaultdict
from statistics import median

import pytest

from plutino.control.report import State
from plutino.lab.hosts import Host
from plutino.model.errors import PlaneError
from tests.support.faults import draw
from tests.support.three_sites import ThreeSites, three_sites
from tests.support.until import until

pytestmark = pytest.mark.root

FAULTS = int(os.environ.get("PLUTINO_DRILL", "60" if "PLUTINO_GUEST" not in os.environ else "20"))
SEED = int(os.environ.get("PLUTINO_DRILL_SEED", "20"))
LIMIT = 30.0
"""Seconds that healing may take on a busy machine."""


def settle(net: ThreeSites) -> None:
    """Until every tunnel is up, by whichever of its paths: a lost one is left alone for a while."""
    for host in net.sites.values():

        def is_up(host: Host = host) -> bool:
            try:
                report = host.status()
            except PlaneError:
                return False  # a daemon that is killed takes the question with it
            return report is not None and all(one.state is State.UP for one in report.tunnels)

        until(is_up, f"{host.name} is up", seconds=70)


def table(times: dict[str, list[float]], totals: tuple[int, int]) -> str:
    lines = [f"{'fault':<34}{'times':>6}{'median':>9}{'longest':>9}  seconds until all flows pass"]
    for kind, several in sorted(times.items()):
        lines.append(f"{kind:<34}{len(several):>6}{median(several):>9.2f}{max(several):>9.2f}")
    sent, received = totals
    lines.append(f"{sent} packets sent, {received} received, none in clear, none twice")
    return "\n".join(lines)


@pytest.mark.parametrize("version", [4, 6])
def test_it_heals_and_never_leaks(plane: str, version: int) -> None:
    """Half of the faults with each version of IP outside."""
    dice = random.Random(SEED)
    times: dict[str, list[float]] = defaultdict(list)
    with three_sites(plane, version) as net:
        for number in range(FAULTS // 2):
            fault = draw(net, dice)
            words = f"fault {number} (seed {SEED}): {fault.kind} at {fault.where}"
            fault.strike()
            try:
                if fault.heals:
                    times[fault.kind].append(net.traffic.heal_time(limit=LIMIT))
                if fault.mend is not None:
                    fault.mend()
                    after = net.traffic.heal_time(limit=LIMIT)
                    times[f"{fault.kind}, mended"].append(after)
                settle(net)
                net.traffic.heal_time(limit=LIMIT)
            except AssertionError as error:
                logs = "\n".join(f"{one.name}: {one.last_words()}" for one in net.sites.values())
                raise AssertionError(f"{words}: {error}\n{logs}") from error
            assert net.leaks() == [], words
        flows = net.traffic.flows
        assert sum(flow.doubled for flow in flows) == 0
        totals = sum(flow.sent for flow in flows), sum(flow.received for flow in flows)
    print(f"\n{table(times, totals)}")
