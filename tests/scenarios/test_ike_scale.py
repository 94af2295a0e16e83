"""Many tunnels on one gateway: the start, a restart and a reload as a whole, on real daemons.

``PLUTINO_TUNNELS=10000`` is the whole; what it takes is in docs/many-tunnels.md.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.gateways import Form, describe, measure, two_gateways

pytestmark = pytest.mark.root

TUNNELS = int(os.environ.get("PLUTINO_TUNNELS", "40"))
LONGEST_STALL = 5.0
"""Seconds that a daemon may not answer."""


@pytest.mark.parametrize("shared", [1, 20])
def test_all_come_up_and_stay(
    plane: str, shared: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    form = Form(TUNNELS, shared=shared, plane=plane)
    with two_gateways(tmp_path, form) as hosts:
        figures = measure(hosts, form, say=print)
    print("\n".join(describe(figures)))
    record_property("seconds", figures.established)
    assert figures.ended == 0
    assert figures.repeated == 0
    assert max(figures.stall.values()) < LONGEST_STALL
    assert figures.begun_anew == 0
    assert figures.touched == 2, "its route and the unreachable twin of it"
