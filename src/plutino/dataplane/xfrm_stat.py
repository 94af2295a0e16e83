"""``/proc/net/xfrm_stat``: what the kernel's XFRM has dropped, by cause."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

XFRM_STAT: Final = Path("/proc/thread-self/net/xfrm_stat")
"""Of the calling thread's network namespace."""


def read_xfrm_stat() -> Mapping[str, int]:
    """Of the whole namespace; empty if the kernel keeps none."""
    try:
        return parse_xfrm_stat(XFRM_STAT.read_text())
    except OSError:
        return {}


def parse_xfrm_stat(text: str) -> Mapping[str, int]:
    """Names and numbers of ``/proc/net/xfrm_stat``; other lines are left out."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
