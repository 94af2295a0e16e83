"""The scenarios of `tests/scenarios` with the kernel as data plane, a boot for each file."""

from pathlib import Path

import pytest

from tests.support.exhaustive import EXHAUSTIVE
from tests.support.guest import UML, run_tests_in_guest

pytestmark = pytest.mark.guest

FOLDER = Path(__file__).parents[1] / "scenarios"
BESIDE = {"test_fault_drill.py", "test_groups.py", "test_guard.py"}
"""In the other lane, so that both take as long."""

CHOSEN = {
    "test_routing_daemons.py": "rekey or ospf",
    "test_with_keys_by_ike.py": "external",
    "test_ike.py": "4-esp or 6-udp or packet_starts or loses_nothing or reload",
    "test_ike_any.py": "comes_from or told_apart",
    "test_ike_restart.py": "esp-9 or after_a_restart",
    "test_ike_uplinks.py": "blackholed and 6",
    "test_groups.py": "not takes_less and not others_break and not answers_no_pings",
    "test_uplinks.py": "not takes_less and not first_uplink and not without_probes",
}
"""What the slowest files run here without PLUTINO_EXHAUSTIVE: the data plane has little part in the
others, which run on the host each time."""


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(one.name, marks=pytest.mark.beside if one.name in BESIDE else ())
        for one in sorted(FOLDER.glob("test_*.py"))
    ],
)
def test_scenarios_on_the_kernel(file: str) -> None:
    chosen = "" if EXHAUSTIVE else CHOSEN.get(file, "")
    run_tests_in_guest(UML, f"tests/scenarios/{file}", 900, chosen)
