"""Which ways are lost, on disk, so that a new daemon and `plutino apply` go on where one ended."""

import json
from contextlib import suppress
from pathlib import Path


def load_lost(path: Path) -> frozenset[str]:
    """Keys of probes; none if there is no file, or one that cannot be read."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return frozenset()
    return frozenset(str(one) for one in found) if isinstance(found, list) else frozenset()


def save_lost(path: Path, lost: frozenset[str]) -> None:
    """Write them atomically; where that fails, the next daemon finds out anew."""
    beside = path.with_suffix(".new")
    with suppress(OSError):
        beside.write_text(json.dumps(sorted(lost)))
        beside.replace(path)
