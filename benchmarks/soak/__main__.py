"""Traffic at full rate for an hour, with rekeys, devices that come and go, and a bad wire."""

import argparse
import json
import shutil
import sys
from dataclasses import asdict

from benchmarks.soak.phase import soak
from benchmarks.soak.report import SoakOptions, phases_of, print_table
from plutino.lab.world import FOLDER, run_world
from plutino.model.errors import PlutinoError


def main(arguments: list[str] | None = None) -> int:
    """Soak, print, and fail on any violation."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, help="of all phases together")
    parser.add_argument("--rekey", type=float, default=1.0, help="seconds between rekeys")
    options = parser.parse_args(arguments)
    soaking = SoakOptions(phases_of(options.seconds), options.rekey, options.rekey / 2)
    if shutil.which("iperf3") is None:
        print("soak: iperf3 is not there; run setup/setup.sh bench", file=sys.stderr)
        return 1

    def tell(words: str) -> None:
        print(f"soak: {words}", file=sys.stderr, flush=True)

    try:
        reports = run_world(lambda _tell: [asdict(one) for one in soak(soaking, FOLDER, tell)])
    except PlutinoError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    print_table(reports)
    print(json.dumps({"version": 1, "phases": reports}))
    return 1 if any(report["violations"] for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
