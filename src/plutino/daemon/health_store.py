"""Which ways are lost, on disk, so that a new daemon and `plutino apply` go on where one ended."""

import json
from contextlib import suppress
from pathlib import Path

from plutino.model.probe import NOTHING_LOST, Ways


def load_ways(path: Path) -> Ways:
    """What was saved; nothing is lost if there is no file, or one that cannot be read."""
    try:
        found = json.loads(path.read_text())
        lost, answering = found["lost"], found["answering"]
        return Ways(frozenset(map(str, lost)), frozenset(map(str, answering)))
    except (OSError, ValueError, KeyError, TypeError):
        return NOTHING_LOST


def save_ways(path: Path, ways: Ways) -> None:
    """Write them atomically; where that fails, the next daemon finds out anew."""
    beside = path.with_suffix(".new")
    document = {"lost": sorted(ways.lost), "answering": sorted(ways.answering)}
    with suppress(OSError):
        beside.write_text(json.dumps(document))
        beside.replace(path)
