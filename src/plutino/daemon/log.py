"""What the daemon says."""

import sys


def log(words: str) -> None:
    """One line on stderr; the service manager adds time and name."""
    print(f"plutino: {words}", file=sys.stderr, flush=True)
