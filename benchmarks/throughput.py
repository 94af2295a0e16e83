"""TCP throughput of one stream, beside wireguard-go and the plain wire."""

import argparse
import json
import shutil
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.iperf import measure
from benchmarks.wireguard import wireguard
from plutino.lab.demo import BERLIN, INNER, OUTER, PARIS, DemoOptions, make_hosts
from plutino.lab.hosts import WIRE, Host
from plutino.lab.world import FOLDER, run_world
from plutino.model.errors import PlutinoError
from plutino.netlink.route_client import RouteClient

_WIREGUARD = {PARIS: "10.254.0.1", BERLIN: "10.254.0.2"}
_AT_LEAST = 1.0
"""Of wireguard-go's throughput."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen."""
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="in turn; the median counts")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Measure, print, and fail if plutino is slower than wireguard-go."""
    for program in ("iperf3", "wireguard-go", "wg"):
        if shutil.which(program) is None:
            print(f"bench: {program} is not there; run setup/setup.sh bench", file=sys.stderr)
            return 1
    try:
        results = run_world(lambda _tell: compare(options.rounds, options.seconds))
    except PlutinoError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    medians = {name: statistics.median(values) for name, values in results.items()}
    peer = medians["wireguard-go"]
    if options.json:
        print(json.dumps({"version": 1, "gigabits_per_second": results}, indent=2))
    else:
        print(f"{'TCP, one stream':<28}{'Gbit/s':>8}{'of wireguard-go':>18}")
        for name, value in medians.items():
            print(f"{name:<28}{value:>8.2f}{value / peer:>18.2f}")
    slowest = min(value for name, value in medians.items() if name.startswith("plutino"))
    return 0 if slowest >= _AT_LEAST * peer else 1


def compare(rounds: int, seconds: int) -> dict[str, list[float]]:
    """Gbit/s of each contestant, round by round, so that a busy moment hits all alike."""
    results: dict[str, list[float]] = {}
    for number in range(rounds):
        for name, value in _one_round(FOLDER / f"round-{number}", seconds):
            results.setdefault(name, []).append(value)
            print(f"bench: round {number + 1}, {name}: {value:.2f} Gbit/s", file=sys.stderr)
    return results


def _one_round(folder: Path, seconds: int) -> Iterator[tuple[str, float]]:
    for encapsulation in ("esp", "udp"):
        with _hosts(folder / encapsulation, encapsulation) as (paris, berlin):
            if encapsulation == "esp":
                yield "the wire itself", measure(paris, berlin, OUTER[4][BERLIN], seconds)
                ends: Any = tuple(
                    (host, OUTER[4][host.name], _WIREGUARD[host.name]) for host in (paris, berlin)
                )
                with wireguard(folder, ends):
                    yield "wireguard-go", measure(paris, berlin, _WIREGUARD[BERLIN], seconds)
            for host in (paris, berlin):
                host.start_daemon()
            for host in (paris, berlin):
                host.wait_until_up()
            words = "ESP in UDP" if encapsulation == "udp" else "ESP"
            yield f"plutino, {words}", measure(paris, berlin, INNER[BERLIN][0], seconds)


@contextmanager
def _hosts(folder: Path, encapsulation: str) -> Iterator[tuple[Host, Host]]:
    """Two hosts on a wire that takes large segments, as a virtual wire does."""
    hosts = make_hosts(folder, DemoOptions(encapsulation=encapsulation, plane="userspace"))
    for host in hosts:
        with host.namespace.entered(), RouteClient() as routes:
            routes.set_link(WIRE, gso_max_segs=65535)
    try:
        yield hosts
    finally:
        for host in hosts:
            host.close()
