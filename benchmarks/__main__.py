"""`make bench`: `throughput` (default), `scale`, `control`, `handshakes`, `gateways`."""

import argparse
import sys

from benchmarks import control, gateways, handshakes, scale, throughput

_PARTS = {
    "throughput": throughput,
    "scale": scale,
    "control": control,
    "handshakes": handshakes,
    "gateways": gateways,
}
_DEFAULT = "throughput"


def main(arguments: list[str]) -> int:
    """Run one benchmark; 1 if it misses its bound."""
    if not arguments or (arguments[0] not in _PARTS and arguments[0] not in ("-h", "--help")):
        arguments = [_DEFAULT, *arguments]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    for name, part in _PARTS.items():
        part.add_options(parts.add_parser(name, help=part.__doc__, description=part.__doc__))
    options = parser.parse_args(arguments)
    return int(_PARTS[options.part].run(options))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
