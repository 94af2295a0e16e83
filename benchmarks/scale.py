"""What a packet costs beside 10, 1,000 and 100,000 SAs and policies."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.plot import Series, line_plot

_ROOT: Final = Path(__file__).parent.parent
_COUNTS: Final = (10, 1_000, 100_000)
_MOST: Final = {"seal cached": 2.0, "open cached": 2.0, "seal new": 2.0, "open new": 2.0}
"""Times the cost at the fewest, for packets of ten peers among all."""
_COLD: Final = ("seal every peer", "open every peer")
"""No bound: with 100,000 peers in turn nothing that a packet needs is in the processor's caches."""
_PLOT: Final = _ROOT / "build" / "scale.svg"

Costs = Mapping[str, float]


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Measure, print, plot, and fail if the cost grows beyond its bound."""
    try:
        results = measure(_COUNTS)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    fewest, most = results[0], results[-1]
    if options.json:
        print(json.dumps({"version": 1, "nanoseconds_per_packet": results}, indent=2))
    else:
        print(f"{'ns per packet':<16}" + "".join(f"{int(one['count']):>14,}" for one in results))
        for name in (*_MOST, *_COLD):
            cells = (f"{one[name]:>8.0f}{one[name] / fewest[name]:>5.1f}x" for one in results)
            bound = f"bound {_MOST[name]:.0f}x" if name in _MOST else "cold caches"
            print(f"{name:<16}{''.join(cells)}   {bound}")
    _PLOT.parent.mkdir(exist_ok=True)
    _PLOT.write_text(_plot(results))
    print(f"bench: plotted in {_PLOT.relative_to(_ROOT)}", file=sys.stderr)
    missed = [name for name, bound in _MOST.items() if most[name] > bound * fewest[name]]
    for name in missed:
        print(f"bench: {name} costs more than {_MOST[name]:.0f} times as much", file=sys.stderr)
    return 1 if missed else 0


def measure(counts: Sequence[int]) -> list[Costs]:
    """Nanoseconds per packet at each number of SAs and policies."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plutino"
    environment = {"CARGO_TARGET_DIR": str(cache / "engine-target"), **os.environ}
    done = subprocess.run(
        [
            *("cargo", "bench", "--manifest-path", "engine/Cargo.toml", "--locked", "--quiet"),
            *("--package", "plutino-engine-core", "--bench", "scale", "--", *map(str, counts)),
        ],
        cwd=_ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    results: list[Costs] = json.loads(done.stdout)
    return results


def _plot(results: Sequence[Costs]) -> str:
    series = [
        Series(name, tuple((one["count"], one[name]) for one in results))
        for name in (*_MOST, *_COLD)
    ]
    return line_plot("Cost of a packet of 64 octets", "SAs and policies", "ns", series)
